"""Values of the options that commands share."""

from __future__ import annotations

import os
from contextlib import suppress

import pytest
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st

from accepttrace.cli import options
from accepttrace.cli.top import top
from accepttrace.cli.who import who
from accepttrace.config import Config, Filters
from accepttrace.facts.records import Inventory
from accepttrace.run.run import Run
from accepttrace.sockets import procfs


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("80", {80}),
        ("80,443", {80, 443}),
        ("8000-8003", {8000, 8001, 8002, 8003}),
        (" 80 , 90-91 ", {80, 90, 91}),
        ("65535", {65535}),
        ("5-5", {5}),
    ],
)
def test_parses_ports(text: str, ports: set[int]) -> None:
    assert options.parse_ports(text) == ports


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("http", "'http' is not a port"),
        ("80,", "a port is missing"),
        ("", "a port is missing"),
        ("-80", "'-80' is not a port"),
        ("80-", "'80-' is not a port"),
        ("0", "out of range"),
        ("65536", "out of range"),
        ("90-80", "ends before it begins"),
        ("8\u00b2", "is not a port"),
        ("1-2-3", "is not a port"),
    ],
)
def test_says_what_is_wrong_with_a_port(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        options.parse_ports(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]", "::1"),
        ("0:0:0:0:0:0:0:0", "::"),
        ("::FFFF:10.0.0.1", "::ffff:10.0.0.1"),
    ],
)
def test_parses_addresses(text: str, address: str) -> None:
    assert options.parse_address(text) == address


def test_parses_namespaces() -> None:
    number = os.stat("/proc/self/ns/net").st_ino
    assert options.parse_netns(str(number)) == number
    assert options.parse_netns(str(os.getpid())) == number
    assert options.parse_netns("/proc/self/ns/net") == number
    for text, why in (
        ("no-such", "/run/netns/no-such is no network namespace"),
        ("", "is missing"),
        ("/etc/passwd", "is no network namespace"),
        ("/proc/self/ns/mnt", "is no network namespace"),
        ("/dev/null", "is no network namespace"),
        ("99999999999999", "is to be seen"),
        (str((1 << 32) - 1), "is to be seen"),
    ):
        with pytest.raises(ValueError, match=why):
            options.parse_netns(text)


def test_parses_pids() -> None:
    assert options.parse_pids(f"{os.getpid()},{os.getppid()}") == {os.getpid(), os.getppid()}
    with pytest.raises(ValueError, match="no process has the PID 4194305"):
        options.parse_pids("4194305")
    with pytest.raises(ValueError, match="is not a PID"):
        options.parse_pids("nginx")


def test_parses_control_groups() -> None:
    own = procfs.cgroup(os.getpid())
    assert own is not None
    assert options.parse_cgroup(own) == own
    assert options.parse_cgroup(own.strip("/")) == own
    assert options.parse_cgroup(f"/{own}/./") == own
    assert options.parse_cgroup("/") == "/"
    for text, why in (("", "is missing"), ("/no/such", "is no control group"), ("..", "is no")):
        with pytest.raises(ValueError, match=why):
            options.parse_cgroup(text)


def test_names_are_read_as_those_of_processes() -> None:
    assert options.parse_name("caf\udce9") == "caf\ufffd"
    with pytest.raises(ValueError, match="a name is missing"):
        options.parse_name(" ")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("nan", "'nan' is not a number of seconds"),
        ("inf", "'inf' is not a number"),
        ("-inf", "'-inf' is not a number"),
        ("1d", "'1d' is not a number"),
        ("1sm", "'1sm' is not a number"),
        ("s", "'s' is not a number"),
        ("", "'' is not a number"),
        ("0", "at least 0.1"),
        ("1e9", "at most 86400"),
    ],
)
def test_a_time_is_a_number(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        options.parse_seconds(text, 0.1, 86400)
    assert options.parse_seconds("0.5", 0.1) == 0.5
    times = {"5s": 5, "500ms": 0.5, "2m": 120, "1.5h": 5400, "1e3": 1000}
    assert {text: options.parse_seconds(text, 0.1) for text in times} == times


@pytest.mark.parametrize("option", ["--comm", "--address", "--cgroup", "--netns", "--pid", "-p"])
def test_an_empty_value_is_wrong_usage(option: str) -> None:
    for command in (top, who):
        done = CliRunner().invoke(command, [option, ""])
        assert done.exit_code == 2
        assert done.output.splitlines()[-1].startswith("Error: ")


@given(st.text(max_size=20))
@example("1-" * 9)
@example("4" * 5000)
def test_ports_are_parsed_or_refused(text: str) -> None:
    with suppress(ValueError):
        assert options.parse_ports(text) <= set(range(1, 65536))


def test_takes_every_filter() -> None:
    seen: list[Filters] = []

    def look(filters: Filters) -> Inventory:
        seen.append(filters)
        return Inventory()

    arguments = "-p 80,81 -p 443 --comm nginx --address [::1] --cgroup / -6".split()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("accepttrace.cli.who._look", look)
        assert CliRunner().invoke(who, arguments).exit_code == 0
    assert seen == [
        Filters(
            ports=frozenset({80, 81, 443}),
            comms=frozenset({"nginx"}),
            addresses=frozenset({"::1"}),
            cgroups=frozenset({"/"}),
            family="ipv6",
        )
    ]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--by", "group"), "--by applies to TCP only"),
        (("--histogram",), "--histogram applies to TCP only"),
        (("--detail", "waits"), "--detail applies to TCP only"),
        (("--sort", "accepts"), "choose from: pid"),
    ],
)
def test_udp_refuses_what_means_nothing_to_it(arguments: tuple[str, ...], complaint: str) -> None:
    for order in (("--udp", *arguments), (*arguments, "--udp")):
        done = CliRunner().invoke(top, order)
        assert done.exit_code == 2
        assert complaint in done.output


@pytest.mark.parametrize(
    ("arguments", "field"),
    [((), None), (("--sort", "queue"), "queue"), (("--udp", "--sort", "dropped"), "dropped")],
)
def test_what_rows_are_ordered_by(arguments: tuple[str, ...], field: str | None) -> None:
    seen: list[Config] = []

    def trace(run: Run, *_: object) -> None:
        seen.append(run.config)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("accepttrace.cli.top.trace", trace)
        assert CliRunner().invoke(top, arguments).exit_code == 0
    assert [(config.sort, config.udp) for config in seen] == [(field, "--udp" in arguments)]


@pytest.mark.parametrize(
    ("arguments", "status", "patterns"),
    [((), 0, [False]), (("--patterns",), 0, [True]), (("--patterns", "--udp"), 2, [])],
)
def test_the_order_is_noted_where_it_is_asked_for(
    arguments: tuple[str, ...], status: int, patterns: list[bool]
) -> None:
    seen: list[Config] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("accepttrace.cli.top.trace", lambda run, _: seen.append(run.config))
        assert CliRunner().invoke(top, arguments).exit_code == status
    assert [config.patterns for config in seen] == patterns


@pytest.mark.parametrize(
    ("arguments", "columns", "locality"),
    [
        ((), (), False),
        (("--columns", "pid, local,pid"), ("pid", "local"), True),
        (("--columns", "pid,queue"), ("pid", "queue"), False),
        (("--udp", "--columns", "local,datagrams"), ("local", "datagrams"), False),
    ],
)
def test_columns_are_named_by_their_fields(
    arguments: tuple[str, ...], columns: tuple[str, ...], locality: bool
) -> None:
    seen: list[Config] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("accepttrace.cli.top.trace", lambda run, _: seen.append(run.config))
        assert CliRunner().invoke(top, arguments).exit_code == 0
    assert [(config.columns, config.locality) for config in seen] == [(columns, locality)]
    done = CliRunner().invoke(top, ("--columns", "pid,colour"))
    assert (done.exit_code, "'colour': choose from: pid" in done.output) == (2, True)
