"""What the README says of the program against the program itself."""

from __future__ import annotations

import re
from pathlib import Path

from accepttrace.cli import cli
from accepttrace.views import receivercolumns
from accepttrace.views.columns import COLUMNS
from vm import support

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_every_column_is_explained_as_the_program_does() -> None:
    for key, column in (*COLUMNS.items(), *receivercolumns.COLUMNS.items()):
        assert f"| {column.title} | `{key}` | {column.help} |" in README


def test_every_command_in_it_exists() -> None:
    named = set(re.findall(r"^sudo \.venv/bin/accepttrace ([a-z]+)", README, re.MULTILINE))
    assert named
    assert named <= set(cli.commands) | {"who", "doctor", "demo", "top"}
    assert (Path(__file__).parents[2] / "docs" / "live.svg").exists()


def test_the_table_of_kernels_is_that_of_the_matrix() -> None:
    shown = README.partition(support.BEGIN)[2].partition(support.END)[0]
    assert shown == support.table(), "run `python -m vm.support`"
