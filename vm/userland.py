"""A root file system of another architecture, unpacked from Debian packages into the cache.

A foreign kernel cannot run the host's programs. Nothing is configured or executed: packages are
only unpacked, which suffices for Python, iproute2, bpftool and the like.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

from vm.kernels import CACHE, locked
from vm.mirror import AptRoot, find_mirror

SUITE = "bookworm"
PYTHON = "/usr/bin/python3"
# What the kernel tests call, and what the first program of the guest needs.
PACKAGES = (
    *("busybox-static", "dash", "bash", "coreutils", "util-linux", "mount", "procps"),
    *("iproute2", "libcap2-bin", "bpftool", "libbpf1"),
    *("python3", "python3-pytest", "python3-click", "python3-rich"),
)
# Debian merged these folders into /usr; that is done by a script that is not run here.
MERGED = ("bin", "sbin", "lib")
MOUNT_POINTS = ("proc", "sys", "dev", "run", "tmp", "root")


def fetch(arch: str, *, refresh: bool = False, cache: Path = CACHE) -> Path:
    """The root folder, from the cache or (first time, `refresh`, another list) from the mirror.

    Raises MirrorError as `kernels.fetch` does, CalledProcessError when a package is broken.
    """
    name = f"userland.{SUITE}.{arch}"
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / f"{name}.lock"):
        root, packages = cache / name, cache / f"{name}.json"
        wanted = json.dumps(PACKAGES)
        if refresh or not packages.exists() or packages.read_text() != wanted:
            packages.unlink(missing_ok=True)
            _build(arch, root, cache)
            packages.write_text(wanted)
        return root


def _build(arch: str, root: Path, cache: Path) -> None:
    apt = AptRoot(cache / "apt" / f"{SUITE}-{arch}", SUITE, arch)
    apt.update(find_mirror())
    fresh = root.with_suffix(".new")
    shutil.rmtree(fresh, ignore_errors=True)
    for folder in MERGED:
        (fresh / "usr" / folder).mkdir(parents=True)
        (fresh / folder).symlink_to(f"usr/{folder}")
    for deb in apt.download_with_dependencies(PACKAGES):
        _unpack(deb, fresh)
    for folder in MOUNT_POINTS:
        (fresh / folder).mkdir(exist_ok=True)
    _compile(fresh)
    shutil.rmtree(root, ignore_errors=True)
    os.replace(fresh, root)


def _unpack(deb: Path, root: Path) -> None:
    """As `dpkg-deb -x`, which would put folders in the place of the links above."""
    content = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE)
    tar = ["tar", "-x", "--keep-directory-symlink", "-C", str(root)]
    with content:
        subprocess.run(tar, stdin=content.stdout, check=True)
    if content.returncode:
        raise subprocess.CalledProcessError(content.returncode, content.args)


def _compile(root: Path) -> None:
    """Byte code, which packages make when they are configured; one for all architectures.

    Without this Python version on the host the guest compiles what it imports: only slower.
    """
    version = os.path.basename(os.readlink(root / PYTHON[1:]))
    if shutil.which(version):
        folders = [str(root / "usr" / "lib" / name) for name in (version, "python3")]
        call = [version, "-m", "compileall", "-qq", "-s", str(root), *folders]
        subprocess.run(call, check=False)  # one old file of the library does not compile
