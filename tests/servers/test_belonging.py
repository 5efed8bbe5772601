"""Processes in real control groups, found by the names of units and containers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from accepttrace.lab.load import run_load
from accepttrace.lab.servers import Server
from accepttrace.sockets import cgroups

NUMBER = os.urandom(32).hex()
UNIT = f"accepttrace-{os.getpid()}.service"


@pytest.fixture
def groups() -> Iterator[tuple[Path, Path]]:
    """One as that of a unit, one as that of a container of docker."""
    mounts = (Path(mount) for mount in cgroups._mounts())
    top = next((each for each in mounts if (each / "cgroup.controllers").exists()), None)
    if top is None or not os.access(top, os.W_OK):
        pytest.skip("no unified hierarchy of control groups that may be written")
    made = top / UNIT, top / f"docker-{NUMBER}.scope"
    try:
        for path in made:
            path.mkdir()
        yield made
    finally:
        for path in made:
            with suppress(OSError):
                path.rmdir()


def asked(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "accepttrace", *arguments)
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_a_unit_and_a_container_are_told_apart(groups: tuple[Path, Path]) -> None:
    with Server("epoll", workers=2) as server:
        for path, pid in zip(groups, server.pids, strict=True):
            (path / "cgroup.procs").write_text(str(pid))
        of_unit, of_container = server.pids
        assert run_load(server.addresses, 10).connected == 10
        for options, pid in (
            (("--unit", UNIT), of_unit),
            (("--unit", UNIT.removesuffix(".service")), of_unit),
            (("--container", NUMBER[:12]), of_container),
            (("--container", NUMBER, "--cgroup", f"/{groups[1].name}"), of_container),
        ):
            done = asked("top", str(server.port), *options, "-d", "0.1", "-o", "jsonl")
            assert (done.returncode, done.stderr) == (0, "")
            rows = json.loads(done.stdout.splitlines()[-1])["acceptors"]
            names = (UNIT, None) if pid == of_unit else (None, NUMBER[:12])
            assert [(row["unit"], row["container"]) for row in rows] == [names]
            assert {row["pid"] for row in rows} == {pid}, options
        other = ("--container", NUMBER, "--unit", UNIT)
        done = asked("who", *other)
        assert (done.returncode, "no process is in all that was asked for" in done.stderr) == (
            2,
            True,
        )


@pytest.mark.parametrize("option", ["--unit", "--container", "--pod"])
@pytest.mark.parametrize("command", ["top", "who", "check", "events"])
def test_what_is_not_there_is_an_error_and_not_nobody(command: str, option: str) -> None:
    done = asked(command, option, "no-such-thing")
    assert done.returncode == 2
    assert f"no process is in a {option.strip('-')} 'no-such-thing'" in done.stderr
