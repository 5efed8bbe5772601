"""The process that reads what may block: what comes, what does not, and what it holds."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import pytest

from accepttrace.facts.records import Process
from accepttrace.sockets import cputime, helper, procfs
from accepttrace.sockets.cputime import cpu_times
from accepttrace.sockets.diag import netns
from accepttrace.sockets.helper import Helper

from .forked import child, wait_until

ME = os.getpid()


@pytest.fixture
def asker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Helper]:
    """One that gives up soon."""
    monkeypatch.setattr(helper, "BLOCKED_S", 0.1)
    found = Helper()
    yield found
    found.close()


def soon(seconds: float = 5.0) -> float:
    return time.monotonic() + seconds


def _sleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def _spin(seconds: float) -> float:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass
    return seconds


def _open(_: int) -> list[tuple[int, str]]:
    found = []
    for fd in range(64):
        try:
            found.append((fd, os.readlink(f"/proc/self/fd/{fd}")))
        except OSError:
            continue
    return found


def _handlers(_: int) -> list[bool]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGWINCH)
    return [signal.getsignal(number) == signal.SIG_IGN for number in numbers]


def _fails(number: int) -> int:
    return {1: 10, 3: 30}[number]


def _long(size: int) -> bytes:
    return b"x" * size


def test_who_sleeps_for_long_is_passed_over(asker: Helper) -> None:
    assert list(asker.map(_sleep, [0, 9, 0], soon())) == [(0, 0), (9, None), (0, 0)]
    assert asker.usable


def test_who_is_busy_has_more_time(asker: Helper, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(asker.map(_spin, [0.2], soon())) == [(0.2, 0.2)]
    monkeypatch.setattr(helper, "BUSY_S", 0.5)
    assert list(asker.map(_spin, [9, 0], soon())) == [(9, None), (0, 0)]


def test_what_is_under_way_when_time_is_up_is_left_out(
    asker: Helper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(helper, "BLOCKED_S", 5)
    began = time.monotonic()
    assert list(asker.map(_sleep, [0, 9, 0], soon(0.2))) == [(0, 0)]
    assert 0.2 <= time.monotonic() - began < 4
    assert list(asker.map(_sleep, [0], soon())) == [(0, 0)]  # by another child


def test_no_more_is_asked_while_some_are_stuck_for_good(
    asker: Helper, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as stuck:
        stuck.setattr(helper._Child, "has_ended", lambda _: False)
        asked = [9.0 + n for n in range(6)]
        found = list(asker.map(_sleep, asked, soon()))
        assert found == [(each, None) for each in asked[: helper.GIVEN_UP_AT_MOST]]
        assert not asker.usable
    wait_until(lambda: asker.usable)


def test_a_child_that_somebody_else_waited_for_has_ended() -> None:
    one = helper._Child()
    assert not one.has_ended()
    one.kill()
    os.waitpid(one._pid, 0)
    assert one.has_ended()


def test_a_child_that_dies_is_replaced(asker: Helper) -> None:
    assert list(asker.map(_fails, [1, 2, 3], soon())) == [(1, 10), (2, None), (3, 30)]
    ((_, pid),) = asker.map(_pid, [0], soon())
    assert pid
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: procfs.is_zombie(pid))
    assert list(asker.map(_sleep, [0, 0], soon())) == [(0, None), (0, 0)]


def _pid(_: int) -> int:
    return os.getpid()


def test_an_answer_that_nobody_waited_for_is_not_that_of_the_next(asker: Helper) -> None:
    first = asker.map(_sleep, [0, 0.001, 0.002], soon())
    assert next(first) == (0, 0)
    first.close()  # type: ignore[attr-defined]
    assert list(asker.map(_sleep, [0.003], soon())) == [(0.003, 0.003)]


def test_answers_may_be_long() -> None:
    asker, sizes = Helper(), [0, 3 << 20, 1]
    found = [(size, len(data or "")) for size, data in asker.map(_long, sizes, soon())]
    asker.close()
    assert found == [(size, size) for size in sizes]


def test_a_child_has_its_two_pipes_and_nothing_of_ours(asker: Helper, tmp_path: Path) -> None:
    with (tmp_path / "file").open("w"), (tmp_path / "other").open("w"):
        ((_, found),) = asker.map(_open, [0], soon())
    assert found
    assert [target for _, target in found[:3]] == ["/dev/null"] * 3
    assert [fd for fd, _ in found[:3]] == [0, 1, 2]
    assert [target.partition(":")[0] for _, target in found[3:]] == ["pipe"] * 2


def test_a_child_leaves_signals_to_its_parent(asker: Helper) -> None:
    assert list(asker.map(_handlers, [0], soon())) == [(0, [True] * 4)]


def test_the_processor_time_is_that_of_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    thread = threading.Thread(target=_spin, args=(0.05,))
    thread.start()
    thread.join()
    before = time.process_time()
    me, gone = Process(ME, 7), Process(4_194_304, 8)
    began = time.monotonic()
    (found,) = cpu_times([gone, me]).values()
    assert before <= found.used_s <= time.process_time()
    assert began <= found.at_s <= time.monotonic()
    assert found.start_ticks == 7
    assert set(cpu_times([gone, me])) == {ME}
    monkeypatch.setattr(cputime, "MOST", 1)
    assert (set(cpu_times([gone, me])), set(cpu_times([me, gone]))) == (set(), {ME})


def test_what_cannot_be_entered_is_refused_as_the_kernel_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(OSError, match="(Invalid argument|not permitted)"):
        netns.call_inside("/proc/self/ns/uts", lambda: None)
    with pytest.raises(FileNotFoundError):
        netns.call_inside("/proc/999999999/ns/net", lambda: None)

    def no_room(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_room)
    with pytest.raises(MemoryError, match="can't start new thread"):
        netns.call_inside("/proc/self/ns/net", lambda: None)


def test_python_may_enter_a_namespace_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    entered: list[tuple[str, int]] = []
    monkeypatch.setattr(
        os,
        "setns",
        lambda fd, kind: entered.append((os.readlink(f"/proc/self/fd/{fd}"), kind)),
        raising=False,
    )
    before = len(os.listdir("/proc/self/fd"))
    assert netns.call_inside("/proc/self/ns/net", lambda: 5) == 5
    assert entered == [(os.readlink("/proc/self/ns/net"), 0x40000000)]
    assert len(os.listdir("/proc/self/fd")) == before

    def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        netns.call_inside("/proc/self/ns/net", fail)


def test_who_is_given_up_leaves_no_descriptor_with_us(asker: Helper) -> None:
    before = len(os.listdir("/proc/self/fd"))
    list(asker.map(_sleep, [9, 0, 9, 0], soon()))
    assert len(os.listdir("/proc/self/fd")) == before + 2  # of the child that there is
    asker.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_child_of_ours_ends_no_child_of_its_parent(asker: Helper) -> None:
    ((_, before),) = asker.map(_pid, [0], soon())
    with child(asker.close) as pid:
        wait_until(lambda: procfs.is_zombie(pid))
    assert list(asker.map(_pid, [0], soon())) == [(0, before)]


def _stop(_: int) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def test_a_child_that_cannot_go_on_ends_with_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helper, "BLOCKED_S", 60)
    read, write = os.pipe()

    def ask() -> None:
        asker = Helper()
        ((_, pid),) = asker.map(_pid, [0], soon(60))
        os.write(write, str(pid).encode())
        list(asker.map(_stop, [0], soon(60)))

    with child(ask):
        stopped = int(os.read(read, 20))
        wait_until(lambda: procfs._stat(stopped)[1][procfs.STATE] == "T")
    try:
        wait_until(lambda: not procfs.exists(stopped) or procfs.is_zombie(stopped))
    finally:
        os.close(read)
        os.close(write)
        with suppress(ProcessLookupError):
            os.kill(stopped, signal.SIGKILL)


@pytest.mark.parametrize(("state", "runs"), [("R", True), ("D", False), ("S", False), ("Z", False)])
def test_who_waits_for_a_disk_does_not_run(
    state: str, runs: bool, asker: Helper, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list(asker.map(_sleep, [0], soon())) == [(0, 0)]
    assert asker._child is not None
    line = f"7 (a) R) {state} 1 7".encode()
    monkeypatch.setattr(helper, "open", lambda *_: BytesIO(line), raising=False)
    assert asker._child._runs() is runs


def test_a_child_that_is_gone_does_not_run() -> None:
    one = helper._Child()
    one.kill()
    wait_until(one.has_ended)
    assert not one._runs()
