"""Server programs of others, run in the foreground from a temporary directory."""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from accepttrace.errors import AcceptTraceError
from accepttrace.lab.children import READY, Child, end_all, fork
from accepttrace.lab.listeners import Address, Family, addresses, bind, find_place

READY_TIMEOUT_S: Final = 15.0
_STOP_TIMEOUT_S: Final = 5.0


class Service:
    """A server program with a master process and workers, started and stopped by us.

    Subclasses write the configuration, build the command and say when all workers serve.
    While it starts, `port` is reserved by a bound socket that does not listen. A guard process, in
    a session of its own, starts the master and ends it if this process dies in whatever way;
    nothing is left behind.
    """

    name = "server"
    stop_signal = signal.SIGQUIT  # graceful

    def __init__(self, workers: int, reuseport: bool, port: int, family: Family) -> None:
        self.workers = workers
        self.reuseport = reuseport
        self.port = port
        self.family = family
        self._master: _Master | None = None
        self._guards: list[Child] = []
        self._folder: Path | None = None

    @property
    def addresses(self) -> tuple[Address, ...]:
        """(host, port) pairs that clients connect to."""
        return addresses(self.family, self.port)

    @property
    def folder(self) -> Path:
        """The temporary directory with configuration and logs; gone once stopped."""
        if self._folder is None:
            raise AcceptTraceError(f"{self.name} does not run")
        return self._folder

    @property
    def master_pid(self) -> int:
        """The process that holds the configuration and starts workers."""
        if self._master is None:
            raise AcceptTraceError(f"{self.name} does not run")
        return self._master.pid

    def worker_pids(self) -> tuple[int, ...]:
        """The workers that serve now, by PID."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it; return once all workers serve."""
        command = self.command()
        self._folder = Path(tempfile.mkdtemp(prefix="accepttrace-"))
        try:
            with bind(self.family, self.port, reuseport=True) as reservation:
                self.port = reservation.getsockname()[1]
                self.configure()
                self._run(command, reservation)
                self.await_workers()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it gracefully, then by force, and remove its directory."""
        if self._master is not None:
            self._master.end(self.stop_signal)
        end_all(self._guards)
        self._guards = []
        self._master = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def command(self) -> Sequence[str]:
        """Program and arguments, without those that name files in `folder`."""
        raise NotImplementedError

    def arguments(self) -> Sequence[str]:
        """Further arguments."""
        raise NotImplementedError

    def configure(self) -> None:
        """Write the configuration into `folder`."""
        raise NotImplementedError

    def await_workers(self) -> None:
        """Return once all workers serve."""
        raise NotImplementedError

    def bind_address(self) -> str:
        """host:port as in configuration files."""
        host = find_place(self.family).host
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for `condition` with a deadline; AcceptTraceError with the server's own words."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        pause_s = 0.002
        while not condition():
            ended = self._master is None or self._master.has_ended(0)
            if ended or time.monotonic() > deadline:
                why = "it ended" if ended else f"not in {READY_TIMEOUT_S:g} s"
                raise AcceptTraceError(f"{self.name}: no {what}: {why}", self._last_words())
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, 0.05)

    def _run(self, command: Sequence[str], reservation: socket.socket) -> None:
        whole = (*command, *self.arguments())
        guard = fork(partial(_guard, whole, self.folder, reservation))
        self._guards = [guard]
        guard.await_ready()
        self._master = _Master(int(guard.channel.recv(16)))

    def _last_words(self) -> str:
        words = (self.folder / "stderr").read_text(errors="replace").strip().splitlines()
        return words[-1] if words else "it said nothing"

    def __exit__(self, *_: Any) -> None:
        self.stop()


def children_of(pid: int) -> tuple[int, ...]:
    """The processes whose parent is `pid`. Source: /proc/*/stat."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = entry.read_text(errors="replace")
        except OSError:  # it ended while we looked
            continue
        state, parent = text[text.rindex(")") + 2 :].split()[:2]  # the name may hold anything
        if int(parent) == pid and state != "Z":
            found.append(int(entry.parent.name))
    return tuple(sorted(found))


class _Master:
    """The first process of a service, a child of its guard's, which leads a process group."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._pidfd = os.pidfd_open(pid)

    def has_ended(self, timeout_s: float) -> bool:
        """Whether it did, within so many seconds."""
        return bool(select.select([self._pidfd], [], [], timeout_s)[0])

    def end(self, first: signal.Signals) -> None:
        """By `first`, if that is not enough by SIGTERM, and then the whole group by SIGKILL."""
        for number in (first, signal.SIGTERM):
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)
            if self.has_ended(_STOP_TIMEOUT_S):
                break
        with suppress(ProcessLookupError):  # also workers that outlived it
            os.killpg(self.pid, signal.SIGKILL)
        self.has_ended(_STOP_TIMEOUT_S)


def _guard(
    command: Sequence[str], folder: Path, reservation: socket.socket, channel: socket.socket
) -> None:
    """In a child: start the master; when our process hangs up or dies, end it and its directory.

    Not even the master's end is waited for by anybody else: until then its PID is its own.
    """
    os.setsid()  # what is sent to our process group, or to its terminal, is not for us
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)  # the server inherits what is ignored
    reservation.close()
    with (folder / "stderr").open("wb") as stderr:
        server = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
            start_new_session=True,
        )
    master = _Master(server.pid)
    with suppress(OSError):  # nobody is there any more
        channel.sendall(READY + str(server.pid).encode())
        select.select([channel], [], [])
    master.end(signal.SIGTERM)
    server.wait()
    shutil.rmtree(folder, ignore_errors=True)
