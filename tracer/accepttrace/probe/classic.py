"""What a selector of classic BPF returns, read from its instructions."""

from __future__ import annotations

import struct
import sys
from collections.abc import Sequence
from enum import IntEnum
from typing import Final


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


def returned(code: Sequence[int], length: int) -> str | None:
    """As `facts.records.Program.name` has it: `cpu modulo 4`.

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
