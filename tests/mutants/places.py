"""Where the code can be changed, and how: by the operators of Cosmic Ray, without those whose
change only a reader or mypy sees."""

from __future__ import annotations

import ast
import random
import re
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

from tests.mutants.known import PACKAGE

ROOMS = ("facts", "model", "sockets", "views")
# Of the probe, what needs no kernel.
PURE = ("choosing", "clock", "filtering", "lockdown", "plans", "privileges")
# `is` and `==` are one for enum members and None; the operators for variables need their names.
LEFT_OUT = re.compile(r"Comparison.*_(Is_Eq|IsNot_NotEq|Eq_Is|NotEq_IsNot)$|/Variable")
UNSEEN = {"frozen", "slots", "strict"}  # of dataclasses and zip(): they guard against mistakes

Position = tuple[int, int]  # line from 1, column from 0
Change = tuple[str, int]  # the operator's name, and which one of its places


@dataclass(frozen=True)
class Mutant:
    """One change of one file, which is `source` with it."""

    file: Path
    line: int
    statement: range  # line numbers; of a compound statement its head
    at_import: bool  # it is executed then, perhaps by the first test that needs the module
    before: str
    after: str
    source: str


def all_files() -> list[Path]:
    """What is changed, from the root of the repository."""
    rooms = (path for room in ROOMS for path in (PACKAGE / room).rglob("*.py"))
    return sorted([*rooms, *(PACKAGE / "probe" / f"{name}.py" for name in PURE)])


def draw(files: Sequence[Path], number: int, seed: int) -> list[Mutant]:
    """`number` places, all where it is 0, and one change at each: the same for the same seed."""
    chance = random.Random(seed)
    places = [(file, *place) for file in files for place in _places(file)]
    chance.shuffle(places)
    mutants: list[Mutant] = []
    for file, start, changes in places:
        chance.shuffle(changes)
        made = (_mutant(file, start[0], change) for change in changes)
        mutants += [mutant for mutant in made if mutant][:1]
        if len(mutants) == number:
            break
    return mutants


def _places(file: Path) -> Iterator[tuple[Position, list[Change]]]:
    source = file.read_text(encoding="utf-8")
    unseen = list(_unseen(ast.parse(source)))
    nodes = list(ast_nodes(get_ast(source)))
    changes: dict[Position, list[Change]] = defaultdict(list)
    for name in operator_names():
        if LEFT_OUT.search(name):
            continue
        operator = get_operator(name)()
        found = ((node, start) for node in nodes for start, _ in operator.mutation_positions(node))
        for number, (node, start) in enumerate(found):
            if not any(first <= start < last for first, last in unseen) and not _is_star(node):
                changes[start].append((name, number))
    return ((start, changes[start]) for start in sorted(changes))


def _is_star(node: Any) -> bool:
    """The one before keyword-only parameters, which is no operator."""
    return node.type == "operator" and node.parent.type in ("parameters", "param")


def _unseen(tree: ast.Module) -> Iterator[tuple[Position, Position]]:
    """From where to where nothing is executed, or nothing that the code's behaviour shows."""
    for node in ast.walk(tree):
        part: ast.expr | ast.keyword | ast.ClassDef | None = None
        if isinstance(node, ast.arg | ast.AnnAssign):
            part = node.annotation
        elif isinstance(node, ast.FunctionDef):
            part = node.returns
        elif isinstance(node, ast.keyword):
            part = node if node.arg in UNSEEN else None
        elif isinstance(node, ast.ClassDef):
            part = node if "Protocol" in map(ast.unparse, node.bases) else None
        elif isinstance(node, ast.If) and not node.orelse:  # what mypy alone imports
            part = node.test if ast.unparse(node.test) == "TYPE_CHECKING" else None
        if part is not None:
            assert part.end_lineno is not None
            assert part.end_col_offset is not None
            yield (part.lineno, part.col_offset), (part.end_lineno, part.end_col_offset)


def _mutant(file: Path, line: int, change: Change) -> Mutant | None:
    """None where Python refuses it, or warns."""
    source = file.read_text(encoding="utf-8")
    name, number = change
    mutated = str(mutate_code(source, get_operator(name)(), number))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", SyntaxWarning)
            compile(mutated, file, "exec")
    except SyntaxError:
        return None
    before, after = _different(source.splitlines(), mutated.splitlines())
    tree = ast.parse(source)
    place = _statement(tree, line), _is_at_import(tree, line)
    return Mutant(file, line, *place, before, after, mutated)


def _different(before: list[str], after: list[str]) -> tuple[str, str]:
    """The lines that changed, each side as one."""
    while before and after and before[0] == after[0]:
        before, after = before[1:], after[1:]
    while before and after and before[-1] == after[-1]:
        before, after = before[:-1], after[:-1]
    return " ".join(" ".join(before).split()), " ".join(" ".join(after).split())


def _statement(tree: ast.Module, line: int) -> range:
    """The lines of the innermost statement that has `line`."""
    found = range(line, line + 1)
    for node in ast.walk(tree):  # the outer ones first
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or 0):
            body = getattr(node, "body", None)
            last = body[0].lineno - 1 if body else node.end_lineno or line
            found = range(node.lineno, max(last, line) + 1)
    return found


def _is_at_import(tree: ast.Module, line: int) -> bool:
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return not any(node.body[0].lineno <= line <= (node.end_lineno or line) for node in functions)
