"""Where the kernel keeps the fields that bpf/kernel.h declares, for bcc: offsets from its BTF.

libbpf relocates field accesses when it loads a program; bcc's compiler understands the attribute
but its loader drops the relocations. So every FIELD of the text gets its offset as a macro, and
kernel.h places the field there. Without BTF the kernel's headers declare the structs, and only
which fields there are has to be known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
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


def presence(text: str, include: Path) -> str:
    """C macros HAS_<record>_<field> for the optional fields, as the kernel's headers have them.

    `include`: their folder of that name. The version would not do: distributions backport.
    """
    lines = []
    for record, path, optional in fields(text):
        if optional:
            there = any(f" {path[0]};" in body for body in _bodies(record, include))
            lines.append(f"#define HAS_{record}_{path[0]} {int(there)}")
    return "\n".join((*lines, ""))


def _bodies(record: str, include: Path) -> Iterator[str]:
    """What stands between the braces of a struct, in whatever header of the network declares it."""
    begin = re.compile(rf"^struct {record} {{\n(.*?)^}}", re.MULTILINE | re.DOTALL)
    for header in (include / "net").rglob("*.h"):
        yield from begin.findall(header.read_text(errors="replace").replace("\t", " "))
