"""Folds a C file and the quoted includes below it into one text: bcc rewrites the main file only.

`python3 fold.py bcc.c > FILE`. Includes in angle brackets are left to the compiler.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

_INCLUDE = re.compile(r'\s*#\s*include\s+"([^"]+)"')
_BEGINS = re.compile(r"\s*#\s*if")
_ENDS = re.compile(r"\s*#\s*endif")
_GUARD = re.compile(r"^#ifndef (\w+_H)\n#define \1$", re.MULTILINE)
_DIALECT = {"core.h": "bcc.h"}  # the one that the logic includes, and the one that bcc speaks
# Calls of maps (maps.h), as methods of the map: the only ones that bcc rewrites.
_CALL = re.compile(r"\b(LOOKUP|INSERT|PUT|DELETE)\((\w+), ")
_METHODS = {"LOOKUP": "lookup", "INSERT": "insert", "PUT": "update", "DELETE": "delete"}


def fold(root: Path) -> str:
    """One text; `#line` marks keep diagnostics at the file and line that people can open.

    A header is folded in once, unless that was under a condition, which may not hold; guards of
    headers are none. In place of core.h stands bcc.h. Includes are found from the root's folder, as
    with `-I.` there; FileNotFoundError where one is not, ValueError where a file includes itself.
    """
    return "".join(_lines(root.parent, root.name, (), set(), sure=True))


def _lines(
    folder: Path, name: str, parents: tuple[str, ...], folded: set[str], *, sure: bool
) -> Iterator[str]:
    if name in parents:
        raise ValueError(f"{name} includes itself: {' > '.join((*parents, name))}")
    if name in folded:
        return
    text = (folder / name).read_text()
    conditions = -1 if _GUARD.search(text) else 0
    yield f'#line 1 "{name}"\n'
    for number, line in enumerate(text.splitlines(), start=1):
        conditions += bool(_BEGINS.match(line)) - bool(_ENDS.match(line))
        found = _INCLUDE.match(line)
        if found is None:
            yield _CALL.sub(lambda call: f"{call[2]}.{_METHODS[call[1]]}(", line) + "\n"
            continue
        here = sure and conditions == 0
        other = _DIALECT.get(found[1], found[1])
        yield from _lines(folder, other, (*parents, name), folded, sure=here)
        yield f'#line {number + 1} "{name}"\n'
    if sure and parents:
        folded.add(name)


if __name__ == "__main__":
    sys.stdout.write(fold(Path(sys.argv[1])))
