"""By which way several processes came to hold one socket, as far as their ancestry tells."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from accepttrace.facts.datagrams import Receiver
from accepttrace.facts.kin import Kin, Surroundings
from accepttrace.facts.records import Holder, Listener
from accepttrace.model.who.programs import program_of

How = Literal["sole", "inherited", "related", "passed", "activated"]
INIT: Final = 1
ACTIVATORS: Final = ("systemd", "systemd-socket-")  # comm, cut by the kernel


@dataclass(frozen=True, slots=True)
class Way:
    """How one socket is shared.

    `how`: sole: one process has it; inherited: all descend from `source`, which has it, too;
    related: children of one parent or members of one session, none of whose ancestors has it (any
    more); passed: `strangers` are related to no other holder, or were seen as they were handed it
    (`Holder.came`); activated: `source` is systemd, or
    systemd-socket-activate, and has it, too. None: not known, as too few holders could be read.
    `same_file`: kcmp's answer, see `Surroundings`.
    """

    how: How | None
    source: int | None = None  # PID
    strangers: tuple[int, ...] = ()
    same_file: bool | None = None


def way_of(row: Listener | Receiver, around: Surroundings, partial: bool) -> Way:
    """Of a socket with its holders."""
    alone = around.kin.get(row.holders[0].pid) if len(row.holders) == 1 else None
    if alone and _activates(alone):
        return Way("activated", alone.pid)
    if len(row.holders) < 2:
        return Way("sole" if row.holders and not partial else None)
    same = around.same_file.get(row.inode)
    handed = tuple(holder.pid for holder in row.holders if holder.came)
    # Those who have ended meanwhile say nothing: a child for each connection may, at any time.
    holders = {one.pid: one for one in row.holders if one.pid in around.kin}
    if len(holders) < 2:
        return Way("passed" if handed else None, None, handed, same)
    activator = next((pid for pid in holders if _activates(around.kin[pid])), None)
    if activator is not None:
        return Way("activated", activator, same_file=same)
    tops = [pid for pid in holders if _nearest(pid, holders, around.kin) is None]
    if len(tops) == 1 and not handed:
        return Way("inherited", tops[0], same_file=same)
    strangers = _strangers([pid for pid in tops if pid not in handed], holders, around.kin)
    passed = tuple(sorted({*handed, *strangers}))
    return Way("passed" if passed else "related", None, passed, same)


def ancestors(pid: int, kin: Mapping[int, Kin]) -> Iterator[int]:
    """Parent, grandparent and so on; each once, whatever /proc said."""
    seen = {pid}
    while pid in kin and kin[pid].parent and kin[pid].parent not in seen:
        pid = kin[pid].parent
        seen.add(pid)
        yield pid


def _activates(process: Kin) -> bool:
    return process.comm in ACTIVATORS and (process.pid == INIT or process.comm != "systemd")


def _nearest(pid: int, holders: Collection[int], kin: Mapping[int, Kin]) -> int | None:
    """The nearest ancestor that holds the socket, too."""
    return next((one for one in ancestors(pid, kin) if one in holders), None)


def _strangers(
    tops: Collection[int], holders: Mapping[int, Holder], kin: Mapping[int, Kin]
) -> tuple[int, ...]:
    """Of those without an ancestor that holds it: who did not inherit it with the others.

    fork() keeps the descriptor's number, the session and, without exec(), the program: these are
    the same in all children of a parent that has ended or closed it. Where a process got it in
    another way, they would be the same by chance alone.
    """
    alike: dict[object, list[int]] = {}
    for pid in tops:
        one = kin[pid]
        mark = (one.session, one.parent, program_of(holders[pid]), holders[pid].fd)
        alike.setdefault(mark, []).append(pid)
    if len(alike) < 2:  # none: /proc was read while a PID was used anew
        return ()
    # The largest family is where it came from, or else the oldest.
    origin = max(alike.values(), key=lambda pids: (len(pids), -kin[min(pids)].start_ticks))
    return tuple(sorted(pid for pids in alike.values() if pids is not origin for pid in pids))
