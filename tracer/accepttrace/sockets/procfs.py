"""Plain reading of /proc/PID: names, control groups, file descriptors, namespaces.

Every function raises OSError as the kernel gives it: FileNotFoundError and ProcessLookupError when
the process is gone, PermissionError when it belongs to somebody else. How much there is to read is
up to the process, so each reading has a limit. Its memory may even lie where reading never ends:
`cmdline` and `name` are for a sockets.helper.Helper.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from functools import cache, lru_cache
from itertools import islice
from sys import intern
from typing import Final

from accepttrace.facts.kin import Kin
from accepttrace.facts.places import CONTAINER
from accepttrace.sockets.names import is_spawned, worker_name

FILE_BYTES: Final = 65536
CMDLINE_BYTES: Final = 4096
DESCRIPTORS_READ: Final = 65536  # of one process
THREADS_TRIED: Final = 16
REMEMBERED: Final = 256  # lists of control groups
STATE, PPID, SESSION, FLAGS, STARTTIME = 0, 1, 3, 6, 19  # fields of stat behind comm: proc(5)
STOPPED: Final = ("T", "t")  # by a signal, by a debugger
PF_KTHREAD: Final = 0x200000  # in the field `flags`
GENERATIONS: Final = 4  # of parents whose name may be that of a process
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


def exists(pid: int) -> bool:
    """Whether /proc shows this process at all."""
    return os.path.exists(f"/proc/{pid}")


def text(path: str, limit: int = FILE_BYTES) -> str:
    """A small file up to its limit in bytes. U+FFFD stands for those that are not UTF-8."""
    # Unbuffered reading of small files: a third of the time that open().read() takes.
    fd = os.open(path, os.O_RDONLY)
    try:
        data = os.read(fd, limit)
        while len(data) < limit:
            part = os.read(fd, limit - len(data))
            if not part:
                break
            data += part
    finally:
        os.close(fd)
    return data.decode("utf-8", "replace")


def record(path: str) -> str:
    """As `text`, of a file that is one record (single_open() in the kernel): it comes at once."""
    fd = os.open(path, os.O_RDONLY)
    try:
        data = os.read(fd, FILE_BYTES)
    finally:
        os.close(fd)
    return data.decode("utf-8", "replace")


def stat(pid: int) -> tuple[str, int]:
    """(comm, start_ticks)."""
    comm, fields = _stat(pid)
    return comm, int(fields[STARTTIME])


def _stat(pid: int) -> tuple[str, list[str]]:
    """comm, and the fields behind it. It may hold spaces and parentheses: the last one ends it."""
    line = record(f"/proc/{pid}/stat")
    end = line.rindex(")")
    return line[line.index("(") + 1 : end], line[end + 2 :].split()


def kin(pid: int) -> Kin:
    """Whose child it is, its user and its CPUs."""
    comm, fields = _stat(pid)
    start, parent, session = (int(fields[place]) for place in (STARTTIME, PPID, SESSION))
    status = record(f"/proc/{pid}/status")
    uids, cpus = _values(status, "Uid"), _values(status, "Cpus_allowed_list")
    uid = int(uids[1]) if len(uids) > 1 else None
    stopped = fields[STATE] in STOPPED
    return Kin(pid, start, comm, parent, session, uid, intern(cpus[0]) if cpus else None, stopped)


# Where a thread sleeps that does nothing: stopped by a signal or a debugger, or frozen with its
# control group (there the kernel may have inlined what waits).
SUSPENDED: Final = frozenset(
    {"do_signal_stop", "ptrace_stop", "do_freezer_trap", "get_signal", "__refrigerator"}
)


def is_suspended(folder: str) -> bool:
    """Of a thread, or of the first of a process. OSError if it is gone."""
    return record(f"{folder}/wchan") in SUSPENDED


def _values(status: str, name: str) -> list[str]:
    """Of a line of /proc/PID/status; none: it is not there. In a comm, newlines are escaped."""
    return f"\n{status}".partition(f"\n{name}:")[2].partition("\n")[0].split()


def cmdline(pid: int, tid: int) -> tuple[str, ...]:
    """The words of the command line; one word with spaces where the process set a title.

    `tid`: a thread of it that lives. A leader that has ended has no memory any more.
    """
    fd = os.open(f"{task(pid, tid)}/cmdline", os.O_RDONLY)
    try:
        words = os.read(fd, CMDLINE_BYTES).decode("utf-8", "replace")
    finally:
        os.close(fd)
    return tuple(word for word in words.split("\0") if word)


def task(pid: int, tid: int) -> str:
    """The folder of a thread."""
    return f"/proc/{pid}/task/{tid}"


def names(folder: str, limit: int) -> list[str]:
    """What is in a folder, as far as the limit."""
    with os.scandir(folder) as entries:
        return [entry.name for entry in islice(entries, limit)]


def cgroup(pid: int) -> str | None:
    """The path below the cgroup root: that of v2 (`0::`), else the longest of v1."""
    return cgroup_path(record(f"/proc/{pid}/cgroup"))


@lru_cache(maxsize=REMEMBERED)  # many processes have the same
def cgroup_path(lines: str) -> str | None:
    """As `cgroup`, from the text of the file. `0::/` gives way to a longer v1 path (hybrid)."""
    # Not splitlines(): a name may hold what Python, unlike the kernel, takes for the end of a line.
    entries = [line.split(":", 2) for line in lines.split("\n") if line.count(":") >= 2]
    unified = [path for number, _, path in entries if number == "0"]
    if unified and unified[0] != "/":
        return unified[0]
    return max((path for _, _, path in entries), key=len) if entries else None


def container_id(path: str | None) -> str | None:
    """The container that a cgroup path names, as its tools show it.

    Of docker, podman and Kubernetes the first 12 of 64 hexadecimal digits; of LXC, LXD, Incus and
    systemd-nspawn the name. The innermost, where containers are nested.
    """
    path = path or ""
    found = [(one.start(), one[0][:12]) for one in CONTAINER.finditer(path)]
    found += [(one.start(), _unescaped(one["name"])) for one in NAMED_CONTAINER.finditer(path)]
    return max(found)[1] if found else None


def _unescaped(name: str) -> str:
    """systemd writes a hyphen in the name of a unit as `\\x2d`."""
    return re.sub(r"\\x([0-9a-f]{2})", lambda code: chr(int(code[1], 16)), name)


def ns_pid(pid: int) -> int | None:
    """The PID that the process has in its own PID namespace (last value of NSpid)."""
    with suppress(OSError):  # another user's is not shown
        if os.stat(f"/proc/{pid}/ns/pid").st_ino == _shown_pidns():
            return pid  # at a fifth of the time
    numbers = _ns_pids(pid)
    return int(numbers[-1]) if numbers else None


@cache
def _shown_pidns() -> int | None:
    """The PID namespace whose PIDs /proc shows; None: not the one that we are in ourselves."""
    own = os.getpid()
    return os.stat("/proc/self/ns/pid").st_ino if _ns_pids(own) == [str(own)] else None


def _ns_pids(pid: int) -> list[str]:
    """In each PID namespace, from that of /proc to its own."""
    return _values(record(f"/proc/{pid}/status"), "NSpid")


def netns(path: str) -> int:
    """The inode number of the network namespace at a path as /proc/PID/ns/net."""
    return os.stat(path).st_ino


def descriptors(pid: int, tid: int | None = None) -> tuple[dict[int, int], list[int], bool]:
    """(fd → inode of each socket, the epoll fds, whether that is all).

    What is closed while reading is left out.
    """
    sockets: dict[int, int] = {}
    epolls: list[int] = []
    folder = f"{task(pid, tid or pid)}/fd"
    found = names(folder, DESCRIPTORS_READ)
    for name in found:
        try:
            target = os.readlink(f"{folder}/{name}")
        except GONE:
            continue
        if target.startswith("socket:["):
            sockets[int(name)] = int(target[8:-1])
        elif target == "anon_inode:[eventpoll]":
            epolls.append(int(name))
    return sockets, epolls, len(found) < DESCRIPTORS_READ


def socket_at(pid: int, tid: int, fd: int) -> int | None:
    """The inode of the socket at `fd` of a thread; None if there is none (any more)."""
    try:
        target = os.readlink(f"{task(pid, tid)}/fd/{fd}")
    except GONE:
        return None
    return int(target[8:-1]) if target.startswith("socket:[") else None


def may_be_socket(path: str) -> bool:
    """Whether a descriptor, by its link in /proc, is a socket, or is gone and may have been one."""
    try:
        return os.readlink(path).startswith("socket:[")
    except GONE:
        return True


def is_kernel_thread(pid: int) -> bool:
    """Whether it is one: it has no files of its own."""
    return bool(int(_stat(pid)[1][FLAGS]) & PF_KTHREAD)


def is_stopped(pid: int) -> bool:
    """Whether a signal or a debugger has stopped it."""
    return _stat(pid)[1][STATE] in STOPPED


def is_zombie(pid: int) -> bool:
    """Whether its leader has ended; other threads of it may live on."""
    return _stat(pid)[1][STATE] in ("Z", "X")


def living_thread(pid: int) -> int | None:
    """A thread of a process whose leader has ended; None if there is none."""
    for name in names(f"/proc/{pid}/task", THREADS_TRIED):
        if int(name) != pid:
            return int(name)
    return None


def name(who: tuple[int, int, str]) -> str:
    """What people call a process: its PID, a thread of it that lives, and `comm`.

    A worker that Python started anew is called what its parent is.
    """
    pid, tid, comm = who
    return _name(pid, tid, comm, GENERATIONS)


def _name(pid: int, tid: int, comm: str, generations: int) -> str:
    words = cmdline(pid, tid)
    if generations and is_spawned(words):
        with suppress(OSError):
            parent = _parent(pid)
            if os.readlink(f"/proc/{parent}/exe") == os.readlink(f"/proc/{pid}/exe"):
                return _name(parent, parent, stat(parent)[0], generations - 1)
    return worker_name(comm, words)


def _parent(pid: int) -> int:
    return int(_stat(pid)[1][PPID])
