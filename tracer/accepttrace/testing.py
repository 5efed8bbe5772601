"""A pytest fixture: whether a server of one's own got its connections as it should.

    def test_every_worker_gets_its_part(accepts_on):
        with accepts_on(8080, "--max-ratio 1.5 --no-loss"):
            ...  # load

pytest loads it where accepttrace is installed with the extra `pytest`. It needs what tracing needs
(root, or capabilities): a test is skipped with the reason where that is missing.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from accepttrace.library import Run

AcceptsOn = Callable[..., AbstractContextManager["Run"]]


@pytest.fixture(scope="session")
def accepts_on() -> AcceptsOn:
    """`accepts_on(PORT, "CONDITIONS")`: those of `accepttrace check`, --fair if there are none."""
    return _judged


@contextmanager
def _judged(port: int, conditions: str = "", *, attach: str = "auto") -> Iterator[Run]:
    """Fails where one of the conditions does, and where one cannot be judged."""
    from accepttrace.cli.check import conditions_of
    from accepttrace.errors import UnsupportedError
    from accepttrace.library import trace
    from accepttrace.model.conditions import judge, result
    from accepttrace.views import checked

    demanded = conditions_of(shlex.split(conditions))
    run = trace(port, by="process", attach=attach)  # type: ignore[arg-type]  # it says what it knows
    try:
        run.__enter__()
    except UnsupportedError as error:
        pytest.skip(f"accepttrace: {error.message}")
    try:
        yield run
        summary = run.summary()
    finally:
        run.__exit__()
    outcomes = judge(demanded, summary)
    if result(outcomes) is not True:
        pytest.fail(checked.text(outcomes, summary), pytrace=False)
