"""Recordings: what is written is read again, whole or as far as it is there, whoever wrote it."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import subprocess
import sys
from collections import abc
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import is_dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest

from accepttrace.config import Config, Filters
from accepttrace.errors import AcceptTraceError, UsageError
from accepttrace.facts.datagrams import ReceiverCounts, Receivers, UdpReading
from accepttrace.facts.meta import Meta
from accepttrace.facts.reading import Reading
from accepttrace.facts.records import (
    Baseline,
    Counts,
    Inventory,
    LocalPort,
    Opened,
    Passed,
    PortCount,
)
from accepttrace.facts.sight import Sight
from accepttrace.model.datagrams import ReceiverSnapshot
from accepttrace.model.snapshot import Snapshot
from accepttrace.run.record import Recorder, Rotation
from accepttrace.run.replay import Recording, ReplaySubject, replay_of, whole
from accepttrace.store.files import LineReader, LineWriter
from accepttrace.store.steps import (
    BadLine,
    Beginning,
    Mark,
    Taken,
    TakenOfUdp,
    line_of,
    reading_of,
    step_of,
    taken,
)
from accepttrace.views.screen.state import Wish

from . import udppictures as udp
from .pictures import META, SEES, count, counted, holder, listener, tracker

PORTS = Filters(ports=frozenset({80}))
LINES = [b"{}", b"", b"x" * 300_000, os.urandom(2000).hex().encode(), b"last"]


def reading(second: int, accepts: int, names: Sequence[str] = ("one", "two")) -> Reading:
    """Workers on a socket, of which the first takes most."""
    pids = range(1001, 1001 + len(names))
    workers = [holder(pid, name=name) for pid, name in zip(pids, names, strict=True)]
    taken = [count(pid, accepts if pid == 1001 else second, waits_us=[9] * second) for pid in pids]
    counts = Counts(tuple(taken), (counted(),), at_s=float(second), ahead_s=1e6)
    where = LocalPort(4026531840, 80, "ipv4")
    opened = Opened(float(second), frozenset({80}), {1001: 1001}, {(1001, where): 3})
    inventory = Inventory((listener(100, workers),), opened=opened)
    ports = {(4026531840, 80): PortCount(4026531840, 80, accepts)}
    wall = f"2026-01-02T12:00:{second:02}.000Z"
    return Reading(
        counts, inventory, passed=Passed({100: accepts}, {100: accepts}, ports), wall=wall
    )


def recorded(
    path: Path, seconds: int = 5, *, whole: bool = True, names: Sequence[str] = ("one", "two")
) -> list[Snapshot]:
    """A run of some seconds, 10 accepts in each; returns its pictures, the summary last."""
    recorder, model = Recorder(path, Config(filters=PORTS), Rotation()), tracker()
    recorder.begin(META, SEES, Baseline(), 0.0)
    model.start(Baseline())
    pictures = []
    for second in range(1, seconds + 1):
        one = reading(second, 10 * second, names)
        if second == seconds:
            recorder.ending()
        recorder.take(one, "shown")
        model.update(one)
        pictures.append(model.snapshot())
    if whole:
        recorder.end()
    recorder.abandon()
    return [*pictures, model.summary()]


def recorded_udp(path: Path, seconds: int = 4) -> list[ReceiverSnapshot]:
    """The same of two UDP sockets, one of which closes and is let go of between two pictures."""
    recorder, model = Recorder(path, Config(filters=PORTS, udp=True), Rotation()), udp.tracker()
    recorder.begin(udp.UDP_META, udp.SEES, Baseline(complete=True), 0.0)
    pictures = []
    for second in range(1, seconds + 1):
        open_now = (100, 101) if second == 1 else (100,)
        counts = tuple(udp.count(inode, inode * second, second) for inode in open_now)
        sockets = [udp.receiver(inode, [holder(1001)], group=1) for inode in open_now]
        found = UdpReading(
            ReceiverCounts(counts, at_s=float(second)),
            Receivers(tuple(sockets)),
            f"second {second}",
        )
        recorder.take(found, "drained")
        model.drain(found)
        recorder.take(found, "shown")
        model.update(found)
        pictures.append(model.snapshot())
    recorder.end()
    return [*pictures, model.summary()]


def replayed(path: Path, *, live: bool = False, first: str = "") -> ReplaySubject[Snapshot]:
    config = Config(filters=PORTS, live=live, replays=True)
    return replay_of(config, Recording(path), lambda: None, first)


@pytest.fixture(scope="module")
def run_gz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recorded") / "run.gz"
    recorded(path)
    return path


def filled(kind: Any, numbers: Iterator[int]) -> Any:
    """A value of a type in which nothing is as it is by default, all of it different."""
    origin, inner = get_origin(kind), [one for one in get_args(kind) if one is not type(None)]
    if origin is Literal:
        return inner[-1]
    if origin in (Union, UnionType):
        return filled(inner[0], numbers)
    if origin is abc.Mapping:
        return {filled(inner[0], numbers): filled(inner[1], numbers) for _ in range(2)}
    if origin is tuple:
        every = inner[:1] * 2 if inner[-1] is Ellipsis else inner
        return tuple(filled(one, numbers) for one in every)
    if origin in (frozenset, abc.Sequence):
        made = {frozenset: frozenset, abc.Sequence: list}[origin]
        return made(filled(inner[0], numbers) for _ in range(2))
    if is_dataclass(kind) or hasattr(kind, "_fields"):
        return kind(**{name: filled(hint, numbers) for name, hint in get_type_hints(kind).items()})
    number = next(numbers)
    return {int: number, float: number + 0.25, bool: True, str: f'{number} \x1b[31m\ud7ff\n"<'}[
        kind
    ]


def test_every_field_of_udp_is_written_and_read_again() -> None:
    one = filled(UdpReading, itertools.count(2**63))
    step = step_of(line_of(taken(one, "drained")))
    assert isinstance(step, TakenOfUdp)
    assert (step.reading, step.use) == (one, "drained")


def test_every_field_is_written_and_read_again() -> None:
    one = filled(Reading, itertools.count(2**63))
    ports = {(port.netns, port.local_port): port for port in one.passed.ports.values()}
    one = replace(one, passed=replace(one.passed, ports=ports))
    line = line_of(taken(one, "shown"))
    step = step_of(line)
    assert isinstance(step, Taken)
    assert reading_of(step) == one
    assert (line.count(b"\n"), line[-1:]) == (1, b"\n")
    json.loads(line)
    begun = Beginning(
        *(filled(hint, itertools.count()) for hint in (Meta, Filters, Sight, Baseline))
    )
    assert step_of(line_of(begun)) == begun


def test_nothing_of_a_reading_is_changed() -> None:
    one = reading(1, 10)
    step = step_of(line_of(taken(one, "drained")))
    assert isinstance(step, Taken)
    assert (reading_of(step), step.use) == (one, "drained")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b'{"type":"strange"}',
        b'{"type":"reading","reading":{}}',
        b'{"type":"reading","reading":{"counts":{"acceptors":[{"pid":"1"}]}}}',
        b"[" * 100_000,
        b'{"type":"mark","what":"\xff"}',
    ],
)
def test_a_line_that_is_none_of_ours_says_why(line: bytes) -> None:
    with pytest.raises(BadLine, match="."):
        step_of(line)


def test_a_newer_format_is_refused() -> None:
    line = line_of(Beginning(META, PORTS, SEES, Baseline(), format=2))
    with pytest.raises(BadLine, match="its format is 2, and this accepttrace knows up to 1"):
        step_of(line)


def test_a_file_that_was_decompressed_is_read_too(run_gz: Path, tmp_path: Path) -> None:
    plain = tmp_path / "run.jsonl"
    plain.write_bytes(gzip.decompress(run_gz.read_bytes()))
    assert list(Recording(plain).steps()) == list(Recording(run_gz).steps())


def test_each_line_can_be_read_before_the_next_one_is_written(tmp_path: Path) -> None:
    writer = LineWriter(tmp_path / "f.gz")
    for number in range(1, 4):
        writer.write(b"%d\n" % number)
        reader = LineReader(tmp_path / "f.gz")
        assert list(reader) == [b"%d" % one for one in range(1, number + 1)]
        assert reader.why == "it was cut"
    writer.abandon()


@pytest.mark.parametrize("text", [b"", b"no recording\n", b"\x1f\x8b", line_of(Mark("end"))])
def test_what_is_no_recording_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "file").write_bytes(text)
    with pytest.raises(UsageError, match="file is no recording of accepttrace: .+"):
        Recording(tmp_path / "file")


def test_damage_ends_a_recording_where_it_is(run_gz: Path, tmp_path: Path) -> None:
    whole = list(Recording(run_gz).steps())
    data = bytearray(gzip.decompress(run_gz.read_bytes()))
    damaged = tmp_path / "damaged"
    for place in range(0, len(data), 97):
        changed = data.copy()
        changed[place] ^= 0x55
        damaged.write_bytes(changed)
        with suppress(AcceptTraceError):  # and nothing else
            assert len(list(Recording(damaged).steps())) <= len(whole)
            subject = replayed(damaged)
            for _ in whole:
                subject.refresh()
            subject.summary()


def test_a_replay_shows_what_the_run_showed(tmp_path: Path) -> None:
    *shown, summary = recorded(tmp_path / "run.gz")
    subject = replayed(tmp_path / "run.gz")
    assert [subject.refresh() for _ in shown] == shown
    assert subject.refresh() == shown[-1]
    assert subject.summary() == summary


def test_one_of_udp_shows_what_the_run_showed(tmp_path: Path) -> None:
    *shown, summary = recorded_udp(tmp_path / "run.gz")
    subject = replay_of(Config(udp=True), Recording(tmp_path / "run.gz"), lambda: None)
    subject._every = 1
    assert [subject.refresh() for _ in shown] == shown
    assert subject.refresh() == shown[-1]
    assert subject.summary() == summary
    assert subject.look(Wish(moved=-2)) == shown[-3]
    assert [(row.inode, row.datagrams) for row in shown[-1].sockets] == [(100, 400), (101, 101)]


def test_one_of_udp_judges_compares_and_draws_nothing(tmp_path: Path, run_gz: Path) -> None:
    recorded_udp(tmp_path / "run.gz")
    with pytest.raises(UsageError, match="is a recording of UDP, which accepts nothing"):
        whole(Recording(tmp_path / "run.gz"))
    mixed = tmp_path / "mixed"
    first, *_ = gzip.decompress(run_gz.read_bytes()).splitlines(keepends=True)
    _, *others = gzip.decompress((tmp_path / "run.gz").read_bytes()).splitlines(keepends=True)
    mixed.write_bytes(b"".join((first, *others)))
    with pytest.raises(AcceptTraceError, match="makes no sense"):
        replayed(mixed).refresh()


def test_it_is_over_where_the_last_interval_begins(run_gz: Path) -> None:
    said: list[str] = []
    subject = replay_of(Config(), Recording(run_gz), lambda: said.append("over"))
    for _ in range(5):
        said.append(subject.refresh().time[17:19])
    assert said == ["01", "02", "03", "over", "04", "over", "05"]


def test_what_was_cut_is_replayed_so_far_and_it_is_said(tmp_path: Path) -> None:
    *shown, summary = recorded(tmp_path / "run.gz", whole=False)
    subject = replayed(tmp_path / "run.gz")
    assert [subject.refresh() for _ in shown] == shown
    assert subject.summary() == summary
    recording = Recording(tmp_path / "run.gz")
    list(recording.steps())
    assert recording.why == "it was cut"


def test_a_check_of_what_was_cut_says_so(run_gz: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.gz").write_bytes(run_gz.read_bytes()[:-40])
    for path, expected in ((run_gz, False), (tmp_path / "cut.gz", True)):
        command = (sys.executable, "-m", "accepttrace", "check", "--min-workers", "2")
        done = subprocess.run((*command, "--recording", path), capture_output=True, text=True)
        assert done.returncode == 0
        assert (f"{path} ends early: it was cut" in done.stderr) is expected


def test_it_begins_where_it_is_asked_to(run_gz: Path) -> None:
    subject = replayed(run_gz, first="2026-01-02T12:00:02.500Z")
    assert subject.refresh().time == "2026-01-02T12:00:03.000Z"
    assert subject.refresh().time == "2026-01-02T12:00:04.000Z"
    with pytest.raises(UsageError, match="ends at 2026-01-02T12:00:05.000Z"):
        replayed(run_gz, first="2026-01-02T12:00:05.001Z").refresh()


def test_any_reading_is_found_again_from_any_other(tmp_path: Path) -> None:
    length = 59
    *shown, _ = recorded(tmp_path / "run.gz", length)
    subject = replayed(tmp_path / "run.gz", live=True)
    subject._every = 4
    subject.refresh()
    at, moved = 0, 0
    for goal in (58, 0, 30, 29, 31, 3, 57, 200, 12, -5, 58):
        moved += goal - at
        picture = subject.look(Wish(moved=moved))
        at = min(max(goal, 0), length - 1)
        assert picture.time == shown[at].time
        assert picture.books == shown[at].books
    assert len(subject._points) <= 33
    assert subject.look(Wish(moved=moved, anew=1)).books == shown[0].books


def test_it_stands_still_while_it_is_held(run_gz: Path) -> None:
    subject = replayed(run_gz, live=True)
    first = subject.refresh()
    held = subject.look(Wish(held=True))
    assert [held.time, subject.refresh().time] == [first.time] * 2
    subject.look(Wish())
    assert subject.refresh().time > first.time


def test_no_file_is_written_over_and_no_link_followed(tmp_path: Path) -> None:
    there, link = tmp_path / "there", tmp_path / "link"
    there.write_text("mine")
    link.symlink_to(tmp_path / "elsewhere")
    for path in (there, link):
        with pytest.raises(UsageError, match="is there already"):
            LineWriter(path)
    assert there.read_text() == "mine"
    assert not (tmp_path / "elsewhere").exists()
    LineWriter(tmp_path / "new").abandon()
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("keep", [0, 1, 3])
def test_older_files_move_on_and_the_oldest_goes(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "run.gz"
    recorder = Recorder(path, Config(filters=PORTS), Rotation(size=1, keep=keep))
    for number in range(1, 7):
        recorder.begin(META, SEES, Baseline(), float(number))
        assert recorder.due
    recorder.ending()
    assert not recorder.due  # or the last file would have no reading
    recorder.end()
    names = [path, *(Path(f"{path}.{n}") for n in range(1, keep + 1))]
    assert sorted(tmp_path.iterdir()) == sorted(names)
    for age, name in enumerate(names):
        recording = Recording(name)
        assert recording.beginning.began_s == 6.0 - age
        marks = [*([Mark("ending")] if age == 0 else []), Mark("end")]
        assert (list(recording.steps()), recording.why) == (marks, None)


def test_a_file_is_full_by_its_size_or_its_age() -> None:
    both = Rotation(size=100, age_s=60.0)
    assert [both.is_due(*file) for file in ((99, 59.0), (100, 0.0), (0, 60.0))] == [
        False,
        True,
        True,
    ]
    assert not Rotation().is_due(1 << 40, 1e9)
