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

HERE = ("here",)
ROOTS = ("roots",)
OLDEST, NEWEST = ("5.10",), ("7.x",)
PLAIN = (*OLDEST, "6.1", "6.12", *NEWEST)
ENDS = OLDEST + NEWEST
BETWEEN = PLAIN[1:3]
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
    attach type in each row, and with another one in the next row of the entry. That is for what
    varies clients, servers or their number: hooks are the same then, and every type meets some.
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
    Entry("servers/test_library.py", HERE + ROOTS, "each Python and pytest"),
    Entry("servers/test_holders.py", HERE, "who holds what is the same on every kernel"),
    Entry(
        "servers/test_fairness.py", HERE, "the model divides; what it divides is counted elsewhere"
    ),
    Entry(
        "servers/test_verdicts.py", HERE, "the model judges; what it judges is counted elsewhere"
    ),
    Entry("kernel/test_udp_reads.py", HERE, "a tracepoint: the same on each kernel that has it"),
    Entry("servers/test_dnsmasq.py", HERE, "a server's own count of what test_udp_reads counts"),
    Entry("servers/test_front_page.py", HERE, "what the README shows, of one kernel's counts"),
    Entry("servers/test_serving.py", HERE, "who is shown with which number; counted in test_open"),
    Entry("servers/test_patterns.py", HERE, "nginx's own order; each kernel's is in test_order"),
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
    Entry("kernel/test_books.py", HERE + PLAIN + ARMS, "hooks of arrival, accept and close"),
    Entry(
        "kernel/test_books.py",
        HERE + PLAIN + ARMS,
        "modes differ in user space",
        names=("test_books_balance_at_every_moment_of_a_load",),
        turn=True,
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
    Entry("kernel/test_close.py", HERE + ENDS, "hooks of close and of migration"),
    Entry(
        "kernel/test_close.py",
        HERE + PLAIN + ARMS,
        "one hook, three ways to come to it",
        names=(
            "test_queued_connections_are_lost_with_their_listener",
            "test_queued_connections_move_where_the_kernel_may",
        ),
        turn=True,
    ),
    Entry("kernel/test_overflow.py", HERE + ENDS, "hooks of a full queue"),
    Entry(
        "kernel/test_overflow.py",
        HERE + PLAIN + ARMS,
        "address families and what follows: one hook for all",
        names=(
            "test_requests_that_find_the_queue_full_are_counted",
            "test_handshakes_that_end_at_a_full_queue_are_counted",
            "test_cookies_that_come_back_to_a_full_queue_are_counted",
        ),
        turn=True,
    ),
    Entry("kernel/test_selection.py", HERE + ENDS, "hooks and layout of reuseport groups"),
    Entry(
        "kernel/test_selection.py",
        HERE + PLAIN + ARMS,
        "address families: one hook for all; what an iterator reads, whatever is attached",
        names=(
            "test_each_member_is_selected_as_often_as_it_gets_a_connection",
            "test_with_cookies_each_connection_is_selected_once",
            "test_a_classic_program_is_named_by_what_it_returns",
            "test_clients_that_return_from_the_same_ports_are_no_lots",
        ),
        turn=True,
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
    Entry("kernel/test_waiting.py", HERE + ROOTS + ENDS, "time stamps; each ss"),
    Entry(
        "kernel/test_waiting.py",
        HERE + ROOTS + PLAIN + ARMS,
        "address families: one time stamp for all",
        names=("test_waiting_time_is_what_the_client_measured",),
        turn=True,
    ),
    Entry("kernel/test_ways.py", HERE + ENDS, "io_uring, MPTCP, Fast Open, kernel threads"),
    Entry(
        "kernel/test_ways.py",
        HERE + PLAIN + ARMS,
        "order and thread of one request; what is said without its hook",
        names=(
            "test_single_accepts_by_ring",
            "test_what_no_hook_tells_of_the_way_is_right_or_unknown",
        ),
        turn=True,
    ),
    # --- who got how many, and what failed
    Entry("kernel/test_counts.py", HERE + ROOTS + PLAIN + ARM, "layout of sockets and tasks"),
    Entry(
        "kernel/test_counts.py",
        HERE + ROOTS + PLAIN + ARM,
        "modes and families of servers",
        names=("test_every_accept_is_counted_for_its_worker",),
        turn=True,
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
    Entry("kernel/test_drops.py", HERE + ROOTS + ENDS, "counters and reasons; each nstat and ss"),
    Entry(
        "kernel/test_drops.py",
        HERE + ROOTS + PLAIN,
        "how many clients, and when the listener is seen",
        names=(
            "test_a_client_that_sends_nothing_yet_lost_nothing",
            "test_a_listener_that_is_born_and_closes_while_traced",
        ),
        turn=True,
    ),
    Entry(
        "kernel/test_drops.py",
        HERE + ROOTS + OLDEST + NEWEST,
        "the command's order at the start; sessions have the same counts in all rows",
        names=("test_the_ready_file_promises_that_drops_count_from_then_on",),
    ),
    Entry(
        "kernel/test_drops.py",
        HERE + ROOTS,
        "what the command prints",
        names=("test_deferred_clients_are_named_and_it_is_said_that_nothing_was_lost",),
    ),
    Entry("kernel/test_filters.py", HERE + ENDS, "layout of what is filtered by"),
    Entry(
        "kernel/test_filters.py",
        HERE + PLAIN,
        "one function filters for all attach types",
        names=(
            "test_kernel_who_and_top_let_the_same_through",
            "test_network_namespaces_are_kept_apart",
            "test_sockets_of_ipv6_that_serve_ipv4_are_counted",
            "test_what_a_filter_leaves_out_is_not_missing",
        ),
        turn=True,
    ),
    Entry("kernel/test_holders.py", HERE + ROOTS + PLAIN, "an iterator over files; each ss"),
    Entry("kernel/test_open.py", HERE + ROOTS + ENDS, "an iterator over files; each ss"),
    Entry(
        "kernel/test_holders.py",
        HERE + ENDS,
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
    Entry("kernel/test_who_why.py", HERE + OLDEST, "the kernel's own rules of binding"),
    Entry(
        "kernel/test_open.py",
        HERE,
        "many: ten thousand connections take minutes in a machine that is emulated",
        names=("test_ten_thousand_are_those_of_ss_and_of_the_client",),
    ),
    Entry("kernel/test_window.py", HERE, "the model's sums; what they are of is counted elsewhere"),
    Entry("kernel/test_cpu.py", HERE + ENDS, "a clock of each process, in all kernels"),
    Entry("kernel/test_locality.py", HERE + PLAIN, "a field of the socket"),
    Entry("kernel/test_events_cli.py", HERE, "how events are written and end; one kernel's do"),
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
    ),
    Entry("kernel/test_order.py", HERE + ENDS, "hooks of accept"),
    Entry(
        "kernel/test_order.py",
        HERE + ENDS,
        "who takes what; hooks count it in the same way",
        names=(
            "test_it_is_the_order_that_the_client_saw",
            "test_any_order_is_found_as_it_was_made",
            "test_members_of_a_group_are_its_sockets",
        ),
        turn=True,
    ),
    Entry("kernel/test_who.py", HERE, "what is made of it"),
    Entry(
        "kernel/test_who.py",
        HERE + OLDEST,
        "what the socket iterator shows; kcmp(), pidfd_getfd()",
        names=(
            "test_a_socket_that_was_sent_to_a_stranger_or_taken_by_one",
            "test_the_options_of_a_socket_are_those_that_were_set",
            "test_mptcp_is_seen",
            "test_a_selector_of_an_older_group_never_picks_the_newest",
        ),
    ),
    Entry("kernel/test_top_unix.py", HERE + ENDS, "the end of system calls on AF_UNIX"),
    Entry("kernel/test_who_unix.py", HERE + ROOTS + OLDEST, "unix_diag; each ss"),
    Entry("kernel/test_wasted.py", HERE + ENDS, "who is woken"),
    Entry(
        "kernel/test_wasted.py",
        HERE + PLAIN,
        "modes of servers",
        names=("test_a_herd_is_woken_for_nothing", "test_the_end_of_a_drain_is_no_waste"),
        turn=True,
    ),
    Entry(
        "kernel/test_udp.py", HERE + ROOTS + PLAIN + ARM, "hooks of datagrams; each ss and nstat"
    ),
    Entry(
        "kernel/test_udp.py",
        HERE + ROOTS + PLAIN + ARM,
        "address families: hooks for both are attached and met in turn",
        names=(
            "test_every_datagram_is_counted_for_its_socket",
            "test_what_a_full_queue_drops_is_counted",
            "test_a_connected_member_is_kept_apart",
        ),
        turn=True,
    ),
    Entry(
        "kernel/test_udp.py",
        HERE + ROOTS + OLDEST + NEWEST,
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
    Entry("kernel/test_rows.py", HERE + ENDS, "maps, and who has ended"),
    Entry(
        "kernel/test_rows.py",
        HERE + PLAIN,
        "our own maps: all attach types write them by the same functions",
        names=(
            "test_threads_beyond_many_are_counted_as_their_process",
            "test_what_is_read_again_quickly_is_what_the_rows_tell",
        ),
        turn=True,
    ),
    Entry(
        "kernel/test_rows.py",
        HERE + OLDEST,
        "thousands: the sizes are our own; there, memory for maps is limited by RLIMIT_MEMLOCK",
        names=(
            "test_listeners_by_the_thousand_are_counted_exactly",
            "test_thousands_of_threads_are_counted_in_a_few_rows",
        ),
        turn=True,
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
        HERE + ENDS,
        "time namespaces are shown alike since 5.6, and read once for all attach types",
        turn=True,
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
    Entry("kernel/test_record.py", HERE, "what a run has read, kept: the same everywhere"),
    Entry("kernel/test_screen.py", HERE, "keys, signals and terminals: the same everywhere"),
    Entry(
        "kernel/test_cli.py",
        HERE + ROOTS + OLDEST + NEWEST,
        "before 5.11 it takes one more capability, and there are no BPF links for some hooks",
        names=(
            "test_capabilities_suffice_without_root",
            "test_nothing_stays_attached_after_sigkill",
            "test_without_privileges_one_clear_error_and_77",
        ),
    ),
    # In a machine bcc compiles for half a minute, by headers for more than one. Each attach type is
    # loaded once on each of two kernels, by BTF or by headers: they say where fields are, the text
    # is the same. The host's bcc is not made for newer kernels; a foreign userland is without.
    Entry("kernel/test_loaders.py", HERE + ROOTS, "each bcc"),
    Entry("kernel/test_loaders.py", OLDEST, "bcc by BTF", variants="fentry|kprobe"),
    Entry("kernel/test_loaders.py", ("6.1",), "bcc by BTF", variants="fentry|tracepoint"),
    Entry(
        "kernel/test_loaders.py",
        ("5.10-headers",),
        "bcc by headers, one sharing mode",
        variants="^tracepoint-reuseport$",
    ),
    Entry(
        "kernel/test_loaders.py",
        ("6.1-headers",),
        "bcc by headers, one sharing mode; and once, of UDP what has hooks",
        variants="^kprobe(-reuseport)?$",
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
    # --- other kernels and architectures: each test once, with one attach type
    *(
        Entry(
            f"kernel/test_{name}.py",
            rows,
            "the oldest and the newest kernel meet each attach type",
            turn=True,
        )
        for rows, names in (
            (BETWEEN, ("drops", "filters", "open", "rows", "wasted")),
            (BETWEEN + ARMS, ("close", "overflow", "selection", "waiting", "ways")),
        )
        for name in names
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
    about = [each for each in TABLE if each.covers(path, name)]
    exact = max(((bool(each.names), len(each.path)) for each in about), default=None)
    for each in about:
        fits = exact == (bool(each.names), len(each.path)) and place in each.places
        if fits and re.search(each.variants, variant):
            return each
    return None


def turn(entry: Entry, place: str, nth: int, types: tuple[str, ...]) -> str:
    """The attach type that the nth variant of a test meets in a row, of those that work there."""
    row = [each for each in entry.places if each in ROWS].index(place)
    # Moved on by one each time round, as variants may come in threes too.
    return types[(row + nth + nth // len(types)) % len(types)]
