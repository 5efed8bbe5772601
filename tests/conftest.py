"""Shared by all tests: kernel tests may be skipped on a laptop, never in CI."""

from __future__ import annotations

import os
import signal
from collections import defaultdict
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from vm import places

HANDLED = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGALRM, signal.SIGWINCH)
REQUIRED = os.environ.get("ACCEPTTRACE_REQUIRE_KERNEL") == "1"
TYPES = tuple(filter(None, os.environ.get("ACCEPTTRACE_EXPECTED_TYPES", "").split(",")))
TESTS = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--place`: of vm/places.py."""
    place = os.environ.get("ACCEPTTRACE_VM_ROW") or places.HERE[0]
    text = "run what vm/places.py has for this place (default: %(default)s; all: everything)"
    parser.addoption("--place", default=place, choices=("all", *places.PLACES), help=text)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what has no place where this runs."""
    place = config.getoption("place")
    if place == "all":
        return
    variants: defaultdict[tuple[str, str], list[object]] = defaultdict(list)
    left_out = [item for item in items if not _runs(place, item, variants)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def _runs(
    place: str, item: pytest.Item, variants: defaultdict[tuple[str, str], list[object]]
) -> bool:
    """`variants` are those of each test that were met before; this one is added."""
    name, _, variant = item.name.partition("[")
    path = item.path.relative_to(TESTS).as_posix()
    entry = places.entry(place, path, name, variant.removesuffix("]"))
    if entry is None or not entry.turn or place not in places.ROWS:
        return entry is not None
    others, attach = _parted(item)
    known = variants[path, name]
    if others not in known:
        known.append(others)
    if attach is None:
        return True
    number = _names_in_turn(path, item).index(name)
    return attach == places.turn(entry, place, known.index(others), TYPES, number)


def _names_in_turn(path: str, item: pytest.Item) -> list[str]:
    """The tests of its file that take turns, in the order of the file."""
    module = item.getparent(pytest.Module)
    names = (each for each in vars(module and module.obj) if each.startswith("test_"))
    return [each for each in names if places.takes_turns(path, each)]


def _parted(item: pytest.Item) -> tuple[object, str | None]:
    """A test's variant but for the attach type, and the attach type, if there is one."""
    callspec = getattr(item, "callspec", None)
    params = callspec.params if callspec else {}
    types = [value.attach for value in params.values() if hasattr(value, "attach")]
    others = {key: value for key, value in params.items() if not hasattr(value, "attach")}
    return others, next(iter(types), None)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    """With ACCEPTTRACE_REQUIRE_KERNEL=1 a skipped kernel or server test is a failed one."""
    outcome = yield
    report = outcome.get_result()
    here = item.path.parent.name
    if (
        REQUIRED
        and report.skipped
        and here in ("kernel", "servers", "hostile")
        and not hasattr(report, "wasxfail")
    ):
        report.outcome = "failed"
        report.longrepr = (
            f"skipped where ACCEPTTRACE_REQUIRE_KERNEL=1 forbids it: {report.longrepr}"
        )


@pytest.fixture(autouse=True)
def _signals_as_before() -> Iterator[None]:
    """Programs inherit what is ignored: a run inside of this process must not leave that behind."""
    before = {number: signal.getsignal(number) for number in HANDLED}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
