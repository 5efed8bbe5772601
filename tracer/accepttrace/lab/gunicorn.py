"""The real gunicorn with an application of ours, for tests and the demo."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from accepttrace.errors import AcceptTraceError
from accepttrace.lab.listeners import Family
from accepttrace.lab.services import Service, children_of

REQUEST: Final = b"GET / HTTP/1.0\r\n\r\n"

_CONFIGURATION: Final = """\
import os

bind = {address!r}
workers = {workers}
worker_class = "sync"
reuse_port = {reuseport}
backlog = {backlog}
loglevel = "error"


def _note(name, pid):
    fd = os.open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(fd, b"%d\\n" % pid)
    os.close(fd)


def post_worker_init(worker):
    _note({ready!r}, worker.pid)
"""

_APPLICATION: Final = """\
import os

LOG = os.open("accepts.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


def application(environ, start_response):
    os.write(LOG, b"%d\\n" % os.getpid())
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\\n"]
"""


class Gunicorn(Service):
    """`with Gunicorn(workers=4) as gunicorn:` serves HTTP until the end of the block.

    Sync workers: one connection serves one request (REQUEST), and is noted before the answer.
    `reuse_port` sets gunicorn's option of that name: releases differ in whether that makes one
    socket or one a worker. `family` as for `Server`, but for "mapped". `on_path`: a UNIX socket, in
    place of a port.
    AcceptTraceError when gunicorn is not installed or does not start.
    """

    name = "gunicorn"

    def __init__(
        self,
        workers: int = 4,
        *,
        reuse_port: bool = False,
        port: int = 0,
        family: Family = "ipv4",
        backlog: int = 2048,
        on_path: bool = False,
    ) -> None:
        super().__init__(workers, reuse_port, port, family)
        self.backlog = backlog
        self.on_path = on_path

    def __enter__(self) -> Gunicorn:
        self.start()
        return self

    @property
    def path(self) -> Path:
        """Of its UNIX socket, where it listens there."""
        return self.folder / "app.sock"

    def worker_pids(self) -> tuple[int, ...]:
        """The workers, by PID."""
        return children_of(self.master_pid)

    def accepts_by_pid(self) -> dict[int, int]:
        """Requests, hence connections, that each worker served, by PID. Source: the app's log."""
        return dict(sorted(Counter(self._notes("accepts.log")).items()))

    def command(self) -> Sequence[str]:
        if importlib.util.find_spec("gunicorn") is not None:
            return (sys.executable, "-m", "gunicorn")
        program = shutil.which("gunicorn") or shutil.which("gunicorn", path="/usr/bin")
        if program is None:
            raise AcceptTraceError("gunicorn is not installed", "install the package gunicorn")
        return (program,)

    def arguments(self) -> Sequence[str]:
        return ("-c", "gunicorn.conf.py", "application:application")

    def configure(self) -> None:
        text = _CONFIGURATION.format(
            address=f"unix:{self.path}" if self.on_path else self.bind_address(),
            workers=self.workers,
            reuseport=self.reuseport,
            backlog=self.backlog,
            ready="ready.log",
        )
        (self.folder / "gunicorn.conf.py").write_text(text)
        (self.folder / "application.py").write_text(_APPLICATION)

    def await_workers(self) -> None:
        self.wait_until(
            lambda: len(set(self._notes("ready.log"))) == self.workers, f"{self.workers} workers"
        )

    def _notes(self, name: str) -> list[int]:
        try:
            return [int(line) for line in (self.folder / name).read_text().split()]
        except FileNotFoundError:
            return []
