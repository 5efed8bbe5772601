"""Workers that end with connections in their queues, and are replaced at once, at full rate."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kernel.conftest import Tracing
from tests.kernel.network import own_network
from tests.kernel.reading import begin, settled

CHURN = Path(__file__).parents[2] / "bench" / "churn.c"
PORT = 8080  # the namespace has nobody else
SECONDS = "4"


@contextmanager
def churn(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Its load begins with a line that it reads."""
    program = folder / "churn"
    built = subprocess.run(["cc", "-O1", "-pthread", "-o", program, CHURN], capture_output=True)
    if built.returncode:
        pytest.skip("there is no C compiler")
    command = (program, "own", str(PORT), "-w", "4", "-a", "20", "-c", "4", "-d", SECONDS)
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_what_comes_just_as_a_listener_closes_was_accepted_by_nobody(
    tracing: Tracing, tmp_path: Path
) -> None:
    elsewhere = ("127.0.0.2", PORT)  # so that the books of the port stay open
    with own_network(), socket.create_server(elsewhere), churn(tmp_path) as process:
        account = begin(tracing, PORT)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        while process.poll() is None:
            account.snapshot()
        counted = json.loads(process.stdout.read())
        last = settled(account)
    assert counted["workers"] > 100
    assert last.books.accepts == counted["taken"]
    assert last.books.unseen == 0
    assert last.books.balanced
