"""Recordings of real connections: what a replay says is what the run said, however that ended."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import accepttrace.store
from accepttrace.errors import UsageError
from accepttrace.lab.load import run_load
from accepttrace.lab.servers import Server
from accepttrace.run.replay import Recording
from accepttrace.store.steps import Mark, Taken

from .conftest import ACCEPTTRACE, exact, wait_until
from .screen import shown

ATTACH, LOADER = exact()[0]
CHOICE = ("--attach", ATTACH, "--loader", LOADER)
CONNECTIONS = 300
END_S = 30.0


@contextmanager
def recorder(server: Server, file: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """`accepttrace record`, attached and proved, on a server."""
    ready = file.with_suffix(".ready")
    command = (*ACCEPTTRACE, "record", str(file), str(server.port), *CHOICE, *options)
    process = subprocess.Popen(
        (*command, "--ready-file", str(ready)),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        wait_until(lambda: ready.exists() or process.poll() is not None, "ready", END_S)
        assert process.poll() is None, process.communicate()
        yield process
    finally:
        process.kill()
        process.communicate()


def readings(file: Path) -> int:
    """So many are whole in a file, which may be quite new."""
    with suppress(UsageError):
        return sum(isinstance(step, Taken) for step in Recording(file).steps())
    return 0


def replay(file: Path, *options: str) -> tuple[list[dict[str, Any]], str]:
    """All objects of a replay, and what it said beside them."""
    command = (*ACCEPTTRACE, "replay", str(file), "-o", "jsonl", *options)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server("reuseport", workers=2) as server:
        yield server


@pytest.fixture(scope="module")
def run(server: Server, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A recording, and the summary that the run ended with."""
    file = tmp_path_factory.mktemp("record") / "run.gz"
    with recorder(server, file, "-i", "0.2", "-o", "jsonl") as process:
        assert run_load(server.addresses, CONNECTIONS).connected == CONNECTIONS
        wait_until(lambda: readings(file) > 4, "some readings")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=END_S)
    assert process.returncode == 0
    assert re.search(rf"recorded \d+ readings into {file}: [\d,]+ bytes\n$", err)
    (summary,) = map(json.loads, out.splitlines())
    return file, summary


def test_the_summary_of_a_replay_is_that_of_the_run(run: tuple[Path, dict[str, Any]]) -> None:
    file, summary = run
    objects, said = replay(file)
    assert (objects[-1], said) == (summary, "")
    assert summary["books"]["accepts"] == CONNECTIONS
    assert [one["type"] for one in objects] == [
        "meta",
        *["snapshot"] * (len(objects) - 2),
        "summary",
    ]
    assert len(objects) - 2 == readings(file) - 2  # the first and the last end no interval
    assert (
        sum(one["accepts_interval"] for each in objects[1:-1] for one in each["acceptors"]) <= 300
    )


def test_a_recording_is_json_for_anybody(run: tuple[Path, dict[str, Any]]) -> None:
    script = 'zcat "$1" | jq -r .type | sort | uniq -c'
    done = subprocess.run(
        ["sh", "-c", script, "sh", run[0]], capture_output=True, text=True, check=True
    )
    kinds = {tuple(line.split()) for line in done.stdout.splitlines()}
    assert kinds == {("1", "recording"), ("2", "mark"), (str(readings(run[0])), "reading")}


def test_each_line_is_as_the_schema_says(run: tuple[Path, dict[str, Any]]) -> None:
    text = (Path(accepttrace.store.__file__).parent / "recording.schema.json").read_text()
    validator = Draft202012Validator(json.loads(text))
    for line in gzip.decompress(run[0].read_bytes()).splitlines():
        validator.validate(json.loads(line))


def test_conditions_are_judged_as_they_would_have_been(run: tuple[Path, dict[str, Any]]) -> None:
    def status(*conditions: str) -> int:
        command = (*ACCEPTTRACE, "check", "--recording", str(run[0]), *conditions)
        return subprocess.run(command, capture_output=True).returncode

    assert status("--min-workers", "2", "--no-loss", "--expect", "reuseport") == 0
    assert status("--min-workers", "3") == 4
    assert status("--pid", "1") == 2


def test_a_recording_without_privileges(run: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    readable = tmp_path / "run.gz"
    readable.write_bytes(run[0].read_bytes())
    readable.chmod(0o644)
    with open(readable, "rb") as file:
        command = ("setpriv", "--reuid=65534", "--clear-groups", "--bounding-set=-all")
        path = f"/proc/self/fd/{file.fileno()}"
        done = subprocess.run(
            (*command, *ACCEPTTRACE, "replay", path),
            capture_output=True,
            text=True,
            pass_fds=[file.fileno()],
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{CONNECTIONS} connections accepted" in done.stdout


def test_what_was_written_before_sigkill_is_replayed(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "run.gz"
    with recorder(server, file, "-i", "0.1") as process:
        assert run_load(server.addresses, CONNECTIONS).connected == CONNECTIONS
        before = readings(file)
        wait_until(lambda: readings(file) > before + 1, "what came was read")
        process.kill()
        process.wait()
    objects, said = replay(file)
    assert objects[-1]["books"]["accepts"] == CONNECTIONS
    assert said == f"accepttrace: {file} ends early: it was cut\n"


def test_a_full_disk_ends_it_and_what_is_there_is_replayed(server: Server, tmp_path: Path) -> None:
    script = """
        mount -t tmpfs -o size=4k none "$1" || exit 9
        "$2" -m accepttrace record "$1/run.gz" "$3" -i 0.1 --attach "$4"
        status=$?
        cp "$1/run.gz" "$5"
        exit $status
    """
    (tmp_path / "disk").mkdir()
    copy = tmp_path / "run.gz"
    words = (tmp_path / "disk", ACCEPTTRACE[0], str(server.port), ATTACH, copy)
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", *words],
        capture_output=True,
        text=True,
        timeout=END_S,
    )
    assert done.returncode == 1
    recording, *error = done.stderr.splitlines()
    assert error == [
        f"accepttrace: cannot write to {tmp_path}/disk/run.gz: No space left on device",
        "  next: what was recorded until then can be replayed",
    ]
    assert recording.startswith("accepttrace: recording :")
    objects, _ = replay(copy)
    assert len(objects) > 5
    assert Mark("end") not in list(Recording(copy).steps())


def events_of(file: Path, *options: str) -> tuple[list[dict[str, Any]], dict[str, Any], str]:
    """Events of a recording, their summary, and what was said."""
    command = (*ACCEPTTRACE, "events", "--recording", str(file), "-o", "jsonl", *options)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    _, *events, last = (json.loads(line) for line in done.stdout.splitlines())
    return events, last, done.stderr


def test_events_are_kept_beside_the_readings(tmp_path: Path) -> None:
    """They are the accepts that the server counted, by worker, and those of the summary."""
    file = tmp_path / "run.gz"
    with Server("reuseport", workers=2) as server:
        with recorder(server, file, "--events", "-i", "0.2", "-o", "jsonl") as process:
            assert run_load(server.addresses, CONNECTIONS).connected == CONNECTIONS
            wait_until(lambda: sum(one.accepts for one in server.counts()) == CONNECTIONS, "all")
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=END_S)
        expected = {one.pid: one.accepts for one in server.counts()}
    events, last, said = events_of(file)
    assert (last["accepts"], last["shown"], last["balanced"]) == (CONNECTIONS, CONNECTIONS, True)
    assert said.endswith(
        f"{CONNECTIONS} events in {last['elapsed_s']:.1f}s;"
        f" {CONNECTIONS} accepts counted; nothing lost\n"
    )
    pids = [event["pid"] for event in events]
    assert {pid: pids.count(pid) for pid in set(pids)} == expected
    assert len({event["peer_port"] for event in events}) == CONNECTIONS
    assert f"and {CONNECTIONS} events (none lost) into" in err
    objects, _ = replay(file)
    assert objects[-1] == json.loads(out)
    assert objects[-1]["books"]["accepts"] == CONNECTIONS
    (pid, number), *_ = expected.items()
    few, last, _ = events_of(file, "--pid", str(pid), "-n", "7")
    assert ([event["pid"] for event in few], last["left_out"]) == ([pid] * 7, CONNECTIONS - number)
    jq = 'zcat "$1" | jq -c \'select(.type=="events").events[]\' | wc -l'
    lines = subprocess.check_output(["sh", "-c", jq, "sh", file], text=True)
    assert int(lines) == CONNECTIONS


def test_of_a_sample_the_rest_is_counted(tmp_path: Path) -> None:
    file = tmp_path / "run.gz"
    asked = ("--events", "--sample", "10", "-o", "jsonl")
    with Server("reuseport", workers=2) as server, recorder(server, file, *asked) as process:
        assert run_load(server.addresses, CONNECTIONS).connected == CONNECTIONS
        wait_until(lambda: sum(one.accepts for one in server.counts()) == CONNECTIONS, "all")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=END_S)
    events, last, said = events_of(file)
    # One of each 10 of a listener and CPU; of the last ones of each there may be none.
    assert CONNECTIONS // 10 - 2 * (os.cpu_count() or 1) <= len(events) <= CONNECTIONS // 10 + 4
    assert (last["shown"], last["accepts"], last["balanced"]) == (len(events), CONNECTIONS, True)
    assert last["not_sampled"] == CONNECTIONS - len(events)
    assert f"{last['not_sampled']} not in the sample" in said
    assert f"and {len(events)} events (one of each 10, none lost) into" in err
    assert Recording(file).beginning.sample == 10
    assert json.loads(out)["books"]["accepts"] == CONNECTIONS  # readings have all


def test_each_file_of_several_has_its_own_events(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "run.gz"
    with recorder(server, file, "--events", "-i", "0.1", "--rotate", "1s") as process:
        while not (tmp_path / "run.gz.1").exists():
            assert process.poll() is None, process.communicate()
            assert run_load(server.addresses, 50).connected == 50
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=END_S)
    for name in ("run.gz.1", "run.gz"):
        events, last, said = events_of(tmp_path / name)
        assert (last["shown"], last["balanced"]) == (last["accepts"], True), said
        assert len(events) == last["shown"]
        assert "ends early" not in said


def test_files_follow_each_other_and_each_stands_alone(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "run.gz"
    oldest = tmp_path / "run.gz.3"
    with recorder(server, file, "-i", "0.1", "--rotate", "1s", "--keep", "3") as process:
        while not oldest.exists():
            assert process.poll() is None, process.communicate()
            assert run_load(server.addresses, 50).connected == 50
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=END_S)
    names = {name for name in os.listdir(tmp_path) if "ready" not in name}
    assert names == {"run.gz", "run.gz.1", "run.gz.2", "run.gz.3"}
    times = []
    for name in sorted(names, reverse=True):
        objects, said = replay(tmp_path / name)
        assert (said, objects[-1]["books"]["word"]) == ("", "balanced")
        times += [objects[0]["started"], objects[-1]["time"]]
    assert times == sorted(times)


def test_two_runs_of_one_port_are_told_apart(tmp_path: Path) -> None:
    """Before: the epoll of a shared socket prefers one; after: each worker has its own socket."""
    port, took = 0, []
    for name, mode in (("before", "epoll"), ("after", "reuseport"), ("again", "reuseport")):
        with Server(mode, workers=4, port=port) as server:
            port = server.port
            with recorder(server, tmp_path / name, "-o", "jsonl") as process:
                assert run_load(server.addresses, 2000, concurrency=4).connected == 2000
                process.send_signal(signal.SIGINT)
                process.communicate(timeout=END_S)
            took.append(server.counts())

    def found(*names: str) -> dict[str, Any]:
        command = (*ACCEPTTRACE, "diff", "-o", "json", *(str(tmp_path / name) for name in names))
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        (place,) = json.loads(done.stdout)["places"]
        assert place["local_port"] == port
        return {one["name"]: one for one in place["differences"]}

    changed, same = found("before", "after"), found("after", "again")
    assert [changed["connections"][side]["value"] for side in ("before", "after")] == [2000] * 2
    ratios = [max(worker.accepts for worker in one) * 4 / 2000 for one in took]
    shown = [changed["max_ratio"][side]["value"] for side in ("before", "after")]
    assert shown == pytest.approx(ratios[:2], abs=0.02)
    assert changed["max_ratio"]["beyond_chance"] is True
    assert same["max_ratio"]["beyond_chance"] is False


def test_a_replay_is_driven_in_time(run: tuple[Path, dict[str, Any]]) -> None:
    clock = re.compile(r"(\d\d:\d\d:\d\dZ)")
    with shown("replay", str(run[0]), columns=120, lines=24) as screen:
        screen.until(
            lambda text: "accepttrace replay" in text and f" {CONNECTIONS} " in text, END_S
        )
        screen.press("p")
        screen.until("PAUSED", END_S)
        end = clock.findall(screen.text)[0]
        for _ in range(50):
            screen.press("\x1b[D")
        screen.until(lambda text: clock.findall(text)[0] < end or " 0 " in text, END_S)
        for _ in range(50):
            screen.press("\x1b[C")
        screen.until(
            lambda text: clock.findall(text)[0] >= end and f" {CONNECTIONS} " in text, END_S
        )
