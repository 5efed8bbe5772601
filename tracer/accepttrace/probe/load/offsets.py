"""Where the kernel keeps the fields that bpf/kernel.h declares: offsets from its BTF, for bcc.

libbpf relocates field accesses when it loads a program; bcc's compiler understands the attribute
but its loader drops the relocations. So every FIELD of the text gets its offset as a macro, and
kernel.h places the field there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from accepttrace.probe.load import btf

_FIELD = re.compile(r"^\s*FIELD(?P<optional>_OR_NOT)?\((\w+), [^()]+, (\w+)\)", re.MULTILINE)
_FIELD_IN = re.compile(r"^\s*FIELD_IN\((\w+), (\w+), [^()]+, (\w+)\)", re.MULTILINE)


_SIZE_OF = re.compile(r"\bSIZE_OF\((\w+)\)")


class Field(NamedTuple):
    """One field; `path` has two names where it is inside a nameless struct of the record."""

    record: str
    path: tuple[str, ...]
    optional: bool


def fields(text: str) -> Iterator[Field]:
    """Every field that a C text declares through FIELD, FIELD_OR_NOT and FIELD_IN."""
    for found in _FIELD.finditer(text):
        yield Field(found.group(2), (found.group(3),), found.group("optional") is not None)
    for found in _FIELD_IN.finditer(text):
        yield Field(found.group(1), (found.group(2), found.group(3)), False)


def definitions(text: str) -> str:
    """C macros AT_<record>_<field>, SIZE_<record> (bytes) and, if optional, HAS_<record>_<field>.

    A field that must be there and is not gets no macro: the compiler then names it.
    """
    lines = []
    for field in fields(text):
        name = "_".join((field.record, *field.path))
        at = btf.offset(field.record, *field.path)
        if at is not None or field.optional:
            lines.append(f"#define AT_{name} {at or 0}")
        if field.optional:
            lines.append(f"#define HAS_{name} {int(at is not None)}")
    for record in sorted(set(_SIZE_OF.findall(text)) - {"record"}):
        size = btf.size(record)
        if size is not None:
            lines.append(f"#define SIZE_{record} {size}")
    return "\n".join((*lines, ""))
