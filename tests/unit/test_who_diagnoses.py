"""What `who` finds wrong with a port: each word where it holds, and not where it does not."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from accepttrace.facts.kin import Kin, NetSettings, Surroundings
from accepttrace.facts.places import pod_of, unit_of
from accepttrace.facts.records import Holder, Inventory, Listener, Options, Program, Unread
from accepttrace.model.who.diagnoses import diagnoses, holders_of
from accepttrace.model.who.diagnosis import ADVICE, KINDS, Diagnosis
from accepttrace.model.who.families import families
from accepttrace.model.who.programs import program_of
from accepttrace.model.who.tree import answer
from accepttrace.model.who.ways import way_of
from accepttrace.views.explanations import find
from accepttrace.views.who.diagnoses import diagnosis_lines
from accepttrace.views.who.holders import Style, holder_lines
from accepttrace.views.who.objects import json_lines

SETTINGS = {1: NetSettings(4096, True)}


def process(
    pid: int, name: str = "nginx: worker", waits: bool | None = True, start: int = 1000, fd: int = 6
) -> Holder:
    return Holder(pid, start, name[:15], name, fd, waits, "/a.service")


def kin(pid: int, parent: int = 1, session: int = 0, start: int = 1000, **more: Any) -> Kin:
    return Kin(pid, start, "nginx", parent, session or pid, 33, "0-3")._replace(**more)


def around(*processes: Kin, settings: dict[int, NetSettings] = SETTINGS) -> Surroundings:
    return Surroundings({one.pid: one for one in processes}, {0: "root"}, settings, {}, 100_000)


def sock(inode: int, *holders: Holder, **changes: Any) -> Listener:
    one = Listener(
        inode, 1, "ipv4", "127.0.0.1", 80, 511, 0, "shared", None, None, None, holders, 0
    )
    return replace(one, **changes)


def group(*members: Listener, **changes: Any) -> tuple[Listener, ...]:
    facts = {"sharing": "reuseport", "group": 3, "group_size": len(members), "selector": "hash"}
    return tuple(
        replace(one, options=Options(True, False, 0, None, place), **facts | changes)  # type: ignore[arg-type]
        for place, one in enumerate(members)
    )


def found(
    rows: tuple[Listener, ...], near: Surroundings, unread: tuple[Unread, ...] = ()
) -> tuple[Diagnosis, ...]:
    return diagnoses(answer(Inventory(rows, unread), near))


def kinds(rows: tuple[Listener, ...], near: Surroundings) -> list[str]:
    return [one.kind for one in found(rows, near)]


TWO = around(kin(1, 0, 1), kin(9, 1), kin(10, 9, 9), kin(11, 9, 9))


def test_healthy_servers_have_none() -> None:
    master = process(9, "nginx: master", waits=False)
    shared = (sock(1, master, process(10), process(11)),)
    assert kinds(shared, TWO) == []
    assert kinds(group(sock(1, master, process(10)), sock(2, master, process(11))), TWO) == []
    assert kinds((sock(1, process(10)),), TWO) == []


def test_who_descends_from_another_is_of_its_family_whatever_it_is_called() -> None:
    near = {one.pid: one for one in (kin(9, 1, 9), kin(10, 9, 10), kin(11, 1, 11))}
    found = families([process(9, "a"), process(10, "b"), process(11, "c", start=5)], near)
    assert [[one.pid for one in some] for some in found or ()] == [[11], [9, 10]]


def test_each_process_is_named_once_with_the_socket_that_it_waits_on() -> None:
    idle, waits = process(10, waits=False, fd=6), process(10, fd=7)
    for order in ((idle, waits), (waits, idle)):
        rows = group(*(sock(inode, one) for inode, one in enumerate(order, 1)))
        (one,) = answer(Inventory(rows), TWO).groups
        assert holders_of(one) == [waits]


def test_a_member_that_nobody_waits_on_is_a_black_hole_though_its_process_works_elsewhere() -> None:
    rows = group(
        sock(1, process(10)), sock(2, process(10, waits=False), queue=40), sock(3, process(11))
    )
    (one,) = found(rows, TWO)
    assert (one.kind, one.inodes, one.pids, one.is_fault) == ("NOBODY WAITS", (2,), (10,), True)
    assert one.text == (
        "socket 2, 1 of 3 of the group: nobody waits on it; 33% of all new connections go there"
        " and wait for ever, 40 now; held by nginx: worker (pid 10) (at work on other sockets)"
    )
    unsure = group(sock(1, process(10)), sock(2, process(10, waits=None)))
    assert kinds(unsure, TWO) == []
    dead = group(sock(1, process(10)), *(sock(i, process(11, waits=False)) for i in (2, 3)))
    (one,) = found(dead, TWO)
    assert one.text.startswith("sockets 2, 3, 2 of 3 of the group: nobody waits on them; 67% of")


def test_of_a_lone_socket_nobody_need_be_found_where_not_all_could_be_read() -> None:
    (one,) = found((sock(5, process(10, waits=False)),), TWO)
    assert "nobody waits on it; connections wait for ever" in one.text
    unheld = sock(5, options=Options(False, False, 0, None, None))
    (one,) = found((unheld,), TWO)
    assert one.text.endswith("held by no process that can be found")
    assert found((unheld,), TWO, (Unread("x", "permission denied", 1),)) == ()


def test_nobody_need_wait_on_a_listener_of_the_kernel() -> None:
    its = Options(False, False, 0, None, None, in_kernel=True)
    assert kinds((sock(5, options=its),), TWO) == []
    assert kinds((sock(5),), TWO) == []  # it may be one: that is not known without BPF
    assert kinds((sock(5, family="unix", local_address="@a", local_port=0),), TWO) != []


def test_a_queue_is_full_with_one_more_than_the_backlog() -> None:
    (one,) = found((sock(1, process(10), queue=6, backlog=5),), TWO)
    assert (one.kind, one.inodes) == ("QUEUE FULL", (1,))
    assert one.text.startswith("socket 1: 6 connections wait where backlog 5 lets one more wait")
    assert kinds((sock(1, process(10), queue=5, backlog=5),), TWO) == []
    (one,) = found((sock(1, process(10), queue=1, backlog=0),), TWO)
    assert one.text.startswith("socket 1: 1 connection waits where backlog 0 lets one more wait")
    several = group(*(sock(i, process(10), queue=5 + i, backlog=5) for i in (1, 2)))
    (one,) = found(several, TWO)
    assert one.text.startswith("sockets 1, 2: up to 7 connections wait where backlog 5 lets one")


def test_a_connection_that_waits_long_is_laid_to_those_who_wait() -> None:
    near = around(kin(10, stopped=True), kin(11))
    late = sock(1, process(10), process(12, waits=False), queue=3, oldest_us=1_000_000)
    (one,) = found((late,), near)
    assert (one.kind, one.is_fault, one.inodes, one.pids) == ("WAITS LONG", True, (1,), (10,))
    assert one.text == (
        "socket 1: 3 wait, the oldest for 1.0 s; to be accepted by nginx: worker (pid 10) STOPPED"
    )
    assert kinds((replace(late, oldest_us=999_999),), near) == []
    assert kinds((replace(late, queue=0),), near) == []
    assert kinds((replace(late, holders=(process(12, waits=False),)),), near) == ["NOBODY WAITS"]
    unsure = (replace(late, holders=(process(11), process(12, waits=None)), oldest_us=2_600_000),)
    (one,) = found(unsure, near)
    assert one.text.endswith(
        "for 2.6 s; to be accepted by nginx: worker (pid 11), nginx: worker (pid 12)"
    )
    (one,) = found((replace(unsure[0], holders=(process(12, "sleep", waits=None),)),), near)
    assert one.text.endswith("to be accepted by sleep (pid 12), not seen to wait on it")


def test_of_several_the_longest_wait_is_named() -> None:
    rows = group(
        sock(1, process(10), queue=2, oldest_us=2_000_000),
        sock(2, process(11), queue=5, oldest_us=7_000_000),
        sock(3, process(11), queue=5, oldest_us=9),
    )
    (one,) = found(rows, TWO)
    assert one.text.startswith("sockets 1, 2, 2 of 3 of the group: 7 wait, the oldest for 7.0 s")


@pytest.mark.parametrize(
    ("program", "cpus", "never"),
    [
        ("cpu", 2, (3,)),
        ("cpu modulo 3", 2, (3,)),
        ("cpu modulo 3", 3, ()),
        ("cpu modulo 2", 8, (3,)),
        ("cpu modulo 9", 8, ()),  # the hash chooses where the place is not there
        ("cpu and 0x3", 1, (2, 3)),
        ("cpu", 4, ()),
        ("queue modulo 3", 2, ()),
    ],
)
def test_a_selector_by_cpu_finds_no_more_members_than_there_are_cpus(
    program: str, cpus: int, never: tuple[int, ...]
) -> None:
    three = (sock(inode, process(10)) for inode in (1, 2, 3))
    rows = group(*three, selector="cbpf", program=Program(None, program))
    shown = [one for one in found(rows, replace(TWO, cpus=cpus)) if one.kind == "NEVER SELECTED"]
    assert tuple(inode for one in shown for inode in one.inodes) == never
    assert all(f"returns {program} of {cpus}, and the group has" in one.text for one in shown)


@pytest.mark.parametrize(
    ("program", "never"),
    [
        ("cpu modulo 2", (3,)),
        ("packet hash modulo 3", ()),
        ("packet hash modulo 6", ()),
        ("cpu and 0x1", (3,)),
        ("cpu and 0x5", ()),
        ("member 1", (1, 3)),
        ("member 7", ()),
        ("cpu", ()),
    ],
)
def test_a_classic_selector_may_leave_members_out(program: str, never: tuple[int, ...]) -> None:
    rows = group(
        *(sock(inode, process(10)) for inode in (1, 2, 3)),
        selector="cbpf",
        program=Program(None, program),
    )
    shown = [one for one in found(rows, TWO) if one.kind == "NEVER SELECTED"]
    assert tuple(inode for one in shown for inode in one.inodes) == never


def test_reuseport_set_and_one_socket_for_all() -> None:
    own = Options(True, False, 0, None, 0)
    one = sock(1, process(9, waits=False), process(10), process(11), options=own)
    (told,) = found((one,), TWO)
    assert (told.kind, told.pids) == ("ONE SOCKET", (10, 11))
    assert kinds((replace(one, options=own._replace(reuseport=False)),), TWO) == []
    assert kinds((sock(1, process(10), options=own),), TWO) == []


def test_programs_that_are_not_related_share_a_group() -> None:
    near = around(kin(1, 0, 1), kin(10, 1), kin(20, 1))
    rows = group(sock(1, process(10, "nginx")), sock(2, process(20, "caddy")))
    (one,) = found(rows, near)
    assert (one.kind, one.pids, one.is_fault) == ("FOREIGN PROGRAM", (10, 20), True)
    assert "nginx (pid 10), caddy (pid 20)" in one.text
    forked = (sock(1, process(10, "nginx"), process(12, "nginx")), sock(2, process(20, "caddy")))
    (one,) = found(group(*forked), around(*near.kin.values(), kin(12, 10, 10)))
    assert one.text.endswith(": nginx (pid 10), caddy (pid 20)")
    assert one.pids == (10, 12, 20)
    (one,) = found(group(sock(1, process(10, "a")), sock(2, process(20, "a"))), near)
    assert (one.kind, one.is_fault) == ("SECOND INSTANCE", False)
    siblings = around(kin(1, 0, 1), kin(9, 1), kin(10, 9, 9), kin(11, 9, 9))
    rows = group(sock(1, process(10, "srv-1")), sock(2, process(11, "srv-2")))
    assert kinds(rows, siblings) == []
    assert kinds(rows, around(kin(9, 1), kin(10, 9), kin(11, 9))) == []  # a session for each
    assert kinds(rows, around()) == []  # nothing is known of their ancestry


def test_a_helper_that_inherited_the_listener() -> None:
    near = around(kin(1, 0, 1), kin(9, 1), kin(10, 9, 9), kin(30, 10, 9))
    helper = process(30, "sleep", waits=False)
    rows = (sock(1, process(9, "app", waits=False), process(10, "app"), helper),)
    (one,) = found(rows, near)
    assert (one.kind, one.pids) == ("HELPER HOLDS IT", (30,))
    assert one.text.startswith("sleep (pid 30) inherited the listener and was not seen to wait")
    two = (replace(rows[0], holders=(*rows[0].holders, process(31, "tail", waits=False))),)
    (one,) = found(two, around(*near.kin.values(), kin(31, 10, 9)))
    assert "sleep (pid 30), tail (pid 31) inherited the listener and were not seen" in one.text
    maybe = (sock(1, process(10, "app"), process(30, "sleep", waits=None)),)
    assert kinds(maybe, near) == ["HELPER HOLDS IT"]
    quiet = (sock(1, process(10, "app"), process(30, "app: logger", waits=False)),)
    assert kinds(quiet, near) == []
    above = (sock(1, process(9, "supervisor", waits=False), process(10, "app")),)
    assert kinds(above, near) == []


def test_old_workers_of_a_killed_master() -> None:
    near = around(kin(1, 0, 1), kin(10, 1, 9), kin(11, 1, 9), kin(20, 1), kin(21, 20, 20))
    rows = (sock(1, process(10), process(11)),)
    (one,) = found(rows, near)
    assert (one.kind, one.pids) == ("OLD WORKERS", (10, 11))
    assert [one.kind for one in found((sock(1, process(10)),), near)] == ["OLD WORKERS"]
    assert kinds((sock(1, process(10, "srv")),), near) == []
    inside = around(kin(5, 4, comm="tini"), kin(10, 5, 9), kin(11, 5, 9))
    assert kinds(rows, inside) == ["OLD WORKERS"]
    both = (sock(1, process(10, "srv"), process(11)),)  # one that may be alone, and one that is not
    assert [one.pids for one in found(both, near) if one.kind == "OLD WORKERS"] == [(11,)]
    healthy = (sock(1, process(20, "nginx: master", waits=False), process(21)),)
    assert kinds(healthy, near) == []


def test_backlogs_of_a_group_and_the_limit_of_the_machine() -> None:
    rows = group(sock(1, process(10)), sock(2, process(11), backlog=128))
    (one,) = found(rows, TWO)
    assert (one.kind, one.text) == (
        "MIXED BACKLOGS",
        "the sockets of the group have backlogs of 128, 511",
    )
    low = around(*TWO.kin.values(), settings={1: NetSettings(128, True)})
    assert kinds((sock(1, process(10), backlog=128),), low) == ["BACKLOG CUT"]
    assert kinds((sock(1, process(10), backlog=127),), low) == []
    usual = sock(1, process(10), backlog=4096)
    assert kinds((usual,), TWO) == []
    assert kinds((replace(usual, queue=2048),), TWO) == []
    assert kinds((replace(usual, queue=2049),), TWO) == ["BACKLOG CUT"]
    assert kinds((replace(usual, drops=1),), TWO) == ["BACKLOG CUT"]
    assert kinds((replace(usual, drops=1),), around(*TWO.kin.values(), settings={})) == []


def test_workers_that_may_use_less_than_others() -> None:
    near = around(kin(1, 0, 1), kin(9, 1), kin(10, 9, 9, cpus="0-3"), kin(11, 9, 9, cpus="1,3"))
    rows = group(sock(1, process(10)), sock(2, process(11)))
    (one,) = found(rows, near)
    assert (one.kind, one.text) == ("UNEQUAL PLACES", "its workers may run on 2 to 4 CPUs")
    pinned = around(kin(9, 1), kin(10, 9, 9, cpus="0"), kin(11, 9, 9, cpus="1"))
    assert kinds(rows, pinned) == []
    apart = group(sock(1, process(10)), sock(2, replace(process(11), cgroup="/b")))
    assert [one.text for one in found(apart, pinned)] == [
        "its workers are in 2 control groups: /a.service, /b"
    ]


def test_nothing_moves_when_workers_are_replaced() -> None:
    near = around(
        kin(1, 0, 1),
        kin(9, 1),
        kin(10, 9, 9, 90_000),
        kin(11, 9, 9, 90_000),
        settings={1: NetSettings(4096, False)},
    )
    master = process(9, "nginx: master", waits=False)
    old = group(
        sock(1, master, process(10, start=90_000)), sock(2, master, process(11, start=90_000))
    )
    (one,) = found(old, near)
    assert one.kind == "NO MIGRATION"
    assert one.text.startswith("all workers began 15 minutes after their master")
    soon = group(*(sock(i, master, process(9 + i, start=30_000)) for i in (1, 2)))
    assert kinds(soon, near) == []
    assert kinds(old, around(*near.kin.values())) == []
    unknown = {1: NetSettings(4096, None)}
    assert kinds(old, around(*near.kin.values(), settings=unknown)) == []
    assert kinds(old, around(*near.kin.values(), settings={})) == []
    first = group(sock(1, master, process(10)), sock(2, master, process(11)))
    assert kinds(first, near) == []
    alone = group(*(sock(i, process(9 + i, start=90_000)) for i in (1, 2)))  # each has its own
    assert kinds(alone, near) == ["NO MIGRATION"]
    started = kin(9, 1, comm="supervisord")  # which may have run for long before
    others = (one for one in near.kin.values() if one.pid != 9)
    apart = around(started, *others, settings={1: NetSettings(4096, False)})
    assert kinds(alone, apart) == []


def test_one_program_has_ipv4_and_another_ipv6() -> None:
    near = around(kin(1, 0, 1), kin(10, 1), kin(20, 1))
    four = sock(1, process(10, "four"), local_address="0.0.0.0")
    six = sock(2, process(20, "six"), local_address="::", family="ipv6", v6only=True)
    (one,) = found((four, six), near)
    assert (one.kind, one.pids) == ("TWO PROGRAMS", (10, 20))
    twin = replace(six, holders=(process(20, "four"),))
    assert kinds((four, twin), near) == []
    assert kinds((four, replace(six, local_address="fe80::1")), near) == []
    assert kinds((replace(four, local_address="10.0.0.1"), six), near) == []
    assert kinds((replace(four, device="eth0"), six), near) == []
    for local in ("127.0.0.1", "0.0.0.0"):
        pair = (replace(four, local_address=local), replace(six, local_address="::1"))
        (told,) = found(pair, near)
        assert told.text == (
            "IPv4 of localhost is served by four (pid 10), IPv6 of localhost by six (pid 20)"
        )
    ours = replace(four, inode=3, local_address="127.0.0.1", holders=six.holders)
    assert [one.text for one in found((four, six, ours), near)] == [one.text]
    assert one.text == "IPv4 is served by four (pid 10), IPv6 by six (pid 20)"
    same = replace(six, holders=(process(10, "four"),))
    assert kinds((four, same), near) == []
    assert kinds((four, replace(six, local_port=81)), near) == []
    assert kinds((four, replace(six, netns=2)), near) == []


def test_another_user_has_the_port_beside() -> None:
    near = around(kin(1, 0, 1), kin(10, 1), kin(20, 1))
    whole = sock(1, process(10), local_address="0.0.0.0")
    beside = sock(2, process(20), uid=1001)
    (one,) = found((whole, beside), near)
    assert (one.kind, one.inodes) == ("OTHER OWNER", (1, 2))
    assert "root, uid 1001" in one.text
    assert kinds((whole, replace(beside, uid=0)), near) == []
    assert kinds((replace(whole, local_address="127.0.0.2"), beside), near) == []


@pytest.mark.parametrize(
    ("parents", "fds", "how", "strangers"),
    [
        ({10: 9, 11: 9}, {}, "related", ()),  # their parent has it no more
        ({10: 11, 11: 1}, {}, "inherited", ()),
        ({10: 1, 11: 1}, {}, "passed", (11,)),
        ({10: 9, 11: 9}, {11: 7}, "passed", (11,)),
    ],
)
def test_the_way_a_socket_came_to_others(
    parents: dict[int, int], fds: dict[int, int], how: str, strangers: tuple[int, ...]
) -> None:
    held = sock(1, process(10, "srv 1"), process(11, "srv 2", fd=fds.get(11, 6)))
    sessions = {pid: 9 if parent == 9 else pid for pid, parent in parents.items()}
    near = around(
        kin(1, 0, 1), kin(9, 1), *(kin(pid, up, sessions[pid]) for pid, up in parents.items())
    )
    way = way_of(held, near, partial=False)
    assert (way.how, way.strangers) == (how, strangers)


def test_socket_activation_and_what_is_not_known() -> None:
    near = around(kin(1, 0, 1, comm="systemd"), kin(10, 1))
    by_init = sock(1, process(1, "systemd", waits=False), process(10))
    assert (way_of(by_init, near, False).how, way_of(by_init, near, False).source) == (
        "activated",
        1,
    )
    near = around(kin(1, 0, 1), kin(5, 1, comm="systemd-socket-"), kin(10, 5))
    assert way_of(sock(1, process(5), process(10)), near, False).source == 5
    fake = around(kin(1, 0, 1), kin(5, 1, comm="systemd"), kin(10, 1))
    assert way_of(sock(1, process(5), process(10)), fake, False).how == "passed"
    assert way_of(by_init, Surroundings(), False).how is None
    assert way_of(by_init, around(kin(10, 1)), False).how is None
    assert way_of(sock(1, process(10)), near, False).how == "sole"
    assert way_of(sock(1, process(10)), near, True).how is None


def test_who_has_ended_meanwhile_hides_no_way() -> None:
    near = around(kin(9, 1), kin(10, 9, 9))
    found = way_of(sock(1, process(9), process(10), process(11)), near, False)
    assert (found.how, found.source) == ("inherited", 9)


def test_a_circle_of_parents_has_an_end() -> None:
    near = around(kin(10, 11), kin(11, 10))
    assert way_of(sock(1, process(10), process(11)), near, False).how == "related"
    assert families([process(10), process(11)], near.kin) is not None


@pytest.mark.parametrize(
    ("name", "program"),
    [
        ("nginx: worker", "nginx"),
        ("lab worker 2", "lab"),
        ("srv-3", "srv"),
        ("php-fpm", "php-fpm"),
        ("7", "7"),
        ("", "comm"),
    ],
)
def test_names_of_programs(name: str, program: str) -> None:
    assert program_of(Holder(1, 1, "comm", name, 3, True)) == program


def test_a_name_cannot_fill_the_screen() -> None:
    (one,) = found((sock(1, process(10, "x" * 4000, waits=False)),), TWO)
    assert len(one.text) < 300


def test_the_pod_and_the_unit_of_a_control_group() -> None:
    uid = "0a1b2c3d-1111-2222-3333-444455556666"
    for path in (f"/kubepods/burstable/pod{uid}/ab", f"/a-pod{uid.replace('-', '_')}.slice/x"):
        assert pod_of(path) == uid
    assert (pod_of("/podman"), pod_of(None), unit_of("/a.slice"), unit_of(None)) == (None,) * 4
    assert unit_of("/system.slice/ssh.service/x") == "ssh.service"
    held = replace(process(10), pod=uid)
    assert "  pod 0a1b2c3d" in " ".join(holder_lines([held], TWO, Style(80)))


def test_every_word_has_its_advice_and_is_explained() -> None:
    assert set(ADVICE) == set(KINDS)
    for kind in KINDS:
        assert ADVICE[kind].means in [one.means for one in find(kind)]


def test_lines_and_objects() -> None:
    idle = process(10, "x\x1b", waits=False)
    rows = tuple(sock(port, idle, local_port=port) for port in range(1, 21))
    shown = list(diagnosis_lines(found(rows, TWO), Style(80), {}))
    assert all(len(line) <= 80 and "\x1b" not in line for line in shown)
    assert sum(line.startswith("NOBODY WAITS") for line in shown) == 16
    assert sum(line.startswith("  -> ") for line in shown) == 1
    assert shown[-1] == "4 more findings: --full, or -o jsonl"
    full = list(diagnosis_lines(found(rows, TWO), Style(80, full=True), {1: "netns blue"}))
    assert sum(line.startswith("NOBODY WAITS") for line in full) == 20
    assert full[0].startswith("NOBODY WAITS 127.0.0.1:1 netns blue socket 1: nobody waits on it")
    lines = [json.loads(line) for line in json_lines(answer(Inventory(rows), TWO))]
    told = [one for one in lines if one["type"] == "diagnosis"]
    assert len(told) == 20
    assert (told[0]["kind"], told[0]["local_port"], told[0]["pids"]) == ("NOBODY WAITS", 1, [10])
