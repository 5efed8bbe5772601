"""Options that several commands share, and the readers of their values."""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Callable, Iterable
from functools import reduce
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from accepttrace.cli.completion import ports
from accepttrace.config import Family, Filters
from accepttrace.facts.matching import is_below

Command = TypeVar("Command", bound=Callable[..., Any])
T = TypeVar("T", int, str)

UNITS: Final = {"": 1.0, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
PORT_LIMIT: Final = 65535
PID_LIMIT: Final = 1 << 22  # of the kernel; namespaces are numbered from about 0xF0000000 on
NAMED_NETNS: Final = "/run/netns"
PORTS_FORM: Final = "write 80 or 80,443 or 8000-8010"


def parse_ports(text: str) -> frozenset[int]:
    """`80,443,8000-8010` → the set of these ports. ValueError says what is wrong, for people."""
    ports: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        low = _port(first, part, PORTS_FORM)
        high = _port(last, part, PORTS_FORM) if dash else low
        if low > high:
            raise ValueError(f"the range {part.strip()} ends before it begins")
        ports.update(range(low, high + 1))
    return frozenset(ports)


def parse_port(text: str) -> int:
    """One port. ValueError says what is wrong, for people."""
    if {",", "-"} & set(text) and len(parse_ports(text)) > 1:
        raise ValueError(f"{text!r} is more than one port")
    return _port(text.strip(), text, "write one: 80")


def _port(text: str, part: str, form: str) -> int:
    if not (text.isascii() and text.isdigit()):
        wrong = f"{part.strip()!r} is not a port" if part.strip() else "a port is missing"
        raise ValueError(f"{wrong}; {form}")
    if not 1 <= int(text) <= PORT_LIMIT:
        raise ValueError(f"port {text} is out of range (1-{PORT_LIMIT})")
    return int(text)


def parse_pids(text: str) -> frozenset[int]:
    """`12,34` → the set of these PIDs. ValueError if one is no process of this machine now."""
    return frozenset(_pid(part.strip()) for part in text.split(","))


def parse_past_pids(text: str) -> frozenset[int]:
    """The same of processes that may have ended."""
    return frozenset(_number(part.strip()) for part in text.split(","))


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{text!r} is not a PID" if text else "a PID is missing")
    return int(text)


def _pid(text: str) -> int:
    try:
        path = f"/proc/{_number(text)}/status"
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


def parse_name(text: str) -> str:
    """A name of a process as we read it from /proc. ValueError if it is empty."""
    if not text.strip():
        raise ValueError("a name is missing")
    return _readable(text)


def parse_cgroup(text: str) -> str:
    """The path of a control group below its root, as in /proc/PID/cgroup.

    The path in /sys/fs/cgroup is taken too. ValueError if there is no such group.
    """
    if not text.strip():
        raise ValueError("a path is missing")
    from accepttrace.sockets.cgroups import find

    path = find(text)
    if path is None:
        raise ValueError(f"{text!r} is no control group; /proc/PID/cgroup has the paths")
    return _readable(path)


def parse_unit(text: str) -> frozenset[str]:
    """Control groups of a systemd unit. ValueError if no process is in one of this name."""
    from accepttrace.sockets import belonging

    return belonging.units(_readable(text))


def parse_container(text: str) -> frozenset[str]:
    """Control groups of a container. ValueError as of `parse_unit`."""
    from accepttrace.sockets import belonging

    return belonging.containers(_readable(text))


def parse_pod(text: str) -> frozenset[str]:
    """Control groups of a Kubernetes pod. ValueError as of `parse_unit`."""
    from accepttrace.sockets import belonging

    return belonging.pods(_readable(text))


def parse_netns(text: str) -> int:
    """A network namespace as its inode number; ValueError if there is no such.

    `text` is that number, a PID, a name in /run/netns, or a path such as /proc/1/ns/net.
    """
    if not text.strip():
        raise ValueError("a network namespace is missing")
    from accepttrace.sockets import namespaces

    if text.isascii() and text.isdigit() and int(text) > PID_LIMIT:
        if namespaces.is_there(int(text)):
            return int(text)
        raise ValueError(
            f"no network namespace {text} is to be seen here; `lsns -t net` lists them"
        )
    if text.isascii() and text.isdigit():
        path = f"/proc/{int(text)}/ns/net"
    else:
        path = text if "/" in text else f"{NAMED_NETNS}/{text}"
    try:
        return namespaces.number_of(path)
    except PermissionError:
        raise ValueError(f"{path} is not yours to read: run as root") from None
    except (OSError, ValueError):
        known = "an inode number, a PID, a name in /run/netns or a path"
        raise ValueError(f"{path} is no network namespace: give {known}") from None


def parse_past_netns(text: str) -> int:
    """The same, of one that may be gone where it is given by its number."""
    if text.isascii() and text.isdigit() and int(text) > PID_LIMIT:
        return int(text)
    return parse_netns(text)


def parse_seconds(text: str, low: float, high: float = math.inf) -> float:
    """`5`, `5s`, `500ms`, `2m`, `1h`: a time between these bounds. ValueError if it is not."""
    number = text.rstrip("hms")
    try:
        seconds = float(number) * UNITS[text[len(number) :]]
    except (KeyError, ValueError):
        seconds = math.nan
    if not math.isfinite(seconds):
        raise ValueError(f"{text!r} is no time: write 5s, 500ms, 2m, 1h or seconds")
    if not low <= seconds <= high:
        limit = f"at least {low:g}" if seconds < low else f"at most {high:g}"
        raise ValueError(f"{text} is out of range: {limit} seconds")
    return seconds


def _readable(text: str) -> str:
    """An argument as names are read: a byte that is no UTF-8 becomes U+FFFD."""
    return os.fsencode(text).decode("utf-8", "replace")


class Parsed(click.ParamType):  # type: ignore[type-arg]  # generic in new releases of click only
    """A click type made of a function that returns the value or raises ValueError.

    `recorded`: the same where a recording is asked, of what need not be there any more.
    """

    def __init__(
        self,
        name: str,
        parse: Callable[[str], object],
        recorded: Callable[[str], object] | None = None,
    ) -> None:
        self.name = name
        self._parse, self._recorded = parse, recorded or parse

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> object:
        if not isinstance(value, str):
            return value
        past = ctx is not None and ctx.params.get("recording") is not None
        try:
            return self._recorded(value) if past else self._parse(value)
        except ValueError as error:
            from accepttrace.views.text import clean  # it may name what others chose

            return self.fail(clean(str(error)), param, ctx)


def seconds(low: float, high: float = math.inf) -> Parsed:
    """The type of a time."""

    def parse(text: str) -> float:
        return parse_seconds(text, low, high)

    return Parsed("seconds", parse)


def parse_place(text: str) -> frozenset[int] | str:
    """Ports; or a UNIX socket, by a path (with a `/` in it) or an abstract name (`@NAME`)."""
    return _readable(text) if "/" in text or text.startswith("@") else parse_ports(text)


def _remember_verbose(ctx: click.Context, param: click.Parameter, value: bool) -> bool:  # noqa: ARG001
    """For `main`, which reports what went wrong."""
    ctx.ensure_object(dict)["verbose"] = value
    return value


PORTS: Final = Parsed("ports", parse_ports)
PLACES: Final = Parsed("ports", parse_place)
PIDS: Final = Parsed("pids", parse_pids, parse_past_pids)
ADDRESS: Final = Parsed("address", parse_address)
NAME: Final = Parsed("name", parse_name)
CGROUP: Final = Parsed("cgroup", parse_cgroup)
NETNS: Final = Parsed("netns", parse_netns, parse_past_netns)
UNIT: Final = Parsed("unit", parse_unit)
CONTAINER: Final = Parsed("container", parse_container)
POD: Final = Parsed("pod", parse_pod)

FILTERS: Final = (
    click.argument("places", type=PORTS, nargs=-1, metavar="[PORTS]...",
                   shell_complete=ports),
    click.option("-p", "--port", "ports", type=PORTS, multiple=True, metavar="PORTS",
                 shell_complete=ports,
                 help="Only these local ports: 80,443 or 8000-8010; the same as PORTS."),
    click.option("--pid", "pids", type=PIDS, multiple=True, metavar="PIDS",
                 help="Only these processes."),
    click.option("--comm", "comms", type=NAME, multiple=True, metavar="NAME",
                 help="Only processes of this name: that of /proc/PID/comm (15 bytes), or shown."),
    click.option("--address", "addresses", type=ADDRESS, multiple=True, metavar="ADDRESS",
                 help="Only sockets that clients reach at this local address: bound to it or any."),
    click.option("--cgroup", "cgroups", type=CGROUP, multiple=True, metavar="PATH",
                 help="Only processes in this control group or below it."),
    click.option("--unit", "units", type=UNIT, multiple=True, metavar="NAME",
                 help="Only processes of this systemd unit: nginx, or nginx.service."),
    click.option("--container", "containers", type=CONTAINER, multiple=True, metavar="NAME",
                 help="Only those in this container: its name, or the beginning of its number."),
    click.option("--pod", "pods", type=POD, multiple=True, metavar="NAME",
                 help="Only those in this Kubernetes pod: NAME, NAMESPACE/NAME or its uid."),
    click.option("--netns", "netns", type=NETNS, multiple=True, metavar="NETNS",
                 help="Only this network namespace: inode number, PID, name or path."),
    click.option("-4", "ipv4", is_flag=True,
                 help="Only sockets that serve IPv4, those of IPv6 that do so too among them."),
    click.option("-6", "ipv6", is_flag=True,
                 help="Only sockets that serve IPv6."),
)  # fmt: skip

verbose_option = click.option(
    "-v",
    "--verbose",
    is_flag=True,
    callback=_remember_verbose,
    help="Show what the loader and the verifier said.",
)

WAYS: Final = (
    click.option("--attach", type=click.Choice(["auto", "fentry", "kprobe", "tracepoint"]),
                 default="auto", help="Force a way of attaching; an error if it cannot work."),
    click.option("--loader", type=click.Choice(["auto", "libbpf", "bcc"]), default="auto",
                 help="Force a way of loading; an error if it cannot work."),
    click.option("--detail", type=click.Choice(["accepts", "waits", "full"]), default="full",
                 help="How much to trace; `accepts` costs least.  [default: full]"),
    verbose_option,
)  # fmt: skip


def filter_options(command: Command) -> Command:
    """Gives a command every filter option; `take_filters` turns their values into `Filters`."""
    return with_options(command, FILTERS)


ready_file_option = click.option(
    "--ready-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Create this file once every hook is attached and proved.",
)


def sample_option(of: str) -> Callable[[Command], Command]:
    """`--sample`; `of`: what it goes with."""
    return click.option(
        "--sample",
        type=click.IntRange(1, 1_000_000),
        default=1,
        metavar="N",
        help=f"{of}Only one of each N events of a listener, chosen by chance.",
    )


def interval_option(between: str, default_s: float) -> Callable[[Command], Command]:
    """`--interval`: how much time passes between two of them."""
    return click.option(
        "-i",
        "--interval",
        type=seconds(0.1, 86400),
        default=default_s,
        metavar="TIME",
        help=f"{between}: 5s, 500ms, 1m.  [default: {default_s:g}s]",
    )


def duration_option(ends: str = "End after this time") -> Callable[[Command], Command]:
    """`--duration`, which may be left out."""
    return click.option(
        "-d",
        "--duration",
        type=seconds(0.1),
        metavar="TIME",
        help=f"{ends}: 30s, 5m, 1h.",
    )


def ways_of(values: dict[str, Any]) -> dict[str, Any]:
    """What was asked for by `way_options` and `ready_file_option`, as fields of `Config`."""
    names = ("attach", "loader", "detail", "ready_file")
    return {name: values[name] for name in names if name in values}


def way_options(command: Command) -> Command:
    """Gives a command `--attach`, `--loader` and `--verbose`."""
    return with_options(command, WAYS)


def way_options_of_events(command: Command) -> Command:
    """The same but `--detail`: events have all of it."""
    return with_options(command, (*WAYS[:2], *WAYS[3:]))


def with_options(
    command: Command, options: Iterable[Callable[[Callable[..., Any]], Callable[..., Any]]]
) -> Command:
    """Gives a command these options, in this order."""
    for option in reversed(tuple(options)):
        command = option(command)  # type: ignore[assignment]
    return command


def place_options(command: Command) -> Command:
    """As `filter_options`, for a command that takes names of UNIX sockets in place of ports, too.

    Take them out of `places` before `take_filters`.
    """
    places = click.argument(
        "places",
        type=PLACES,
        nargs=-1,
        metavar="[PORTS|PATH|@NAME]...",
        shell_complete=ports,
    )
    return with_options(command, (places, *FILTERS[1:]))


def take_filters(values: dict[str, Any]) -> Filters:
    """Takes the values of `filter_options` out of a command's keyword arguments."""
    ipv4, ipv6 = values.pop("ipv4"), values.pop("ipv6")
    family: Family | None = None
    if ipv4 != ipv6:  # both together mean any, as in `ss -4 -6`
        family = "ipv4" if ipv4 else "ipv6"
    return Filters(
        ports=_union(values.pop("ports") + values.pop("places")),
        pids=_union(values.pop("pids")),
        netns=frozenset(values.pop("netns")),
        family=family,
        comms=frozenset(values.pop("comms")),
        addresses=frozenset(values.pop("addresses")),
        cgroups=_cgroups(values),
    )


def _cgroups(values: dict[str, Any]) -> frozenset[str]:
    """What is in one of each kind that was asked for."""
    kinds = [frozenset(values.pop("cgroups"))]
    kinds += [_union(values.pop(kind)) for kind in ("units", "containers", "pods")]
    asked = [paths for paths in kinds if paths]
    both = reduce(_in_both, asked) if asked else frozenset()
    if asked and not both:
        raise click.UsageError(
            "no process is in all that was asked for of --cgroup, --unit, --container and --pod"
        )
    return both


def _in_both(some: frozenset[str], others: frozenset[str]) -> frozenset[str]:
    """Of two sets of paths, what is in one of each, or below it."""
    inner = {one for one in some if is_below(one, others)}
    return frozenset(inner | {one for one in others if is_below(one, some)})


def _union(sets: Iterable[frozenset[T]]) -> frozenset[T]:
    return frozenset().union(*sets)
