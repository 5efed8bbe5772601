"""The exporter, scraped by a real Prometheus: its numbers are those of the server."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from accepttrace.lab.load import run_load
from accepttrace.lab.servers import Server
from tests.kernel.clients import listen, port_of
from tests.kernel.conftest import ATTEMPTS, wait_until
from tests.kernel.exporting import exporting
from tests.unit.test_web import certificate

MADE = 137
NAME, PASSWORD = "scraper", "a password"
START_S = 60.0


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return json.loads(answer.read())


class Prometheus:
    """Asked by its API."""

    def __init__(self, port: int) -> None:
        self._api = f"http://127.0.0.1:{port}/api/v1"

    def query(self, text: str) -> list[dict[str, Any]]:
        found = get(f"{self._api}/query?{urllib.parse.urlencode({'query': text})}")
        result: list[dict[str, Any]] = found["data"]["result"]
        return result

    def by_pid(self, port: int) -> dict[int, int]:
        """Accepts of one port, by PID."""
        found = self.query(f'accepttrace_accepts_total{{local_port="{port}"}}')
        return {int(one["metric"]["pid"]): int(float(one["value"][1])) for one in found}

    def lost(self) -> float:
        """Events that the tracer missed."""
        found = self.query("sum(accepttrace_events_lost_total)")
        return float(found[0]["value"][1]) if found else 0.0

    def targets(self) -> list[dict[str, Any]]:
        active: list[dict[str, Any]] = get(f"{self._api}/targets")["data"]["activeTargets"]
        return active


@contextmanager
def prometheus(tmp_path: Path, exporter: int) -> Iterator[Prometheus]:
    """Debian's, which scrapes by TLS and with a password."""
    with listen(1) as free:
        port = port_of(free)
    config = {
        "global": {"scrape_interval": "500ms"},
        "scrape_configs": [
            {
                "job_name": "accepttrace",
                "scheme": "https",
                "tls_config": {"ca_file": str(tmp_path / "cert.pem"), "server_name": "localhost"},
                "basic_auth": {"username": NAME, "password": PASSWORD},
                "static_configs": [{"targets": [f"127.0.0.1:{exporter}"]}],
            }
        ],
    }
    file, log = tmp_path / "prometheus.yml", tmp_path / "prometheus.log"
    file.write_text(json.dumps(config))  # which is YAML, too
    command = (
        "prometheus",
        f"--config.file={file}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        try:
            ready = "Server is ready to receive web requests"
            wait_until(
                lambda: process.poll() is not None or ready in log.read_text(),
                "Prometheus is ready",
                START_S,
            )
            assert process.poll() is None, log.read_text()
            yield Prometheus(port)
        finally:
            process.kill()


@pytest.fixture
def web_config(tmp_path: Path) -> Path:
    bcrypt = pytest.importorskip("bcrypt")
    certificate(tmp_path, "localhost")
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(10)).decode()
    file = tmp_path / "web.yml"
    file.write_text(
        "tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n"
        f"basic_auth_users: {{{NAME}: {hashed}}}\n"
    )
    return file


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="Prometheus is not installed")
def test_prometheus_has_the_accepts_of_each_worker(tmp_path: Path, web_config: Path) -> None:
    options = ("--workers", "pid", "-i", "500ms", "--web-config", str(web_config))
    with (
        Server("reuseport", workers=3) as server,
        exporting(tmp_path, "-p", str(server.port), *options) as exporter,
        prometheus(tmp_path, exporter.port) as store,
    ):
        wait_until(
            lambda: [one["health"] for one in store.targets()] == ["up"],
            "the exporter is scraped",
            START_S,
        )
        for _ in range(ATTEMPTS):
            if measured(server, store):
                return
    pytest.fail(f"events were lost {ATTEMPTS} times")


def measured(server: Server, store: Prometheus) -> bool:
    """Whether more connections are counted for the workers that had them; False: events were lost,
    and that is said."""
    lost, before = store.lost(), Counter(store.by_pid(server.port))
    counts = Counter({one.pid: -one.accepts for one in server.counts()})
    assert run_load(server.addresses, MADE).connected == MADE
    for one in server.counts():
        counts[one.pid] += one.accepts
    assert counts.total() == MADE
    wanted = before.total() + MADE
    wait_until(
        lambda: sum(store.by_pid(server.port).values()) >= wanted or store.lost() > lost,
        "the last reading is scraped",
        START_S,
    )
    found = {pid: n - before[pid] for pid, n in store.by_pid(server.port).items()}
    if found == dict(counts):
        return True
    assert store.lost() > lost, (found, counts)
    return False


def test_counters_outlive_the_listener_and_its_workers(tmp_path: Path) -> None:
    for attempt in range(ATTEMPTS):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        if outlived(folder):
            return
    pytest.fail(f"events were lost {ATTEMPTS} times")


def outlived(folder: Path) -> bool:
    """False: events were lost, and that is said."""
    server = Server("shared", workers=2)
    server.start()
    options = ("-p", str(server.port), "-i", "200ms", "--keep", "1h")
    try:
        with exporting(folder, *options) as exporter:
            assert run_load(server.addresses, MADE).connected == MADE
            where = exporter.labels("127.0.0.1", server.port)
            accepts, sockets, waits = (
                f"accepttrace_{name}{where}"
                for name in (
                    *("listener_accepts_total", "listening_sockets"),
                    "accept_queue_wait_seconds_count",
                )
            )
            wait_until(
                lambda: exporter.number(accepts) == MADE or exporter.lost() > 0,
                "all are counted",
                START_S,
            )
            server.stop()
            wait_until(lambda: exporter.number(sockets) is None, "it is closed", START_S)
            found = exporter.number(accepts), exporter.number(waits)
            assert found == (MADE, MADE) or exporter.lost() > 0
            return found == (MADE, MADE)
    finally:
        server.stop()


@contextmanager
def measured_programs() -> Iterator[None]:
    """The kernel measures its BPF programs."""
    file = Path("/proc/sys/kernel/bpf_stats_enabled")
    try:
        before = file.read_text()
        file.write_text("1")
    except OSError as error:
        pytest.skip(f"{file}: {error.strerror}")
    try:
        yield
    finally:
        file.write_text(before)


def runs_by_bpftool(pid: int) -> dict[str, int]:
    """Of the programs that a process holds, by the first 15 characters of their names."""
    held: set[str] = set()
    for one in Path(f"/proc/{pid}/fdinfo").iterdir():
        with suppress(FileNotFoundError):  # it is running: it closes what it has read
            held.update(re.findall(r"^prog_id:\s*(\d+)", one.read_text(), re.MULTILINE))
    found = subprocess.run(("bpftool", "-j", "prog", "list"), capture_output=True, check=True)
    programs = (one for one in json.loads(found.stdout) if str(one["id"]) in held)
    return {one["name"][:15]: one.get("run_cnt", 0) for one in programs}


@pytest.mark.skipif(shutil.which("bpftool") is None, reason="bpftool is not installed")
def test_what_its_programs_cost_is_what_the_kernel_has_measured(tmp_path: Path) -> None:
    def series(what: str) -> dict[str, float]:
        pattern = rf'^accepttrace_program_{what}_total{{program="(\w+)"}} (\S+)$'
        found = re.findall(pattern, exporter.text(), re.MULTILINE)
        return {name[:15]: float(value) for name, value in found}

    def agree() -> bool:
        runs, known = series("runs"), runs_by_bpftool(exporter.process.pid)
        return bool(runs) and runs == {name: known[name] for name in runs}

    with (
        Server("shared", workers=1) as server,
        exporting(tmp_path, "-p", str(server.port), "-i", "200ms") as exporter,
    ):
        assert series("runs") == series("seconds") == {}
        with measured_programs():
            assert run_load(server.addresses, MADE).connected == MADE
        wait_until(agree, "all runs are exported", START_S)
        assert max(series("runs").values()) >= MADE
        assert series("runs").keys() == series("seconds").keys()
        assert 0 < sum(series("seconds").values()) < 1
