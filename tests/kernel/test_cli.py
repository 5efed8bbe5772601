"""The command itself, as a user starts it: output, signals, ends, privileges, what stays behind."""

from __future__ import annotations

import csv
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from accepttrace.lab.load import run_load
from accepttrace.lab.servers import Server
from accepttrace.probe.preemption import preempts

from .conftest import ACCEPTTRACE, doctor, exact, offered, wait_until

ATTACH, LOADER = exact()[0]
CHOICE = ("--attach", ATTACH, "--loader", LOADER)
# Where perf_event_paranoid is 3, as Debian has it, kprobes are refused without CAP_SYS_ADMIN.
WITHOUT_ROOT = ("--attach", offered()[0].attach, "--loader", LOADER)
# Before 5.11 the memory of BPF maps counts as locked, and the limit on that must be raised.
CHARGED = tuple(map(int, os.uname().release.split(".")[:2])) < (5, 11)
START_S = 180.0  # under TCG the start takes seconds, and with bcc, which compiles, a minute


@contextmanager
def started(*options: str, ready: Path, **popen: Any) -> Iterator[subprocess.Popen[str]]:
    """accepttrace running, attached and proved."""
    command = (*popen.pop("prefix", ()), *ACCEPTTRACE, *options, "--ready-file", str(ready))
    process = subprocess.Popen(
        command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **popen
    )
    try:
        wait_until(lambda: ready.exists() or process.poll() is not None, "ready", START_S)
        if process.poll() is not None:
            pytest.fail(f"ended with {process.returncode}: {process.communicate()}")
        yield process
    finally:
        process.kill()
        process.communicate()


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def programs_loaded() -> set[int]:
    done = subprocess.run(["bpftool", "-j", "prog", "show"], capture_output=True, check=True)
    return {program["id"] for program in json.loads(done.stdout)}


def assert_all_reported(books: dict[str, Any], made: int) -> None:
    """Every connection counted; on a kernel that preempts itself, or reported as missed."""
    missing = made - books["accepts"]
    may_miss = preempts() and ATTACH != "kprobe"
    assert 0 <= missing <= (books["recursion_misses"] if may_miss else 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_with_a_summary_and_status_0(tmp_path: Path, number: int) -> None:
    with Server("epoll", workers=2) as server:
        options = ("-p", str(server.port), "-o", "jsonl", *CHOICE)
        with started(*options, ready=tmp_path / "ready") as process:
            load = run_load(server.addresses, 123)
            process.send_signal(number)
            out, err = process.communicate(timeout=START_S)
    meta, *_, summary = lines(out)
    assert (process.returncode, err) == (0, "")
    assert (meta["type"], meta["schema"], meta["attach"]) == ("meta", 1, ATTACH)
    assert summary["type"] == "summary"
    assert load.connected == 123
    assert_all_reported(summary["books"], load.connected)
    assert {a["pid"] for a in summary["acceptors"]} == set(server.pids) or not server.pids


def test_duration_ends_it(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    with started("-d", "0.5", "-o", "jsonl", *CHOICE, ready=ready) as process:
        out, _ = process.communicate(timeout=START_S)
    assert process.returncode == 0
    assert lines(out)[-1]["type"] == "summary"
    assert lines(out)[-1]["elapsed_s"] >= 0.5


@contextmanager
def visited(made: int, *options: str, ready: Path, **popen: Any) -> Iterator[tuple[Any, int]]:
    """accepttrace on a server that so many connections have been made to, and the port."""
    with (
        Server("reuseport", workers=2) as server,
        started(str(server.port), *options, *CHOICE, ready=ready, **popen) as process,
    ):
        assert run_load(server.addresses, made).connected == made
        yield process, server.port


def test_once_prints_one_table_of_what_came_and_ends(tmp_path: Path) -> None:
    with visited(321, "--once", "-i", "2s", ready=tmp_path / "ready") as (process, port):
        out, err = process.communicate(timeout=START_S)
    assert (process.returncode, err) == (0, "")
    assert out.count(f"accepttrace :{port}") == 1
    (accepts,) = re.findall(r"([0-9]+) accepts ", out)
    assert_all_reported({"accepts": int(accepts), "recursion_misses": 321}, 321)
    assert "The tracer" not in out


def test_once_is_one_object_for_programs(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    with visited(77, "--once", "-i", "2s", "-o", "jsonl", ready=ready) as (process, _):
        out, _ = process.communicate(timeout=START_S)
    meta, snapshot = lines(out)
    assert (process.returncode, meta["type"], snapshot["type"]) == (0, "meta", "snapshot")
    assert_all_reported(snapshot["books"], 77)
    assert snapshot["elapsed_s"] >= 2


def test_once_that_is_ended_early_says_what_it_saw(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    with visited(55, "--once", "-i", "1h", "-o", "jsonl", ready=ready) as (process, _):
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=START_S)
    _, snapshot = lines(out)
    assert (process.returncode, snapshot["type"]) == (0, "snapshot")
    assert_all_reported(snapshot["books"], 55)


@pytest.mark.parametrize("output", ["table", "jsonl", "csv"])
def test_so_many_tables_and_no_more(tmp_path: Path, output: str) -> None:
    options = ("-n", "3", "-i", "500ms", "-o", output)
    with visited(99, *options, ready=tmp_path / "ready") as (process, port):
        out, _ = process.communicate(timeout=START_S)
    assert process.returncode == 0
    if output == "table":
        assert out.count(f"accepttrace :{port}") == 4  # the last is the summary
        assert out.count("The tracer lost nothing") == 1
    elif output == "jsonl":
        assert [one["type"] for one in lines(out)] == ["meta", *["snapshot"] * 3, "summary"]
        assert_all_reported(lines(out)[-1]["books"], 99)
        shown = [row for one in lines(out)[1:-1] for row in one["acceptors"]]
        assert sum(row["accepts_interval"] for row in shown) == lines(out)[-1]["books"]["accepts"]
    else:
        rows = [*csv.DictReader(out.splitlines())]
        assert len({row["time"] for row in rows}) == 3
        last = [row for row in rows if row["time"] == rows[-1]["time"]]
        taken = sum(int(row["accepts"]) for row in last)
        assert_all_reported({"accepts": taken, "recursion_misses": 99}, 99)
        # Also those that came before the first reading, which is not shown.
        assert sum(int(row["accepts_interval"]) for row in rows) == taken


def test_options_come_from_the_environment(tmp_path: Path) -> None:
    names = {"ONCE": "1", "INTERVAL": "2s", "OUTPUT": "jsonl", "BY": "socket"}
    environment = {**os.environ, **{f"ACCEPTTRACE_TOP_{name}": names[name] for name in names}}
    with visited(44, ready=tmp_path / "ready", env=environment) as (process, _):
        out, _ = process.communicate(timeout=START_S)
    _, snapshot = lines(out)
    assert (snapshot["by"], len(snapshot["acceptors"])) == ("socket", 2)
    assert_all_reported(snapshot["books"], 44)


def test_a_reader_that_takes_one_line_of_tables_is_enough(tmp_path: Path) -> None:
    """`accepttrace | head -1`, of tables: SIGPIPE is no error, and no traceback."""
    ready = tmp_path / "ready"
    command = (
        f"{' '.join((*ACCEPTTRACE, '-i', '0.1', '--ready-file', str(ready), *CHOICE))} | head -1"
    )
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        capture_output=True, text=True, timeout=START_S,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1


def test_a_closed_pipe_ends_it_quietly(tmp_path: Path) -> None:
    options = ("-i", "0.1", *CHOICE)
    with started(*options, ready=tmp_path / "ready") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        process.stdout = None
        _, err = process.communicate(timeout=START_S)
    assert (process.returncode, err) == (0, "")


def test_nothing_stays_attached_after_sigkill(tmp_path: Path) -> None:
    before = programs_loaded()
    with started(*CHOICE, ready=tmp_path / "ready") as process:
        mine = programs_loaded() - before
        assert mine
        process.kill()
        process.wait()
        wait_until(lambda: not mine & programs_loaded(), "the kernel freed the programs")


def test_capabilities_suffice_without_root(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    caps = "cap_bpf,cap_perfmon,cap_sys_ptrace,cap_dac_read_search"
    if CHARGED:
        caps += ",cap_sys_resource"
    drop = ("capsh", "--keep=1", f"--inh={caps}", "--gid=65534", "--uid=65534", f"--addamb={caps}")
    command = " ".join((*ACCEPTTRACE, '"$@"'))
    prefix = (*drop, "--", "-c", command, "sh")
    with Server("reuseport", workers=2) as server:
        ready = tmp_path / "ready"
        full = (*prefix, "-p", str(server.port), "-o", "jsonl", *WITHOUT_ROOT)
        process = subprocess.Popen(
            (*full, "--ready-file", str(ready)),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        )
        try:
            wait_until(lambda: ready.exists() or process.poll() is not None, "ready", START_S)
            if process.poll() is not None:
                pytest.fail(f"ended with {process.returncode}: {process.communicate()}")
            uid = Path(f"/proc/{process.pid}/status").read_text().split("Uid:")[1].split()[0]
            run_load(server.addresses, 50)
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=START_S)
        finally:
            process.kill()
        counts = {c.pid: c.accepts for c in server.counts()}
    summary = lines(out)[-1]
    assert uid == "65534"
    if summary["books"]["recursion_misses"]:
        assert preempts()
        return
    assert {a["pid"]: a["accepts"] for a in summary["acceptors"]} == counts


def test_without_privileges_one_clear_error_and_77() -> None:
    command = " ".join((*ACCEPTTRACE, "-p", "80", *CHOICE))
    done = subprocess.run(
        ("capsh", "--drop=all", "--", "-c", command), capture_output=True, text=True
    )
    assert done.returncode == 77
    assert done.stderr.startswith("accepttrace: no permission to trace\n  next: run as root")
    assert len(done.stderr.splitlines()) == 2


def test_a_forced_attach_type_that_cannot_work_is_an_error() -> None:
    ways = [way for way in doctor()[1]["ways"] if way["loader"] == LOADER]
    for way in (way for way in ways if way["reason"] is not None):
        done = subprocess.run(
            (*ACCEPTTRACE, "--attach", way["attach"], "--loader", LOADER),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 77
        assert way["reason"] in done.stderr
        assert len(done.stderr.splitlines()) == 2
    assert any(way["attach"] == ATTACH and way["reason"] is None for way in ways)


class Terminal:
    """accepttrace on a pseudo-terminal, and what it wrote there."""

    def __init__(self, *options: str) -> None:
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "xterm"
            os.execv(ACCEPTTRACE[0], (*ACCEPTTRACE, *options))
        self._got = ""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read_until(self, text: str) -> str:
        """Everything new up to and with `text`; what follows stays for the next call."""
        deadline = time.monotonic() + START_S
        while text not in self._got:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._fd], [], [], left)[0]:
                pytest.fail(f"{text!r} did not appear: {self._got!r}")
            self._got += os.read(self._fd, 65536).decode(errors="replace")
        before, found, self._got = self._got.partition(text)
        return before + found

    def status(self) -> int:
        """The exit status, once it has ended."""
        while True:
            try:
                if not os.read(self._fd, 65536):
                    break
            except OSError:  # the other side is closed
                break
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_a_plain_table_on_a_terminal_is_not_drawn_anew() -> None:
    with Server("shared", workers=2) as server:
        terminal = Terminal(str(server.port), "--plain", "-n", "2", "-i", "500ms", *CHOICE)
        shown = terminal.read_until("The tracer lost nothing.")
        assert terminal.status() == 0
    assert "\x1b" not in shown
    assert shown.count(f"accepttrace :{server.port}") == 3


def test_live_screen_shows_redraws_on_resize_and_leaves_the_summary() -> None:
    with Server("shared", workers=2) as server:
        title = f"accepttrace :{server.port}"
        terminal = Terminal("-p", str(server.port), "-i", "3600", *CHOICE)
        assert title in terminal.read_until("TOTAL")
        terminal.resize(40, 130)
        assert title in terminal.read_until("TOTAL")
        os.kill(terminal.pid, signal.SIGINT)
        terminal.read_until("\x1b[?1049l")  # leaves the screen, of which only changes were sent…
        # …and the summary stays.
        assert "Clients lost nothing" in terminal.read_until("The tracer lost")
        assert terminal.status() == 0
