"""The demo leaves nothing behind, however it ends."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.hostile.processes import END_S, SLACK_S, Terminal, wait_for

MARK = "ACCEPTTRACE_TEST_MARK"
SERVERS = {"nginx": ("--server", "nginx", "reuseport"), "lab": ("epoll",)}


def typed(text: bytes) -> Callable[[Terminal], object]:
    return lambda terminal: os.write(terminal.fd, text)


def sent(number: int) -> Callable[[Terminal], object]:
    return lambda terminal: os.kill(terminal.pid, number)


# In what way it ends, and the status: None where it is killed.
ENDS: dict[str, tuple[Callable[[Terminal], object], int | None]] = {
    "ctrl-c": (typed(b"\x03"), 0),
    "ctrl-backslash": (typed(b"\x1c"), None),
    "closed": (Terminal.close, 0),
    "sigterm": (sent(signal.SIGTERM), 0),
    "sigterm to all": (lambda terminal: os.killpg(terminal.pid, signal.SIGTERM), 0),
    "sigkill": (sent(signal.SIGKILL), None),
    "sigkill to all": (lambda terminal: os.killpg(terminal.pid, signal.SIGKILL), None),
}


def alive(mark: str, folder: Path) -> dict[int, str]:
    """The processes of one demo, whatever their parent and session are now: PID → name.

    nginx drops its environment, and works in its folder.
    """
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            named = f"{MARK}={mark}".encode() in (path / "environ").read_bytes().split(b"\0")
            if named or os.readlink(path / "cwd").startswith(str(folder)):
                found[int(path.name)] = (path / "comm").read_text().strip()
    return found


def drained(terminal: Terminal) -> None:
    with suppress(OSError):
        while os.read(terminal.fd, 65536):
            pass


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("end", ENDS)
def test_nothing_is_left(end: str, server: str, tmp_path: Path) -> None:
    if server == "nginx" and not shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin"):
        pytest.skip("nginx is not installed")
    act, status = ENDS[end]
    mark = uuid.uuid4().hex
    arguments = ("demo", *SERVERS[server], "-d", "60")
    terminal = Terminal(*arguments, **{MARK: mark, "TMPDIR": str(tmp_path)})
    terminal.read_until(b"TOTAL")
    assert len(alive(mark, tmp_path)) > 4
    threading.Thread(target=drained, args=(terminal,), daemon=True).start()
    act(terminal)
    took_s = terminal.wait()
    wait_for(lambda: not alive(mark, tmp_path), f"the end of {alive(mark, tmp_path)}", 10)
    wait_for(lambda: not os.listdir(tmp_path), "its folder to go", 10)
    if status is not None:
        assert terminal.status == status
        assert took_s < END_S + SLACK_S
