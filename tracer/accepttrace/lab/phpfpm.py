"""The real php-fpm with a script of ours, for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from accepttrace.errors import AcceptTraceError
from accepttrace.lab.services import Service, children_of

_CONFIGURATION: Final = """\
[global]
error_log = {folder}/error.log
daemonize = no

[www]
{user}
listen = {address}
listen.backlog = {backlog}
pm = static
pm.max_children = {workers}
pm.max_requests = {max_requests}
access.log = {folder}/access.log
access.format = "%p"
"""
_ROOT: Final = "user = root\ngroup = root"
# The FastCGI specification, 3.3: record types, the role of a responder, version 1.
_BEGIN, _PARAMS, _STDIN = 1, 4, 5
_RESPONDER: Final = bytes((0, 1, 0, *bytes(5)))  # without FCGI_KEEP_CONN: it closes the connection


class PhpFpm(Service):
    """`with PhpFpm(workers=4, max_requests=200) as fpm:` serves FastCGI until the end of the block.

    A static pool whose workers sleep in accept() on one socket; each ends after `max_requests`
    (pm.max_requests; 0: never), and another one takes its place. One connection serves one
    `request`, and is logged before it is closed. `on_path`: a UNIX socket, in place of a port.
    AcceptTraceError when php-fpm is not installed or does not start.
    """

    name = "php-fpm"

    def __init__(
        self,
        workers: int = 4,
        *,
        max_requests: int = 0,
        port: int = 0,
        backlog: int = 511,
        on_path: bool = False,
    ) -> None:
        super().__init__(workers, False, port, "ipv4")
        self.max_requests = max_requests
        self.backlog = backlog
        self.on_path = on_path

    def __enter__(self) -> PhpFpm:
        self.start()
        return self

    @property
    def path(self) -> Path:
        """Of its UNIX socket, where it listens there."""
        return self.folder / "fpm.sock"

    @property
    def request(self) -> bytes:
        """A whole one, in a few hundred bytes."""
        return request({"SCRIPT_FILENAME": f"{self.folder}/ok.php", "REQUEST_METHOD": "GET"})

    def worker_pids(self) -> tuple[int, ...]:
        """The workers, by PID."""
        return children_of(self.master_pid)

    def served_by(self) -> list[int]:
        """The PID of the worker of each connection so far, in their order. Source: access.log."""
        try:
            text = (self.folder / "access.log").read_text()
        except FileNotFoundError:
            return []
        return [int(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def command(self) -> Sequence[str]:
        found = program()
        if found is None:
            raise AcceptTraceError("php-fpm is not installed", "install the package php-fpm")
        return (found, "--nodaemonize", "--no-php-ini", "--allow-to-run-as-root")

    def arguments(self) -> Sequence[str]:
        return ("--fpm-config", "php-fpm.conf", "--prefix", str(self.folder))

    def configure(self) -> None:
        text = _CONFIGURATION.format(
            folder=self.folder,
            user=_ROOT,
            address=self.path if self.on_path else self.bind_address(),
            backlog=self.backlog,
            workers=self.workers,
            max_requests=self.max_requests,
        )
        (self.folder / "php-fpm.conf").write_text(text)
        (self.folder / "ok.php").write_text("ok\n")

    def await_workers(self) -> None:
        self.wait_until(lambda: len(self.worker_pids()) == self.workers, f"{self.workers} workers")


def program() -> str | None:
    """Debian's is called after its version. None: it is not installed."""
    return next((str(one) for one in sorted(Path("/usr/sbin").glob("php-fpm*"))), None)


def request(variables: Mapping[str, str]) -> bytes:
    """A FastCGI request without a body, with these variables of the environment."""
    pairs = b"".join(_pair(name.encode(), value.encode()) for name, value in variables.items())
    records = ((_BEGIN, _RESPONDER), (_PARAMS, pairs), (_PARAMS, b""), (_STDIN, b""))
    return b"".join(_record(kind, content) for kind, content in records)


def _record(kind: int, content: bytes) -> bytes:
    """Of request 1."""
    return bytes((1, kind, 0, 1)) + len(content).to_bytes(2, "big") + bytes(2) + content


def _pair(name: bytes, value: bytes) -> bytes:
    """With lengths of four bytes each, as longer ones have them."""
    lengths = ((1 << 31 | len(text)).to_bytes(4, "big") for text in (name, value))
    return b"".join((*lengths, name, value))
