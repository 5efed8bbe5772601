"""Strangers at the exporter: they neither hold it, nor blind it, nor make it grow."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from accepttrace.run.export.web import MOST
from tests.hostile.processes import ACCEPTTRACE, END_S, SLACK_S, seconds_to_end
from tests.kernel.conftest import wait_until
from tests.kernel.exporting import START_S, Exporter, exporting
from tests.unit.test_web import certificate

SILENT = 1000
REFRESHES = "accepttrace_refresh_duration_seconds_count"
ANSWER_S = 5.0  # in the crowd, on a machine that does other things too


@contextmanager
def crowd(port: int, said: bytes) -> Iterator[list[socket.socket]]:
    """So many clients that say no more than that, and read nothing."""
    with ExitStack() as stack:
        clients = []
        for _ in range(SILENT):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(START_S)
            client.connect(("127.0.0.1", port))
            client.sendall(said)
            clients.append(client)
        yield clients


def confined(exporter: Exporter) -> int:
    """Let it have few descriptors more than it has, which are returned: a crowd that took them all
    would leave none for the tracer."""
    pid = exporter.process.pid
    before = descriptors(pid)
    most = before + 4 * MOST
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, most))
    return before


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def is_alive_and_small(exporter: Exporter, before: int) -> None:
    """It answers, it reads, and it holds few connections."""
    began = time.monotonic()
    first = exporter.number(REFRESHES)
    assert time.monotonic() - began < ANSWER_S
    assert first is not None
    wait_until(lambda: (exporter.number(REFRESHES) or 0) > first, "it reads on", START_S)
    few_descriptors(exporter, before + MOST)


def few_descriptors(exporter: Exporter, most: int) -> None:
    """Beside those that a reading takes for a moment."""
    pid = exporter.process.pid
    wait_until(lambda: descriptors(pid) <= most + 4, f"{most} descriptors", START_S)


@pytest.mark.parametrize(
    "said",
    [b"", b"GET /metrics HT", b"GET /metrics HTTP/1.1\r\n\r\n"],
    ids=["nothing", "half", "all"],
)
def test_a_thousand_clients_keep_nobody_out(said: bytes, tmp_path: Path) -> None:
    with exporting(tmp_path, "-p", "1", "-i", "200ms") as exporter:
        before = confined(exporter)
        with crowd(exporter.port, said):
            is_alive_and_small(exporter, before)
        few_descriptors(exporter, before)
        assert exporter.log.read_text().count("\n") == 1  # strangers fill no journal


def test_a_thousand_that_never_shake_hands_keep_nobody_out(tmp_path: Path) -> None:
    certificate(tmp_path, "localhost")
    config = tmp_path / "web.yml"
    config.write_text("tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n")
    options = ("-p", "1", "-i", "200ms", "--web-config", str(config))
    with exporting(tmp_path, *options) as exporter:
        before = confined(exporter)
        with crowd(exporter.port, b"\x16\x03\x01"):
            url = f"https://127.0.0.1:{exporter.port}/metrics"
            command = ("curl", "-sk", "--max-time", "20", url)
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            assert REFRESHES in done.stdout
            few_descriptors(exporter, before + MOST)
        few_descriptors(exporter, before)


def test_it_ends_as_it_should_amid_a_crowd(tmp_path: Path) -> None:
    with exporting(tmp_path, "-p", "1") as exporter, crowd(exporter.port, b"GET"):
        assert seconds_to_end(exporter.process, signal.SIGTERM) < END_S + SLACK_S
        assert exporter.process.returncode == 0


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (("--listen", "nowhere"), 2, "is no address with a port"),
        (("--listen", "::1:9436"), 2, "write IPv6 as"),
        (
            ("--listen", "127.0.0.1:0", "--web-config", "/nonexistent"),
            2,
            "cannot read /nonexistent",
        ),
        (("--listen", "192.0.2.1:9436"), 1, "cannot listen on 192.0.2.1:9436"),
        (("--max-series", "3"), 2, "3 is not in the range"),
    ],
)
def test_what_cannot_be_is_one_clear_error(
    options: tuple[str, ...], status: int, said: str
) -> None:
    done = subprocess.run((*ACCEPTTRACE, "exporter", *options), capture_output=True, text=True)
    assert done.returncode == status
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_one_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = (*ACCEPTTRACE, "exporter", "--listen", f"127.0.0.1:{port}")
        done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"accepttrace: cannot listen on 127.0.0.1:{port}: Address already in use",
        "  next: choose another address with --listen",
    ]


def test_without_the_package_it_says_what_to_install(tmp_path: Path) -> None:
    program = tmp_path / "without.py"
    program.write_text(
        "import importlib.util as util, sys\n"
        "find = util.find_spec\n"
        "util.find_spec = lambda name: None if name == 'prometheus_client' else find(name)\n"
        "sys.argv = ['accepttrace', 'exporter']\n"
        "from accepttrace.cli import main\n"
        "main()\n"
    )
    done = subprocess.run((*ACCEPTTRACE[:1], str(program)), capture_output=True, text=True)
    assert done.returncode == 77
    assert "pip install 'accepttrace[exporter]'" in done.stderr
