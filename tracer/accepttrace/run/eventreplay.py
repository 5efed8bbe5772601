"""`accepttrace events --recording`: events of a recording, as if they came now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from accepttrace.config import Config, Filters
from accepttrace.errors import AcceptTraceError
from accepttrace.facts.connections import Account, ConnectionEvent, EventCounts, Wish
from accepttrace.facts.matching import by_process, is_address, is_within, process_matches
from accepttrace.facts.records import Process
from accepttrace.model.ledger import Ledger, ledger_of
from accepttrace.run.events import Asked, lines_for, say_what_is_not_seen
from accepttrace.run.eventsource import fits
from accepttrace.run.output import say, standard_output
from accepttrace.run.pace import Pace
from accepttrace.run.replay import Recording, require_events, say_if_cut
from accepttrace.store.steps import Accounted, Happened
from accepttrace.views.connections import summary

_BEYOND: Final = 1 << 63  # what no number of the kernel reaches, and no year
_NOTHING: Final = Account(0.0, EventCounts(0, 0, 0, 0, 0))


class Recorded:
    """The events of a recording that are of the kinds asked for; after the last, the account."""

    def __init__(self, recording: Recording, filters: Filters, wish: Wish) -> None:
        require_events(recording)
        self._recording, self._filters, self._wish = recording, filters, wish
        self._account = _NOTHING
        self._there = self._left_out = 0

    def batches(self) -> Iterator[list[ConnectionEvent]]:
        """As they were written, without what is left out. AcceptTraceError: somebody else did."""
        for step in self._recording.steps():
            if isinstance(step, Accounted):
                self._account = step.account
            elif isinstance(step, Happened):
                self._there += len(step.events)
                if not all(map(makes_sense, step.events)):
                    raise AcceptTraceError(f"an event in {self._recording.path} makes no sense")
                events = [event for event in step.events if event.type in self._wish.kinds]
                kept = [event for event in events if self._wanted(event)]
                self._left_out += len(events) - len(kept)
                yield kept

    def ledger(self, shown: int, not_shown: int) -> Ledger:
        """Of all, as far as they were read."""
        account = self._account
        left_out = account.left_out + self._left_out
        if account.accepts is not None:  # else nobody knows what was lost at the end
            not_shown += account.counts.written - account.left_out - self._there
        return ledger_of(account, shown, left_out, not_shown)

    def _wanted(self, event: ConnectionEvent) -> bool:
        wish = self._wish
        if wish.slower_us and event.type == "accept" and (event.wait_us or 0) < wish.slower_us:
            return False
        if wish.peer is not None and not is_within(event.peer_address or "::", wish.peer):
            return False
        return matches(self._filters, event)


def makes_sense(event: ConnectionEvent) -> bool:
    """Whether it can be shown: anybody may have written it. Of names all can."""
    addresses = event.local_address or "::", event.peer_address or "::"
    numbers = (abs(value) for value in event if isinstance(value, int))
    return event.time_ns >= 0 and max(numbers) < _BEYOND and all(map(is_address, addresses))


def matches(filters: Filters, event: ConnectionEvent) -> bool:
    """Whether it is what the filters ask for, as far as events tell; of control groups they do not.

    What is by nobody, as a loss, is by anybody.
    """
    if filters.ports and event.local_port not in filters.ports:
        return False
    if filters.netns and event.netns not in filters.netns:
        return False
    if not by_process(filters) or event.comm is None:
        return fits(filters, event)
    process = Process(event.pid or 0, comm=event.comm or "", name=event.name or "")
    return process_matches(filters, process) and fits(filters, event)


def replay_events(recording: Recording, config: Config, asked: Asked, pace: Pace) -> None:
    """Write those that are asked for, and the account of all."""
    recorded = Recorded(recording, config.filters, asked.wish)
    begun, out = recording.beginning, standard_output(pace)
    say_what_is_not_seen(asked, begun.sees, begun.meta.attach)
    lines = lines_for(config, asked, out, round(recording.started.timestamp() * 1e9))
    filtered = f"{begun.meta.filter} {config.filters.describe()}".strip()
    shown = not_shown = 0
    try:
        out.write(lines.begin(replace(begun.meta, filter=filtered), begun.sample or 1))
        for events in recorded.batches():
            room = len(events) if config.count is None else config.count - shown
            not_shown += len(events[room:])
            shown += len(events[:room])
            if events[:room]:
                out.write(lines.rows(events[:room]))
                out.flush()
            if pace.ended:
                say("ended before the end of the recording")
                return
        ledger = recorded.ledger(shown, not_shown)
        out.write(lines.end(ledger))
        out.finish()
    except BrokenPipeError:  # the reader has seen enough
        return
    say(summary(ledger))
    say_if_cut(recording)
