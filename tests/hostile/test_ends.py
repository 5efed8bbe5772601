"""A signal ends a run within a second, whatever it is doing; what was written is whole."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import struct
import subprocess
import sys
import termios
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.hostile.processes import (
    END_S,
    SLACK_S,
    Terminal,
    caught,
    seconds_to_end,
    started,
    wait_for,
)
from tests.kernel.test_cli import programs_loaded

PIPE_BYTES = 4096
A_PICTURE = 500  # bytes, at least
LEAVE, ENTER = b"\x1b[?1049l", b"\x1b[?1049h"
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# What a run may be doing: each never comes to an end by itself.
BUSY = {
    "asleep": "time.sleep(60)",
    "computing": "while True: pass",
    "reading": "os.read(os.pipe()[0], 1)",
    "swallowing": (
        "while True:\n"
        "        try: time.sleep(60)\n"
        "        except BaseException: swallowed += 1\n"
        "        if swallowed == 2: time.sleep(60)"
    ),
}
PROGRAM = """
import os, time
from accepttrace.run.pace import READ_S, Pace
pace, swallowed, done = Pace(1, None), 0, False
print("ready", flush=True)
with pace.until(READ_S):
    {work}
    done = True
print(done, pace.ended)
"""


@pytest.mark.parametrize("work", BUSY.values(), ids=BUSY)
def test_a_signal_breaks_off_what_takes_long(work: str) -> None:
    command = (sys.executable, "-c", PROGRAM.format(work=work))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        assert seconds_to_end(process, signal.SIGTERM) < END_S + SLACK_S
        assert (process.stdout.read(), process.stderr.read()) == (b"False True\n", b"")


DRAWING = """
import sys, time
from accepttrace.cli import main
from accepttrace.{module} import {owner}
def endless(*_, **__):
    while True:
        time.sleep(0.01)
{owner}.{function} = endless
main()
"""
# What may be drawn as the run ends, for as long as a thousand rows take.
DRAWN = (
    ("model.tracker", "Tracker", "summary"),
    ("run.sinks", "JsonLines", "finish"),
    ("run.forms", "TcpForms", "json"),
)


@pytest.mark.parametrize(("module", "owner", "function"), DRAWN, ids=lambda each: each)
def test_drawing_that_takes_long_does_not_hold_it(
    module: str, owner: str, function: str, tmp_path: Path
) -> None:
    program = DRAWING.format(module=module, owner=owner, function=function)
    ready = tmp_path / "ready"
    command = (sys.executable, "-c", program, "-p", "1", "-o", "jsonl", "--ready-file", str(ready))
    with subprocess.Popen(command, stdout=-1, stderr=-1) as process:
        try:
            wait_for(ready.exists, "ready")
            assert seconds_to_end(process, signal.SIGTERM) < END_S + SLACK_S
        finally:
            process.kill()
        out, err = process.communicate()
    assert (process.returncode, err) == (0, b"accepttrace: there was no time to draw the summary\n")
    assert all(json.loads(line)["type"] != "summary" for line in out.splitlines())


SLOW = """
import time
from accepttrace.cli import main
from accepttrace.run.forms import TcpForms
from accepttrace.probe.session import Session
def slowed(function, seconds):
    def slow(*arguments):
        time.sleep(seconds)
        return function(*arguments)
    return slow
TcpForms.json = slowed(TcpForms.json, 0.4)
Session.counts = slowed(Session.counts, 0.2)
main()
"""


def test_where_all_takes_long_the_summary_comes_before_a_last_reading(tmp_path: Path) -> None:
    options = ("-p", "1", "-i", "0.1", "-o", "jsonl")
    with (tmp_path / "lines").open("wb") as lines:
        process = subprocess.Popen((sys.executable, "-c", SLOW, *options), stdout=lines, stderr=-1)
        with process:
            try:
                wait_for(lambda: (tmp_path / "lines").read_bytes().count(b"\n") > 2, "lines")
                assert seconds_to_end(process, signal.SIGTERM) < END_S + SLACK_S
            finally:
                process.kill()
            _, err = process.communicate()
    assert (process.returncode, err) == (0, b"")
    last = (tmp_path / "lines").read_bytes().splitlines()[-1]
    assert json.loads(last)["type"] == "summary"


@pytest.mark.parametrize("number", ENDING)
def test_a_reader_that_has_stopped_does_not_hold_it(number: int, tmp_path: Path) -> None:
    """Its pipe is full; what it finds there later is whole lines, and the summary."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    options = ("-p", "1", "-i", "0.1", "-o", "jsonl", "--ready-file", str(tmp_path / "ready"))
    with started(*options, stdout=writer, stderr=subprocess.PIPE) as process:
        os.close(writer)
        wait_for((tmp_path / "ready").exists, "ready")
        wait_for(lambda: waits_for_its_reader(process.pid), "a full pipe")
        assert seconds_to_end(process, number) < END_S + SLACK_S
        assert process.stderr is not None
        assert (process.returncode, process.stderr.read()) == (0, b"")
    with open(reader, "rb") as pipe:
        lines = pipe.readlines()
    assert lines[-1].endswith(b"\n")
    assert json.loads(lines[-1])["type"] == "summary"
    assert {json.loads(line)["type"] for line in lines} == {"meta", "snapshot", "summary"}


def waits_for_its_reader(pid: int) -> bool:
    """It writes nothing more, although it is asked to draw again and again."""
    before = written(pid)
    for _ in range(20):
        os.kill(pid, signal.SIGWINCH)
        time.sleep(0.005)
    # A byte for each signal goes into a pipe of its own. Before the first line nothing is written.
    return before > PIPE_BYTES // 2 and written(pid) - before <= 20


def written(pid: int) -> int:
    return int(Path(f"/proc/{pid}/io").read_text().partition("wchar:")[2].split()[0])


def test_a_signal_before_the_first_line() -> None:
    """Whether it was attached by then or not: status 0, and nothing stays attached."""
    mine: set[int] = set()
    for pause_s in (0.0, 0.05, 0.1, None):
        with started("-p", "1", "-o", "jsonl", stdout=-1, stderr=-1) as process:
            wait_for(lambda: caught(process.pid, signal.SIGTERM), "a handler")
            if pause_s is None:
                wait_for(lambda: programs_of(process.pid), "programs")
            else:
                time.sleep(pause_s)
            mine |= programs_of(process.pid)
            assert seconds_to_end(process, signal.SIGTERM) < END_S + SLACK_S
            out, err = process.communicate()
        assert process.returncode == 0
        types = [json.loads(line)["type"] for line in out.splitlines()]
        said = b"nothing was counted" in err
        assert (types, said) in ((["meta", "summary"], False), ([], True))
    assert mine
    wait_for(lambda: not mine & programs_loaded(), "the programs to be freed")


def programs_of(pid: int) -> set[int]:
    """Identities of the BPF programs that a process has loaded."""
    found = set()
    for path in Path(f"/proc/{pid}/fdinfo").iterdir():
        with suppress(OSError):
            found |= {
                int(line.split()[1])
                for line in path.read_text().splitlines()
                if line.startswith("prog_id:")
            }
    return found


def takes_no_more(terminal: Terminal) -> bool:
    """Nothing more is written to it, although each change of its size asks for all of a picture."""
    before = written(terminal.pid)
    for rows in (30, 40) * 5:
        fcntl.ioctl(terminal.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, 200, 0, 0))
        time.sleep(0.02)
    return before > PIPE_BYTES and written(terminal.pid) - before < A_PICTURE


@pytest.mark.parametrize("stopped", ["full", "ctrl-s"])
def test_a_terminal_that_takes_nothing_is_given_back(stopped: str) -> None:
    terminal = Terminal("-p", "1", "-i", "0.1")
    terminal.read_until(b"listens on")
    if stopped == "ctrl-s":
        os.write(terminal.fd, b"\x13")
        time.sleep(0.3)
    else:
        wait_for(lambda: takes_no_more(terminal), "a full terminal")
    os.kill(terminal.pid, signal.SIGTERM)
    assert terminal.wait() < END_S + SLACK_S
    assert terminal.status == 0
    assert LEAVE in terminal.rest()


def test_ctrl_backslash_gives_the_terminal_back() -> None:
    terminal = Terminal("-p", "1", "-i", "3600")
    terminal.read_until(b"listens on")
    os.write(terminal.fd, b"\x1c")
    terminal.wait()
    assert terminal.status == -signal.SIGQUIT
    assert LEAVE in terminal.rest()


def test_ctrl_z_gives_the_terminal_back_and_takes_it_again() -> None:
    terminal = Terminal("-p", "1", "-i", "3600")
    terminal.read_until(b"listens on")
    os.write(terminal.fd, b"\x1a")
    terminal.read_until(LEAVE)
    wait_for(lambda: state(terminal.pid) == "T", "it to stop")
    os.kill(terminal.pid, signal.SIGCONT)
    terminal.read_until(ENTER)
    terminal.read_until(b"listens on")
    os.kill(terminal.pid, signal.SIGTERM)
    terminal.read_until(LEAVE)
    assert terminal.wait() < END_S + SLACK_S
    assert terminal.status == 0


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_terminal_that_is_closed_ends_it() -> None:
    terminal = Terminal("-p", "1", "-i", "0.1")
    terminal.read_until(b"listens on")
    terminal.close()
    assert terminal.wait() < END_S + SLACK_S
    assert terminal.status == 0


def test_nohup_is_respected() -> None:
    with started("-p", "1", stdout=-1, stderr=-1, preexec_fn=ignore_hangup) as process:
        wait_for(lambda: caught(process.pid, signal.SIGTERM), "a handler")
        assert not caught(process.pid, signal.SIGHUP)


def ignore_hangup() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
