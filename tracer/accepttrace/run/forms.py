"""How snapshots are written, of TCP and of UDP: the views that the screens print."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from accepttrace.config import Config

if TYPE_CHECKING:
    from accepttrace.model.datagrams import ReceiverSnapshot
    from accepttrace.model.snapshot import Snapshot
    from accepttrace.views.text import Line

S = TypeVar("S", contravariant=True)


class Forms(Protocol[S]):
    """Every form of one kind of snapshot. The views stay unread until they are asked for."""

    def table(
        self, snapshot: S, width: int, height: int | None, *, footer: bool = True
    ) -> list[Line]:
        """At most `width` cells a line; without a height, all of it; a `footer` ends it."""

    def json(self, snapshot: S, kind: str) -> str:
        """A line of JSON: `meta`, `snapshot` or `summary`."""

    def csv_header(self, snapshot: S) -> str:
        """The names of the columns."""

    def csv_rows(self, snapshot: S) -> str:
        """A line for each row; empty where there is nothing to report."""


class TcpForms:
    """Who accepts what."""

    def __init__(self, config: Config) -> None:
        self._rows, self._histogram = config.rows, config.histogram
        self._columns, self._bars, self._full = config.columns, not config.plain, config.full

    def table(
        self, snapshot: Snapshot, width: int, height: int | None, *, footer: bool = True
    ) -> list[Line]:
        if self._histogram:
            from accepttrace.views import histogram

            return histogram.render(
                *(snapshot, width, height),
                rows=self._rows,
                bars=self._bars,
                footer=footer,
                full=self._full,
            )
        from accepttrace.views.table import render

        return render(
            *(snapshot, width, height),
            rows=self._rows,
            columns=self._columns,
            footer=footer,
            full=self._full,
        )

    def json(self, snapshot: Snapshot, kind: str) -> str:
        from accepttrace.views import jsonl

        if kind == "meta":
            return jsonl.meta_line(snapshot.meta)
        write = jsonl.summary_line if kind == "summary" else jsonl.snapshot_line
        return write(snapshot, histogram=self._histogram)

    def csv_header(self, snapshot: Snapshot) -> str:
        from accepttrace.views.csvrows import header

        return header(snapshot.by, columns=self._columns, histogram=self._histogram)

    def csv_rows(self, snapshot: Snapshot) -> str:
        from accepttrace.views.csvrows import rows

        return rows(snapshot, columns=self._columns, histogram=self._histogram)


class UdpForms:
    """Which socket gets what."""

    def __init__(self, config: Config) -> None:
        self._rows, self._columns, self._full = config.rows, config.columns, config.full

    def table(
        self, snapshot: ReceiverSnapshot, width: int, height: int | None, *, footer: bool = True
    ) -> list[Line]:
        from accepttrace.views.receivers import render

        return render(
            snapshot,
            width,
            height,
            rows=self._rows,
            columns=self._columns,
            footer=self._full and footer,
        )

    def json(self, snapshot: ReceiverSnapshot, kind: str) -> str:
        from accepttrace.views import receiverlines

        if kind == "meta":
            return receiverlines.meta_line(snapshot.meta)
        if kind == "summary":
            return receiverlines.summary_line(snapshot)
        return receiverlines.snapshot_line(snapshot)

    def csv_header(self, snapshot: ReceiverSnapshot) -> str:  # noqa: ARG002
        from accepttrace.views.receiverlines import csv_header

        return csv_header(self._columns)

    def csv_rows(self, snapshot: ReceiverSnapshot) -> str:
        from accepttrace.views.receiverlines import csv_rows

        return csv_rows(snapshot, self._columns)
