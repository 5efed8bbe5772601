"""Where snapshots go: a live terminal, plain tables, JSON Lines, CSV."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, TextIO

from accepttrace.config import Config
from accepttrace.model.snapshot import Snapshot

if TYPE_CHECKING:
    from accepttrace.views.text import Line

_PIPE_COLUMNS = 120


class Screen:
    """`begin` once with the first snapshot, `show` at every refresh, `finish` at the end."""

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def begin(self, snapshot: Snapshot) -> None:
        """Before the first interval."""

    def show(self, snapshot: Snapshot) -> None:
        """At the end of an interval, or when the window changed its size."""

    def finish(self, last: Snapshot, summary: Snapshot) -> None:
        """Once, at the end: the rest of the last interval, and the whole run."""


def screen_for(config: Config, out: TextIO) -> Screen:
    """The screen that the options and the kind of output ask for."""
    if config.output == "jsonl":
        return JsonLines(config, out)
    if config.output == "csv":
        return Csv(config, out)
    return Live(config) if out.isatty() else Tables(config, out)


class Text(Screen):
    """Lines of text, each reaching the reader at once."""

    def __init__(self, config: Config, out: TextIO) -> None:
        self._config = config
        self._out = out

    def _print(self, text: str) -> None:
        self._out.write(text if text.endswith("\n") else text + "\n")
        self._out.flush()


class JsonLines(Text):
    """meta, then a snapshot an interval, then the summary."""

    def begin(self, snapshot: Snapshot) -> None:
        from accepttrace.views.jsonl import meta_line

        self._print(meta_line(snapshot.meta))

    def show(self, snapshot: Snapshot) -> None:
        from accepttrace.views.jsonl import snapshot_line

        self._print(snapshot_line(snapshot, histogram=self._config.histogram))

    def finish(self, last: Snapshot, summary: Snapshot) -> None:  # noqa: ARG002
        from accepttrace.views.jsonl import summary_line

        self._print(summary_line(summary, histogram=self._config.histogram))


class Csv(Text):
    """A header, then a row for each acceptor and interval; intervals add up to the whole run."""

    def begin(self, snapshot: Snapshot) -> None:
        from accepttrace.views.csvrows import header

        self._print(header(snapshot.by, histogram=self._config.histogram))

    def show(self, snapshot: Snapshot) -> None:
        from accepttrace.views.csvrows import rows

        text = rows(snapshot, histogram=self._config.histogram)
        if text:
            self._print(text)

    def finish(self, last: Snapshot, summary: Snapshot) -> None:  # noqa: ARG002
        self.show(last)


class Tables(Text):
    """A plain table, or histograms, an interval."""

    def show(self, snapshot: Snapshot) -> None:
        self._print(_plain(snapshot, self._config, ledger=False) + "\n")

    def finish(self, last: Snapshot, summary: Snapshot) -> None:  # noqa: ARG002
        self._print(_plain(summary, self._config, ledger=True))


class Live(Screen):
    """A screen drawn anew at each refresh; the summary stays when it ends."""

    def __init__(self, config: Config) -> None:
        from accepttrace.views.live import LiveView

        self._config = config
        self._view = LiveView()

    def __enter__(self) -> Live:
        self._view.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._view.__exit__()

    def begin(self, snapshot: Snapshot) -> None:
        self.show(snapshot)

    def show(self, snapshot: Snapshot) -> None:
        def frame(width: int, height: int | None) -> list[Line]:
            return _render(snapshot, self._config, width, height)

        self._view.update(frame)

    def finish(self, last: Snapshot, summary: Snapshot) -> None:  # noqa: ARG002
        self.show(summary)


def _plain(snapshot: Snapshot, config: Config, *, ledger: bool) -> str:
    from accepttrace.views.text import plain

    width = shutil.get_terminal_size((_PIPE_COLUMNS, 24)).columns
    return plain(_render(snapshot, config, width, None, ledger=ledger))


def _render(
    snapshot: Snapshot, config: Config, width: int, height: int | None, *, ledger: bool = True
) -> list[Line]:
    if config.histogram:
        from accepttrace.views.histogram import render
    else:
        from accepttrace.views.table import render
    return render(snapshot, width, height, rows=config.rows, ledger=ledger)
