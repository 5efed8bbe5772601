"""Debian packages of other suites, from the mirror that this machine's apt already uses.

Everything happens in a private apt root below the cache folder: the machine's own lists,
sources and packages are never touched. apt verifies the signatures with Debian's keyring.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
MIRROR_VARIABLE = "ACCEPTTRACE_DEBIAN_MIRROR"
SECURITY_VARIABLE = "ACCEPTTRACE_DEBIAN_SECURITY_MIRROR"
SECURED = frozenset({"bullseye", "bookworm", "trixie"})  # suites beside which -security stands
DEBIAN_SUITES = frozenset(
    "bullseye bookworm trixie forky sid experimental unstable testing "
    "stable oldstable oldoldstable".split()
)
# `linux-modules-7.2 (= 7.2.13-1)`: an exact version means built from the same source.
_SAME_SOURCE = re.compile(r"\b(linux-[a-z0-9.+-]+)(?::\w+)? \(= ([^)]+)\)")


class MirrorError(Exception):
    """No Debian mirror, no keyring, or apt refused: the message says what to do."""


@dataclass(frozen=True, slots=True)
class Mirror:
    """Base URIs of a Debian archive and, if known, of its security archive."""

    main: str
    security: str | None


def find_mirror() -> Mirror:
    """The mirror named by the environment, else by the machine's apt; raises MirrorError."""
    if not KEYRING.exists():
        raise MirrorError(f"{KEYRING} is missing: apt-get install debian-archive-keyring")
    named = os.environ.get(MIRROR_VARIABLE)
    if named:
        return Mirror(named, os.environ.get(SECURITY_VARIABLE))
    archives = dict(_configured())
    main = next((uri for release, uri in archives.items() if release in DEBIAN_SUITES), None)
    if main is None:
        raise MirrorError(
            "this machine's apt names no Debian mirror (only: "
            f"{', '.join(sorted(archives)) or 'nothing'}): set {MIRROR_VARIABLE} to one"
        )
    security = (uri for release, uri in archives.items() if _is_security(release))
    return Mirror(main, next(security, None))


class AptRoot:
    """A private apt for one suite and architecture; `update()` before anything else."""

    def __init__(self, root: Path, suite: str, arch: str) -> None:
        self.root, self.suite, self.arch = root, suite, arch

    def update(self, mirror: Mirror) -> None:
        """Write the sources and fetch the package lists; raises MirrorError."""
        for folder in ("state/lists/partial", "cache/archives/partial"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        (self.root / "status").touch()
        options = f"[arch={self.arch} signed-by={KEYRING}]"
        lines = [f"deb {options} {mirror.main} {self.suite} main"]
        if mirror.security and self.suite in SECURED:
            lines.append(f"deb {options} {mirror.security} {self.suite}-security main")
        (self.root / "sources.list").write_text("\n".join(lines) + "\n")
        # Without Error-Mode apt answers a missing suite or a bad signature with status 0.
        self._apt("apt-get", "-q", "-o", "APT::Update::Error-Mode=any", "update")

    def closure(self, package: str) -> dict[str, str]:
        """{package: version} of `package` and of all that it needs from the same source."""
        found: dict[str, str] = {}
        queue = [package]
        while queue:
            name = queue.pop()
            if name in found:
                continue
            record = self._apt("apt-cache", "show", "--no-all-versions", f"{name}:{self.arch}")
            found[name] = _field(record, "Version")
            needs = _field(record, "Depends") + ", " + _field(record, "Pre-Depends")
            queue += [name for name, _version in _SAME_SOURCE.findall(needs)]
        return found

    def download(self, packages: dict[str, str], folder: Path) -> list[Path]:
        """Fetch the packages as .deb files into `folder`; returns them sorted."""
        folder.mkdir(parents=True, exist_ok=True)
        wanted = [f"{name}:{self.arch}={version}" for name, version in packages.items()]
        self._apt("apt-get", "-q", "download", *wanted, cwd=folder)
        return sorted(folder.glob("*.deb"))

    def download_with_dependencies(self, packages: Iterable[str]) -> list[Path]:
        """Fetch the packages and all that they depend on as .deb files."""
        archives = self.root / "cache" / "archives"
        for old in archives.glob("*.deb"):
            old.unlink()
        options = ("-q", "-y", "--no-install-recommends", "--download-only")
        self._apt("apt-get", *options, "install", *packages)
        return sorted(archives.glob("*.deb"))

    def _apt(self, *command: str, cwd: Path | None = None) -> str:
        program, *arguments = command
        call = [program, *self._options(), *arguments]
        done = subprocess.run(call, cwd=cwd, capture_output=True, text=True, check=False)
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise MirrorError(f"{program} for {self.suite}/{self.arch}: {' / '.join(said[:3])}")
        return done.stdout

    def _options(self) -> Iterator[str]:
        settings = {
            "Dir::Etc::sourcelist": self.root / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            "Dir::State": self.root / "state",
            "Dir::State::status": self.root / "status",
            "Dir::Cache": self.root / "cache",
            "APT::Architecture": self.arch,
            "APT::Architectures": self.arch,
            "Acquire::Languages": "none",
            "Acquire::PDiffs": "false",
            "APT::Sandbox::User": "root",  # _apt cannot write into a checkout
        }
        for key, value in settings.items():
            yield "-o"
            yield f"{key}={value}"


def _configured() -> list[tuple[str, str]]:
    """(release, repository URI) of every archive in the machine's apt sources."""
    call = ["apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI)", "Created-By: Packages"]
    try:
        listed = subprocess.run(call, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise MirrorError(f"apt-get indextargets: {error}") from error
    lines = (line.partition(" ") for line in listed.splitlines())
    return [(release, uri) for release, _, uri in lines]


def _is_security(release: str) -> bool:
    name, _, kind = release.partition("-")
    return kind == "security" and name in DEBIAN_SUITES


def _field(record: str, name: str) -> str:
    found = re.search(rf"^{name}: (.*)$", record, re.MULTILINE)
    return found.group(1).strip() if found else ""
