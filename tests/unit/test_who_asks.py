"""The two questions of `who`: options, the rules without a machine, lines and JSON."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

import accepttrace.views
from accepttrace.cli.options import parse_port
from accepttrace.cli.who import who
from accepttrace.cli.whoto import Place, parse_client, parse_place
from accepttrace.cli.whowhy import parse_uid, parse_why, wish_of
from accepttrace.config import Filters
from accepttrace.errors import UsageError
from accepttrace.facts.binding import Attempt, PortUse, PortUser, Wish
from accepttrace.facts.naming import NameTried, NameUse, NameUser
from accepttrace.facts.records import Family, Holder, Listener, Options, Program, Unread
from accepttrace.model.who.binding import (
    conflict,
    finding,
    has_strangers,
    learned,
    may_be_tried,
    overlaps,
    probes,
    remedies,
)
from accepttrace.model.who.lookup import Packet, look_up, missed, packets
from accepttrace.views.text import wrapped
from accepttrace.views.who import to as to_view
from accepttrace.views.who import why as why_view
from accepttrace.views.who import whyname as name_view
from accepttrace.views.who.alike import processes
from accepttrace.views.who.to import Asked
from tests.unit.strangers import is_harmless, names
from tests.unit.timing import processor_s

VIEWS = Path(accepttrace.views.__file__).parent
HERE, ELSEWHERE = 1, 2
TO_ANY = Packet(HERE, "ipv4", None, 80, None)


def schema(name: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads((VIEWS / f"who.{name}.schema.json").read_text()))


def listener(inode: int, address: str = "0.0.0.0", **more: Any) -> Listener:
    known: dict[str, Any] = {
        "netns": HERE,
        "family": "ipv6" if ":" in address else "ipv4",
        "local_port": 80,
        "backlog": 10,
        "queue": 0,
        "sharing": "sole",
        "group": None,
        "group_size": None,
        "selector": None,
        "uid": 0,
    }
    return Listener(inode=inode, local_address=address, **{**known, **more})


def member(inode: int, **more: Any) -> Listener:
    known = {"sharing": "reuseport", "group": 7, "group_size": 2, "selector": "hash"}
    return listener(inode, **{**known, **more})


def user(use: str = "listens", address: str = "0.0.0.0", **more: Any) -> PortUser:
    known: dict[str, Any] = {"inode": 5, "uid": 0, "device": None, "v6only": None}
    family: Any = "ipv6" if ":" in address else "ipv4"
    return PortUser(use, family, address, 80, **{**known, **more})  # type: ignore[arg-type]


def used(*users: PortUser, first: int | None = 0, **more: Any) -> PortUse:
    counts = {each.use: sum(one.use == each.use for one in users) for each in users}
    return PortUse(HERE, users, counts, unprivileged_from=first, **more)


WISH = Wish("ipv4", "0.0.0.0", 80)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("80", Place(None, 80)),
        (":80", Place(None, 80)),
        ("*:80", Place(None, 80)),
        ("0.0.0.0:80", Place(None, 80)),
        ("[::]:80", Place(None, 80)),
        ("127.0.0.1:80", Place("127.0.0.1", 80)),
        ("[::1]:80", Place("::1", 80)),
        ("[0::0:1]:80", Place("::1", 80)),
        ("[fe80::1%eth0]:80", Place("fe80::1", 80, "eth0")),
        ("[::ffff:1.2.3.4]:80", Place("1.2.3.4", 80)),
    ],
)
def test_places_are_read(text: str, place: Place) -> None:
    assert parse_place(text) == place


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a port is missing"),
        ("x", "not a port; write one: 80$"),
        ("1.2.3.4", "a port is missing: write 127.0.0.1:80, "),
        ("1.2.3.4:", "a port is missing"),
        ("[::1]", "a port is missing"),
        ("::1", "in brackets"),
        ("::1:80", "in brackets"),
        ("80-81", "more than one port"),
        ("a:80", "names of hosts are not looked up"),
        ("/run/a.sock", "`who /run/a.sock` is about a UNIX socket"),
        ("@a", "UNIX socket"),
    ],
)
def test_what_is_no_place_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_place(text)


def test_a_client_may_be_an_address_alone() -> None:
    assert parse_client("10.0.0.1") == Place("10.0.0.1", None)
    assert parse_client("10.0.0.1:99") == Place("10.0.0.1", 99)
    for zone in ("fe80::1%eth0", "[fe80::1%eth0]"):
        assert parse_client(zone) == Place("fe80::1", None, "eth0")
    for wrong in ("99", "localhost", "0.0.0.0", "[::]", "::ffff:0.0.0.0"):
        with pytest.raises(ValueError, match="names no address"):
            parse_client(wrong)


def test_users_are_read() -> None:
    assert (parse_uid("0"), parse_uid("root")) == (0, 0)
    for wrong in ("no such user", "4294967295", ""):
        with pytest.raises(ValueError, match="user"):
            parse_uid(wrong)
    with pytest.raises(ValueError, match="more than one port"):
        parse_port("80,81")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--to", "80", "--why", "80"], "two questions"),
        (["--to", "80", "--udp"], "about TCP"),
        (["--why", "80", "--udp"], "about TCP"),
        (["--from", "10.0.0.1"], "--from belongs to --to"),
        (["--reuseport"], "--reuseport belongs to --why"),
        (["--device", "lo"], "--device belongs to --to or --why"),
        (["--to", "80", "--uid", "0"], "--uid belongs to --why"),
        (["--why", "80", "--from", "10.0.0.1"], "--from belongs to --to"),
        (["--to", "80", "-p", "80"], "every listener on the port"),
        (["--to", "127.0.0.1:80", "--from", "::1"], "different families"),
        (["--to", "127.0.0.1:80", "-6"], "do not go with an address of IPv4"),
        (["--to", "80", "--from", "::1", "-4"], "do not go with an address of IPv6"),
        (["--to", "80", "--device", "no-such"], "no device no-such"),
        (["--why", "80", "--pid", str(os.getpid())], "one port of one network namespace"),
        (["--why", "80", "--address", "::1", "--address", "::2"], "one --address"),
        (["--why", "80", "--address", "127.0.0.1", "--v6only"], "no address of IPv6"),
        (["--why", "80", "--address", "::1", "-4"], "no address of IPv4"),
    ],
)
def test_questions_that_make_no_sense_are_refused(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(who, arguments)
    assert isinstance(result.exception, UsageError)
    assert said in result.exception.message
    assert result.exception.hint


def test_a_wish_is_made_of_the_options() -> None:
    options = {"reuseport": True, "reuseaddr": False, "v6only": False}
    assert wish_of(80, Filters(), None, 7, options) == Wish("ipv4", "0.0.0.0", 80, True, uid=7)
    six = wish_of(80, Filters(family="ipv6"), "eth0", None, options)
    assert (six.address, six.device, six.uid) == ("::", "eth0", os.geteuid())


def test_both_questions_are_answered_over_real_sockets() -> None:
    for question, kind in (("--to", "lookup"), ("--why", "bind")):
        done = CliRunner().invoke(who, [question, "9", "-o", "jsonl"])
        found = [json.loads(line) for line in done.stdout.splitlines()]
        assert {each["type"] for each in found} == {kind}
        for each in found:
            schema(question.removeprefix("--")).validate(each)
        statuses = {"socket": 0, "works": 0, "refused": 4}
        assert done.exit_code == min(statuses[each["result"]] for each in found)


def test_members_of_one_group_are_all_chosen_and_nobody_else() -> None:
    rows = [member(1), member(2), listener(3, "::", v6only=False), member(4, group=8, uid=9)]
    found = look_up(TO_ANY, rows)
    assert [row.inode for row in found.chosen] == [1, 2]
    assert [(one.listener.inode, one.reason) for one in found.others] == [
        (3, "ipv4_first"),
        (4, "group_first"),
    ]
    assert found.grouped
    assert not look_up(TO_ANY, [listener(1)]).grouped


def test_what_is_on_other_ports_or_elsewhere_is_left_aside() -> None:
    rows = [listener(1, local_port=81), listener(2, netns=ELSEWHERE)]
    found = look_up(TO_ANY, rows)
    assert (found.chosen, [one.reason for one in found.others]) == ((), ["netns"])
    assert "in this network namespace (1)" in "".join(to_view.text_lines([found], Asked()))


@pytest.mark.parametrize(
    ("address", "v6only", "to", "miss"),
    [
        ("0.0.0.0", None, "ipv4", None),
        ("0.0.0.0", None, "ipv6", "family"),
        ("::", False, "ipv6", None),
        ("::", True, "ipv6", None),
        ("::", False, "ipv4", None),
        ("::", True, "ipv4", "v6only"),
        ("::", None, "ipv4", None),  # not known: as by default
        ("::ffff:10.0.0.1", False, "ipv4", None),
        ("::ffff:10.0.0.1", False, "ipv6", "family"),
        ("2001:db8::1", False, "ipv4", "family"),
    ],
)
def test_a_socket_serves_its_family_and_one_of_ipv6_may_serve_ipv4(
    address: str, v6only: bool | None, to: Family, miss: str | None
) -> None:
    packet = Packet(HERE, to, "10.0.0.1" if to == "ipv4" else "2001:db8::1", 80, None)
    assert missed(listener(1, address, v6only=v6only), packet) == miss


@pytest.mark.parametrize(("device", "served"), [("b", True), ("a", False), ("c", False)])
def test_a_socket_of_a_device_serves_no_other_one(device: str, served: bool) -> None:
    row = listener(1, device="b")
    found = look_up(replace(TO_ANY, device=device), [row])
    assert (found.chosen == (row,), [one.reason for one in found.others]) == (
        served,
        [] if served else ["device"],
    )


def test_a_lone_socket_may_have_set_reuseport_where_that_cannot_be_seen() -> None:
    packet = replace(TO_ANY, device="e")
    rows = [listener(1), listener(2, device="e")]
    found = look_up(packet, rows)
    assert ([row.inode for row in found.chosen], [row.inode for row in found.otherwise]) == (
        [2],
        [1],
    )
    seen = [replace(row, options=Options(False, False, 0, None, None)) for row in rows]
    assert look_up(packet, seen).otherwise == ()


def test_a_socket_of_ipv6_with_an_address_of_ipv4_serves_that_only() -> None:
    packet = Packet(HERE, "ipv6", None, 80, None)
    found = look_up(packet, [listener(1, "::ffff:10.0.0.1", v6only=False)])
    (line,) = (line for line in to_view.text_lines([found], Asked()) if "not [::ffff" in line)
    assert line.endswith(": serves IPv4 only")


def test_a_cpu_that_a_socket_asks_for_counts_one_point() -> None:
    options = Options(False, False, 0, 3, None)
    rows = [listener(1, "::", v6only=False, options=options), listener(2, options=options)]
    assert [row.inode for row in look_up(TO_ANY, rows).chosen] == [2]
    rows[1] = replace(rows[1], options=None)
    ((cpu, instead),) = look_up(TO_ANY, rows).by_cpu
    assert (cpu, [row.inode for row in instead]) == (3, [1])
    assert (
        "note: where CPU 3 handles the packet, [::]:80  inode 1  held by nobody visible gets it"
        " (SO_INCOMING_CPU)"
    ) in to_view.text_lines([look_up(TO_ANY, rows)], Asked())


def test_each_address_and_device_that_matters_is_a_case() -> None:
    rows = [listener(1, "10.0.0.1"), listener(2, "::ffff:10.0.0.2"), listener(3, "::1", device="d")]
    cases = [(one.address, one.device) for one in packets(HERE, 80, rows)]
    assert cases == [
        ("10.0.0.1", "lo"), ("10.0.0.1", "d"), ("10.0.0.2", "lo"), ("10.0.0.2", "d"),
        (None, "lo"), (None, "d"), ("::1", "lo"), ("::1", "d"), (None, "lo"), (None, "d"),
    ]  # fmt: skip
    assert [one.family for one in packets(HERE, 80, [], family="ipv6")] == ["ipv6"]
    (one,) = packets(HERE, 80, rows, "::1", "e")
    assert (one.family, one.device) == ("ipv6", "e")


def test_an_answer_is_bounded_whatever_there_is() -> None:
    rows = [listener(number, f"10.0.{number // 250}.{number % 250}") for number in range(2000)]
    answers = [look_up(packet, rows) for packet in packets(HERE, 80, rows)[:40]]
    lines = list(to_view.text_lines(answers, Asked()))
    assert len(lines) < 200
    assert "28 more cases: name an address, or --device" in lines
    objects = list(to_view.json_lines(answers, Asked()))
    assert len(objects) == to_view.CASES
    assert {json.loads(line)["cases_left_out"] for line in objects} == {28}
    for line in objects:
        schema("to").validate(json.loads(line))
        assert json.loads(line)["others_left_out"] == 2000 - 1 - to_view.LISTED


def test_a_group_of_thousands_is_answered_at_once() -> None:
    holders = tuple(Holder(n, n, "app", "app", 3, True) for n in range(20))
    rows = [member(n, holders=holders) for n in range(20_000)]
    rows += [listener(n, "10.0.0.1", holders=holders) for n in range(20_000, 40_000)]

    def told() -> list[str]:
        found = look_up(TO_ANY, rows)
        assert (len(found.chosen), len(found.others)) == (20_000, 20_000)
        return [*to_view.text_lines([found], Asked()), *to_view.json_lines([found], Asked())]

    assert processor_s(told) < 2
    assert len(told()) < 30


def test_what_stops_the_one_that_gets_it_is_noted() -> None:
    asleep = Holder(7, 7, "app", "app", 3, False)
    row = listener(1, queue=11, holders=(asleep,))
    lines = list(to_view.text_lines([look_up(TO_ANY, [row])], Asked()))
    assert lines[-2:] == [
        "note: the queue of 0.0.0.0:80, inode 1 (11 there) is full: SYNs there are dropped",
        "note: nobody waits on 0.0.0.0:80, inode 1: what comes there stays in the queue",
    ]
    members = [member(n, queue=11, holders=(asleep,)) for n in range(50)]
    lines = list(to_view.text_lines([look_up(TO_ANY, members)], Asked()))
    assert lines[-2:] == [
        "note: the queues of 50 sockets on 0.0.0.0:80 are full: SYNs there are dropped",
        "note: nobody waits on 50 sockets on 0.0.0.0:80: what comes there stays in the queue",
    ]
    awake = replace(row, queue=10, holders=(asleep, replace(asleep, waits=True)))
    lines = list(to_view.text_lines([look_up(TO_ANY, [awake])], Asked()))
    assert not any(line.startswith("note") for line in lines)


@pytest.mark.parametrize(
    ("address", "asked"),
    [
        ("0.0.0.0", ["to any local IPv4 address, port 80"]),
        ("10.0.0.1", ["to 10.0.0.1:80", "to any other local IPv4 address, port 80"]),
    ],
)
def test_any_address_is_any_other_beside_those_that_are_named(
    address: str, asked: list[str]
) -> None:
    rows = [listener(1, address)]
    answers = [look_up(packet, rows) for packet in packets(HERE, 80, rows, family="ipv4")]
    lines = list(to_view.text_lines(answers, Asked()))
    assert [line for line in lines if line.startswith("to ")] == asked


def test_of_the_processes_at_a_socket_those_that_may_wait_are_named_first() -> None:
    held = [
        Holder(pid, pid, "app", "app", 3, waits)
        for pid, waits in ((1, False), (2, None), (3, True), (4, False))
    ]
    assert processes([held[:3]]) == "pid 2 app, pid 3 app, pid 1 app"
    named = "pid 2 app, pid 3 app, pid 1 app and 1 more"
    assert processes([held]) == processes([held[:2], held]) == named
    assert processes([[]]) == "held by nobody visible"


def test_other_places_beyond_a_few_are_counted() -> None:
    def last(places: int) -> str:
        rows = [listener(n, f"10.0.0.{n}") for n in range(places)]
        return list(to_view.text_lines([look_up(TO_ANY, rows)], Asked()))[-1]

    assert last(to_view.LISTED).startswith("  not 10.0.0.7:80")
    assert last(to_view.LISTED + 1) == "  and 1 more socket on this port"


def test_members_beyond_a_few_fold() -> None:
    rows = [member(number) for number in range(100)]
    lines = list(to_view.text_lines([look_up(TO_ANY, rows)], Asked()))
    assert "    and 92 more sockets" in lines
    assert "(1 in 100)" in lines[1]


def test_sockets_alike_are_one_line() -> None:
    held = [Holder(n, n, "app", "app", 3, True) for n in range(10)]
    others = [member(n, address="10.0.0.1", holders=(held[n],)) for n in range(10)]
    lines = list(to_view.text_lines([look_up(TO_ANY, others)], Asked()))
    assert lines[2] == (
        "  not 10.0.0.1:80  10 sockets  pid 0 app, pid 1 app, pid 2 app and 7 more:"
        " bound to another address"
    )
    assert not any("more socket" in line for line in lines)
    users = [user(inode=n, address="10.0.0.1", holders=(held[n],)) for n in range(10)]
    lines = list(why_view.text_lines(finding(WISH, used(*users), refused(WISH))))
    assert lines[1] == (
        "  in the way: 10.0.0.1:80  10 listeners  uid 0  pid 0 app, pid 1 app, pid 2 app and 7 more"
    )
    assert len(lines) == 4
    beside = finding(replace(WISH, address="10.0.0.2"), used(*users), ())
    assert sum("not in the way" in line for line in why_view.text_lines(beside)) == 1


@pytest.mark.parametrize(
    ("why", "said"),
    [
        ("no_route_back", "there is no route back to 10.9.9.9, so the SYN is not answered"),
        ("martian", "packets from 10.9.9.9 that come through e are dropped: a martian address, or"
         " rp_filter"),
        ("loopback", "packets to loopback addresses that come through e are dropped"),
    ],
)  # fmt: skip
def test_what_is_dropped_says_why(why: Any, said: str) -> None:
    found = replace(look_up(replace(TO_ANY, device="e"), [listener(1, queue=11)]), dropped=why)
    lines = list(to_view.text_lines([found], Asked(client="10.9.9.9")))
    assert lines[1:] == [f"  nobody: {said}"]
    assert to_view.result(found, Asked()) == "dropped"
    (line,) = to_view.json_lines([found], Asked())
    schema("to").validate(json.loads(line))


def test_whether_netfilter_has_rules_may_not_be_known() -> None:
    lines = list(to_view.text_lines([look_up(TO_ANY, [])], Asked(tables=None)))
    assert lines[-1].startswith("note: whether rules of netfilter")


def test_a_vrf_is_noted() -> None:
    asked = Asked(vrf=True)
    lines = list(to_view.text_lines([look_up(TO_ANY, [listener(1)])], asked))
    assert lines[-1].startswith("note: it comes through a VRF, which is not predicted")
    (line,) = to_view.json_lines([look_up(TO_ANY, [])], asked)
    assert json.loads(line)["vrf"] is True


def test_programs_of_the_namespace_decide() -> None:
    found = look_up(TO_ANY, [listener(1)])
    asked = Asked(programs=(Program(12, "steer"),))
    assert to_view.result(found, asked) == "program"
    lines = list(to_view.text_lines([found], asked))
    assert lines[1].startswith("  would get it: 0.0.0.0:80")
    assert "sk_lookup 12 steer" in "".join(lines)
    unknown = list(to_view.text_lines([found], Asked(programs=None)))
    assert "may only be asked by root" in unknown[-1]
    (line,) = to_view.json_lines([found], Asked(programs=None))
    assert json.loads(line)["sk_lookup"] is None


@given(st.lists(names, min_size=1, max_size=8), names)
def test_names_of_strangers_are_harmless(found: list[str], device: str) -> None:
    holders = tuple(Holder(n, n, name[:15], name, 3, False) for n, name in enumerate(found))
    rows = [listener(1, holders=holders, device=device), listener(2, "::", holders=holders)]
    answers = [look_up(packet, rows) for packet in packets(HERE, 80, rows)]
    asked = Asked(programs=(Program(3, device),))
    lines = list(to_view.text_lines(answers, asked))
    clash = used(user(holders=holders, device=device))
    result = finding(replace(WISH, device=device), clash, ())
    lines += why_view.text_lines(result)
    assert all(is_harmless(part) for line in lines for part in wrapped(line, 80))
    for line in to_view.json_lines(answers, asked):
        schema("to").validate(json.loads(line))
    schema("why").validate(json.loads(why_view.json_line(result)))


def test_long_lines_are_wrapped_between_words() -> None:
    assert wrapped("  not 1.2.3.4:80  inode 12", 16) == ["  not 1.2.3.4:80", "      inode 12"]


@pytest.mark.parametrize(
    ("address", "v6only", "there", "their_v6only", "meets"),
    [
        ("0.0.0.0", False, "127.0.0.1", None, True),
        ("127.0.0.1", False, "0.0.0.0", None, True),
        ("127.0.0.1", False, "127.0.0.2", None, False),
        ("::", False, "127.0.0.1", None, True),
        ("::", True, "127.0.0.1", None, False),
        ("127.0.0.1", False, "::", False, True),
        ("127.0.0.1", False, "::", True, False),
        ("::1", False, "0.0.0.0", None, False),
        ("::1", False, "::", True, True),
        ("::1", False, "::2", False, False),
        ("::", True, "::", True, True),
        ("::ffff:1.2.3.4", False, "1.2.3.4", None, True),
        ("::ffff:1.2.3.4", False, "0.0.0.0", None, True),
        ("::ffff:1.2.3.4", False, "::", True, False),
        ("::ffff:0.0.0.0", False, "1.2.3.4", None, True),
        ("::ffff:0.0.0.0", False, "::1", False, False),
    ],
)
def test_addresses_overlap_as_in_the_kernel(
    address: str, v6only: bool, there: str, their_v6only: bool | None, meets: bool
) -> None:
    family: Any = "ipv6" if ":" in address else "ipv4"
    asked = Wish(family, address, 80, v6only=v6only)
    assert overlaps(asked, user(address=there, v6only=their_v6only)) is meets


def test_devices_overlap_unless_they_differ() -> None:
    assert overlaps(WISH, user(device="a"))
    assert overlaps(replace(WISH, device="a"), user())
    assert overlaps(replace(WISH, device="a"), user(device="a"))
    assert not overlaps(replace(WISH, device="a"), user(device="b"))


def derived(asked: Wish, *users: PortUser, **more: Any) -> tuple[str, str]:
    found = finding(asked, used(*users, **more), ())
    assert not found.tried
    return found.result, why_view.errno_name(found.code) if found.code else ""


def test_what_may_not_be_tried_is_derived() -> None:
    asked = replace(WISH, uid=7)
    shares = replace(asked, reuseport=True)
    reuses = replace(asked, reuseaddr=True)
    assert derived(asked) == ("works", "")
    assert derived(asked, user()) == ("refused", "EADDRINUSE")
    assert derived(shares, user(uid=8)) == ("refused", "EADDRINUSE")
    assert derived(shares, user(uid=7)) == ("not known", "")
    assert derived(shares, user(uid=7, reuseport=True)) == ("works", "")
    assert derived(shares, user(uid=7, reuseport=False)) == ("refused", "EADDRINUSE")
    assert derived(reuses, user()) == ("refused", "EADDRINUSE")
    assert derived(reuses, user("time_wait", uid=None)) == ("not known", "")
    assert derived(reuses, user("time_wait", uid=None, reuseaddr=True)) == ("works", "")
    assert derived(shares, user("time_wait", uid=None, reuseport=True)) == ("works", "")
    assert derived(asked, first=1024) == ("refused", "EACCES")
    assert derived(replace(asked, uid=0), first=1024) == ("works", "")
    assert derived(asked, first=None) == ("not known", "")
    assert derived(asked, complete=False) == ("not known", "")
    assert derived(asked, user(), exact=False) == ("not known", "")
    nowhere = finding(asked, used(), (), local=False)
    assert (nowhere.result, nowhere.code) == ("refused", errno.EADDRNOTAVAIL)


def test_who_does_not_listen_refuses_for_want_of_an_option() -> None:
    there = user("bound", reuseaddr=False, reuseport=False)
    for asked, rule in (
        (WISH, "reuseaddr"),
        (replace(WISH, reuseaddr=True), "first"),
        (replace(WISH, reuseport=True), "first"),
        (replace(WISH, reuseport=True, uid=7), "uid"),
    ):
        refusal = conflict(asked, there)
        assert refusal is not None
        assert (refusal.rule, refusal.sure) == (rule, True)


def test_each_rule_is_a_sentence() -> None:
    def said(asked: Wish, there: PortUser) -> str:
        return list(why_view.text_lines(finding(asked, used(there), refused(asked))))[2].strip()

    shares, reuses = replace(WISH, reuseport=True), replace(WISH, reuseaddr=True)
    listens = "beside a listener another binds only with SO_REUSEPORT, set by both, same user"
    assert said(WISH, user()) == listens
    assert said(WISH, user(reuseport=True)) == listens
    assert said(WISH, user(reuseport=False)) == f"{listens}; it has not set it"
    other = "SO_REUSEPORT lets in sockets of the same user only, and this one belongs to uid"
    assert said(shares, user(uid=8)) == f"{other} 8"
    assert said(shares, user(uid=8, reuseport=False)) == f"{other} 8; it has not set it"
    assert said(shares, user(reuseport=False)) == "it has not set SO_REUSEPORT itself"
    bound = "SO_REUSEADDR, set by both, would let it in, as this one does not listen"
    assert said(WISH, user("bound")) == bound
    assert said(WISH, user("bound", reuseaddr=True)) == bound
    assert said(WISH, user("bound", reuseaddr=False)) == f"{bound}; it has not set it"
    assert said(WISH, user("bound", reuseport=False)) == bound
    assert said(reuses, user("bound", reuseaddr=False)).startswith("it has not set the option")


@pytest.mark.parametrize(("first", "noted"), [(80, False), (81, True), (None, False), (0, False)])
def test_that_a_port_takes_a_capability_is_noted_below_the_first_without(
    first: int | None, noted: bool
) -> None:
    lines = list(why_view.text_lines(finding(WISH, used(first=first), [Attempt(WISH, 0)])))
    note = f"note: 80 is below ip_unprivileged_port_start ({first}): to bind it takes"
    assert any(line.startswith(note) for line in lines) is noted


@pytest.mark.parametrize(("places", "more"), [(8, 0), (9, 1), (11, 3)])
def test_of_many_in_the_way_or_beside_the_rest_is_counted(places: int, more: int) -> None:
    there = [user(inode=n, address=f"10.0.0.{n}") for n in range(places)]
    lines = list(why_view.text_lines(finding(WISH, used(*there), refused(WISH))))
    assert sum(line.startswith("  in the way: 10.0.0.") for line in lines) == 8
    rest = f"    and {more} more of this port: listeners"
    assert [line for line in lines if "more of this port" in line] == ([rest] if more else [])
    asked = replace(WISH, address="10.0.1.1")
    lines = list(why_view.text_lines(finding(asked, used(*there), [Attempt(asked, 0)])))
    assert sum(line.startswith("  not in the way: 10.0.0.") for line in lines) == 8
    rest = f"  and {more} more address{'es' if more > 1 else ''} not in the way"
    assert [line for line in lines if line.startswith("  and ")] == ([rest] if more else [])


def test_those_in_the_way_that_were_not_kept_are_counted_by_what_they_do() -> None:
    there = used(user(), user("time_wait", uid=None), user("bound", "10.0.0.1"))
    many = replace(there, counts={"listens": 4, "time_wait": 1003, "connected": 9})
    found = finding(replace(WISH, address="127.0.0.1"), many, refused(WISH))
    lines = [line for line in why_view.text_lines(found) if "more of this port" in line]
    assert lines == [
        "    and 3 more of this port: listeners",
        "    and 1,002 more of this port: in TIME-WAIT",
    ]


def test_what_was_derived_says_so() -> None:
    lines = list(why_view.text_lines(finding(replace(WISH, uid=7), used(user()), ())))
    assert lines[0].endswith("(derived, not tried)")
    assert lines[-1].startswith("note: this user may not enter that namespace")


def refused(asked: Wish, *more: Attempt) -> Sequence[Attempt]:
    return [Attempt(asked, errno.EADDRINUSE), *more]


def test_attempts_show_what_others_have_set() -> None:
    shares, reuses = replace(WISH, reuseport=True), replace(WISH, reuseaddr=True)
    (one,) = learned([user()], refused(WISH, Attempt(shares, 0)))
    assert one.reuseport is True
    (one,) = learned([user()], refused(shares))
    assert one.reuseport is False
    (one,) = learned([user(uid=9)], refused(shares))
    assert one.reuseport is None
    (one,) = learned([user("bound")], refused(reuses))
    assert (one.reuseaddr, one.reuseport) == (False, None)
    (one,) = learned([user("bound")], refused(shares))
    assert (one.reuseaddr, one.reuseport) == (None, False)
    (one,) = learned([user()], refused(reuses))
    assert (one.reuseaddr, one.reuseport) == (None, None)
    both = learned([user(inode=1), user(inode=2)], refused(shares))
    assert [each.reuseport for each in both] == [None, None]
    (one,) = learned([user()], [Attempt(replace(shares, reuseaddr=True), 0), Attempt(shares, 1)])
    assert one.reuseport is None


def test_of_several_in_the_way_none_is_blamed_for_sure() -> None:
    shares = replace(WISH, reuseport=True)
    found = finding(shares, used(user(inode=1), user(inode=2)), refused(shares))
    assert [one.sure for one in found.conflicts] == [False, False]
    assert "    it, or another one in the way, has not set the option itself" in list(
        why_view.text_lines(found)
    )


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (1, "connection with 10.0.0.9:4000  inode 5"),
        (2, "2 connections with 10.0.0.9:4000 and others"),
    ],
)
def test_of_connections_in_the_way_one_peer_is_named(number: int, said: str) -> None:
    peer = {"remote_address": "10.0.0.9", "remote_port": 4000}
    users = [user("connected", "10.0.0.1", inode=5 + n, **peer) for n in range(number)]
    (line, *_) = (
        line
        for line in why_view.text_lines(finding(WISH, used(*users), refused(WISH)))
        if "in the way" in line
    )
    assert line.startswith(f"  in the way: 10.0.0.1:80  {said}  uid 0")


def test_remedies_and_probes_are_few() -> None:
    many = used(*(user(inode=n, uid=n, address=f"10.0.0.{n}") for n in range(1, 100)))
    assert len(remedies(WISH, many)) == 3 + 3
    assert len(probes(many.users)) == 16
    assert probes([user("connected"), user("time_wait"), user(uid=None)]) == []
    assert remedies(replace(WISH, reuseport=True, reuseaddr=True), used()) == []
    six = Wish("ipv6", "::", 80)
    assert replace(six, v6only=True) in remedies(six, used())


def test_a_group_among_connections_of_others_is_not_disturbed() -> None:
    group = replace(WISH, address="10.0.0.1", reuseport=True)
    there = [user(address="10.0.0.1"), user("connected", "10.0.0.1", uid=33)]
    use = used(*there, owners=frozenset({("10.0.0.1", 33)}))
    assert has_strangers(use)
    assert not has_strangers(used(user(), user("connected"), owners=frozenset({("10.0.0.1", 0)})))
    beside = replace(WISH, address="10.0.0.2")
    for code, harmless in ((0, False), (None, False), (errno.EADDRINUSE, True)):
        assert may_be_tried(beside, use, [Attempt(group, code)]) == harmless
        assert may_be_tried(replace(group, uid=33), use, [Attempt(group, code)])  # is refused
    assert may_be_tried(replace(group, reuseaddr=True), use, [Attempt(group, 0)])
    for address, met in (("0.0.0.0", True), ("::", True), ("10.0.0.2", False), ("::1", False)):
        group = Wish("ipv6" if ":" in address else "ipv4", address, 80, reuseport=True)
        found = may_be_tried(Wish("ipv4", "10.0.0.9", 80), use, [Attempt(group, 0)])
        assert found == (not met)
        six = may_be_tried(
            replace(beside, address="10.0.0.9"),
            use,
            [Attempt(replace(group, family="ipv6", address="::", v6only=True), 0)],
        )
        assert six


def test_what_was_spared_is_said() -> None:
    beside = replace(WISH, v6only=True, family="ipv6", address="::")
    attempts = refused(WISH, Attempt(beside, None, spared=True))
    lines = list(why_view.text_lines(finding(WISH, used(user()), attempts)))
    assert "  not known: with IPV6_V6ONLY (not tried: see below)" in lines
    assert any(line.startswith("note: not tried: it would disturb") for line in lines)


@pytest.mark.parametrize(
    ("asked", "code", "said"),
    [
        (WISH, errno.EPERM, "EPERM: by a BPF program of the control group"),
        (WISH, errno.EACCES, "EACCES: by a security module"),
        (Wish("ipv6", "::ffff:10.0.0.1", 80, v6only=True), errno.EINVAL, "an IPv4 address does"),
        (Wish("ipv6", "fe80::1", 80), errno.EINVAL, "a link-local address needs its device"),
        (Wish("ipv6", "ff02::1", 80), errno.EINVAL, "EINVAL: Invalid argument"),
        (
            Wish("ipv6", "fd00::1", 80, device="x"),
            errno.EADDRNOTAVAIL,
            "no address of the device x",
        ),
        (
            Wish("ipv4", "10.0.0.1", 80, device="x"),
            errno.EADDRNOTAVAIL,
            "of this network namespace",
        ),
    ],
)
def test_an_errno_is_explained(asked: Wish, code: int, said: str) -> None:
    assert said in next(why_view.text_lines(finding(asked, used(), [Attempt(asked, code)])))


def test_what_only_waits_is_waited_for() -> None:
    lines = list(
        why_view.text_lines(finding(WISH, used(user("time_wait", uid=None)), refused(WISH)))
    )
    assert any(line.startswith("  so: wait until TIME-WAIT is over (60 s), or") for line in lines)


def test_what_could_not_be_tried_instead_is_said() -> None:
    other = replace(WISH, reuseport=True, uid=9)
    lines = list(
        why_view.text_lines(finding(WISH, used(user(uid=9)), refused(WISH, Attempt(other, None))))
    )
    assert "  not known: with SO_REUSEPORT as uid 9 (not tried: run as root)" in lines
    assert not any(line.startswith("  so: ") for line in lines)
    tried = finding(WISH, used(user(uid=9)), refused(WISH, Attempt(other, errno.EADDRINUSE)))
    assert any(line.startswith("  so: ") for line in why_view.text_lines(tried))
    found = finding(WISH, used(user(uid=9)), refused(WISH, Attempt(other, None)))
    assert json.loads(why_view.json_line(found))["tried_instead"] == []


def test_what_is_not_known_blames_nobody() -> None:
    shares = replace(WISH, reuseport=True)
    lines = list(why_view.text_lines(finding(shares, used(user()), ())))
    assert lines[0].startswith("bind 0.0.0.0:80 with SO_REUSEPORT as uid 0: not known")
    assert lines[2] == "    lets it in if it has set the option itself, which is not known"
    assert not any(line.startswith("  so: ") for line in lines)


def test_two_options_are_no_news_where_one_is_enough() -> None:
    both = replace(WISH, reuseaddr=True, reuseport=True)
    attempts = refused(WISH, Attempt(replace(WISH, reuseport=True), 0), Attempt(both, 0))
    lines = list(why_view.text_lines(finding(WISH, used(user()), attempts)))
    assert [line for line in lines if "would work" in line] == [
        "  would work: with SO_REUSEPORT (tried)"
    ]


def test_one_that_cannot_be_seen_is_not_blamed_on_nobody() -> None:
    blind = finding(WISH, used(complete=False), refused(WISH))
    assert list(why_view.text_lines(blind))[1].startswith(
        "  in the way: a socket that is bound and does not listen: this kernel lists none"
    )
    gone = finding(WISH, used(), refused(WISH))
    assert "  in the way: nothing that is there any more: ask again" in why_view.text_lines(gone)


def test_who_could_not_be_read_is_named_where_a_holder_is_missing() -> None:
    unread = (Unread("init", "permission denied", 1),)
    said = "note: holders are missing: 1 process could not be read (PID 1 init: permission denied)"
    held = (Holder(7, 7, "app", "app", 3, True),)
    for holders in ((), held):
        found = finding(WISH, used(user(holders=holders), unread=unread), refused(WISH))
        assert (said in why_view.text_lines(found)) == (not holders)
        got = look_up(TO_ANY, [listener(1, holders=holders)])
        assert (said in to_view.text_lines([got], Asked(unread=unread))) == (not holders)


def name_use(code: int | None = 0, at: Any = "socket", *users: NameUser, **more: Any) -> NameUse:
    outcome = NameTried(code, at is None, at, **more)
    return NameUse("@x" if at is None else "/run/x", 7, HERE, outcome, users)


def name_user(state: Any = "listens", kind: Any = "stream", **more: Any) -> NameUser:
    return NameUser(state, kind, **{"inode": 5, "uid": 0, "netns": HERE, "there": True, **more})


IN_USE = errno.EADDRINUSE
LISTENS, DATAGRAMS, ACCEPTED = name_user(), name_user("bound", "dgram"), name_user("connected")


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (name_use(), "bind /run/x as uid 7: would work (derived, not tried)"),
        (name_use(None), "run as root"),
        (name_use(errno.EROFS, "nothing"), "refused, EROFS: Read-only file system"),
        (name_use(IN_USE, bound=False, later=0), "it is left over: no socket is bound to it any"),
        (name_use(IN_USE, bound=False, later=0), "  would work: once the file is removed (not"),
        (name_use(IN_USE, bound=True, later=0), "a socket is bound to it that is not seen here"),
        (name_use(IN_USE, later=0), "this user may not connect to it"),
        (name_use(IN_USE, later=errno.EACCES), "  would not: once the file is removed (EACCES"),
        (name_use(IN_USE, "file", later=0), "  so: take another path"),
        (name_use(IN_USE, "nothing"), "nothing that is there any more"),
        (name_use(IN_USE, "socket", LISTENS, bound=True, later=0), "then gets no connections any"),
        (name_use(IN_USE, "socket", DATAGRAMS, bound=True, later=0), "SOCK_DGRAM  receives"),
        (name_use(0, "nothing", name_user(there=False)), "  not in the way: SOCK_STREAM  listens"),
        (name_use(IN_USE, "socket", ACCEPTED, ACCEPTED, bound=False), "2 accepted connections"),
        (name_use(IN_USE, None, LISTENS), "  in the way: SOCK_STREAM  listens  inode 5  uid 0"),
        (name_use(IN_USE, None, LISTENS), "no option lets two sockets of one type have one name"),
        (name_use(IN_USE, None, ACCEPTED), "  in the way: SOCK_STREAM  bound, then connected"),
        (name_use(IN_USE, None, DATAGRAMS), "nothing that is there any more"),
        (name_use(0, None, DATAGRAMS), "  not in the way: SOCK_DGRAM  receives"),
    ],
)
def test_why_a_name_of_unix_is_said(found: NameUse, said: str) -> None:
    lines = list(name_view.text_lines(found))
    assert any(said in line for line in lines), lines
    assert all(len(part) <= 80 for line in lines for part in wrapped(line, 80))
    schema("why.unix").validate(json.loads(name_view.json_line(found)))


def test_a_name_of_unix_of_strangers_is_harmless() -> None:
    found = replace(name_use(), name="/run/\x1b]0;x\x07\n\u202ee")
    assert all(map(is_harmless, [*name_view.text_lines(found), name_view.json_line(found)]))


def test_sockets_of_a_name_are_folded() -> None:
    many = [name_user(inode=n) for n in range(40)] + [name_user(uid=n) for n in range(20)]
    lines = list(name_view.text_lines(name_use(IN_USE, "socket", *many, bound=True, later=0)))
    assert sum("it leads to" in line for line in lines) == 8
    assert any("41 sockets" in line for line in lines)
    assert "  and 12 more sockets" in lines


def test_what_can_be_asked_for_is_a_port_or_a_name() -> None:
    assert [parse_why(text) for text in ("80", "/run/x", "./x", "@x")] == [
        80,
        "/run/x",
        "./x",
        "@x",
    ]
    for wrong in ("x", "80,81", "0"):
        with pytest.raises(ValueError, match="port"):
            parse_why(wrong)
