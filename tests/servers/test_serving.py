"""Servers that accept in one process and serve in another, in `who`: by their own word and `ss`."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest
from click.testing import CliRunner

from accepttrace.cli.who import who
from accepttrace.lab.handing import HAProxy, Postgres, installed
from accepttrace.lab.listeners import Address
from tests.kernel.conftest import iterator, wait_until
from tests.kernel.keepers import ss_open
from tests.kernel.unixlisteners import told

from .test_real_servers import needs

CLIENTS = 6
Numbers = dict[int, int]


@pytest.fixture(autouse=True)
def lists_open_files() -> None:
    if iterator() is None:
        pytest.skip("BPF may not list open files here")


def numbers_of(port: int, *asked: str) -> tuple[Numbers, Numbers]:
    """By PID, what holders of its listener have open, and what those serve who hold none."""
    lines = [one for one in told(*(asked or ("-p", str(port)))) if one.get("local_port") == port]
    (row,) = [line for line in lines if line["type"] == "listener"]
    serving = [line for line in lines if line["type"] == "serving"]
    return (
        {one["pid"]: one["open_connections"] for one in row["holders"]},
        {one["pid"]: one["open_connections"] for one in serving},
    )


def text_of(port: int) -> str:
    return " ".join(CliRunner().invoke(who, ["-p", str(port)]).output.split())


def test_backends_of_postgresql_serve_and_its_postmaster_accepts() -> None:
    if not installed():
        pytest.skip("PostgreSQL is not installed")
    with Postgres() as server, ExitStack() as stack:
        backends = set()
        for _ in range(CLIENTS):
            client, backend = server.connect()
            stack.enter_context(client)
            backends.add(backend)
        # The one that was there to see whether it serves is gone.
        wait_until(lambda: ss_open(server.port).keys() == backends, "its backends alone")
        holders, serving = numbers_of(server.port)
        assert holders == {server.master_pid: 0}
        assert serving == dict.fromkeys(backends, 1) == ss_open(server.port)
        assert numbers_of(server.port, "--comm", "postgres") == (holders, serving)
        shown, server_pid = text_of(server.port), server.master_pid
    assert f" serves {CLIENTS} x postgres: postgres open {CLIENTS} " in shown
    assert f" parent {server_pid} pids " in shown
    assert "note: who serves holds no listener there: it inherited its connections" in shown


def test_the_old_worker_of_a_reloaded_haproxy_serves_what_it_had() -> None:
    needs("haproxy")
    with socket.create_server(("127.0.0.1", 0)) as behind, ExitStack() as stack:
        server = stack.enter_context(HAProxy(behind.getsockname()))
        (old,) = server.worker_pids()

        def come(number: int) -> None:
            for _ in range(number):
                stack.enter_context(arrived(server.addresses[0], behind, stack))

        def replaced() -> bool:
            holders, _ = numbers_of(server.port)
            return new in holders and old not in holders

        come(CLIENTS)
        new = server.reload()
        wait_until(replaced, "the old one to close its listener")
        come(2)
        holders, serving = numbers_of(server.port)
        assert ss_open(server.port) == {old: CLIENTS, new: 2}
        assert serving == {old: CLIENTS}
        assert holders.pop(new) == 2
        assert set(holders.items()) <= {(server.master_pid, 0)}
        assert numbers_of(server.port, "--pid", str(old))[1] == serving
        shown = text_of(server.port)
    assert f" serves {old} haproxy open {CLIENTS} " in shown
    assert f" {new} haproxy fd " in shown
    assert " open 2 " in shown


def arrived(address: Address, behind: socket.socket, stack: ExitStack) -> socket.socket:
    """A client whose connection was forwarded: HAProxy has accepted it."""
    client = socket.create_connection(address, timeout=10)
    behind.settimeout(10)
    stack.enter_context(behind.accept()[0])
    return client
