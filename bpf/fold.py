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

# A file whose stubs bcc gets as trampolines of its own kind; each stub, by its section.
_TRAMPOLINES = re.compile(r'TRAMPOLINES\("([^"]+)"\)')
_STUB = re.compile(r'^SEC\("(fentry|fexit)/(\w+)"\)\nint (\w+)\(', re.MULTILINE)
_MACROS = {"fentry": "KFUNC_PROBE", "fexit": "KRETFUNC_PROBE"}
_TRAMPOLINE = """#ifdef HOOK_{name}
{macro}({site}, void *first)
{{
	return {name}(ctx);
}}
#endif
"""


def fold(root: Path) -> str:
    """One text; `#line` marks keep diagnostics at the file and line that people can open.

    A header is folded in once, unless that was under a condition, which may not hold; guards of
    headers are none. In place of core.h stands bcc.h. `TRAMPOLINES("FILE")` becomes a trampoline
    for each stub in that file. Includes are found from the root's folder, as with `-I.` there;
    FileNotFoundError where one is not, ValueError where a file includes itself.
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
        found, stubs = _INCLUDE.match(line), _TRAMPOLINES.match(line)
        if stubs:
            yield from _trampolines((folder / stubs[1]).read_text())
            yield f'#line {number + 1} "{name}"\n'
            continue
        if found is None:
            yield _CALL.sub(lambda call: f"{call[2]}.{_METHODS[call[1]]}(", line) + "\n"
            continue
        here = sure and conditions == 0
        other = _DIALECT.get(found[1], found[1])
        yield from _lines(folder, other, (*parents, name), folded, sure=here)
        yield f'#line {number + 1} "{name}"\n'
    if sure and parents:
        folded.add(name)


def _trampolines(text: str) -> Iterator[str]:
    for kind, site, name in _STUB.findall(text):
        yield _TRAMPOLINE.format(name=name, site=site, macro=_MACROS[kind])


if __name__ == "__main__":
    sys.stdout.write(fold(Path(sys.argv[1])))
