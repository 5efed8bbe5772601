"""More events than the ring buffer holds: what was lost is said, and nothing else is wrong."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from accepttrace.probe import wire
from accepttrace.probe.connections import LAYOUT

from .conftest import ACCEPTTRACE, wait_until
from .test_cli import CHOICE

ROOM = wire.EVENTS_BYTES // LAYOUT.size  # events that wait for their reader, at most
MANY = ROOM + 5_000
END_S = 60.0
_FLOOD = Path(__file__).parents[2] / "bench" / "flood"


class Flood(NamedTuple):
    """A server with its load, which waits to be asked for it."""

    process: subprocess.Popen[str]
    port: str

    def accepts(self) -> int:
        """Let it come; how many connections the server itself has counted."""
        out, _ = self.process.communicate("\n", timeout=END_S)
        counted = json.loads(out)
        assert (counted["failed"], counted["connections"]) == (0, MANY)
        return int(counted["accepts"])


@pytest.fixture
def flood() -> Iterator[Flood]:
    command = (_FLOOD, "pair", "reuseport", "0", "-w", "2", "-n", str(MANY), "-g")
    pipes = {name: subprocess.PIPE for name in ("stdin", "stdout", "stderr")}
    with subprocess.Popen(command, text=True, **pipes) as process:  # type: ignore[call-overload]
        try:
            yield Flood(process, process.stderr.readline().split()[1])
        finally:
            process.kill()


@contextmanager
def tracing(*words: str, out: Path) -> Iterator[subprocess.Popen[str]]:
    """A command, attached, that writes JSON Lines into a file."""
    ready = out.with_suffix(".ready")
    command = (*ACCEPTTRACE, *words, "-o", "jsonl", *CHOICE, "--ready-file", str(ready))
    with (
        open(out, "w", encoding="utf-8") as file,
        subprocess.Popen(command, text=True, stdout=file, stderr=subprocess.PIPE) as process,
    ):
        try:
            wait_until(lambda: ready.exists() or process.poll() is not None, "ready", END_S)
            assert process.poll() is None, process.stderr
            yield process
        finally:
            process.kill()


def ended(process: subprocess.Popen[str]) -> str:
    """What it says on standard error, asked to end."""
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=END_S)
    assert process.returncode == 0
    return said


def lines(out: Path) -> tuple[int, dict[str, Any]]:
    """How many events are in it, and the summary."""
    found = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    return sum(line["type"] == "accept" for line in found), found[-1]


def shown(file: Path, out: Path) -> tuple[int, dict[str, Any]]:
    """Events of a recording, as `lines`."""
    command = (*ACCEPTTRACE, "events", "--recording", str(file), "-o", "jsonl")
    with open(out, "w", encoding="utf-8") as to:
        subprocess.run(command, stdout=to, stderr=subprocess.DEVNULL, check=True)
    return lines(out)


def assert_accounted(events: int, last: dict[str, Any], accepts: int, said: str) -> None:
    """Each accept has its event, or is said to have lost it."""
    assert (last["accepts"], last["unseen"], last["not_shown"]) == (accepts, 0, 0), said
    assert events == last["shown"]
    assert events + last["lost"] == accepts
    assert last["balanced"] is (not last["lost"])


def test_those_that_a_stopped_reader_has_no_room_for_are_said_to_be_lost(
    flood: Flood, tmp_path: Path
) -> None:
    """Counting goes on meanwhile, and stays exact."""
    out = tmp_path / "events"
    with tracing("events", flood.port, out=out) as process:
        process.send_signal(signal.SIGSTOP)
        accepts = flood.accepts()
        process.send_signal(signal.SIGCONT)
        said = ended(process)
    events, last = lines(out)
    assert accepts == MANY
    assert_accounted(events, last, accepts, said)
    assert 0 < events <= ROOM
    assert f"{last['lost']:,} lost: the reader was too slow" in said
    assert "nothing lost" not in said


def test_so_are_those_of_a_recording_whose_summary_is_that_of_the_run(
    flood: Flood, tmp_path: Path
) -> None:
    file, out = tmp_path / "run.gz", tmp_path / "summary"
    with tracing("record", str(file), flood.port, "--events", out=out) as process:
        accepts = flood.accepts()
        said = ended(process)
    _, summary = lines(out)
    events, last = shown(file, tmp_path / "events")
    assert summary["books"]["accepts"] == accepts == MANY
    assert_accounted(events, last, accepts, said)
    assert f"{events:,} events (" in said
    assert ("none lost" in said) is (last["lost"] == 0)
    replayed = subprocess.check_output((*ACCEPTTRACE, "replay", str(file), "-o", "jsonl"))
    assert json.loads(replayed.splitlines()[-1]) == summary
