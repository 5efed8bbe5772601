"""Text for terminals: styled spans, their width in cells, cutting and padding."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from textwrap import wrap
from typing import Final, Literal

Span = tuple[str, str]  # text, style: "" or words such as "bold red"
Line = tuple[Span, ...]
Align = Literal["left", "right"]

ELLIPSIS: Final = "…"
MARKS: Final = 2  # characters without a cell of their own that may follow another one
DRAWN: Final = re.compile("[ -~\u2500-\u259f]*")  # bars and trends; all of one cell
SURROGATE: Final = re.compile("[\ud800-\udfff]")  # half a character: no encoding has it


def clean(text: str) -> str:
    """A name as others chose it, made harmless.

    Control, format and unassigned characters become `?`: no escape sequence, line end, zero-width
    joiner or change of direction is left. Of combining marks, which take no cell and so would
    never be cut, a character keeps MARKS.
    """
    if text.isascii() and text.isprintable():
        return text
    kept: list[str] = []
    marks = 0
    for char in well_formed(text):
        shown = char if char.isprintable() else "?"
        marks = 0 if _cell(shown) else marks + 1
        if marks <= MARKS:
            kept.append(shown)
    return "".join(kept)


def well_formed(text: str) -> str:
    """Text that UTF-8 can hold. U+FFFD stands for a byte that it cannot, as everywhere."""
    return SURROGATE.sub("\ufffd", text)


def cells(text: str) -> int:
    """Columns of the terminal that a text takes."""
    return len(text) if text.isascii() or DRAWN.fullmatch(text) else sum(map(_cell, text))


def _cell(char: str) -> int:
    joins_a_syllable = "\u1160" <= char <= "\u11ff"  # vowels and finals of Hangul
    if unicodedata.category(char) in ("Mn", "Me", "Cf") or joins_a_syllable:
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def degraded(text: str) -> str:
    """ASCII of the same width, for an output that cannot hold the text: `+` where it was cut."""
    return "".join("+" if char == ELLIPSIS else "?" * _cell(char) for char in text)


def clip(text: str, width: int) -> str:
    """At most `width` cells; what was cut leaves an ellipsis."""
    return text if cells(text) <= width else _head(text, width - 1) + ELLIPSIS[: max(width, 0)]


def shortened(text: str, width: int) -> str:
    """As `clip`, but cut in the middle: of a path, both ends say what it is."""
    if cells(text) <= width:
        return text
    tail = _head(text[::-1], (width - 1) // 2)[::-1]
    return clip(text, width - cells(tail)) + tail


def _head(text: str, width: int) -> str:
    used = 0
    for index, char in enumerate(text):
        used += _cell(char)
        if used > width:
            return text[:index]
    return text


def pad(text: str, width: int, align: Align) -> str:
    """Exactly `width` cells."""
    text = clip(text, width)
    space = " " * (width - cells(text))
    return space + text if align == "right" else text + space


def cut(line: Line, width: int) -> Line:
    """A line of at most `width` cells."""
    spans: list[Span] = []
    room = width
    for text, style in line:
        used = cells(text)
        if used > room:
            spans.append((clip(text, room), style))
            break
        spans.append((text, style))
        room -= used
    return tuple(spans)


def flow(parts: Iterable[Span], width: int, gap: str = "  ", indent: str = "") -> list[Line]:
    """Parts set one after the other, on as many lines as that takes; no part is broken.

    All lines but the first begin with `indent`.
    """
    lines: list[list[Span]] = []
    room = 0
    for text, style in parts:
        if not text:
            continue
        if lines and cells(text) + len(gap) <= room:
            lines[-1] += [(gap, ""), (text, style)]
            room -= cells(text) + len(gap)
        else:
            margin = indent if lines else ""
            lines.append([(clip(margin + text, width), style)])
            room = width - cells(margin + text)
    return [tuple(line) for line in lines]


def flowed(parts: Iterable[str], width: int, margin: str, gap: str = "  ") -> list[str]:
    """The same without styles, as text; empty parts are left out."""
    found = [part for part in parts if part]
    line = gap.join(found)
    if cells(line) <= width:  # as nearly all do, of thousands
        return [line.rstrip()]
    return plain(flow([(part, "") for part in found], width, gap, margin)).splitlines()


def wrapped(text: str, width: int) -> list[str]:
    """A sentence in lines of at most `width` characters, but for longer words; all but the first
    are indented deeper than it is.
    """
    margin = text[: len(text) - len(text.lstrip())] + "    "
    return wrap(
        text, width, subsequent_indent=margin, break_long_words=False, break_on_hyphens=False
    )


def plain(lines: Sequence[Line]) -> str:
    """Lines without their styles, each with its newline."""
    return "".join("".join(text for text, _ in line).rstrip() + "\n" for line in lines)
