"""The demo, as a newcomer runs it: every sharing mode, counted as the client did."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from accepttrace.lab.modes import MODES

from .test_real_servers import needs

SERVERS = [("lab", mode) for mode in MODES] + [("nginx", "shared"), ("nginx", "reuseport")]


@pytest.mark.parametrize(("server", "mode"), SERVERS)
def test_demo_says_what_was_seen_and_counts_as_the_client_did(server: str, mode: str) -> None:
    if server == "nginx":
        needs("nginx")
    command = (sys.executable, "-m", "accepttrace", "demo", "--server", server, mode, "-d", "1")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    text = " ".join(done.stdout.split())
    found = re.search(r"The client made ([\d,]+) connections, accepttrace counted ([\d,]+)", text)
    assert found
    assert found.group(1) == found.group(2) != "0"
    if mode == "threads":
        assert "4 threads on 1 listener" in text
        summary = done.stdout[done.stdout.rindex("accepttrace :") :].splitlines()
        ids = [line.split()[:2] for line in summary if re.match(r" *\d+ +\d+ ", line)]
        assert (len({pid for pid, _ in ids}), len({tid for _, tid in ids})) == (1, 4)
    assert "nothing lost" in text
