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
    While it starts, `port` is reserved by a bound socket that does not listen. A guard process
    terminates the master if this process dies; nothing is left behind.
    """

    name = "server"
    stop_signal = signal.SIGQUIT  # graceful

    def __init__(self, workers: int, reuseport: bool, port: int, family: Family) -> None:
        self.workers = workers
        self.reuseport = reuseport
        self.port = port
        self.family = family
        self._master: subprocess.Popen[bytes] | None = None
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
            _end(self._master, self.stop_signal)
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
            ended = self._master is None or self._master.poll() is not None
            if ended or time.monotonic() > deadline:
                why = "it ended" if ended else f"not in {READY_TIMEOUT_S:g} s"
                raise AcceptTraceError(f"{self.name}: no {what}: {why}", self._last_words())
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, 0.05)

    def _run(self, command: Sequence[str], reservation: socket.socket) -> None:
        with (self.folder / "stderr").open("wb") as stderr:
            self._master = subprocess.Popen(
                [*command, *self.arguments()],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                start_new_session=True,  # Ctrl-C is for us, we stop it
            )
        self._guards = [fork(partial(_guard, self.master_pid, self.folder, reservation))]
        self._guards[0].await_ready()

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


def _end(master: subprocess.Popen[bytes], first: signal.Signals) -> None:
    for number in (first, signal.SIGTERM, signal.SIGKILL):
        if master.poll() is None:
            master.send_signal(number)
        try:
            master.wait(_STOP_TIMEOUT_S)
            return
        except subprocess.TimeoutExpired:
            continue


def _guard(master: int, folder: Path, reservation: socket.socket, channel: socket.socket) -> None:
    """In a child: if our process dies, terminate the master and remove its directory."""
    reservation.close()
    pidfd = os.pidfd_open(master)
    channel.sendall(READY)
    select.select([channel], [], [])
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGTERM)
    except ProcessLookupError:  # it was stopped, as it should be
        return
    select.select([pidfd], [], [], _STOP_TIMEOUT_S)
    shutil.rmtree(folder, ignore_errors=True)
