"""What a recording consists of, and each part as a line of JSON.

The first line is a `Beginning`, then come the others, in the order in which they happened.
Whoever repeats them finds the same pictures. Named tuples of `facts` are arrays in JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Literal, TypeAlias

import msgspec
from msgspec import Struct

from accepttrace.config import Filters
from accepttrace.facts.connections import Account, ConnectionEvent
from accepttrace.facts.datagrams import UdpReading
from accepttrace.facts.meta import Meta
from accepttrace.facts.reading import Reading, Use
from accepttrace.facts.records import Baseline, LocalPort, Opened, Passed, PortCount
from accepttrace.facts.sight import Sight

FORMAT: Final = 1


class BadLine(ValueError):
    """A line that is no part of a recording, or one of a newer format; says why."""


class Beginning(Struct, frozen=True, tag="recording", tag_field="type"):
    """What was traced, how, and what was there before.

    `began_s`: when tracing began (CLOCK_MONOTONIC). `interval_s`: between two readings.
    `sample`: there are events, of one in so many connections of a listener; None: there are none.
    """

    meta: Meta
    filters: Filters
    sees: Sight
    baseline: Baseline
    began_s: float | None = None
    interval_s: float = 1.0
    format: int = FORMAT
    sample: int | None = None


class Taken(Struct, frozen=True, tag="reading", tag_field="type"):
    """A reading and what became of it: a picture, room in the maps, or a check of the books.

    `ports` and `held` are of `reading.passed` and `reading.inventory.opened`: JSON has no keys of
    several parts.
    """

    reading: Reading
    use: Use = "shown"
    ports: tuple[PortCount, ...] = ()
    held: tuple[tuple[int, LocalPort, int], ...] = ()  # by PID: connections


class TakenOfUdp(Struct, frozen=True, tag="udp_reading", tag_field="type"):
    """The same of UDP."""

    reading: UdpReading
    use: Literal["shown", "drained"] = "shown"


class Happened(Struct, frozen=True, tag="events", tag_field="type"):
    """Events, as they were read: those of one CPU in their order, each an array of its fields."""

    events: tuple[ConnectionEvent, ...]


class Accounted(Struct, frozen=True, tag="account", tag_field="type"):
    """What became of all events so far. Only that of the last line knows the number of accepts."""

    account: Account


class Mark(Struct, frozen=True, tag="mark", tag_field="type"):
    """`ending`: the next reading is the last. `end`: nothing is missing."""

    what: Literal["ending", "end"]


Step: TypeAlias = Beginning | Taken | TakenOfUdp | Happened | Accounted | Mark
_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(Step)


def line_of(step: Step) -> bytes:
    """One line, with its end."""
    return _ENCODER.encode(step) + b"\n"


def step_of(line: bytes) -> Step:
    """What `line_of` made a line of; BadLine if it is none of them."""
    try:
        step: Step = _DECODER.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadLine(str(error)) from None
    if isinstance(step, Beginning) and step.format > FORMAT:
        raise BadLine(f"its format is {step.format}, and this accepttrace knows up to {FORMAT}")
    return step


def taken(reading: Reading | UdpReading, use: Use) -> Taken | TakenOfUdp:
    """A reading as it is written."""
    if isinstance(reading, UdpReading):
        return TakenOfUdp(reading, "drained" if use == "drained" else "shown")
    passed, opened = reading.passed, reading.inventory and reading.inventory.opened
    ports = tuple(passed.ports.values()) if passed else ()
    held = tuple((*key, number) for key, number in opened.counts.items()) if opened else ()
    return Taken(_with(reading, {}, {}), use, ports, held)


def reading_of(step: Taken) -> Reading:
    """The reading that was written."""
    ports = {(port.netns, port.local_port): port for port in step.ports}
    held = {(pid, where): number for pid, where, number in step.held}
    return _with(step.reading, ports, held)


def _with(
    reading: Reading,
    ports: Mapping[tuple[int, int], PortCount],
    held: Mapping[tuple[int, LocalPort], int],
) -> Reading:
    passed: Passed | None = reading.passed and replace(reading.passed, ports=ports)
    inventory = reading.inventory
    if inventory is not None and inventory.opened is not None:
        opened: Opened = replace(inventory.opened, counts=held)
        inventory = replace(inventory, opened=opened)
    return replace(reading, passed=passed, inventory=inventory)
