"""Whether an installed accepttrace traces a real server: try_package.py COMMAND...

Run as root by the system's own python3, with nothing but its standard library, where nginx is
installed. Every connection that it makes to nginx must be counted, on the worker that took it.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

CONNECTIONS = 50
LIMIT_S = 30.0
REQUEST = b"GET / HTTP/1.0\r\n\r\n"
CONFIGURATION = """\
daemon off;
user root;
worker_processes 2;
pid nginx.pid;
error_log error.log;
events {{}}
http {{
    access_log access.log;
    log_format pid $pid;
    server {{
        listen 127.0.0.1:{port} reuseport;
        access_log served.log pid;
        location / {{ return 200; }}
    }}
}}
"""


def main(command: list[str]) -> None:
    """SystemExit says what is wrong."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        Path(folder, "nginx.conf").write_text(CONFIGURATION.format(port=port))
        nginx = subprocess.Popen(("nginx", "-p", folder, "-c", "nginx.conf"))
        try:
            _await(lambda: _connects(port), "nginx")
            counted = _traced(command, port, Path(folder, "ready"))
        finally:
            nginx.terminate()
            nginx.wait()
        lines = Path(folder, "served.log").read_text().split()[-CONNECTIONS:]
    served = {pid: lines.count(str(pid)) for pid in map(int, set(lines))}
    if counted != served or sum(served.values()) != CONNECTIONS:
        raise SystemExit(f"nginx served {served}, {command[0]} counted {counted}")
    print(f"{' '.join(command)} counted {CONNECTIONS} of {CONNECTIONS}: {counted}")


def _traced(command: list[str], port: int, ready: Path) -> dict[int, int]:
    """What it counted of CONNECTIONS connections, by PID."""
    options = (str(port), "-o", "jsonl", "--ready-file", str(ready))
    tracer = subprocess.Popen((*command, *options), stdout=subprocess.PIPE, text=True)
    try:
        _await(lambda: ready.exists() or tracer.poll() is not None, command[0])
        for _ in range(CONNECTIONS):
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(REQUEST)
                while client.recv(4096):
                    pass
        tracer.send_signal(signal.SIGINT)
        out, _ = tracer.communicate(timeout=LIMIT_S)
    finally:
        tracer.kill()
        tracer.wait()
    if tracer.returncode:
        raise SystemExit(f"{command[0]} ended with status {tracer.returncode}")
    rows = json.loads(out.splitlines()[-1])["acceptors"]
    return {row["pid"]: row["accepts"] for row in rows if row["accepts"]}


def _connects(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


def _await(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what} is not ready after {LIMIT_S:g} s")
        time.sleep(0.01)


if __name__ == "__main__":
    main(sys.argv[1:])
