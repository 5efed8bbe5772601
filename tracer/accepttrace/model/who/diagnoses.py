"""Every diagnosis of an answer of `who`, the gravest first. One rule a function."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

from accepttrace.facts.kin import Kin
from accepttrace.facts.records import TICKS_PER_S, US_PER_S, Holder, Listener
from accepttrace.model.labels import NAME_LENGTH, few
from accepttrace.model.verdict import counted
from accepttrace.model.who.diagnosis import KINDS, Diagnosis, Kind
from accepttrace.model.who.families import Family, families
from accepttrace.model.who.programs import program_of
from accepttrace.model.who.selecting import is_by_cpu, may_be_picked
from accepttrace.model.who.tree import Answer, Group
from accepttrace.model.who.ways import INIT, ancestors

NAMED: Final = 4  # sockets or processes, in a sentence
SMALL_SOMAXCONN: Final = 511  # below what servers ask for by default
RELOADED_S: Final = 300.0  # workers that began so long after their master are not its first
ADOPTING: Final = ("systemd", "tini", "docker-init", "dumb-init", "catatonit")  # beside PID 1


def diagnoses(answer: Answer) -> tuple[Diagnosis, ...]:
    """Of all groups, and of the ports that several of them share."""
    several = [group for group in answer.groups if group.size > 1]
    found = [one for rule in _OF_EACH for group in answer.groups for one in rule(group, answer)]
    found += [one for rule in _OF_GROUPS for group in several for one in rule(group, answer)]
    ports: defaultdict[tuple[int, int], list[Group]] = defaultdict(list)
    for group in answer.groups:
        if group.first.family == "unix":
            continue
        ports[group.first.netns, group.first.local_port].append(group)
    crowded = [groups for groups in ports.values() if len(groups) > 1]
    found += [one for rule in _OF_PORTS for groups in crowded for one in rule(groups, answer)]
    found += answer.closed
    return tuple(sorted(found, key=lambda one: KINDS.index(one.kind)))


def closed(row: Listener, after: str, before: str, others: int) -> Diagnosis:
    """It was there in the picture of one time, and not in that of the other; see `Answer.time`."""
    held = few([_called(one) for one in row.holders]) or "no process that can be found"
    left = f"{counted(others, 'socket')} left at its address" if others else "none left there"
    between = f"between {after[11:19]}Z and {before[11:19]}Z"
    text = f"socket {row.inode} has closed {between}; it was held by {held}; {left}"
    return Diagnosis.of("CLOSED", row, text, (row.inode,), tuple(one.pid for one in row.holders))


def holders_of(group: Group) -> list[Holder]:
    """Each process once, as it stands on the first of its sockets that it waits on."""
    found: dict[int, Holder] = {}
    for socket in group.sockets:
        for one in socket.row.holders:
            if one.pid not in found or (one.waits and not found[one.pid].waits):
                found[one.pid] = one
    return list(found.values())


def _nobody_waits(group: Group, answer: Answer) -> Iterator[Diagnosis]:
    """Sockets of which all holders were read, and none of them waits."""
    dead = [socket for socket in group.sockets if _is_dead(socket.row, answer)]
    if not dead:
        return
    rows = [socket.row for socket in dead]
    queued = sum(row.queue or 0 for row in rows)
    which, to = _lost_part(rows, group.size)
    held = {one.pid: one for row in rows for one in row.holders}
    working = {one.pid for one in holders_of(group) if one.waits}
    names = few([_called(one) for one in held.values()])
    elsewhere = " (at work on other sockets)" if working & held.keys() else ""
    by = f"held by {names}{elsewhere}" if held else "held by no process that can be found"
    them = "it" if len(rows) == 1 else "them"
    text = f"{which}: nobody waits on {them}; {to} wait for ever, {queued:,} now; {by}"
    inodes = tuple(row.inode for row in rows)
    yield Diagnosis.of("NOBODY WAITS", rows[0], text, inodes, tuple(held))


def _lost_part(rows: Sequence[Listener], size: int) -> tuple[str, str]:
    """Which sockets of a group of this size, and what comes to them; 1: a lone socket."""
    which = _listed("socket", [row.inode for row in rows])
    if size == 1:
        return which, "connections"
    which = f"{which}, {len(rows)} of {size} of the group"
    if rows[0].selector in (None, "hash"):
        return which, f"{len(rows) / size:.0%} of all new connections go there and"
    return which, "connections that are steered there"


_BEYOND: Final = {
    False: "further ones are dropped",
    True: "further connect() calls block, or fail with EAGAIN",
}


def _is_dead(row: Listener, answer: Answer) -> bool:
    if not row.holders:
        known = row.family == "unix" or (row.options and not row.options.in_kernel)
        return bool(known) and not answer.inventory.partial
    # Without BPF, who may not be read may be the one that waits.
    unsure = answer.blind and answer.inventory.partial
    return not unsure and all(one.waits is False for one in row.holders)


def _full(group: Group, answer: Answer) -> Iterator[Diagnosis]:  # noqa: ARG001
    rows = [socket.row for socket in group.sockets if socket.row.is_full]
    if not rows:
        return
    worst = max(rows, key=lambda row: row.queue or 0)
    text = (
        f"{_listed('socket', [row.inode for row in rows])}: {'' if len(rows) == 1 else 'up to '}"
        f"{counted(worst.queue or 0, 'connection')} {'waits' if worst.queue == 1 else 'wait'} where"
        f" backlog {worst.backlog} lets one more wait; {_BEYOND[worst.family == 'unix']}"
    )
    yield Diagnosis.of("QUEUE FULL", worst, text, tuple(row.inode for row in rows))


def _waits_long(group: Group, answer: Answer) -> Iterator[Diagnosis]:
    """Sockets that somebody waits on, where a connection has not been accepted for long."""
    rows = [socket.row for socket in group.sockets if not _is_dead(socket.row, answer)]
    rows = [row for row in rows if row.waits_long]
    if not rows:
        return
    worst = max(rows, key=lambda row: row.oldest_us or 0)
    there = {one.pid: one for row in rows for one in row.holders if one.waits is not False}
    kin = answer.around.kin
    stopped = [pid for pid in there if pid in kin and kin[pid].stopped]
    names = few([f"{_called(one)}{' STOPPED' * (pid in stopped)}" for pid, one in there.items()])
    seen = stopped or any(one.waits for one in there.values())
    unseen = "" if seen else ", not seen to wait on it"
    queued = sum(row.queue or 0 for row in rows)
    text = (
        f"{_lost_part(rows, group.size)[0]}: {queued:,} wait, the oldest for"
        f" {(worst.oldest_us or 0) / US_PER_S:.1f} s; to be accepted by {names}{unseen}"
    )
    yield Diagnosis.of("WAITS LONG", worst, text, tuple(row.inode for row in rows), tuple(there))


def _never_selected(group: Group, answer: Answer) -> Iterator[Diagnosis]:
    row = group.first
    cpus = answer.around.cpus
    never = [each.row for each in group.sockets if not may_be_picked(each.row, cpus)]
    if not never or row.program is None:
        return
    name = row.program.name
    of = f" of {cpus}" if cpus and is_by_cpu(name) else ""
    text = (
        f"the selector returns {name}{of}, and the group has {row.group_size} sockets:"
        f" {_listed('socket', [one.inode for one in never])} gets nothing"
    )
    yield Diagnosis.of("NEVER SELECTED", row, text, tuple(one.inode for one in never))


def _one_socket(group: Group, answer: Answer) -> Iterator[Diagnosis]:  # noqa: ARG001
    row = group.first
    waiting = [one for one in row.holders if one.waits]
    if group.size > 1 or len(waiting) < 2 or not (row.options and row.options.reuseport):
        return
    text = (
        f"socket {row.inode} has set SO_REUSEPORT, but it is the only one:"
        f" {len(waiting)} processes wait on it, and the kernel balances nothing among them"
    )
    pids = tuple(one.pid for one in waiting)
    yield Diagnosis.of("ONE SOCKET", row, text, (row.inode,), pids)


def _strangers(group: Group, answer: Answer) -> Iterator[Diagnosis]:
    """Servers that have nothing to do with each other, in one reuseport group."""
    found = families(holders_of(group), answer.around.kin)
    if found is None:
        return
    serving = [some for some in found if any(one.waits is not False for one in some)]
    programs: defaultdict[str, list[Family]] = defaultdict(list)
    for some in serving:
        programs[program_of(some[0])].append(some)
    if len(programs) > 1:
        first = [some[0] for some in programs.values()]
        yield _together("FOREIGN PROGRAM", "programs that are not related", group, first)
    for program, several in programs.items():
        if len(several) > 1:
            what = f"{len(several)} instances of {program}"
            yield _together("SECOND INSTANCE", what, group, several)


def _together(kind: Kind, what: str, group: Group, found: Sequence[Family]) -> Diagnosis:
    names = few([_called(some[0]) for some in found])
    pids = tuple(one.pid for some in found for one in some)
    text = f"{what} share the group: {names}"
    return Diagnosis.of(kind, group.first, text, _inodes(group), pids)


def _old_workers(group: Group, answer: Answer) -> Iterator[Diagnosis]:
    """Holders that outlived who started them: workers by name, or several of one session."""
    kin, holders = answer.around.kin, holders_of(group)
    held = {one.pid for one in holders}
    orphans = [one for one in holders if _is_orphan(one, held, answer)]
    alike: defaultdict[object, list[Holder]] = defaultdict(list)
    for one in orphans:
        alike[kin[one.pid].session, program_of(one)].append(one)
    for some in alike.values():
        if len(some) < 2 and not some[0].name.endswith("worker"):
            continue
        text = (
            f"{counted(len(some), 'process', 'processes')} without a master"
            f" ({few([_called(one) for one in some])}): the one that started them has ended"
        )
        pids = tuple(one.pid for one in some)
        yield Diagnosis.of("OLD WORKERS", group.first, text, _inodes(group), pids)


def _is_orphan(one: Holder, held: Collection[int], answer: Answer) -> bool:
    """Its parent adopts orphans and is none of the holders, and it leads no session of its own."""
    kin = answer.around.kin
    own = kin.get(one.pid)
    if own is None or own.session == own.pid or own.parent in held:
        return False
    parent = kin.get(own.parent)
    return own.parent == INIT or (parent is not None and parent.comm in ADOPTING)


def _helper(group: Group, answer: Answer) -> Iterator[Diagnosis]:
    """Other programs that descend from a server, hold its socket and are not seen to wait."""
    kin, holders = answer.around.kin, holders_of(group)
    if len(holders) < 2:
        return
    waiting = [one for one in holders if one.waits]
    above = _above(waiting, kin)
    programs = {program_of(one) for one in holders if one.waits or one.pid in above}
    held = {one.pid for one in holders}
    helpers = [
        one
        for one in holders
        if not one.waits
        and one.pid not in above
        and program_of(one) not in programs
        and any(pid in held for pid in ancestors(one.pid, kin))
    ]
    if not waiting or not helpers:
        return
    left = "somebody still listens" if group.first.family == "unix" else "the port stays in use"
    text = (
        f"{few([_called(one) for one in helpers])} inherited the listener and"
        f" {'was' if len(helpers) == 1 else 'were'} not seen to wait on it: when the server ends,"
        f" {left}, and clients hang"
    )
    pids = tuple(one.pid for one in helpers)
    yield Diagnosis.of("HELPER HOLDS IT", group.first, text, _inodes(group), pids)


def _above(found: Iterable[Holder], kin: Mapping[int, Kin]) -> set[int]:
    """The PIDs of all their ancestors."""
    above: set[int] = set()
    for one in found:
        for pid in ancestors(one.pid, kin):
            if pid in above:
                break  # and so are those above it
            above.add(pid)
    return above


def _backlogs(group: Group, answer: Answer) -> Iterator[Diagnosis]:  # noqa: ARG001
    found = sorted({s.row.backlog for s in group.sockets if s.row.backlog is not None})
    if len(found) < 2:
        return
    text = f"the sockets of the group have backlogs of {few([str(one) for one in found])}"
    yield Diagnosis.of("MIXED BACKLOGS", group.first, text, _inodes(group))


def _cut(group: Group, answer: Answer) -> Iterator[Diagnosis]:
    """Where that may matter: a small limit, or a queue that was or is half full."""
    row = group.first
    settings = answer.around.settings.get(row.netns)
    limit = settings.somaxconn if settings else None
    rows = [s.row for s in group.sockets if limit and s.row.backlog == limit]
    pressed = [one for one in rows if one.drops or 2 * (one.queue or 0) > (limit or 0)]
    shown = rows if limit and limit < SMALL_SOMAXCONN else pressed
    if not shown:
        return
    text = f"backlog {limit} is net.core.somaxconn: listen() may have asked for more"
    yield Diagnosis.of("BACKLOG CUT", row, text, tuple(one.inode for one in shown))


def _places(group: Group, answer: Answer) -> Iterator[Diagnosis]:
    """The hash gives each socket as much, whatever its server may use."""
    waiting = [one for one in holders_of(group) if one.waits]
    sizes = {_cpus(kin.cpus) for one in waiting if (kin := answer.around.kin.get(one.pid))}
    known = sorted(size for size in sizes if size)
    if len(known) > 1:
        text = f"its workers may run on {known[0]} to {known[-1]} CPUs"
        yield Diagnosis.of("UNEQUAL PLACES", group.first, text, _inodes(group))
    groups = sorted({one.cgroup for one in waiting if one.cgroup})
    if len(groups) > 1:
        text = f"its workers are in {len(groups)} control groups: {few(groups)}"
        yield Diagnosis.of("UNEQUAL PLACES", group.first, text, _inodes(group))


def _cpus(text: str | None) -> int:
    """How many a list such as `0-3,8` has; 0: not known."""
    total = 0
    for part in (text or "").split(","):
        low, _, high = part.partition("-")
        if not (low.isdigit() and (high or low).isdigit()):
            return 0
        total += int(high or low) - int(low) + 1
    return total


def _migration(group: Group, answer: Answer) -> Iterator[Diagnosis]:
    """Where workers seem to have been replaced before."""
    settings = answer.around.settings.get(group.first.netns)
    if settings is None or settings.migrates is not False:
        return
    later_s = _later_than_their_master(group, answer)
    if later_s < RELOADED_S:
        return
    text = (
        f"all workers began {later_s / 60:,.0f} minutes after their master, as after a reload,"
        " and net.ipv4.tcp_migrate_req is 0: what is queued at a socket that closes is reset"
    )
    yield Diagnosis.of("NO MIGRATION", group.first, text, _inodes(group))


def _later_than_their_master(group: Group, answer: Answer) -> float:
    """By how many seconds at least those who wait began after a parent that is their master: it
    holds a socket, too, or runs the same program.

    0: not all of them have such a parent.
    """
    kin, holders = answer.around.kin, holders_of(group)
    starts = {one.pid: one.start_ticks for one in holders}
    waiting = [kin.get(one.pid) for one in holders if one.waits]
    for own in filter(None, waiting):
        up = kin.get(own.parent)
        if up and up.pid != INIT and up.comm == own.comm:
            starts.setdefault(up.pid, up.start_ticks)
    later = [
        starts[one.pid] - starts[one.parent] if one and one.parent in starts else 0
        for one in waiting
    ]
    return min(later, default=0) / TICKS_PER_S


def _owners(groups: Sequence[Group], answer: Answer) -> Iterator[Diagnosis]:
    """Of two users, where one address takes connections that another would get."""
    whole = [group for group in groups if group.first.local_address in ("0.0.0.0", "::")]
    for one in whole:
        beside = [g for g in groups if g.first.uid not in (one.first.uid, None)]
        if one.first.uid is None or not beside:
            continue
        users = few([_user(g.first.uid, answer) for g in (one, *beside)])
        text = f"the port is open for several users: {users}"
        inodes = tuple(g.first.inode for g in (one, *beside))
        yield Diagnosis.of("OTHER OWNER", one.first, text, inodes)
        return


def _versions(groups: Sequence[Group], answer: Answer) -> Iterator[Diagnosis]:
    """IPv4 by one program, IPv6 by another: of all addresses, or of localhost."""
    at = {group.first.local_address: group for group in groups if group.first.device is None}
    whole = at.get("0.0.0.0"), at.get("::")
    local = at.get("127.0.0.1", whole[0]), at.get("::1", whole[1])
    yield from _two_programs(*whole, "", answer)
    if local != whole:
        yield from _two_programs(*local, " of localhost", answer)


def _two_programs(
    four: Group | None, six: Group | None, whose: str, answer: Answer
) -> Iterator[Diagnosis]:
    if four is None or six is None:
        return
    ours, theirs = holders_of(four), holders_of(six)
    names = {program_of(one) for one in ours}, {program_of(one) for one in theirs}
    together = families([*ours, *theirs], answer.around.kin)
    if not (ours and theirs and names[0].isdisjoint(names[1])) or not together:
        return
    if len(together) == 1:
        return
    text = f"IPv4{whose} is served by {_called(ours[0])}, IPv6{whose} by {_called(theirs[0])}"
    inodes, pids = (four.first.inode, six.first.inode), (ours[0].pid, theirs[0].pid)
    yield Diagnosis.of("TWO PROGRAMS", four.first, text, inodes, pids)


def _user(uid: int | None, answer: Answer) -> str:
    return answer.around.users.get(uid or 0) or f"uid {uid}"


def _called(one: Holder) -> str:
    return f"{(one.name or one.comm)[:NAME_LENGTH]} (pid {one.pid})"


def _listed(noun: str, numbers: Sequence[int]) -> str:
    return f"{noun}{'s' if len(numbers) > 1 else ''} {few([str(one) for one in numbers])}"


def _inodes(group: Group) -> tuple[int, ...]:
    return tuple(socket.row.inode for socket in group.sockets)


_OF_EACH: Final = (_nobody_waits, _full, _waits_long, _one_socket, _cut, _old_workers, _helper)
_OF_GROUPS: Final = (_never_selected, _strangers, _backlogs, _places, _migration)
_OF_PORTS: Final = (_owners, _versions)
