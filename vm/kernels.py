"""Debian kernels, fetched as packages and unpacked into a cache folder; never installed."""

from __future__ import annotations

import fcntl
import json
import lzma
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from vm.matrix import Row
from vm.mirror import AptRoot, find_mirror

CACHE = Path(__file__).resolve().parents[1] / ".cache" / "kernels"
# Drivers of real hardware are nine tenths of a kernel package; a guest needs none of them.
KEPT = ("arch/", "crypto/", "fs/", "kernel/", "lib/", "mm/", "net/", "security/")
KEPT_DRIVERS = ("drivers/virtio/", "drivers/block/", "drivers/char/")


@dataclass(frozen=True, slots=True)
class Kernel:
    """An unpacked kernel: `root`/boot and `root`/lib/modules/`release`, as on a real system."""

    root: Path
    release: str  # as `uname -r`
    version: str  # of the package
    arch: str = "amd64"  # as Debian names it

    @property
    def image(self) -> Path:
        return self.root / "boot" / f"vmlinuz-{self.release}"

    @property
    def modules(self) -> Path:
        return self.root / "lib" / "modules" / self.release


def fetch(row: Row, *, refresh: bool = False, cache: Path = CACHE) -> Kernel:
    """The row's kernel, from the cache or (first time, or `refresh`) from the mirror.

    Raises MirrorError when there is no mirror or apt refuses, CalledProcessError when a
    package cannot be unpacked.
    """
    name = f"{row.suite}.{row.package}.{row.arch}{'.headers' if row.headers else ''}"
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / f"{name}.lock"):
        root = cache / name
        if refresh or not (root / "kernel.json").exists():
            _build(row, root, cache)
        facts = json.loads((root / "kernel.json").read_text())
        return Kernel(root, facts["release"], facts["version"], row.arch)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`: rows run in parallel, and so may whole test runs."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(row: Row, root: Path, cache: Path) -> None:
    fresh = root.with_name(f"{root.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    debs = fresh / "debs"
    apt = AptRoot(cache / "apt" / f"{row.suite}-{row.arch}", row.suite, row.arch)
    apt.root.mkdir(parents=True, exist_ok=True)
    with locked(apt.root / "lock"):  # shared by the suite's kernels
        apt.update(find_mirror())
        packages = apt.closure(row.package)
        release = _release(packages, row.package)
        if row.headers:
            packages |= apt.closure(f"linux-headers-{release}")
        packages.pop(row.package)  # the meta package itself is empty
        fetched = apt.download(packages, debs)
    for deb in fetched:
        _unpack(deb, fresh)
    shutil.rmtree(debs)
    # kmod looks below /lib or /usr/lib, depending on its version.
    (fresh / "usr").mkdir(exist_ok=True)
    (fresh / "usr" / "lib").symlink_to("../lib")
    subprocess.run(["depmod", "-b", str(fresh), release], check=True, stderr=subprocess.DEVNULL)
    facts = {"release": release, "version": packages[f"linux-image-{release}"]}
    (fresh / "kernel.json").write_text(json.dumps(facts))
    shutil.rmtree(root, ignore_errors=True)
    os.replace(fresh, root)


def _release(packages: dict[str, str], meta: str) -> str:
    prefix = "linux-image-"
    return next(n[len(prefix) :] for n in packages if n.startswith(prefix) and n != meta)


def _unpack(deb: Path, target: Path) -> None:
    """Put what a guest needs from one package below `target`, with modules uncompressed."""
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE) as tar:
        assert tar.stdout is not None
        with tarfile.open(fileobj=tar.stdout, mode="r|") as archive:
            for member in archive:
                place = _place(member.name)
                if place is not None:
                    _write(archive, member, target / place)
    if tar.returncode:
        raise subprocess.CalledProcessError(tar.returncode, tar.args)


def _place(name: str) -> str | None:
    """Where a packaged file goes, or None. Debian moved modules to /usr and the image to them."""
    path = name.removeprefix("./")
    if path.startswith(("boot/vmlinuz-", "boot/config-", "usr/src/linux-headers-")):
        return path
    path = path.removeprefix("usr/")
    if not path.startswith("lib/modules/"):
        return None
    release, _, rest = path.removeprefix("lib/modules/").partition("/")
    if rest in ("vmlinuz", "config"):
        return f"boot/{rest}-{release}"
    kept = not rest.startswith("kernel/") or _is_kept(rest.removeprefix("kernel/"))
    return path if kept and rest not in ("", "build", "source") else None


def _is_kept(module: str) -> bool:
    is_plain_net = module.startswith("drivers/net/") and module.count("/") == 2
    return is_plain_net or module.startswith(KEPT + KEPT_DRIVERS)


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if member.issym():
        path.symlink_to(member.linkname)
        return
    source = archive.extractfile(member) if member.isfile() else None
    if source is None:
        return
    # Uncompressed, because a guest under emulation would spend seconds on it.
    if path.suffix == ".xz":
        with lzma.open(source) as module:
            _copy(module, path.with_suffix(""))
    else:
        _copy(source, path)
        path.chmod(member.mode)


def _copy(source: IO[bytes], path: Path) -> None:
    with path.open("wb") as target:
        shutil.copyfileobj(source, target)
