"""A run over time: nothing is lost as parts are joined, and the fair band is where chance is."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise

import pytest

from accepttrace.config import Filters
from accepttrace.model.endpoint import Endpoint
from accepttrace.model.snapshot import Snapshot
from accepttrace.model.timeline import PARTS, Part, Timeline, Worker, leading

from .pictures import count, feed, holder, listener, tracker

PLACE = Endpoint(80, "ipv4", "0.0.0.0")
PIDS = (1001, 1002, 1003)


def run(seconds: int) -> list[Snapshot]:
    """Three workers; in second n the first takes n % 7, the others 1, each after 5 or 900 us."""
    model, pictures = tracker(), []
    holders = [holder(pid) for pid in PIDS]
    taken = Counter[int]()
    waits: dict[int, list[int]] = {pid: [] for pid in PIDS}
    for second in range(1, seconds + 1):
        for pid in PIDS:
            new = second % 7 if pid == PIDS[0] else 1
            taken[pid] += new
            waits[pid] += [900 if second % 2 else 5] * new
        counts = [count(pid, taken[pid], waits_us=waits[pid]) for pid in PIDS]
        feed(model, second, counts, [listener(100, holders, queue=second % 5)])
        pictures.append(model.snapshot("process"))
    return pictures


def timeline(pictures: list[Snapshot]) -> list[Part]:
    line = Timeline()
    for picture in pictures:
        line.take(picture)
    ((place, parts),) = line.busiest()
    assert place == PLACE
    return list(parts)


@pytest.mark.parametrize("seconds", [1, 5, PARTS, PARTS + 1, 3 * PARTS + 7])
def test_all_of_it_is_in_some_part(seconds: int) -> None:
    pictures = run(seconds)
    parts = timeline(pictures)
    assert len(parts) <= PARTS + 1
    taken, waits = Counter[Worker](), Counter[int]()
    for part in parts:
        taken += part.taken
        waits += part.waits
    last = {row.pid: row.accepts for row in pictures[-1].acceptors if row.accepts}
    assert {worker.pid: number for worker, number in taken.items()} == last
    assert waits == +Counter(
        {3: sum((n % 7) + 2 for n in range(2, seconds + 1, 2)),
         10: sum((n % 7) + 2 for n in range(1, seconds + 1, 2))}
    )  # fmt: skip
    assert {part.lost for part in parts} == {0}
    assert max(part.queue or 0 for part in parts) == min(seconds, 4)
    edges = [(part.began_s, part.until_s) for part in parts]
    assert len({until_s - began_s for began_s, until_s in edges[:-1]}) <= 1  # all are as long
    assert edges[0][0] == 0.0
    assert edges[-1][1] == seconds
    assert all(before[1] == after[0] for before, after in pairwise(edges))


def test_the_first_is_the_one_that_took_most() -> None:
    assert leading(timeline(run(20)))[0].pid == PIDS[0]


def test_chance_stays_in_the_band_99_times_of_100() -> None:
    draw, out = random.Random(5), 0
    for _ in range(1000):
        part = Part(0, 1, takers=4)
        for worker in draw.choices(range(4), k=400):
            part.taken[Worker(worker, "")] += 1
        assert part.fair is not None
        low, high = part.fair
        out += not low <= part.taken[Worker(0, "")] / part.accepts <= high
    assert 2 <= out <= 25


def test_who_shares_nothing_has_no_band() -> None:
    assert Part(0, 1, Counter({Worker(1, ""): 5}), takers=1).fair is None
    assert Part(0, 1, takers=4).fair is None


def test_no_share_is_less_than_none_or_more_than_all() -> None:
    assert Part(0, 1, Counter({Worker(1, ""): 1}), takers=2).fair == (0.0, 1.0)


def test_the_busiest_places_are_shown_and_none_with_one_of_a_hundred_connections() -> None:
    def shown(*taken: int) -> list[int]:
        ports = range(80, 80 + len(taken))
        model = tracker(Filters(ports=frozenset(ports)))
        listeners = [listener(port, [holder(port)], port=port) for port in ports]
        feed(model, 1, [count(p, n, p) for p, n in zip(ports, taken, strict=True)], listeners)
        line = Timeline()
        line.take(model.snapshot("process"))
        return [place.local_port for place, _ in line.busiest()]

    assert shown(30, 10, 50, 20, 40) == [82, 84, 80, 83]  # four
    assert shown(99, 1) == [80]
    assert shown(98, 2) == [80, 81]


def test_no_connections_are_no_place() -> None:
    model = tracker()
    feed(model, 1, [], [listener(100, [holder(1001)])])
    line = Timeline()
    line.take(model.snapshot("process"))
    assert line.busiest() == []
