"""The figures as tables: text for a terminal, Markdown for docs/cost.md."""

from __future__ import annotations

from collections.abc import Sequence

from bench.cost.results import Base, Result, base_of, figures

HEAD = (
    *("", "loop", "median connection", "of base", "whole machine", "quartiles"),
    *("refreshes", "total", "of base", "memory"),
)


def text(results: Sequence[Result]) -> str:
    """Columns aligned."""
    lines = [HEAD]
    for loop in ("plain", "reuseport"):
        base = base_of(results, loop)
        lines.append(("(base)", loop, f"{base.median:,.0f}", "", f"{base.block:,.0f}", *[""] * 5))
        lines += [_line(result, loop, base) for result in results]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _line(result: Result, loop: str, base: Base) -> tuple[str, ...]:
    if result.error:
        return (result.name, loop, result.error, *("",) * (len(HEAD) - 3))
    found = figures(result, loop, base)
    return (
        result.name,
        loop,
        f"{found.path:,.0f}",
        f"{found.path_percent:.2f} %",
        f"{found.middle:,.0f}",
        f"{found.low:,.0f} … {found.high:,.0f}",
        f"{found.refreshes:,.0f}" if result.refresh else "",
        f"{found.total:,.0f}",
        f"{found.percent:.2f} %",
        f"{result.peak_kib / 1024:.0f} MiB" if result.peak_kib else "",
    )


def markdown(measured: object) -> str:
    """TODO."""
    return str(measured)
