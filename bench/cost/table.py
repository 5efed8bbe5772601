"""The figures as tables: text for a terminal, Markdown for docs/cost.md."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.cost.results import Result, figures
from bench.cost.subjects import ALL_LOOPS

HEAD = (
    *("", "undisturbed connection", "of base", "whole machine", "quartiles"),
    *("refreshes", "total", "of base", "peak memory"),
)
LISTENERS = {
    "plain": "plain listener",
    "reuseport": "`SO_REUSEPORT` listener",
    "unix": "listener of a UNIX socket",
}
Cells = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Measured:
    """One kernel."""

    row: str  # of vm/matrix.py
    release: str
    results: list[Result]
    lost: str = ""  # why not all is there


def text(each: Measured) -> str:
    """For a terminal: columns aligned."""
    parts = [f"\n{each.row}: Linux {each.release}"]
    for loop in _loops(each.results):
        lines = [HEAD, *_lines(each.results, loop)]
        sized = [line for line in lines if line[1:] != _error(line[1])]
        widths = [max(len(line[column]) for line in sized) for column in range(len(HEAD))]
        parts.append(f"{loop} listener")
        parts += ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    return "\n".join([*parts, each.lost])


def markdown(measured: Iterable[Measured]) -> str:
    """A section for each kernel."""
    parts = []
    for each in measured:
        parts.append(f"\n## Linux {each.release}\n")
        for loop in _loops(each.results):
            parts += [f"\n{LISTENERS[loop]}:\n\n", _row(HEAD), _row(("---",) * len(HEAD))]
            parts += [_row(line) for line in _lines(each.results, loop)]
    return "".join(parts)


def _loops(results: Sequence[Result]) -> Iterable[str]:
    """Where anything was traced."""
    traced = [one for one in results if one.kind != "nothing"] or results
    return [loop for loop in ALL_LOOPS if any(loop in one.before for one in traced)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def _lines(results: Iterable[Result], loop: str) -> Iterable[Cells]:
    for result in results:
        if loop not in result.before:
            continue
        if result.error:
            yield (result.name, *_error(result.error))
        elif result.kind == "nothing":
            yield from _untraced(result, loop)
        else:
            yield _line(result, loop)


def _error(why: str) -> Cells:
    return (why, *[""] * (len(HEAD) - 2))


def _untraced(result: Result, loop: str) -> Iterable[Cells]:
    """The base, and then what nothing at all seems to add: the noise."""
    found = figures(result, loop)
    yield ("untraced", f"{found.base:,.0f}", "", f"{found.block_base:,.0f}", *[""] * 5)
    yield ("untraced once more", *_line(result, loop)[1:])


def _line(result: Result, loop: str) -> Cells:
    found = figures(result, loop)
    return (
        result.name,
        f"{found.path:+,.0f}",
        f"{found.path_percent:.2f} %",
        f"{found.middle:+,.0f}",
        f"{found.low:+,.0f} … {found.high:+,.0f}",
        f"{found.refreshes:+,.0f}" if result.refresh else "",
        f"{found.total:+,.0f}",
        f"{found.percent:.2f} %",
        f"{result.peak_kib / 1024:.0f} MiB" if result.peak_kib else "",
    )
