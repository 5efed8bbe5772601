"""The Python mirror of bpf/accepttrace.h against the BTF of the built objects. Needs no root."""

from __future__ import annotations

import ctypes as c
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from accepttrace.probe import holders, holderwire, plans, wire

OBJECTS = Path(wire.__file__).parent / "load" / "objects"
HEADER = Path(__file__).parents[2] / "bpf" / "accepttrace.h"
STRUCTS = {
    "settings": wire.Settings,
    "acceptor_key": wire.AcceptorKey,
    "acceptor": wire.Acceptor,
    "error_key": wire.ErrorKey,
    "call": wire.Call,
    "listener": wire.Listener,
    "migration_key": wire.MigrationKey,
    "migration": wire.Migration,
    "peer": wire.Peer,
    "port_key": wire.PortKey,
    "member": wire.Member,
    "receiver": wire.Receiver,
    "udp_member": wire.UdpMember,
}
HOLDERS = {"asked": holderwire.Asked, "progress": holderwire.Progress}
HOLDERS_HEADER = HEADER.with_name("holders.h")
Types = list[dict[str, Any]]


@pytest.fixture(scope="module", params=["x86_64", "aarch64"])
def types(request: pytest.FixtureRequest) -> Types:
    return types_of(f"{request.param}.bpf.o")


@pytest.fixture(scope="module", params=["x86_64", "aarch64"])
def holder_types(request: pytest.FixtureRequest) -> Types:
    return types_of(f"holders.{request.param}.bpf.o")


def types_of(name: str) -> Types:
    path = OBJECTS / name
    dump = subprocess.run(
        ["bpftool", "--json", "btf", "dump", "file", str(path)], capture_output=True, check=True
    )
    found: Types = json.loads(dump.stdout)["types"]
    return found


def layout(types: Types, name: str) -> tuple[int, dict[str, tuple[int, int]]]:
    """Size of a struct in BTF and (offset, size) of each of its fields, in bytes."""
    by_id = {t["id"]: t for t in types}

    def size(identity: int) -> int:
        found = by_id[identity]
        if found["kind"] == "ARRAY":
            return int(found["nr_elems"]) * size(found["type_id"])
        return int(found["size"]) if "size" in found else size(found["type_id"])

    struct = next(t for t in types if t["kind"] == "STRUCT" and t["name"] == name)
    fields = {m["name"]: (m["bits_offset"] // 8, size(m["type_id"])) for m in struct["members"]}
    return struct["size"], fields


@pytest.mark.parametrize("name", STRUCTS)
def test_mirror_has_name_offset_and_size_of_every_field(types: Types, name: str) -> None:
    assert_mirrored(types, name, STRUCTS[name])


@pytest.mark.parametrize("name", HOLDERS)
def test_mirror_of_the_holders_is_as_exact(holder_types: Types, name: str) -> None:
    assert_mirrored(holder_types, name, HOLDERS[name])


def test_pieces_are_as_long_as_they_are_written() -> None:
    """They live on the stack of the program, so BTF does not know them; the compiler does."""
    sizes = dict(re.findall(r"sizeof\(struct (\w+)\) == (\d+)", HOLDERS_HEADER.read_text()))
    assert int(sizes["piece"]) == len(holderwire.MARK) + holders.HEADER.size
    assert int(sizes["pair"]) == holders.PAIR.size


def test_constants_of_the_holders_are_those_of_the_header() -> None:
    text = HOLDERS_HEADER.read_text()
    for name in ("ASKED_PORT_WORDS", "MAX_EPOLLS", "MAX_WALKED"):
        found = re.search(rf"\b{name} = (\d+)", text)
        assert found, name
        assert getattr(holderwire, name) == int(found.group(1))
    for first in ("PIECE_PROCESS", "WAITS_CALL"):
        names = re.findall(
            rf"\b({first.partition('_')[0]}_\w+),", text.partition(f"{first} = 1")[2]
        )
        ordered = [first, *names]
        assert [getattr(holderwire, name) for name in ordered] == list(range(1, len(ordered) + 1))
    for name, value in re.findall(r"\b(WAITS_\w+) = (0x\w+)", text):
        assert getattr(holderwire, name) == int(value, 16)


def assert_mirrored(types: Types, name: str, mirror: Any) -> None:
    size, fields = layout(types, name)
    mine = {
        field[0]: (getattr(mirror, field[0]).offset, getattr(mirror, field[0]).size)
        for field in mirror._fields_
    }
    assert mine == fields
    assert c.sizeof(mirror) == size


def test_object_holds_exactly_the_programs_of_the_plans(types: Types) -> None:
    functions = {t["name"] for t in types if t["kind"] == "FUNC" and t["linkage"] == "global"}
    assert functions == {*plans.PROGRAMS, *plans.LISTINGS}


def test_constants_are_those_of_the_header() -> None:
    text = HEADER.read_text()
    rooms = [name for name in dir(wire) if name.startswith("MAX_")]
    assert len(rooms) == 11
    for name in ("WAIT_BUCKETS", "PORTS", "SEAT_PROBES", "OWNER_RANGES", *rooms):
        found = re.search(rf"\b{name} = (\d+)", text)
        assert found, name
        assert getattr(wire, name) == int(found.group(1))
    losses = re.findall(r"\b(LOSS_\w+),", text)
    assert losses[-1] == "LOSS_MAX"
    assert [getattr(wire, name) for name in losses] == list(range(len(losses)))
    shared = re.findall(r"\b(SHARED_\w+),", text)
    assert [getattr(wire, name) for name in shared] == list(range(len(shared)))
    for name, number in re.findall(r"\b(OWNER_\w+) = (0x\w+)", text):
        assert getattr(wire, name) == int(number, 16)
    rings = re.findall(r"\b(RINGS_\w+),", text)
    assert [getattr(wire, name) for name in rings[2:]] == list(range(2, len(rings)))
