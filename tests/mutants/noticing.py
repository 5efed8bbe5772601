"""Which tests reach a changed statement, and whether one of them fails."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path

from coverage import CoverageData

from tests.mutants import fork
from tests.mutants.places import Mutant

SUITES = ("tests/unit", "tests/contract")
# Tests of none of what is changed.
OTHERS = ("lab", "bench_cost", "vm_tasks", "bcc_fold", "mutants")
ALL = (*SUITES, *(f"--ignore=tests/unit/test_{name}.py" for name in OTHERS))
COVERAGE = """[run]
source = tracer/accepttrace
parallel = true
patch = fork, _exit, subprocess
"""
# A loop without an end is noticed too: a test may take that many times as long, and some seconds.
PATIENCE, SECONDS = 3, 20


class Tests:
    """A copy of the tree, and which tests reach which lines of it."""

    def __init__(self, tree: Path) -> None:
        """Runs all of them. Raises SystemExit where they fail without any change."""
        self._tree = tree
        self._output = tree.with_suffix(".log")  # of the last run
        self._temporary = tree.with_suffix(".tmp")
        self._times: dict[str, float] = {}
        fork.make_ready()
        self.check()
        self._times = self._measure()
        self._data = CoverageData(str(tree / ".coverage"))
        self._data.read()

    def check(self) -> None:
        """Raises SystemExit where they fail without any change: so would they with each."""
        if not self._pass(ALL, None, may_cache=True) and self._fail_again():
            raise SystemExit(f"without any change:\n{self._output.read_text()}")

    def notice(self, mutant: Mutant) -> bool:
        """Whether one of them fails with it, or does not end."""
        file = self._tree / mutant.file
        original = file.read_text(encoding="utf-8")
        for cached in (file.parent / "__pycache__").glob(f"{file.stem}.*"):
            cached.unlink()  # Python takes it for the change's, if of the same size and second
        file.write_text(mutant.source, encoding="utf-8")
        try:
            return any(self._fail(turn) for turn in self._turns(mutant) if turn)
        except TimeoutError:
            return True
        finally:
            file.write_text(original, encoding="utf-8")

    def _turns(self, mutant: Mutant) -> Iterator[list[str]]:
        """Those of the file that is named after the changed one, as what is cached only the first
        to ask is seen to execute; those that execute the statement, the fast ones first. Where
        nobody does, as only import does or a forked child, those that reach its file; and where
        import does, all others.
        """
        names = (f"{suite}/test_{mutant.file.stem}.py" for suite in SUITES)
        own = [name for name in names if (self._tree / name).exists()]
        yield own
        by_line = self._data.contexts_by_lineno(str(self._tree / mutant.file))
        contexts = {name for line in mutant.statement for name in by_line.get(line, ())}
        imported = mutant.at_import or contexts == {""}
        if imported or not contexts:
            contexts = {name for names in by_line.values() for name in names}
        others = [test for test in self._times if test.partition("::")[0] not in own]
        yield [test for test in others if test in contexts]
        if imported:
            yield [test for test in others if test not in contexts]

    def _measure(self) -> dict[str, float]:
        """Leaves what coverage found in the tree; returns how long each test took, in seconds,
        the fast ones first. That is slower than some tests allow: one that fails has reached its
        lines all the same.
        """
        (self._tree / ".coveragerc").write_text(COVERAGE)
        plugins = ("-q", *fork.WITHOUT, "-p", "tests.mutants.contexts")
        for arguments in (("run", "-m", "pytest", *plugins, *ALL), ("combine",)):
            subprocess.run(
                (sys.executable, "-m", "coverage", *arguments),
                cwd=self._tree,
                env={**os.environ, "PYTHONPATH": str(self._tree / "tracer")},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
            )
        times: dict[str, float] = json.loads((self._tree / "times.json").read_text())
        return dict(sorted(times.items(), key=itemgetter(1)))

    def _silence_s(self, tests: Sequence[str]) -> float:
        named = {*tests}
        took_s = [s for test, s in self._times.items() if {test, test.partition("::")[0]} & named]
        return SECONDS + PATIENCE * max(took_s, default=0.0)

    def _fail(self, tests: Sequence[str]) -> bool:
        return not self._pass(tests, self._silence_s(tests)) and self._fail_again()

    def _fail_again(self) -> bool:
        """Whether the test that failed does so twice: it may have failed for want of time."""
        output = self._output.read_text(errors="replace")
        failed = re.search(r"^(?:FAILED|ERROR) (\S+?::\w+)", output, re.MULTILINE)
        return failed is None or not self._pass([failed[1]], self._silence_s([failed[1]]))

    def _pass(self, tests: Sequence[str], silence_s: float | None, may_cache: bool = False) -> bool:
        arguments = [f"--basetemp={self._temporary}", *tests]
        return fork.passes(self._tree, arguments, self._output, silence_s, may_cache)
