"""Where snapshots go: a live terminal, plain tables, JSON Lines, CSV."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from accepttrace.config import Config
from accepttrace.run.forms import Forms, TcpForms, UdpForms
from accepttrace.run.terminal import redraws, window

if TYPE_CHECKING:
    from accepttrace.run.pace import Pace
    from accepttrace.views.screen.state import Wish

S = TypeVar("S")
_PIPE_COLUMNS = 120


class Screen(Generic[S]):
    """`begin` once with the first snapshot, `show` at every refresh, `finish` at the end."""

    leave = ""  # what gives a terminal back
    shows_first = False  # whether `begin` shows the first snapshot, or only what is of the run
    wish: Wish | None = None  # what whoever looks at it has asked for

    def __init__(self, forms: Forms[S]) -> None:
        self._forms = forms

    def __enter__(self) -> Screen[S]:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def begin(self, snapshot: S) -> None:
        """Before the first interval."""

    def show(self, snapshot: S) -> None:
        """At the end of an interval, or when something else is to be seen."""

    def show_threads(self, threads: S | None) -> None:
        """The same by thread, where that was wished for; before `show`."""

    def suspend(self) -> None:
        """Give the terminal back for a while."""

    def resume(self) -> None:
        """Take it again."""

    def last_words(self) -> None:
        """After `suspend`, before the process is killed."""

    def finish(self, last: S, summary: S) -> None:
        """Once, at the end: the rest of the last interval, and the whole run."""


class Out(Protocol):
    """What is printed to."""

    def write(self, text: str, /) -> int:
        """Take some text."""

    def flush(self) -> None:
        """Let it reach the reader."""

    def isatty(self) -> bool:
        """Whether it is a terminal."""

    def fileno(self) -> int:
        """Its descriptor."""


def screen_for(config: Config, out: Out, pace: Pace | None = None) -> Screen[Any]:
    """The screen that the options and the kind of output ask for."""
    forms: Forms[Any] = UdpForms(config) if config.udp else TcpForms(config)
    if config.output == "jsonl":
        return JsonLines(forms, out)
    if config.output == "csv":
        return Csv(forms, out)
    if not out.isatty() or config.plain or config.once:
        return Tables(forms, out)
    if not redraws():
        return Dumb(forms, out)
    from accepttrace.run.screen import Live

    return Live(config, forms, out, pace)


class Text(Screen[S]):
    """Lines of text, each reaching the reader at once."""

    def __init__(self, forms: Forms[S], out: Out) -> None:
        super().__init__(forms)
        self._out = out
        self._shown: S | None = None

    def show(self, snapshot: S) -> None:
        """Each once, also where the window of a terminal changes its size."""
        if snapshot is not self._shown:
            self._shown = snapshot
            self._write(snapshot)

    def _write(self, snapshot: S) -> None:
        raise NotImplementedError

    def _print(self, text: str) -> None:
        self._out.write(text if text.endswith("\n") else text + "\n")
        self._out.flush()


class JsonLines(Text[S]):
    """meta, then a snapshot an interval, then the summary."""

    def begin(self, snapshot: S) -> None:
        self._print(self._forms.json(snapshot, "meta"))

    def _write(self, snapshot: S) -> None:
        self._print(self._forms.json(snapshot, "snapshot"))

    def finish(self, last: S, summary: S) -> None:  # noqa: ARG002
        self._print(self._forms.json(summary, "summary"))


class Csv(Text[S]):
    """A header, then the rows of each interval; intervals add up to the whole run."""

    def begin(self, snapshot: S) -> None:
        self._print(self._forms.csv_header(snapshot))

    def _write(self, snapshot: S) -> None:
        text = self._forms.csv_rows(snapshot)
        if text:
            self._print(text)

    def finish(self, last: S, summary: S) -> None:  # noqa: ARG002
        self.show(last)


class Tables(Text[S]):
    """A plain table, or histograms, an interval."""

    def _write(self, snapshot: S) -> None:
        self._print(_plain(self._forms, snapshot, footer=False) + "\n")

    def finish(self, last: S, summary: S) -> None:  # noqa: ARG002
        self._print(_plain(self._forms, summary, footer=True))


class Dumb(Tables[S]):
    """A terminal that cannot be drawn on: a plain table an interval, the first at once."""

    shows_first = True

    def begin(self, snapshot: S) -> None:
        self.show(snapshot)


def _plain(forms: Forms[S], snapshot: S, *, footer: bool) -> str:
    from accepttrace.views.text import plain

    width, _ = window(_PIPE_COLUMNS)
    return plain(forms.table(snapshot, width, None, footer=footer))
