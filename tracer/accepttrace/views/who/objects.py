"""The answer of `who` for programs: a JSON object a listener. Schema: views/who.schema.json."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from accepttrace.facts.kin import Surroundings
from accepttrace.facts.places import unit_of
from accepttrace.facts.records import Holder, Listener, Process, Serving
from accepttrace.model.who.diagnoses import diagnoses
from accepttrace.model.who.diagnosis import Diagnosis
from accepttrace.model.who.serving import open_of
from accepttrace.model.who.tree import Answer, Socket
from accepttrace.views.jsonl import HOLDER_FIELDS, PROGRAM_FIELDS, dump, named
from accepttrace.views.unread import LISTED, objects
from accepttrace.views.who.diagnoses import diagnosis_object, place_object

UNSEEN: Final = ("queue_max", "arrived", "accepted", "selected", "dropped_overflow",
                 "lost_on_close", "migrated_in", "migrated_out")  # fmt: skip
PROCESS_FIELDS: Final = tuple(Process.__dataclass_fields__)
SCHEMA: Final = 1


def json_lines(answer: Answer) -> Iterator[str]:
    """Named as `listeners[]` of `top`; null: only tracing, or BPF, could show it."""
    for group in answer.groups:
        for socket in group.sockets:
            yield dump({"type": "listener", **_listener(socket, answer)})
    for serving in answer.inventory.serving:
        yield dump({"type": "serving", **_serving(serving, answer.around)})
    found = diagnoses(answer)
    for one in found:
        yield dump({"type": "diagnosis", **diagnosis_object(one)})
    yield dump({"type": "summary", **_summary(answer, found)})


def _summary(answer: Answer, found: Sequence[Diagnosis]) -> dict[str, object]:
    inventory = answer.inventory
    return {
        "schema": SCHEMA,
        "time": answer.time,
        "listeners": len(inventory.listeners),
        "groups": len(answer.groups),
        "diagnoses": len(found),
        "faults": sum(one.is_fault for one in found),
        "partial": inventory.partial,
        "unread": objects(inventory.unread),
        "unread_more": max(len(inventory.unread) - LISTED, 0),
        "blind": answer.blind or None,
    }


def _listener(socket: Socket, answer: Answer) -> dict[str, object]:
    row = socket.row
    return {
        "inode": row.inode,
        **place_object(row),
        "socket_type": "seqpacket" if row.seqpacket else "stream",
        "v6only": row.v6only,
        "uid": row.uid,
        "backlog": row.backlog,
        "queue": row.queue,
        "oldest_wait_us": row.oldest_us if row.queue else None,
        "half_open": row.half_open,
        "drops": row.drops,
        "defer_accept": row.defers,
        **_options(row),
        **dict.fromkeys(UNSEEN),
        "sharing": row.sharing,
        "group": row.group,
        "group_size": row.group_size,
        "member": None if row.sharing != "reuseport" else socket.rank,
        "selector": row.selector,
        "selector_program": row.program and named(row.program, PROGRAM_FIELDS),
        "way": socket.way.how,
        "way_from": socket.way.source,
        "way_strangers": list(socket.way.strangers),
        "same_file": socket.way.same_file,
        "holders": [_holder(one, row, answer) for one in row.holders],
        "partial": answer.inventory.partial,
        "unread": objects(answer.inventory.unread),
    }


def _options(row: Listener) -> dict[str, object]:
    known = row.options
    return {
        "reuseport": known.reuseport if known else None,
        "mptcp": known.mptcp if known else None,
        "fast_open": known.fast_open if known else None,
        "incoming_cpu": known.incoming_cpu if known else None,
        "in_kernel": known.in_kernel if known else None,
    }


def holder_object(holder: Holder) -> dict[str, object]:
    """As in `holders[]`, with where the process belongs."""
    return named(holder, (*HOLDER_FIELDS, "cgroup", "container", "ns_pid", "pod"))


def _holder(holder: Holder, row: Listener, answer: Answer) -> dict[str, object]:
    number = open_of(holder, row, answer.inventory)
    return {
        **holder_object(holder),
        "came": holder.came,
        **kin_object(holder, answer.around),
        "open_connections": number,
    }


def _serving(one: Serving, around: Surroundings) -> dict[str, object]:
    where, process = one.where, one.process
    return {
        "netns": where.netns,
        "family": where.family,
        "local_port": where.port,
        **named(process, PROCESS_FIELDS),
        **kin_object(process, around),
        "open_connections": one.connections,
    }


def kin_object(holder: Holder | Process, around: Surroundings) -> dict[str, object]:
    """Whose child it is, whose it is, where it runs and since when."""
    kin = around.kin.get(holder.pid)
    age = around.age_s(holder.start_ticks)
    return {
        "parent": kin.parent if kin else None,
        "uid": kin.uid if kin else None,
        "user": around.users.get(kin.uid) if kin and kin.uid is not None else None,
        "cpus": kin.cpus if kin else None,
        "stopped": kin.stopped if kin else None,
        "unit": unit_of(holder.cgroup),
        "up_s": None if age is None else round(age, 2),
    }
