"""A small web server for metrics, in a thread of its own, which no client can hold.

All connections are served by one loop. They are few at a time and each has its deadline: where
another one comes, the oldest that has not asked for anything yet makes room. So a thousand that say
nothing keep nobody out, and take no descriptors from the tracer.
"""

from __future__ import annotations

import asyncio
import gzip
import logging
import signal
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

from accepttrace.run.export.webconfig import WebConfig

MOST: Final = 64  # connections at a time
BACKLOG: Final = 1024  # that wait for the loop: a crowd does not make the kernel drop anybody's SYN
REQUEST_S: Final = 5.0  # for the handshake of TLS, and the head of the request
ANSWER_S: Final = 10.0  # for a password, and to take the answer
HEAD_BYTES: Final = 8192
_CHUNK: Final = 1 << 16  # written at once: what a slow client leaves waits here, not in its socket
_AGAIN_S: Final = 0.1
_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    503: "Service Unavailable",
}
_PLAIN: Final = "text/plain; charset=utf-8"
_INDEX: Final = b"""<!DOCTYPE html><title>accepttrace</title>
<h1>accepttrace</h1><p><a href="/metrics">Metrics</a></p>
"""


class Request(NamedTuple):
    """Its first line and headers, by name in small letters."""

    method: str
    path: str
    headers: dict[str, str]


class Response(NamedTuple):
    """An answer; `more`: further headers, each with its line end."""

    status: int
    kind: str
    body: bytes
    more: str = ""


# What a scraper gets that sends this `Accept`: the content type, and the text.
Page = Callable[[str], tuple[str, bytes]]


class Web:
    """Serves `page` at /metrics on a listening socket, from `start` to `close`."""

    def __init__(self, listener: socket.socket, page: Page, config: WebConfig) -> None:
        self._listener, self._page, self._config = listener, page, config
        self._waiting: dict[asyncio.Task[None], None] = {}  # have not asked yet; the oldest first
        self._answered: dict[asyncio.Task[None], None] = {}
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda *_: None)  # whatever a stranger breaks
        self._work = ThreadPoolExecutor(1, "render")
        self._doors = ThreadPoolExecutor(1, "passwords")
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)

    def start(self) -> None:
        """Answer from now on."""
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self._thread.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def close(self) -> None:
        """Nobody is answered any more."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(ANSWER_S)
        for pool in (self._work, self._doors):
            pool.shutdown(wait=False, cancel_futures=True)
        self._listener.close()

    def _run(self) -> None:
        self._listener.setblocking(False)
        accepting = self._loop.create_task(self._accept())
        self._loop.run_forever()
        accepting.cancel()

    async def _accept(self) -> None:
        while True:
            try:
                connection, _ = await self._loop.sock_accept(self._listener)
            except OSError:  # too many descriptors, or it was aborted already
                await asyncio.sleep(_AGAIN_S)
                continue
            self._make_room()
            task = self._loop.create_task(self._serve(connection))
            self._waiting[task] = None
            task.add_done_callback(self._forget)

    def _make_room(self) -> None:
        if len(self._waiting) + len(self._answered) >= MOST:
            oldest = next(iter(self._waiting or self._answered))
            self._forget(oldest)
            oldest.cancel()

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._waiting.pop(task, None)
        self._answered.pop(task, None)

    async def _serve(self, connection: socket.socket) -> None:
        """One request, one answer. A deadline cancels the task: there is no task within, whose
        result, an open connection, could be lost with it."""
        task = asyncio.current_task()
        assert task is not None
        deadline = self._loop.call_later(REQUEST_S, task.cancel)
        try:
            reader, writer = await self._open(connection)
            try:
                head = await _head(reader)
                deadline.cancel()
                deadline = self._loop.call_later(ANSWER_S, task.cancel)
                if self._waiting.pop(task, False) is None:
                    self._answered[task] = None
                await self._answer(writer, head)
            finally:
                writer.transport.abort()
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            deadline.cancel()

    async def _open(
        self, connection: socket.socket
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The streams of a connection, by TLS where that is asked for."""
        tls = self._config.tls
        reader = asyncio.StreamReader(limit=HEAD_BYTES, loop=self._loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=self._loop)
        transport, _ = await self._loop.connect_accepted_socket(
            lambda: protocol,
            connection,
            ssl=tls.context() if tls else None,
            ssl_handshake_timeout=REQUEST_S if tls else None,
        )
        return reader, asyncio.StreamWriter(transport, protocol, reader, self._loop)

    async def _answer(self, writer: asyncio.StreamWriter, head: Request | None) -> None:
        response = await self._response(head)
        only_head = head is not None and head.method == "HEAD"
        writer.write(_written(response))
        for at in range(0, 0 if only_head else len(response.body), _CHUNK):
            writer.write(response.body[at : at + _CHUNK])
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def _response(self, request: Request | None) -> Response:
        if request is None:
            return _said(400)
        if not await self._may(request.headers.get("authorization", "")):
            return _said(401, 'WWW-Authenticate: Basic realm="accepttrace"\r\n')
        if request.method not in ("GET", "HEAD"):
            return _said(405, "Allow: GET, HEAD\r\n")
        if request.path == "/metrics":
            return await self._metrics(request.headers)
        if request.path == "/":
            return Response(200, "text/html; charset=utf-8", _INDEX)
        return _said(404)

    async def _may(self, header: str) -> bool:
        users = self._config.users
        known = users.knows(header)
        if known is not None:
            return known
        return await self._loop.run_in_executor(self._doors, users.check, header)

    async def _metrics(self, headers: dict[str, str]) -> Response:
        accept = headers.get("accept", "")
        kind, body = await self._loop.run_in_executor(self._work, self._page, accept)
        if "gzip" not in headers.get("accept-encoding", ""):
            return Response(200, kind, body)
        packed = await self._loop.run_in_executor(self._work, gzip.compress, body, 1)
        return Response(200, kind, packed, "Content-Encoding: gzip\r\n")


async def _head(reader: asyncio.StreamReader) -> Request | None:
    """None: it is no request of HTTP, or too long."""
    try:
        found = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        return None
    first, *lines = found.decode("latin-1").split("\r\n")[:-2]
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return None
    pairs = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    return Request(words[0], words[1].partition("?")[0], headers)


def _said(status: int, more: str = "") -> Response:
    return Response(status, _PLAIN, f"{_REASONS[status]}\n".encode(), more)


def _written(response: Response) -> bytes:
    """The head of an answer."""
    return (
        f"HTTP/1.1 {response.status} {_REASONS[response.status]}\r\n"
        f"Content-Type: {response.kind}\r\n"
        f"Content-Length: {len(response.body)}\r\n"
        f"{response.more}Connection: close\r\n\r\n"
    ).encode("latin-1")


def bound(host: str, port: int) -> socket.socket:
    """A listening socket at the first address of a name that works; "": any address. OSError."""
    flags = socket.AI_PASSIVE
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=flags)
    if not host:  # one of IPv6 serves both
        found.sort(key=lambda one: one[0] != socket.AF_INET6)
    failed: OSError | None = None
    for family, _, _, _, address in found:
        try:
            return _listening(family, address, both=not host)
        except OSError as error:
            failed = failed or error
    raise failed or OSError(f"{host} has no address")


def _listening(
    family: socket.AddressFamily, address: tuple[object, ...], *, both: bool
) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both)
        listener.bind(address)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener
