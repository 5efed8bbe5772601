"""Write probe/wire.py, the Python mirror of accepttrace.h: `mirror.py accepttrace.h > wire.py`.

Tests hold the mirror against the BTF of the built objects, which the compiler made of the header.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

TYPES = {
    "__u8": "c.c_uint8",
    "__u16": "c.c_uint16",
    "__u32": "c.c_uint32",
    "__s16": "c.c_int16",
    "__s32": "c.c_int32",
    "__s64": "c.c_int64",
    "__u64": "c.c_uint64",
    "char": "c.c_char",
}
HEAD = '''"""The Python mirror of bpf/accepttrace.h, written by bpf/mirror.py: do not edit."""

from __future__ import annotations

import ctypes as c
'''
PLAIN = '''

class {name}(c.Structure):
    """A plain value; a structure, because ctypes turns bare integers of arrays into int."""

    _fields_ = (("value", {type}),)
'''
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_ENUM = re.compile(r"\benum(?: \w+)? \{(.*?)\}", re.DOTALL)
_STRUCT = re.compile(r"^struct (\w+) \{(.*?)^\}", re.DOTALL | re.MULTILINE)
_FIELD = re.compile(r"(struct )?(\w+) (\w+)(?:\[(\w+)\])?;")


def mirror(header: str) -> str:
    """The module for a header's text."""
    text = _COMMENT.sub("", header)
    constants = "".join(f"{name} = {value}\n" for name, value in _constants(text))
    plain = (PLAIN.format(name=f"U{bits}", type=f"c.c_uint{bits}") for bits in (8, 32, 64))
    structs = (_structure(name, body) for name, body in _STRUCT.findall(text))
    return "".join((HEAD, "\n", constants, *plain, *structs))


def _constants(text: str) -> Iterator[tuple[str, int]]:
    """Every enumerator with its value, as the compiler counts."""
    known: dict[str, int] = {}
    for body in _ENUM.findall(text):
        value = -1
        for entry in filter(None, map(str.strip, body.split(","))):
            name, _, given = map(str.strip, entry.partition("="))
            value = eval(re.sub(r"(?<=\d)U\b", "", given), {}, known) if given else value + 1
            known[name] = value
            yield name, value


def _structure(name: str, body: str) -> str:
    fields = "".join(
        f'        ("{field}", {_camel(kind) if struct else TYPES[kind]}{_times(number)}),\n'
        for struct, kind, field, number in _FIELD.findall(body)
    )
    return (
        f"\n\nclass {_camel(name)}(c.Structure):\n"
        f'    """struct {name}."""\n\n    _fields_ = (\n{fields}    )\n'
    )


def _times(number: str) -> str:
    return f" * {number}" if number else ""


def _camel(name: str) -> str:
    return name.title().replace("_", "")


if __name__ == "__main__":
    sys.stdout.write(mirror(Path(sys.argv[1]).read_text()))
