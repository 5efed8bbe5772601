"""`--web-config FILE`: TLS and passwords, in the format of Prometheus' exporters."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from accepttrace.errors import UsageError

_MOST_BYTES: Final = 1 << 20  # of the file
_BCRYPT: Final = re.compile(r"\$2[abxy]?\$\d\d\$[./A-Za-z0-9]{53}")
_BCRYPT_BYTES: Final = 72  # of a password: bcrypt looks at no more
# Of a password that nobody has: whether there is a user does not show in the time of an answer.
_NOBODY: Final = b"$2b$10$TyOyqATHb/XgT.V68s3iaOg1BPT7slYz8KEiEp9pqBPfVXP/CNnWK"
_REMEMBERED: Final = 64  # passwords that were right
_VERSIONS: Final = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_CLIENTS: Final = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
_OF_TLS: Final = {
    *("cert_file", "key_file", "client_ca_file", "client_auth_type"),
    *("min_version", "max_version"),
}


class Tls:
    """A server's context; new certificate files are taken up as they are replaced."""

    def __init__(self, config: Mapping[str, Any], folder: Path) -> None:
        _known(config, _OF_TLS, "tls_server_config")
        self._files = _file(config, "cert_file", folder), _file(config, "key_file", folder)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = _one_of(_VERSIONS, config, "min_version", "TLS12")
        self._context.maximum_version = _one_of(_VERSIONS, config, "max_version", "TLS13")
        if "client_ca_file" in config:
            authority = _file(config, "client_ca_file", folder)
            try:
                self._context.load_verify_locations(authority)
            except (OSError, ssl.SSLError) as error:
                raise UsageError(f"{authority}: {error.strerror or error}") from None
        default = "RequireAndVerifyClientCert" if "client_ca_file" in config else "NoClientCert"
        self._context.verify_mode = _one_of(_CLIENTS, config, "client_auth_type", default)
        self._stamp = self._stamped()
        try:
            self._context.load_cert_chain(*self._files)
        except (OSError, ssl.SSLError) as error:
            where = " and ".join(map(str, self._files))
            raise UsageError(
                f"no certificate and key in {where}: {error.strerror or error}"
            ) from None

    def context(self) -> ssl.SSLContext:
        """For the next connection."""
        stamp = self._stamped()
        if stamp != self._stamp:
            with suppress(OSError, ssl.SSLError):  # half written: the old one serves meanwhile
                self._context.load_cert_chain(*self._files)
                self._stamp = stamp
        return self._context

    def _stamped(self) -> tuple[int, ...]:
        with suppress(OSError):
            return tuple(os.stat(path).st_mtime_ns for path in self._files)
        return ()


@dataclass(slots=True)
class Users:
    """Who may read: bcrypt hashes by name; nobody is asked where there are none."""

    hashes: Mapping[str, bytes] = field(default_factory=dict)
    _right: dict[bytes, None] = field(default_factory=dict)
    _key: bytes = field(default_factory=lambda: os.urandom(32))

    def knows(self, header: str) -> bool | None:
        """Whether this `Authorization` is good; None: it takes long to say, ask `check`."""
        if not self.hashes:
            return True
        if _name_and_password(header) is None:
            return False
        return True if self._digest(header) in self._right else None

    def check(self, header: str) -> bool:
        """The same, for good: bcrypt takes a tenth of a second, by design."""
        import bcrypt

        given = _name_and_password(header)
        if given is None or b"\0" in given[1]:
            return False
        name, password = given
        wanted = self.hashes.get(name)
        right = bcrypt.checkpw(password[:_BCRYPT_BYTES], wanted or _NOBODY)
        if not (right and wanted):
            return False
        if len(self._right) >= _REMEMBERED:
            self._right.clear()
        self._right[self._digest(header)] = None
        return True

    def _digest(self, header: str) -> bytes:
        return hashlib.blake2b(header.encode(), key=self._key).digest()


@dataclass(frozen=True, slots=True)
class WebConfig:
    """How the metrics are served; by default to all who can connect, as plain HTTP."""

    tls: Tls | None = None
    users: Users = field(default_factory=Users)


def read_web_config(path: Path) -> WebConfig:
    """UsageError where it cannot be read, or asks for what there is not here."""
    config = _mapping(_loaded(path), str(path))
    _known(config, {"tls_server_config", "basic_auth_users"}, str(path))
    tls, users = config.get("tls_server_config"), config.get("basic_auth_users")
    folder = path.absolute().parent
    return WebConfig(
        None if tls is None else Tls(_mapping(tls, "tls_server_config"), folder),
        Users({} if users is None else _hashes(_mapping(users, "basic_auth_users"))),
    )


def _loaded(path: Path) -> object:
    import yaml

    try:
        with open(path, "rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise UsageError(f"{path} is too large for a configuration")
        return yaml.safe_load(content)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"{path} is not YAML: {reason}") from None


def _hashes(users: Mapping[str, Any]) -> dict[str, bytes]:
    for name, value in users.items():
        if not (isinstance(value, str) and _BCRYPT.fullmatch(value)):
            raise UsageError(
                f"basic_auth_users: the password of {name!r} is no bcrypt hash",
                "make one: htpasswd -nBC 10 NAME",
            )
    return {name: value.encode() for name, value in users.items()}


def _mapping(value: object, where: str) -> dict[str, Any]:
    if not (isinstance(value, dict) and all(isinstance(key, str) for key in value)):
        raise UsageError(f"{where}: names and values are expected")
    return value


def _known(config: Mapping[str, Any], names: set[str], where: str) -> None:
    unknown = sorted(config.keys() - names)
    if unknown:
        known = ", ".join(sorted(names))
        raise UsageError(f"{where}: there is no {unknown[0]!r} here", f"there are: {known}")


def _file(config: Mapping[str, Any], key: str, folder: Path) -> Path:
    if not isinstance(config.get(key), str):
        raise UsageError(f"tls_server_config: {key} is missing, or is no path")
    return folder / str(config[key])


def _one_of(values: Mapping[str, Any], config: Mapping[str, Any], key: str, default: str) -> Any:
    word = config.get(key, default)
    if word not in values:
        raise UsageError(f"{key}: {word!r} is none of {', '.join(values)}")
    return values[word]


def _name_and_password(header: str) -> tuple[str, bytes] | None:
    """Of `Basic bmFtZTpwYXNzd29yZA==`; None: it is no such thing."""
    scheme, _, code = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = base64.b64decode(code.strip(), validate=True).partition(b":")
        return (name.decode(), password) if colon else None
    except (binascii.Error, ValueError):
        return None
