"""Do the unit and contract tests notice when the code is changed? Prints each change that they
do not, and the share of those that they do.

    python -m tests.mutants.run [--number 300] [--seed 1] [FILE of the package ...]

In a copy of the tree, one change after the other, with the tests that reach the changed statement.
Status 1: fewer than 90 % were noticed, or known.txt names what is not there.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.noticing import Tests
from tests.mutants.places import PACKAGE, Mutant, all_files, draw

ROOT = Path(__file__).resolve().parents[2]
KNOWN = Path(__file__).with_name("known.txt")
ENOUGH = 0.9


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
        tests.check()  # what is installed may have changed meanwhile
    tried = noticed + survivors
    share = noticed / max(1, tried)
    others = len(mutants) - tried
    print(f"{noticed} of {tried} changes noticed, {share:.1%}; {others} known besides")
    return int(share < ENOUGH)


def _known() -> list[Known]:
    """Raises SystemExit for a line that is no longer in its file, or says nothing of the change."""
    lines = [line for line in KNOWN.read_text().splitlines() if not line.startswith("#")]
    known = [Known(*line.split(" | ")) for line in lines]
    for one in known:
        code = " ".join((PACKAGE / one.file).read_text(encoding="utf-8").split())
        if one.before not in code:
            raise SystemExit(f"{KNOWN}: not in {one.file}: {one.before}")
        if one.after in one.before:
            raise SystemExit(f"{KNOWN}: true of every change: {one.before} | {one.after}")
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
