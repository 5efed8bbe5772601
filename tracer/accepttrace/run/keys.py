"""Keys of a terminal, from the bytes that it sends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

ESCAPE: Final = 0x1B
LONGEST: Final = 32  # bytes of one sequence; what is longer is none
LONGEST_PASTE: Final = 4096
PARTIAL_S: Final = 0.05  # until the rest of a sequence must have come; an ESC alone is the key
PASTE_S: Final = 1.0  # the same of a text that is pasted
_BEGIN_PASTE, _END_PASTE = "[200~", b"\x1b[201~"
_NAMES: Final[Mapping[str, str]] = {
    **{f"{kind}{end}": name for kind in "[O" for end, name in (
        ("A", "up"), ("B", "down"), ("C", "right"), ("D", "left"), ("H", "home"), ("F", "end"),
    )},
    **{"[1~": "home", "[7~": "home", "[4~": "end", "[8~": "end"},
    **{"[5~": "pageup", "[6~": "pagedown", "OM": "enter"},
}  # fmt: skip
_CONTROLS: Final[Mapping[int, str]] = {
    **{0x0D: "enter", 0x0A: "enter", 0x7F: "backspace", 0x08: "backspace", 0x1B: "escape"},
    **{0x06: "pagedown", 0x02: "pageup", 0x0E: "down", 0x10: "up"},  # ^F ^B ^N ^P
}


class Decoder:
    """Bytes come in any pieces; keys are `a`, `up`, `enter`, or `paste:` with a text.

    What is no key of a terminal is dropped. However much comes, little is kept.
    """

    def __init__(self) -> None:
        self._bytes = b""

    @property
    def patience_s(self) -> float | None:
        """How long to wait for the rest of a sequence before `flush`; None: nothing is expected."""
        if not self._bytes:
            return None
        return PASTE_S if self._pastes else PARTIAL_S

    def feed(self, data: bytes) -> Iterator[str]:
        """The keys that are whole by now."""
        self._bytes += data
        while self._bytes:
            key, used = _first(self._bytes)
            if not used:
                break
            self._bytes = self._bytes[used:]
            if key:
                yield key
        if len(self._bytes) > LONGEST_PASTE:  # its end must still be found
            self._bytes = self._bytes[:LONGEST_PASTE] + self._bytes[-len(_END_PASTE) :]

    def flush(self) -> Iterator[str]:
        """Nothing more came: an ESC alone was the key, what else is there is none."""
        rest, self._bytes = self._bytes, b""
        if rest == b"\x1b":
            yield "escape"

    @property
    def _pastes(self) -> bool:
        return self._bytes.startswith(b"\x1b" + _BEGIN_PASTE.encode())


def _first(data: bytes) -> tuple[str, int]:
    """The first key and how many bytes it took; none are taken of one that is not whole."""
    if data[0] == ESCAPE:
        return _sequence(data)
    if data[0] < 0x20 or data[0] == 0x7F:
        return _CONTROLS.get(data[0], ""), 1
    length = 1 if data[0] < 0xC0 else 2 if data[0] < 0xE0 else 3 if data[0] < 0xF0 else 4
    if len(data) < length:
        return "", 0
    try:
        text = data[:length].decode("utf-8")
    except UnicodeDecodeError:
        return "", 1
    return text if text.isprintable() else "", length


def _sequence(data: bytes) -> tuple[str, int]:
    if len(data) == 1:
        return "", 0
    if data[1] not in b"[O":
        return "escape", 1
    for at in range(2, min(len(data), LONGEST)):
        if 0x40 <= data[at] <= 0x7E:
            name = data[1 : at + 1].decode("ascii", errors="ignore")
            return _paste(data, at + 1) if name == _BEGIN_PASTE else (_NAMES.get(name, ""), at + 1)
        if not 0x20 <= data[at] <= 0x3F:
            return "", at
    return ("", LONGEST) if len(data) >= LONGEST else ("", 0)


def _paste(data: bytes, begin: int) -> tuple[str, int]:
    end = data.find(_END_PASTE, begin)
    if end < 0:
        return "", 0
    text = data[begin:end].decode("utf-8", errors="ignore")
    return "paste:" + "".join(char for char in text if char.isprintable()), end + len(_END_PASTE)
