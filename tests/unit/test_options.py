"""Values of the options that commands share."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import click
import pytest
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st

from accepttrace.cli import cli, options
from accepttrace.cli.check import check
from accepttrace.cli.top import top
from accepttrace.cli.who import who
from accepttrace.config import Config, Filters
from accepttrace.errors import UsageError
from accepttrace.facts.kin import Surroundings
from accepttrace.facts.records import Inventory
from accepttrace.model.who.tree import Answer, answer
from accepttrace.run.run import Run
from accepttrace.run.who import Sought
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
        ("nan", "'nan' is no time"),
        ("inf", "'inf' is no time"),
        ("-inf", "'-inf' is no time"),
        ("1d", "'1d' is no time"),
        ("1sm", "'1sm' is no time"),
        ("s", "'s' is no time"),
        ("", "'' is no time"),
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


def configured(*arguments: str, **environment: str) -> tuple[Config, str]:
    """What the whole command makes of its arguments: the configuration, and what it says."""
    seen: list[Config] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("accepttrace.cli.top.trace", lambda run, _: seen.append(run.config))
        done = CliRunner().invoke(cli, arguments, env=environment)
    return (seen[0] if seen else Config()), done.output


@pytest.mark.parametrize(
    "arguments",
    [("80", "443"), ("80,443",), ("top", "80", "-p", "443"), ("-p", "80", "443"), ("443", "-p80")],
)
def test_ports_stand_alone_or_behind_their_option(arguments: tuple[str, ...]) -> None:
    config, _ = configured(*arguments)
    assert config.filters.ports == {80, 443}


def test_what_is_neither_a_port_nor_a_command_is_wrong_usage() -> None:
    assert "No such command 'nginx'" in configured("nginx")[1]
    assert "'8o' is not a port" in configured("8o")[1]
    assert "port 70000 is out of range" in configured("top", "70000")[1]


def test_every_time_is_written_in_the_same_way() -> None:
    config, _ = configured("-i", "500ms", "-d", "2m", "--window", "1h")
    assert (config.interval_s, config.duration_s, config.window_s) == (0.5, 120.0, 3600.0)
    for command in ("top", "check", "demo"):
        assert "'5x' is no time: write 5s, 500ms, 2m, 1h" in configured(command, "-d", "5x")[1]


def test_options_come_from_the_environment_too() -> None:
    names = {"PORTS": "80 443", "INTERVAL": "5s", "ONCE": "1", "COLUMNS": "pid,queue"}
    environment = {f"ACCEPTTRACE_TOP_{name}": value for name, value in names.items()}
    config, _ = configured(**environment)
    assert config.filters.ports == {80, 443}
    assert config.interval_s == 5.0
    assert (config.once, config.count, config.columns) == (True, 1, ("pid", "queue"))
    config, _ = configured("-i", "2s", **environment)
    assert config.interval_s == 2.0
    assert "'5x' is no time" in configured(ACCEPTTRACE_TOP_INTERVAL="5x")[1]
    # A variable that some deployment has for its own purposes.
    assert configured("80", ACCEPTTRACE_VERSION="1.2.3")[0].filters.ports == {80}


def test_once_has_an_end_of_its_own() -> None:
    for more in (("-n", "2"), ("-d", "5s")):
        assert "--once ends after one interval" in configured("--once", *more)[1]


@pytest.mark.parametrize("command", ["top", "who", "check", "demo", "explain", "doctor"])
def test_help_ends_with_examples_that_hold(command: str) -> None:
    shown = CliRunner().invoke(cli, [command, "--help"]).output
    examples = re.findall(r"^  (?:sudo )?accepttrace (.*)$", shown.partition("Examples:")[2], re.M)
    assert len(examples) >= 2
    for line in examples:
        words = shlex.split(line.partition("|")[0].partition(">")[0])
        name = words.pop(0) if words[0] in cli.list_commands(click.Context(cli)) else "top"
        assert name == command
        found = cli.get_command(click.Context(cli), name)
        assert found is not None
        found.make_context(name, words)  # a UsageError if it does not hold


@pytest.mark.parametrize("command", ["top", "who", "check"])
def test_every_option_stands_under_a_heading(command: str) -> None:
    shown = CliRunner().invoke(cli, [command, "--help"]).output
    headings = re.findall(r"^([A-Z].*):$", shown, re.M)
    assert (headings[0], headings[-2:]) == ("What to trace", ["Options", "Examples"])
    assert ("Conditions" in headings) == (command == "check")
    rest = shown.partition("\nOptions:\n")[2].partition("\nExamples")[0]
    assert rest.strip() == "-h, --help  Show this message and exit."


class Look:
    """What reads nothing."""

    def look(self) -> Answer:
        return answer(Inventory(), Surroundings())


def test_takes_every_filter() -> None:
    seen: list[Filters] = []

    @contextmanager
    def opened(filters: Filters, sought: Sought) -> Iterator[Look]:
        assert sought == Sought()
        seen.append(filters)
        yield Look()

    arguments = "-p 80,81 -p 443 --comm nginx --address [::1] --cgroup / -6".split()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("accepttrace.cli.who._open", opened)
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
    ("arguments", "complaint"),
    [
        ("@s --max-open-ratio 2", "of UNIX sockets it is not known what --max-open-ratio asks"),
        ("/s --min-local 80%", "of UNIX sockets it is not known what --min-local asks for"),
        ("@s -p 80", "UNIX sockets have no port, address or version of IP"),
    ],
)
def test_check_refuses_what_is_not_known_of_unix_sockets(arguments: str, complaint: str) -> None:
    done = CliRunner().invoke(check, arguments.split())
    assert isinstance(done.exception, UsageError)
    assert done.exception.message.startswith(complaint)


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
    done = CliRunner().invoke(top, ("--columns", "pid,colour,size"))
    assert (done.exit_code, "'colour', 'size': choose from: pid" in done.output) == (2, True)
