"""Shared by all tests: kernel tests may be skipped on a laptop, never in CI."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Iterator
from typing import Any

import pytest

HANDLED = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGALRM, signal.SIGWINCH)
REQUIRED = os.environ.get("ACCEPTTRACE_REQUIRE_KERNEL") == "1"


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
