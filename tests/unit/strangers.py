"""What strangers choose: names as they reach us, and what of them may reach a person."""

from __future__ import annotations

import unicodedata

from hypothesis import strategies as st

# Every byte but NUL may stand in a name; what is no UTF-8 is replaced, or escaped by Python.
_BYTES = st.lists(st.integers(1, 255), max_size=60).map(bytes)
NASTY = (
    "\x1b[2J\x1b[31mhi",
    "a\nb\nc",
    "x\r\n1;2",
    'a "b", c',
    "nul\0l",
    "=1+cmd|' /C calc'!A0",
    "@SUM(1)",
    "-bash",
    "\u202egpj.exe",
    "\u2066a\u2069",
    "half \ud83d",
    "other half \udc80\udcff",
    "\ufffd",
    "\U0001f600\ufe0f\u200d\U0001f600",
    "e" + "\u0301" * 300,
    "\u1100" + "\u1161" * 300,
    "\u2028\u2029\x85\x0b\x0c\x1c",
    "\uff1d1+1",
    "日本語の名前",
    "שלום",
    "é…~+",
)
names = st.one_of(
    st.sampled_from(NASTY),
    st.text(max_size=40),
    st.text(st.characters(), max_size=40),  # half characters too
    _BYTES.map(lambda raw: raw.decode("utf-8", "surrogateescape")),
    _BYTES.map(lambda raw: raw.decode("utf-8", "replace")),
    _BYTES.map(lambda raw: raw.decode("latin-1")),
)


def is_harmless(text: str) -> bool:
    """Nothing that a terminal would obey or that would pile up; nothing but whole characters."""
    kinds = [unicodedata.category(char) for char in text]
    marks = "".join("m" if kind in ("Mn", "Me") else "." for kind in kinds)
    return not {"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"} & set(kinds) and "mmm" not in marks
