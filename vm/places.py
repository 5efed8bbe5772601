"""Which tests run where, and why: one table.

A place is the machine's own kernel (HERE: `make test`), the bare systems of `make test-provision`
(ROOTS), or a row of vm.matrix. What depends on the kernel runs in the plain rows, what does not
runs HERE, and the other rows run what makes them different. Virtual machines are some thirty times
slower, so what is in them has to be worth it.

`tests/conftest.py` leaves out what has no place where it runs; tests/unit/test_places.py holds that
every file of tests/kernel stands here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

HERE = ("here",)
ROOTS = ("roots",)
OLDEST, NEWEST = ("5.10",), ("7.x",)
PLAIN = (*OLDEST, "6.1", "6.12", *NEWEST)
ENDS = OLDEST + NEWEST
BETWEEN = PLAIN[1:3]
BEFORE_RECV_LENGTH = PLAIN[:2]  # sock_recv_length: 6.3
ARM = ("6.12-arm64",)
ARMS = ("6.1-arm64", *ARM)
HEADERS = ("5.10-headers", "6.1-headers")
# Rows where something is refused or does not work, and those where all works in another way.
REFUSING = ("no-btf", "paranoid", "kprobes-off", "ftrace-off", "confidentiality")
WORKING = ("capabilities", "integrity", "rt", "cgroup-v1")
ROWS = (*PLAIN, *ARMS, *HEADERS, *REFUSING, *WORKING)
PLACES = (*HERE, *ROOTS, *ROWS)


@dataclass(frozen=True, slots=True)
class Entry:
    """Tests, and the places where they run.

    `path` is below tests/: a folder or a file. An entry with `names` is about these tests of the
    file alone; the file's own entry then says nothing of them. `variants` is searched for in what
    pytest puts in brackets behind a name. Tests that take turns (`turn`) run each variant with one
    attach type in each row, and with another one in the next row of the entry. Within a row the
    next variant meets another type, and so does the next test of the file: tests of one file meet
    the same hooks, and so every type meets them in every row. What one test alone shows of a hook
    does not take turns where kernels differ in it.
    """

    path: str
    places: tuple[str, ...]
    why: str
    names: tuple[str, ...] = ()
    turn: bool = False
    variants: str = ""

    def covers(self, path: str, name: str) -> bool:
        """Whether it is about this test of this file."""
        if self.names:
            return path == self.path and name in self.names
        return path == self.path or path.startswith(f"{self.path}/")


TABLE: tuple[Entry, ...] = (
    # --- what no kernel changes
    Entry("unit", HERE + ROOTS, "each Python, click and rich"),
    Entry("contract", HERE + ROOTS, "each clang: BTF of what it compiled, and texts made of it"),
    Entry("hostile", HERE, "what strangers do to the tool meets its own code"),
    Entry("hostile/test_ends.py", HERE + ROOTS, "each Python's signals"),
    Entry("hostile/test_headers.py", HERE + ROOTS, "each Python's tarfile"),
    Entry("hostile/test_names.py", HERE + ROOTS, "each Python's encodings, each rich"),
    Entry(
        "hostile/test_names.py",
        HERE,
        "a screen is the same everywhere",
        names=("test_on_the_screen_names_stay_in_their_cells",),
    ),
    Entry(
        "hostile/test_outputs.py", HERE + ROOTS, "each Python's ways to write and to fail, click"
    ),
    Entry("hostile/test_start.py", HERE + ROOTS, "memory of each Python and libbpf"),
    # --- real servers
    Entry("servers/test_real_servers.py", HERE + ROOTS, "each nginx and gunicorn"),
    Entry("servers/test_phpfpm.py", HERE + ROOTS, "each php-fpm"),
    Entry("servers/test_unix_servers.py", HERE, "logs of servers; kernels are in test_top_unix"),
    Entry("servers/test_library.py", HERE + ROOTS, "each Python and pytest"),
    Entry("servers/test_holders.py", HERE, "who holds what is the same on every kernel"),
    Entry(
        "servers/test_fairness.py", HERE, "the model divides; what it divides is counted elsewhere"
    ),
    Entry(
        "servers/test_verdicts.py", HERE, "the model judges; what it judges is counted elsewhere"
    ),
    Entry("kernel/test_udp_reads.py", HERE, "a tracepoint: the same on each kernel that has it"),
    Entry(
        "kernel/test_udp_reads.py",
        BEFORE_RECV_LENGTH,
        "a trampoline, where the kernel has no such tracepoint",
        variants="fentry|kprobe",
    ),
    Entry("servers/test_dnsmasq.py", HERE, "a server's own count of what test_udp_reads counts"),
    Entry("servers/test_front_page.py", HERE, "what the README shows, of one kernel's counts"),
    Entry("servers/test_belonging.py", HERE, "paths of control groups are the same everywhere"),
    Entry("servers/test_serving.py", HERE, "who is shown with which number; counted in test_open"),
    Entry("servers/test_patterns.py", HERE, "nginx's own order; each kernel's is in test_order"),
    Entry("servers/test_exporter.py", HERE, "a view of counts that are compared elsewhere"),
    Entry("servers/test_check.py", HERE, "what a script gets of one kernel's counts"),
    Entry(
        "servers/test_demo.py", HERE, "our own servers and load; kernels count them in test_counts"
    ),
    Entry(
        "servers/test_reload.py",
        HERE + ENDS,
        "what listeners leave as they close, in numbers; in test_close each attach type meets it",
        turn=True,
    ),
    # --- from the SYN to the worker: hooks of another place or shape on each kernel
    Entry(
        "kernel/test_books.py",
        HERE + PLAIN + ARMS,
        "hooks of arrival, accept and close: each type meets them under one of three loads",
        turn=True,
    ),
    Entry(
        "kernel/test_books.py",
        HERE + PLAIN + ARMS,
        "hooks of arrival, accept and close, by what is attached",
        names=(
            "test_each_attach_type_sees_what_it_is_known_to_see",
            "test_what_waited_before_the_tracer_is_known",
        ),
    ),
    Entry(
        "kernel/test_books.py",
        HERE + ENDS,
        "sums that the model makes of counts which are compared in all rows",
        names=(
            "test_a_start_amid_a_load_leaves_no_debt",
            "test_a_queue_that_never_rests_was_never_longer_than_its_clients_can_make_it",
            "test_the_mean_of_a_queue_that_never_rests_is_what_its_clients_fill",
            "test_accepts_that_nobody_saw_are_missed_to_the_last_one",
            "test_arrivals_that_nobody_saw_are_missed_to_the_last_one",
            "test_totals_are_kept_through_fork_exec_and_exit",
        ),
        turn=True,
    ),
    Entry(
        "kernel/test_close.py",
        HERE + PLAIN + ARMS,
        "hooks of close and of migration, to which three ways lead",
        turn=True,
    ),
    Entry(
        "kernel/test_overflow.py",
        HERE + PLAIN + ARMS,
        "hooks of a full queue: each type meets them with one address family",
        turn=True,
    ),
    Entry(
        "kernel/test_pidns.py",
        HERE + OLDEST,
        "numbers of a process at the end of its struct pid, an array of one there",
        turn=True,
    ),
    Entry(
        "kernel/test_pidns.py",
        HERE,
        "the same number, looked up in a map",
        names=("test_a_pid_asked_for_is_one_of_the_tracers_own_namespace",),
    ),
    Entry(
        "kernel/test_selection.py",
        HERE + PLAIN + ARMS,
        "hooks and layout of reuseport groups: each type meets them with one address family",
        turn=True,
    ),
    Entry(
        "kernel/test_selection.py",
        HERE + ENDS,
        "the hooks of cookies, whose shape differs between kernels",
        names=("test_of_two_selections_for_a_cookie_the_second_counts",),
    ),
    Entry(
        "kernel/test_selection.py",
        HERE,
        "a list that the iterator walks; who and its options read it elsewhere",
        names=("test_each_member_of_a_large_group_has_its_place",),
    ),
    Entry("kernel/test_sleepers.py", HERE + OLDEST, "who slept before: there, read of registers"),
    Entry(
        "kernel/test_sleepers.py",
        (*PLAIN[1:], *ARMS),
        "who slept before; processes sleep in the same call as threads",
        variants="threads",
    ),
    Entry(
        "kernel/test_waiting.py",
        HERE + ROOTS + PLAIN + ARMS,
        "time stamps: each type meets them with one address family; each ss",
        turn=True,
    ),
    Entry(
        "kernel/test_ways.py",
        HERE + PLAIN + ARMS,
        "io_uring: each type meets it with one order of requests; MPTCP, Fast Open, kernel threads",
        turn=True,
    ),
    # --- who got how many, and what failed
    Entry(
        "kernel/test_counts.py",
        HERE + ROOTS + PLAIN + ARM,
        "layout of sockets and tasks: each type meets it with each family",
        turn=True,
    ),
    Entry(
        "kernel/test_counts.py",
        HERE + ROOTS + PLAIN + ARM,
        "the hook of the selection",
        names=("test_selection_is_counted_for_the_socket_that_was_chosen",),
    ),
    Entry(
        "kernel/test_counts.py",
        HERE + ROOTS + ENDS,
        "modes of servers differ in user space",
        names=("test_every_accept_is_counted_for_its_worker",),
        turn=True,
    ),
    Entry(
        "kernel/test_counts.py",
        BETWEEN + ARM,
        "three modes are enough for each type to meet each family",
        names=("test_every_accept_is_counted_for_its_worker",),
        turn=True,
        variants=r"(blocking|reuseport|shared)-",
    ),
    Entry(
        "kernel/test_counts.py",
        ("capabilities", "paranoid", "integrity", "ftrace-off"),
        "what is allowed also counts: each attach type, one mode",
        names=("test_every_accept_is_counted_for_its_worker",),
        turn=True,
        variants=r"(blocking|reuseport|shared)-ipv4",
    ),
    Entry(
        "kernel/test_counts.py",
        ("rt",),
        "kprobes alone are exact where a program can be preempted",
        names=("test_every_accept_is_counted_for_its_worker",),
        variants=r"kprobe-.*(blocking|reuseport|shared)-ipv4",
    ),
    Entry("kernel/test_failures.py", HERE + PLAIN + ARM, "what system calls return"),
    Entry(
        "kernel/test_failures.py",
        HERE + PLAIN + ARM,
        "signals: one return of the call for all",
        names=("test_interrupted_accepts_are_counted_as_their_caller_sees_them",),
        turn=True,
    ),
    Entry(
        "kernel/test_drops.py",
        HERE + ROOTS + PLAIN,
        "counters and reasons, which are read alike whatever is attached; each nstat and ss",
        turn=True,
    ),
    Entry(
        "kernel/test_drops.py",
        HERE + ROOTS + OLDEST,
        "the command's order at the start; sessions have the same counts in all rows",
        names=("test_the_ready_file_promises_that_drops_count_from_then_on",),
    ),
    Entry(
        "kernel/test_drops.py",
        HERE + ROOTS,
        "what the command prints",
        names=("test_deferred_clients_are_named_and_it_is_said_that_nothing_was_lost",),
    ),
    Entry(
        "kernel/test_filters.py",
        HERE + PLAIN,
        "layout of what is filtered by; one function filters for all attach types",
        turn=True,
    ),
    Entry(
        "kernel/test_filters.py",
        HERE + ENDS,
        "the same filters, and what `who` and `top` make of them in user space",
        names=("test_kernel_who_and_top_let_the_same_through",),
        turn=True,
    ),
    Entry("kernel/test_holders.py", HERE + ROOTS + PLAIN, "an iterator over files; each ss"),
    Entry(
        "kernel/test_open.py", HERE + ROOTS + PLAIN, "an iterator over files; each ss", turn=True
    ),
    Entry(
        "kernel/test_open.py",
        HERE + ROOTS,
        "the iterator, and /proc, which is the same on all kernels; each ss",
        names=("test_inherited_passed_and_duplicated_ones_count_once_a_process",),
    ),
    Entry(
        "kernel/test_open.py",
        PLAIN,
        "the iterator",
        names=("test_inherited_passed_and_duplicated_ones_count_once_a_process",),
        variants="^iterator",
    ),
    Entry(
        "kernel/test_holders.py",
        HERE + OLDEST,
        "the length of a buffer is the same on all kernels",
        names=("test_nobody_is_lost_where_the_kernels_buffer_ends",),
    ),
    Entry("kernel/test_who_to.py", HERE + OLDEST, "the kernel's own rules of lookup"),
    Entry(
        "kernel/test_who_to.py",
        HERE,
        "groups heed SO_INCOMING_CPU since 6.1",
        names=("test_the_cpu_of_a_packet_chooses_where_members_ask_for_one",),
    ),
    Entry(
        "kernel/test_who_to.py",
        HERE,
        "nftables and bridges are the same everywhere, where they are",
        names=(
            "test_devices_are_found_by_their_kind_and_by_that_of_what_they_are_in",
            "test_rules_of_netfilter_are_named",
        ),
    ),
    Entry(
        "kernel/test_who_to.py",
        HERE,
        "routes, addresses and devices: as they were long before",
        names=(
            "test_a_socket_bound_to_an_address_gets_what_goes_there",
            "test_a_socket_bound_to_a_device_gets_only_what_comes_through_it",
            "test_a_link_local_address_is_reached_through_its_own_device_only",
            "test_an_address_of_another_machine_is_not_local",
            "test_an_address_of_ipv4_in_one_of_ipv6_is_that_of_ipv4",
            "test_listeners_of_other_namespaces_do_not_count",
            "test_what_is_dropped_before_any_socket_is_looked_for",
            "test_what_is_not_seen_without_bpf_is_said",
        ),
    ),
    Entry("kernel/test_who_why.py", HERE + OLDEST, "the kernel's own rules of binding"),
    Entry(
        "kernel/test_who_why.py",
        HERE,
        "what the command does, and not the kernel",
        names=(
            "test_an_ordinary_user_tries_as_himself_and_derives_the_rest",
            "test_trying_takes_no_connection_and_leaves_nothing",
        ),
    ),
    Entry(
        "kernel/test_open.py",
        HERE,
        "many: ten thousand connections take minutes in a machine that is emulated",
        names=("test_ten_thousand_are_those_of_ss_and_of_the_client",),
    ),
    Entry("kernel/test_window.py", HERE, "the model's sums; what they are of is counted elsewhere"),
    Entry("kernel/test_cpu.py", HERE + ENDS, "a clock of each process, in all kernels", turn=True),
    Entry("kernel/test_locality.py", HERE + ENDS, "what is not asked for", turn=True),
    Entry(
        "kernel/test_locality.py",
        HERE + ENDS,
        "a field of the socket, read by each program",
        names=("test_it_is_the_part_that_was_accepted_where_the_client_runs",),
    ),
    Entry(
        "kernel/test_locality.py",
        BETWEEN,
        "the field in another place",
        names=("test_it_is_the_part_that_was_accepted_where_the_client_runs",),
        turn=True,
    ),
    Entry("kernel/test_events_cli.py", HERE, "how events are written and end; one kernel's do"),
    Entry("kernel/test_events_many.py", HERE, "one kernel's ring buffer is that of all"),
    Entry("kernel/test_events.py", HERE, "what the programs leave out is the same everywhere"),
    Entry(
        "kernel/test_events.py",
        HERE + ENDS,
        "each attach type's program with its events, for the verifier; the ring buffer",
        names=(
            "test_they_are_the_connections_that_the_clients_logged",
            "test_what_is_lost_has_lines_of_its_own",
            "test_failures_have_their_errno",
        ),
        turn=True,
    ),
    Entry(
        "kernel/test_order.py",
        HERE + ENDS,
        "hooks of accept: each type meets them with one kind of server; what is noted is the same",
        turn=True,
    ),
    Entry("kernel/test_who.py", HERE, "what is made of it"),
    Entry(
        "kernel/test_who.py",
        HERE + OLDEST,
        "what the socket iterator shows; kcmp() and pidfd_getfd() are older than all kernels",
        names=(
            "test_the_options_of_a_socket_are_those_that_were_set",
            "test_a_selector_of_an_older_group_never_picks_the_newest",
        ),
    ),
    Entry("kernel/test_passing.py", HERE, "a hook on files that are handed over: where it is none"),
    Entry(
        "kernel/test_passing.py",
        PLAIN[:2],
        "a hook on files that are handed over",
        variants="fentry|kprobe",
    ),
    *(
        Entry(
            "kernel/test_passing.py",
            where,
            "and where registers of a system call are: in another place with FRED",
            names=("test_who_was_handed_a_listener_is_known_by_its_way",),
            variants=variants,
        )
        for where, variants in ((HERE, ""), (PLAIN[:2] + NEWEST, "fentry|kprobe"))
    ),
    Entry("kernel/test_pidns_shared.py", HERE, "PIDs are read as in test_pidns, on each kernel"),
    Entry("kernel/test_events_unix.py", HERE, "a name is written in one way everywhere"),
    Entry(
        "kernel/test_events_unix.py",
        HERE,
        "the same",
        names=("test_each_line_is_what_both_ends_know",),
    ),
    Entry(
        "kernel/test_events_unix.py",
        ENDS,
        "the program with its events, for the verifier; who connected, in fields of the socket",
        names=("test_each_line_is_what_both_ends_know",),
        variants="abstract",
    ),
    Entry(
        "kernel/test_events_unix.py",
        HERE + ENDS,
        "who was refused is not seen by the attach type that runs here",
        names=("test_who_was_refused_or_reset_has_a_line",),
    ),
    Entry("kernel/test_top_unix.py", HERE, "what the model makes of counts"),
    Entry(
        "kernel/test_top_unix.py",
        HERE,
        "each name and kind of socket",
        names=("test_each_accept_is_counted_for_the_worker_that_the_client_met",),
    ),
    Entry(
        "kernel/test_top_unix.py",
        ENDS + BETWEEN[:1],
        "hooks of AF_UNIX: fields and functions of each kernel; names are user space",
        names=("test_each_accept_is_counted_for_the_worker_that_the_client_met",),
        variants="abstract-stream",
    ),
    Entry(
        "kernel/test_top_unix.py",
        HERE + ENDS + BETWEEN[:1],
        "the same, of calls that take nothing, and of rings",
        names=(
            "test_what_finds_nothing_and_what_has_no_descriptor_is_counted",
            "test_accepts_by_a_ring_are_counted_where_the_hook_is_in_the_kernel",
        ),
    ),
    Entry(
        "kernel/test_top_unix.py",
        HERE + ENDS,
        "hooks of connect(): unix_find_other() has 6 parameters on the one and 5 on the other",
        names=(
            "test_who_finds_no_room_is_counted_as_the_client_knows_it",
            "test_a_ring_that_looks_first_and_then_waits_is_not_refused",
        ),
    ),
    Entry(
        "kernel/test_top_unix.py",
        BETWEEN[:1],
        "there it has 4",
        names=("test_who_finds_no_room_is_counted_as_the_client_knows_it",),
        variants="fentry",
    ),
    Entry("kernel/test_who_unix.py", HERE + ROOTS, "unix_diag; each ss"),
    Entry(
        "kernel/test_who_unix.py",
        OLDEST,
        "unix_diag and the iterator; names and kinds of sockets differ in user space",
        variants="path-stream|^stream-kernel",
    ),
    Entry(
        "kernel/test_wasted.py", HERE + PLAIN, "who is woken, in each mode of servers", turn=True
    ),
    Entry(
        "kernel/test_udp.py",
        HERE + ROOTS + PLAIN + ARM,
        "hooks of datagrams: those of both families are attached, each type meets one of them; "
        "each ss and nstat",
        turn=True,
    ),
    Entry(
        "kernel/test_udp.py",
        HERE + ROOTS + OLDEST,
        "the command's order at the start; sessions have the same counts in all rows",
        names=("test_only_what_was_dropped_since_it_is_ready_is_reported_and_in_the_header",),
    ),
    Entry(
        "kernel/test_udp.py",
        HERE + ROOTS,
        "what the command prints",
        names=("test_the_command_tells_the_same",),
    ),
    # --- maps, clocks, preemption
    Entry(
        "kernel/test_rows.py",
        HERE + PLAIN,
        "our own maps, which all attach types write by the same functions; who has ended",
        turn=True,
    ),
    Entry(
        "kernel/test_rows.py",
        HERE + OLDEST,
        "thousands: the sizes are our own; there, memory for maps is limited by RLIMIT_MEMLOCK",
        names=("test_listeners_by_the_thousand_are_counted_exactly",),
        turn=True,
    ),
    Entry(
        "kernel/test_rows.py",
        HERE,
        "thousands: the sizes are our own, and the rows are there from the start",
        names=("test_thousands_of_threads_are_counted_in_a_few_rows",),
    ),
    Entry(
        "kernel/test_rows.py",
        HERE + ROOTS,
        "what each Python's ctypes keeps",
        names=("test_rows_are_deleted_for_a_year_without_a_trace",),
    ),
    Entry("kernel/test_limits.py", HERE, "tens of thousands of connections: the sizes are our own"),
    Entry(
        "kernel/test_clocks.py",
        HERE + OLDEST,
        "time namespaces are shown alike since 5.6, and read once for all attach types",
        turn=True,
    ),
    Entry(
        "kernel/test_clocks.py",
        HERE,
        "what the command makes of such times",
        names=("test_it_counts_as_any_other",),
    ),
    Entry(
        "kernel/test_preemption.py",
        HERE + NEWEST + ARM,
        "kernels that preempt themselves, and an architecture; Debian's older ones do not",
    ),
    Entry(
        "kernel/test_preemption.py",
        ("rt",),
        "preempts everywhere; kprobes alone are exact",
        variants="kprobe",
    ),
    Entry(
        "kernel/test_sleepers.py", ("rt",), "kprobes alone are exact", variants="kprobe.*threads"
    ),
    # --- the command, and its loaders
    Entry("kernel/test_cli.py", HERE + ROOTS, "what the command prints and how it ends"),
    Entry("kernel/test_record_others.py", HERE, "the same of UDP and AF_UNIX"),
    Entry("kernel/test_record.py", HERE, "what a run has read, kept: the same everywhere"),
    Entry("kernel/test_screen.py", HERE, "keys, signals and terminals: the same everywhere"),
    Entry(
        "kernel/test_cli.py",
        HERE + ROOTS + OLDEST,
        "before 5.11 it takes one more capability, and there are no BPF links for some hooks",
        names=(
            "test_capabilities_suffice_without_root",
            "test_nothing_stays_attached_after_sigkill",
            "test_without_privileges_one_clear_error_and_77",
        ),
    ),
    # In a machine bcc compiles for half a minute, by headers for more than one. BTF or headers say
    # where fields are; the text is the same. fentry is loaded on two kernels; kprobe by headers on
    # one and by BTF on the other; tracepoint by headers in no-btf, and by BTF here. The host's bcc
    # is not made for newer kernels; a foreign userland is without.
    Entry("kernel/test_loaders.py", HERE + ROOTS, "each bcc"),
    Entry("kernel/test_loaders.py", OLDEST, "bcc by BTF", variants="fentry"),
    Entry("kernel/test_loaders.py", ("6.1",), "bcc by BTF", variants="fentry|kprobe"),
    Entry(
        "kernel/test_loaders.py",
        ("5.10-headers",),
        "bcc by headers, one sharing mode",
        variants="^kprobe(-reuseport)?$",
    ),
    Entry(
        "kernel/test_loaders.py",
        ("6.1-headers",),
        "bcc by headers: of UDP what has hooks",
        variants="^kprobe-datagrams$",
    ),
    Entry(
        "kernel/test_selftests.py",
        (*HERE, "6.1"),
        "the kernel's own tests, newest source",
        turn=True,
    ),
    Entry(
        "kernel/test_selftests.py", ROOTS, "that they are there and compile", variants="dualstack"
    ),
    # --- what makes a row different
    Entry(
        "kernel/test_flavours.py",
        (*PLAIN, *ARMS, *REFUSING, *WORKING),
        "what doctor finds in each row but those of bcc",
        names=("test_doctor_offers_just_the_expected_types",),
    ),
    Entry(
        "kernel/test_flavours.py",
        (*REFUSING, "capabilities", "integrity", "rt", "6.1-arm64"),
        "the command's refusals; where nothing is refused, test_udp has a session of each type",
        names=("test_udp_is_traced_by_the_same_types",),
    ),
    Entry(
        "kernel/test_flavours.py",
        ("kprobes-off", "ftrace-off"),
        "hooks that attach and stay silent",
        names=("test_auto_passes_over_what_is_silent", "test_a_silent_hook_is_named"),
    ),
    Entry(
        "kernel/test_flavours.py",
        ("no-btf",),
        "no BTF",
        names=("test_missing_type_information_is_reported", "test_bcc_traces_by_headers_alone"),
    ),
    Entry(
        "kernel/test_flavours.py",
        ("integrity", "confidentiality"),
        "lockdown",
        names=("test_lockdown_is_reported",),
    ),
    Entry(
        "kernel/test_flavours.py",
        ("confidentiality",),
        "lockdown",
        names=("test_confidentiality_is_the_reason_given",),
    ),
    Entry(
        "kernel/test_flavours.py",
        ("capabilities", "paranoid"),
        "no root",
        names=("test_four_capabilities_are_all_there_is",),
    ),
    Entry(
        "kernel/test_flavours.py",
        ("paranoid",),
        "no root, no perf",
        names=("test_what_keeps_kprobes_away_is_reported",),
    ),
    Entry(
        "kernel/test_flavours.py",
        ("rt",),
        "preempts everywhere",
        names=("test_what_preemption_costs_is_counted", "test_the_kernel_is_fully_preemptible"),
    ),
    Entry(
        "kernel/test_flavours.py",
        ("cgroup-v1",),
        "the first version's paths",
        names=("test_cgroups_of_the_first_version_are_named_and_filtered",),
    ),
)


def paths(place: str) -> tuple[str, ...]:
    """What has tests at a place, for pytest: folders and files, below the repository."""
    found = dict.fromkeys(entry.path for entry in TABLE if place in entry.places)
    return tuple(f"tests/{path}" for path in found)


def entry(place: str, path: str, name: str, variant: str = "") -> Entry | None:
    """What lets a test run at a place, or None. `variant` is what stands in brackets."""
    for each in _entries(path, name):
        if place in each.places and re.search(each.variants, variant):
            return each
    return None


def takes_turns(path: str, name: str) -> bool:
    """Whether a test does anywhere."""
    return any(each.turn for each in _entries(path, name))


@cache
def _entries(path: str, name: str) -> tuple[Entry, ...]:
    """Those that are about a test: its own, or else those of its file or folder."""
    about = [each for each in TABLE if each.covers(path, name)]
    exact = max(((bool(each.names), len(each.path)) for each in about), default=None)
    return tuple(each for each in about if (bool(each.names), len(each.path)) == exact)


def turn(entry: Entry, place: str, nth: int, types: tuple[str, ...], test: int = 0) -> str:
    """The attach type that the nth variant of a test meets in a row, of those that work there.

    `test`: the number of the test, of those in its file that take turns.
    """
    row = [each for each in entry.places if each in ROWS].index(place)
    # Moved on by one each time round, as variants may come in threes too.
    return types[(row + test + nth + nth // len(types)) % len(types)]
