"""`accepttrace who --why`: reads its options, looks who uses the port, and tries to bind it."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from accepttrace.cli.options import parse_place, parse_port
from accepttrace.cli.whonetns import entering
from accepttrace.config import Family, Filters
from accepttrace.errors import EXIT_BAD_VERDICT, EXIT_NO_VERDICT, UsageError

if TYPE_CHECKING:
    from accepttrace.facts.binding import Attempt, PortUse, Wish
    from accepttrace.facts.naming import NameUse
    from accepttrace.model.who.binding import Finding

STATUS: Final[dict[str, int]] = {
    "works": 0,
    "refused": EXIT_BAD_VERDICT,
    "not known": EXIT_NO_VERDICT,
}
LAST_UID: Final = (1 << 32) - 2  # the one after it stands for none


def parse_why(text: str) -> int | str:
    """A port, or the name of a UNIX socket. ValueError says what is wrong, for people."""
    found = parse_place(text)
    return found if isinstance(found, str) else parse_port(text)


def parse_uid(text: str) -> int:
    """A user by number or name. ValueError if there is none."""
    if text.isascii() and text.isdigit():
        if int(text) > LAST_UID:
            raise ValueError(f"{text} is no user's number")
        return int(text)
    try:
        return pwd.getpwnam(text).pw_uid
    except (KeyError, ValueError):
        raise ValueError(f"{text!r} is no user here: give a name or a number") from None


def wish_of(
    port: int,
    filters: Filters,
    device: str | None,
    uid: int | None,
    options: dict[str, bool],
) -> Wish:
    """What is asked for. UsageError where it makes no sense."""
    from accepttrace.facts.binding import Wish

    if filters != Filters(netns=filters.netns, addresses=filters.addresses, family=filters.family):
        raise UsageError(
            "--why is about one port of one network namespace",
            "beside its own options it takes --address, --netns and -6",
        )
    if len(filters.netns) > 1 or len(filters.addresses) > 1:
        raise UsageError("--why takes one --netns and one --address", "ask once for each")
    address, family = _address(filters, options["v6only"])
    return Wish(
        family=family,
        address=address,
        port=port,
        device=device,
        uid=os.geteuid() if uid is None else uid,
        **options,
    )


def _address(filters: Filters, v6only: bool) -> tuple[str, Family]:
    """That of --address, else any of the family asked for. UsageError where they differ."""
    v6 = filters.family == "ipv6" or v6only
    address = next(iter(filters.addresses), "::" if v6 else "0.0.0.0")
    family: Family = "ipv6" if ":" in address else "ipv4"
    if family == "ipv4" and v6:
        raise UsageError(f"{address} is no address of IPv6", "leave -6 or --v6only away")
    if family == "ipv6" and filters.family == "ipv4":
        raise UsageError(f"{address} is no address of IPv4", "leave -4 away")
    return address, family


def explain(wish: Wish, filters: Filters) -> Finding:
    """Look who uses the port, and try."""
    from accepttrace.model.who.binding import finding
    from accepttrace.sockets.portuse import port_use

    netns = next(iter(filters.netns), None)
    with entering():
        use, place = port_use(netns, wish.port, wish.address)
    attempts, probed = _attempts(wish, use, place.netns_path)
    return finding(wish, use, attempts, probed, place.local)


def explain_name(name: str, uid: int | None, filters: Filters) -> NameUse:
    """Look who has it, and whether it could be bound."""
    from accepttrace.sockets.nameuse import name_use

    if filters != Filters(netns=filters.netns) or len(filters.netns) > 1:
        raise UsageError("--why is about one name of UNIX sockets", "it takes --uid and --netns")
    if filters.netns and not name.startswith("@"):
        raise UsageError("a path is the same in every network namespace", "leave --netns away")
    with entering():
        return name_use(name, os.geteuid() if uid is None else uid, next(iter(filters.netns), None))


def _attempts(wish: Wish, use: PortUse, netns_path: str | None) -> tuple[list[Attempt], ...]:
    """Of the wish, and of what else could work; then those that show what others have set."""
    from accepttrace.facts.binding import Attempt
    from accepttrace.model.who import binding as model
    from accepttrace.sockets.trybind import try_all

    known = try_all(model.probes(use.users), netns_path) if model.has_strangers(use) else []

    def tried(wishes: Iterable[Wish]) -> list[Attempt]:
        harmless = {each: model.may_be_tried(each, use, known) for each in wishes}
        done = try_all([each for each, is_so in harmless.items() if is_so], netns_path)
        return done + [Attempt(each, None, True) for each, is_so in harmless.items() if not is_so]

    attempts = tried([wish])
    if not attempts[0].code:
        return attempts, known
    others = model.remedies(wish, use, attempts[0].code)
    there = [user for user in use.users if model.overlaps(wish, user)]
    probed = tried(model.probes(there))
    return attempts + tried(others), known + probed
