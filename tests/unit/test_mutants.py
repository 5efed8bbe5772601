"""How `make mutants` runs tests: in a forked child that reads the changed code anew."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.mutants import fork
from tests.unit.forked import child, wait_until

PLENTY_S = 20.0
CODE = Path("tracer/accepttrace/answers.py")
TEST = """
from accepttrace.answers import answer

def test_answer():
    assert answer() == 42
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / CODE).parent.mkdir(parents=True)
    (tree / "tests").mkdir()
    for name in ("__init__.py", "testing.py"):  # pytest loads the second one as a plugin
        (tree / CODE.with_name(name)).touch()
    (tree / "tests" / "test_answers.py").write_text(TEST)
    return tree


def _passes(tree: Path, body: str, silence_s: float = PLENTY_S) -> bool:
    (tree / CODE).write_text(f"import os, time\ndef answer():\n    {body}\n")
    return fork.passes(tree, ["tests"], tree.with_suffix(".log"), silence_s)


def test_each_child_sees_the_code_as_it_stands(tree: Path) -> None:
    assert _passes(tree, "return 42")
    assert not _passes(tree, "return 24")
    assert _passes(tree, "return 42")


def test_the_output_names_the_test_that_failed(tree: Path) -> None:
    assert not _passes(tree, "return 24")
    assert "FAILED tests/test_answers.py::test_answer" in tree.with_suffix(".log").read_text()


def test_code_that_cannot_be_imported_is_a_failure(tree: Path) -> None:
    assert not _passes(tree, "return 42\nraise SystemExit(0)")


def test_a_loop_without_an_end_is_ended(tree: Path) -> None:
    with pytest.raises(TimeoutError):
        _passes(tree, "while True: pass", silence_s=0.5)


def test_who_goes_on_writing_is_not_silent(tmp_path: Path) -> None:
    output = tmp_path / "log"
    output.touch()

    def write() -> None:
        with output.open("ab", buffering=0) as file:
            for _ in range(20):
                file.write(b".")
                time.sleep(0.05)

    with child(write) as pid:
        assert fork._ends(pid, output, 0.7)
    with child(lambda: time.sleep(60)) as pid:
        assert not fork._ends(pid, output, 0.1)


def test_nothing_is_left_running(tree: Path) -> None:
    inherited, given = os.pipe()
    os.set_inheritable(given, True)
    forks = f"os.fork() or (os.write({given}, b'.'), time.sleep(3600)); return 42"
    assert _passes(tree, forks)
    os.close(given)
    assert os.read(inherited, 2) == b"."
    wait_until(lambda: os.read(inherited, 1) == b"")  # the last that could write is gone
    os.close(inherited)


def test_memory_without_an_end_is_refused(tree: Path) -> None:
    assert not _passes(tree, f"bytes({fork.MEMORY}); return 42")
