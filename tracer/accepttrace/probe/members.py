"""Members of reuseport groups, as the BPF socket iterators write them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from accepttrace.facts.records import ListenerFact, Options, Program, Selector
from accepttrace.probe import wire
from accepttrace.probe.classic import returned


@dataclass(frozen=True, slots=True)
class Member:
    """A socket in a reuseport group. Source: a BPF socket iterator."""

    inode: int
    group: int
    size: int
    selector: Selector
    program: Program | None


@dataclass(frozen=True, slots=True)
class Queue:
    """Packets waiting at a UDP socket, and its group. Source: the BPF socket iterator.

    `in_kernel`: a service of the kernel made it: no process has it.
    """

    inode: int
    packets: int
    member: Member | None
    in_kernel: bool = False


def member_of(found: wire.Member) -> Member:
    """What an iterator wrote."""
    return Member(found.inode, found.group, found.size, _selector(found), _program(found))


def queue_of(found: wire.UdpMember) -> Queue:
    """What an iterator wrote of a UDP socket."""
    member = member_of(found.member) if found.member.size else None
    return Queue(found.member.inode, found.queue, member, bool(found.in_kernel))


def facts_of(found: Iterable[wire.TcpMember]) -> dict[int, ListenerFact]:
    """By inode, what is known of listening sockets."""
    return {one.member.inode: _fact(bytes(one)) for one in found if one.member.inode}


@lru_cache(maxsize=2048)
def _fact(text: bytes) -> ListenerFact:
    """Of most listeners it is the same at each look."""
    found = wire.TcpMember.from_buffer_copy(text)
    member = member_of(found.member)
    own = bool(found.defers), found.half_open, found.oldest_us or None, _options(found)
    if not member.size:
        return ListenerFact(None, None, None, None, *own)
    return ListenerFact(member.group, member.size, member.selector, member.program, *own)


def _options(found: wire.TcpMember) -> Options:
    known = found.reuseport != wire.NOT_KNOWN
    return Options(
        reuseport=found.reuseport == wire.SET if known else None,
        mptcp=bool(found.mptcp),
        fast_open=found.fast_open,
        incoming_cpu=found.incoming_cpu if found.incoming_cpu >= 0 else None,
        place=found.place - 1 if found.place else None,
        in_kernel=bool(found.in_kernel),
    )


def _selector(member: wire.Member) -> Selector:
    if member.program == wire.PROGRAM_EXTENDED:
        return "ebpf"
    if member.program == wire.PROGRAM_CLASSIC:
        return "cbpf"
    return "incoming_cpu" if member.incoming_cpu else "hash"


def _program(member: wire.Member) -> Program | None:
    if member.program == wire.PROGRAM_EXTENDED:
        return Program(member.program_id, member.program_name.decode(errors="replace"))
    if member.program != wire.PROGRAM_CLASSIC:
        return None
    name = returned(list(member.classic), member.instructions)
    return Program(None, name) if name else None
