"""The manual pages: one for each command, with each of its options, as groff and man take them."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from accepttrace.cli import cli

MANUAL = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "manual.py"))
PAGES: dict[str, str] = MANUAL["pages"]()
TOP = click.Context(cli)
COMMANDS = cli.list_commands(TOP)


def test_there_is_one_for_each_command() -> None:
    assert list(PAGES) == ["accepttrace.1", *(f"accepttrace-{name}.1" for name in COMMANDS)]
    assert all(f"accepttrace\\-{name}(1)" in PAGES["accepttrace.1"] for name in COMMANDS)


@pytest.mark.skipif(not shutil.which("man"), reason="man is not installed")
@pytest.mark.parametrize("name", COMMANDS)
def test_man_shows_what_help_says(name: str, tmp_path: Path) -> None:
    page = tmp_path / f"accepttrace-{name}.1"
    page.write_text(PAGES[page.name])
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "80", "MANROFFOPT": "-ww"}
    command = ("man", "--warnings=w", "-l", str(page))
    shown = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert shown.stderr == ""
    text = re.sub(r".\x08", "", shown.stdout)  # bold is overstruck
    words = " ".join(text.split())
    command_ = cli.get_command(TOP, name)
    assert command_ is not None
    for option in command_.params:
        if isinstance(option, click.Option) and option.help:
            assert all(spelling in words for spelling in option.opts)
            assert " ".join(option.help.split())[:40] in words
    for line, _ in getattr(command_, "examples", ()):
        assert f"\n       {line}\n" in text


def test_nothing_in_it_is_a_request() -> None:
    escaped = MANUAL["escaped"]
    assert escaped(".so /etc/passwd") == "\\&.so /etc/passwd"
    assert escaped("'br\n  .sp \\n") == "\\&'br\n\\&.sp \\en"
    assert escaped("--a-b") == "\\-\\-a\\-b"
