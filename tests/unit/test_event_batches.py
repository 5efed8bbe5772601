"""Accepts that are read by what they have in common make the same lines as one by one."""

from __future__ import annotations

import json
import random
import socket
from typing import Any

import pytest

from accepttrace.facts.connections import Called
from accepttrace.probe import connections, wire
from accepttrace.probe.connections import LAYOUT, PIECES, Connections
from accepttrace.views.connections import JsonLines, Stamps

AHEAD_NS = 1_700_000_000_000_000_000
V4, V6 = socket.inet_aton("192.0.2.7") + bytes(12), socket.inet_pton(socket.AF_INET6, "2001:db8::1")
ADDRESSES: dict[int, bytes] = {socket.AF_INET: V4, socket.AF_INET6: V6}


class Decoder(Connections):
    """Without a ring buffer. A name is looked up once for each process."""

    def __init__(self) -> None:
        self._boot_offset, self._known, self._likes = 0, {}, []
        self._name_of = lambda pid, start_ns, comm: Called(
            f"{pid} {comm} 100%s {start_ns}", f"{pid}.service", "100%d"
        )


def record(draw: random.Random, **fixed: int) -> bytes:
    """An accept, most of it as others."""
    worker = draw.randrange(3)
    family = fixed.get("family") or draw.choice([socket.AF_INET, socket.AF_INET6])
    # Its own bytes may be an IPv4 address and zeros, and those of an IPv6 address.
    peer = draw.choice([V4, V4, V6]) if family == socket.AF_INET6 else V4
    return LAYOUT.pack(
        *(draw.randrange(3_000_000_000), 10 + worker, draw.choice([wire.WAIT_UNKNOWN, 0, 50_000])),
        *(0 if worker == 2 else 100 + worker, fixed.get("tid", 100 + worker), 7, 4026531840),
        *(draw.randrange(4), draw.choice([wire.GROUP_NONE, 0, 5])),
        *(fixed.get("result", draw.choice([wire.RESULT_UNKNOWN, 0, 9])), 1, wire.EVENT_ACCEPT),
        *(family, 80, fixed.get("port", draw.choice([0, 1, 65535])), worker % 2),
        *(draw.choice([-1, 0, 1]), 0, b"w%d" % worker, ADDRESSES[family], peer),
    )


@pytest.mark.parametrize("form", ["iso", "relative", "unix"])
@pytest.mark.parametrize(
    "fixed", [{}, {"family": socket.AF_INET, "port": 9}, {"result": wire.RESULT_UNKNOWN}]
)
def test_the_lines_are_those_of_the_events(form: Any, fixed: dict[str, int]) -> None:
    draw, decoder = random.Random(5), Decoder()
    lines, one_by_one = (JsonLines(Stamps(form, AHEAD_NS)) for _ in range(2))
    for number in (1, 2, 300, 40):
        records = b"".join(record(draw, **fixed) for _ in range(number))
        found = lines.accepts(decoder._batch(records, AHEAD_NS))
        assert found == one_by_one.rows([*decoder._events(records, AHEAD_NS)])
        assert len([json.loads(line) for line in found.splitlines()]) == number


def test_what_they_have_in_common_takes_no_more_than_its_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "_LIKES", 20)
    draw, decoder, lines = random.Random(6), Decoder(), JsonLines(Stamps("iso", 0))
    for start in range(0, 60, 6):
        records = b"".join(record(draw, tid=start + n) for n in range(6))
        batch = decoder._batch(records, AHEAD_NS)
        assert len(batch.likes) <= 20
        assert lines.accepts(batch) == lines.rows([*decoder._events(records, AHEAD_NS)])


def test_both_ways_read_all_of_a_record() -> None:
    assert PIECES.size == LAYOUT.size
