"""What was read: a record says nothing of what it is not given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

import pytest

from accepttrace.facts import binding, connections, datagrams, diagnosis, kin, meta, records, sight

ROOMS = (binding, connections, datagrams, diagnosis, kin, meta, records, sight)
# What holds of most, where nothing would be a claim.
OTHERWISE = {
    ("AcceptorCount", "via"): "syscall",
    ("Meta", "protocol"): "tcp",
    ("PortUse", "complete"): True,
    ("PortUse", "exact"): True,
    ("Unread", "holders"): True,
    ("Wish", "sample"): 1,  # every connection
}


def defaults(kind: Any) -> Iterator[tuple[str, Any]]:
    if is_dataclass(kind):
        for field in fields(kind):
            if field.default is not MISSING:
                yield field.name, field.default
            elif field.default_factory is not MISSING:
                yield field.name, field.default_factory()
    else:
        yield from getattr(kind, "_field_defaults", {}).items()


KINDS: dict[str, Any] = {
    f"{room.__name__.rpartition('.')[2]}.{kind.__name__}": kind
    for room in ROOMS
    for kind in vars(room).values()
    if isinstance(kind, type) and kind.__module__ == room.__name__
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_what_a_record_is_not_given_is_nothing(kind: Any) -> None:
    for name, default in defaults(kind):
        said = OTHERWISE.get((kind.__name__, name))
        assert default == said or not (default or said) or type(default) in KINDS.values()


@pytest.mark.parametrize(
    ("protocol", "one", "every"),
    [
        ("tcp", ":80", "every listener"),
        ("udp", "UDP :80", "every UDP socket"),
        ("unix", "UNIX :80", "every UNIX listener"),
    ],
)
def test_a_run_says_in_words_what_it_was_asked_for(protocol: Any, one: str, every: str) -> None:
    said = [
        meta.Meta("1", "6.1", "fentry", "libbpf", (), "", asked, protocol).asked
        for asked in (":80", "")
    ]
    assert said == [one, every]


def test_what_was_dropped_before_is_known_where_all_was_looked_at() -> None:
    count = {1: records.NamespaceCount(1, {7: 3})}
    for complete, elsewhere in ((True, 0), (False, None)):
        before = records.Baseline(namespaces=count, complete=complete)
        dropped = [before.drops(*place) for place in ((1, 7), (1, 8), (2, 7))]
        assert dropped == [3, 0, elsewhere]
