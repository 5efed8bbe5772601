"""The commands of the README, in the order in which they stand, on a real nginx on port 80."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from accepttrace.lab.clients import Plan
from accepttrace.lab.load import Load
from accepttrace.lab.nginx import REQUEST, Nginx
from tests.kernel.network import own_network

from .test_real_servers import needs

README = Path(__file__).parents[2] / "README.md"
COMMAND = re.compile(r"^\$ (?:sudo )?\.venv/bin/accepttrace (.*)$", re.MULTILINE)
SHORTER = re.compile(r"-d \S+")  # as a test is in a hurry
# What answers the question, by the command's first words: as it stands in the README, too.
ANSWERS = {
    "80 --once": r"(UNEVEN|FAIR) .*\n(.*\n)*? *PID WORKER +LISTENER +ACCEPTS",
    "check 80": r"(ok|FAILED) +--fair: measured (UNEVEN|FAIR), allowed FAIR(.*\n)+ok +--no-loss",
    "who 80": r"127\.0\.0\.1:80  4 reuseport sockets of group \d+ by hash",
    "80 -d": r"Accounted for: all [\d,]+",
    "record before.gz": r"",
    "record after.gz": r"",
    "diff before.gz": r"BEFORE +AFTER\n(.*\n)*  verdict +(UNEVEN|FAIR|TOO FEW) +(FAIR|TOO FEW)",
}
FAILED = 4  # the status of `check` where a condition fails


def test_every_command_of_the_front_page_answers_as_it_shows(tmp_path: Path) -> None:
    needs("nginx")
    text = README.read_text()
    commands = COMMAND.findall(text)
    assert len(commands) == len(ANSWERS)
    with own_network(), Nginx(4, reuseport=True, port=80) as nginx:
        plan = Plan(duration_s=60, rate=500, concurrency=16, request=REQUEST)
        with Load(nginx.addresses, plan) as load:
            for command, (start, answer) in zip(commands, ANSWERS.items(), strict=True):
                assert command.startswith(start)
                assert re.search(answer, text)
                _answers(command, answer, tmp_path)
            load.stop()


def _answers(command: str, answer: str, folder: Path) -> None:
    words = SHORTER.sub("-d 1s", command).split()
    done = subprocess.run(
        (sys.executable, "-m", "accepttrace", *words),
        cwd=folder,
        env={**os.environ, "COLUMNS": "100"},  # as wide as they stand there
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode in ((0, FAILED) if words[0] == "check" else (0,)), done.stderr
    if not re.search(answer, done.stdout):
        pytest.fail(f"{command}: {done.stdout}")
