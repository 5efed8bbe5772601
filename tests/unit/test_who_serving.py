"""Connections by process in `who`: what is said of holders, and of those who only serve."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

import accepttrace.views
from accepttrace.facts.kin import Kin, Surroundings
from accepttrace.facts.records import (
    Holder,
    Inventory,
    Listener,
    LocalPort,
    Opened,
    Process,
    Serving,
    Sharing,
    WaitsIn,
)
from accepttrace.model.who.serving import open_of, serving_at
from accepttrace.model.who.tree import answer
from accepttrace.views.who.holders import SHOWN, Open, Style
from accepttrace.views.who.objects import json_lines
from accepttrace.views.who.tree import text_lines

SCHEMA = Draft202012Validator(
    json.loads((Path(accepttrace.views.__file__).parent / "who.schema.json").read_text())
)
HERE = LocalPort(1, 80, "ipv4")
AROUND = Surroundings({20: Kin(20, 1, "b", 10, 9, 0, "0")}, {0: "root"}, {}, {}, 500)


def holder(pid: int, waits_in: WaitsIn = "epoll") -> Holder:
    return Holder(pid, 1, "a", "a", 5, True, waits_in=waits_in)


def listener(inode: int, *holders: Holder, address: str = "0.0.0.0") -> Listener:
    sharing: Sharing = "shared" if len(holders) > 1 else "sole"
    return Listener(
        inode, 1, "ipv4", address, 80, 4, 0, sharing, None, None, None, holders or (holder(10),), 0
    )


def opened(*pids: int, **counts: int) -> Opened:
    """`pid10=3`: it holds 3; of `pids` nothing is held."""
    numbers = {int(name[3:]): number for name, number in counts.items()}
    found = {(pid, HERE): number for pid, number in numbers.items()}
    return Opened(0.0, frozenset({80}), dict.fromkeys([*pids, *numbers], 1), found)


def serving(pid: int, number: int = 1, comm: str = "b", port: int = 80) -> Serving:
    return Serving(Process(pid, 1, comm, comm), LocalPort(1, port, "ipv4"), number)


def lines(inventory: Inventory, *, full: bool = False) -> list[str]:
    found = answer(inventory, AROUND)
    for line in json_lines(found):
        SCHEMA.validate(json.loads(line))
    return list(text_lines(found, "", Style(80, full)))


def test_what_a_holder_has_open_stands_in_its_line() -> None:
    (_, line) = lines(Inventory((listener(1),), opened=opened(pid10=1234)))
    assert line == "  waits  10  a  fd 5  epoll  open 1,234  up 4s"


@pytest.mark.parametrize(
    ("known", "end"),
    [(opened(10), "epoll  up 4s"), (None, "epoll  up 4s"), (opened(11), "epoll  open n/a  up 4s")],
    ids=["none", "not looked for", "this one was not read"],
)
def test_none_are_not_spoken_of_and_what_is_not_known_is(known: Opened | None, end: str) -> None:
    (_, line) = lines(Inventory((listener(1),), opened=known))
    assert line.endswith(end)


def test_what_io_uring_accepted_may_have_no_descriptor() -> None:
    ring = holder(10, "io_uring")
    row = listener(1, ring)
    assert open_of(ring, row, Inventory(opened=opened(10))) is None
    assert open_of(ring, row, Inventory(opened=opened(pid10=2))) == 2
    assert open_of(ring, replace(row, family="unix"), Inventory(opened=opened(pid10=2))) is None


def test_many_alike_have_them_together_and_with_one_unknown_nobody_knows() -> None:
    row = listener(1, *(holder(pid) for pid in range(10, 15)))
    known = opened(10, 11, 12, pid13=3, pid14=4)
    assert "open 7 " in " ".join(lines(Inventory((row,), opened=known)))
    shown = " ".join(lines(Inventory((row,), opened=replace(known, started={10: 1}))))
    assert "open n/a" in shown


def test_where_several_groups_have_the_port_it_is_named() -> None:
    """A connection does not name its listener."""
    rows = (listener(1, address="127.0.0.1"), listener(2, address="127.0.0.2"))
    shown = lines(Inventory(rows, opened=opened(pid10=3), serving=(serving(20, 5),)))
    assert [line for line in shown if "open" in line] == [
        "  waits  10  a  fd 5  epoll  open 3 on :80  up 4s",
        "  waits  10  a  fd 5  epoll  open 3 on :80  up 4s",
        "  serves  20  b  open 5 on :80  up 4s  root  parent 10",
    ]
    assert shown[5].startswith("note: :80 has 2 groups")
    assert shown[7].startswith("note: who serves holds no listener there: it inherited its")


def test_of_many_programs_that_serve_the_rest_is_a_number() -> None:
    some = tuple(serving(100 + n, 2, comm=f"p{chr(97 + n)}") for n in range(SHOWN + 3))
    inventory = Inventory((listener(1),), opened=opened(10), serving=some)
    shown = lines(inventory)
    assert len([line for line in shown if line.startswith("  serves")]) == SHOWN + 1
    assert "  serves  3 more processes  open 6" in shown
    full = [line for line in lines(inventory, full=True) if line.startswith("  serves")]
    assert len(full) == SHOWN + 3


def test_only_four_of_one_program_share_a_line() -> None:
    for number, shown in ((3, 3), (4, 1)):
        some = tuple(serving(100 + n, 2) for n in range(number))
        found = lines(Inventory((listener(1),), opened=opened(10), serving=some))
        assert len([line for line in found if line.startswith("  serves")]) == shown
    assert "  serves  4 x  b  open 8  up 4s  pids 100-103" in found


def test_programs_get_an_object_for_each_that_serves() -> None:
    inventory = Inventory((listener(1),), opened=opened(10), serving=(serving(20, 5), serving(21)))
    objects = [json.loads(line) for line in json_lines(answer(inventory, AROUND))]
    found = [one for one in objects if one["type"] == "serving"]
    assert [(one["pid"], one["local_port"], one["open_connections"]) for one in found] == [
        (20, 80, 5),
        (21, 80, 1),
    ]
    assert (found[0]["user"], found[0]["parent"], found[1]["user"]) == ("root", 10, None)


def test_whoever_was_not_looked_at_counts_as_having_nothing_open() -> None:
    assert Open({1: 3}).text([1, 2]) == "open 3"
    assert Open({1: 0}).text([1, 2]) == ""
    assert Open({1: 1}).text([1, 2]) == "open 1"


def test_those_at_other_ports_are_others() -> None:
    inventory = Inventory(serving=(serving(1), serving(2, port=81)))
    assert serving_at([listener(1)], inventory) == (serving(1),)
