"""What a reuseport group, or a network namespace, can choose a socket by: BPF, old and new."""

from __future__ import annotations

import ctypes as c
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from accepttrace.probe import _syscall

SO_ATTACH_REUSEPORT_CBPF = 51
SO_ATTACH_REUSEPORT_EBPF = 52
SO_INCOMING_CPU = 49
SO_DETACH_REUSEPORT_BPF = 68
PROG_LOAD = 5
SK_REUSEPORT = 21
SK_LOOKUP = 30
LOOKUP = 36
SELECT = 39
SELECT_OR_MIGRATE = 40

Instruction = tuple[int, int, int, int]  # code, registers (source << 4 | target), offset, constant
LOAD_HASH: Instruction = (0x61, 0x10, 32, 0)  # r0 = *(u32 *)(r1 + offsetof(sk_reuseport_md, hash))
AND_1: Instruction = (0x57, 0, 0, 1)  # r0 &= 1
PASS: Instruction = (0xB7, 0, 0, 1)  # r0 = SK_PASS: nobody chosen, so the hash chooses
EXIT: Instruction = (0x95, 0, 0, 0)
DROP = ((0xB7, 0, 0, 0), EXIT)  # r0 = SK_DROP
DROP_HALF = (LOAD_HASH, AND_1, EXIT)  # SK_DROP is 0

Classic = tuple[int, int]  # code, constant
RETURN_0: Classic = (0x06, 0)
RETURN_1: Classic = (0x06, 1)
LOAD_CPU: Classic = (0x20, 0xFFFFF000 + 36)  # SKF_AD_OFF + SKF_AD_CPU
MODULO_3: Classic = (0x94, 3)
DOUBLE: Classic = (0x64, 1)  # shifted left
RETURN: Classic = (0x16, 0)


class LoadAttr(c.Structure):
    """union bpf_attr for BPF_PROG_LOAD."""

    _fields_ = (
        ("prog_type", c.c_uint32),
        ("insn_cnt", c.c_uint32),
        ("insns", c.c_uint64),
        ("license", c.c_uint64),
        ("log_level", c.c_uint32),
        ("log_size", c.c_uint32),
        ("log_buf", c.c_uint64),
        ("kern_version", c.c_uint32),
        ("prog_flags", c.c_uint32),
        ("prog_name", c.c_char * 16),
        ("prog_ifindex", c.c_uint32),
        ("expected_attach_type", c.c_uint32),
    )


class ProgInfo(c.Structure):
    """The beginning of struct bpf_prog_info."""

    _fields_ = (("type", c.c_uint32), ("id", c.c_uint32))


@contextmanager
def program(
    name: str,
    instructions: Sequence[Instruction],
    attach_type: int = SELECT,
    kind: int = SK_REUSEPORT,
) -> Iterator[int]:
    """The descriptor of a program."""
    code = b"".join(struct.pack("=BBhi", *instruction) for instruction in instructions)
    text, license_ = c.create_string_buffer(code, len(code)), c.create_string_buffer(b"GPL")
    attr = LoadAttr(
        prog_type=kind,
        insn_cnt=len(instructions),
        insns=c.addressof(text),
        license=c.addressof(license_),
        prog_name=name.encode(),
        expected_attach_type=attach_type,
    )
    descriptor = _syscall.bpf(PROG_LOAD, attr)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def id_of(descriptor: int) -> int:
    """As `bpftool prog` shows it."""
    info = ProgInfo()
    assert _syscall.info(descriptor, info)
    return int(info.id)


@contextmanager
def looked_up_by(name: str, instructions: Sequence[Instruction]) -> Iterator[int]:
    """A program looks up the sockets of the caller's network namespace; yields its id."""
    namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        with program(name, instructions, LOOKUP, SK_LOOKUP) as descriptor:
            attr = _syscall.LinkAttr(prog_fd=descriptor, target_fd=namespace, attach_type=LOOKUP)
            link = _syscall.bpf(_syscall.LINK_CREATE, attr)
            try:
                yield id_of(descriptor)
            finally:
                os.close(link)
    finally:
        os.close(namespace)


def steer(member: socket.socket, descriptor: int) -> None:
    """The program chooses for the whole group from now on."""
    member.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, descriptor)


def steer_by(member: socket.socket, code: Sequence[Classic]) -> None:
    """A classic program chooses for the whole group from now on."""
    packed = b"".join(struct.pack("=HBBI", operation, 0, 0, value) for operation, value in code)
    text = c.create_string_buffer(packed, len(packed))
    program = struct.pack("@HP", len(code), c.addressof(text))
    member.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, program)


def wants_cpu(member: socket.socket, cpu: int) -> None:
    """Connections that come in on that processor go here."""
    member.setsockopt(socket.SOL_SOCKET, SO_INCOMING_CPU, struct.pack("=i", cpu))


def let_hash_choose(member: socket.socket) -> None:
    """No program chooses any more, of whatever kind."""
    member.setsockopt(socket.SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, 0)
