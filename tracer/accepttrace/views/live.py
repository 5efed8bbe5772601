"""The table on a terminal, redrawn in place: the only view that knows rich's Live."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

from rich.console import Console, ConsoleOptions
from rich.live import Live
from rich.segment import Segment
from rich.style import Style

from accepttrace.views.text import Line, plain

Factory = Callable[[int, "int | None"], Sequence[Line]]  # width, height (None: all) → lines


@lru_cache(maxsize=64)
def style_of(words: str) -> Style | None:
    """`bold red` as rich's style; None for no style."""
    return Style.parse(words) if words else None


class Frame:
    """Lines that are laid out already: rich need not measure, wrap or align anything."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self._lines = lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for index, line in enumerate(self._lines):
            if index:
                yield Segment.line()
            for text, style in line:
                yield Segment(text, style_of(style))


class LiveView:
    """Redraws the alternate screen of a terminal; elsewhere prints one plain table an update.

    When it ends, the last picture is printed whole on the normal screen. NO_COLOR is respected.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._live: Live | None = None
        self._factory: Factory | None = None

    @property
    def redraws(self) -> bool:
        """Whether the terminal can be redrawn in place."""
        return self._console.is_terminal and not self._console.is_dumb_terminal

    def __enter__(self) -> LiveView:
        if self.redraws:
            self._live = Live(
                Frame(()),
                console=self._console,
                screen=True,
                auto_refresh=False,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is None:
            return
        self._live.stop()
        self._live = None
        if self._factory is not None:
            self._print(self._factory(self._console.width, None))

    def update(self, factory: Factory) -> None:
        """Draw what `factory` makes for the window as it is now; call it again on SIGWINCH."""
        self._factory = factory
        if self._live is None:
            self._console.file.write(plain(factory(self._console.width, None)))
            self._console.file.flush()
            return
        width, height = self._console.size
        self._live.update(Frame(factory(width, height)), refresh=True)

    def _print(self, lines: Sequence[Line]) -> None:
        self._console.print(Frame((*lines, ())), end="")
