"""The table of the kernels that accepttrace is tested on, from the list in `matrix`.

    python -m vm.support

writes it between the markers in docs/kernels.md.
"""

from __future__ import annotations

from pathlib import Path

from vm.matrix import ALL_TYPES, ROWS, Row

PAGE = Path(__file__).resolve().parents[1] / "docs" / "kernels.md"
BEGIN = "<!-- made by `python -m vm.support` from vm/matrix.py -->\n"
END = "<!-- end -->\n"
_SUITES = {"bullseye": "Debian 11", "bookworm": "Debian 12", "trixie": "Debian 13"}
_VERSIONS = {"bullseye": "5.10", "bookworm": "6.1", "trixie": "6.12", "sid": "newest 7.x"}


def main() -> None:
    """Put the table into the page, between the markers."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}{table()}{END}{rest.partition(END)[2]}")


def table() -> str:
    """Markdown, a line for each row of the matrix."""
    lines = [("row", "kernel", "state", *ALL_TYPES, "why it is in the list"), ("---",) * 7]
    lines += [_line(row) for row in ROWS]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _line(row: Row) -> tuple[str, ...]:
    kernel = f"{_VERSIONS[row.suite]} ({_SUITES.get(row.suite, row.suite)}, {row.arch})"
    works = ("yes" if attach in row.attach else "refused" for attach in ALL_TYPES)
    return f"`{row.name}`", kernel, row.flavour, *works, row.why


if __name__ == "__main__":
    main()
