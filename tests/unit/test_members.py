"""What a reuseport group chooses by, as the kernel has its program."""

from __future__ import annotations

import struct

import pytest

from accepttrace.facts.records import Program
from accepttrace.probe import wire
from accepttrace.probe.classic import returned
from accepttrace.probe.members import member_of

QUEUE, HASH, CPU, RANDOM = ((0x20, 0xFFFFF000 + offset) for offset in (24, 32, 36, 56))
RETURN, LENGTH = (0x16, 0), (0x80, 0)


def packed(*code: tuple[int, int]) -> list[int]:
    return [
        int.from_bytes(struct.pack("=HBBI", operation, 0, 0, value), "little")
        for operation, value in code
    ]


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ([(0x06, 7)], "member 7"),
        ([CPU, RETURN], "cpu"),
        ([QUEUE, RETURN], "queue"),
        ([CPU, (0x94, 4), RETURN], "cpu modulo 4"),
        ([HASH, (0x94, 16), RETURN], "packet hash modulo 16"),
        ([RANDOM, (0x54, 3), RETURN], "random and 0x3"),
        ([CPU, (0x04, 1), RETURN], None),  # one more than the CPU
        ([(0x20, 12), RETURN], None),  # from the packet
        ([LENGTH, RETURN], None),
        ([CPU, (0x94, 4), (0x06, 0)], None),
        ([], None),
    ],
)
def test_a_classic_program_is_known_by_its_instructions(
    code: list[tuple[int, int]], name: str | None
) -> None:
    padded = [*packed(*code), 0, 0, 0][:3]
    assert returned(padded, len(code)) == name


def test_of_a_longer_program_the_beginning_says_nothing() -> None:
    assert returned(packed(CPU, RETURN, (0x06, 0)), 4) is None
    assert returned(packed(CPU, (0x94, 4), RETURN), 3) == "cpu modulo 4"


def member(**facts: object) -> wire.Member:
    found = wire.Member(inode=5, group=6, size=7)
    for name, value in facts.items():
        setattr(found, name, value)
    return found


def test_what_chooses() -> None:
    assert member_of(member()).selector == "hash"
    assert member_of(member(incoming_cpu=1)).selector == "incoming_cpu"
    extended = member_of(
        member(program=wire.PROGRAM_EXTENDED, program_id=9, program_name=b"steer", incoming_cpu=1)
    )
    assert (extended.selector, extended.program) == ("ebpf", Program(9, "steer"))
    old = member(program=wire.PROGRAM_CLASSIC, instructions=1, incoming_cpu=1)
    old.classic[0] = packed((0x06, 2))[0]
    assert (member_of(old).selector, member_of(old).program) == ("cbpf", Program(None, "member 2"))
    assert member_of(member()).program is None
