"""Was it fair? The word for counts that people published, for each kind of case, and over time."""

from __future__ import annotations

import random
from collections.abc import Hashable, Sequence
from dataclasses import replace

import pytest

from accepttrace.config import Filters
from accepttrace.facts.reading import Reading
from accepttrace.facts.records import (
    AcceptorCount,
    Counts,
    Inventory,
    Listener,
    Losses,
    Program,
    Selector,
)
from accepttrace.model.fairshare import Stay
from accepttrace.model.snapshot import Snapshot, Verdict
from accepttrace.model.tracker import Tracker
from accepttrace.model.verdict import WORDS, Case, Finding, Member, judge
from accepttrace.model.verdicts import incomplete
from accepttrace.model.watch import GONE, LAST, SetWatch, Watch
from accepttrace.views.verdicts import sentences
from tests.unit.pictures import (
    LONG_AGO_S,
    count,
    feed,
    four_workers,
    holder,
    listener,
    reuseport,
    tracker,
    unbalanced,
)
from tests.unit.published import PUBLISHED, Published

WATCHES, LOOKS = 60, 100  # the statistics alone meet a thousand: test_evidence


def only(snapshot: Snapshot) -> Verdict:
    (verdict,) = snapshot.verdicts
    return verdict


def finding(counts: Sequence[int], *, drawn: bool = True, **facts: object) -> Finding:
    """Of members that all were there all the time, with evidence against an even split."""
    fair = sum(counts) / len(counts)
    members = [
        Member(f"worker {pid}", pid, None, n, fair, there=True) for pid, n in enumerate(counts, 1)
    ]
    return judge(replace(Case("worker", members, drawn, 0.0), **facts))  # type: ignore[arg-type]


@pytest.mark.parametrize("case", PUBLISHED, ids=lambda case: case.what)
def test_published_counts_get_the_right_word(case: Published) -> None:
    build = four_workers if case.sharing == "shared" else reuseport
    verdict = only(build(case.counts))
    assert verdict.finding.word == case.word
    assert verdict.finding.connections == sum(case.counts)
    if case.word == "UNEVEN":
        most = max(case.counts)
        first = verdict.finding.standouts[0]
        assert (first.pid, first.accepts) == (1001 + case.counts.index(most), most)
        assert first.ratio == pytest.approx(most * len(case.counts) / sum(case.counts))


def test_one_that_takes_more_is_named_with_what_chance_would_do() -> None:
    found = finding((349, 3, 3, 15, 0, 0, 0, 0))
    assert found.text == (
        "worker 1 took 7.55x its share (349 of 370), 4 of 8 workers got none;"
        " chance alone reaches 1.36x 1 time in 20; p<1e-9"
    )
    assert [one.pid for one in found.standouts] == [1, 4, 2, 3, 5, 6, 7, 8]
    assert (found.p or 0) < 1e-100


def test_of_very_many_that_stand_out_the_farthest_are_named() -> None:
    found = finding((*range(1000, 0, -10), 5000), drawn=False)
    assert len(found.standouts) == 16
    assert [one.accepts for one in found.standouts[:2]] == [5000, 1000]
    assert [one.accepts for one in found.standouts[-2:]] == [20, 10]


def test_a_fair_split_says_how_far_chance_goes() -> None:
    found = finding((155, 170, 150, 160, 145, 152, 148, 159))
    assert found.text == (
        "8 workers, 1,239 connections; largest 1.10x (chance alone reaches 1.19x 1 time in 20);"
        " p=0.89"
    )
    assert (found.word, found.needed, found.standouts) == ("FAIR", None, ())


def test_an_effect_too_small_for_a_word_is_none_however_certain() -> None:
    found = finding((1_100_000, 1_000_000, 1_000_000, 1_000_000))
    assert found.word == "FAIR"
    assert (found.p or 0) < 1e-300
    assert "p<1e-9" in found.text


def test_evidence_that_does_not_hold_for_ever_is_none() -> None:
    assert finding((700, 100, 100, 100)).word == "UNEVEN"
    assert finding((700, 100, 100, 100), p_always=0.03).word == "FAIR"


def test_too_few_says_how_many_are_needed() -> None:
    assert finding((9, 5, 3)).text == (
        "17 connections over 3 workers; about 28 show a doubled share"
    )
    assert finding((0, 0, 0)).word == "TOO FEW"
    assert finding((20, 0, 0, 0, 0, 0, 0, 0)).word == "UNEVEN"  # few, but certain


def test_more_even_than_chance_is_by_turns() -> None:
    assert finding((250, 250, 250, 250)).word == "ROUND ROBIN"
    assert finding((250, 250, 250, 250), drawn=False).word == "ROUND ROBIN"
    assert finding((260, 240, 255, 245), drawn=False).word == "FAIR"


def test_without_a_law_it_is_described_with_what_decides() -> None:
    one = finding((400, 0, 0, 0), drawn=False, because="epoll wakes the last")
    assert (one.word, one.p) == ("ONE ACCEPTOR", None)
    assert one.text == "worker 1 took all 400, 3 more wait; epoll wakes the last"
    idle = finding((500, 500, 0, 0), drawn=False)
    assert idle.word == "IDLE WORKERS"
    assert idle.text == "2 of 4 workers took none of 1,000 connections; the others are even"
    assert finding((700, 200, 60, 40), drawn=False).word == "UNEVEN"


def test_a_worker_that_has_only_just_come_is_not_idle() -> None:
    members = [Member(f"worker {n}", n, None, 300, 299.9, there=True) for n in (1, 2, 3)]
    newborn = Member("worker 4", 4, None, 0, 0.3, there=True)
    assert judge(Case("worker", [*members, newborn])).word in ("FAIR", "ROUND ROBIN")


def test_a_worker_that_began_since_the_last_look_and_took_nothing_may_not_be_ready_yet() -> None:
    model, workers = tracker(), [*map(holder, (1, 2, 3))]
    feed(model, 1, [count(pid, 100) for pid in (1, 2, 3)], [listener(100, workers)])
    newborn = holder(9, start=round((LONG_AGO_S + 1.1) * 100))
    taken = [count(pid, 200) for pid in (1, 2, 3)]
    feed(model, 2, taken, [listener(100, [*workers, newborn])])
    assert only(model.snapshot()).finding.word in ("FAIR", "ROUND ROBIN")
    feed(model, 3, [count(pid, 300) for pid in (1, 2, 3)], [listener(100, [*workers, newborn])])
    assert only(model.snapshot()).finding.word == "IDLE WORKERS"


def test_few_connections_of_one_that_has_only_just_come_are_nothing_uneven() -> None:
    """As two where 1.5 were to be expected; who took much more for long is named all the same."""
    newborn = Member("worker 4", 4, None, 2, 1.5, there=True)
    even = [Member(f"worker {n}", n, None, 300, 300.2, there=True) for n in (1, 2, 3)]
    found = judge(Case("worker", [*even, newborn]))
    assert found.word in ("FAIR", "ROUND ROBIN")
    assert found.ratio == pytest.approx(300 / 300.2)
    greedy = [Member("worker 1", 1, None, 501, 300.2, there=True), even[1]]
    found = judge(Case("worker", [*greedy, even[2]._replace(accepts=99), newborn]))
    assert (found.word, [one.pid for one in found.standouts]) == ("UNEVEN", [1, 3])


@pytest.mark.parametrize(("aside", "because"), [(1, "same order"), (2, "wait for a lock")])
def test_workers_that_stand_aside_may_wait_for_a_lock(aside: int, because: str) -> None:
    """More than one that is called as they are: a single one may be their parent."""
    waiting = [replace(holder(pid), waits_in="epoll") for pid in (1, 2)]
    others = [holder(10 + number, False) for number in range(aside)]
    model = tracker()
    for second in (1, 2):
        taken = [count(1, 90 * second), count(2, 10 * second)]
        feed(model, second, taken, [listener(100, [*waiting, *others])])
    found = only(model.snapshot()).finding
    assert found.word == "UNEVEN"
    assert because in found.text


def test_one_that_takes_all_is_said_to_where_nobody_else_was_seen_to_wait() -> None:
    model, others = tracker(), [holder(2, None), holder(3, None)]
    for taken in (20, 40):
        feed(model, taken / 10, [count(1, taken)], [listener(100, [holder(1), *others])])
        verdicts = model.snapshot().verdicts
        assert [one.finding.word for one in verdicts] == ["ONE ACCEPTOR"] * (taken > 30)
    assert "2 more hold the socket" in verdicts[0].finding.text


def test_who_was_never_seen_there_is_held_to_no_share() -> None:
    members = [Member("a", 1, None, 50, 50, True), Member("b", 2, None, 50, 50, True)]
    ghost = Member("c", 3, None, 900, 0.0, there=False)
    assert judge(Case("worker", [*members, ghost], drawn=True)).connections == 100


def test_one_process_alone_has_nothing_to_split() -> None:
    model = tracker()
    feed(model, 1, [count(1, 9)], [listener(100, [holder(1), holder(2, False)])])
    found = only(model.snapshot()).finding
    assert (found.word, found.text) == (
        "ONE ACCEPTOR",
        "pid 1 (nginx: worker) alone accepts here: 9 connections",
    )
    feed(model, 2, [], [])
    assert tracker().snapshot().verdicts == ()


def test_what_is_incomplete_has_no_verdict() -> None:
    lost = only(four_workers(losses=Losses(map_full=4))).finding
    assert (lost.word, lost.connections, lost.standouts) == ("INCOMPLETE", 0, ())
    assert lost.text == "4 events were lost by the tracer: the counts are lower bounds"
    rows = unbalanced().listeners
    found = incomplete(rows, Losses())
    assert found is not None
    assert found.text.startswith(f"the books of {rows[0].inode} do not balance")
    assert incomplete(four_workers().listeners, Losses()) is None
    for accepted, unseen, word in ((0, 80, "INCOMPLETE"), (94, 5, "INCOMPLETE"), (95, 5, None)):
        hidden = [replace(four_workers().listeners[0], accepted=accepted, unseen=unseen)]
        said = incomplete(hidden, Losses())
        assert (said and said.word) == word
        assert said is None or said.text.startswith(f"at least {unseen} connections were accepted")
    assert WORDS[0] == found.word


def test_a_queue_that_nobody_empties_is_stuck() -> None:
    model = tracker()
    members = [listener(200 + n, [holder(1 + n)], group=7, size=2) for n in range(2)]
    feed(model, 1, [count(1, 100, 200), count(2, 100, 201)], members)
    stuck = replace(members[1], queue=3)
    feed(model, 2, [count(1, 200, 200), count(2, 100, 201)], [members[0], stuck])
    feed(model, 9, [count(1, 300, 200), count(2, 100, 201)], [members[0], stuck])
    snapshot = model.snapshot()
    waited = [row.oldest_wait_us for row in snapshot.listeners]
    if waited[1] is not None:
        assert only(snapshot).finding.word == "STUCK"


def test_the_gravest_comes_first_and_is_said_where() -> None:
    model = tracker(Filters())
    shared = [listener(100, [holder(1), holder(2)]), listener(101, [holder(3), holder(4)], port=81)]
    taken = [count(1, 500), count(2, 500), count(3, 900, 101), count(4, 100, 101)]
    feed(model, 1, taken, shared)
    first, second = model.snapshot().verdicts
    assert (first.finding.word, first.local_port) == ("UNEVEN", 81)
    assert (second.finding.word, second.local_port) == ("FAIR", 80)
    said = sentences(model.snapshot())
    assert said[0].startswith("UNEVEN: 0.0.0.0:81: worker 3 took 1.80x its share (900 of 1,000)")


class Group:
    """A group of workers, each with a socket, that a hash feeds."""

    def __init__(self, members: int, window_s: float | None = None) -> None:
        meta = four_workers().meta
        self.model = Tracker(meta, Filters(), 0.0, None, window_s=window_s)
        self.now = 0
        self.first = 1
        self.size = members
        self.taken: dict[int, int] = {}

    def reload(self) -> None:
        """New workers with new sockets in the place of all."""
        self.first += self.size

    def serve(self, counts: Sequence[int], seconds: int = 1) -> Verdict:
        self.now += seconds
        pids = range(self.first, self.first + self.size)
        for pid, n in zip(pids, counts, strict=True):
            self.taken[pid] = self.taken.get(pid, 0) + n
        rows = [self._row(pid) for pid in pids]
        sockets = [self._socket(pid) for pid in pids]
        counted = Counts(tuple(rows), at_s=self.now, ahead_s=1e6)
        self.model.update(Reading(counted, Inventory(tuple(sockets)), wall="2026-01-01T00:00:00Z"))
        found = [one for one in self.model.snapshot().verdicts if one.finding.members > 1]
        return found[0]

    def _row(self, pid: int) -> AcceptorCount:
        return count(pid, self.taken[pid], 1000 + pid)

    def _socket(self, pid: int) -> Listener:
        return listener(1000 + pid, [holder(pid)], group=7, size=self.size)


def draw(dice: random.Random, connections: int, weights: Sequence[float]) -> list[int]:
    taken = dice.choices(range(len(weights)), weights, k=connections)
    return [taken.count(member) for member in range(len(weights))]


def test_looking_all_day_raises_few_false_alarms() -> None:
    """100 looks at a fair group that is reloaded every 20: at most 5 % of the watches may err."""
    dice = random.Random(3)
    alarms = 0
    for _ in range(WATCHES):
        group, words = Group(4), set()
        for look in range(LOOKS):
            if look and look % 20 == 0:
                group.reload()
            words.add(group.serve(draw(dice, 40, [1] * 4)).finding.word)
        alarms += "UNEVEN" in words
    assert alarms <= WATCHES * 0.05


def test_a_doubled_share_is_found_soon() -> None:
    dice = random.Random(5)
    found = 0
    for _ in range(WATCHES):
        group = Group(8)
        verdicts = [group.serve(draw(dice, 30, [14, *[6] * 7])) for _ in range(10)]
        named = {one.pid for v in verdicts for one in v.finding.standouts if one.ratio > 1}
        found += 1 in named
    assert found >= WATCHES * 0.8


def test_an_imbalance_that_begins_late_is_seen_in_the_window() -> None:
    """After an hour of an even split, one worker takes most of a minute."""
    dice = random.Random(9)
    whole, recent = Group(4), Group(4, window_s=60)
    for _ in range(360):
        counts = draw(dice, 200, [1] * 4)
        even = [group.serve(counts, 10) for group in (whole, recent)]
    assert {one.finding.word for one in even} == {"FAIR"}
    for _ in range(12):
        counts = draw(dice, 100, [7, 1, 1, 1])
        late = [group.serve(counts, 5) for group in (whole, recent)]
    assert [one.finding.word for one in late] == ["FAIR", "UNEVEN"]
    verdict = late[1]
    assert verdict.over_s == 60
    assert 3600 < (verdict.since_s or 0) < 3640
    assert verdict.finding.connections == pytest.approx(1200, abs=100)
    (row,) = [r for r in recent.model.snapshot().acceptors if r.pid == 1]
    assert row.recent_ratio == pytest.approx(2.8, abs=0.2)
    assert row.recent_share == pytest.approx(0.7, abs=0.05)
    assert (row.fair_ratio or 0) < 1.1
    summary = recent.model.summary().verdicts[0]
    assert (summary.finding.word, summary.over_s) == ("FAIR", 3660)


def test_a_group_that_bpf_feeds_is_only_described() -> None:
    model = tracker()
    members = [
        replace(listener(200 + n, [holder(1 + n)], group=7, size=2), selector="ebpf")
        for n in range(2)
    ]
    feed(model, 1, [count(1, 900, 200), count(2, 100, 201)], members)
    found = only(model.snapshot()).finding
    assert (found.word, found.p) == ("UNEVEN", None)
    assert found.text.endswith("; ebpf chooses, not the hash")


def fixed_clients(accepts: int, clients: int, unknown: int = 0) -> Finding:
    """A group of two, of which one took `accepts` connections, from so many clients."""
    model = tracker()
    members = [
        replace(listener(200 + n, [holder(1 + n)], group=7, size=2), selector="hash")
        for n in range(2)
    ]
    other = replace(count(1, 40, 200), clients=(1 << 128) - 1)
    top = replace(count(2, accepts, 201), clients=(1 << clients) - 1, wait_unknown=unknown)
    feed(model, 1, [other, top], members)
    return only(model.snapshot()).finding


def test_clients_that_return_from_the_same_ports_draw_no_lots() -> None:
    few = fixed_clients(400, 10)
    assert (few.word, few.p) == ("UNEVEN", None)
    assert few.text.endswith(
        "the same clients (address and port) return to it, about 10, and the hash sends each to"
        " one socket always"
    )
    assert fixed_clients(400, 128).p is not None  # many: chance has its law
    assert fixed_clients(400, 0).p is not None  # not known
    assert fixed_clients(60, 25).p is None  # about 28
    assert fixed_clients(60, 25, unknown=10).p is not None
    assert fixed_clients(60, 30).p is not None


@pytest.mark.parametrize(
    ("kind", "made", "because"),
    [
        (
            "cbpf",
            Program(None, "cpu modulo 2"),
            "cpu modulo 2 chooses, not the hash; the shares",
        ),
        ("cbpf", Program(None, "member 0"), "cbpf member 0 chooses, not the hash"),
        ("cbpf", None, "cbpf chooses, not the hash"),
        ("ebpf", Program(3, "cpu"), "ebpf cpu chooses, not the hash"),
        ("incoming_cpu", None, "incoming_cpu chooses, not the hash; the shares"),
    ],
)
def test_what_chooses_is_said(kind: Selector, made: Program | None, because: str) -> None:
    model = tracker()
    members = [
        replace(listener(200 + n, [holder(1 + n)], group=7, size=2), selector=kind, program=made)
        for n in range(2)
    ]
    feed(model, 1, [count(1, 900, 200), count(2, 100, 201)], members)
    found = only(model.snapshot()).finding
    assert found.p is None
    text = found.text.rpartition(because)[2]
    assert text in ("", " follow how the network card spreads packets over the CPUs")


def test_members_that_come_and_go_do_not_fill_the_memory() -> None:
    watch = Watch(window_s=60)
    for second in range(1000):
        whole = Stay(second, second + 1)
        stays: dict[Hashable, Stay] = {f"worker {second}": whole, "old": whole}
        watch.take_in(("socket", 1), stays, dict.fromkeys(stays, 5), whole, second + 0.5)
    one = watch.get(("socket", 1))
    assert isinstance(one, SetWatch)
    assert len(one.whole) <= LAST + 4
    assert sum(part.accepts for part in one.whole.values()) == 10_000
    assert sum(part.expected for part in one.whole.values()) == pytest.approx(10_000)
    assert one.whole[GONE].accepts > 4000
    recent = one.recent(60, 1000)
    assert 600 <= sum(part.accepts for part in recent.values()) <= 660
    for number in range(2, 200):
        watch.take_in(("socket", number), stays, dict.fromkeys(stays, 5), Stay(999, 1000), 1000)
    watch.keep({("socket", 1)})
    assert len(list(watch)) <= LAST + 1


@pytest.mark.parametrize(
    ("held", "word"),
    [
        ((520, 100, 90, 90), "UNEVEN OPEN"),
        ((200, 190, 210, 200), "FAIR"),
        ((3, 0, 0, 1), "FAIR"),  # of so few chance alone makes that
        ((520, 100, 90, None), "FAIR"),
        ((0, 0, 0, 0), "FAIR"),
    ],
)
def test_connections_that_stay_open_may_pile_up_where_accepts_are_even(
    held: Sequence[int | None], word: str
) -> None:
    members = [
        Member(f"worker {pid}", pid, None, n, 250.0, there=True, held=open_now)
        for pid, n, open_now in zip((1, 2, 3, 4), (262, 241, 250, 247), held, strict=True)
    ]
    found = judge(Case("worker", members, drawn=True))
    assert found.word == word
    if word == "UNEVEN OPEN":
        assert found.text == (
            "accepts are even, but worker 1 holds 2.60x its share of the open connections"
            " (520 of 800)"
        )
