"""The real nginx with a configuration of its own, for tests and the demo."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from accepttrace.errors import AcceptTraceError
from accepttrace.lab.listeners import Family
from accepttrace.lab.services import Service, children_of

REQUEST: Final = b"GET / HTTP/1.0\r\n\r\n"

_ANSWER: Final = 'return 200 "ok\\n"'
_CONFIGURATION: Final = """\
daemon off;
{user}
worker_processes {workers};
pid nginx.pid;
error_log error.log warn;
events {{ worker_connections 4096; {mutex}}}
http {{
    log_format accepts '$pid $connection $remote_addr:$remote_port';
    access_log access.log accepts;
    keepalive_timeout 0;
    client_body_temp_path tmp;
    proxy_temp_path tmp;
    fastcgi_temp_path tmp;
    uwsgi_temp_path tmp;
    scgi_temp_path tmp;
    server {{
        listen {address} backlog={backlog}{reuseport}{deferred}{dual_stack};
        location / {{ {answer}; }}
    }}
}}
"""


class Nginx(Service):
    """`with Nginx(workers=4, reuseport=True) as nginx:` serves HTTP until the end of the block.

    Each connection serves one request (REQUEST) and is logged, unbuffered, before it is closed:
    a client that saw the end finds itself in `accepts_by_pid`. Without `reuseport` all workers
    poll one socket with EPOLLEXCLUSIVE, as nginx does since 1.11.3. `deferred`: with
    TCP_DEFER_ACCEPT. `accept_mutex`: the worker that has a lock waits on the socket, and no other;
    they try again every 10 s, longer than any load of ours. `behind`: the UNIX socket of another
    server, which answers. `family` as for `Server`.
    AcceptTraceError when nginx is not installed or does not start.
    """

    name = "nginx"

    def __init__(
        self,
        workers: int = 4,
        *,
        reuseport: bool = False,
        port: int = 0,
        family: Family = "ipv4",
        backlog: int = 4096,
        deferred: bool = False,
        accept_mutex: bool = False,
        behind: Path | None = None,
    ) -> None:
        super().__init__(workers, reuseport, port, family)
        self.backlog = backlog
        self.deferred = deferred
        self.accept_mutex = accept_mutex
        self.behind = behind

    def __enter__(self) -> Nginx:
        self.start()
        return self

    def worker_pids(self) -> tuple[int, ...]:
        """The workers that take connections: not those that a reload is shutting down."""
        return tuple(pid for pid in children_of(self.master_pid) if _title(pid) == _WORKER_TITLE)

    def reload(self, workers: int | None = None) -> None:
        """Replace all workers (SIGHUP); return once the new ones serve and the old ones are gone.

        `workers`: their new number, else as before.
        """
        old = set(children_of(self.master_pid))
        self.workers = self.workers if workers is None else workers
        self.configure()
        os.kill(self.master_pid, signal.SIGHUP)
        self.wait_until(lambda: self._replaced(old), "new workers after a reload")

    def accepts_by_pid(self) -> dict[int, int]:
        """Connections that each worker served, by PID; workers that are gone included.

        Source: distinct `$connection` numbers in the access log.
        """
        seen: defaultdict[int, set[int]] = defaultdict(set)
        with (self.folder / "access.log").open() as log:
            for line in log:
                if not line.endswith("\n"):
                    break  # it is being written
                pid, connection, _ = line.split()
                seen[int(pid)].add(int(connection))
        return {pid: len(connections) for pid, connections in sorted(seen.items())}

    def command(self) -> Sequence[str]:
        program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
        if program is None:
            raise AcceptTraceError("nginx is not installed", "install the package nginx")
        return (program,)

    def arguments(self) -> Sequence[str]:
        return ("-p", str(self.folder), "-c", "nginx.conf")

    def configure(self) -> None:
        text = _CONFIGURATION.format(
            user=f"user {getpass.getuser()};" if os.geteuid() == 0 else "",
            workers=self.workers,
            address=self.bind_address(),
            backlog=self.backlog,
            mutex="accept_mutex on; accept_mutex_delay 10s; " if self.accept_mutex else "",
            deferred=" deferred" if self.deferred else "",
            reuseport=" reuseport" if self.reuseport else "",
            answer=f"proxy_pass http://unix:{self.behind}" if self.behind else _ANSWER,
            dual_stack=" ipv6only=off" if self.family == "mapped" else "",
        )
        (self.folder / "nginx.conf").write_text(text)

    def await_workers(self) -> None:
        self.wait_until(lambda: len(self.worker_pids()) == self.workers, f"{self.workers} workers")
        self._ask()
        # the log begins empty, so that only clients are counted; nginx appends to it
        os.truncate(self.folder / "access.log", 0)

    def _replaced(self, old: set[int]) -> bool:
        now = set(children_of(self.master_pid))
        return not (now & old) and len(self.worker_pids()) == self.workers

    def _ask(self) -> None:
        """One request, to its end: it answers, and its own line is in the log."""
        with socket.create_connection(self.addresses[0], 10) as connection:
            connection.sendall(REQUEST)
            while connection.recv(4096):
                pass


_WORKER_TITLE: Final = "nginx: worker process"


def _title(pid: int) -> str:
    try:
        text = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # it ended while we looked
        return ""
    return text.rstrip(b"\0").decode(errors="replace").strip()
