"""`accepttrace who --to`: what it says of each rule, and who gets connections then."""

from __future__ import annotations

import os
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from accepttrace.cli import whoto
from accepttrace.config import Filters
from accepttrace.errors import AcceptTraceError
from accepttrace.facts.records import Listener
from accepttrace.model.who.lookup import Lookup
from accepttrace.probe.listing import ListenerIterator
from accepttrace.sockets.diag import links
from accepttrace.sockets.inventory import InventoryReader
from accepttrace.views.who.to import Asked, result, text_lines

from .binding import CLIENT, CLIENT_6, SERVER, SERVER_6, Port, across, free_port, ip, wired
from .clients import inode_of
from .network import own_network, refuse_all_input, sockets
from .steering import (
    DROP,
    EXIT,
    LOAD_CPU,
    MODULO_3,
    PASS,
    RETURN,
    RETURN_1,
    id_of,
    looked_up_by,
    program,
    steer,
    steer_by,
    wants_cpu,
)

MANY = 60


@pytest.fixture(scope="module")
def facts() -> Iterator[ListenerIterator]:
    """What BPF shows of listeners."""
    try:
        iterator = ListenerIterator()
    except AcceptTraceError as error:
        pytest.skip(error.message)
    yield iterator
    iterator.close()


@pytest.fixture
def port() -> Iterator[Port]:
    with own_network(), free_port() as found:
        yield found


def ask(
    place: str,
    client: str | None = None,
    device: str | None = None,
    iterator: ListenerIterator | None = None,
) -> tuple[list[Lookup], Asked]:
    to = whoto.parse_place(place)
    filters = whoto.target_filters(to)
    reader = InventoryReader(filters, ask_facts=iterator.read if iterator else None)
    try:
        inventory = reader.read(full=True)
    finally:
        reader.close()
    source = whoto.parse_client(client) if client else None
    return whoto.lookup(to, source, device, Filters(), inventory)


def inodes(rows: Sequence[Listener]) -> list[int]:
    return [row.inode for row in rows]


def named(port: Port, address: str) -> str:
    return f"[{address}]:{port.number}" if ":" in address else f"{address}:{port.number}"


def agree(port: Port, address: str, listeners: Sequence[socket.socket]) -> list[str]:
    """That those who are said to get connections get them all; the reasons of the others."""
    (answer,), _ = ask(named(port, address))
    taken = port.takers(address, listeners)
    assert set(taken) == {row.inode for row in answer.chosen}
    order = [inode_of(each) for each in listeners]
    others = sorted(answer.others, key=lambda one: order.index(one.listener.inode))
    return [one.reason for one in others]


def test_a_socket_bound_to_an_address_gets_what_goes_there(port: Port) -> None:
    both = [port.listen("127.0.0.1"), port.listen("127.0.0.2")]
    assert agree(port, "127.0.0.1", both) == ["address"]
    assert agree(port, "127.0.0.2", both) == ["address"]
    assert agree(port, "127.0.0.3", both) == ["address", "address"]


@pytest.mark.parametrize("first", ["any", "specific"])
def test_a_specific_socket_comes_before_a_wildcard_however_they_were_opened(
    port: Port, first: str
) -> None:
    opened = {}
    for kind in ("any", "specific") if first == "any" else ("specific", "any"):
        address = "127.0.0.1" if kind == "specific" else "0.0.0.0"
        opened[kind] = port.listen(address, reuseport=True)
    both = [opened["specific"], opened["any"]]
    assert agree(port, "127.0.0.1", both) == ["any_address"]
    assert agree(port, "127.0.0.2", both) == ["address"]


@pytest.mark.parametrize("first", ["ipv4", "ipv6"])
def test_ipv4_comes_before_dual_stack(port: Port, first: str) -> None:
    """Both can be on one port with SO_REUSEPORT alone."""
    pairs = [("0.0.0.0", "ipv4"), ("::", "ipv6")]
    rows = {
        family: port.listen(address, reuseport=True)
        for address, family in (pairs if first == "ipv4" else reversed(pairs))
    }
    both = [rows["ipv4"], rows["ipv6"]]
    assert agree(port, "127.0.0.1", both) == ["ipv4_first"]
    assert agree(port, "::1", both) == ["family"]


def test_a_dual_stack_socket_serves_both_unless_it_is_v6only(port: Port) -> None:
    dual = port.listen("::")
    assert agree(port, "127.0.0.1", [dual]) == []
    assert agree(port, "::1", [dual]) == []


def test_v6only_refuses_ipv4(port: Port) -> None:
    only = port.listen("::", v6only=True)
    assert agree(port, "127.0.0.1", [only]) == ["v6only"]
    assert agree(port, "::1", [only]) == []


def test_an_address_of_ipv4_in_one_of_ipv6_is_that_of_ipv4(port: Port) -> None:
    mapped, every = (
        port.listen("::ffff:127.0.0.1", reuseport=True),
        port.listen("::", reuseport=True),
    )
    assert agree(port, "127.0.0.1", [mapped, every]) == ["any_address"]
    assert agree(port, "127.0.0.2", [mapped, every]) == ["address"]
    assert agree(port, "::1", [mapped, every]) == ["family"]


def test_a_group_shares_among_all_its_members(port: Port, facts: ListenerIterator) -> None:
    members = [port.listen("127.0.0.1", reuseport=True) for _ in range(3)]
    (answer,), asked = ask(named(port, "127.0.0.1"), iterator=facts)
    assert result(answer, asked) == "group"
    lines = list(text_lines([answer], asked))
    assert "one of the 3 sockets" in lines[1]
    assert "each as likely (1 in 3)" in lines[1]
    taken = port.takers("127.0.0.1", members, MANY)
    assert set(taken) == {row.inode for row in answer.chosen} == set(map(inode_of, members))


def test_without_bpf_the_selector_is_not_known(port: Port) -> None:
    for _ in range(2):
        port.listen("127.0.0.1", reuseport=True)
    (answer,), asked = ask(named(port, "127.0.0.1"))
    assert "unless BPF chooses (not seen from here)" in list(text_lines([answer], asked))[1]


def test_a_classic_program_is_named_by_what_it_returns(port: Port, facts: ListenerIterator) -> None:
    members = [port.listen("127.0.0.1", reuseport=True) for _ in range(3)]
    steer_by(members[0], (RETURN_1,))
    (answer,), asked = ask(named(port, "127.0.0.1"), iterator=facts)
    assert "(cbpf member 1)" in list(text_lines([answer], asked))[1]
    assert port.takers("127.0.0.1", members, 5) == {inode_of(members[1]): 5}
    assert (result(answer, asked), inodes(answer.chosen)) == ("socket", [inode_of(members[1])])
    assert (answer.members, [one.reason for one in answer.others]) == (3, ["not_selected"] * 2)
    steer_by(members[0], (LOAD_CPU, MODULO_3, RETURN))
    (answer,), asked = ask(named(port, "127.0.0.1"), iterator=facts)
    assert "(cbpf cpu modulo 3)" in list(text_lines([answer], asked))[1]


def test_an_extended_program_is_named_by_its_id(port: Port, facts: ListenerIterator) -> None:
    members = [port.listen("127.0.0.1", reuseport=True) for _ in range(3)]
    with program("pick", (PASS, EXIT)) as descriptor:
        steer(members[0], descriptor)
        (answer,), asked = ask(named(port, "127.0.0.1"), iterator=facts)
        expected = f"(ebpf {id_of(descriptor)} pick)"
        assert expected in list(text_lines([answer], asked))[1]
    taken = port.takers("127.0.0.1", members, MANY)
    assert set(taken) <= set(inodes(answer.chosen))


def test_a_program_may_refuse_also_where_there_is_one(port: Port, facts: ListenerIterator) -> None:
    alone = port.listen("127.0.0.1", reuseport=True)
    with program("refuse", DROP) as descriptor:
        steer(alone, descriptor)
        (answer,), asked = ask(named(port, "127.0.0.1"), iterator=facts)
        expected = f"a reuseport group of one, unless BPF refuses (ebpf {id_of(descriptor)} refuse)"
        assert list(text_lines([answer], asked))[1].endswith(expected)
    assert port.takers("127.0.0.1", [alone]) == Counter()


def test_who_takes_reuseport_back_is_chosen_alone(port: Port, facts: ListenerIterator) -> None:
    members = [port.listen("127.0.0.1", reuseport=True) for _ in range(2)]
    for each in members:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 0)
    (answer,), _ = ask(named(port, "127.0.0.1"), iterator=facts)
    assert set(port.takers("127.0.0.1", members)) == set(inodes(answer.chosen))
    assert (answer.grouped, len(answer.chosen)) == (False, 1)


def test_a_member_that_is_bound_to_a_device_later_stays_in_its_group(
    facts: ListenerIterator,
) -> None:
    with wired() as there, free_port() as port:
        members = [port.listen("0.0.0.0", reuseport=True) for _ in range(2)]
        bind_to(members[1], "va")
        (answer,), _ = ask(named(port, SERVER), device="va", iterator=facts)
        with across(there):
            taken = port.takers(SERVER, members, MANY)
        assert set(taken) == set(inodes(answer.chosen)) == set(map(inode_of, members))


def test_the_cpu_of_a_packet_chooses_where_members_ask_for_one(
    port: Port, facts: ListenerIterator
) -> None:
    members = [port.listen("127.0.0.1", reuseport=True) for _ in range(2)]
    before = os.sched_getaffinity(0)
    cpu = min(before)
    wants_cpu(members[1], cpu)
    (answer,), asked = ask(named(port, "127.0.0.1"), iterator=facts)
    lines = list(text_lines([answer], asked))
    assert "that of the CPU that handles the packet" in lines[1]
    assert any(
        f"CPU {cpu}: " in line and f"inode {inode_of(members[1])} " in line for line in lines
    )
    os.sched_setaffinity(0, {cpu})
    try:
        taken = port.takers("127.0.0.1", members, 10)
    finally:
        os.sched_setaffinity(0, before)
    assert taken == {inode_of(members[1]): 10}


def test_nobody_gets_what_nobody_listens_for(port: Port) -> None:
    (answer,), asked = ask(named(port, "127.0.0.1"))
    assert (result(answer, asked), answer.others) == ("refused", ())
    assert port.takers("127.0.0.1", []) == Counter()


def test_a_bare_port_asks_for_each_address_that_makes_a_difference(port: Port) -> None:
    one, only = port.listen("127.0.0.1"), port.listen("::", v6only=True)
    answers, _ = ask(str(port.number))
    found = [(each.packet.family, each.packet.address, inodes(each.chosen)) for each in answers]
    assert found == [
        ("ipv4", "127.0.0.1", [inode_of(one)]),
        ("ipv4", None, []),
        ("ipv6", None, [inode_of(only)]),
    ]


def test_an_address_of_another_machine_is_not_local(port: Port) -> None:
    port.listen("0.0.0.0")
    (answer,), asked = ask(named(port, "192.0.2.1"))
    assert result(answer, asked) == "not local"
    lines = list(text_lines([answer], asked))
    assert lines[1].endswith("is no address of this network namespace; there is no route to it")
    ip("route add 192.0.2.0/24 dev lo")
    _, asked = ask(named(port, "192.0.2.1"))
    assert asked.route.endswith("packets to it leave through lo")


def test_listeners_of_other_namespaces_do_not_count(port: Port) -> None:
    elsewhere = port.listen("0.0.0.0")
    with subprocess.Popen(["sleep", "60"]) as inhabitant, own_network():
        try:
            (answer,), asked = ask(named(port, "127.0.0.1"))
        finally:
            inhabitant.kill()
        assert [one.reason for one in answer.others] == ["netns"]
        assert result(answer, asked) == "refused"
        assert port.takers("127.0.0.1", [elsewhere]) == Counter()
    assert port.takers("127.0.0.1", [elsewhere]).total()


@pytest.mark.parametrize(("address", "client"), [(SERVER, CLIENT), (SERVER_6, CLIENT_6)])
def test_a_socket_bound_to_a_device_gets_only_what_comes_through_it(
    address: str, client: str
) -> None:
    with wired() as there, free_port() as port:
        device = port.listen("::" if ":" in address else "0.0.0.0", device="va")
        (answer,), asked = ask(named(port, address), client)
        assert (asked.guessed, answer.packet.device) == (True, "va")
        assert inodes(answer.chosen) == [inode_of(device)]
        with across(there):
            assert port.takers(address, [device]).total() == 6
        # The machine's own clients come through the device that has the address.
        (near,), asked = ask(named(port, address), address)
        assert (asked.guessed, near.packet.device) == (False, "va")
        assert inodes(near.chosen) == [inode_of(device)]
        assert port.takers(address, [device]).total() == 6
        loopback = "::1" if ":" in address else "127.0.0.1"
        far, through = ask(named(port, loopback))[0]
        assert (far.packet.device, through.packet.device) == ("lo", "va")
        assert [one.reason for one in far.others] == ["device"]
        assert port.takers(loopback, [device]) == Counter()


def arrives(there: int, port: Port, address: str, source: str) -> bool:
    """Whether the SYN of a client comes to a listener: over a veth that is at once, or never."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with across(there), socket.socket(family) as client:
        client.settimeout(0.2)
        client.bind((source, 0))
        try:
            client.connect((address, port.number))
        except TimeoutError:
            pass
        else:
            return True
    return sockets("syn-recv", port.number) > 0


def outcome(address: str, port: Port, source: str, device: str | None = None) -> str | None:
    (answer,), asked = ask(named(port, address), source, device)
    said = result(answer, asked)
    return answer.dropped if said == "dropped" else said


def test_what_is_dropped_before_any_socket_is_looked_for() -> None:
    """Martians, reverse path filter, and a client to which there is no way back."""
    with wired() as there, free_port() as port:
        port.listen("::")
        set_conf("va", "rp_filter", 0)
        set_conf("all", "rp_filter", 0)
        with across(there):
            set_conf("vb", "route_localnet", 1)
            ip("address add 192.0.2.9/32 dev vb")
            ip("route flush table local root 127.0.0.0/8")
            ip(f"route add 127.0.0.1 via {SERVER} dev vb")

        def both(address: str, source: str) -> tuple[str | None, bool]:
            return outcome(address, port, source, "va"), arrives(there, port, address, source)

        assert both(SERVER, CLIENT) == ("socket", True)
        assert both(SERVER, "192.0.2.9") == ("no_route_back", False)
        ip("route add 192.0.2.0/24 dev va")
        assert both(SERVER, "192.0.2.9") == ("socket", True)
        ip("route change 192.0.2.0/24 dev lo")
        set_conf("va", "rp_filter", 1)
        assert both(SERVER, "192.0.2.9") == ("martian", False)
        assert both("127.0.0.1", CLIENT) == ("loopback", False)
        set_conf("va", "route_localnet", 1)
        assert both("127.0.0.1", CLIENT) == ("socket", True)
        assert outcome("::1", port, CLIENT_6) == "loopback"


def test_rules_of_netfilter_are_named() -> None:
    """They are not predicted: this one drops all."""
    with wired() as there, free_port() as port:
        port.listen("0.0.0.0")
        assert ask(named(port, SERVER), CLIENT)[1].tables == ()
        assert arrives(there, port, SERVER, CLIENT)
        try:
            refuse_all_input("fence")
        except OSError as error:
            pytest.skip(f"this kernel has no nftables: {error}")
        answers, asked = ask(named(port, SERVER), CLIENT)
        (note,) = (line for line in text_lines(answers, asked) if "netfilter" in line)
        assert note.endswith("may drop, refuse or redirect it: inet fence")
        assert not arrives(there, port, SERVER, CLIENT)


def test_a_link_local_address_is_reached_through_its_own_device_only() -> None:
    own = "fe80::77"
    with wired(), free_port() as port:
        ip(f"address add {own}/64 dev va nodad")
        near, other = port.listen("::", device="va"), port.listen("::", device="lo")
        ((answer,), _) = ask(named(port, own))
        assert (answer.packet.device, inodes(answer.chosen)) == ("va", [inode_of(near)])
        assert port.takers(f"{own}%va", [near, other]) == {inode_of(near): 6}
        assert outcome(f"{own}%va", port, f"{own}%va") == "socket"
        assert outcome(f"{own}%lo", port, f"{own}%lo") == "not local"


def test_devices_are_found_by_their_kind_and_by_that_of_what_they_are_in() -> None:
    """As VRFs are; a bridge needs no module more."""
    with wired():
        assert links.of_kind("bridge") == frozenset()
        ip("link add br0 type bridge")
        assert links.of_kind("bridge") == {"br0"}
        ip("link set va master br0")
        assert links.of_kind("bridge") == {"br0", "va"}
        assert links.of_kind("veth") == {"va"}


def set_conf(device: str, name: str, value: int) -> None:
    Path(f"/proc/sys/net/ipv4/conf/{device}/{name}").write_text(str(value))


def compare(
    port: Port, there: int, listeners: Sequence[socket.socket], facts: ListenerIterator
) -> tuple[int, list[str]]:
    """Over the wire: which of them gets it, by its place, and why the others do not."""
    (answer,), _ = ask(named(port, SERVER), device="va", iterator=facts)
    with across(there):
        taken = port.takers(SERVER, listeners)
    assert set(taken) == {row.inode for row in answer.chosen}
    order = [inode_of(each) for each in listeners]
    return order.index(answer.chosen[0].inode), [one.reason for one in answer.others]


@pytest.mark.parametrize("first", ["device", "none"])
def test_a_device_comes_before_none(first: str, facts: ListenerIterator) -> None:
    with wired() as there, free_port() as port:
        opened = {
            name: port.listen("0.0.0.0", device=name)
            for name in (("va", "lo") if first == "device" else ("lo", "va"))
        }
        bind_to(opened["lo"], "")
        assert compare(port, there, [opened["va"], opened["lo"]], facts) == (0, ["no_device"])


@pytest.mark.parametrize("first", ["device", "none"])
def test_a_group_that_is_met_first_ends_the_search(first: str, facts: ListenerIterator) -> None:
    """Whatever stands behind it, also one that is bound to the device."""
    with wired() as there, free_port() as port:
        names = ("va", "") if first == "device" else ("", "va")
        opened = [port.listen("0.0.0.0", device=name, reuseport=True) for name in names]
        reason = "group_first" if first == "device" else "no_device"
        assert compare(port, there, opened, facts) == (1, [reason])


def test_what_is_not_seen_without_bpf_is_said(facts: ListenerIterator) -> None:
    """Whether a lone socket has set SO_REUSEPORT, where that decides."""
    with wired(), free_port() as port:
        for name in ("va", ""):
            port.listen("0.0.0.0", device=name, reuseport=True)
        (blind,), asked = ask(named(port, SERVER), device="va")
        (seen,), _ = ask(named(port, SERVER), device="va", iterator=facts)
        assert inodes(blind.otherwise) == inodes(seen.chosen) != inodes(blind.chosen)
        assert seen.otherwise == ()
        assert any("if SO_REUSEPORT is set there" in line for line in text_lines([blind], asked))


@pytest.mark.parametrize("first", ["ipv4", "ipv6"])
def test_of_equals_the_last_comes_first(first: str, facts: ListenerIterator) -> None:
    """One for its device, the other for its family."""
    with wired() as there, free_port() as port:
        ways = [("0.0.0.0", "lo"), ("::", "va")]
        opened = [
            port.listen(address, device=device)
            for address, device in (ways if first == "ipv4" else reversed(ways))
        ]
        bind_to(opened[first == "ipv6"], "")
        assert compare(port, there, opened, facts) == (1, ["listed_later"])


def test_the_cpu_of_a_packet_counts_among_lone_sockets_too(facts: ListenerIterator) -> None:
    before = os.sched_getaffinity(0)
    cpu, other = min(before), max(before)
    with wired(), free_port() as port:
        four, six = port.listen("0.0.0.0", device="lo"), port.listen("::", device="va")
        for each in (four, six):
            bind_to(each, "")
        wants_cpu(six, cpu)
        (answer,), asked = ask(named(port, "127.0.0.1"), iterator=facts)
        assert inodes(answer.chosen) == [inode_of(four)]
        ((on, rows),) = answer.by_cpu
        assert (on, inodes(rows)) == (cpu, [inode_of(six)])
        assert f"where CPU {cpu} handles the packet, [::]" in "".join(text_lines([answer], asked))
        try:
            os.sched_setaffinity(0, {cpu})
            assert set(port.takers("127.0.0.1", [four, six])) == {inode_of(six)}
            os.sched_setaffinity(0, {other})
            expected = six if other == cpu else four
            assert set(port.takers("127.0.0.1", [four, six])) == {inode_of(expected)}
        finally:
            os.sched_setaffinity(0, before)


def test_a_program_of_the_namespace_is_named(port: Port) -> None:
    """It runs before all that is predicted: this one refuses all."""
    listener = port.listen("127.0.0.1")
    with looked_up_by("refuse_all", DROP) as number:
        (answer,), asked = ask(named(port, "127.0.0.1"))
        assert result(answer, asked) == "program"
        assert whoto.status([answer], asked) == 3
        (note,) = (line for line in text_lines([answer], asked) if "BPF" in line)
        assert f"sk_lookup {number} refuse_all" in note
        assert port.takers("127.0.0.1", [listener]) == Counter()
    (answer,), asked = ask(named(port, "127.0.0.1"))
    assert result(answer, asked) == "socket"
    assert port.takers("127.0.0.1", [listener]).total()


def bind_to(listener: socket.socket, device: str) -> None:
    """The kernel does not ask again whether that may be: so sockets can be made to overlap."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
