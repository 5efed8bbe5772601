"""Options that several commands share, and the readers of their values."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from accepttrace.config import Family, Filters

if TYPE_CHECKING:
    ParamType = click.ParamType[Any]
else:  # generic in new releases of click only
    ParamType = click.ParamType

Command = TypeVar("Command", bound=Callable[..., Any])

PORT_LIMIT: Final = 65535
PID_LIMIT: Final = 1 << 22  # of the kernel; namespaces are numbered from about 0xF0000000 on
NAMED_NETNS: Final = "/run/netns"


def parse_ports(text: str) -> frozenset[int]:
    """`80,443,8000-8010` → the set of these ports. ValueError says what is wrong, for people."""
    ports: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        low = _port(first, part)
        high = _port(last, part) if dash else low
        if low > high:
            raise ValueError(f"the range {part.strip()} ends before it begins")
        ports.update(range(low, high + 1))
    return frozenset(ports)


def _port(text: str, part: str) -> int:
    if not (text.isascii() and text.isdigit()):
        wrong = f"{part.strip()!r} is not a port" if part.strip() else "a port is missing"
        raise ValueError(f"{wrong}; write 80 or 80,443 or 8000-8010")
    if not 1 <= int(text) <= PORT_LIMIT:
        raise ValueError(f"port {text} is out of range (1-{PORT_LIMIT})")
    return int(text)


def parse_pids(text: str) -> frozenset[int]:
    """`12,34` → the set of these PIDs. ValueError if one is no process of this machine now."""
    return frozenset(_pid(part.strip()) for part in text.split(","))


def _pid(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{text!r} is not a PID")
    try:
        path = f"/proc/{int(text)}/status"
        with open(path, encoding="utf-8", errors="replace", newline="\n") as lines:
            tgid = next(int(line.split()[1]) for line in lines if line.startswith("Tgid:"))
    except (FileNotFoundError, ProcessLookupError):
        raise ValueError(f"no process has the PID {text}") from None
    if tgid != int(text):
        raise ValueError(f"{text} is a thread of process {tgid}: name that one")
    return tgid


def parse_address(text: str) -> str:
    """A local address in the spelling that the kernel's own has. ValueError if it is none."""
    bare = text.strip().removeprefix("[").removesuffix("]")
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            return socket.inet_ntop(family, socket.inet_pton(family, bare))
        except OSError:
            continue
    raise ValueError(f"{text!r} is not an IPv4 or IPv6 address")


def parse_netns(text: str) -> int:
    """A network namespace as its inode number; ValueError if there is no such.

    `text` is that number, a PID, a name in /run/netns, or a path such as /proc/1/ns/net.
    """
    if text.isascii() and text.isdigit():
        return int(text) if int(text) > PID_LIMIT else _netns_at(f"/proc/{text}/ns/net", text)
    return _netns_at(text if "/" in text else f"{NAMED_NETNS}/{text}", text)


def _netns_at(path: str, text: str) -> int:
    try:
        return os.stat(path).st_ino
    except PermissionError:
        raise ValueError(f"{path} is not yours to read: run as root") from None
    except OSError:
        known = "an inode number, a PID, a name in /run/netns or a path"
        raise ValueError(
            f"{text!r} is no network namespace: {path} is not there ({known})"
        ) from None


class Parsed(ParamType):
    """A click type made of a function that returns the value or raises ValueError."""

    def __init__(self, name: str, parse: Callable[[str], object]) -> None:
        self.name = name
        self._parse = parse

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> object:
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as error:
            return self.fail(str(error), param, ctx)


PORTS: Final = Parsed("ports", parse_ports)
PIDS: Final = Parsed("pids", parse_pids)
ADDRESS: Final = Parsed("address", parse_address)
NETNS: Final = Parsed("netns", parse_netns)

FILTERS: Final = (
    click.option("-p", "--port", "ports", type=PORTS, multiple=True, metavar="PORTS",
                 help="Only these local ports: 80,443 or 8000-8010; repeatable."),
    click.option("--pid", "pids", type=PIDS, multiple=True, metavar="PIDS",
                 help="Only these processes."),
    click.option("--comm", "comms", multiple=True, metavar="NAME",
                 help="Only processes of this name, as in /proc/PID/comm."),
    click.option("--address", "addresses", type=ADDRESS, multiple=True, metavar="ADDRESS",
                 help="Only listeners bound to this local address."),
    click.option("--cgroup", "cgroups", multiple=True, metavar="PATH",
                 help="Only processes in this control group or below it."),
    click.option("--netns", "netns", type=NETNS, multiple=True, metavar="NETNS",
                 help="Only this network namespace: inode number, PID, name or path."),
    click.option("-4", "ipv4", is_flag=True, help="Only IPv4 listeners."),
    click.option("-6", "ipv6", is_flag=True, help="Only IPv6 listeners."),
)  # fmt: skip


WAYS: Final = (
    click.option("--attach", type=click.Choice(["auto", "fentry", "kprobe", "tracepoint"]),
                 default="auto", help="Force a way of attaching; an error if it cannot work."),
    click.option("--loader", type=click.Choice(["auto", "libbpf", "bcc"]), default="auto",
                 help="Force a way of loading; an error if it cannot work."),
    click.option("--detail", type=click.Choice(["accepts", "waits", "full"]), default="full",
                 help="How much to trace: the less, the cheaper.  [default: full]"),
    click.option("-v", "--verbose", is_flag=True, help="Show what libbpf and the verifier said."),
)  # fmt: skip


def filter_options(command: Command) -> Command:
    """Gives a command every filter option; `take_filters` turns their values into `Filters`."""
    return _decorate(command, FILTERS)


def way_options(command: Command) -> Command:
    """Gives a command `--attach`, `--loader` and `--verbose`."""
    return _decorate(command, WAYS)


def _decorate(
    command: Command, options: Iterable[Callable[[Callable[..., Any]], Callable[..., Any]]]
) -> Command:
    for option in reversed(tuple(options)):
        command = option(command)  # type: ignore[assignment]
    return command


def take_filters(values: dict[str, Any]) -> Filters:
    """Takes the values of `filter_options` out of a command's keyword arguments."""
    ipv4, ipv6 = values.pop("ipv4"), values.pop("ipv6")
    family: Family | None = None
    if ipv4 != ipv6:  # both together mean any, as in `ss -4 -6`
        family = "ipv4" if ipv4 else "ipv6"
    return Filters(
        ports=_union(values.pop("ports")),
        pids=_union(values.pop("pids")),
        netns=frozenset(values.pop("netns")),
        family=family,
        comms=frozenset(values.pop("comms")),
        addresses=frozenset(values.pop("addresses")),
        cgroups=frozenset(values.pop("cgroups")),
    )


def _union(sets: Iterable[frozenset[int]]) -> frozenset[int]:
    return frozenset().union(*sets)
