"""Recordings of UDP and of AF_UNIX: as of TCP, a replay says what the run said."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import accepttrace.views
from accepttrace.run.replay import Recording
from accepttrace.store.steps import TakenOfUdp

from .conftest import ACCEPTTRACE, wait_until
from .udpserver import UdpServer, member
from .unixlisteners import unix_listener

END_S = 30.0
SENT = 40
NAME = f"@accepttrace-record-{os.getpid()}"


def record(file: Path, asked: tuple[str, ...], load: Callable[[], object]) -> dict[str, Any]:
    """A recording of some load: the summary that the run ended with."""
    ready = file.with_suffix(".ready")
    command = (*ACCEPTTRACE, "record", str(file), *asked, "-i", "0.2", "-o", "jsonl")
    process = subprocess.Popen(
        (*command, "--ready-file", str(ready)), stdout=subprocess.PIPE, text=True
    )
    try:
        wait_until(lambda: ready.exists() or process.poll() is not None, "ready", END_S)
        assert process.poll() is None
        load()
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=END_S)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0
    found: dict[str, Any] = json.loads(out)
    return found


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run((*ACCEPTTRACE, *arguments), capture_output=True, text=True)


def replay(file: Path, *options: str) -> list[dict[str, Any]]:
    """All objects of a replay."""
    done = run("replay", str(file), "-o", "jsonl", *options)
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_udp_sockets_are_recorded_and_replayed(tmp_path: Path) -> None:
    first = member(socket.AF_INET)
    port = first.getsockname()[1]
    file = tmp_path / "run.gz"

    def load() -> None:
        for _ in range(SENT):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.sendto(b"x", ("127.0.0.1", port))
        wait_until(lambda: sum(server.received().values()) == SENT, "all received")

    with UdpServer([[first], [member(socket.AF_INET, port)]]) as server:
        summary = record(file, ("--udp", str(port)), load)
        received = server.received()
    meta, *_, last = replay(file)
    assert (last, meta["protocol"]) == (summary, "udp")
    schema = json.loads((Path(accepttrace.views.__file__).parent / "udp.schema.json").read_text())
    Draft202012Validator(schema).validate(last)
    for row in last["sockets"]:
        known = [row[name] for name in ("datagrams", "read") if row[name] is not None]
        assert set(known) <= {received[row["inode"]]}
    assert {row["inode"] for row in last["sockets"]} == received.keys()
    steps = list(Recording(file).steps())
    assert sum(isinstance(step, TakenOfUdp) for step in steps) >= 2
    assert run("replay", str(file), "--by", "process").returncode == 2
    for command in (("report", "-o", f"{tmp_path}/x.html"), ("diff", str(file)), ("check",)):
        where = ("--recording", str(file)) if command == ("check",) else (str(file),)
        done = run(command[0], *where, *command[1:])
        assert (done.returncode, done.stdout) == (2, "")
        assert "is a recording of UDP, which accepts nothing" in done.stderr


def test_unix_listeners_are_recorded_and_replayed(tmp_path: Path) -> None:
    file = tmp_path / "run.gz"
    name = "\0" + NAME[1:]

    def load() -> None:
        for _ in range(SENT):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(name)
                sock.accept()[0].close()

    with unix_listener(name) as sock:
        summary = record(file, (NAME, "--events"), load)
    meta, *_, last = replay(file, "--by", "process")
    assert (meta["protocol"], meta["filter"]) == ("unix", f"UNIX {NAME}")
    assert [(row["pid"], row["accepts"]) for row in last["acceptors"]] == [(os.getpid(), SENT)]
    assert replay(file)[-1] == summary
    done = run("events", "--recording", str(file), "-o", "jsonl")
    _, *events, account = map(json.loads, done.stdout.splitlines())
    assert {(one["path"], one["pid"]) for one in events} == {(NAME, os.getpid())}
    assert (len(events), account["accepts"], account["balanced"]) == (SENT, SENT, True)
    assert "PEERPID" in run("events", "--recording", str(file)).stdout.partition("\n")[0]
    (listener,) = summary["listeners"]
    assert (listener["local_address"], listener["accepted"]) == (NAME, SENT)
    for conditions, status in ((("--min-workers", "1"), 0), (("--min-local", "80%"), 2)):
        assert run("check", "--recording", str(file), *conditions).returncode == status
    done = run("diff", str(file), str(file), "-o", "json")
    (place,) = json.loads(done.stdout)["places"]
    assert (place["local_address"], place["local_port"]) == (NAME, None)
    values = {one["name"]: one["before"]["value"] for one in place["differences"]}
    assert values["connections"] == SENT
    assert not {"lost", "wait_p99", "open_connections"} & values.keys()


@pytest.mark.parametrize("options", [("--udp", "--events"), (NAME, "--local"), ("--udp", NAME)])
def test_what_is_not_known_of_them_is_refused(tmp_path: Path, options: tuple[str, ...]) -> None:
    done = run("record", str(tmp_path / "run.gz"), *options)
    assert done.returncode == 2
    assert not (tmp_path / "run.gz").exists()
