"""What a guest runs for a row: any failure shows in the status, and all is undone."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from vm import matrix
from vm.machine import Task, script


@pytest.mark.parametrize(
    ("setup", "command", "undo", "status", "left"),
    [
        ("echo up", "true", "echo down", 0, "up down"),
        ("echo up", "exit 3", "echo down", 3, "up down"),
        ("false", "echo ran", "echo down", 1, "down"),
        ("echo up", "true", "false", 1, "up"),
        ("", "echo ran", "", 0, "ran"),
    ],
)
def test_a_task_ends_with_its_status_and_is_undone(
    setup: str, command: str, undo: str, status: int, left: str, tmp_path: Path
) -> None:
    text = script(Task("row", ("sh", "-c", command), {"HOME": str(tmp_path)}, setup, undo))
    done = subprocess.run(("sh", "-c", text), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (status, left.split())


def test_rows_have_names_of_their_own() -> None:
    names = [row.name for row in matrix.ROWS]
    assert len(set(names)) == len(names)
    assert [row.name for row in matrix.find("7.x,5.10")] == ["5.10", "7.x"]


def test_rows_that_boot_alike_share_a_machine_in_order() -> None:
    shared = matrix.boots(matrix.ROWS)
    assert sorted(row.name for rows in shared for row in rows) == sorted(
        row.name for row in matrix.ROWS
    )
    assert len({rows[0].boot for rows in shared}) == len(shared)
    assert all(row.boot == rows[0].boot for rows in shared for row in rows)
