"""The Python mirror of bpf/accepttrace.h against the BTF of the built objects. Needs no root."""

from __future__ import annotations

import ctypes as c
import json
import re
import runpy
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from accepttrace.probe import connections, holders, holderwire, plans, unixconnections, wire

OBJECTS = Path(wire.__file__).parent / "load" / "objects"
HEADER = Path(__file__).parents[2] / "bpf" / "accepttrace.h"
STRUCTS = {
    "settings": wire.Settings,
    "acceptor_key": wire.AcceptorKey,
    "acceptor": wire.Acceptor,
    "error_key": wire.ErrorKey,
    "locality": wire.Locality,
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
EVENTS = {
    "event_wish": wire.EventWish,
    "event_count": wire.EventCount,
    "sample": wire.Sample,
}
HOLDERS = {
    "asked": holderwire.Asked,
    "progress": holderwire.Progress,
    "open_key": holderwire.OpenKey,
    "open_count": holderwire.OpenCount,
    "counted_key": holderwire.CountedKey,
    "received_key": holderwire.ReceivedKey,
    "received": holderwire.Received,
}
HOLDERS_HEADER = HEADER.parent / "holders" / "holders.h"
ALL_OF = (
    "LOSS_",
    "SHARED_",
    "OWNER_",
    "PIECE_",
    "WAITS_",
    "RECEIVED_",
    "EVENT_",
)  # kinds that are mirrored as a whole
Types = list[dict[str, Any]]


@pytest.fixture(scope="module", params=["x86_64", "aarch64"])
def types(request: pytest.FixtureRequest) -> Types:
    return types_of(f"{request.param}.bpf.o")


@pytest.fixture(scope="module", params=["x86_64", "aarch64"])
def event_types(request: pytest.FixtureRequest) -> Types:
    return types_of(f"events.{request.param}.bpf.o")


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


@pytest.mark.parametrize("name", [*STRUCTS, *EVENTS])
def test_mirror_of_the_events_is_as_exact(event_types: Types, name: str) -> None:
    assert_mirrored(event_types, name, {**STRUCTS, **EVENTS}[name])


def test_events_are_unpacked_as_they_are_written() -> None:
    """They live on the stack of the program, so BTF does not know them; the compiler does."""
    sizes = dict(re.findall(r"sizeof\(struct (\w+)\) == (\d+)", HEADER.read_text()))
    values = (*range(1, 19), b"c" * 16, b"l" * 16, b"p" * 16)
    event = wire.Event.from_buffer_copy(connections.LAYOUT.pack(*values)[8:])
    read = [getattr(event, field[0]) for field in wire.Event._fields_]
    assert [bytes(one) if isinstance(one, c.Array) else one for one in read] == [*values]
    assert c.sizeof(event) == int(sizes["event"]) == connections.LAYOUT.size - 8
    peer = wire.UnixPeer.from_buffer_copy(bytes(event.peer))
    assert (peer.pid, peer.uid) == unixconnections.PEER.unpack(bytes(8) + bytes(event))


@pytest.mark.parametrize("path", sorted(OBJECTS.glob("*.bpf.o")), ids=lambda path: path.name)
def test_atomics_are_those_of_the_oldest_kernel(path: Path) -> None:
    """It only adds, and returns nothing: the others came with 5.12."""
    dump = subprocess.run(["llvm-objdump", "-d", path], capture_output=True, text=True, check=True)
    atomics = re.findall(r"^ +\d+:\t((?:c3|db)(?: \w\w){7})", dump.stdout, re.MULTILINE)
    assert atomics or path.name.startswith("holders")
    assert [one for one in atomics if not one.endswith("00 00 00 00")] == []


@pytest.mark.parametrize("name", HOLDERS)
def test_mirror_of_the_holders_is_as_exact(holder_types: Types, name: str) -> None:
    assert_mirrored(holder_types, name, HOLDERS[name])


def test_pieces_are_as_long_as_they_are_written() -> None:
    """They live on the stack of the program, so BTF does not know them; the compiler does."""
    sizes = dict(re.findall(r"sizeof\(struct (\w+)\) == (\d+)", HOLDERS_HEADER.read_text()))
    assert int(sizes["piece"]) == len(holderwire.MARK) + holders.HEADER.size
    assert int(sizes["pair"]) == holders.PAIR.size


def enumerators(header: Path) -> dict[str, int]:
    """Every enumerator of a header and its value, as the compiler counts."""
    text = re.sub(r"/\*.*?\*/", "", header.read_text(), flags=re.DOTALL)
    found: dict[str, int] = {}
    for body in re.findall(r"\benum(?: \w+)? \{(.*?)\}", text, re.DOTALL):
        value = -1
        for entry in filter(None, map(str.strip, body.split(","))):
            name, _, given = map(str.strip, entry.partition("="))
            value = eval(re.sub(r"(?<=\d)U\b", "", given), {}, found) if given else value + 1
            assert name not in found
            found[name] = value
    return found


@pytest.mark.parametrize(
    ("header", "mirror"), [(HEADER, wire), (HOLDERS_HEADER, holderwire)], ids=["wire", "holders"]
)
def test_constants_are_those_of_the_header(header: Path, mirror: ModuleType) -> None:
    theirs = enumerators(header)
    mine = {name: value for name, value in vars(mirror).items() if name.isupper()}
    numbers = {name: value for name, value in mine.items() if isinstance(value, int)}
    assert numbers == {name: theirs.get(name) for name in numbers}
    for kind in ALL_OF:
        assert {name for name in numbers if name.startswith(kind)} == {
            name for name in theirs if name.startswith(kind)
        }
    assert len(numbers) > 10


def assert_mirrored(types: Types, name: str, mirror: Any) -> None:
    size, fields = layout(types, name)
    mine = {
        field[0]: (getattr(mirror, field[0]).offset, getattr(mirror, field[0]).size)
        for field in mirror._fields_
    }
    assert mine == fields
    assert c.sizeof(mirror) == size


def test_the_mirror_is_that_of_the_header() -> None:
    mirror = runpy.run_path(str(HEADER.with_name("mirror.py")))["mirror"]
    assert Path(wire.__file__).read_text() == mirror(HEADER.read_text()), "run `make objects`"


@pytest.mark.parametrize("plan", plans.PLANS, ids=lambda plan: plan.attach)
def test_what_a_hook_counts_is_a_counter_of_listeners(plan: plans.Plan) -> None:
    kinds = {field[0]: field[1] for field in wire.Listener._fields_}
    assert all(kinds[name] is c.c_uint64 for name in plan.sees.counted)


def test_object_holds_exactly_the_programs_of_the_plans(types: Types, event_types: Types) -> None:
    for found in (types, event_types):
        functions = {t["name"] for t in found if t["kind"] == "FUNC" and t["linkage"] == "global"}
        assert functions - verified_once() == {*plans.PROGRAMS, *plans.LISTINGS}


def verified_once() -> set[str]:
    """Functions that the programs call, and that are global for the verifier's sake."""
    texts = (header.read_text() for header in HEADER.parent.rglob("*.h"))
    return {
        name
        for text in texts
        for name in re.findall(r"^VERIFIED_ONCE [\w ]+ (\w+)\(", text, re.MULTILINE)
    }
