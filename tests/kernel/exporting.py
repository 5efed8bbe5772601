"""The exporter as a process, and what it serves."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.kernel.conftest import ACCEPTTRACE, wait_until

START_S = 60.0
LOST = "accepttrace_events_lost_total{"


class Exporter(NamedTuple):
    """`port`: where it is scraped."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def text(self) -> str:
        """What a scrape gets."""
        url = f"http://127.0.0.1:{self.port}/metrics"
        with urllib.request.urlopen(url, timeout=20) as answer:
            body: bytes = answer.read()
        return body.decode()

    def number(self, series: str) -> float | None:
        """The value of a series by its name and labels, as they are written."""
        for line in self.text().splitlines():
            name, _, value = line.rpartition(" ")
            if name == series:
                return float(value)
        return None

    def lost(self) -> float:
        """Events that the tracer missed, as it says."""
        lines = self.text().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(LOST))

    def labels(self, address: str, port: int) -> str:
        """Those of a listener in this network namespace."""
        netns = os.stat("/proc/self/ns/net").st_ino
        return f'{{local_address="{address}",local_port="{port}",netns="{netns}"}}'


@contextmanager
def exporting(tmp_path: Path, *options: str) -> Iterator[Exporter]:
    """One that serves, on a port that was free; it ends with the block, and in order."""
    pytest.importorskip("prometheus_client")
    log = tmp_path / "exporter.log"
    command = (*ACCEPTTRACE, "exporter", "--listen", "127.0.0.1:0", *options)
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        try:
            wait_until(
                lambda: process.poll() is not None or "serving" in log.read_text(),
                "the exporter serves",
                START_S,
            )
            found = re.search(r"serving metrics on https?://.*:(\d+)/metrics", log.read_text())
            if found is None:
                pytest.fail(log.read_text())
            yield Exporter(process, int(found[1]), log)
            process.send_signal(signal.SIGTERM)
            assert process.wait(START_S) == 0, log.read_text()
        finally:
            process.kill()
