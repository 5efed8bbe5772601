"""For pytest under coverage: what a test executes is noted under the test's name."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from coverage import Coverage


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """As pytest takes it on its command line: `tests/unit/test_a.py::test_b`."""
    coverage = Coverage.current()
    assert coverage is not None
    coverage.switch_context(item.nodeid.partition("[")[0])
    try:
        return (yield)
    finally:
        coverage.switch_context("")
