"""The answer of `accepttrace who --to`: who gets a connection, and why nobody else does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from accepttrace.facts.matching import is_any, is_ipv4
from accepttrace.facts.records import Listener, Program, Unread
from accepttrace.model.who.lookup import Drop, Lookup, Other, Reason, cpu_of
from accepttrace.views.formats import endpoint, place_of, plural, selector
from accepttrace.views.jsonl import PLACE_FIELDS, PROGRAM_FIELDS, dump, named
from accepttrace.views.text import clean
from accepttrace.views.unread import objects, sentence
from accepttrace.views.who.alike import alike, processes
from accepttrace.views.who.objects import holder_object

CASES: Final = 12  # of address and device, that are answered
LISTED: Final = 8  # sockets of one answer
_FAMILIES: Final = {"ipv4": "IPv4", "ipv6": "IPv6"}
_WHY_NOT: Final[Mapping[Reason, str]] = {
    "netns": "in another network namespace, {netns}",
    "family": "serves {family} only",
    "v6only": "refuses IPv4 (IPV6_V6ONLY)",
    "address": "bound to another address",
    "device": "bound to the device {device}, and the connection comes through {through}",
    "any_address": "bound to any address; sockets bound to the very one come first",
    "no_device": "bound to no device; one that is bound to the right one comes first",
    "ipv4_first": "of IPv6; one of IPv4 comes first",
    "group_first": "behind a reuseport group in the kernel's list, and that ends the search",
    "not_selected": "a member of the same group that the BPF selector never returns",
    "listed_later": "its equal, but behind it in the kernel's list",
}
_DROPPED: Final[Mapping[Drop, str]] = {
    "no_route_back": "there is no route back to {client}, so the SYN is not answered",
    "martian": "packets from {client} that come through {through} are dropped: a martian address,"
    " or rp_filter",
    "loopback": "packets to loopback addresses that come through {through} are dropped",
}
_WHY: Final[Mapping[Reason, str]] = {
    "any_address": "bound to this very address",
    "no_device": "bound to this device",
    "ipv4_first": "of IPv4, as the connection",
    "group_first": "first in the kernel's list with SO_REUSEPORT",
    "not_selected": "what the BPF selector of its group returns",
    "listed_later": "the first of equals in the kernel's list",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """The question, and what was found on the way.

    `route`: why the address is none of this machine; empty: it is one, or none was asked about.
    `client`: from where it comes. `guessed`: its device is that of the route back to the client.
    `programs`: of type sk_lookup; None: not known. `tables`: of netfilter, those with rules that it
    passes; None: not known. `vrf`: it comes through one.
    """

    route: str = ""
    client: str | None = None
    guessed: bool = False
    programs: tuple[Program, ...] | None = ()
    unread: tuple[Unread, ...] = ()
    tables: tuple[str, ...] | None = ()
    vrf: bool = False


def text_lines(answers: Sequence[Lookup], asked: Asked) -> Iterator[str]:
    """Lines for people."""
    bound = {one.packet.family for one in answers if one.packet.address is not None}
    for answer in answers[:CASES]:
        yield from _case(answer, asked, "other " if answer.packet.family in bound else "")
    if len(answers) > CASES:
        more = plural(len(answers) - CASES, "more case")
        yield f"{more}: name an address, or --device"
    yield from (f"note: {note}" for note in _notes(answers[:CASES], asked))


def json_lines(answers: Sequence[Lookup], asked: Asked) -> Iterator[str]:
    """One object for each case; `views/who.to.schema.json` is the contract."""
    for answer in answers[:CASES]:
        first = next(iter(answer.chosen), None)
        yield dump(
            {
                "type": "lookup",
                "result": result(answer, asked),
                **named(answer.packet, ("netns", "family", "address", "port", "device")),
                "client": asked.client,
                "dropped": answer.dropped,
                "device_guessed": asked.guessed,
                "members": answer.members,
                "selector": first.selector if first else None,
                "selector_program": first and first.program and _program(first.program),
                "chosen": [_chosen(row) for row in answer.chosen[:LISTED]],
                "by_cpu": [
                    {"cpu": cpu, "inodes": [row.inode for row in rows[:LISTED]]}
                    for cpu, rows in answer.by_cpu[:LISTED]
                ],
                "unless": [row.inode for row in answer.otherwise[:LISTED]],
                "others": [_other(other) for other in answer.others[:LISTED]],
                "others_left_out": max(len(answer.others) - LISTED, 0),
                "sk_lookup": None
                if asked.programs is None
                else [_program(one) for one in asked.programs],
                "netfilter": asked.tables,
                "vrf": asked.vrf,
                "cases_left_out": max(len(answers) - CASES, 0),
                "unread": objects(asked.unread),
            }
        )


def result(answer: Lookup, asked: Asked) -> str:
    """`not local`, `dropped`, `refused`, `group` or `socket`; `program`: one may choose another."""
    if asked.route:
        return "not local"
    if answer.dropped:
        return "dropped"
    if asked.programs:
        return "program"
    if not answer.chosen:
        return "refused"
    return "group" if len(answer.chosen) > 1 else "socket"


def _program(one: Program) -> dict[str, object]:
    return named(one, PROGRAM_FIELDS)


def _chosen(row: Listener) -> dict[str, object]:
    fields = ("inode", "family", "local_address", "local_port", "device", "queue", "backlog")
    return {
        **named(row, fields),
        "incoming_cpu": cpu_of(row),
        "holders": [holder_object(holder) for holder in row.holders[:LISTED]],
        "holders_in_all": len(row.holders),
    }


def _other(other: Other) -> dict[str, object]:
    row = other.listener
    return {**named(row, ("inode", *PLACE_FIELDS)), "reason": other.reason}


def _case(answer: Lookup, asked: Asked, other: str) -> Iterator[str]:
    yield _question(answer, asked, other)
    if asked.route:
        yield f"  nobody here: {asked.route}"
        return
    if answer.dropped:
        yield f"  nobody: {_dropped(answer.dropped, answer, asked)}"
        return
    if answer.chosen:
        yield from _gets(answer, "would get it" if asked.programs else "gets it")
        yield f"  why: {_why(answer)}"
    else:
        yield f"  refused: {_refusal(answer)}"
    groups = alike(answer.others, lambda one: (one.reason, _place(one.listener)))
    for group in groups[:LISTED]:
        sockets = _sockets([one.listener for one in group])
        yield f"  not {sockets}: {_why_not(group[0], answer)}"
    if len(groups) > LISTED:
        number = sum(map(len, groups[LISTED:]))
        yield f"  and {plural(number, 'more socket')} on this port"


def _question(answer: Lookup, asked: Asked, other: str) -> str:
    packet = answer.packet
    place = endpoint(packet.address, packet.port, packet.family, 1) if packet.address else ""
    name = place or f"any {other}local {_FAMILIES[packet.family]} address, port {packet.port}"
    client = f" from {clean(asked.client)}" if asked.client else ""
    through = f" through {clean(packet.device)}" if packet.device else ""
    return f"to {name}{client}{through}"


def _gets(answer: Lookup, gets: str) -> Iterator[str]:
    rows = answer.chosen
    if len(rows) == 1:
        yield f"  {gets}: {_socket(rows[0])}{_alone(rows[0], answer) if answer.grouped else ''}"
        return
    yield f"  {gets}: {_group(rows, answer.members)}"
    for row in rows[:LISTED]:
        cpu = cpu_of(row) if row.selector == "incoming_cpu" else None
        yield f"    {'' if cpu is None else f'CPU {cpu}: '}{_socket(row)}"
    if len(rows) > LISTED:
        yield f"    and {plural(len(rows) - LISTED, 'more socket')}"


def _alone(row: Listener, answer: Lookup) -> str:
    """What its group has to do with it. Only an extended program can refuse."""
    chooser = selector(row.selector or "", row.program)
    if answer.members > 1:
        return (
            f", of the {answer.members:,} of its reuseport group that which BPF chooses ({chooser})"
        )
    refuses = f", unless BPF refuses ({chooser})" if row.selector == "ebpf" else ""
    return f", a reuseport group of one{refuses}"


def _group(rows: Sequence[Listener], members: int) -> str:
    (first, *_), size = rows, len(rows)
    kind, program = first.selector, first.program
    among = f"{size:,} of the {members:,}" if size < members else f"the {size:,}"
    group = f"one of {among} sockets of a reuseport group"
    if kind == "hash":
        return f"{group}, each as likely (1 in {size}): the kernel hashes with a secret of its own"
    if kind == "incoming_cpu":
        return f"{group}: that of the CPU that handles the packet (SO_INCOMING_CPU), else by hash"
    if kind is not None:
        refuses = "; BPF may also refuse" if kind == "ebpf" else ""
        return f"{group}: that which BPF chooses ({selector(kind, program)}), else by hash{refuses}"
    return (
        f"{group}: by hash, each as likely (1 in {size}), unless BPF chooses (not seen from here)"
    )


def _socket(row: Listener) -> str:
    return _sockets([row])


def _sockets(rows: Sequence[Listener]) -> str:
    """Of one place."""
    first, *others = rows
    which = f"{len(rows):,} sockets" if others else f"inode {first.inode}"
    return f"{place_of(first)}  {which}  {processes(row.holders for row in rows)}"


def _why(answer: Lookup) -> str:
    beaten = {other.reason for other in answer.others} & _WHY.keys()
    if beaten:
        return " and ".join(text for reason, text in _WHY.items() if reason in beaten)
    alone = "nothing else on this port serves it"
    row = answer.chosen[0]
    own = "" if is_any(row.local_address) else f"{_WHY['any_address']}; "
    return own + alone


def _dropped(why: Drop, answer: Lookup, asked: Asked) -> str:
    through = clean(answer.packet.device or "another device")
    return _DROPPED[why].format(client=clean(asked.client or ""), through=through)


def _refusal(answer: Lookup) -> str:
    port, netns = answer.packet.port, answer.packet.netns
    reasons = {other.reason for other in answer.others}
    if not reasons:
        return f"no socket listens on port {port}"
    if reasons == {"netns"}:
        return f"no socket listens on port {port} in this network namespace ({netns})"
    return "no listener on this port serves it"


def _why_not(other: Other, answer: Lookup) -> str:
    row = other.listener
    return _WHY_NOT[other.reason].format(
        netns=row.netns,
        family=_FAMILIES["ipv4" if is_ipv4(row.local_address) else row.family],
        device=clean(row.device or ""),
        through=clean(answer.packet.device or "another"),
    )


def _notes(answers: Sequence[Lookup], asked: Asked) -> Iterator[str]:
    if asked.guessed:
        yield "the device is that of the route back to the client; --device names another"
    for program in asked.programs or ():
        yield (
            f"the BPF program {selector('sk_lookup', program)} runs before all this, and may give "
            "it to any socket"
        )
    if asked.vrf:
        yield (
            "it comes through a VRF, which is not predicted: a socket that is bound to no device"
            " gets it only where tcp_l3mdev_accept is 1, and one bound to the VRF may get it, too"
        )
    if asked.tables:
        names = ", ".join(map(clean, asked.tables[:LISTED]))
        yield f"rules of netfilter come first, and may drop, refuse or redirect it: {names}"
    hidden = {"a BPF program (sk_lookup)": asked.programs, "rules of netfilter": asked.tables}
    unknown = " or ".join(name for name, found in hidden.items() if found is None)
    if unknown:
        yield f"whether {unknown} decide before all this may only be asked by root"
    missing = sentence(asked.unread)
    if missing and not all(row.holders for answer in answers for row in answer.chosen):
        yield f"holders are missing: {missing}"
    reached = [] if asked.route else [answer for answer in answers if not answer.dropped]
    for answer in reached:
        yield from _of_answer(answer)
    chosen = {row.inode: row for answer in reached for row in answer.chosen}
    for rows in alike(chosen.values(), _place)[:CASES]:
        yield from _stuck(rows)


def _of_answer(answer: Lookup) -> Iterator[str]:
    if answer.otherwise:
        places = ", ".join(place_of(row) for row in answer.otherwise[:LISTED])
        yield f"{places} gets it if SO_REUSEPORT is set there, which only BPF could show"
    for cpu, rows in answer.by_cpu[:LISTED]:
        yield f"where CPU {cpu} handles the packet, {_socket(rows[0])} gets it (SO_INCOMING_CPU)"


def _stuck(rows: Sequence[Listener]) -> Iterator[str]:
    """Of sockets of one place: what comes to them is not accepted."""
    full = [row for row in rows if row.is_full]
    if full:
        yield f"{_queues(full)} full: SYNs there are dropped"
    idle = [row for row in rows if row.holders and all(one.waits is False for one in row.holders)]
    if idle:
        yield f"nobody waits on {_these(idle)}: what comes there stays in the queue"


def _queues(rows: Sequence[Listener]) -> str:
    """`the queue of 0.0.0.0:80, inode 12 (129 there) is`."""
    first, *others = rows
    if others:
        return f"the queues of {_these(rows)} are"
    return f"the queue of {_these(rows)} ({first.queue:,} there) is"


def _these(rows: Sequence[Listener]) -> str:
    first, *others = rows
    place = place_of(first)
    return f"{len(rows):,} sockets on {place}" if others else f"{place}, inode {first.inode}"


def _place(row: Listener) -> tuple[object, ...]:
    return (row.netns, row.family, row.local_address, row.local_port, row.device)
