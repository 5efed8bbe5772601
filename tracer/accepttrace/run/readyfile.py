"""`--ready-file`: absent until everything is attached, then new, and its own."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from accepttrace.errors import AcceptTraceError, UsageError

_ELSEWHERE: Final = "name a file in a folder that only you can write to, such as /run"
_OURS_TO_REMOVE: Final = (stat.S_IFREG, stat.S_IFLNK, stat.S_IFIFO)
_SYSTEM: Final = ("dev", "proc", "sys")  # /dev/stdout is a link that must not be removed
_FOLDER: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def remove(path: Path) -> None:
    """Remove what an earlier run left, or a stranger put there; UsageError where that cannot be."""
    try:
        with _folder_of(path) as folder:
            kind = stat.S_IFMT(os.stat(path.name, dir_fd=folder, follow_symlinks=False).st_mode)
            if kind not in _OURS_TO_REMOVE or path.absolute().parts[1] in _SYSTEM:
                raise UsageError(f"--ready-file {path} is there, and is no file", _ELSEWHERE)
            os.unlink(path.name, dir_fd=folder)
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise UsageError(f"--ready-file {path}: there is no folder {path.parent}") from None
    except OSError as error:
        raise UsageError(f"cannot use --ready-file {path}: {error.strerror}", _ELSEWHERE) from None


def create(path: Path) -> None:
    """Create it, with our PID: all of it at once, by way of no link."""
    draft = f".{path.name}.{os.urandom(8).hex()}"
    try:
        with _folder_of(path) as folder:
            with open(os.open(draft, _NEW, 0o644, dir_fd=folder), "w") as file:
                file.write(f"{os.getpid()}\n")
            try:
                # Takes the place of whatever is there now; a link is not followed.
                os.rename(draft, path.name, src_dir_fd=folder, dst_dir_fd=folder)
            except OSError:
                with suppress(OSError):
                    os.unlink(draft, dir_fd=folder)
                raise
    except OSError as error:
        reason = error.strerror
        raise AcceptTraceError(f"cannot create --ready-file {path}: {reason}", _ELSEWHERE) from None


@contextmanager
def _folder_of(path: Path) -> Iterator[int]:
    """Its folder, opened. A link on the way is followed only where root or we made it."""
    folder = os.open("/", _FOLDER)
    try:
        for name in path.absolute().parts[1:-1]:
            flags = _FOLDER if _is_ours(folder) else _FOLDER | os.O_NOFOLLOW
            inner = os.open(name, flags, dir_fd=folder)
            os.close(folder)
            folder = inner
        yield folder
    finally:
        os.close(folder)


def _is_ours(folder: int) -> bool:
    """Whether only root and this user can make names in it."""
    found = os.fstat(folder)
    return found.st_uid in (0, os.geteuid()) and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
