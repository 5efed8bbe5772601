"""Outputs that take nothing, or slowly; limits of memory and of descriptors."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import time
from contextlib import ExitStack
from functools import partial

import pytest

from tests.hostile.processes import ACCEPTTRACE, caught, started, wait_for

COMMANDS = (
    ("-p", "1", "-d", "0.1"),
    ("-p", "1", "-d", "0.1", "-o", "jsonl"),
    ("--udp", "-p", "1", "-d", "0.1", "-o", "csv"),
    ("who",),
    ("demo", "-d", "1"),
    ("events", "1", "-d", "0.1"),
)


def run(*command: str, **popen: object) -> subprocess.CompletedProcess[str]:
    settings = {"stderr": subprocess.PIPE, "text": True, "timeout": 60, **popen}
    return subprocess.run(command, **settings)  # type: ignore[call-overload, no-any-return]


def said(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert "Traceback" not in done.stderr
    return [line for line in done.stderr.splitlines() if line.startswith("accepttrace: ")]


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda each: each[0])
def test_a_full_disk_is_reported(arguments: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:
        done = run(*ACCEPTTRACE, *arguments, stdout=full)
    (line,) = said(done)
    assert done.returncode == 1
    assert line.startswith("accepttrace: cannot write")
    assert line.endswith("No space left on device")


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda each: each[0])
def test_a_closed_standard_output_is_a_usage_error(arguments: tuple[str, ...]) -> None:
    done = run("sh", "-c", '"$@" >&-', "sh", *ACCEPTTRACE, *arguments)
    assert (done.returncode, said(done)) == (2, ["accepttrace: standard output is closed"])


def test_closed_input_and_error_change_nothing() -> None:
    """No file of ours gets their number: what is meant for a person must not go into it."""
    script = '"$@" <&- 2>&-'
    done = run("sh", "-c", script, "sh", *ACCEPTTRACE, *COMMANDS[1], stdout=subprocess.PIPE)
    types = [json.loads(line)["type"] for line in done.stdout.splitlines()]
    assert (done.returncode, types) == (0, ["meta", "summary"])


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_slow_reader_gets_every_line_whole(unbuffered: str) -> None:
    """Lines longer than a pipe holds, and signals while they are written."""
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    with ExitStack() as stack:
        for _ in range(150):
            stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        options = ("--pid", str(os.getpid()), "-i", "0.1", "-d", "1", "-o", "jsonl")
        process = stack.enter_context(started(*options, stdout=-1, stderr=-1, env=environment))
        wait_for(lambda: caught(process.pid, signal.SIGWINCH), "a handler")
        for _ in range(100):
            process.send_signal(signal.SIGWINCH)
            time.sleep(0.01)
        out, err = process.communicate(timeout=60)
    lines = out.splitlines()
    assert (process.returncode, err) == (0, b"")
    assert max(map(len, lines)) > 1 << 16
    assert json.loads(lines[-1])["type"] == "summary"
    assert {json.loads(line)["type"] for line in lines} == {"meta", "snapshot", "summary"}


@pytest.mark.parametrize("columns", ["0", "1", "-3", "x", "99999999999"])
def test_a_width_that_makes_no_sense(columns: str) -> None:
    for arguments in (COMMANDS[0], COMMANDS[3]):
        environment = os.environ | {"COLUMNS": columns}
        done = run(*ACCEPTTRACE, *arguments, stdout=subprocess.PIPE, env=environment)
        assert (done.returncode, said(done)) == (0, [])
        assert done.stdout


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    done = run("bash", "-c", '"$@" | true; exit ${PIPESTATUS[0]}', "sh", *ACCEPTTRACE, "who")
    assert (done.returncode, said(done)) == (0, [])


@pytest.mark.parametrize("most", [12, 20, 30, 40, 48, 64, 80])
def test_too_few_descriptors_are_reported(most: int) -> None:
    limit = partial(resource.setrlimit, resource.RLIMIT_NOFILE, (most, most))
    done = run(*ACCEPTTRACE, *COMMANDS[1], stdout=subprocess.PIPE, preexec_fn=limit)
    assert_works_or_tells(done, "accepttrace: there are not enough file descriptors")


@pytest.mark.parametrize("mib", [30, 38, 50, 100])
def test_too_little_memory_is_reported(mib: int) -> None:
    limit = partial(resource.setrlimit, resource.RLIMIT_AS, (mib << 20, mib << 20))
    done = run(*ACCEPTTRACE, *COMMANDS[1], stdout=subprocess.PIPE, preexec_fn=limit)
    assert_works_or_tells(done, "accepttrace: there is not enough memory")


def assert_works_or_tells(done: subprocess.CompletedProcess[str], story: str) -> None:
    if done.returncode == 0:
        assert json.loads(done.stdout.splitlines()[-1])["type"] == "summary"
        assert said(done) == []
    else:
        assert (done.returncode, said(done)) == (1, [story])


def test_a_soft_limit_of_descriptors_is_raised() -> None:
    limit = partial(resource.setrlimit, resource.RLIMIT_NOFILE, (10, 4096))
    done = run(*ACCEPTTRACE, *COMMANDS[1], stdout=subprocess.PIPE, preexec_fn=limit)
    assert (done.returncode, said(done)) == (0, [])
