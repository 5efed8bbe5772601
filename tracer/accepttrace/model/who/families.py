"""Which processes belong together: those of one server, as far as ancestry and names tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from accepttrace.facts.kin import Kin
from accepttrace.facts.records import Holder
from accepttrace.model.who.programs import program_of
from accepttrace.model.who.ways import INIT, ancestors

Family = tuple[Holder, ...]


def families(holders: Iterable[Holder], kin: Mapping[int, Kin]) -> tuple[Family, ...] | None:
    """The processes of each server, each once, the family that began first before others.

    Together are who descends from another, and of one program the children of one parent and the
    members of one session. None: of some it is not known.
    """
    distinct = {holder.pid: holder for holder in holders}
    if not all(pid in kin for pid in distinct):
        return None
    joined = {pid: pid for pid in distinct}
    marks: dict[object, int] = {}
    for pid, holder in distinct.items():
        for one in ancestors(pid, kin):
            if one in distinct:
                _join(joined, pid, one)
                break
        for mark in _marks(kin[pid], program_of(holder)):
            _join(joined, pid, marks.setdefault(mark, pid))
    found: dict[int, list[Holder]] = {}
    for pid, holder in distinct.items():
        found.setdefault(_top(joined, pid), []).append(holder)
    return tuple(sorted((tuple(some) for some in found.values()), key=_age))


def _marks(one: Kin, program: str) -> Iterable[object]:
    if one.session:
        yield ("session", one.session, program)
    if one.parent > INIT:
        yield ("parent", one.parent, program)


def _age(some: Family) -> tuple[int, int]:
    return min((one.start_ticks, one.pid) for one in some)


def _top(joined: dict[int, int], pid: int) -> int:
    while joined[pid] != pid:
        joined[pid] = joined[joined[pid]]
        pid = joined[pid]
    return pid


def _join(joined: dict[int, int], one: int, other: int) -> None:
    joined[_top(joined, one)] = _top(joined, other)
