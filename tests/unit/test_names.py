"""Names of workers, and what a control group path shows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accepttrace.sockets import procfs
from accepttrace.sockets.names import NAME_LENGTH, worker_name
from tests.unit.commandlines import SERVERS
from tests.unit.forked import wait_until
from tests.unit.strangers import names

ID = "4f" * 32
SPAWNS = """
import multiprocessing, signal
def work(): signal.pause()
if __name__ == "__main__":
    worker = multiprocessing.get_context("spawn").Process(target=work, daemon=True)
    worker.start()
    signal.signal(signal.SIGTERM, lambda *_: exit())
    print(worker.pid, flush=True)
    worker.join()
"""


@pytest.mark.parametrize(
    ("lines", "path", "container"),
    [
        ("0::/system.slice/nginx.service\n", "/system.slice/nginx.service", None),
        (f"0::/system.slice/docker-{ID}.scope\n", f"/system.slice/docker-{ID}.scope", ID[:12]),
        (f"2:cpu:/\n1:name=systemd:/docker/{ID}\n0::/\n", f"/docker/{ID}", ID[:12]),
        ("3:memory:/a\n2:cpu,cpuacct:/a/longest\n", "/a/longest", None),
        ("2:cpu:/much/longer\n0::/a\n", "/a", None),
        ("0:/b\n0::/a\n", "/a", None),
        ("0::/lxc.payload.rp77\n", "/lxc.payload.rp77", "rp77"),
        ("0::/lxc.payload.rp77/init.scope\n", "/lxc.payload.rp77/init.scope", "rp77"),
        ("0::/lxc/web/ns\n", "/lxc/web/ns", "web"),
        ("0::/lxc.monitor.rp77\n", "/lxc.monitor.rp77", None),
        (
            "0::/machine.slice/systemd-nspawn@my\\x2dbox.service/payload\n",
            "/machine.slice/systemd-nspawn@my\\x2dbox.service/payload",
            "my-box",
        ),
        ("0::/machine.slice/machine-box.scope\n", "/machine.slice/machine-box.scope", "box"),
        (f"0::/lxc.payload.a/docker-{ID}.scope\n", f"/lxc.payload.a/docker-{ID}.scope", ID[:12]),
        (f"0::/docker-{ID}.scope/lxc/in\n", f"/docker-{ID}.scope/lxc/in", "in"),
        ("0::/a\u2028b\x0b0::/c\n", "/a\u2028b\x0b0::/c", None),
        ("0::/\n", "/", None),
        ("0::/a:b\n", "/a:b", None),
        ("", None, None),
    ],
)
def test_control_group(lines: str, path: str | None, container: str | None) -> None:
    assert procfs.cgroup_path(lines) == path
    assert procfs.container_id(path) == container


@pytest.mark.parametrize(("comm", "cmdline", "name"), SERVERS)
def test_worker_name(comm: str, cmdline: tuple[str, ...], name: str) -> None:
    assert worker_name(comm, cmdline) == name


def test_a_name_that_an_interpreter_gave_itself_wins_over_the_script() -> None:
    words = ["/usr/bin/python3", "/usr/bin/serve.py"]
    assert worker_name("shard 3", words) == "shard 3"
    assert worker_name("python3.11", words) == "serve.py"
    assert worker_name("serve.py", words) == "serve.py"
    assert worker_name("MainThread", ["node", "/srv/app.js"]) == "app.js"


@given(names, st.lists(names, max_size=5))
def test_a_name_is_short_whatever_a_process_says(comm: str, words: list[str]) -> None:
    assert len(worker_name(comm[:15], words)) <= NAME_LENGTH


def test_blanks_in_the_path_of_a_program_are_no_title() -> None:
    assert worker_name("python3", ("/opt/my env/bin/python3", "/srv/app.py")) == "app.py"
    assert worker_name("run me", ("/opt/my app/run me", "--port", "80")) == "run me"


def test_a_title_without_an_end_is_cut() -> None:
    assert len(worker_name("php-fpm", [f"php-fpm: pool e{chr(0x301) * 60_000}"])) == NAME_LENGTH
    shown = {n: worker_name("php-fpm", [f"php-fpm: pool {'e' * n}"]) for n in (50, 51)}
    assert shown == {50: f"php-fpm: pool {'e' * 50}", 51: f"php-fpm: pool {'e' * 49}…"}


def test_words_that_are_no_script_are_passed_over() -> None:
    for words in (["+x", "-e", "run.sh"], ["-o", "pipefail", "run.sh"], ["--", "run.sh", "-e"]):
        assert worker_name("sh", ["/bin/sh", *words]) == "run.sh"
    # The value of an option that is not known here.
    assert worker_name("node", ["node", "--loop", "10.0", "::1:80", "app"]) == "app"


def test_a_title_is_no_command_line_unless_it_names_a_script() -> None:
    assert worker_name("redis-server", ["redis-server /etc/redis.conf 127.0.0.1"]) == "redis-server"
    assert worker_name("node", ["node worker 3"]) == "node"
    assert worker_name("node", ["node worker.js 3"]) == "worker.js"


def test_who_has_no_name_is_called_as_its_program() -> None:
    assert worker_name("", ["", "/usr/sbin/server/", "-p", "80"]) == "server"
    assert worker_name("", []) == ""


def test_a_worker_that_python_started_anew_has_the_name_of_its_parent(tmp_path: Path) -> None:
    script = tmp_path / "shop.py"
    script.write_text(SPAWNS)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        try:
            assert parent.stdout is not None
            worker = int(parent.stdout.readline())
            wait_until(lambda: procfs.cmdline(worker, worker)[-1:] == ("--multiprocessing-fork",))
            names = {procfs.name((pid, pid, procfs.stat(pid)[0])) for pid in (worker, parent.pid)}
            assert names == {"shop.py"}
        finally:
            parent.terminate()
