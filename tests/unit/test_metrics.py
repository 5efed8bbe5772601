"""Metrics of a snapshot: their names, labels and values, and what a scraper gets of them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from accepttrace.facts.records import Losses
from accepttrace.model.snapshot import NamespaceLoss, Snapshot
from accepttrace.model.totals import Naming, Totals
from accepttrace.model.verdict import WORDS
from accepttrace.views import metrics
from accepttrace.views.metrics import METRICS, Own, Sample, samples
from accepttrace.views.text import cells
from tests.unit.pictures import count, feed, four_workers, holder, listener, tracker, troubled

pytest.importorskip("prometheus_client")

from prometheus_client.openmetrics.parser import (  # noqa: E402
    text_string_to_metric_families as of_openmetrics,
)
from prometheus_client.parser import (  # noqa: E402
    text_string_to_metric_families as of_text,
)

from accepttrace.run.export import exposition  # noqa: E402

OWN = Own(3, 0.25, 1_700_000_000.5, {"fexit_accept": (1000, 0.0005)})
OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"
WHERE = {"netns": "4026531840", "local_address": "0.0.0.0", "local_port": "80"}
ESCAPES = 'a"b\\c\nd\x1b[31m'


def made(snapshot: Snapshot, naming: Naming = "slot", most: int = 10_000) -> list[Sample]:
    totals = Totals(naming)
    totals.update(snapshot)
    return samples(snapshot, totals, OWN, most)


def scraped(
    found: list[Sample], naming: Naming = "slot", accept: str = OPENMETRICS
) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """What a parser that is not ours reads in the text."""
    text = exposition.text(found, naming, accept).decode()
    families: Iterable[Any] = (of_openmetrics if "openmetrics" in accept else of_text)(text)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def value(
    found: dict[tuple[str, frozenset[tuple[str, str]]], float], name: str, **labels: str
) -> float | None:
    return found.get((f"accepttrace_{name}", frozenset({**WHERE, **labels}.items())))


def named(picture: Snapshot, *names: str) -> Snapshot:
    """With only the first rows, called so."""
    pairs = zip(picture.acceptors, names, strict=False)
    return replace(picture, acceptors=tuple(replace(row, name=name) for row, name in pairs))


@pytest.mark.parametrize("accept", [OPENMETRICS, "text/plain;version=0.0.4"])
def test_accepts_and_losses_are_those_of_the_snapshot(accept: str) -> None:
    found = scraped(made(troubled()), accept=accept)
    workers = {"worker": "nginx: worker"}
    assert value(found, "accepts_total", slot="0", **workers) == 4990
    assert value(found, "accepts_total", slot="1", **workers) == 700
    assert value(found, "listener_accepts_total") == 5690
    assert value(found, "listen_drops_total", reason="queue_full_syn") == 48
    assert value(found, "listen_drops_total", reason="queue_full_ack") == 3
    assert value(found, "listen_drops_total", reason="queue_full") is None
    assert value(found, "connections_lost_total", reason="listener_closed") == 203
    assert value(found, "connections_migrated_total", direction="in") == 5
    assert value(found, "accepts_refused_total") == 12
    assert value(found, "listening_sockets") == 1
    assert value(found, "reuseport_group_size") == 2


def test_what_programs_cost_has_series_only_where_it_is_measured() -> None:
    found = made(troubled())
    costs = {one.metric.name: one.value for one in found if one.labels == ("fexit_accept",)}
    assert costs == {"accepttrace_program_runs": 1000, "accepttrace_program_seconds": 0.0005}
    totals = Totals()
    totals.update(troubled())
    found = samples(troubled(), totals, OWN._replace(programs={}), 10_000)
    assert not [one for one in found if "program" in one.metric.name]


def test_where_requests_and_acks_are_not_known_apart_their_sum_is_said() -> None:
    picture = troubled()
    rows = [replace(r, overflow_syn=None, overflow_ack=None) for r in picture.listeners]
    found = scraped(made(replace(picture, listeners=tuple(rows))))
    assert value(found, "listen_drops_total", reason="queue_full") == 51
    assert value(found, "listen_drops_total", reason="queue_full_syn") is None


def test_what_is_not_known_has_no_series() -> None:
    found = scraped(made(four_workers()))
    assert value(found, "connections_total") is None
    assert value(found, "open_connections", worker="nginx: worker", slot="0") is None
    assert value(found, "accept_queue_length") == 2
    assert value(found, "accept_queue_limit") == 511


def test_waits_are_a_histogram_in_seconds() -> None:
    model = tracker()
    one = replace(count(1, 3, waits_us=[5, 900, 2_000_000]), waited_us=2_000_905)
    feed(model, 1, [one], [listener(100, [holder(1)])])
    found = scraped(made(model.snapshot()))
    buckets = {
        dict(labels)["le"]: number
        for (name, labels), number in found.items()
        if name == "accepttrace_accept_queue_wait_seconds_bucket"
    }
    assert {float(le): number for le, number in buckets.items()} == {
        **{2**bits / 1e6: 1 for bits in range(3, 10)},
        **{2**bits / 1e6: 2 for bits in range(10, 21)},
        **{2**bits / 1e6: 3 for bits in range(21, 27)},
        float("inf"): 3,
    }
    assert value(found, "accept_queue_wait_seconds_count") == 3
    assert value(found, "accept_queue_wait_seconds_sum") == pytest.approx(2.000905)


def test_one_word_of_the_verdict_is_1() -> None:
    picture = four_workers((9000, 10, 10, 10))
    found = scraped(made(picture))
    words = {word: value(found, "verdict", verdict=metrics._word(word)) for word in WORDS}
    assert sum(number or 0 for number in words.values()) == 1
    assert words[picture.verdicts[0].finding.word] == 1
    assert value(found, "sharing_members") == 4


def test_what_the_tracer_lost_and_costs_is_said() -> None:
    picture = four_workers(losses=Losses(events_lost=7, probe_misses=None))
    found = scraped(made(picture))
    lost = {dict(key[1])["stage"]: n for key, n in found.items() if "events_lost" in key[0]}
    assert lost["event"] == 7
    assert "probe_miss" not in lost
    assert found["accepttrace_refresh_duration_seconds_count", frozenset()] == 3
    assert found["accepttrace_refresh_duration_seconds_sum", frozenset()] == 0.25
    assert found["accepttrace_last_refresh_timestamp_seconds", frozenset()] == OWN.at_s
    assert found["process_cpu_seconds_total", frozenset()] > 0
    assert found["process_resident_memory_bytes", frozenset()] > 1e6


def test_losses_that_no_listener_can_be_given_do_not_go_back() -> None:
    picture, totals = four_workers(), Totals()
    for packets in (9, 4):
        loss = NamespaceLoss(1, "syn_queue", packets, (100,), True)
        perhaps = NamespaceLoss(1, "other", 50, (100,), False)
        totals.update(replace(picture, namespace_losses=(loss, perhaps)))
    found = scraped(samples(picture, totals, OWN, 10_000))
    key = frozenset({"netns": "1", "reason": "syn_queue_full"}.items())
    assert found["accepttrace_namespace_drops_total", key] == 9
    assert sum("namespace_drops" in name for name, _ in found) == 1


def test_a_hostile_name_is_escaped_and_bounded() -> None:
    picture = four_workers()
    found = scraped(made(named(picture, ESCAPES * 50, "\udcff" * 99)))
    names = {labels["worker"] for name, key in found if "worker" in (labels := dict(key))}
    assert len(names) == 2
    for name in names:
        assert name.isprintable()
        assert cells(name) <= metrics.NAME_CELLS


def test_names_that_look_alike_share_a_series() -> None:
    picture = named(four_workers(), "a\x01", "a\x02")
    found = scraped(made(picture, "name"), "name")
    both = sum(row.accepts_interval for row in picture.acceptors)
    assert value(found, "accepts_total", worker="a?") == both


def test_of_too_many_series_the_first_stay_and_the_rest_is_counted() -> None:
    totals = Totals("pid")
    picture = four_workers()
    totals.update(picture)
    whole = samples(picture, totals, OWN, 10_000)
    size = sum(s.series for s in whole if s.metric.about != "tracer")
    more = tuple(
        replace(row, pid=5000 + n, accepts_interval=10_000, accepts=10_000)
        for n in range(100)
        for row in picture.acceptors[:1]
    )
    later = replace(picture, acceptors=(*more, *picture.acceptors), elapsed_s=9.0)
    totals.update(later)
    found = samples(later, totals, OWN, size)
    left = {s.labels for s in found if s.metric == metrics.ACCEPTS}
    assert left == {s.labels for s in whole if s.metric == metrics.ACCEPTS}
    omitted = {s.labels: s.value for s in found if s.metric == metrics.OMITTED}
    assert omitted == {("listener",): 0, ("worker",): 100}


def test_listeners_that_are_gone_leave_after_a_while() -> None:
    model, totals = tracker(), Totals(keep_s=60)
    feed(model, 1, [count(1, 5)], [listener(100, [holder(1)])])
    totals.update(model.snapshot())
    shown = []
    for second in (30, 60, 200, 400):
        feed(model, second, [], [])
        snapshot = model.snapshot()
        totals.update(snapshot)
        found = scraped(samples(snapshot, totals, OWN, 10_000))
        shown.append(value(found, "listener_accepts_total"))
    assert shown == [5, 5, None, None]


def test_every_name_is_there_once_and_follows_the_rules() -> None:
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    for metric in METRICS:
        assert metric.name.startswith("accepttrace_")
        assert not metric.name.endswith(("_total", "_count", "_sum", "_bucket"))
        assert metric.help.endswith(".")
        assert not {"peer", "client"} & {*metric.label_names("pid")}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
@pytest.mark.parametrize("naming", ["name", "slot", "pid"])
def test_promtool_finds_nothing_wrong(naming: Naming) -> None:
    model = tracker()
    one = replace(count(1, 3, waits_us=[5, 900, 2_000_000]), waited_us=2_000_905)
    feed(model, 1, [one], [listener(100, [holder(1), holder(2)])])
    loss = NamespaceLoss(1, "syn_queue", 3, (100,), True)
    parts = model.snapshot(), troubled()
    picture = replace(
        parts[1],
        acceptors=(*parts[0].acceptors, *parts[1].acceptors),
        verdicts=parts[0].verdicts,
        namespace_losses=(loss,),
    )
    text = exposition.text(made(picture, naming), naming, "")
    done = subprocess.run(("promtool", "check", "metrics"), input=text, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_queues_that_are_full_are_counted_where_every_limit_is_known() -> None:
    picture = four_workers()
    (row,) = picture.listeners
    full, free = replace(row, queue_full_s=0.5), replace(row, inode=101)

    def full_queues(*rows: object) -> float | None:
        found = scraped(made(replace(picture, listeners=rows)))  # type: ignore[arg-type]
        return value(found, "accept_queues_full")

    assert full_queues(full, free, replace(full, inode=102)) == 2
    assert full_queues(free) == 0
    for unknown in (replace(free, queue=None), replace(free, capacity=None)):
        assert full_queues(full, unknown) is None


def test_where_a_worker_runs_is_a_series_beside_its_others() -> None:
    model, totals = tracker(), Totals()
    workers = [
        replace(holder(1, cgroup="/x.service"), container="app", pod='shop/web"0'),
        replace(holder(2, cgroup="/"), pod="0a1b"),
        holder(3, cgroup="/"),
    ]
    feed(model, 1, [count(pid, 5) for pid in (1, 2, 3)], [listener(100, workers)])

    def places(naming: Naming) -> set[tuple[str, ...]]:
        found = scraped(made(model.snapshot(), naming), naming)
        names = ("slot", "unit", "container", "namespace", "pod")
        infos = [dict(labels) for name, labels in found if name == "accepttrace_worker_info"]
        return {tuple(labels.get(each, "-") for each in names) for labels in infos}

    assert places("slot") == {("0", "x.service", "app", "shop", 'web"0'), ("1", "", "", "", "0a1b")}
    assert places("name") == set()  # they have nothing in common
    totals.update(model.snapshot())
    feed(model, 2, [count(pid, 5) for pid in (1, 2, 3)], [])
    totals.update(model.snapshot())
    found = [one.metric for one in samples(model.snapshot(), totals, OWN, 99)]
    assert metrics.ACCEPTS in found
    assert metrics.WORKER_INFO not in found
