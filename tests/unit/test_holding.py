"""Which namespaces are asked for what, and when: readers over invented namespaces and sockets."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Set
from dataclasses import replace
from typing import Any, cast

import pytest

from accepttrace.config import Filters
from accepttrace.errors import UnsupportedError
from accepttrace.facts.kin import Surroundings
from accepttrace.facts.records import (
    Holder,
    Inventory,
    ListenerFact,
    LocalPort,
    NamespaceCount,
    Opened,
    Process,
    Program,
    Serving,
    TcpCounters,
    Unread,
)
from accepttrace.probe import pidns
from accepttrace.probe.holders import HolderIterator
from accepttrace.probe.members import Member, Queue
from accepttrace.sockets import fromkernel, holding, inventory, receivers, unixinventory
from accepttrace.sockets.diag.tcp import ListenSocket, Look
from accepttrace.sockets.diag.udp import UdpSocket
from accepttrace.sockets.diag.unix import SocketFile, UnixSocket
from accepttrace.sockets.holding import Holding
from accepttrace.sockets.inventory import InventoryReader
from accepttrace.sockets.receivers import ReceiverReader
from accepttrace.sockets.sharing import bond, bonds, share_of
from accepttrace.sockets.unixinventory import UnixReader

OWN, OTHER, THIRD = 1, 5, 6
COUNTERS = TcpCounters(overflows=3)


class Namespaces:
    """Three, of which we are in one."""

    own = OWN
    unread: tuple[Unread, ...] = ()

    def __init__(self) -> None:
        self.paths: dict[int, list[str]] = {OWN: [], OTHER: ["/five"], THIRD: ["/six"]}
        self.refreshed: list[tuple[bool, Mapping[int, object]]] = []

    def refresh(self, full: bool, threads: Mapping[int, object]) -> None:
        self.refreshed.append((full, threads))

    def path(self, number: int) -> str | None:
        if number not in self.paths:
            raise FileNotFoundError
        return next(iter(self.paths[number]), None)


class Kernel:
    """In place of a KernelSource."""

    unread = (Unread("open files", "not all could be read yet"),)
    netns_of_sockets = frozenset({OTHER})
    opened = Opened(1.0, frozenset(), {}, {})

    def __init__(self, *_: object) -> None:
        self.threads: dict[int, list[tuple[int, int]]] = {}
        self.passes: list[tuple[bool, float, frozenset[int]]] = []

    def pass_over(self, full: bool, limit_s: float, open_ports: frozenset[int]) -> None:
        self.passes.append((full, limit_s, open_ports))


class World:
    """A Holding over these; `asked`: the namespaces and paths of each question."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.namespaces, self.kernel = Namespaces(), Kernel()
        monkeypatch.setattr(holding, "Namespaces", lambda: self.namespaces)
        monkeypatch.setattr(fromkernel, "KernelSource", lambda *_: self.kernel)
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(
            "accepttrace.sockets.namespaces._leads",
            lambda path, number: path in self.namespaces.paths[number],
        )

    def holding(self, *, kernel: bool, netns: Iterable[int] = ()) -> Holding:
        iterator = cast("HolderIterator", object()) if kernel else None
        return Holding(Filters(netns=frozenset(netns)), iterator)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def asked(reader: Holding, *also: int, everywhere: bool = False) -> list[int]:
    return [number for number, _ in reader.ask(lambda *at: at, everywhere, also)]


def test_a_pass_has_a_quarter_of_a_second_but_for_a_full_one(world: World) -> None:
    reader = world.holding(kernel=True)
    reader.begin(full=False)
    world.kernel.threads = {OTHER: [(7, 8)]}
    reader.begin(True, frozenset({80}))
    assert world.kernel.passes == [(False, 0.25, frozenset()), (True, 5.0, frozenset({80}))]
    assert world.namespaces.refreshed == [(False, {}), (True, {OTHER: [(7, 8)]})]
    world.holding(kernel=False).begin(full=False)
    assert world.namespaces.refreshed[2:] == [(False, {})]
    assert len(world.kernel.passes) == 2


def test_without_the_kernel_every_namespace_is_asked_each_time(world: World) -> None:
    reader = world.holding(kernel=False)
    found = reader.ask(lambda number, path: (number, path), False)
    assert found == [
        (OWN, (OWN, None)),
        (OTHER, (OTHER, "/five")),
        (THIRD, (THIRD, "/six")),
    ]
    assert asked(reader) == [OWN, OTHER, THIRD]
    assert asked(world.holding(kernel=False, netns=[THIRD])) == [THIRD]


def test_the_kernel_says_where_to_ask_and_at_times_all_are(world: World) -> None:
    reader = world.holding(kernel=True)
    everywhere = [OWN, OTHER, THIRD]
    assert asked(reader) == everywhere  # at first
    assert (asked(reader), asked(reader, THIRD)) == ([OWN, OTHER], everywhere)
    for after_s, found in ((30.0, [OWN, OTHER]), (0.1, everywhere), (30.0, [OWN, OTHER])):
        world.now += after_s
        assert asked(reader) == found
    assert asked(reader, everywhere=True) == everywhere
    world.now += 30.0
    assert asked(reader) == [OWN, OTHER]
    assert asked(world.holding(kernel=True, netns=[OTHER]), THIRD) == [OTHER]


def test_what_could_not_be_looked_at_is_told_once(world: World) -> None:
    def refuse(number: int, _: str | None) -> int:
        if number != OWN:
            raise UnsupportedError("no CAP_SYS_ADMIN")
        return number

    reader = world.holding(kernel=True)
    assert reader.everywhere
    assert reader.unread == world.kernel.unread
    assert reader.ask(refuse, True) == [(OWN, OWN)]
    assert not reader.everywhere
    closed = [Unread(f"network namespace {n}", "permission denied") for n in (OTHER, THIRD)]
    denied = [Unread("w", "permission denied", pid) for pid in (7, 8)]
    world.namespaces.unread = (denied[0], denied[1], denied[0])
    assert reader.unread == (*closed, *denied, *world.kernel.unread)
    assert reader.ask(lambda number, _: number, True) != []
    assert not reader.everywhere
    world.namespaces.unread = ()
    assert reader.everywhere


def test_in_a_pid_namespace_others_are_out_of_sight(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    unseen = Unread("processes outside of this PID namespace", "they have no PID in it")
    for is_initial in (True, False):
        monkeypatch.setattr(pidns, "is_initial", lambda known=is_initial: known)
        assert (unseen in world.holding(kernel=True).unread) is not is_initial


def test_connections_are_listed_only_where_the_kernel_does_not_count_them(world: World) -> None:
    by_kernel, by_proc = world.holding(kernel=True), world.holding(kernel=False)
    assert (by_kernel.lists_connections, by_proc.lists_connections) == (False, True)
    assert (by_kernel.opened, by_proc.opened) == (world.kernel.opened, None)
    unsearched = "connections of those that hold no listener"
    assert unsearched not in {one.name for one in by_proc.unread}
    by_proc.count_connections(frozenset({80}), [], took_s=1.0)
    assert unsearched in {one.name for one in by_proc.unread}
    assert by_proc.opened == Opened(world.now, frozenset({80}), {}, {}, frozenset())
    for after_s, due in ((49.75, False), (0.25, True)):
        world.now += after_s
        assert by_proc.lists_connections is due
    by_proc.close()


def listening(inode: int, port: int = 80, **changes: Any) -> ListenSocket:
    sock = ListenSocket(
        *(inode, "ipv4", "127.0.0.1", port, 128, 3, 33, 9, None, 0),
        drops=inode % 10,
        device=f"eth{inode}",
    )
    return replace(sock, **changes)


class Fake:
    """In place of a Holding: it answers from `sockets`, by namespace."""

    unread: tuple[Unread, ...] = ()
    everywhere = True
    lists_connections = False
    opened = None
    closed = THIRD  # may not be entered

    def __init__(self, filters: Filters, iterator: object, full_every_s: float = 0.0) -> None:
        self.given = filters, iterator, full_every_s
        self.namespaces = {OWN, OTHER, THIRD}
        self.asks: list[tuple[bool, frozenset[int]]] = []
        self.begun: list[tuple[bool, frozenset[int]]] = []
        self.finished: list[tuple[list[int], bool]] = []
        self.connections: list[tuple[frozenset[int], list[int], float]] = []
        self.held: dict[int, tuple[Holder, ...]] = {}

    def begin(self, full: bool, open_ports: frozenset[int] = frozenset()) -> None:
        self.begun.append((full, open_ports))

    def ask(
        self,
        question: Callable[[int, str | None], Look],
        everywhere: bool,
        also: Collection[int] = (),
    ) -> list[tuple[int, Look]]:
        self.asks.append((everywhere, frozenset(also)))
        return [(number, question(number, self.path(number))) for number in sorted(self.namespaces)]

    def path(self, number: int) -> str | None:
        if number == self.closed:
            raise PermissionError
        return None if number == OWN else f"/{number}"

    def serving(self, holders: Mapping[LocalPort, Set[int]]) -> tuple[Serving, ...]:
        self.at = dict(holders)
        return ()

    def finish(self, inodes: Collection[int], full: bool) -> None:
        self.finished.append((list(inodes), full))

    def holders(self, inode: int) -> tuple[Holder, ...]:
        return self.held.get(inode, ())

    def count_connections(
        self, ports: frozenset[int], looks: Iterable[tuple[int, Look]], took_s: float
    ) -> None:
        self.connections.append((ports, [netns for netns, _ in looks], took_s))


class Tcp:
    """A reader of TCP, and how it looks into each namespace."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, filters: Filters, **more: Any) -> None:
        self.sockets: dict[int, list[ListenSocket]] = {}
        self.looks: list[tuple[int, bool, bool, frozenset[int]]] = []
        monkeypatch.setattr(inventory, "Holding", Fake)
        monkeypatch.setattr(inventory, "look", self.look)
        self.monkeypatch = monkeypatch
        self.reader = InventoryReader(filters, **more)
        self.holding = cast("Fake", self.reader._holding)
        self.holding.closed = 0

    def look(
        self, path: str | None, counting: bool, ask_facts: Any, open_ports: Collection[int]
    ) -> Look:
        netns = int((path or f"/{OWN}")[1:])
        self.looks.append((netns, counting, ask_facts is not None, frozenset(open_ports)))
        sockets = tuple(self.sockets.get(netns, ()))
        return Look(sockets, COUNTERS if counting else None, ask_facts() if ask_facts else None)

    def looked(self) -> list[tuple[int, bool, bool, frozenset[int]]]:
        """How, since it was asked last."""
        found, self.looks = self.looks, []
        return found


def test_a_namespace_is_looked_at_closely_once_a_listener_was_found_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    facts = {11: ListenerFact(4, 2, "ebpf", Program(3, "p"), defers=True, half_open=5, oldest_us=6)}
    tcp = Tcp(monkeypatch, Filters(ports=frozenset({80})), ask_facts=lambda: facts)
    monkeypatch.setattr(inventory, "call_inside", lambda path, ask: {} if path else ask())
    nothing: frozenset[int] = frozenset()
    tcp.sockets = {OWN: [listening(11)], OTHER: [listening(12, 81)]}
    (row,) = tcp.reader.read().listeners
    assert tcp.looked() == [(n, False, False, nothing) for n in (OWN, OTHER, THIRD)]
    # It was entered once more for what is known of that listener.
    assert (row.group, row.group_size, row.selector, row.program) == (4, 2, "ebpf", Program(3, "p"))
    assert (row.defers, row.half_open, row.oldest_us) == (True, 5, 6)
    assert (row.inode, row.netns, row.backlog, row.queue, row.uid) == (11, OWN, 128, 3, 33)
    assert (row.drops, row.device, row.sharing) == (1, "eth11", "reuseport")
    tcp.reader.read()
    assert tcp.looked() == [
        (OWN, False, True, nothing),
        (OTHER, False, False, nothing),
        (THIRD, False, False, nothing),
    ]
    assert tcp.holding.asks == [(False, frozenset()), (False, frozenset({OWN}))]
    tcp.sockets = {}
    tcp.reader.read(full=True, counted=[OTHER, 999])  # once traced, always; one is not there
    assert tcp.looked()[:2] == [(OWN, False, True, nothing), (OTHER, False, True, nothing)]
    assert tcp.holding.asks[2:] == [(True, frozenset({OWN, OTHER}))]
    assert tcp.holding.finished == [([11], False), ([11], False), ([], True)]


def test_counters_are_read_where_something_is_traced_and_after_the_baseline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tcp = Tcp(monkeypatch, Filters(ports=frozenset({80})))
    tcp.sockets = {OWN: [listening(11), listening(20, 81)], OTHER: [listening(12, 81)]}
    found = tcp.reader.baseline()
    assert tcp.looked() == [(n, True, False, frozenset()) for n in (OWN, OTHER, THIRD)]
    assert tcp.holding.asks == [(True, frozenset(tcp.holding.namespaces))]
    assert tcp.holding.begun == [(False, frozenset())]
    assert found.complete
    assert found.sockets == {11, 12, 20}
    assert found.namespaces == {
        OWN: NamespaceCount(OWN, {11: 1}, COUNTERS),  # none was dropped at 20
        OTHER: NamespaceCount(OTHER, {12: 2}, COUNTERS),
        THIRD: NamespaceCount(THIRD, {}, COUNTERS),
    }
    counts = tcp.reader.read().namespaces
    assert counts == (NamespaceCount(OWN, {11: 1}),)  # not known before that it matters
    assert tcp.reader.read().namespaces == (NamespaceCount(OWN, {11: 1}, COUNTERS),)
    monkeypatch.setattr(inventory, "MAX_COUNTED", 0)
    assert tcp.reader.read().namespaces == (NamespaceCount(OWN, {11: 1}),)
    assert tcp.holding.begun[1:] == [(False, frozenset({80}))] * 3


def test_connections_are_listed_of_the_ports_that_were_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    tcp = Tcp(monkeypatch, Filters())
    tcp.holding.lists_connections = True

    def slowly(*asked: Any) -> Look:
        now[0] += 0.5
        return Tcp.look(tcp, *asked)

    monkeypatch.setattr(inventory, "look", slowly)
    tcp.sockets = {OWN: [listening(11), listening(12, 443)]}
    tcp.reader.read()
    tcp.reader.read()
    both = frozenset({80, 443})
    assert [ports for _, _, _, ports in tcp.looked()] == [frozenset()] * 3 + [both] * 3
    everywhere = [OWN, OTHER, THIRD]
    assert tcp.holding.connections == [(frozenset(), everywhere, 1.5), (both, everywhere, 1.5)]
    tcp.holding.lists_connections = False
    tcp.reader.read()
    assert {ports for _, _, _, ports in tcp.looked()} == {frozenset()}
    assert len(tcp.holding.connections) == 2


def test_ports_are_found_without_a_look_at_every_process(monkeypatch: pytest.MonkeyPatch) -> None:
    tcp = Tcp(monkeypatch, Filters())
    tcp.sockets = {OWN: [listening(11)]}
    tcp.reader.find_ports()
    assert tcp.looked() == [(n, False, False, frozenset()) for n in (OWN, OTHER, THIRD)]
    tcp.reader.read()
    assert tcp.holding.begun == [(False, frozenset()), (False, frozenset({80}))]


def test_unix_listeners_are_asked_for_where_they_were_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = {OWN: (on_path(11, "/b"), on_path(12, "@a\0\0")), OTHER: (on_path(13, "/b"),)}
    monkeypatch.setattr(unixinventory, "Holding", Fake)
    monkeypatch.setattr(
        unixinventory, "unix_sockets", lambda at: found.get(int((at or "/1")[1:]), ())
    )
    monkeypatch.setattr(Fake, "closed", 0)
    reader = UnixReader(Filters(ports=frozenset({80})), ())
    held = cast("Fake", reader._holding)
    held.held = {11: (Holder(1, 1, "w", "w", 3, True),)}
    assert reader.baseline().sockets == {11, 12, 13}
    rows = reader.read().listeners
    assert [(row.inode, row.netns, row.sharing) for row in rows] == [
        (11, OWN, "sole"),
        (13, OTHER, None),
        (12, OWN, None),
    ]
    assert (rows[0].local_port, rows[0].backlog, rows[0].queue, rows[0].uid) == (0, 4, 3, 33)
    reader.read(full=True, counted=[THIRD])
    assert held.given[0] == Filters()  # ports are none of theirs
    assert held.begun == [(False, frozenset()), (False, frozenset()), (True, frozenset())]
    everywhere = frozenset({OWN, OTHER, THIRD})
    assert held.asks == [(True, frozenset()), (False, frozenset()), (True, everywhere)]
    assert held.finished == [([11, 12, 13], False), ([11, 12, 13], True)]


def test_a_unix_listener_is_found_by_its_name_or_by_its_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that was bound by a relative name is asked for by a path that leads there."""
    file = SocketFile(8, 1, 9)
    rows = (replace(on_path(11, "./a"), file=file), on_path(12, "@x@@"), on_path(13, "/other"))
    files = {"/run/a": file}
    monkeypatch.setattr(unixinventory, "Holding", Fake)
    monkeypatch.setattr(unixinventory, "unix_sockets", lambda at: () if at else rows)
    monkeypatch.setattr(unixinventory, "file_at", lambda path: files[path])  # no abstract one
    monkeypatch.setattr(Fake, "closed", 0)
    found = UnixReader(Filters(), ("/run/a", "@x")).read().listeners
    assert sorted(row.inode for row in found) == [11, 12]


def test_listeners_are_in_the_order_of_their_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    tcp = Tcp(monkeypatch, Filters())
    tcp.sockets = {
        OTHER: [listening(3), listening(2)],
        OWN: [listening(9), listening(4, family="ipv6", local_address="::1"), listening(5, 79)],
    }
    found = [(row.local_port, row.netns, row.inode) for row in tcp.reader.read().listeners]
    assert found == [(79, OWN, 5), (80, OWN, 9), (80, OWN, 4), (80, OTHER, 2), (80, OTHER, 3)]


def test_whose_connections_are_of_unknown_listeners_is_not_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tcp = Tcp(monkeypatch, Filters(addresses=frozenset({"127.0.0.1"})))
    tcp.sockets = {
        OWN: [listening(1), listening(2, 81), listening(3, 81, local_address="127.0.0.2")]
    }
    tcp.holding.held = {1: (Holder(7, 1, "w", "w", 3, True),)}
    assert [row.inode for row in tcp.reader.read().listeners] == [1, 2]
    assert tcp.holding.at == {LocalPort(OWN, 80, "ipv4"): {7}}


def test_without_the_right_to_use_bpf_there_is_no_list_of_the_kernel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for refusal in (PermissionError(), UnsupportedError("no BTF")):

        def refuse(*_: object, why: Exception = refusal) -> None:
            raise why

        monkeypatch.setattr("accepttrace.probe.holders.HolderIterator", refuse)
        assert holding.open_iterator() is None


def test_a_namespace_that_went_away_meanwhile_shows_no_facts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def gone(*_: object) -> Mapping[int, ListenerFact]:
        raise FileNotFoundError

    tcp = Tcp(monkeypatch, Filters(), ask_facts=dict)
    monkeypatch.setattr(inventory, "call_inside", gone)
    tcp.sockets = {OTHER: [listening(3)]}
    (row,) = tcp.reader.read().listeners
    assert (row.group, row.defers, row.half_open, row.oldest_us) == (None, None, None, None)


def test_what_members_of_a_group_have_in_common() -> None:
    one = listening(1)
    strangers = [
        replace(one, uid=0),
        replace(one, local_address="127.0.0.2"),
        replace(one, local_port=81),
        replace(one, family="ipv6"),
        replace(one, v6only=True),
        replace(one, interface=2),
    ]
    found = bonds([(OWN, one), (OWN, listening(2)), (OTHER, one), *((OWN, s) for s in strangers)])
    assert found[bond(OWN, one)] == 2
    assert [found[bond(OWN, other)] for other in strangers] == [1] * 6
    assert found[bond(OTHER, one)] == 1
    alone = ListenerFact(4, 0, "hash")  # in no group
    assert share_of(2, (), alone, False) == ("reuseport", None, 2, None, None)
    assert share_of(1, (), None, False).sharing is None


def test_open_files_are_compared_unless_that_is_not_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those who only serve are looked at with them."""
    asked: list[tuple[object, object]] = []

    def note(_: object, __: object, serving: object, compared: object) -> Surroundings:
        asked.append((serving, compared))
        return Surroundings()

    monkeypatch.setattr("accepttrace.sockets.surroundings.surroundings", note)
    monkeypatch.setattr(unixinventory, "Holding", Fake)
    served = (Serving(Process(1, 2), LocalPort(OWN, 80, "ipv4"), 3),)
    for reader, serving in (
        (Tcp(monkeypatch, Filters()).reader, served),
        (UnixReader(Filters(), ()), ()),
    ):
        asked.clear()
        reader.surroundings(Inventory((), serving=served))
        reader.surroundings(Inventory((), serving=served), compared=False)
        assert asked == [(serving, True), ((), False)]


def on_path(inode: int, name: str) -> UnixSocket:
    return UnixSocket(inode, name, seqpacket=False, file=None, queue=3, backlog=4, uid=33)


def bound(inode: int, port: int = 53, **changes: Any) -> UdpSocket:
    sock = UdpSocket(
        *(inode, "ipv4", "127.0.0.1", port, "10.0.0.1", 9, 33, 768, 4096, inode % 10),
        v6only=None,
        device="eth0",
    )
    return replace(sock, **changes)


def test_udp_sockets_have_the_facts_of_their_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    sockets = {OWN: (bound(11), bound(20)), OTHER: (bound(12),), THIRD: (bound(13), bound(14, 9))}
    monkeypatch.setattr(receivers, "Holding", Fake)
    monkeypatch.setattr(receivers, "udp_sockets", lambda path: sockets[int((path or "/1")[1:])])
    member = Member(11, 4, 2, "ebpf", Program(3, "p"))
    queues = (Queue(11, 7, member),)
    there = {"/5": (Queue(12, 0, None),)}
    monkeypatch.setattr(receivers, "call_inside", lambda path, _: there.get(path, ()))
    monkeypatch.setattr(Fake, "closed", 0)
    reader = ReceiverReader(Filters(ports=frozenset({53}), pids=frozenset({1})), lambda: queues)
    held = cast("Fake", reader._holding)
    mine = (Holder(1, 1, "w", "w", 3, True),)
    held.held = {11: mine, 12: mine, 20: (replace(mine[0], pid=2),)}
    found = reader.read()
    one, two = found.sockets
    assert found.others == {13, 20}
    assert (one.inode, one.netns, one.queue, one.group, one.group_size) == (11, OWN, 7, 4, 2)
    assert (one.selector, one.program, one.holders) == ("ebpf", Program(3, "p"), mine)
    assert (one.remote_address, one.remote_port, one.uid, one.drops) == ("10.0.0.1", 9, 33, 1)
    assert (one.queue_bytes, one.queue_limit_bytes, one.device) == (768, 4096, "eth0")
    assert (two.inode, two.netns, two.queue, two.group, two.selector) == (12, OTHER, 0, None, None)
    reader.read(full=True)
    assert held.asks == [(False, frozenset()), (True, frozenset({OWN, OTHER, THIRD}))]
    assert held.finished == [([11, 20, 12, 13], False), ([11, 20, 12, 13], True)]
    assert held.begun == [(False, frozenset()), (True, frozenset())]
    baseline = reader.baseline()
    assert baseline.sockets == {11, 12, 13, 14, 20}
    assert baseline.namespaces[OWN] == NamespaceCount(OWN, {11: 1})
    assert held.asks[2:] == [(True, frozenset())]
    assert held.begun[2:] == [(False, frozenset())]


def test_a_namespace_that_may_not_be_entered_shows_no_queues(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(receivers, "Holding", Fake)
    monkeypatch.setattr(Fake, "ask", lambda *_: [(THIRD, (bound(13),))])
    (row,) = ReceiverReader(Filters(), lambda: (Queue(13, 7, None),)).read().sockets
    assert (row.inode, row.queue) == (13, None)
