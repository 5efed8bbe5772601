"""The web server of the exporter, and what may be asked of it."""

from __future__ import annotations

import base64
import gzip
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path

import pytest

from accepttrace.cli.exporter import parse_listen
from accepttrace.errors import UsageError
from accepttrace.run.export.web import Web, bound
from accepttrace.run.export.webconfig import WebConfig, read_web_config

bcrypt = pytest.importorskip("bcrypt")
pytest.importorskip("yaml")

BODY = b"# the text\n" * 100_000
PASSWORD = "secret"
# The last one is that of the hash which stands in for users that are not there.
WRONG = (
    *(("alice", "wrong"), ("bob", PASSWORD), ("", ""), ("alice", "\0")),
    ("bob", "nobody has this"),
)
BAD = [
    ("- a list", "names and values"),
    ("tls_server_config: 3", "names and values"),
    ("no_such_thing: {}", "no_such_thing"),
    ("tls_server_config: {cert_file: a.pem, key_file: b.pem, ciphers: [x]}", "ciphers"),
    ("tls_server_config: {cert_file: a.pem}", "key_file"),
    ("tls_server_config: {cert_file: a.pem, key_file: b.pem}", "a.pem"),
    ("tls_server_config: {cert_file: a, key_file: b, min_version: SSL3}", "SSL3"),
    ("basic_auth_users: {alice: secret}", "bcrypt"),
    ("basic_auth_users: {alice: [", "not YAML"),
    ("basic_auth_users: {1: secret}", "names and values"),
    ("a: &a [*a", "not YAML"),
]


@contextmanager
def serving(config: WebConfig | None = None) -> Iterator[int]:
    """The port of a server."""
    listener = bound("127.0.0.1", 0)
    web = Web(listener, lambda accept: (f"text/{accept or 'plain'}", BODY), config or WebConfig())
    port: int = listener.getsockname()[1]
    web.start()
    try:
        yield port
    finally:
        web.close()


def get(
    port: int, path: str = "/metrics", method: str = "GET", **headers: str
) -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def raw(port: int, data: bytes) -> bytes:
    """All that comes back."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(data)
        return b"".join(iter(lambda: client.recv(65536), b""))


@pytest.fixture
def users(tmp_path: Path) -> WebConfig:
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    file = tmp_path / "web.yml"
    file.write_text(f"basic_auth_users:\n  alice: {hashed}\n")
    return read_web_config(file)


def test_a_scrape_gets_the_whole_text() -> None:
    with serving() as port:
        assert get(port) == (200, BODY)
        assert get(port, "/metrics?x=1") == (200, BODY)
        status, packed = get(port, **{"Accept-Encoding": "gzip"})
        assert (status, gzip.decompress(packed)) == (200, BODY)
        assert get(port, method="HEAD") == (200, b"")


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [("/", "GET", 200), ("/x", "GET", 404), ("/metrics", "POST", 405), ("*", "OPTIONS", 405)],
)
def test_all_else_has_its_status(path: str, method: str, status: int) -> None:
    with serving() as port:
        assert get(port, path, method)[0] == status


@pytest.mark.parametrize(
    "head",
    [
        b"GET\r\n\r\n",
        b"\xff\xfe\x00\r\n\r\n",
        b"GET /metrics FTP/1.0\r\n\r\n",
        b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused(head: bytes) -> None:
    with serving() as port:
        assert raw(port, head)[:12] in (b"HTTP/1.1 400", b"")
        assert get(port)[0] == 200


def test_only_users_with_their_password_may_read(users: WebConfig) -> None:
    with serving(users) as port:
        assert get(port)[0] == 401
        for name, password in WRONG:
            assert get(port, Authorization=basic(name, password))[0] == 401
        for junk in ("Basic", "Basic !!!", "Basic YQ==", "Bearer x"):
            assert get(port, Authorization=junk)[0] == 401
        for _ in range(2):  # also the second time, when it is remembered
            assert get(port, Authorization=basic("alice", PASSWORD)) == (200, BODY)
        assert get(port, Authorization=basic("alice", PASSWORD + "x"))[0] == 401


def certificate(folder: Path, name: str) -> None:
    """A key and a certificate that signs itself, at cert.pem and key.pem."""
    command = (
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
        *("-nodes", "-days", "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"),
        *("-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")),
    )
    subprocess.run(command, check=True, capture_output=True)


def by_tls(port: int, authority: Path, name: str) -> bytes:
    context = ssl.create_default_context(cafile=str(authority))
    client = socket.create_connection(("127.0.0.1", port), timeout=30)
    connection = HTTPSConnection("127.0.0.1", port)
    connection.sock = context.wrap_socket(client, server_hostname=name)
    connection.request("GET", "/metrics")
    return connection.getresponse().read()


def test_by_tls_and_with_a_new_certificate_when_it_is_replaced(tmp_path: Path) -> None:
    certificate(tmp_path, "one")
    file = tmp_path / "web.yml"
    file.write_text("tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n")
    with serving(read_web_config(file)) as port:
        assert by_tls(port, tmp_path / "cert.pem", "one") == BODY
        assert raw(port, b"GET /metrics HTTP/1.1\r\n\r\n")[:4] != b"HTTP"
        certificate(tmp_path, "two")
        assert by_tls(port, tmp_path / "cert.pem", "two") == BODY


def test_any_address_is_one_of_either_version() -> None:
    with bound("", 0) as listener:
        port = listener.getsockname()[1]
        for host in ("127.0.0.1", "::1") if listener.family == socket.AF_INET6 else ("127.0.0.1",):
            socket.create_connection((host, port), timeout=30).close()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9436", ("127.0.0.1", 9436)),
        ("[::1]:80", ("::1", 80)),
        (":9436", ("", 9436)),
        ("localhost:0", ("localhost", 0)),
    ],
)
def test_where_it_listens_is_read(text: str, address: tuple[str, int]) -> None:
    assert parse_listen(text) == address


@pytest.mark.parametrize("text", ["9436", "::1:9436", "[::1:9436", "a:b", "a:70000", ""])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_listen(text)


@pytest.mark.parametrize(("text", "said"), BAD, ids=[said for _, said in BAD])
def test_a_bad_configuration_is_one_clear_error(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "web.yml"
    file.write_text(text)
    with pytest.raises(UsageError) as raised:
        read_web_config(file)
    assert said in raised.value.message
    assert "\n" not in raised.value.message


def test_a_configuration_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_web_config(tmp_path / "web.yml")
