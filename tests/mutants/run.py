"""Do the unit and contract tests notice when the code is changed? Prints each change that they
do not, and the share of those that they do.

    python -m tests.mutants.run [--number 300] [--seed 1] [FILE of the package ...]

In a copy of the tree, one change after the other, with the tests that reach the changed statement.
Status 1: fewer than 90 % were noticed, or known.txt names what is not there.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from coverage import CoverageData

from tests.mutants.places import PACKAGE, Mutant, all_files, draw

ROOT = Path(__file__).resolve().parents[2]
KNOWN = Path(__file__).with_name("known.txt")
SUITES = ("tests/unit", "tests/contract")
PYTEST = ("-m", "pytest", "-x", "-q", "-p", "no:cacheprovider")
OTHERS = ("lab", "bench_cost", "vm_tasks", "bcc_fold")  # tests of none of what is changed
ALL = (*SUITES, *(f"--ignore=tests/unit/test_{name}.py" for name in OTHERS))
COVERAGE = """[run]
source = tracer/accepttrace
parallel = true
patch = fork, _exit, subprocess
"""
ENOUGH = 0.9
PATIENCE = 3  # times what all tests take: a loop without an end is noticed too
MEMORY = 2 << 30


@dataclass(frozen=True)
class Known:
    """A line of known.txt."""

    file: str
    before: str
    after: str
    reason: str

    def is_of(self, mutant: Mutant) -> bool:
        """Whether it is about this change."""
        return (
            PACKAGE / self.file == mutant.file
            and self.before == mutant.before
            and (self.after == "*" or self.after in mutant.after)
        )


class Tests:
    """A copy of the tree, and which tests reach which lines of it."""

    def __init__(self, tree: Path) -> None:
        """Runs all of them. Raises SystemExit where they fail without any change."""
        self._tree = tree
        self._output = tree.with_suffix(".log")  # of the last run
        self._limit_s: float | None = None
        began = time.monotonic()
        if not self._pass(*PYTEST, *ALL, may_cache=True) and self._fail_again():
            raise SystemExit(f"without any change:\n{self._output.read_text()}")
        took_s = time.monotonic() - began
        (tree / ".coveragerc").write_text(COVERAGE)
        # Slower than some tests allow: one that fails has reached its lines all the same.
        named = ("-p", "tests.mutants.contexts")
        self._pass("-m", "coverage", "run", *PYTEST, *named, *ALL, "--maxfail=0")
        self._pass("-m", "coverage", "combine")
        self._data = CoverageData(str(tree / ".coverage"))
        self._data.read()
        self._limit_s = PATIENCE * took_s

    def notice(self, mutant: Mutant) -> bool:
        """Whether one of them fails with it."""
        file = self._tree / mutant.file
        original = file.read_text(encoding="utf-8")
        for cached in (file.parent / "__pycache__").glob(f"{file.stem}.*"):
            cached.unlink()  # Python takes it for the change's, if of the same size and second
        file.write_text(mutant.source, encoding="utf-8")
        try:
            return not self._pass(*PYTEST, *self._reaching(mutant)) and self._fail_again()
        finally:
            file.write_text(original, encoding="utf-8")

    def _fail_again(self) -> bool:
        """Whether the test that failed does so twice: it may have failed for want of time."""
        output = self._output.read_text(errors="replace")
        failed = re.search(r"^(?:FAILED|ERROR) (\S+?::\w+)", output, re.MULTILINE)
        return failed is None or not self._pass(*PYTEST, failed[1])

    def _reaching(self, mutant: Mutant) -> list[str]:
        """Those that execute the statement, after all of the file that is named after the changed
        one: what is cached, only the first to ask is seen to execute. Where only import or a
        fixture does: all. Where nobody was seen to, those that reach its file: a forked child's
        ways are not known."""
        by_line = self._data.contexts_by_lineno(str(self._tree / mutant.file))
        contexts = {name for line in mutant.statement for name in by_line.get(line, ())}
        if not contexts:
            contexts = {name for names in by_line.values() for name in names if name}
        tests: list[str] = sorted(filter(None, contexts))
        if not tests:
            return list(ALL)
        names = (f"{suite}/test_{mutant.file.stem}.py" for suite in SUITES)
        own = [name for name in names if (self._tree / name).exists()]
        return own + [test for test in tests if test.partition("::")[0] not in own]

    def _pass(self, *arguments: str, may_cache: bool = False) -> bool:
        """Whether Python ends well with these; what is left of its processes is ended."""
        environment = {**os.environ, "PYTHONPATH": str(self._tree / "tracer")}
        if not may_cache:
            environment["PYTHONDONTWRITEBYTECODE"] = "1"
        with (
            self._output.open("wb") as output,
            subprocess.Popen(
                (sys.executable, *arguments),
                cwd=self._tree,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
            ) as process,
        ):
            try:
                return process.wait(self._limit_s) == 0
            except subprocess.TimeoutExpired:
                return False
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


def main() -> int:
    """Parse, run, print; returns the exit status."""
    options = _options()
    os.chdir(ROOT)
    known = _known()
    mutants = draw(options.files or all_files(), options.number, options.seed)
    noticed = survivors = 0
    with tempfile.TemporaryDirectory(prefix="accepttrace-mutants-") as place:
        os.chmod(place, 0o755)  # some tests become another user
        tests = Tests(_copied(Path(place) / "tree"))
        for mutant in mutants:
            reason = next((one.reason for one in known if one.is_of(mutant)), "")
            if not reason and tests.notice(mutant):
                noticed += 1
                continue
            survivors += not reason
            word = f"known: {reason}" if reason else "SURVIVED"
            print(f"{mutant.file}:{mutant.line}: {word}")
            print(f"  - {mutant.before}\n  + {mutant.after}", flush=True)
    tried = noticed + survivors
    share = noticed / max(1, tried)
    others = len(mutants) - tried
    print(f"{noticed} of {tried} changes noticed, {share:.1%}; {others} known besides")
    return int(share < ENOUGH)


def _known() -> list[Known]:
    """Raises SystemExit for a line that is no longer in its file."""
    lines = [line for line in KNOWN.read_text().splitlines() if not line.startswith("#")]
    known = [Known(*line.split(" | ")) for line in lines]
    for one in known:
        code = " ".join((PACKAGE / one.file).read_text(encoding="utf-8").split())
        if one.before not in code:
            raise SystemExit(f"{KNOWN}: not in {one.file}: {one.before}")
    return known


def _copied(tree: Path) -> Path:
    return Path(shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".*", "__pycache__")))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--number", type=int, default=300, help="of changes; 0: one at each place")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other changes")
    parser.add_argument("files", nargs="*", type=Path, help="by default, all that needs no kernel")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
