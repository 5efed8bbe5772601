"""Listening UNIX sockets: as `who` shows them, and as `ss` does."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest
from click.testing import CliRunner

from accepttrace.cli.who import who
from accepttrace.config import Config
from accepttrace.errors import UnsupportedError
from accepttrace.probe.plans import Detail
from accepttrace.run.unix import UnixSubject

from .conftest import EXPECTED, Way

AUTO: Final = Way("auto", "auto")


def told(*arguments: str) -> list[dict[str, Any]]:
    """Every line of `who -o jsonl`."""
    result = CliRunner().invoke(who, [*arguments, "-o", "jsonl"])
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.output.splitlines() if line.startswith("{")]


def rows_of(*arguments: str) -> list[dict[str, Any]]:
    """The listeners among them."""
    return [line for line in told(*arguments) if line["type"] == "listener"]


def row_of(*arguments: str) -> dict[str, Any]:
    """The only one."""
    (row,) = rows_of(*arguments)
    return row


def ss_holders(name: str) -> set[tuple[int, int]]:
    """(PID, descriptor) as `ss -lxp` shows them."""
    return {(int(pid), int(fd)) for pid, fd in re.findall(r"pid=(\d+),fd=(\d+)", _ss(name))}


def ss_queue(name: str) -> tuple[int, int]:
    """Queue and backlog as `ss -lx` shows them."""
    fields = _ss(name).split()
    return int(fields[2]), int(fields[3])


def _ss(name: str) -> str:
    """The line of one listener; no name has a space."""
    command = ["ss", "-lxpHO"]
    printed = subprocess.run(command, capture_output=True, check=True).stdout
    lines = printed.decode(errors="replace")  # others may have any bytes for a name
    (line,) = (one for one in lines.splitlines() if one.split()[4] == name)
    return line


def unix_listener(
    name: str | bytes, backlog: int = 8, kind: int = socket.SOCK_STREAM
) -> socket.socket:
    """One that listens there."""
    sock = socket.socket(socket.AF_UNIX, kind)
    sock.bind(name)
    sock.listen(backlog)
    return sock


@contextmanager
def traced(*names: str, way: Way = AUTO, detail: Detail = "full") -> Iterator[UnixSubject]:
    """Attached; what was there is read."""
    how = {"attach": way.attach, "loader": way.loader, "detail": detail}
    config = Config(unix=frozenset(names), **how)  # type: ignore[arg-type]
    try:
        subject = UnixSubject(config)
    except UnsupportedError as error:
        if way.attach in EXPECTED or os.environ.get("ACCEPTTRACE_REQUIRE_KERNEL") == "1":
            raise
        pytest.skip(error.message)
    with subject:
        subject.refresh()
        yield subject
