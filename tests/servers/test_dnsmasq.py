"""A real DNS server: who has its UDP socket, and how much it reads, by the queries it answered."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from click.testing import CliRunner

from accepttrace.cli.who import who
from tests.kernel.conftest import wait_until
from tests.kernel.test_udp import UdpTracing, udp
from tests.kernel.test_udp_reads import needs_reads, readers_of

__all__ = ["udp"]

QUERIES = 500
ADDRESS = "127.0.0.1"
# One query (RFC 1035): id 1, recursion desired; a.test, type A, class IN.
QUERY = bytes((0, 1, 1, 0, 0, 1, *bytes(6), 1)) + b"a\x04test\0" + bytes((0, 1, 0, 1))


@contextmanager
def dnsmasq() -> Iterator[tuple[int, int]]:
    """The PID of one that answers, and its port."""
    program = shutil.which("dnsmasq", path="/usr/sbin:/usr/bin")
    if program is None:
        pytest.skip("dnsmasq is not installed")
    with socket.socket(type=socket.SOCK_DGRAM) as free:
        free.bind((ADDRESS, 0))
        port = free.getsockname()[1]
    options = ("-k", "-C", "/dev/null", "-R", "-h", "-u", "root", "-x", "", "-z", "-a", ADDRESS)
    command = (program, *options, "-p", str(port), "--address=/test/192.0.2.1")
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
        try:
            wait_until(lambda: answers(port, 1) == 1, "an answer")
            yield server.pid, port
        finally:
            server.terminate()


def answers(port: int, number: int) -> int:
    """How many of so many queries were answered, one after the other."""
    found = 0
    with socket.socket(type=socket.SOCK_DGRAM) as client, suppress(OSError):
        client.settimeout(5)
        client.connect((ADDRESS, port))
        for _ in range(number):
            client.send(QUERY)
            found += client.recv(512).endswith(bytes((192, 0, 2, 1)))
    return found


def test_who_has_its_socket_and_each_query_is_a_packet_that_it_read(udp: UdpTracing) -> None:
    needs_reads(udp)
    with dnsmasq() as (pid, port):
        account = udp.of(port)
        assert answers(port, QUERIES) == QUERIES
        (row,) = account.rows().values()
        shown = CliRunner().invoke(who, ["--udp", "-p", str(port), "-o", "jsonl"]).output
    assert (row.read, readers_of(row)) == (QUERIES, {pid: QUERIES})
    (line,) = (json.loads(text) for text in shown.splitlines() if text.startswith("{"))
    (holder,) = line["holders"]
    assert (line["local_address"], line["local_port"]) == (ADDRESS, port)
    assert (holder["pid"], holder["comm"], holder["waits_in"]) == (pid, "dnsmasq", "poll")
