"""What program a process is of, by its name alone: workers often number themselves."""

from __future__ import annotations

import re
from typing import Final

from accepttrace.facts.records import Holder

NUMBER: Final = re.compile(r"[0-9]+")
FIRST_WORD: Final = re.compile(r"[^\s:\[(]+")


def program_of(holder: Holder) -> str:
    """`nginx` of `nginx: worker`, `lab` of `lab worker 2`, `srv` of `srv-3`."""
    found = FIRST_WORD.match(holder.name or holder.comm)
    word = found[0] if found else holder.comm
    return word.rstrip("0123456789").rstrip("-_#.") or word


def without_numbers(name: str) -> str:
    """`lab worker *`, as all of one kind are called."""
    return NUMBER.sub("*", name)
