"""Keys from bytes: whole, in pieces, pasted, and from somebody who means no good."""

from __future__ import annotations

import random

import pytest

from accepttrace.run.keys import LONGEST_PASTE, PARTIAL_S, PASTE_S, Decoder


def decoded(*pieces: bytes) -> list[str]:
    decoder = Decoder()
    return [key for piece in pieces for key in decoder.feed(piece)] + list(decoder.flush())


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"qgS/?", ["q", "g", "S", "/", "?"]),
        (b"\x1b[A\x1b[B\x1bOA\x1bOB", ["up", "down", "up", "down"]),
        (b"\x1b[5~\x1b[6~\x1b[H\x1b[F", ["pageup", "pagedown", "home", "end"]),
        (b"\x1b[1~\x1b[4~\x1bOH\x1bOF", ["home", "end", "home", "end"]),
        (b"\r\n\x7f\x08 ", ["enter", "enter", "backspace", "backspace", " "]),
        ("äж世".encode(), ["ä", "ж", "世"]),
        (b"\x1b", ["escape"]),
        (b"\x1bq", ["escape", "q"]),
        (b"\x1b\x1b", ["escape", "escape"]),
        (b"\x1b[1;5A\x1b[15~\x1b[?1;2c\x00\x01", []),  # of no use here
        (b"\xff\xfe\xc3(\x80", ["("]),  # the rest is no UTF-8
    ],
)
def test_keys_are_those_that_terminals_send(data: bytes, keys: list[str]) -> None:
    assert decoded(data) == keys


def test_a_sequence_may_come_byte_by_byte() -> None:
    data = b"\x1b[5~a\x1b[A" + "世".encode()
    assert decoded(*(bytes([byte]) for byte in data)) == ["pageup", "a", "up", "世"]


def test_a_part_of_a_sequence_is_waited_for_and_then_forgotten() -> None:
    decoder = Decoder()
    assert list(decoder.feed(b"\x1b[")) == []
    assert decoder.patience_s == PARTIAL_S
    assert list(decoder.flush()) == []
    assert decoder.patience_s is None
    assert list(decoder.feed(b"q")) == ["q"]


def test_what_is_pasted_is_one_text_and_no_keys() -> None:
    assert decoded(b"\x1b[200~quit\nrm \x1b[Az\x1b[201~g") == ["paste:quitrm [Az", "g"]


def test_a_paste_without_an_end_is_bounded_and_ends_by_itself() -> None:
    decoder = Decoder()
    for _ in range(100):
        assert list(decoder.feed(b"q" * 1024 if decoder.patience_s else b"\x1b[200~")) == []
    assert decoder.patience_s == PASTE_S
    assert len(decoder._bytes) <= LONGEST_PASTE + 1024
    assert list(decoder.feed(b"q\x1b[201~z"))[-1] == "z"


def test_random_bytes_do_no_harm() -> None:
    source = random.Random(1)
    decoder = Decoder()
    for _ in range(2000):
        for key in decoder.feed(source.randbytes(source.randrange(40))):
            assert key.isprintable()
            assert len(key) == 1 or key.isascii() or key.startswith("paste:")
        assert len(decoder._bytes) <= LONGEST_PASTE + 40
        if source.random() < 0.1:
            list(decoder.flush())
