"""Time namespaces: whoever lives in one sees other clocks, and other starts of processes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from accepttrace.config import Filters
from accepttrace.lab.load import run_load
from accepttrace.lab.servers import Server
from accepttrace.sockets.inventory import InventoryReader

from .conftest import ACCEPTTRACE, Way, name, offered
from .test_cli import lines, started

LATER = ("unshare", "--time", "--boottime=1000000", "--monotonic=500000")
CONNECTIONS = 50
HAS_TIME = Path("/proc/self/ns/time").exists()

in_time = pytest.mark.xfail(not HAS_TIME, run=False, reason="no time namespaces here")


# Prints its own start as the kernel side and as /proc have it, and three times in a row.
ACCEPTS_ITSELF = """
import json, os, socket, sys
from accepttrace.config import Config, Filters
from accepttrace.facts.records import NS_PER_TICK
from accepttrace.probe.session import open_session
from accepttrace.sockets import procfs

with (
    open_session(Config(attach=sys.argv[1], loader=sys.argv[2])) as session,
    socket.create_server(("127.0.0.1", 0)) as listener,
):
    session.filter(Filters(ports=frozenset({listener.getsockname()[1]})))
    with socket.create_connection(listener.getsockname()):
        listener.accept()[0].close()
    counts = session.counts()
    (row,) = counts.acceptors
    starts = row.process_start_ns // NS_PER_TICK, procfs.stat(os.getpid())[1]
    print(json.dumps((*starts, session.began_s, row.ready_us / 1e6, counts.at_s)))
"""


@in_time
@pytest.mark.parametrize("way", offered(), ids=name)
def test_a_tracer_with_clocks_of_its_own_agrees_with_the_kernel(way: Way) -> None:
    command = (*LATER, ACCEPTTRACE[0], "-c", ACCEPTS_ITSELF, *way)
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    counted, shown, began_s, ready_s, read_s = json.loads(done.stdout)
    assert counted == shown
    assert began_s < ready_s < read_s


@in_time
@pytest.mark.parametrize("way", offered(), ids=name)
def test_it_counts_as_any_other(tmp_path: Path, way: Way) -> None:
    chosen = ("--attach", way.attach, "--loader", way.loader)
    with Server("reuseport", workers=2) as server:
        options = (*chosen, "--port", str(server.port), "-o", "jsonl", "-i", "0.5")
        with started(*options, ready=tmp_path / "ready", prefix=LATER) as process:
            run_load(server.addresses, CONNECTIONS)
            process.terminate()
            output = process.communicate()[0]
        summary = lines(output)[-1]
        seen = InventoryReader(Filters(ports=frozenset({server.port}))).read()
        names = {each.pid: each.name for row in seen.listeners for each in row.holders}
    rows = summary["acceptors"]
    assert len(rows) == len(names)  # who accepts is who holds
    assert {row["pid"]: row["name"] for row in rows} == names
    assert {row["alive"] for row in rows} == {True}
    assert sum(row["accepts"] for row in rows) == CONNECTIONS
    assert max(row["wait_max_us"] or 0 for row in rows) < 60e6
    assert 0 < summary["elapsed_s"] < 60
    means = [row["queue_mean"] for row in summary["listeners"]]
    assert all(mean is None or 0 <= mean < CONNECTIONS for mean in means)


@in_time
def test_processes_with_clocks_of_their_own_are_known(tmp_path: Path) -> None:
    """The kernel says when they started by its own clocks, wherever they live."""
    code = (
        "import socket\n"
        "listener = socket.create_server(('127.0.0.1', 0))\n"
        "print(listener.getsockname()[1], flush=True)\n"
        "while True: listener.accept()[0].close()\n"
    )
    inside = (*LATER, "--fork", "--kill-child", ACCEPTTRACE[0], "-c", code)
    with subprocess.Popen(inside, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            options = ("--port", str(port), "-o", "jsonl", "-i", "0.5")
            with started(*options, ready=tmp_path / "ready") as process:
                run_load([("127.0.0.1", port)], CONNECTIONS)
                process.terminate()
                summary = lines(process.communicate()[0])[-1]
        finally:
            server.kill()
    (row,) = summary["acceptors"]
    assert (row["accepts"], row["alive"]) == (CONNECTIONS, True)
