"""What is reachable from an object: how many things its containers hold, by where they are."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, Final

_LEAVES: Final = (type, ModuleType, FunctionType, BuiltinFunctionType, str, bytes, int, float)
_MANY: Final = (list, tuple, set, frozenset, deque)
_DEEP: Final = 4  # parts of a path that are told apart


def held(root: object) -> Counter[str]:
    """Entries of all dicts, sets and sequences, by path; what is reached twice counts once."""
    found: Counter[str] = Counter()
    seen: set[int] = set()
    left: list[tuple[tuple[str, ...], Any]] = [((type(root).__name__,), root)]
    while left:
        path, one = left.pop()
        if one is None or isinstance(one, _LEAVES) or id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, dict):
            found[".".join(path)] += len(one)
            left += [(path, part) for pair in one.items() for part in pair]
        elif isinstance(one, _MANY):
            found[".".join(path)] += len(one)
            left += [(path, part) for part in one]
        left += [((*path, name)[-_DEEP:], part) for name, part in _attributes(one)]
    return found


def grown(before: Counter[str], after: Counter[str]) -> dict[str, tuple[int, int]]:
    """Where there are more: how many were there, and are there now."""
    return {path: (before[path], number) for path, number in after.items() if number > before[path]}


def _attributes(one: object) -> Iterator[tuple[str, Any]]:
    if hasattr(one, "__self__"):  # a bound method
        yield "self", one.__self__
    names = {*getattr(one, "__dict__", ())}
    for kind in type(one).__mro__:
        slots = getattr(kind, "__slots__", ())
        names.update([slots] if isinstance(slots, str) else slots)
    for name in sorted(names):
        if hasattr(one, name):
            yield name, getattr(one, name)
