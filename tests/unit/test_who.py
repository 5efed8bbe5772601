"""`accepttrace who`: its options, its lines, its JSON; over real sockets where it matters."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import accepttrace
from accepttrace.cli.who import who
from accepttrace.facts.records import Holder, Inventory, Listener
from accepttrace.views.who import json_lines, partial_line, text_lines

from .pictures import UNREAD

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
        (("/a",), " on TCP; /a: UNIX sockets, which are not traced"),
        (("/a", "/b", "/c"), " on TCP; /a, /b, /c: UNIX sockets, which are not traced"),
        (("/a", "/b", "/c", "/d"), " on TCP; /a, /b, /c and 1 more: UNIX sockets, which are not"),
        (tuple("abcdef"), " on TCP; a, b, c and 3 more: UNIX sockets, which are not traced"),
    ],
)
def test_where_a_process_listens_instead_is_said(names: tuple[str, ...], shown: str) -> None:
    (line,) = text_lines(Inventory(unix=names), "pid 12")
    assert line.startswith(f"nobody listens on pid 12{shown}")
    assert bool(shown) or line.endswith("pid 12")


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
    first, *_ = result.output.splitlines()
    assert first == (
        f"127.0.0.1:{port}  inode {inode}  queue 0, backlog 6  "
        "shared by 2 processes (likely inherited)"
    )
    assert f"  {pid}  " in result.output
    row = json.loads(lines.output.splitlines()[0])
    assert (row["type"], row["inode"], row["sharing"]) == ("listener", inode, "shared")
    assert {holder["pid"] for holder in row["holders"]} == {os.getpid(), pid}
    assert row["accepted"] is None


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_an_ordinary_user_is_told_what_is_missing() -> None:
    code = (
        "import os, sys\n"
        "import accepttrace.sockets.inventory, accepttrace.views.who\n"
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
        r"[\d,]+ processes could not be read \(PID 1 .*: permission denied\); "
        r"run as root to see all holders\n",
        done.stderr,
    )
    assert "held by nobody visible" in done.stdout


def holder(pid: int, name: str = "nginx: worker", waits: bool | None = True) -> Holder:
    return Holder(pid, 1, "nginx", name, 6, waits, waits_in="epoll" if waits else None)


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


def text(*rows: Listener, partial: bool = False) -> list[str]:
    return list(text_lines(Inventory(rows, UNREAD if partial else ()), ":80"))


def test_numbers_the_members_of_a_reuseport_group() -> None:
    assert text(row(7), row(8, selector="cbpf")) == [
        "0.0.0.0:80  inode 7  queue 2, backlog 511  reuseport 1 of 2, one process",
        "  10  nginx: worker  fd 6    waits: epoll",
        "0.0.0.0:80  inode 8  queue 2, backlog 511  reuseport 2 of 2 by cbpf, one process",
        "  10  nginx: worker  fd 6    waits: epoll",
    ]


def test_says_what_two_groups_on_one_port_mean() -> None:
    four = row(7, sharing="sole", group_size=None)
    six = row(8, sharing="sole", group_size=None, family="ipv6", local_address="::")
    lines = text(four, six)
    assert "[::]:80" in lines[2]
    assert lines[-1] == (
        "note: :80 has 2 groups (by family, address); the kernel balances within a group, "
        "never between them"
    )
    inside = row(9, sharing="sole", group_size=None, netns=2)
    assert "(by netns)" in text(four, inside)[-1]
    assert "  netns 2  " in text(four, inside)[2]


def test_a_shared_socket_hides_so_reuseport() -> None:
    lines = text(row(sharing="shared", group_size=None, holders=(holder(1), holder(2))))
    assert lines[0].endswith("shared by 2 processes (likely inherited)")
    assert "cannot be seen without BPF" in lines[-1]


def test_names_the_device_and_says_who_serves_ipv4_too() -> None:
    lines = text(
        row(7, family="ipv6", local_address="::", v6only=False, device="eth0"),
        row(8, family="ipv6", local_address="::", v6only=True),
        row(9, family="ipv6", local_address="::"),
    )
    assert lines[0].startswith("[::]%eth0:80  inode 7  IPv4 too  queue")
    assert lines[2].startswith("[::]:80  inode 8  queue")
    assert lines[4].startswith("[::]:80  inode 9  queue")
    assert "by device" in lines[-1]


def test_unknown_is_not_zero() -> None:
    lines = text(row(backlog=None, queue=None, sharing=None, group_size=None), partial=True)
    assert lines[0].endswith("queue n/a, backlog n/a  one process, as far as can be seen")
    unseen = text(row(holders=(holder(1, waits=None),)))
    assert unseen[1].endswith("waits: not known")


def test_many_idle_holders_take_one_line() -> None:
    idle = tuple(holder(pid, waits=False) for pid in range(20, 84))
    lines = text(row(holders=(holder(10), *idle)))
    assert lines[1:] == [
        "  10  nginx: worker  fd 6    waits: epoll",
        "  64 more hold it and do not wait: nginx: worker",
    ]


def test_a_name_cannot_write_to_the_terminal() -> None:
    lines = text(row(holders=(holder(10, name="\x1b[2Jx"),)))
    assert "?[2Jx" in lines[1]


def test_json_has_every_name_of_the_contract() -> None:
    (line,) = json_lines(Inventory((row(),)))
    assert set(json.loads(line)) == set(
        "type inode netns family local_address local_port device v6only backlog queue queue_max "
        "arrived accepted "
        "selected dropped_overflow lost_on_close migrated_in migrated_out sharing group group_size "
        "selector holders partial unread".split()
    )


def test_root_is_not_told_to_become_root() -> None:
    said = "1 process could not be read (PID 1 systemd: permission denied)"
    assert partial_line(UNREAD, root=True) == said
    assert partial_line(UNREAD, root=False) == said + "; run as root to see all holders"


def test_listeners_by_the_thousand_are_answered_at_once() -> None:
    """Each on a port of its own: none may be held against all others."""
    held = (Holder(1, 1, "server", "server", 3, True),)
    many = tuple(
        Listener(n, 1, "ipv4", "127.0.0.1", n, 5, 0, "sole", None, None, None, held)
        for n in range(30_000)
    )
    twins = (replace(many[80], inode=40_000, local_address="127.0.0.2"), *many)
    began = time.process_time()
    lines = list(text_lines(Inventory(twins), ""))
    assert time.process_time() - began < 1
    assert len(lines) == 2 * len(twins) + 1
    assert lines[-1].startswith("note: :80 has 2 groups (by address)")


def test_holders_stand_in_columns() -> None:
    holders = (
        Holder(7, 1, "w", "世界", 3, True),
        replace(holder(1234, "web"), fd=12345, container="c\x1b1"),
        replace(holder(56, "a longer name", waits=None), container=""),
    )
    assert text(row(holders=holders))[1:] == [
        "     7  世界           fd 3    waits: yes",
        "  1234  web            fd 12345 waits: epoll  container c?1",
        "    56  a longer name  fd 6    waits: not known",
    ]


def test_some_idle_holders_have_lines_of_their_own() -> None:
    names = ("b", "a", "b", "c\x1b", "b")
    idle = tuple(holder(pid, name, waits=False) for pid, name in enumerate(names, 20))
    assert len(text(row(holders=idle[:4]))) == 5
    assert text(row(holders=idle[:4]))[4] == "  23  c?  fd 6    waits: no"
    assert text(row(holders=idle))[1:] == ["  5 more hold it and do not wait: a, b, c?"]


@pytest.mark.parametrize(
    ("facts", "partial", "words"),
    [
        ({"sharing": "sole", "holders": ()}, False, "sole"),
        ({"sharing": None, "holders": ()}, True, "held by nobody visible"),
        ({"sharing": None}, False, "one process"),
        ({"sharing": None}, True, "one process, as far as can be seen"),
        ({"sharing": None, "holders": (holder(1), holder(2))}, True, "held by 2 processes"),
        ({"group_size": None, "holders": ()}, False, "reuseport 1, held by nobody visible"),
        ({"group_size": 3, "selector": "hash"}, False, "reuseport 1 of 3 by hash, one process"),
    ],
)
def test_how_a_listener_is_shared_is_one_phrase(
    facts: dict[str, Any], partial: bool, words: str
) -> None:
    assert text(row(**facts), partial=partial)[0] == (
        f"0.0.0.0:80  inode 7  queue 2, backlog 511  {words}"
    )


def test_a_rank_is_that_within_its_own_group() -> None:
    rows = [
        row(7, group=3, holders=()),
        row(8, group=3, holders=()),
        row(9, group=4, holders=()),
        row(10, group=3, netns=2, holders=()),
        row(11, group=3, holders=()),
    ]
    ranks = [line.split("reuseport ")[1][0] for line in text(*rows)[:5]]
    assert ranks == ["1", "2", "1", "1", "3"]


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
    note = text(*two)[-1]
    assert note.startswith(f"note: :80 has 2 groups (by {words}); the kernel")
    assert "note" not in text(two[0], replace(two[1], local_port=81))[-1]


def test_some_ports_are_noted() -> None:
    for number, notes in ((8, 8), (9, 8)):
        rows = [
            row(1000 * own + port, sharing="sole", local_port=port, holders=())
            for own in (1, 2)
            for port in range(80, 80 + number)
        ]
        lines = text(*rows)
        assert [line.split()[1] for line in lines[2 * number :]] == [
            f":{port}" for port in range(80, 80 + notes)
        ]


def test_the_answer_for_programs_is_what_was_read() -> None:
    held = replace(holder(10), cgroup="/a", container="c", ns_pid=3)
    one = row(7, device="eth0", v6only=True, group=4, selector="cbpf", holders=(held,))
    (line,) = json_lines(Inventory((one,), UNREAD))
    value = json.loads(line)
    assert value["holders"] == [
        {
            "pid": 10,
            "comm": "nginx",
            "name": "nginx: worker",
            "fd": 6,
            "waits": True,
            "waits_in": "epoll",
            "cgroup": "/a",
            "container": "c",
            "ns_pid": 3,
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
    (line,) = json_lines(Inventory((row(7),)))
    assert (json.loads(line)["partial"], json.loads(line)["unread"]) == (False, [])
