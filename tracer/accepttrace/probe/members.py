"""Members of reuseport groups, as the BPF socket iterators write them."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Final

from accepttrace.facts.records import ListenerFact, Options, Program, Selector
from accepttrace.probe import wire


class Code(IntEnum):
    """Instructions of classic BPF. Source: linux/bpf_common.h."""

    LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
    MODULO = 0x94  # BPF_ALU | BPF_MOD | BPF_K
    AND = 0x54  # BPF_ALU | BPF_AND | BPF_K
    RETURN = 0x16  # BPF_RET | BPF_A
    RETURN_CONSTANT = 0x06  # BPF_RET | BPF_K


# What is loaded from these addresses is none of the packet. Source: linux/filter.h, SKF_AD_OFF.
_LOADED: Final = {
    0xFFFFF000 + 24: "queue",
    0xFFFFF000 + 32: "packet hash",
    0xFFFFF000 + 36: "cpu",
    0xFFFFF000 + 56: "random",
}


@dataclass(frozen=True, slots=True)
class Member:
    """A socket in a reuseport group. Source: a BPF socket iterator."""

    inode: int
    group: int
    size: int
    selector: Selector
    program: Program | None


def member_of(found: wire.Member) -> Member:
    """What an iterator wrote."""
    return Member(found.inode, found.group, found.size, _selector(found), _program(found))


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
    name = classic(list(member.classic), member.instructions)
    return Program(None, name) if name else None


def classic(code: Sequence[int], length: int) -> str | None:
    """What a program of classic BPF returns: `cpu`, `cpu modulo 4`, `member 2`.

    `code`: its first instructions as the kernel has them (struct sock_filter), of `length` in all.
    None: it does something else.
    """
    steps = [struct.unpack("=HBBI", one.to_bytes(8, sys.byteorder)) for one in code[:length]]
    match [(step[0], step[3]) for step in steps] if length <= len(code) else []:
        case [(Code.RETURN_CONSTANT, index)]:
            return f"member {index}"
        case [(Code.LOAD, what), (Code.RETURN, _)] if what in _LOADED:
            return _LOADED[what]
        case [(Code.LOAD, what), (Code.MODULO, number), (Code.RETURN, _)] if what in _LOADED:
            return f"{_LOADED[what]} modulo {number}"
        case [(Code.LOAD, what), (Code.AND, mask), (Code.RETURN, _)] if what in _LOADED:
            return f"{_LOADED[what]} and {mask:#x}"
    return None
