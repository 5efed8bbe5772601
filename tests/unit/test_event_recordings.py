"""Events in recordings: as many as there were, whole or as far as they are there, by any filter."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from accepttrace.cli.events import events as command
from accepttrace.cli.events import parse_peer
from accepttrace.config import Config, Filters
from accepttrace.errors import AcceptTraceError, UsageError
from accepttrace.facts.connections import Account, ConnectionEvent, EventCounts
from accepttrace.facts.records import Baseline
from accepttrace.run.eventreplay import Recorded, matches
from accepttrace.run.events import Asked
from accepttrace.run.record import Recorder, Rotation
from accepttrace.run.replay import Recording, replay_of
from accepttrace.store.steps import Happened
from accepttrace.views.connections import Csv, Plain, Stamps
from accepttrace.views.screen.state import Wish

from .pictures import META, SEES
from .strangers import NASTY, is_harmless
from .test_connections import ACCEPT, AT_NS, EVENTS
from .test_recording import PORTS, reading

SECONDS, EACH = 5, 10
KEEPING = Config(filters=PORTS, events=True)


def accepts(second: int) -> list[ConnectionEvent]:
    """Ten of a second, by two workers; the later, the longer they waited."""
    return [
        ACCEPT._replace(
            time_ns=AT_NS + second * 1_000_000_000 + number,
            pid=1001 + number % 2,
            peer_address=f"127.0.0.{number}",
            wait_us=1000 * second + number,
        )
        for number in range(EACH)
    ]


def account(events: int, lost: int = 0, *, ended: bool = False) -> Account:
    counts = EventCounts(events + lost, 0, 0, lost, events)
    return Account(events / EACH, counts, accepts=events + lost if ended else None)


def recorded(path: Path, *, lost: int = 0) -> None:
    """A run of some seconds; of what was lost each account knows."""
    recorder = Recorder(path, KEEPING, Rotation())
    recorder.begin(META, SEES, Baseline(), 0.0)
    for second in range(1, SECONDS + 1):
        if second == SECONDS:
            recorder.ending()
        recorder.note(accepts(second))
        recorder.take(reading(second, EACH * second), "shown")
        recorder.settle(account(EACH * second, lost))
    recorder.note(EVENTS[1:])
    recorder.settle(account(EACH * SECONDS + 2, lost, ended=True))
    recorder.end()


@pytest.fixture(scope="module")
def run_gz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recorded") / "run.gz"
    recorded(path)
    return path


def asked(**wishes: Any) -> Asked:
    return Asked(**wishes)


def found(
    path: Path, filters: Filters | None = None, wish: Asked | None = None
) -> list[ConnectionEvent]:
    recorded = Recorded(Recording(path), filters or Filters(), (wish or Asked()).wish)
    return [event for events in recorded.batches() for event in events]


def shown(path: Path, *options: str) -> tuple[list[dict[str, Any]], str]:
    """What the command prints as JSON, and says."""
    command = (sys.executable, "-m", "accepttrace", "events", "--recording", str(path))
    done = subprocess.run((*command, "-o", "jsonl", *options), capture_output=True, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_they_come_back_as_they_were(run_gz: Path) -> None:
    expected = [event for second in range(1, SECONDS + 1) for event in accepts(second)]
    assert found(run_gz) == expected
    assert found(run_gz, wish=asked(failed=True, lost=True)) == [*expected, *EVENTS[1:]]


@pytest.mark.parametrize(
    ("filters", "wish", "expected"),
    [
        (Filters(), Asked(slower_us=3005), 25),
        (Filters(), Asked(peer=parse_peer("127.0.0.2/31")), 10),
        (Filters(), Asked(peer=parse_peer("::ffff:127.0.0.2/127")), 10),
        (Filters(), Asked(peer=parse_peer("2001:db8::/32")), 0),
        (Filters(pids=frozenset({1001})), Asked(), 25),
        (Filters(comms=frozenset({"nginx"})), Asked(), 50),
        (Filters(comms=frozenset({"nginx: worker"})), Asked(), 50),
        (Filters(comms=frozenset({"other"})), Asked(), 0),
        (Filters(ports=frozenset({443})), Asked(), 0),
        (Filters(netns=frozenset({1})), Asked(), 0),
        (Filters(family="ipv6"), Asked(), 0),
        (Filters(addresses=frozenset({"127.0.0.1"})), Asked(), 50),
    ],
)
def test_filters_leave_out_what_they_would_have_left_out(
    run_gz: Path, filters: Filters, wish: Asked, expected: int
) -> None:
    recorded = Recorded(Recording(run_gz), filters, wish.wish)
    assert sum(map(len, recorded.batches())) == expected
    ledger = recorded.ledger(expected, 0)
    assert (ledger.left_out, ledger.not_shown) == (50 - expected, 0)


def test_what_nobody_did_is_by_anybody() -> None:
    assert matches(Filters(pids=frozenset({1})), EVENTS[1])
    assert not matches(Filters(pids=frozenset({1})), EVENTS[0])


@pytest.mark.parametrize(("lost", "balanced"), [(0, True), (3, False)])
def test_what_was_lost_is_said(tmp_path: Path, lost: int, balanced: bool) -> None:
    recorded(tmp_path / "run.gz", lost=lost)
    reader = Recorded(Recording(tmp_path / "run.gz"), Filters(), Asked().wish)
    assert sum(map(len, reader.batches())) == SECONDS * EACH
    ledger = reader.ledger(SECONDS * EACH, 0)
    assert (ledger.lost, ledger.unseen, ledger.balanced) == (lost, 0, balanced)
    assert ledger.accepts == SECONDS * EACH + 2 + lost


def test_events_that_are_missing_in_a_whole_file_are_not_shown(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "run.gz", KEEPING, Rotation())
    recorder.begin(META, SEES, Baseline(), 0.0)
    recorder.note(accepts(1))
    recorder.settle(account(12, ended=True))
    recorder.end()
    reader = Recorded(Recording(tmp_path / "run.gz"), Filters(), Asked().wish)
    list(reader.batches())
    assert reader.ledger(EACH, 0).not_shown == 2


def test_every_prefix_has_the_events_that_are_whole_in_it(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "run.gz", KEEPING, Rotation())
    recorder.begin(META, SEES, Baseline(), 0.0)
    for second in (1, 2):
        recorder.note(accepts(second)[:3])
        recorder.settle(account(3 * second, ended=second == 2))
    recorder.end()
    data, cut = (tmp_path / "run.gz").read_bytes(), tmp_path / "cut.gz"
    whole = found(tmp_path / "run.gz")
    lengths = set()
    for length in range(len(data)):
        cut.write_bytes(data[:length])
        with suppress(UsageError):  # not even the first line
            recording = Recording(cut)
            reader = Recorded(recording, Filters(), Asked().wish)
            events = [event for batch in reader.batches() for event in batch]
            assert events == whole[: len(events)]
            ledger = reader.ledger(len(events), 0)
            if ledger.accepts is None:
                assert (ledger.unseen, ledger.balanced, ledger.not_shown) == (None, None, 0)
            lengths.add(len(events))
            assert recording.why or length >= len(data) - 10
    assert lengths == {0, 3, 6}


def test_the_readings_between_them_make_the_same_pictures(run_gz: Path, tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "run.gz", replace(KEEPING, events=False), Rotation())
    recorder.begin(META, SEES, Baseline(), 0.0)
    for second in range(1, SECONDS + 1):
        recorder.take(reading(second, EACH * second), "shown")
    recorder.end()
    subjects = [
        replay_of(Config(live=True, replays=True), Recording(path), lambda: None)
        for path in (run_gz, tmp_path / "run.gz")
    ]
    for subject in subjects:
        subject._every = 2
    one, other = ([*subject.pictures()] for subject in subjects)
    assert one == other
    back = [subject.look(Wish(moved=-2)) for subject in subjects]
    assert back[0] == back[1]
    assert back[0].time == one[2].time


def test_events_are_no_end_of_a_replay(run_gz: Path) -> None:
    said: list[str] = []
    subject = replay_of(Config(), Recording(run_gz), lambda: said.append("over"))
    for _ in range(SECONDS):
        said.append(subject.refresh().time[17:19])
    assert said == ["01", "02", "03", "over", "04", "over", "05"]


def test_the_command_prints_them_and_says_what_became_of_all(run_gz: Path) -> None:
    (meta, *events, last), said = shown(run_gz, "--slower-than", "3ms", "-n", "3")
    assert (meta["type"], meta["sample"], last["type"]) == ("meta", 1, "summary")
    assert [event["wait_us"] for event in events] == [3000, 3001, 3002]
    assert (last["shown"], last["left_out"], last["not_shown"]) == (3, 20, 27)
    assert "52 accepts counted; 20 left out by the filters; 27 not shown" in said


def test_a_cut_one_says_so_and_knows_no_number_of_accepts(run_gz: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.gz"
    cut.write_bytes(run_gz.read_bytes()[:-80])
    lines, said = shown(cut)
    assert (lines[-1]["accepts"], lines[-1]["balanced"]) == (None, None)
    assert f"{cut} ends early: it was cut" in said
    assert "nothing lost" not in said


def test_one_without_events_says_how_to_record_some(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "run.gz", Config(filters=PORTS), Rotation())
    recorder.begin(META, SEES, Baseline(), 0.0)
    recorder.end()
    with pytest.raises(UsageError, match="run.gz has no events"):
        found(tmp_path / "run.gz")


@pytest.mark.parametrize(
    "options", [("-d", "3"), ("--sample", "2"), ("--attach", "kprobe"), ("--cgroup", "/")]
)
def test_what_is_settled_is_refused(run_gz: Path, options: tuple[str, ...]) -> None:
    done = CliRunner().invoke(command, ["--recording", str(run_gz), *options])
    assert (done.exit_code, "--recording does not go with" in done.output) == (2, True)


def test_who_has_ended_is_asked_for_in_any_order() -> None:
    gone = 1 << 30  # no PID of this machine
    for words in (["--pid", str(gone), "--recording", "f"], ["--recording", "f", "--pid", "7,8"]):
        params = command.make_context("events", words).params
        assert params["pids"] in ((frozenset({gone}),), (frozenset({7, 8}),))
    found = command.make_context("events", ["--netns", "4026599999", "--recording", "f"]).params
    assert found["netns"] == (4026599999,)


def test_a_line_holds_no_more_than_was_read_at_once(run_gz: Path) -> None:
    steps = [step for step in Recording(run_gz).steps() if isinstance(step, Happened)]
    assert [len(step.events) for step in steps] == [EACH] * SECONDS + [2]


def test_never_more_than_a_line_is_in_memory(tmp_path: Path) -> None:
    """Ten times as many events take no more of it."""
    peaks = []
    for lines in (2, 20):
        recorder = Recorder(tmp_path / f"{lines}.gz", KEEPING, Rotation())
        recorder.begin(META, SEES, Baseline(), 0.0)
        for _ in range(lines):
            recorder.note(accepts(1) * 200)
        recorder.end()
        tracemalloc.start()
        reader = Recorded(Recording(tmp_path / f"{lines}.gz"), Filters(), Asked().wish)
        assert sum(map(len, reader.batches())) == lines * 200 * EACH
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


NASTY_EVENTS = (
    {"local_address": "\x1b[2J"},
    {"peer_address": "not an address"},
    {"time_ns": 10**30},
    {"time_ns": -(10**30)},
    {"wait_us": 10**400},
    {"queue": -(10**400)},
)


@pytest.mark.parametrize("values", NASTY_EVENTS, ids=lambda one: next(iter(one)))
def test_an_event_that_makes_no_sense_is_one_line(tmp_path: Path, values: dict[str, Any]) -> None:
    """Anybody may have written it."""
    recorder = Recorder(tmp_path / "run.gz", KEEPING, Rotation())
    recorder.begin(META, SEES, Baseline(), 0.0)
    recorder.note([ACCEPT, ACCEPT._replace(**values)])
    recorder.end()
    reader = Recorded(Recording(tmp_path / "run.gz"), Filters(), Asked().wish)
    with pytest.raises(AcceptTraceError, match="an event in .*run.gz makes no sense"):
        list(reader.batches())


def test_words_of_an_event_that_anybody_wrote_are_harmless() -> None:
    for word in NASTY:
        event = ACCEPT._replace(name=word, comm=word, error=word)
        for form in (Csv(Stamps("iso", 0)), Plain(Stamps("iso", 0), 300, "any")):
            text = form.rows([event])
            assert text.count("\n") == 1
            assert is_harmless(text[:-1])


def test_a_sample_is_said_in_the_recording_and_where_it_is_shown(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "run.gz", replace(KEEPING, sample=100), Rotation())
    recorder.begin(META, SEES, Baseline(), 0.0)
    recorder.note(accepts(1))
    recorder.end()
    (first, *_), _ = shown(tmp_path / "run.gz")
    assert (first["type"], first["sample"]) == ("meta", 100)
    assert "(one of each 100, none lost) into" in recorder.account()
    command = (sys.executable, "-m", "accepttrace", "record", str(tmp_path / "x.gz"), "--sample")
    done = subprocess.run((*command, "2"), capture_output=True, text=True)
    assert (done.returncode, (tmp_path / "x.gz").exists()) == (2, False)
    assert "--sample goes with --events" in done.stderr
