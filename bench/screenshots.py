"""The pictures of the README, from real servers under load: `make screenshots`.

`live.svg`: workers that share one socket, as `accepttrace demo epoll` has them, and do not get even
parts. `stuck.svg`: nginx, one worker of which has stopped, while the hash still fills its queue.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from accepttrace.config import Config, Filters
from accepttrace.lab.clients import Plan
from accepttrace.lab.listeners import Address
from accepttrace.lab.load import Load
from accepttrace.lab.nginx import REQUEST, Nginx
from accepttrace.lab.servers import Server
from accepttrace.model.snapshot import Snapshot
from accepttrace.run.tcp import TcpSubject
from accepttrace.views.screen.draw import Drawing, Sight, Window
from accepttrace.views.screen.glyphs import BLOCKS
from accepttrace.views.screen.state import State, Wish
from accepttrace.views.svg import export_svg

WINDOW: Final = Window(100, 22)
PORT: Final = 8080
SECONDS: Final = 8
STOPPED: Final = 2  # of them at the end, the worker that gets stuck
PAST_S: Final = 60.0
LIGHT: Final = Plan(duration_s=SECONDS + 2, rate=2000, concurrency=16)
HEAVY: Final = Plan(duration_s=SECONDS + 2, rate=1000, concurrency=900, request=REQUEST)


def main(folder: Path) -> None:
    """Writes both into `folder`."""
    with Server("epoll", workers=4, port=PORT) as server:
        _write(folder / "live.svg", _seen(server.addresses, LIGHT))
    with Nginx(4, reuseport=True, port=PORT) as nginx:
        _write(folder / "stuck.svg", _seen(nginx.addresses, HEAVY, nginx.worker_pids()[0]))


def _seen(addresses: Sequence[Address], plan: Plan, stuck: int | None = None) -> Snapshot:
    """What the last second of it shows; `stuck`: the process that is stopped then."""
    config = Config(filters=Filters(ports=frozenset({PORT})), window_s=PAST_S, live=True)
    with TcpSubject(config) as subject, Load(addresses, plan):
        for _ in range(SECONDS - STOPPED):
            time.sleep(1)
            snapshot = subject.refresh()
        with _stopped(stuck):
            for _ in range(STOPPED):
                time.sleep(1)
                snapshot = subject.refresh()
    return replace(snapshot, unread=())  # of this machine


@contextmanager
def _stopped(pid: int | None) -> Iterator[None]:
    """Within, this process does nothing."""
    if pid is None:
        yield
        return
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _write(path: Path, snapshot: Snapshot) -> None:
    """The screen as it is drawn on a terminal of that size."""
    state = State(wish=Wish(window_s=PAST_S))
    picture = Drawing(BLOCKS).draw(Sight(snapshot), state, WINDOW)
    title = f"sudo accepttrace {PORT}"
    path.write_text(export_svg(picture.lines, title, WINDOW.width))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
