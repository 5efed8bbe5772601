"""Snapshots on a terminal: a screen that keys work on; what stays is the summary."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from accepttrace.config import Config
from accepttrace.run.live import Drawer, Loop
from accepttrace.run.sinks import Screen
from accepttrace.run.terminal import LEAVE, Terminal, has_blocks, size
from accepttrace.views.screen.draw import Drawing, Picture, Sight, Window
from accepttrace.views.screen.glyphs import ASCII, BLOCKS, Glyphs
from accepttrace.views.screen.paint import Painter
from accepttrace.views.screen.state import Drawn, State, Wish

if TYPE_CHECKING:
    from accepttrace.run.forms import Forms
    from accepttrace.run.pace import Pace
    from accepttrace.run.sinks import Out

S = TypeVar("S")
TURN_S: Final = 0.001  # so long a refresh goes on when a key is to be answered
COST_S: Final = 30.0  # the last seconds over which the cost is measured


def _nothing() -> None:
    return


class Live(Screen[S]):
    """A screen drawn anew at each refresh and key; the summary stays when it ends."""

    leave = LEAVE
    shows_first = True

    def __init__(self, config: Config, forms: Forms[S], out: Out, pace: Pace | None = None) -> None:
        super().__init__(forms)
        blocks = has_blocks(getattr(out, "encoding", "utf-8"))
        self._out, self._config = out, config
        self._painter = Painter(colored=not os.environ.get("NO_COLOR"), ascii=not blocks)
        glyphs = BLOCKS if blocks else ASCII
        drawer: Drawer[Any] = _Receivers(forms, glyphs) if config.udp else Drawing(glyphs)
        state = State(
            wish=Wish(config.by, config.window_s),
            page="histogram" if config.histogram else "table",
            sort=config.sort,
            replays=config.replays,
        )
        nudge = pace.nudge if pace else _nothing
        terminal, fd = Terminal(out.fileno()), out.fileno()
        self._loop: Loop[Any] = Loop(drawer, terminal, self._painter, fd, state)
        self._loop.on_wish = nudge
        self._loop.on_end = partial(os.kill, os.getpid(), signal.SIGINT)
        self._spent: deque[tuple[float, float]] = deque()  # when, and processor time until then
        self._threads: S | None = None
        self._last: S | None = None

    @property
    def wish(self) -> Wish:  # type: ignore[override]
        """What keys have asked for."""
        return self._loop.state.wish

    def __enter__(self) -> Live[S]:
        sys.setswitchinterval(TURN_S)
        self._loop.start()
        return self

    def __exit__(self, *_: object) -> None:
        text = self._loop.stop()
        picture = ""
        try:
            if self._last is not None:
                picture = self._whole(self._last)
        finally:  # a picture of everything may take longer than there is time
            self._out.write(text + picture)
            self._out.flush()

    def begin(self, snapshot: S) -> None:
        self.show(snapshot)

    def show_threads(self, threads: S | None) -> None:
        self._threads = threads

    def show(self, snapshot: S) -> None:
        again, self._last = snapshot is self._last, snapshot
        self._loop.show(self._sight(snapshot), whole=again)

    def finish(self, last: S, summary: S) -> None:  # noqa: ARG002
        self._last = summary

    def suspend(self) -> None:
        self._loop.suspend()

    def resume(self) -> None:
        self._loop.resume()

    def last_words(self) -> None:
        if self._last is not None:
            self._loop.now(self._whole(self._last))

    def _whole(self, snapshot: S) -> str:
        return self._painter.whole(self._forms.table(snapshot, size(self._out.fileno())[0], None))

    def _sight(self, snapshot: S) -> Any:
        if self._config.udp:
            return snapshot
        return Sight(
            snapshot,  # type: ignore[arg-type]
            self._threads,  # type: ignore[arg-type]
            None if self._config.replays else self._cost(),
            (*self._config.windows, None),
            self._config.rows,
            self._config.columns,
        )

    def _cost(self) -> float | None:
        """Processor time over the last seconds, as a part of one processor."""
        now = (time.monotonic(), time.process_time())
        self._spent.append(now)
        while self._spent[0][0] < now[0] - COST_S and len(self._spent) > 2:
            self._spent.popleft()
        since_s, used_s = self._spent[0]
        return (now[1] - used_s) / (now[0] - since_s) if now[0] - since_s > 0.5 else None


class _Receivers:
    """Of UDP: the table as it is printed, and a line of keys."""

    def __init__(self, forms: Forms[Any], glyphs: Glyphs) -> None:
        self._forms, self._glyphs = forms, glyphs

    def draw(self, shown: Any, state: State, window: Window) -> Picture:
        """Pause and quit are all there is, and time in a recording."""
        room = max(window.height - 1, 1)
        lines = list(self._forms.table(shown, window.width, room))[:room]
        lines += [()] * (room - len(lines))
        keys = " q quit  p pause"
        if state.replays:
            keys = f" q quit  {self._glyphs.sideways} time  p {'go on' if state.stands else 'stop'}"
        text = keys + ("   PAUSED" if state.stands else "")
        return Picture([*lines, ((text[: window.width], "bold"),)][: window.height], Drawn())
