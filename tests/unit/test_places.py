"""Which tests run where: everything stands in the table, and each place runs what it says."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections import defaultdict
from itertools import product
from pathlib import Path

import pytest

from vm import matrix, places
from vm.places import TABLE, Entry, entry, paths, turn

TESTS = Path(__file__).parents[1]
TYPES = ("fentry", "kprobe", "tracepoint")
IN_TURN = {each.path for each in TABLE if each.turn and set(places.PLAIN) <= set(each.places)}
FILES = sorted(path.relative_to(TESTS).as_posix() for path in TESTS.glob("*/test_*.py"))


def names_in(path: str) -> list[str]:
    tree = ast.parse((TESTS / path).read_text())
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    return [each.name for each in functions if each.name.startswith("test_")]


def variant(attach: str, *more: str) -> str:
    return "-".join((attach, "libbpf", *more))


@pytest.mark.parametrize("path", FILES)
def test_every_test_has_a_place(path: str) -> None:
    for name in names_in(path):
        assert any(
            each.covers(path, name) for each in TABLE
        ), f"vm/places.py has no line for {name}"


@pytest.mark.parametrize("path", [path for path in FILES if path.startswith("kernel/")])
def test_every_file_of_kernel_tests_stands_in_the_table(path: str) -> None:
    assert path in {each.path for each in TABLE}


@pytest.mark.parametrize("path", [path for path in FILES if not path.endswith("flavours.py")])
def test_every_test_runs_here_unless_a_row_is_what_it_is_about(path: str) -> None:
    for name in names_in(path):
        assert entry("here", path, name), name


def test_what_stands_in_the_table_exists() -> None:
    for each in TABLE:
        assert (TESTS / each.path).exists(), each.path
        assert set(each.names) <= set(names_in(each.path) if each.names else ()), each.path
        assert set(each.places) <= set(places.PLACES)
        assert each.why


def test_the_rows_are_those_of_the_matrix_and_each_has_tests() -> None:
    assert sorted(places.ROWS) == sorted(row.name for row in matrix.ROWS)
    assert set(places.PLAIN) <= {row.name for row in matrix.ROWS if row.flavour == "plain"}
    assert all(map(paths, places.PLACES))


def test_a_test_is_placed_by_its_own_entry_before_that_of_its_file() -> None:
    path = "kernel/test_rows.py"
    assert entry("6.1", path, "test_a_freed_row_begins_at_nothing")
    assert not entry("6.1", path, "test_rows_are_deleted_for_a_year_without_a_trace")
    assert entry("roots", path, "test_rows_are_deleted_for_a_year_without_a_trace")


def test_variants_are_chosen_by_what_stands_in_brackets() -> None:
    path, name = "kernel/test_counts.py", "test_every_accept_is_counted_for_its_worker"
    assert entry("rt", path, name, variant("kprobe", "shared", "ipv4"))
    assert not entry("rt", path, name, variant("fentry", "shared", "ipv4"))
    assert not entry("rt", path, name, variant("kprobe", "shared", "ipv6"))
    assert not entry("rt", path, "test_idle_workers_are_rows_with_zero", variant("kprobe"))


@pytest.mark.parametrize("number", [1, 2, 3, 4, 7, 21])
def test_in_turn_each_variant_meets_each_attach_type_in_some_row(number: int) -> None:
    one = Entry("kernel/test_x.py", places.HERE + places.PLAIN, "", turn=True)
    met = {(nth, turn(one, row, nth, TYPES)) for row, nth in product(places.PLAIN, range(number))}
    assert met == set(product(range(number), TYPES))
    for row in places.PLAIN:
        assert len({turn(one, row, nth, TYPES) for nth in range(number)}) == min(number, 3)


@pytest.mark.parametrize("row", places.PLAIN)
def test_in_turn_what_comes_in_threes_meets_each_attach_type_in_each_row(row: str) -> None:
    one = Entry("kernel/test_x.py", places.HERE + places.PLAIN, "", turn=True)
    families = {(nth % 3, turn(one, row, nth, TYPES)) for nth in range(21)}
    assert families == set(product(range(3), TYPES))


@pytest.mark.parametrize("types", [TYPES[:1], TYPES[:2]])
def test_in_turn_the_types_are_those_that_work_there(types: tuple[str, ...]) -> None:
    one = Entry("kernel/test_x.py", places.ARMS, "", turn=True)
    assert {turn(one, row, nth, types) for row, nth in product(places.ARMS, range(2))} == set(types)


def collected(row: str, *types: str, within: tuple[str, ...] = ()) -> set[str]:
    """What pytest runs in a row."""
    pytest_there = (sys.executable, "-m", "pytest", "-q", "--collect-only", "--place", row)
    call = (*pytest_there, *(within or paths(row)))
    environment = {**os.environ, "ACCEPTTRACE_EXPECTED_TYPES": ",".join(types)}
    done = subprocess.run(call, cwd=TESTS.parent, capture_output=True, text=True, env=environment)
    return {line for line in done.stdout.splitlines() if "::" in line}


def by_test(row: str) -> dict[tuple[str, str], set[str]]:
    """By test and variant, the attach types that it meets in a row where all of them work."""
    found: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for each in collected(row, *TYPES, within=tuple(f"tests/{path}" for path in IN_TURN)):
        test, _, met = each.removeprefix("tests/").removesuffix("]").partition("[")
        attach, *others = met.split("-")
        found[test, "-".join(others)].add(attach)
    return found


def test_in_turn_each_file_meets_each_type_in_each_row_and_each_test_in_some_row() -> None:
    somewhere: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for row in places.PLAIN:
        files: defaultdict[str, set[str]] = defaultdict(set)
        for (test, others), attach in by_test(row).items():
            path, _, name = test.partition("::")
            files[path] |= attach
            one = entry(row, path, name, others)
            if one and one.turn and set(places.PLAIN) <= set(one.places):
                somewhere[test, others] |= attach
        assert {path for path, attach in files.items() if attach >= set(TYPES)} == IN_TURN
    assert len(somewhere) > 100
    for key, attach in somewhere.items():
        assert attach == set(TYPES) or not attach & set(TYPES), key


def test_pytest_runs_in_a_row_what_the_table_says() -> None:
    counts = "tests/kernel/test_counts.py::test_every_accept_is_counted_for_its_worker"
    flavours = "tests/kernel/test_flavours.py"
    assert collected("ftrace-off", "tracepoint") == {
        *(
            f"{counts}[tracepoint-libbpf-{mode}-ipv4]"
            for mode in ("blocking", "reuseport", "shared")
        ),
        f"{flavours}::test_doctor_offers_just_the_expected_types",
        f"{flavours}::test_udp_is_traced_by_the_same_types",
        f"{flavours}::test_auto_passes_over_what_is_silent",
        f"{flavours}::test_a_silent_hook_is_named",
    }


def test_pytest_lets_attach_types_take_turns() -> None:
    found = collected("6.1", *TYPES, within=("tests/kernel/test_failures.py",))
    signals = [each for each in found if "interrupted_accepts" in each]
    assert len(signals) == len({each.rpartition("-libbpf-")[2] for each in signals}) == 4
    assert {attach for attach in TYPES if any(attach in each for each in signals)} == set(TYPES)
    assert len(found) == 4 + len(TYPES)  # the other test meets all
