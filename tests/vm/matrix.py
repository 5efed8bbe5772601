"""The kernels that the kernel tests are run on: one list, as data.

`tests.vm.run` boots the rows; the README's support table is made from the same list.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

AttachType = Literal["fentry", "kprobe", "tracepoint"]
ALL_TYPES: tuple[AttachType, ...] = ("fentry", "kprobe", "tracepoint")
# bcc and its compiler would treble the userland of a foreign architecture.
NEEDS_BCC = ("tests/kernel/test_loaders.py",)


@dataclass(frozen=True, slots=True)
class Row:
    """One boot.

    `arch` is Debian's name; another one than the host's is run by tests.vm.foreign.
    `package` is Debian's meta package: whatever release it points to in `suite` is taken.
    `attach` lists the types that must work there; the tests see the others as refused.
    `setup` is shell, run as root in the guest before the command.
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
    leaves_out: tuple[str, ...] = ()  # test files that are not run there
    headers: bool = False  # also unpack the kernel headers, which bcc compiles against


ROWS: tuple[Row, ...] = (
    Row(
        name="5.10",
        suite="bullseye",
        headers=True,
        why="oldest supported: older sock_reuseport, memlock accounting, no cookies in tracing",
    ),
    Row(
        name="6.1",
        suite="bookworm",
        headers=True,
        why="Debian 12; last layout before sk_data_ready, inlined queue_add, old accept prototype",
    ),
    Row(
        name="6.12",
        suite="trixie",
        why="Debian 13; accept takes proto_accept_arg since 6.10",
    ),
    Row(
        name="7.x",
        suite="sid",
        why="the newest released kernel that Debian builds",
    ),
    Row(
        name="6.1-arm64",
        suite="bookworm",
        package="linux-image-arm64",
        arch="arm64",
        leaves_out=NEEDS_BCC,
        attach=("kprobe", "tracepoint"),
        # Debian's 3 refuses kprobes to whoever has capabilities only.
        setup="echo 2 >/proc/sys/kernel/perf_event_paranoid",
        why="arm64 before it had trampolines (6.4): fentry is refused, kprobe is chosen",
    ),
    Row(
        name="6.12-arm64",
        suite="trixie",
        package="linux-image-arm64",
        arch="arm64",
        leaves_out=NEEDS_BCC,
        why="the other architecture: its registers, system call numbers and trampolines",
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
