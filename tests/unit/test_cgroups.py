"""Control groups by what a person types, whichever hierarchies are mounted and where."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path

import pytest

from accepttrace.sockets import cgroups, procfs


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two hierarchies, one mounted below the other; processes are in groups that are not there."""
    outer, inner = tmp_path / "cgroup", tmp_path / "cgroup" / "unified"
    (inner / "system.slice" / "nginx.service").mkdir(parents=True)
    (outer / "legacy").mkdir()
    (tmp_path / "other").mkdir()
    mounts = [
        f"36 35 0:29 / {outer} rw - cgroup cgroup rw,cpu",
        f"37 35 0:30 / {inner} rw - cgroup2 cgroup2 rw",
        f"38 35 0:31 / {tmp_path} rw - tmpfs tmpfs rw",
        "39 35 0:32 / - cgroup2 cut off",
    ]
    text = "\n".join(mounts).encode()
    monkeypatch.setattr(cgroups, "open", lambda *_: BytesIO(text), raising=False)
    groups = {1: "/init.scope", 2: "/a/b/c", 3: None}
    monkeypatch.setattr(procfs, "pids", lambda: {1, 2, 3, 4})

    def cgroup(pid: int) -> str | None:
        if pid not in groups:
            raise ProcessLookupError
        return groups[pid]

    monkeypatch.setattr(procfs, "cgroup", cgroup)
    return tmp_path


@pytest.mark.parametrize(
    ("typed", "path"),
    [
        ("/system.slice/nginx.service", "/system.slice/nginx.service"),
        ("system.slice//./nginx.service/", "/system.slice/nginx.service"),
        ("{}/cgroup/unified/system.slice", "/system.slice"),
        ("{}/cgroup/unified", "/"),
        ("{}/cgroup/legacy", "/legacy"),
        ("/legacy", "/legacy"),
        ("/unified", "/unified"),
        ("/init.scope", "/init.scope"),
        ("/a/b/c", "/a/b/c"),
        ("/a/b", "/a/b"),  # only processes tell of it, and of what is above theirs
        ("a", "/a"),
        ("/a/b/c/d", None),
        ("/b", None),
        ("/other", None),
        ("/../other", None),
        ("/system.slice/../system.slice", None),
    ],
)
def test_a_group_is_found_by_its_path(root: Path, typed: str, path: str | None) -> None:
    assert cgroups.find(typed.format(root)) == path


def test_the_groups_of_this_machine_are_found() -> None:
    own = procfs.cgroup(os.getpid())
    assert own
    assert cgroups.find(own) == own
    assert cgroups.find("/no/such/group/at/all") is None
