"""Control groups by path, whichever hierarchies are mounted."""

from __future__ import annotations

import os
from collections.abc import Iterator

from accepttrace.sockets import procfs


def find(text: str) -> str | None:
    """The path of a control group below its root; None if there is no such group.

    `text` may begin with the place where the hierarchy is mounted.
    """
    for mount in _mounts():
        if text == mount or text.startswith(mount + "/"):
            text = text[len(mount) :]
    path = "/" + "/".join(part for part in text.split("/") if part not in ("", "."))
    if ".." not in path.split("/") and any(os.path.isdir(mount + path) for mount in _mounts()):
        return path
    return path if path in _in_use() else None


def _mounts() -> Iterator[str]:
    """Where hierarchies of version 1 and 2 are mounted, the longest path first."""
    with open("/proc/self/mountinfo", "rb") as file:
        lines = os.fsdecode(file.read()).split("\n")
    yield from sorted(filter(None, map(_mount, lines)), key=len, reverse=True)


def _mount(line: str) -> str | None:
    """Of a hierarchy: `36 35 0:29 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw`."""
    mount, _, source = line.partition(" - ")
    fields = mount.split(" ")
    return fields[4] if source.startswith("cgroup") and len(fields) > 4 else None


def _in_use() -> set[str]:
    """Of all processes, with every group above theirs: one may be mounted in part only."""
    found: set[str] = set()
    for pid in procfs.pids():
        try:
            path = procfs.cgroup(pid)
        except OSError:
            continue
        while path and path not in found:
            found.add(path)
            path = path.rpartition("/")[0]
    return found
