"""For pytest under coverage: notes what each test executes, and how long it takes."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from coverage import Coverage

TIMES = Path("times.json")  # seconds by name

_times: defaultdict[str, float] = defaultdict(float)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """As pytest takes it on its command line: `tests/unit/test_a.py::test_b`."""
    coverage = Coverage.current()
    assert coverage is not None
    name = item.nodeid.partition("[")[0]
    coverage.switch_context(name)
    began = time.monotonic()
    try:
        return (yield)
    finally:
        _times[name] += time.monotonic() - began
        coverage.switch_context("")


def pytest_sessionfinish() -> None:
    """Write them where the tests were started."""
    TIMES.write_text(json.dumps(_times))
