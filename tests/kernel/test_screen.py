"""The live screen on a real server, driven by keys and signals, read back as a person sees it."""

from __future__ import annotations

import os
import re
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from accepttrace.lab.load import run_load
from accepttrace.lab.servers import Server
from tests.kernel.clients import listen

from .conftest import ACCEPTTRACE, exact, wait_until
from .screen import START_S, Screen, shown

ATTACH, LOADER = exact()[0]
CHOICE = ("--attach", ATTACH, "--loader", LOADER)
ANSWER_S = 0.1
LATE_S = 0.5  # once, on a machine that does other things, too
CONNECTIONS = 200


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server("reuseport", workers=4) as server:
        yield server


def options(server: Server, *more: str) -> tuple[str, ...]:
    return ("-p", str(server.port), *CHOICE, *more)


def numbers(line: str) -> list[int]:
    return [int(word.replace(",", "")) for word in re.findall(r"[\d,]*\d", line)]


def row_of(screen: Screen, pid: int) -> str:
    return next(line for line in screen.display if str(pid) in line.split()[0:1][0])


def rows(screen: Screen, server: Server) -> list[str]:
    """Of workers, from top to bottom."""
    pids = {str(pid) for pid in server.pids}
    return [line for line in screen.display if {line.lstrip(" ▶>").partition(" ")[0]} & pids]


def test_the_rows_are_the_servers_own_counts(server: Server) -> None:
    with shown(*options(server, "-i", "0.2"), columns=160, lines=35) as screen:
        before = {count.pid: count.accepts for count in server.counts()}
        load = run_load(server.addresses, CONNECTIONS)
        assert load.connected == CONNECTIONS
        screen.until(lambda text: f"{CONNECTIONS} connections" in text)
        screen.until(lambda text: "100.0%" in text)
        titles = next(line for line in screen.display if "WORKER" in line)
        end = titles.index("ACCEPTS") + len("ACCEPTS")
        for count in server.counts():
            line = next(line for line in rows(screen, server) if str(count.pid) in line)
            assert numbers(line[:end])[-1] == count.accepts - before[count.pid]
        assert "queue 0/" in screen.text
        assert "nothing lost" in screen.text


def test_every_key_of_the_table(server: Server) -> None:
    with shown(*options(server, "-i", "0.2"), columns=120, lines=35) as screen:
        screen.until("TOTAL 4")
        run_load(server.addresses, CONNECTIONS)
        screen.until(f"{CONNECTIONS} connections")
        first = rows(screen, server)
        assert first[0].startswith("▶")
        screen.press("j")
        screen.until(lambda _: rows(screen, server)[1].startswith("▶"), 2)
        screen.press("\x1b[B")
        screen.until(lambda _: rows(screen, server)[2].startswith("▶"), 2)
        screen.press("\x1b[F")
        screen.until(lambda _: rows(screen, server)[3].startswith("▶"), 2)
        screen.press("\x1b[5~")
        screen.until(lambda _: rows(screen, server)[0].startswith("▶"), 2)
        for title in ("THREAD", "SOCKET", "GROUP", "WORKER"):
            screen.press("g" if title != "THREAD" else "gg")
            screen.until(f" {title} ", 3)
        screen.press("w")
        screen.until("all ", 3)
        screen.press("w")
        screen.until("of 10s", 3)
        screen.press("s")
        screen.until("sort:name", 2)
        screen.press("/" + str(server.pids[0]))
        screen.until(f"filter: {server.pids[0]}_", 2)
        screen.until(lambda _: len(rows(screen, server)) == 1, 2)
        screen.press("\x1b")
        screen.until(lambda _: len(rows(screen, server)) == 4, 2)
        screen.press("z")
        screen.until(lambda text: f"{CONNECTIONS} connections" not in text, 3)
        run_load(server.addresses, 50)
        screen.until("50 connections", 5)
        screen.press("q")
        ended = screen.wait()
        assert screen.status == 0
        assert screen.echoes
        assert "50" in ended.rpartition("\x1b[?1049l")[2]


def test_the_pages_and_back(server: Server) -> None:
    with shown(*options(server, "-i", "0.2"), columns=100, lines=60) as screen:
        run_load(server.addresses, CONNECTIONS)
        screen.until(f"{CONNECTIONS} connections")
        for key, words in (
            ("\r", ("SOCKETS", "inode", "THREADS 1", "clients: not known")),
            ("h", ("all rows", "p50")),
            ("e", ("(verdict)", "What to do:")),
            ("?", ("KEYS", "PgUp")),
        ):
            screen.press(key)
            for word in words:
                screen.until(word, 3)
            screen.press("\x1b" if key in "\rh" else key if key == "e" else "q")
            screen.until(lambda text: " WORKER " in text and "TOTAL 4" in text, 3)


def test_what_is_paused_stands_still_while_counting_goes_on(server: Server) -> None:
    with shown(*options(server, "-i", "0.2")) as screen:
        screen.until("TOTAL 4")
        screen.press("p")
        screen.until("PAUSED", 2)
        before = screen.text
        run_load(server.addresses, CONNECTIONS)
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            screen.read(0.1)
        assert screen.text == before
        screen.press("p")
        screen.until(f"{CONNECTIONS} connections", 3)


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (120, 35), (200, 50), (10, 3)])
def test_it_fits_its_window_and_each_that_it_becomes(
    server: Server, columns: int, lines: int
) -> None:
    with shown(*options(server), columns=80, lines=24) as screen:
        screen.until("TOTAL 4")
        screen.resize(columns, lines)
        screen.until(lambda _: "█" in screen.text or screen.text.strip(), 3)
        if lines > 10:
            screen.until(lambda text: "q quit" in text.splitlines()[-1], 3)
            assert "QUEUE" in screen.text
            assert len(screen.display) == lines
        screen.resize(80, 24)
        screen.until(lambda text: "TOTAL 4" in text and "q quit" in text.splitlines()[-1], 3)


def test_without_colours_and_blocks_nothing_is_missing(server: Server) -> None:
    with shown(*options(server), NO_COLOR="1", LC_ALL="C", LANG="C") as screen:
        run_load(server.addresses, 20)
        screen.until(lambda text: "20 connections" in text and "q quit" in text)
        assert screen.text.isascii()
        assert screen.raw.isascii()
        assert not re.search(rb"\x1b\[[\d;]*(3[0-7]|4[0-7])[;m]", screen.raw)
        cells = [cell for line in screen.screen.buffer.values() for cell in line.values()]
        assert {color for cell in cells for color in (cell.fg, cell.bg)} == {"default"}
        for word in ("TOO FEW", "nothing lost", "queue 0/", "books ok", "up/down"):
            assert word in screen.text


@pytest.mark.parametrize("no_color", ["", "1"])
def test_losses_are_red_and_a_word(no_color: str) -> None:
    with ExitStack() as stack:
        sock = stack.enter_context(listen(backlog=1))
        port = sock.getsockname()[1]
        command = ("-p", str(port), *CHOICE, "-i", "0.2")
        screen = stack.enter_context(shown(*command, NO_COLOR=no_color))
        screen.until("1 listener there")
        for _ in range(6):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(sock.getsockname())
        screen.until("LOST", 8)
        style = screen.style("LOST")
        assert (style.bg, style.reverse) == (("default", True) if no_color else ("red", False))
        text = screen.until("queue full (2 of 2)", 8)
        assert "queue 2/2" in text
        screen.until(lambda text: re.search(r"\d\d:\d\d:\d\dZ LOST \d+ SYN", text), 8)


def test_ctrl_z_and_fg(server: Server) -> None:
    with shown(*options(server, "-i", "0.2")) as screen:
        screen.until("TOTAL 4")
        assert not screen.echoes
        screen.press("\x1a")
        wait_until(lambda: screen.state() == "T", "it to stop")
        while screen.read(0.05):
            pass
        assert not screen.screen.alternate
        assert screen.echoes
        os.kill(screen.pid, signal.SIGCONT)
        screen.until(lambda text: screen.screen.alternate and "TOTAL 4" in text, 5)
        wait_until(lambda: not screen.echoes, "its modes")
        screen.press("?")
        screen.until("KEYS", 2)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_leaves_a_usable_terminal_and_the_summary(server: Server, number: int) -> None:
    with shown(*options(server, "-i", "0.2")) as screen:
        run_load(server.addresses, CONNECTIONS)
        screen.until(f"{CONNECTIONS} connections")
        os.kill(screen.pid, number)
        _, left, after = screen.wait().rpartition("\x1b[?1049l")
        assert left
        assert screen.status == (-number if number == signal.SIGQUIT else 0)
        assert screen.echoes
        assert "TOTAL" in after or "connections" in after
        assert f"{CONNECTIONS}" in after


def test_a_terminal_that_stops_reading_does_not_stop_the_counting(server: Server) -> None:
    with shown(*options(server, "-i", "0.1"), columns=200, lines=50) as screen:
        screen.until("TOTAL 4")
        for _ in range(300):  # nobody reads what this makes it draw
            os.kill(screen.pid, signal.SIGWINCH)
            time.sleep(0.002)
        run_load(server.addresses, CONNECTIONS)
        os.kill(screen.pid, signal.SIGWINCH)
        screen.until(f"{CONNECTIONS} connections", 5)
        screen.press("q")
        screen.wait()
        assert screen.status == 0


def test_without_a_terminal_to_read_from_it_is_a_screen_without_keys(server: Server) -> None:
    with shown(*options(server, "-i", "0.2"), keys=False) as screen:
        screen.until("TOTAL 4")
        assert screen.echoes
        os.kill(screen.pid, signal.SIGINT)
        screen.wait()
        assert screen.status == 0


def test_garbage_that_is_pasted_is_no_key(server: Server) -> None:
    with shown(*options(server, "-i", "0.2")) as screen:
        screen.until("TOTAL 4")
        screen.press("\x1b[200~qqq\rzzz\x1b[201~")
        screen.press("\x1b[<0;1;1M\x1b[999999999999999999999999999999999999X\x1bP\x00\x01")
        screen.press("?")
        screen.until("KEYS", 3)
        screen.press("?")
        run_load(server.addresses, CONNECTIONS)
        screen.until(f"{CONNECTIONS} connections", 5)


def test_a_key_is_answered_at_once_while_512_workers_are_read() -> None:
    """The interval is shorter than a refresh takes: there is always one that runs."""
    with ExitStack() as stack:
        stack.enter_context(descriptors(4096))
        server = stack.enter_context(Server("reuseport", workers=512))
        command = options(server, "-i", "0.1")
        screen = stack.enter_context(shown(*command, columns=120, lines=40))
        screen.until("TOTAL 51")
        times = []
        for _ in range(10):
            times.append(screen.answered_s("?", b"KEYS"))
            times.append(screen.answered_s("?", b"TOTAL 51"))
        print(f"answered in {min(times):.3f} to {max(times):.3f} s")
        times.sort()
        assert times[-2] < ANSWER_S
        assert times[-1] < LATE_S


@contextmanager
def descriptors(number: int) -> Iterator[None]:
    """So many may be open at once."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, number), max(hard, number)))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


JOB = """
import os, signal, sys, termios, time
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
job = os.fork()
if not job:
    os.setpgid(0, 0)
    os.execv(sys.argv[1], sys.argv[1:])
modes = termios.tcgetattr(0)
while True:  # a shell: the job is in the background, until somebody types
    line = sys.stdin.readline().strip()
    if line == "fg":
        os.tcsetpgrp(0, job)
        os.kill(job, signal.SIGCONT)
        os.waitpid(job, 0)
        os.tcsetpgrp(0, os.getpgrp())
        print("the job has ended", flush=True)
    elif line == "state":
        state = open(f"/proc/{job}/stat").read().rpartition(")")[2].split()[0]
        same = termios.tcgetattr(0) == modes
        print(f"state {state} modes {same}", flush=True)
"""


def test_in_the_background_it_is_not_stopped_and_leaves_the_terminal_alone(
    server: Server, tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    command = (*ACCEPTTRACE, *options(server, "-i", "0.1", "--ready-file", str(ready)))
    screen = Screen("-c", JOB, *command, program=(sys.executable,))
    try:
        wait_until(ready.exists, "ready", START_S)
        wait_until(lambda: draws(screen.pid), "a thread that draws", START_S)
        run_load(server.addresses, CONNECTIONS)
        screen.press("state\n")
        screen.until("modes True", 5)
        assert "state T" not in screen.text
        assert b"\x1b[" not in screen.raw, "it draws where a shell types"
        screen.press("fg\n")
        screen.until(f"{CONNECTIONS} connections", 5)
        screen.press("q")
        screen.until("the job has ended", 5)
        assert screen.echoes
    finally:
        screen.end()


def draws(shell: int) -> bool:
    """Whether the child of a shell has the thread that draws."""
    (job,) = Path(f"/proc/{shell}/task/{shell}/children").read_text().split()
    names = Path(f"/proc/{job}/task").glob("*/comm")
    return sum(1 for _ in names) > 1


def test_it_works_in_tmux(server: Server) -> None:
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed")
    name = ("tmux", "-L", f"accepttrace-{os.getpid()}", "-f", "/dev/null")

    def there() -> str:
        done = subprocess.run([*name, "capture-pane", "-p"], capture_output=True, text=True)
        return done.stdout

    command = " ".join((*ACCEPTTRACE, *options(server, "-i", "0.2")))
    subprocess.run([*name, "new", "-d", "-x", "80", "-y", "24", command], check=True)
    try:
        wait_until(lambda: "TOTAL 4" in there(), "the table", START_S)
        subprocess.run([*name, "send-keys", "?"], check=True)
        wait_until(lambda: "KEYS" in there(), "the keys")
    finally:
        subprocess.run([*name, "kill-server"], check=False)


def test_it_works_in_script(server: Server, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    command = " ".join((*ACCEPTTRACE, *options(server, "-i", "0.2", "--ready-file", str(ready))))
    typed = subprocess.Popen(
        ["script", "-qec", command, "/dev/null"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "TERM": "xterm"},
    )
    try:
        assert typed.stdin is not None
        assert typed.stdout is not None
        wait_until(ready.exists, "ready", START_S)
        drawn = b""
        while b"quit" not in drawn:  # the last line of the screen
            assert select.select([typed.stdout], [], [], START_S)[0]
            drawn += os.read(typed.stdout.fileno(), 65536)
        typed.stdin.write(b"q")
        typed.stdin.flush()
        rest, _ = typed.communicate(timeout=20)
        out = drawn + rest
        assert typed.returncode == 0
        assert b"TOTAL 4" in out
    finally:
        typed.kill()
