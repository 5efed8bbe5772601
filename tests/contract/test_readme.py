"""What the README and the pages behind it say of the program against the program itself."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

from click import Context

from accepttrace.cli import cli
from vm import support

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md"))


def test_what_is_made_of_tables_of_data_is_up_to_date() -> None:
    files = runpy.run_path(str(ROOT / "docs" / "generate.py"))["files"]
    for path, text in files().items():
        assert path.read_text() == text, f"{path}: run `make docs`"


def test_every_command_in_it_exists() -> None:
    called = re.compile(r"^\$? ?(?:sudo )?\.venv/bin/accepttrace ([a-z]+)", re.MULTILINE)
    named = {name for page in PAGES for name in called.findall(page.read_text())}
    assert named
    assert named <= set(cli.list_commands(Context(cli)))


def test_every_link_leads_somewhere() -> None:
    for page in PAGES:
        links = re.findall(r"\]\(([^)#]+)", page.read_text())
        gone = [link for link in links if "://" not in link and not (page.parent / link).exists()]
        assert gone == [], page


def test_the_front_page_is_short() -> None:
    assert len(README.splitlines()) <= 100


def test_the_table_of_kernels_is_that_of_the_matrix() -> None:
    shown = support.PAGE.read_text().partition(support.BEGIN)[2].partition(support.END)[0]
    assert shown == support.table(), "run `python -m vm.support`"
