"""Plain reading of /proc/PID: names, control groups, file descriptors, namespaces.

Every function raises OSError as the kernel gives it: FileNotFoundError and ProcessLookupError when
the process is gone, PermissionError when it belongs to somebody else. `Processes` counts those.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import Final

from accepttrace.model.records import Process
from accepttrace.sockets.names import is_spawned, worker_name

CONTAINER: Final = re.compile(r"(?<![0-9a-f])([0-9a-f]{64})(?![0-9a-f])")
# Those that have a name instead of a number, by the folder of LXC (also LXD, Incus), systemd-nspawn
# and machined.
NAMED_CONTAINER: Final = re.compile(
    r"/(?:lxc\.payload[./]|lxc/|systemd-nspawn@|machine-(?!qemu))(?P<name>[^/]+?)"
    r"(?:\.service|\.scope)?(?=/|$)"
)
GONE: Final = (FileNotFoundError, ProcessLookupError)


def pids() -> set[int]:
    """Every process visible in /proc."""
    return {int(name) for name in os.listdir("/proc") if name.isdigit()}


def visible(pid: int) -> bool:
    """Whether /proc shows this process at all."""
    return os.path.exists(f"/proc/{pid}")


def _read(path: str) -> bytes:
    # Unbuffered reading of small files: a third of the time that open().read() takes.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        chunks = [os.read(fd, 65536)]
        while chunks[-1]:
            chunks.append(os.read(fd, 65536))
        return b"".join(chunks)
    finally:
        os.close(fd)


def text(path: str) -> str:
    """A small file; bytes that are not UTF-8 become U+FFFD, as in the kernel side's names."""
    return _read(path).decode("utf-8", "replace")


def stat(pid: int) -> tuple[str, int]:
    """(comm, start_ticks). comm may hold spaces and parentheses: it ends at the last one."""
    line = text(f"/proc/{pid}/stat")
    comm = line[line.index("(") + 1 : line.rindex(")")]
    return comm, int(line[line.rindex(")") + 2 :].split()[19])


def cmdline(pid: int) -> tuple[str, ...]:
    """The words of the command line; one word with spaces where the process set a title."""
    words = text(f"/proc/{pid}/cmdline").split("\0")
    return tuple(word for word in words if word)


def cgroup(pid: int) -> str | None:
    """The path below the cgroup root: that of v2 (`0::`), else the longest of v1."""
    return cgroup_path(text(f"/proc/{pid}/cgroup"))


def cgroup_path(lines: str) -> str | None:
    """As `cgroup`, from the text of the file. `0::/` gives way to a longer v1 path (hybrid)."""
    # Not splitlines(): a name may hold what Python, unlike the kernel, takes for the end of a line.
    entries = [line.split(":", 2) for line in lines.split("\n") if line.count(":") >= 2]
    unified = [path for number, controllers, path in entries if number == "0" and not controllers]
    if unified and unified[0] != "/":
        return unified[0]
    return max((path for _, _, path in entries), key=len) if entries else None


def container_id(path: str | None) -> str | None:
    """The container that a cgroup path tells of, as its tools show it.

    Of docker, podman and Kubernetes the first 12 of 64 hexadecimal digits; of LXC, LXD, Incus and
    systemd-nspawn the name. The innermost, where containers are nested.
    """
    path = path or ""
    found = [(one.start(), one[1][:12]) for one in CONTAINER.finditer(path)]
    found += [(one.start(), _unescaped(one["name"])) for one in NAMED_CONTAINER.finditer(path)]
    return max(found)[1] if found else None


def _unescaped(name: str) -> str:
    """systemd writes a hyphen in the name of a unit as `\\x2d`."""
    return re.sub(r"\\x([0-9a-f]{2})", lambda code: chr(int(code[1], 16)), name)


def ns_pid(pid: int) -> int | None:
    """The PID that the process has in its own PID namespace (last value of NSpid)."""
    for line in text(f"/proc/{pid}/status").split("\n"):
        if line.startswith("NSpid:"):
            return int(line.split()[-1])
    return None


def netns(pid: int) -> int:
    """The inode number of the network namespace of a process."""
    return int(os.readlink(f"/proc/{pid}/ns/net")[5:-1])  # net:[4026531840]


def descriptors(pid: int) -> tuple[dict[int, int], list[int]]:
    """(fd → inode of each socket, the epoll fds). What is closed while reading is left out."""
    sockets: dict[int, int] = {}
    epolls: list[int] = []
    folder = f"/proc/{pid}/fd"
    for name in os.listdir(folder):
        try:
            target = os.readlink(f"{folder}/{name}")
        except GONE:
            continue
        if target.startswith("socket:["):
            sockets[int(name)] = int(target[8:-1])
        elif target == "anon_inode:[eventpoll]":
            epolls.append(int(name))
    return sockets, epolls


def socket_at(pid: int, fd: int) -> int | None:
    """The inode of the socket at `fd`; None if there is none (any more)."""
    try:
        target = os.readlink(f"/proc/{pid}/fd/{fd}")
    except GONE:
        return None
    return int(target[8:-1]) if target.startswith("socket:[") else None


def process(pid: int) -> Process:
    """Everything by which people know a process. OSError if it is gone."""
    comm, start_ticks = stat(pid)
    path = cgroup(pid)
    return Process(
        pid=pid,
        start_ticks=start_ticks,
        comm=comm,
        name=_name(pid, comm),
        cgroup=path,
        container=container_id(path),
        ns_pid=ns_pid(pid),
    )


def _name(pid: int, comm: str, generations: int = 4) -> str:
    """What people call it. A worker that Python started anew is called what its parent is."""
    words = cmdline(pid)
    if generations and is_spawned(words):
        with suppress(OSError):
            parent = _parent(pid)
            if os.readlink(f"/proc/{parent}/exe") == os.readlink(f"/proc/{pid}/exe"):
                return _name(parent, stat(parent)[0], generations - 1)
    return worker_name(comm, words)


def _parent(pid: int) -> int:
    line = text(f"/proc/{pid}/stat")
    return int(line[line.rindex(")") + 2 :].split()[1])
