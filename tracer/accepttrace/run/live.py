"""The live screen: a thread of its own reads keys and draws, whatever a refresh is doing.

The main thread reads the kernel and hands over pictures; signals come to it alone. A terminal that
takes nothing, or a key that is held down, cannot keep it from counting.
"""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Generic, Protocol, TypeVar

from accepttrace.run.keys import Decoder
from accepttrace.run.output import writer
from accepttrace.run.pace import unbroken
from accepttrace.run.terminal import Terminal, size
from accepttrace.views.screen.draw import Picture, Window
from accepttrace.views.screen.paint import Painter
from accepttrace.views.screen.state import Drawn, State, press

S = TypeVar("S")
C = TypeVar("C", contravariant=True)
_KEYS_BYTES: Final = 1024  # read at once
_JOIN_S: Final = 0.3  # after which a thread that draws a huge picture is left alone


def _nothing() -> None:
    return


class Drawer(Protocol[C]):
    """Makes pictures of snapshots."""

    def draw(self, shown: C, state: State, window: Window) -> Picture:
        """One picture for a window."""


class Loop(Generic[S]):
    """Draws what it was last shown, in its thread.

    The thread calls `on_wish` when a key asks for another picture, or when it has failed, and
    `on_end` when a key asks to leave.
    """

    def __init__(
        self, drawer: Drawer[S], terminal: Terminal, painter: Painter, out: int, state: State
    ) -> None:
        self._drawer, self._terminal, self._painter = drawer, terminal, painter
        self._write, self._fd = writer(out), out
        self.on_wish: Callable[[], object] = _nothing
        self.on_end: Callable[[], object] = _nothing
        self._state, self._drawn = state, Drawn()
        self._latest: S | None = None
        self._frozen: S | None = None  # what is on the screen while it is paused
        self._rest = b""  # of a picture that the terminal has not taken yet
        self._dirty = self._whole = False  # it is to be drawn, and all of it
        self._stopping = False
        self._lock = threading.RLock()  # whoever writes, and sets modes
        self._woken, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="accepttrace-screen", daemon=True)
        self.failure: BaseException | None = None

    @property
    def state(self) -> State:
        """As the last key left it."""
        return self._state

    def start(self) -> None:
        """Take the terminal, and begin."""
        with self._lock, unbroken():
            if self._terminal.may_draw:
                self.now(self._terminal.take())
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self._thread.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def show(self, shown: S, *, whole: bool = False) -> None:
        """This is the latest; raises what went wrong in the thread.

        `whole`: the window may have lost what was there before.
        """
        if self.failure is not None:
            raise self.failure
        self._latest = shown
        self._whole = self._whole or whole
        self._wake()

    def suspend(self) -> None:
        """Give the terminal back for a while."""
        with self._lock, unbroken():
            self._rest = b""
            self.now(self._terminal.give_back())

    def resume(self) -> None:
        """A shell had it, and may have set other modes: take it again, once it is ours."""
        with self._lock, unbroken():
            self._terminal.lose()
        self._wake()

    def stop(self) -> str:
        """End the thread; returns what to write to give the terminal back."""
        self._stopping = True
        self._wake()
        self._thread.join(_JOIN_S)
        with unbroken():
            return self._terminal.give_back()

    def _wake(self) -> None:
        with suppress(BlockingIOError):
            os.write(self._waker, b"\0")

    def now(self, text: str) -> None:
        """Write what can be written at once."""
        with suppress(OSError):
            self._write(text.encode())

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self.failure = error
            self.on_wish()

    def _work(self) -> None:
        decoder = Decoder()
        while not self._stopping:
            ready = self._wait(decoder.patience_s)
            if self._woken in ready:
                os.read(self._woken, 4096)
                self._dirty = True
            keys = self._terminal.keys
            if keys is not None and keys in ready:
                pressed = list(decoder.feed(self._read(keys, ready[keys])))
            else:
                pressed = [] if ready else list(decoder.flush())
            for key in pressed:
                self._press(key)
            self._refresh()

    def _wait(self, patience_s: float | None) -> dict[int, int]:
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        keys = self._terminal.keys
        if keys is not None:
            poll.register(keys, select.POLLIN)
        if self._rest:
            poll.register(self._fd, select.POLLOUT)
        return dict(poll.poll(None if patience_s is None else patience_s * 1e3))

    def _read(self, keys: int, how: int) -> bytes:
        data = b""
        with suppress(OSError):
            data = os.read(keys, _KEYS_BYTES)
        if not data and how & (select.POLLHUP | select.POLLERR | select.POLLNVAL):
            self._terminal.close_keys()
        return data

    def _press(self, key: str) -> None:
        before, after = self._state, press(self._state, key, self._drawn)
        self._state = after
        self._dirty = True
        if after.paused and not before.paused:
            self._frozen = self._latest
        elif not after.paused:
            self._frozen = None
        if after.wish != before.wish:
            self.on_wish()
        if after.ended and not before.ended:
            self.on_end()

    def _refresh(self) -> None:
        """Write what there is to write; draw only what the terminal is ready for."""
        with self._lock:
            if not self._terminal.may_draw or self._stopping:
                return
            self._push()
            if self._rest or not self._dirty or (self._frozen or self._latest) is None:
                return
            self._dirty = False
            text = "" if self._terminal.taken else self._terminal.take()
            if text or self._whole:
                self._whole = False
                self._painter.forget()
            self._rest = (text + self._painted()).encode("utf-8", errors="replace")
            if not self._stopping:
                self._push()

    def _painted(self) -> str:
        shown = self._frozen or self._latest
        assert shown is not None
        picture = self._drawer.draw(shown, self._state, Window(*size(self._fd)))
        self._drawn = picture.drawn
        return self._painter.changes(picture.lines)

    def _push(self) -> None:
        try:
            while self._rest:
                self._rest = self._rest[self._write(self._rest) :]
        except BlockingIOError:
            return
