"""Stored answers of `who`, for people and as JSON Lines: the whole of what is said of a case."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from accepttrace.facts.binding import Attempt
from accepttrace.facts.kin import Kin, NetSettings, Surroundings
from accepttrace.facts.records import Holder, Inventory, Listener, Options, Program, Unread
from accepttrace.model.who.binding import finding
from accepttrace.model.who.lookup import look_up, packets
from accepttrace.model.who.tree import answer
from accepttrace.views.who import objects, to, tree, why
from accepttrace.views.who.holders import Style
from accepttrace.views.who.to import Asked
from tests.unit.test_table import WRITE
from tests.unit.test_who import group_of, nginx, row
from tests.unit.test_who_asks import HERE, WISH, listener, member, used, user

STORED = Path(__file__).parent / "snapshots_who"
NOTHING_MORE = Asked()
UNREAD = (Unread("app", "permission denied", 12),)


def holder(pid: int, name: str = "app", waits: bool | None = True) -> Holder:
    return Holder(pid, pid, name[:15], name, 6, waits, waits_in="epoll" if waits else None)


def shown(lines: Iterable[str], machine: Iterable[str]) -> str:
    return "\n".join([*lines, "", *(line.rstrip("\n") for line in machine), ""])


def asked_to(rows: list[Listener], asked: Asked = NOTHING_MORE, device: str | None = None) -> str:
    answers = [look_up(packet, rows) for packet in packets(HERE, 80, rows, device=device)]
    return shown(to.text_lines(answers, asked), to.json_lines(answers, asked))


def several_places() -> str:
    """A group, a socket of IPv6 alone, one of a device, one of another namespace, a mapped one."""
    own = Options(True, False, 0, 3, None)
    rows = [member(n, holders=(holder(n), holder(n + 50, "helper", False))) for n in (1, 2, 3)]
    rows += [
        listener(10, "::", v6only=True, holders=(holder(7),)),
        listener(11, "10.0.0.1", device="eth0", queue=11, holders=(holder(8, waits=False),)),
        listener(12, "::ffff:10.0.0.2", v6only=False, options=own),
        listener(13, "10.0.0.3", netns=2, holders=(holder(9),)),
    ]
    return asked_to(rows)


def chosen_by(selector: str, program: Program | None = None) -> str:
    own = [Options(True, False, 0, cpu, cpu) for cpu in range(10)]
    rows = [
        member(n, selector=selector, program=program, options=own[n], holders=(holder(n),))
        for n in range(10)
    ]
    asked = Asked(client="10.9.9.9", guessed=True, programs=(Program(7, "steer"),), unread=UNREAD)
    return asked_to(rows, asked, "eth0")


def suspected() -> str:
    """Lone sockets that may have set SO_REUSEPORT, and ask for a CPU."""
    rows = [listener(1), listener(2, device="eth0"), listener(3, "::", v6only=False)]
    return asked_to(rows, Asked(programs=None), "eth0")


def asked_why(*attempts: Attempt, **facts: object) -> str:
    """Sockets of every use in the way, and one that is not."""
    peer = {"remote_address": "10.0.0.9", "remote_port": 4000}
    users = [
        user(inode=5, holders=(holder(5), holder(6)), reuseport=False),
        user("bound", "127.0.0.1", inode=6, uid=7),
        *(user("connected", "10.0.0.1", inode=n, **peer) for n in (7, 8)),
        user("time_wait", "10.0.0.2", inode=0, uid=None, remote_address="10.0.0.9", remote_port=1),
        user("listens", "2001:db8::1", inode=9, uid=7, device="eth0"),
    ]
    wish = replace(WISH, uid=7)
    use = replace(used(*users, first=1024), reserved=True, unread=UNREAD)
    found = finding(wish, replace(use, **facts), attempts)  # type: ignore[arg-type]
    return shown(why.text_lines(found), [why.json_line(found)])


def refused() -> str:
    wish = replace(WISH, uid=7)
    in_use = errno.EADDRINUSE
    return asked_why(
        Attempt(wish, in_use),
        Attempt(replace(wish, reuseaddr=True), in_use),
        Attempt(replace(wish, reuseport=True), errno.EACCES),
        Attempt(replace(wish, reuseport=True, uid=0), 0),
        Attempt(replace(wish, reuseport=True, reuseaddr=True, uid=0), 0),
        Attempt(replace(wish, reuseport=True, uid=9), None),
    )


def free() -> str:
    found = finding(WISH, used(), [Attempt(WISH, 0)])
    return shown(why.text_lines(found), [why.json_line(found)])


def listed(rows: Iterable[Listener], around: Surroundings, full: bool = False) -> str:
    found = answer(Inventory(tuple(rows), UNREAD), around)
    return shown(tree.text_lines(found, ":80", Style(100, full)), objects.json_lines(found))


def all_kinds() -> str:
    """A shared socket with a helper, one of strangers, a lone one, a group with a dead member."""
    kin = {
        pid: Kin(pid, 1000 + pid, "app", parent, session, 33, "0-3")
        for pid, parent, session in ((9, 1, 9), (10, 9, 9), (11, 9, 9), (30, 10, 9), (40, 1, 40))
    }
    around = Surroundings(
        {1: Kin(1, 0, "systemd", 0, 1, 0, "0-3"), **kin},
        {0: "root", 33: "www-data"},
        {1: NetSettings(511, False)},
        {7: True, 8: False},
        2_000_000,
    )
    master, one, two = holder(9, "app: master", False), holder(10), holder(11)
    shared = {"sharing": "shared", "group_size": None}
    rows = [
        row(7, holders=(master, one, two, holder(30, "sleep", False)), **shared),
        row(8, local_port=81, holders=(one, holder(40, "other")), oldest_us=2_500_000, **shared),
        row(9, local_port=82, holders=(one,), sharing="sole", group_size=None, queue=600),
        *group_of(2, local_port=83, holders=(one,), selector="hash"),
        row(20, local_port=84, group=4, holders=(one,), options=Options(True, True, 3, 2, 0)),
        row(
            21,
            local_port=84,
            group=4,
            holders=(replace(two, waits=False),),
            queue=40,
            options=Options(True, False, 0, None, 1),
        ),
    ]
    return listed(rows, around)


ANSWERS: dict[str, Callable[[], str]] = {
    "to-several-places": several_places,
    "to-incoming-cpu": lambda: chosen_by("incoming_cpu"),
    "to-bpf": lambda: chosen_by("ebpf", Program(3, "pick")),
    "to-suspected": suspected,
    "to-nobody": lambda: asked_to([listener(1, netns=2)], Asked(unread=UNREAD)),
    "to-elsewhere": lambda: asked_to([], Asked(route="10.0.0.1 is not local", client="::1")),
    "why-refused": refused,
    "why-derived": lambda: asked_why(exact=False, complete=False),
    "why-free": free,
    "listed": all_kinds,
    "listed-nginx": lambda: listed(*nginx(4)),
    "listed-nginx-full": lambda: listed(*nginx(3), full=True),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_the_answer_is_the_stored_one(name: str) -> None:
    found, path = ANSWERS[name](), STORED / f"{name}.txt"
    if WRITE:
        path.write_text(found)
    assert found == path.read_text()


def test_no_stored_answer_is_left_over() -> None:
    assert {path.stem for path in STORED.iterdir()} == set(ANSWERS)
