"""The kernels that the kernel tests are run on: one list, as data.

`vm/run.py` boots the rows, and `vm/places.py` says what runs in each. The table of docs/kernels.md
is made from the same list (`vm/support.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

AttachType = Literal["fentry", "kprobe", "tracepoint"]
ALL_TYPES: tuple[AttachType, ...] = ("fentry", "kprobe", "tracepoint")
BY_HEADERS = ("env", "ACCEPTTRACE_BCC_HEADERS=1")

# As docs/attach.md says; the tests inside then run as nobody with just these.
_CAPABILITIES = "cap_bpf,cap_perfmon,cap_sys_ptrace,cap_dac_read_search"
_AS_NOBODY = (
    *("capsh", "--keep=1", f"--inh={_CAPABILITIES}", "--gid=65534", "--uid=65534"),
    *(f"--addamb={_CAPABILITIES}", "--", "-c", 'exec "$@"', "sh"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a kernel, in a state, and what must work there.

    `arch` is Debian's name; another one than the host's is run by vm/foreign.py.
    `package` is Debian's meta package: whatever release it points to in `suite` is taken.
    `attach` lists the types that must work there; the tests see the others as refused.
    Its tests (vm/places.py) are run in the guest behind `prefix`, between `setup` and `undo`
    (shell, as root). Rows that boot alike share one machine, in the order of the list.
    """

    name: str
    suite: str
    why: str
    package: str = "linux-image-amd64"
    arch: str = "amd64"
    flavour: str = "plain"
    attach: tuple[AttachType, ...] = ALL_TYPES
    kernel_args: tuple[str, ...] = ()
    setup: str = ""
    undo: str = ""
    prefix: tuple[str, ...] = ()
    headers: bool = False  # also unpack the kernel headers, which bcc compiles against
    minutes: int = 1  # about what the tests take

    @property
    def boot(self) -> tuple[object, ...]:
        """Rows with the same value run one after the other in the same machine."""
        return self.suite, self.package, self.arch, self.headers, self.kernel_args


ROWS: tuple[Row, ...] = (
    Row(
        name="5.10",
        minutes=7,
        suite="bullseye",
        headers=True,
        why="oldest supported: older sock_reuseport, memlock accounting, no cookies in tracing",
    ),
    Row(
        name="6.1",
        minutes=4,
        suite="bookworm",
        headers=True,
        why="Debian 12; last layout before sk_data_ready, inlined queue_add, old accept prototype",
    ),
    Row(
        name="6.12",
        minutes=3,
        suite="trixie",
        why="Debian 13; accept takes proto_accept_arg since 6.10",
    ),
    Row(
        name="7.x",
        minutes=5,
        suite="sid",
        why="the newest released kernel that Debian builds",
    ),
    Row(
        name="6.1-arm64",
        minutes=2,
        suite="bookworm",
        package="linux-image-arm64",
        arch="arm64",
        attach=("kprobe", "tracepoint"),
        # Debian's 3 refuses kprobes to whoever has capabilities only.
        setup="echo 2 >/proc/sys/kernel/perf_event_paranoid",
        why="arm64 before it had trampolines (6.4): fentry is refused, kprobe is chosen",
    ),
    Row(
        name="6.12-arm64",
        minutes=3,
        suite="trixie",
        package="linux-image-arm64",
        arch="arm64",
        why="the other architecture: its registers, system call numbers and trampolines",
    ),
    Row(
        name="5.10-headers",
        minutes=2,
        suite="bullseye",
        headers=True,
        flavour="bcc compiles against kernel headers",
        attach=("kprobe", "tracepoint"),
        prefix=BY_HEADERS,
        why="libbpf by BTF and bcc by headers trace the same connections at the same time",
    ),
    Row(
        name="6.1-headers",
        minutes=2,
        suite="bookworm",
        headers=True,
        flavour="bcc compiles against kernel headers",
        attach=("kprobe", "tracepoint"),
        prefix=BY_HEADERS,
        why="the same; the fields that moved since 5.10 come from these headers",
    ),
    Row(
        name="no-btf",
        suite="bookworm",
        headers=True,
        flavour="no BTF to be seen",
        attach=(),
        setup="mount -t tmpfs none /sys/kernel/btf",
        undo="umount /sys/kernel/btf",
        why="what libbpf stands on is missing: one clear error, not three libbpf logs",
    ),
    Row(
        name="capabilities",
        suite="bookworm",
        headers=True,
        flavour="no root; unprivileged_bpf_disabled=2, perf_event_paranoid=2",
        setup="sysctl -q kernel.unprivileged_bpf_disabled=2 kernel.perf_event_paranoid=2",
        prefix=_AS_NOBODY,
        why="CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH are all that is needed",
    ),
    Row(
        name="paranoid",
        suite="trixie",
        flavour="no root; perf_event_paranoid=3, Debian's default",
        attach=("fentry", "tracepoint"),
        setup="sysctl -q kernel.unprivileged_bpf_disabled=2 kernel.perf_event_paranoid=3",
        prefix=_AS_NOBODY,
        why="Debian and Ubuntu keep perf, and so kprobes, from everyone without CAP_SYS_ADMIN",
    ),
    Row(
        name="kprobes-off",
        suite="trixie",
        flavour="kprobes disarmed",
        attach=("fentry", "tracepoint"),
        setup="echo 0 >/sys/kernel/debug/kprobes/enabled",
        undo="echo 1 >/sys/kernel/debug/kprobes/enabled",
        why="kprobes attach and stay silent: the proof must notice, and name the hook",
    ),
    Row(
        name="ftrace-off",
        suite="trixie",
        flavour="ftrace_enabled=0",
        attach=("tracepoint",),
        setup="echo 0 >/proc/sys/kernel/ftrace_enabled",
        undo="echo 1 >/proc/sys/kernel/ftrace_enabled",
        why="trampolines and kprobes attach and stay silent: only tracepoints are left",
    ),
    Row(
        name="integrity",
        suite="trixie",
        flavour="lockdown=integrity",
        kernel_args=("lockdown=integrity",),
        why="what Secure Boot sets: BPF may still read kernel memory",
    ),
    Row(
        name="confidentiality",
        suite="trixie",
        flavour="lockdown=confidentiality",
        attach=(),
        kernel_args=("lockdown=confidentiality",),
        why="BPF may not read kernel memory: refused, with the reason",
    ),
    Row(
        name="rt",
        suite="trixie",
        package="linux-image-rt-amd64",
        flavour="PREEMPT_RT",
        why="preempts everywhere: kprobe loses nothing, the others report what they lost",
    ),
    Row(
        name="cgroup-v1",
        suite="bookworm",
        headers=True,
        flavour="cgroup v1",
        setup="""\
umount /sys/fs/cgroup
mount -t tmpfs none /sys/fs/cgroup
mkdir /sys/fs/cgroup/pids
mount -t cgroup -o pids none /sys/fs/cgroup/pids""",
        undo="""\
umount /sys/fs/cgroup/pids /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup""",
        why="no unified hierarchy: cgroups are shown by their v1 path",
    ),
)


def find(names: str) -> tuple[Row, ...]:
    """Rows by comma-separated names, in the list's order; raises KeyError with an unknown name."""
    if not names:
        return ROWS
    wanted = set(names.split(","))
    unknown = wanted - {row.name for row in ROWS}
    if unknown:
        raise KeyError(", ".join(sorted(unknown)))
    return tuple(row for row in ROWS if row.name in wanted)


def boots(rows: tuple[Row, ...]) -> tuple[tuple[Row, ...], ...]:
    """Rows by machine: each group shares a boot. The long ones first, so that none ends alone."""
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(row.boot, []).append(row)
    longest = sorted(groups.values(), key=lambda group: -sum(row.minutes for row in group))
    return tuple(map(tuple, longest))
