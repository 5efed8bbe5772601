"""`--ready-file` where others can write: new, by way of no link, and never waited on."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hostile.processes import ACCEPTTRACE

SECRET = "important"
NOBODY = 65534


def run(ready: Path) -> subprocess.CompletedProcess[str]:
    command = (*ACCEPTTRACE, "-p", "1", "-d", "0.1", "--ready-file", str(ready))
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A folder of somebody else's."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    os.chown(folder, NOBODY, NOBODY)
    return folder


def link(ready: Path, precious: Path) -> None:
    ready.symlink_to(precious)


def hard_link(ready: Path, precious: Path) -> None:
    os.link(precious, ready)


def pipe(ready: Path, _: Path) -> None:
    os.mkfifo(ready)


def old(ready: Path, _: Path) -> None:
    ready.write_text("1\n")


@pytest.mark.parametrize("put", [link, hard_link, pipe, old])
def test_what_was_there_is_replaced_and_not_written_to(
    put: Callable[[Path, Path], None], theirs: Path, tmp_path: Path
) -> None:
    precious, ready = tmp_path / "precious", theirs / "ready"
    precious.write_text(SECRET)
    put(ready, precious)
    done = run(ready)
    assert (done.returncode, done.stderr) == (0, "")
    assert precious.read_text() == SECRET
    assert not ready.is_symlink()
    assert ready.stat().st_uid == os.geteuid()
    assert ready.read_text().strip().isdigit()
    assert ready.read_text() != "1\n"
    assert os.listdir(theirs) == ["ready"]


def test_an_old_one_is_gone_when_nothing_could_be_attached(theirs: Path) -> None:
    ready = theirs / "ready"
    ready.write_text("1\n")
    command = " ".join((*ACCEPTTRACE, "-p", "1", "--ready-file", str(ready)))
    drop = "--drop=cap_bpf,cap_sys_admin,cap_perfmon"
    done = subprocess.run(("capsh", drop, "--", "-c", command), capture_output=True, text=True)
    assert done.returncode == 77
    assert not ready.exists()


def test_a_link_that_another_made_is_not_followed_on_the_way(theirs: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    way = theirs / "way"
    way.symlink_to(target)
    os.chown(way, NOBODY, NOBODY, follow_symlinks=False)
    done = run(way / "ready")
    assert done.returncode == 2
    assert done.stderr.startswith("accepttrace: cannot use --ready-file")
    assert list(target.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere/ready", "there is no folder"),
        (".", "directory"),
        ("/dev/stdout", "is no file"),
        ("/dev/null", "is no file"),
    ],
)
def test_what_cannot_be_is_reported(name: str, said: str, tmp_path: Path) -> None:
    done = run(tmp_path / name)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Errno" not in done.stderr
    assert len(done.stderr.splitlines()) <= 4
    assert Path("/dev/stdout").is_symlink()
    assert Path("/dev/null").exists()
