"""Folds a C file and the quoted includes below it into one text: bcc rewrites the main file only.

`python3 fold.py bcc.c > FILE`. Includes in angle brackets are left to the compiler.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

_INCLUDE = re.compile(r'\s*#\s*include\s+"([^"]+)"')
# Calls of maps (maps.h), as methods of the map: the only ones that bcc rewrites.
_CALL = re.compile(r"\b(LOOKUP|INSERT|PUT|DELETE)\((\w+), ")
_METHODS = {"LOOKUP": "lookup", "INSERT": "insert", "PUT": "update", "DELETE": "delete"}


def fold(root: Path) -> str:
    """One text; `#line` marks keep diagnostics at the file and line that people can open.

    A file that is included twice is folded in twice: its include guard decides, as it would for
    the compiler. FileNotFoundError where an include is not beside the file that names it,
    ValueError where a file includes itself.
    """
    return "".join(_lines(root, ()))


def _lines(path: Path, parents: tuple[str, ...]) -> Iterator[str]:
    if path.name in parents:
        raise ValueError(f"{path.name} includes itself: {' > '.join((*parents, path.name))}")
    yield f'#line 1 "{path.name}"\n'
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        found = _INCLUDE.match(line)
        if found is None:
            yield _CALL.sub(lambda call: f"{call[2]}.{_METHODS[call[1]]}(", line) + "\n"
            continue
        yield from _lines(path.parent / found.group(1), (*parents, path.name))
        yield f'#line {number + 1} "{path.name}"\n'


if __name__ == "__main__":
    sys.stdout.write(fold(Path(sys.argv[1])))
