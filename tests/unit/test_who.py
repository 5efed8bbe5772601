"""`accepttrace who`: its options, its lines, its JSON; over real sockets where it matters."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

import accepttrace
import accepttrace.views
from accepttrace.cli.who import who
from accepttrace.facts.kin import Kin, Surroundings
from accepttrace.facts.records import Came, Holder, Inventory, Listener, Options, Program
from accepttrace.model.who.diagnosis import KINDS
from accepttrace.model.who.tree import answer
from accepttrace.sockets import procfs
from accepttrace.views.unread import sentence
from accepttrace.views.who.holders import (
    Member,
    Style,
    few_ranges,
    member_lines,
    members_of,
    user,
)
from accepttrace.views.who.objects import json_lines
from accepttrace.views.who.tree import text_lines

from .pictures import UNREAD
from .timing import processor_s

T = TypeVar("T")

SOURCE = Path(accepttrace.__file__).resolve().parents[1]


@pytest.mark.parametrize(
    "arguments",
    [["-p", "http"], ["--pid", "4194305"], ["--netns", "no-such"], ["--address", "x"], ["--no"]],
)
def test_wrong_usage_is_one_clear_line_and_status_2(arguments: list[str]) -> None:
    result = CliRunner().invoke(who, arguments)
    assert result.exit_code == 2
    assert result.output.splitlines()[-1].startswith("Error: ")
    assert "Traceback" not in result.output


def test_nobody_is_an_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    result = CliRunner().invoke(who, ["-p", str(port)])
    assert result.exit_code == 0
    assert result.output.splitlines()[0] == f"nobody listens on :{port}"


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        ((), ""),
        (("/a",), " on TCP; /a: UNIX sockets, see --unix"),
        (("/a", "/b", "/c"), " on TCP; /a, /b, /c: UNIX sockets, see --unix"),
        (("/a", "/b", "/c", "/d"), " on TCP; /a, /b, /c and 1 more: UNIX sockets, see"),
        (tuple("abcdef"), " on TCP; a, b, c and 3 more: UNIX sockets, see --unix"),
    ],
)
def test_where_a_process_listens_instead_is_said(names: tuple[str, ...], shown: str) -> None:
    (line,) = text_lines(answer(Inventory(unix=names), Surroundings()), "pid 12", Style(80))
    assert line.startswith(f"nobody listens (pid 12){shown}")
    assert bool(shown) or line.endswith("(pid 12)")


def test_shows_who_shares_a_socket() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=6) as sock:
        pid = os.fork()
        if pid == 0:
            signal.pause()
            os._exit(0)
        try:
            port = sock.getsockname()[1]
            inode = os.fstat(sock.fileno()).st_ino
            result = CliRunner().invoke(who, ["-p", str(port)])
            lines = CliRunner().invoke(who, ["-p", str(port), "-o", "jsonl"])
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    one = " ".join(result.output.split())
    assert one.startswith(f"127.0.0.1:{port} inode {inode} queue 0, backlog 6 owner ")
    assert f" shared by 2 processes likely inherited from {os.getpid()} " in one
    assert f"  {pid}  " in result.output
    row = json.loads(lines.output.splitlines()[0])
    assert (row["type"], row["inode"], row["sharing"]) == ("listener", inode, "shared")
    assert (row["way"], row["way_from"]) == ("inherited", os.getpid())
    assert {holder["pid"] for holder in row["holders"]} == {os.getpid(), pid}
    assert row["accepted"] is None


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_an_ordinary_user_is_told_what_is_missing() -> None:
    code = (
        "import os, sys\n"
        "import accepttrace.sockets.inventory, accepttrace.views.who.tree\n"
        "from accepttrace.cli.who import who\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "who(sys.argv[1:])\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-c", code, "-p", str(port)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
        )
    assert done.returncode == 0
    assert re.fullmatch(
        r"[\d,]+ process(es)? could not be read \(PID 1 .*: permission denied\)\n",
        done.stderr,
    )
    assert "held by nobody visible" in done.stdout
    threads = [pid for pid in procfs.pids() if exists(pid) and procfs.is_kernel_thread(pid)]
    if 2 in threads:
        assert "PID 2 " not in done.stderr  # it has no files


def exists(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").exists()


def test_watch_shows_what_changes_until_it_is_ended() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port, inode = str(sock.getsockname()[1]), os.fstat(sock.fileno()).st_ino
        words = (sys.executable, "-m", "accepttrace", "who", "-p", port, "--watch", "-i", "0.1")
        with subprocess.Popen(
            (*words, "-o", "jsonl"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            assert process.stdout is not None
            seen: list[dict[str, Any]] = []
            for line in process.stdout:
                seen.append(json.loads(line))
                if seen[-1]["type"] == "summary":
                    if seen[-1]["listeners"] == 0:
                        break
                    sock.close()
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
    assert [one["type"] for one in seen[:1]] == ["listener"]
    (closed,) = (one for one in seen if one["type"] == "diagnosis")
    assert (closed["kind"], closed["local_port"]) == ("CLOSED", int(port))
    assert (closed["inodes"], closed["pids"]) == ([inode], [os.getpid()])
    times = [one["time"] for one in seen if one["type"] == "summary"]
    before, after = (f"{one[11:19]}Z" for one in times[-2:])
    assert f"has closed between {before} and {after}; it was held by " in closed["text"]
    assert closed["text"].endswith("; none left there")
    assert len(times) > 1
    assert times == sorted(set(times))


def holder(pid: int, name: str = "nginx: worker", waits: bool | None = True) -> Holder:
    return Holder(pid, 1, "nginx", name, 6, waits, waits_in="epoll" if waits else None)


def lettered(pid: int) -> str:
    """A name for each: those that differ by a number alone are one."""
    return f"n{chr(97 + (pid - 20) // 26)}{chr(97 + (pid - 20) % 26)}"


def row(inode: int = 7, **changes: object) -> Listener:
    values: dict[str, object] = {
        "netns": 1,
        "family": "ipv4",
        "local_address": "0.0.0.0",
        "local_port": 80,
        "backlog": 511,
        "queue": 2,
        "sharing": "reuseport",
        "group": None,
        "group_size": 2,
        "selector": None,
        "holders": (holder(10),),
        "uid": 0,
    }
    return Listener(inode=inode, **(values | changes))  # type: ignore[arg-type]


AROUND = Surroundings()


def text(
    *rows: Listener, partial: bool = False, around: Surroundings = AROUND, full: bool = False
) -> list[str]:
    found = answer(Inventory(rows, UNREAD if partial else ()), around)
    lines = list(text_lines(found, ":80", Style(80, full)))
    assert all(len(line) <= 80 for line in lines)
    told = [number for number, line in enumerate(lines) if line.startswith(KINDS)]
    return lines[: min(told, default=len(lines))]  # the tree: test_who_diagnoses has the rest


def group_of(size: int, **changes: object) -> list[Listener]:
    return [
        row(10 + place, group=3, group_size=size, options=options(place), **changes)
        for place in range(size)
    ]


def options(place: int | None = None, **changes: object) -> Options:
    return Options(True, False, 0, None, place)._replace(**changes)  # type: ignore[arg-type]


def nginx(workers: int) -> tuple[list[Listener], Surroundings]:
    """With reuseport: every worker holds every socket, and waits on its own."""
    pids = range(101, 101 + workers)
    kin = {pid: Kin(pid, 1000, "nginx", 100, 100, 33, "0-7") for pid in pids}
    kin[100] = Kin(100, 900, "nginx", 1, 100, 0, "0-7")
    rows = []
    for place, pid in enumerate(pids):
        holders = [holder(100, "nginx: master", waits=False)]
        holders += [holder(one, waits=one == pid) for one in pids]
        own = options(place)
        rows.append(
            row(500 + place, group=3, group_size=workers, holders=tuple(holders), options=own)
        )
    same = dict.fromkeys((each.inode for each in rows), True)
    return rows, Surroundings(kin, {0: "root", 33: "www-data"}, {}, same, 7300)


def test_64_workers_with_64_sockets_are_a_few_lines() -> None:
    rows, around = nginx(64)
    assert text(*rows, around=around) == [
        "0.0.0.0:80  64 reuseport sockets of group 3",
        "  1-64 of 64  inodes 500-563  queues 2, backlog 511  owner root",
        "      likely inherited from 100 nginx: master  one open file (kcmp)",
        "    waits  64 x  nginx: worker  epoll  on 1, has all 64  up 1m12s  www-data",
        "           parent 100  pids 101-164",
        "    holds   100  nginx: master  all 64  up 1m12s  root  parent 1",
    ]
    assert len(text(*rows, around=around, full=True)) > 64 * 65


def test_a_socket_on_which_nobody_waits_does_not_fold_with_the_others() -> None:
    rows, around = nginx(8)
    dead = replace(rows[5], holders=(holder(100, "nginx: master", waits=False),), queue=40)
    rows[5] = dead
    lines = text(*rows, around=around)
    assert lines[1].startswith("  1-5, 7-8 of 8  inodes 500-504, 506-507")
    alone = next(n for n, line in enumerate(lines) if line.startswith("  6 of 8  inode 505"))
    assert "queue 40" in lines[alone]
    assert lines[alone + 1].split()[:2] == ["holds", "100"]


def test_numbers_the_members_of_a_reuseport_group() -> None:
    assert text(row(7), row(8, backlog=5)) == [
        "0.0.0.0:80  2 reuseport sockets",
        "  1 of 2  inode 7  queue 2, backlog 511  owner uid 0",
        "    waits  10  nginx: worker  fd 6  epoll",
        "  2 of 2  inode 8  queue 2, backlog 5  owner uid 0",
        "    waits  10  nginx: worker  fd 6  epoll",
    ]
    rows = group_of(2, selector="cbpf")
    assert text(*reversed(rows))[0] == "0.0.0.0:80  2 reuseport sockets of group 3 by cbpf"
    assert text(*reversed(rows))[1].startswith("  1 of 2  inode 10")
    assert text(rows[1])[:2] == [
        "0.0.0.0:80  inode 11  queue 2, backlog 511  owner uid 0",
        "    reuseport 2 of 2 by cbpf  one process",
    ]


def test_says_what_two_groups_on_one_port_mean() -> None:
    four = row(7, sharing="sole", group_size=None)
    six = row(8, sharing="sole", group_size=None, family="ipv6", local_address="::")
    lines = text(four, six)
    assert "[::]:80" in lines[2]
    assert " ".join(line.strip() for line in lines[-2:]) == (
        "note: :80 has 2 groups (by family, address); the kernel balances within a group, "
        "never between them"
    )
    inside = row(9, sharing="sole", group_size=None, netns=2)
    assert "(by netns)" in " ".join(text(four, inside)[-2:])
    assert "  netns 2  " in text(four, inside)[2]


def test_a_namespace_that_is_not_ours_is_named() -> None:
    alone = row(sharing="sole", group_size=None, netns=2)
    called = Surroundings(netns=1, namespaces={2: "bl\x1bue"})
    for around, head in (
        (AROUND, "0.0.0.0:80  inode"),
        (Surroundings(netns=2), "0.0.0.0:80  inode"),
        (Surroundings(netns=1), "0.0.0.0:80  netns 2  inode"),
        (called, "0.0.0.0:80  netns bl?ue  inode"),
    ):
        assert text(alone, around=around)[0].startswith(head)
    both = text(replace(alone, inode=8, netns=1), alone, around=called)
    heads = [line.partition("  inode")[0] for line in both if line.startswith("0.0.0.0:80")]
    assert heads == ["0.0.0.0:80  netns 1", "0.0.0.0:80  netns bl?ue"]


def test_who_holds_nothing_of_a_group_is_said_of_each_socket() -> None:
    unheld = group_of(3, holders=(), queue=0)
    assert text(*unheld, partial=True)[1:] == [
        "  1-3 of 3  inodes 10-12  queues 0, backlog 511  owner uid 0",
        "      held by nobody visible",
    ]
    assert text(*unheld[:2], partial=True)[2].endswith("uid 0  held by nobody visible")


def test_what_only_bpf_shows_is_said_to_be_missing() -> None:
    alone = Inventory((row(sharing="shared", holders=(holder(1), holder(2))),))
    lines = list(text_lines(answer(alone, AROUND, "no permission"), ":80", Style(80)))
    assert "n/a without BPF (no permission): groups" in " ".join(lines)
    assert "n/a" not in " ".join(text_lines(answer(alone, AROUND), ":80", Style(80)))


def test_names_the_device_and_says_who_serves_ipv4_too() -> None:
    lines = text(
        row(7, family="ipv6", local_address="::", v6only=False, device="eth0", sharing="sole"),
        row(8, family="ipv6", local_address="::", v6only=True, sharing="sole"),
        row(9, family="ipv6", local_address="::", sharing="sole"),
    )
    heads = [line for line in lines if line.startswith("[")]
    assert heads[0].startswith("[::]%eth0:80  IPv4 too  inode 7  queue")
    assert heads[1].startswith("[::]:80  IPv6 only  inode 8  queue")
    assert heads[2].startswith("[::]:80  inode 9  queue")
    assert "by device" in " ".join(lines[-2:])


def test_options_that_change_who_gets_what_are_named() -> None:
    own = options(mptcp=True, fast_open=16, incoming_cpu=3)
    shown = " ".join(text(row(sharing="sole", options=own, defers=True, queue=600, oldest_us=1500)))
    for word in ("TCP_DEFER_ACCEPT", "MPTCP", "Fast Open 16", "SO_INCOMING_CPU 3", "FULL"):
        assert word in shown
    assert "queue 600, backlog 511, oldest waits 1.5ms" in shown
    assert "oldest" not in " ".join(text(row(queue=0, oldest_us=1500)))


def test_a_listener_of_the_kernel_waits_for_nobody() -> None:
    its = row(sharing="sole", holders=(), options=options(reuseport=False, in_kernel=True))
    lines = list(text_lines(answer(Inventory((its,)), AROUND), ":80", Style(80)))
    assert lines == [
        "0.0.0.0:80  inode 7  queue 2, backlog 511  owner uid 0",
        "    held by the kernel itself (NFS, SMB, MPTCP or another service of it)",
    ]


def test_unknown_is_not_zero() -> None:
    lines = text(
        row(backlog=None, queue=None, sharing=None, group_size=None, uid=None), partial=True
    )
    assert lines[0].endswith("inode 7  queue n/a, backlog n/a  one process, as far as can be seen")
    unseen = text(row(holders=(holder(1, waits=None),)))
    assert unseen[-1] == "  ?  1  nginx: worker  fd 6  not seen to wait"


def test_many_alike_take_one_line_and_many_others_are_counted() -> None:
    idle = tuple(holder(pid, waits=False) for pid in range(20, 84))
    lines = text(row(holders=(holder(10), *idle)))
    assert lines[2:] == [
        "  waits    10  nginx: worker  fd 6  epoll",
        "  holds  64 x  nginx: worker  pids 20-83",
    ]
    others = tuple(holder(pid, lettered(pid), waits=False) for pid in range(20, 84))
    lines = text(row(holders=(holder(10), *others)))
    assert lines[-1] == "  holds  49 more: nap, naq, nar, nas and 45 more"
    assert len(lines) < 24


def test_workers_that_number_themselves_are_alike() -> None:
    rows, around = nginx(4)
    named = [
        replace(
            each,
            holders=tuple(replace(one, name=f"app {one.pid - 100}") for one in each.holders[1:]),
        )
        for each in rows
    ]
    lines = text(*named, around=around)
    assert [line for line in lines if line.startswith("    waits")] == [
        "    waits  4 x  app *  epoll  on 1, has all 4  up 1m12s  www-data  parent 100"
    ]


def test_generations_are_apart() -> None:
    old = tuple(replace(holder(pid), start_ticks=1_000) for pid in range(20, 24))
    new = tuple(replace(holder(pid), start_ticks=90_000) for pid in range(30, 34))
    lines = text(row(holders=(*old, *new)), around=Surroundings(now_ticks=100_000))
    assert [line.split("  up ")[1].split()[0] for line in lines if "  up " in line] == [
        "16m30s",
        "1m40s",
    ]


def test_a_name_cannot_write_to_the_terminal() -> None:
    lines = text(row(holders=(holder(10, name="\x1b[2Jx"),)))
    assert "?[2Jx" in lines[-1]


def test_json_has_every_name_of_the_contract() -> None:
    line, *_ = json_lines(answer(Inventory((row(),)), AROUND))
    assert set(json.loads(line)) >= set(
        "type inode netns family local_address local_port device v6only backlog queue queue_max "
        "arrived accepted "
        "selected dropped_overflow lost_on_close migrated_in migrated_out sharing group group_size "
        "selector holders partial unread".split()
    )


def test_what_could_not_be_read_is_named() -> None:
    assert sentence(UNREAD) == "1 process could not be read (PID 1 systemd: permission denied)"


def test_listeners_by_the_thousand_are_answered_at_once() -> None:
    """Each on a port of its own: none may be held against all others.

    30,000 take 0.7 s; a busy machine is slow with fewer as well.
    """
    some, many = crowd(10_000), crowd(30_000)
    assert any(took_s(said, many) < 5 * took_s(said, some) for _ in range(3))
    lines = said(many)
    assert len(lines) == 2 * len(many) + 2
    assert lines[-2].startswith("note: :80 has 2 groups (by address)")


@pytest.mark.parametrize("parent", [lambda _: 99, lambda pid: pid - 1], ids=["workers", "chain"])
def test_a_socket_of_thousands_is_answered_at_once(parent: Callable[[int], int]) -> None:
    """None of its holders may be held against all others."""

    def told(count: int) -> list[str]:
        pids = range(100, 100 + count)
        held = tuple(Holder(pid, pid, "app", "app", 3, True) for pid in pids)
        kin = {pid: Kin(pid, pid, "app", parent(pid), 50, 0, "0") for pid in pids}
        row = Listener(7, 1, "ipv4", "0.0.0.0", 80, 5, 0, "shared", None, None, None, held)
        return list(text_lines(answer(Inventory((row,)), Surroundings(kin)), "", Style(80)))

    assert any(took_s(told, 6_000) < 5 * took_s(told, 2_000) for _ in range(3))
    assert told(6_000)[0].endswith("shared by 6000 processes")


def took_s(work: Callable[[T], object], argument: T) -> float:
    return processor_s(lambda: work(argument))


def crowd(size: int) -> tuple[Listener, ...]:
    """So many listeners, and one more on the port of another."""
    held = (Holder(1, 1, "server", "server", 3, True),)
    many = tuple(
        Listener(n, 1, "ipv4", "127.0.0.1", n, 5, 0, "sole", None, None, None, held)
        for n in range(size)
    )
    return (replace(many[80], inode=40_000, local_address="127.0.0.2"), *many)


def said(listeners: tuple[Listener, ...]) -> list[str]:
    return list(text_lines(answer(Inventory(listeners), AROUND), "", Style(80)))


def test_holders_stand_in_columns() -> None:
    holders = (
        Holder(7, 1, "w", "世界", 3, True),
        replace(holder(1234, "web"), fd=12345, container="c\x1b1"),
        replace(holder(56, "a longer name", waits=None), container=""),
    )
    assert text(row(holders=holders))[2:] == [
        "  waits     7  世界           fd 3",
        "  waits  1234  web            fd 12345  epoll  container c?1",
        "  ?        56  a longer name  fd 6  not seen to wait",
    ]


def test_some_idle_holders_have_lines_of_their_own() -> None:
    names = ("b", "a", "b", "c\x1b", "b", "b")
    idle = tuple(holder(pid, name, waits=False) for pid, name in enumerate(names, 20))
    assert text(row(holders=idle[:5]))[2:] == [
        "  holds  20  b   fd 6",
        "  holds  22  b   fd 6",
        "  holds  24  b   fd 6",
        "  holds  21  a   fd 6",
        "  holds  23  c?  fd 6",
    ]
    assert text(row(holders=idle))[2] == "  holds  4 x  b   pids 20, 22 and 2 more"


@pytest.mark.parametrize(
    ("facts", "partial", "words"),
    [
        ({"sharing": "sole"}, False, "sole"),
        ({"sharing": "sole", "holders": ()}, False, "held by nobody visible"),
        ({"sharing": None, "holders": ()}, True, "held by nobody visible"),
        ({"sharing": None}, False, "one process"),
        ({"sharing": None}, True, "one process, as far as can be seen"),
        (
            {"sharing": None, "holders": (holder(1), holder(2))},
            True,
            "shared by 2 processes way not known",
        ),
        ({"group_size": None, "holders": ()}, False, "reuseport 1 held by nobody visible"),
        ({"group_size": 1, "selector": "hash"}, False, "a reuseport group of one one process"),
        ({"group_size": 1, "selector": "ebpf"}, False, "reuseport 1 of 1 by ebpf one process"),
        ({"group_size": 3, "selector": "hash"}, False, "reuseport 1 of 3 by hash one process"),
        ({"sharing": "sole", "options": Options(True, False, 0, None, None)}, False,
         "SO_REUSEPORT set, in no group sole"),
    ],
)  # fmt: skip
def test_how_a_listener_is_shared_is_one_phrase(
    facts: dict[str, Any], partial: bool, words: str
) -> None:
    one = replace(row(), uid=None, **facts)
    head = [line for line in text(one, partial=partial) if line[2] == " " or line[0] == "0"]
    assert " ".join(" ".join(head).split()) == (f"0.0.0.0:80 inode 7 queue 2, backlog 511 {words}")


@pytest.mark.parametrize(
    ("strangers", "words"),
    [
        (1, "pid 11: unrelated, passed"),
        (3, "pids 11, 12, 13: unrelated, passed"),
        (4, "pids 11, 12, 13 and 1 more: unrelated, passed"),
    ],
)
def test_who_got_a_socket_from_strangers_is_named_up_to_a_limit(strangers: int, words: str) -> None:
    pids = range(10, 11 + strangers)
    around = Surroundings({pid: Kin(pid, 1000, "app", 1, pid, 0, "0") for pid in pids})
    shared = row(sharing="shared", group_size=None, holders=tuple(map(holder, pids)))
    shown = " ".join(" ".join(text(shared, around=around)).split())
    assert f"shared by {1 + strangers} processes {words} over a UNIX socket" in shown


def test_who_was_seen_as_it_was_handed_a_socket_did_not_inherit_it() -> None:
    kin = {10: Kin(10, 900, "app", 1, 10, 0, "0")}
    kin |= {pid: Kin(pid, 1000, "app", 10, 10, 0, "0") for pid in (11, 12, 13, 14)}
    kin[15] = Kin(15, 1000, "other", 1, 15, 0, "0")
    came: dict[int, Came] = {11: "SCM_RIGHTS", 12: "pidfd_getfd", 13: "other"}
    holders = tuple(replace(holder(pid), came=came.get(pid)) for pid in range(10, 16))
    shared = row(sharing="shared", group_size=None, holders=holders[:5])
    lines = text(shared, around=Surroundings(kin))
    shown = " ".join(" ".join(lines).split())
    assert "pid 11: passed over a UNIX socket (traced)" in shown
    assert "pid 12: taken by pidfd_getfd (traced)" in shown
    assert "pid 13: passed (traced)" in shown
    assert "inherited" not in shown  # 10 may have made it, and 14 inherited it
    assert [line.split()[1] for line in lines if "by SCM_RIGHTS" in line] == ["11"]
    found = answer(Inventory((replace(shared, holders=holders),)), Surroundings(kin))
    assert found.groups[0].sockets[0].way.strangers == (11, 12, 13, 15)
    alone = replace(shared, holders=(holders[1],))
    assert "by SCM_RIGHTS" in "".join(text(alone, around=Surroundings(kin)))
    unknown = answer(Inventory((replace(shared, holders=holders[:3]),)), Surroundings())
    assert unknown.groups[0].sockets[0].way.strangers == (11, 12)


def test_who_has_another_descriptor_than_its_parent_may_have_been_passed_it() -> None:
    kin = {10: Kin(10, 900, "node", 1, 10, 0, "0"), 11: Kin(11, 1000, "node", 10, 10, 0, "0")}
    for fd, words in (
        (6, "likely inherited from 10 app "),
        (7, "inherited from 10 app, or passed"),
    ):
        holders = (holder(10, "app"), replace(holder(11, "app"), fd=fd))
        shared = row(sharing="shared", group_size=None, holders=holders)
        shown = " ".join(" ".join(text(shared, around=Surroundings(kin))).split())
        assert f"shared by 2 processes {words}" in shown


def test_members_stand_in_the_order_of_their_group() -> None:
    rows = [
        row(inode, group=3, options=options(place), backlog=place)
        for inode, place in ((10, 1), (11, 0))
    ]
    heads = [line for line in text(*rows) if "inode" in line]
    assert [line.split()[:5] for line in heads] == [
        ["1", "of", "2", "inode", "11"],
        ["2", "of", "2", "inode", "10"],
    ]


def test_a_rank_is_that_within_its_own_group() -> None:
    rows = [
        row(7, group=3, holders=(), backlog=1),
        row(8, group=3, holders=(), backlog=2),
        row(9, group=4, holders=()),
        row(10, group=3, netns=2, holders=()),
        row(11, group=3, holders=(), backlog=3),
    ]
    shown = " ".join(" ".join(text(*rows)).split())
    for words in (
        "1 of 2 inode 7 ",
        "2 of 2 inode 8 ",
        "3 of 2 inode 11 ",
        "netns 1 inode 9 queue 2, backlog 511 owner uid 0 reuseport 1 ",
        "netns 2 inode 10 queue 2, backlog 511 owner uid 0 reuseport 1 ",
    ):
        assert words in shown


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"uid": 5}, "uid"),
        ({"device": "eth0"}, "device"),
        ({"local_address": "127.0.0.1"}, "address"),
        ({"netns": 2, "uid": 5}, "netns, uid"),
        ({}, "socket"),
    ],
)
def test_groups_on_one_port_are_told_apart(facts: dict[str, Any], words: str) -> None:
    two = (row(7, sharing="sole", holders=()), row(8, sharing="sole", holders=(), **facts))
    note = " ".join(text(*two)[-2:])
    assert note.startswith(f"note: :80 has 2 groups (by {words}); the kernel")
    assert "note" not in " ".join(text(two[0], replace(two[1], local_port=81)))


def test_some_ports_are_noted() -> None:
    for number in (8, 9):
        rows = [
            row(1000 * own + port, sharing="sole", local_port=port, holders=())
            for own in (1, 2)
            for port in range(80, 80 + number)
        ]
        noted = [line.split()[1] for line in text(*rows) if line.startswith("note")]
        assert noted == [f":{port}" for port in range(80, 88)]


def test_the_answer_for_programs_is_what_was_read() -> None:
    held = replace(holder(10), cgroup="/a/b.service", container="c", ns_pid=3)
    one = row(7, device="eth0", v6only=True, group=4, selector="cbpf", holders=(held,))
    around = Surroundings({10: Kin(10, 1, "nginx", 9, 9, 33, "0-1")}, {33: "www"}, {}, {}, 151)
    line, *_ = json_lines(answer(Inventory((one,), UNREAD), around))
    value = json.loads(line)
    assert value["holders"] == [
        {
            "pid": 10,
            "comm": "nginx",
            "name": "nginx: worker",
            "fd": 6,
            "waits": True,
            "waits_in": "epoll",
            "cgroup": "/a/b.service",
            "container": "c",
            "ns_pid": 3,
            "came": None,
            "parent": 9,
            "uid": 33,
            "user": "www",
            "cpus": "0-1",
            "stopped": False,
            "unit": "b.service",
            "pod": None,
            "up_s": 1.5,
            "open_connections": None,
        }
    ]
    assert (value["partial"], value["unread"][0]["pid"]) == (True, 1)
    assert [value[name] for name in ("device", "v6only", "group", "selector", "backlog")] == [
        "eth0",
        True,
        4,
        "cbpf",
        511,
    ]
    assert value["accepted"] is None
    line, *_ = json_lines(answer(Inventory((row(7),)), AROUND))
    assert (json.loads(line)["partial"], json.loads(line)["unread"]) == (False, [])


SCHEMA = json.loads((Path(accepttrace.views.__file__).parent / "who.schema.json").read_text())
VALID = Draft202012Validator(SCHEMA)


def test_every_line_is_as_the_schema_says() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    rows, around = nginx(4)
    rows[2] = replace(rows[2], holders=(holder(100, waits=False),), queue=600)
    rows.append(row(9, sharing=None, holders=(holder(1, waits=None),), v6only=True))
    steered = row(12, selector="cbpf", program=Program(None, "cpu"), group=9, local_port=81)
    shown = answer(Inventory((*rows, steered), UNREAD), around, "why", "2026-01-02T00:00:00.000Z")
    lines = [json.loads(line) for line in json_lines(shown)]
    for line in lines:
        VALID.validate(line)
    assert {line["type"] for line in lines} == {"listener", "diagnosis", "summary"}
    assert lines[-1] == {
        "type": "summary",
        "schema": 1,
        "time": "2026-01-02T00:00:00.000Z",
        "listeners": 6,
        "groups": 3,
        "diagnoses": len([line for line in lines if line["type"] == "diagnosis"]),
        "faults": 1,  # of the third, who could not be read may wait on it
        "partial": True,
        "unread": [{"pid": 1, "name": "systemd", "reason": "permission denied"}],
        "unread_more": 0,
        "blind": "why",
    }


@pytest.mark.parametrize(
    "change",
    [{"inode": None}, {"holders": [{}]}, {"sharing": "both"}, {"more": 1}, {"type": "socket"}],
)
def test_the_schema_is_strict(change: dict[str, Any]) -> None:
    line, *_ = json_lines(answer(Inventory((row(),)), AROUND))
    assert not VALID.is_valid(json.loads(line) | change)
    assert VALID.is_valid(json.loads(line))


@pytest.mark.parametrize(
    ("pids", "words"),
    [
        ([], ""),
        ([5], "5"),
        ([6, 5], "5-6"),
        ([5, 7], "5, 7"),
        ([5, 6, 8, 9, 10], "5-6, 8-10"),
        ([1, 2, 4, 6, 7, 8, 10], "1-2, 4 and 4 more"),
    ],
)
def test_pids_are_named_by_ranges(pids: list[int], words: str) -> None:
    assert few_ranges(pids) == words


def test_many_are_apart_where_there_is_a_gap_between_their_starts() -> None:
    def folded(*starts: int) -> list[str]:
        holders = [replace(holder(20 + n), start_ticks=ticks) for n, ticks in enumerate(starts)]
        return [" ".join(line.split()[1:3]) for line in text(row(holders=tuple(holders)))[2:]]

    assert folded(1, 2, 3) == ["20 nginx:", "21 nginx:", "22 nginx:"]  # too few to be many
    assert folded(1, 2, 3, 4) == ["4 x"]
    assert folded(1, 501, 1001, 1501) == folded(1, 501, 502, 503) == ["4 x"]  # five seconds each
    assert folded(1, 2, 503, 504) == ["2 x", "2 x"]
    assert folded(1, 2, 1000, 2000) == ["2 x", "22 nginx:", "23 nginx:"]
    assert folded(1, 1000, 2000, 3000) == ["4 x"]  # so many generations are none


def test_of_sockets_alike_the_oldest_connection_and_the_range_of_queues_are_said() -> None:
    def said(*facts: dict[str, Any]) -> str:
        rows = [replace(one, **some) for one, some in zip(group_of(3), facts, strict=True)]
        (line,) = [line for line in text(*rows) if "inodes" in line]
        return line.partition("10-12  ")[2].partition("  owner")[0]

    idle: dict[str, Any] = {"queue": 0, "oldest_us": 1500}
    assert said(idle, idle, idle) == "queues 0, backlog 511"
    some = {"queue": 3, "oldest_us": 2500}
    assert said(idle, some, some) == "queues 0-3, backlog 511, oldest waits 2.5ms"
    unseen = {"queue": 3, "oldest_us": None}
    assert said(unseen, unseen, unseen) == "queues 3, backlog 511"
    assert said({"queue": None}, {"queue": 1}, {"queue": 1}) == "queues n/a, backlog 511"
    limitless = {"queue": 1, "backlog": None}
    assert said(limitless, limitless, limitless) == "queues 1, backlog n/a"


def test_who_had_the_socket_first_is_named_whatever_number_it_has() -> None:
    holders = (holder(30), holder(20), replace(holder(10, "the master"), waits=False))
    kin = {pid: Kin(pid, 1000, "app", 10, 10, 0, "0") for pid in (20, 30)}
    kin[10] = Kin(10, 1, "app", 1, 10, 0, "0")
    shown = text(row(sharing="shared", group_size=None, holders=holders), around=Surroundings(kin))
    assert "likely inherited from 10 the master" in " ".join(" ".join(shown).split())


def test_how_many_of_several_sockets_alike_a_process_has() -> None:
    def member(on: int, has: int) -> str:
        one = Member(holder(9), on > 0, on, has)
        (line,) = member_lines([one], 3, AROUND, Style(80), "")
        return line.partition("worker  ")[2].removeprefix("epoll  ")

    assert [member(on, has) for on, has in ((0, 3), (0, 2), (3, 3), (2, 2), (1, 3), (1, 2))] == [
        "all 3",
        "2 of 3",
        "on all 3",
        "on 2 of 3",
        "on 1, has all 3",
        "on 1, has 2 of 3",
    ]


def test_a_process_waits_where_it_waits_on_one_of_its_sockets() -> None:
    for waits, found in (
        ((True, False), (True, 1, 2)),
        ((False, True, True), (True, 2, 3)),
        ((False, False), (False, 0, 2)),
        ((False, None), (None, 0, 2)),
        ((None,), (None, 0, 1)),
    ):
        (member,) = members_of(holder(9, waits=each) for each in waits)
        assert (member.waits, member.on, member.has) == found
    others = members_of([holder(9), replace(holder(9), start_ticks=2), holder(8)])
    assert [(one.holder.pid, one.has) for one in others] == [(9, 1), (9, 1), (8, 1)]


def test_a_user_has_a_name_or_a_number() -> None:
    around = Surroundings(users={0: "root", 5: "x\x1b", 6: ""})
    shown = [user(uid, around) for uid in (0, 5, 6, 7, None)]
    assert shown == ["root", "x?", "uid 6", "uid 7", ""]


def test_lines_of_one_socket_are_limited() -> None:
    for number, more in ((16, 0), (17, 1), (20, 4)):
        others = tuple(holder(pid, lettered(pid), waits=False) for pid in range(20, 20 + number))
        lines = text(row(holders=others))[2:]
        assert len(lines) == 16 + bool(more)
        assert (f"  {more} more: naq" in lines[-1]) is bool(more)
        assert len(text(row(holders=others), full=True)) == 2 + number
