"""Listeners of AF_UNIX: asked for by `--unix`, by their names, or by their processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from accepttrace.errors import UsageError
from accepttrace.facts.matching import by_process

if TYPE_CHECKING:
    from accepttrace.config import Config, Filters
    from accepttrace.run.who import Sought


def take_names(values: dict[str, Any]) -> frozenset[str] | None:
    """Takes `--unix` and the names out of a command's arguments; None: AF_UNIX was not asked for.

    What is left suits `take_filters`.
    """
    places = values["places"]
    values["places"] = tuple(each for each in places if not isinstance(each, str))
    names = frozenset(each for each in places if isinstance(each, str))
    return names if values.pop("unix") or names else None


def check(
    names: frozenset[str] | None, filters: Filters, values: dict[str, Any], udp: bool
) -> None:
    """UsageError where they do not go together."""
    if names is None:
        return
    if udp or values["to"] is not None or values["why"] is not None:
        raise UsageError("--udp, --to and --why are not about UNIX sockets", "ask one by one")
    if filters.addresses or filters.family or (filters.ports and not names):
        raise UsageError(
            "UNIX sockets have no port, address or version of IP",
            "name them by path or @NAME; netns, pid, comm and cgroup filter them",
        )


def check_traced(config: Config) -> None:
    """UsageError where UNIX sockets are to be traced with what means nothing to them."""
    filters = config.filters
    if config.udp or filters.ports or filters.addresses or filters.family:
        raise UsageError(
            "UNIX sockets have no port, address or version of IP",
            "trace them apart; netns, pid, comm and cgroup filter them",
        )
    if config.locality:
        raise UsageError(
            "no CPU receives what UNIX sockets are sent", "leave away what asks for `local`"
        )


def sought(names: frozenset[str] | None, filters: Filters) -> Sought:
    """Who asks for processes alone is told of both families."""
    from accepttrace.run.who import Sought

    if names is not None:
        return Sought(bool(filters.ports), names)
    placed = filters.ports or filters.addresses or filters.family
    return Sought(True, frozenset() if by_process(filters) and not placed else None)


def described(names: frozenset[str] | None, filters: Filters) -> str:
    """As `Filters.describe`, with the names."""
    if names is None:
        return filters.describe()
    return " ".join(filter(None, [filters.describe(), *(sorted(names) or ["UNIX sockets"])]))
