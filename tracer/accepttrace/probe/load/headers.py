"""Kernel headers for bcc: where the real ones are, and the few lines it can do with instead."""

from __future__ import annotations

import os
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from accepttrace.errors import UnsupportedError

_SOURCE = "BCC_KERNEL_SOURCE"  # bcc compiles in the folder that this variable names
_MODULES = Path("/lib/modules")
_ARCHIVE = Path("/sys/kernel/kheaders.tar.xz")

# All that bcc's own prelude includes. With these it compiles any text that brings its own
# declarations of kernel structs, as bpf/kernel.h does.
_STUBS = {
    "include/linux/kconfig.h": "#define CONFIG_BPF_SYSCALL 1\n",
    "include/linux/version.h": (
        "#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))\n"
        "#define LINUX_VERSION_CODE KERNEL_VERSION(5, 10, 0)\n"  # the oldest that is supported
    ),
    "include/linux/types.h": (
        "#pragma once\n"
        "typedef unsigned char __u8, u8;\n"
        "typedef unsigned short __u16, u16, __be16, __sum16;\n"
        "typedef unsigned int __u32, u32, __be32, __wsum;\n"
        "typedef unsigned long long __u64, u64, __be64;\n"
        "typedef signed char __s8, s8;\n"
        "typedef short __s16, s16;\n"
        "typedef int __s32, s32;\n"
        "typedef long long __s64, s64;\n"
        "typedef unsigned long size_t, uintptr_t;\n"
        "typedef _Bool bool;\n"
        "enum { false, true };\n"
        "#define NULL ((void *)0)\n"
        "#define __aligned_u64 __u64 __attribute__((aligned(8)))\n"
    ),
    "include/linux/bpf_common.h": "",
    "include/linux/log2.h": "",
    "include/asm/page.h": "",
    "include/uapi/linux/bpf.h": "",
    "include/uapi/linux/if_packet.h": "",
    "include/uapi/linux/if_ether.h": "",
    "include/uapi/linux/ptrace.h": "",
}


def found() -> Path | None:
    """The headers of the running kernel that bcc will use; None where there are none."""
    release = _MODULES / os.uname().release
    for folder in (os.environ.get(_SOURCE), release / "build", release / "source"):
        if folder and Path(folder, "include/linux/kconfig.h").is_file():
            return Path(folder)
    if _ARCHIVE.exists():
        return _ARCHIVE
    # CONFIG_IKHEADERS=m: bcc loads the module, which brings the archive.
    return next(iter(release.glob("kernel/kernel/kheaders.ko*")), None)


def required() -> Path:
    """As `found`; `UnsupportedError` names the package where there are none."""
    folder = found()
    if folder is None:
        raise UnsupportedError("no headers of the running kernel are installed", package())
    return folder


def package() -> str:
    """What to install, by family of distributions."""
    release = os.uname().release
    return (
        f"install linux-headers-{release} (Debian, Ubuntu), kernel-devel-{release} (Fedora,"
        " AlmaLinux) or linux-headers (Arch)"
    )


@contextmanager
def stubs() -> Iterator[None]:
    """Within, bcc finds stub headers only: for a text that declares kernel structs itself."""
    with _folder() as folder:
        for name, text in _STUBS.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        yield


@contextmanager
def real() -> Iterator[Path]:
    """Within, bcc finds the headers that `required` names; yields their folder.

    The kernel's own archive is unpacked into a folder of ours: bcc would take what lies in
    /tmp/kheaders-RELEASE for it, also if a stranger made it (CVE-2024-2314).
    """
    installed = required()
    if installed.is_dir():
        yield installed
        return
    archive = _archive()
    with _folder() as folder:
        try:
            with tarfile.open(archive) as packed:
                packed.extractall(folder)  # it is the kernel's, not a stranger's
        except (tarfile.TarError, EOFError, OSError, ValueError) as error:
            why = str(error).splitlines()[0]
            raise UnsupportedError(f"cannot unpack {archive}: {why}", package()) from None
        yield folder


def _archive() -> Path:
    """The kernel's, whose module is loaded for it; `UnsupportedError` where that cannot be."""
    if not _ARCHIVE.exists():
        with suppress(OSError):
            subprocess.run(("modprobe", "kheaders"), stderr=subprocess.DEVNULL, check=False)
    if not _ARCHIVE.exists():
        raise UnsupportedError("the module kheaders could not be loaded", package())
    return _ARCHIVE


@contextmanager
def _folder() -> Iterator[Path]:
    """A new one that only this user can write to, named as bcc's source of headers."""
    before = os.environ.get(_SOURCE)
    with tempfile.TemporaryDirectory(prefix="accepttrace-") as folder:
        os.environ[_SOURCE] = folder
        try:
            yield Path(folder)
        finally:
            if before is None:
                del os.environ[_SOURCE]
            else:
                os.environ[_SOURCE] = before
