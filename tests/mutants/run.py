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
from pathlib import Path

from tests.mutants.known import known_changes
from tests.mutants.noticing import Tests
from tests.mutants.places import all_files, draw

ROOT = Path(__file__).resolve().parents[2]
ENOUGH = 0.9


def main() -> int:
    """Parse, run, print; returns the exit status."""
    options = _options()
    os.chdir(ROOT)
    known = known_changes()
    mutants = draw(options.files or all_files(), options.number, options.seed)
    noticed = survivors = 0
    with tempfile.TemporaryDirectory(prefix="accepttrace-mutants-") as place:
        os.chmod(place, 0o755)  # some tests become another user
        tests = Tests(_copied(Path(place) / "tree"))
        for mutant in mutants:
            reason = next(
                (
                    one.reason
                    for one in known
                    if one.is_of(mutant.file, mutant.before, mutant.after)
                ),
                "",
            )
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
