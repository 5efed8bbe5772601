"""Real servers that accept in one process and serve in another, for tests: PostgreSQL, HAProxy."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from accepttrace.errors import AcceptTraceError
from accepttrace.lab.services import Service, children_of

_USER: Final = "postgres"
_VERSION: Final = 3 << 16  # of PostgreSQL's protocol
_KEY_DATA, _READY = b"K", b"Z"  # messages: BackendKeyData, ReadyForQuery
_SUCCESS: Final = b"Loading success"
_RELOADS: Final = b"Reexecuting Master process"
_DEAF_S: Final = 0.5  # a master that has only just begun does not hear every signal
_HAPROXY: Final = """\
defaults
    mode tcp
    timeout connect 10s
    timeout client 1m
    timeout server 1m
frontend front
    bind {address}
    default_backend back
backend back
    server one {server}
"""


class Postgres(Service):
    """`with Postgres() as server:` is a new cluster until the end of the block.

    The postmaster accepts, and forks a backend for each client. AcceptTraceError when PostgreSQL
    is not installed or does not start. `on_path`: it listens on a UNIX socket, too, where clients
    then connect.
    """

    name = "postgres"
    stop_signal = signal.SIGINT  # without waiting for clients

    def __init__(self, *, on_path: bool = False) -> None:
        super().__init__(0, False, 0, "ipv4")
        self.on_path = on_path

    def __enter__(self) -> Postgres:
        self.start()
        return self

    def connect(self) -> tuple[socket.socket, int]:
        """A client, and the PID of its backend by the server's own word."""
        client = self._client()
        body = _VERSION.to_bytes(4, "big") + b"user\0postgres\0database\0postgres\0\0"
        client.sendall((len(body) + 4).to_bytes(4, "big") + body)
        backend = 0
        with client.makefile("rb") as answers:
            while (kind := answers.read(1)) != _READY:
                if not kind:
                    client.close()
                    raise AcceptTraceError("postgres let nobody in")
                content = answers.read(int.from_bytes(answers.read(4), "big") - 4)
                if kind == _KEY_DATA:
                    backend = int.from_bytes(content[:4], "big")
        return client, backend

    @property
    def path(self) -> Path:
        """Of its UNIX socket, where it listens there."""
        return self.folder / f".s.PGSQL.{self.port}"

    def _client(self) -> socket.socket:
        if not self.on_path:
            return socket.create_connection(self.addresses[0], timeout=10)
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(10)
        client.connect(str(self.path))
        return client

    def command(self) -> Sequence[str]:
        return (*_as_user(), str(_postgres("postgres")))

    def arguments(self) -> Sequence[str]:
        places = ("-D", str(self.folder / "data"), "-h", self.addresses[0][0], "-p", str(self.port))
        folder = str(self.folder) if self.on_path else ""
        return (*places, "-k", folder, "-c", "fsync=off")

    def configure(self) -> None:
        if os.geteuid() == 0:
            shutil.chown(self.folder, _USER)
        make = (*_as_user(), str(_postgres("initdb")), "--no-sync", "--auth=trust", "-U", _USER)
        subprocess.run((*make, "-D", "data"), cwd=self.folder, check=True, capture_output=True)

    def await_workers(self) -> None:
        self.wait_until(self._serves, "client")

    def _serves(self) -> bool:
        try:
            self.connect()[0].close()
        except (OSError, AcceptTraceError):
            return False
        return True


class HAProxy(Service):
    """`with HAProxy(address) as server:` forwards connections to there, in one worker.

    `reload`, once, starts another one: the old one closes its listener, and serves on.
    AcceptTraceError when HAProxy is not installed or does not start.
    """

    name = "haproxy"
    stop_signal = signal.SIGTERM

    def __init__(self, behind: tuple[str, int]) -> None:
        super().__init__(1, False, 0, "ipv4")
        self._behind = behind

    def __enter__(self) -> HAProxy:
        self.start()
        return self

    def reload(self) -> int:
        """Have a new worker accept; its PID."""
        before, asked_s = set(self.worker_pids()), 0.0

        def has_another() -> bool:
            nonlocal asked_s
            if not self._said(_RELOADS) and time.monotonic() - asked_s > _DEAF_S:
                os.kill(self.master_pid, signal.SIGUSR2)
                asked_s = time.monotonic()
            return bool(set(self.worker_pids()) - before)

        self.wait_until(has_another, "new worker")
        (new,) = set(self.worker_pids()) - before
        return new

    def worker_pids(self) -> tuple[int, ...]:
        return children_of(self.master_pid)

    def command(self) -> Sequence[str]:
        found = shutil.which(self.name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if found is None:
            raise AcceptTraceError("haproxy is not installed", "install the package haproxy")
        return (found, "-W", "-db")

    def arguments(self) -> Sequence[str]:
        return ("-f", "haproxy.cfg")

    def configure(self) -> None:
        host, port = self._behind
        text = _HAPROXY.format(address=self.bind_address(), server=f"{host}:{port}")
        (self.folder / "haproxy.cfg").write_text(text)

    def await_workers(self) -> None:
        self.wait_until(lambda: self._said(_SUCCESS), "worker")

    def _said(self, words: bytes) -> bool:
        return words in (self.folder / "stderr").read_bytes()


def installed() -> bool:
    """Whether PostgreSQL is there, with a user that it runs as."""
    with suppress(AcceptTraceError, KeyError):
        return bool(_postgres("initdb") and (os.geteuid() or pwd.getpwnam(_USER)))
    return False


def _postgres(program: str) -> Path:
    """Debian's stand in a folder of each version."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))
    if not found:
        raise AcceptTraceError("PostgreSQL is not installed", "install the package postgresql")
    return found[-1]


def _as_user() -> Sequence[str]:
    """It refuses to run as root."""
    if os.geteuid() != 0:
        return ()
    return ("setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups")
