"""What the README says of the program against the program itself."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

from click import Context

from accepttrace.cli import cli
from vm import support

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_what_is_made_of_tables_of_data_is_up_to_date() -> None:
    files = runpy.run_path(str(ROOT / "docs" / "generate.py"))["files"]
    for path, text in files().items():
        assert path.read_text() == text, f"{path}: run `make docs`"


def test_every_command_in_it_exists() -> None:
    named = set(re.findall(r"^(?:sudo )?\.venv/bin/accepttrace ([a-z]+)", README, re.MULTILINE))
    assert named
    assert named <= set(cli.list_commands(Context(cli)))
    pictures = re.findall(r"\]\((docs/[a-z]+\.svg)\)", README)
    assert pictures == ["docs/live.svg", "docs/stuck.svg"]
    assert all((ROOT / picture).exists() for picture in pictures)


def test_the_table_of_kernels_is_that_of_the_matrix() -> None:
    shown = README.partition(support.BEGIN)[2].partition(support.END)[0]
    assert shown == support.table(), "run `python -m vm.support`"
