"""The kernel's own tests of SO_REUSEPORT, traced: what they assert of each socket is said too.

Their sources come from Debian's package of the kernel source. `pausing.c` stops them while what
they built stands.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from accepttrace.config import Config
from accepttrace.run.tcp import TcpSubject

from .conftest import Tracing
from .network import own_network

SOURCES = sorted(Path("/usr/src").glob("linux-source-6.1[2-9].tar.xz"))
BUILT = Path(__file__).resolve().parents[2] / ".cache" / "selftests" / os.uname().machine
FOLDER = "tools/testing/selftests"
PROGRAMS: dict[str, tuple[tuple[str, ...], ...]] = {
    "reuseport_bpf": ((),),
    "reuseport_bpf_cpu": ((),),
    "reuseport_addr_any": ((),),
    "reuseport_dualstack": ((),),
    "so_incoming_cpu": ((),),
    "tcp_fastopen_backup_key": (("-4",), ("-6", "-s")),
}
CASES = [(name, options) for name, variants in PROGRAMS.items() for options in variants]
RELEASE = tuple(int(part) for part in os.uname().release.split(".")[:2])
PATIENCE_S = 60.0
FEW = 500  # Fast Open connections instead of 10,000

pytestmark = pytest.mark.xfail(
    not SOURCES and not (BUILT / "done").exists(),
    run=False,
    reason="no package linux-source-6.12 (or newer) here",
)


@pytest.fixture(scope="module")
def programs() -> Path:
    """The folder where they and the library to preload are; built once for all machines."""
    if (BUILT / "done").exists():
        return BUILT
    BUILT.mkdir(parents=True, exist_ok=True)
    with (BUILT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (BUILT / "done").exists():
            build()
    return BUILT


def build() -> None:
    name = SOURCES[-1].name.removesuffix(".tar.xz")
    wanted = [f"{name}/{FOLDER}/net/{program}.c" for program in PROGRAMS]
    wanted += [f"{name}/{FOLDER}/{header}" for header in ("kselftest.h", "kselftest_harness.h")]
    unpack = ("tar", "-C", str(BUILT), "--strip-components=1", "-xJf", str(SOURCES[-1]))
    subprocess.run((*unpack, *wanted), check=True)
    compiled = ("cc", "-O1", "-w", "-o")
    for program in PROGRAMS:
        source = BUILT / FOLDER / "net" / f"{program}.c"
        source.write_text(source.read_text().replace("n_loops = 10000", f"n_loops = {FEW}"))
        subprocess.run((*compiled, BUILT / program, source), check=True)
    pausing = Path(__file__).with_name("pausing.c")
    library = (*compiled, BUILT / "pausing.so", "-shared", "-fPIC", pausing, "-ldl")
    subprocess.run(library, check=True)
    (BUILT / "done").touch()


@contextmanager
def paused(program: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], socket.socket]]:
    """It runs, and says on the socket what stands each time before that changes."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        environment = {
            **os.environ,
            "LD_PRELOAD": str(program.with_name("pausing.so")),
            "PAUSING_FD": str(theirs.fileno()),
        }
        with subprocess.Popen(
            (str(program), *options),
            env=environment,
            pass_fds=(theirs.fileno(),),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            theirs.close()
            ours.settimeout(PATIENCE_S)
            try:
                yield process, ours
            finally:
                process.kill()


def pictures(channel: socket.socket) -> Iterator[list[dict[str, Any]]]:
    """What stands, until it has ended."""
    while text := channel.recv(1 << 16):
        yield json.loads(text)
        channel.send(b"\0")


def listed(subject: TcpSubject, inodes: set[int]) -> dict[int, Any]:
    """Their rows; a namespace that was just made may take a moment to be found."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        rows = {row.inode: row for row in subject.refresh().listeners if row.inode in inodes}
        if all(inode in rows and rows[inode].open for inode in inodes):
            return rows
        assert time.monotonic() < deadline, f"not listed: {inodes - rows.keys()}"


@pytest.mark.parametrize(("name", "options"), CASES, ids=lambda part: "".join(part) or "all")
def test_what_the_kernel_tests_of_itself_is_reported(
    tracing: Tracing, programs: Path, name: str, options: tuple[str, ...]
) -> None:
    config = Config(attach=tracing.plan.attach, loader=tracing.session.loader)
    seen = 0
    with (
        own_network(tcp_fastopen=3),
        TcpSubject(config) as subject,
        paused(programs / name, *options) as (process, channel),
    ):
        for picture in pictures(channel):
            shown = {one["inode"]: one for one in picture}
            rows = listed(subject, set(shown))
            groups = {(one["group"], rows[inode].group) for inode, one in shown.items()}
            assert len(groups) == len({ours for ours, _ in groups}) == len({i for _, i in groups})
            for inode, one in shown.items():
                row = rows[inode]
                assert (row.accepted, row.group_size) == (one["accepts"], one["size"])
                if one["selector"] != "incoming_cpu" or RELEASE >= (6, 1):
                    assert row.selector == one["selector"]
            seen += sum(one["accepts"] for one in picture)
        output = process.communicate()[0]
    assert process.returncode == 0, output
    assert seen
