"""Whether a name of AF_UNIX can be bound: an abstract one is tried; for a path, that would make a
file that others see, so it is derived from what is there, and who may write there.

A child of ours does it, which becomes the user, with the groups that the user has.
"""

from __future__ import annotations

import errno
import os
import pwd
import socket
import stat
import time
from contextlib import suppress
from dataclasses import replace
from typing import Final, NamedTuple

from accepttrace.facts.naming import At, NameTried
from accepttrace.sockets.diag.netns import call_inside
from accepttrace.sockets.helper import Helper

LIMIT_S: Final = 3.0
LONGEST: Final = 108  # of sun_path; of an abstract name with the NUL before it


class NameTrial(NamedTuple):
    """A path or `@NAME`, who asks, and for a name the network namespace (None: our own)."""

    name: str
    uid: int
    netns_path: str | None


def try_name(trial: NameTrial) -> NameTried:
    """What bind() of it does, or would do."""
    helper = Helper()
    try:
        for _, found in helper.map(outcome_of, [trial], time.monotonic() + LIMIT_S):
            if found is not None:
                return found
    finally:
        helper.close()
    return NameTried(None, False, None) if trial.name.startswith("@") else _of_path(trial.name)


def outcome_of(trial: NameTrial) -> NameTried:
    """In the child. OSError: it may not become that user, or enter the namespace."""
    before = os.geteuid(), os.getegid(), os.getgroups()
    try:
        if trial.uid != before[0]:
            _become(trial.uid)
        if trial.name.startswith("@"):
            return NameTried(_bound(trial), True, None)
        code, later = _derived(trial.name), _of_directory(os.path.dirname(trial.name) or ".")
    finally:
        with suppress(OSError):
            os.seteuid(before[0])
            os.setegid(before[1])
            os.setgroups(before[2])
    return replace(_of_path(trial.name), code=code, later=later)


def _become(uid: int) -> None:
    try:
        user = pwd.getpwuid(uid)
        group, groups = user.pw_gid, os.getgrouplist(user.pw_name, user.pw_gid)
    except KeyError:  # a number without a name
        group, groups = uid, []
    os.setgroups(groups)
    os.setegid(group)
    os.seteuid(uid)


def _bound(trial: NameTrial) -> int:
    name = b"\0" + os.fsencode(trial.name[1:])
    if len(name) > LONGEST:
        return errno.EINVAL

    def bind() -> int:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            try:
                sock.bind(name)
            except OSError as error:
                return error.errno or 0
        return 0

    return call_inside(trial.netns_path, bind) if trial.netns_path else bind()


def _derived(path: str) -> int:
    """The errno of making a file there: bind() says EADDRINUSE where there is one."""
    if len(os.fsencode(path)) > LONGEST:
        return errno.EINVAL
    try:
        os.lstat(path)
    except FileNotFoundError:
        return _of_directory(os.path.dirname(path) or ".")
    except OSError as error:
        return error.errno or 0
    return errno.EADDRINUSE


def _of_directory(path: str) -> int:
    try:
        if not stat.S_ISDIR(os.stat(path).st_mode):
            return errno.ENOTDIR
        if os.access(path, os.W_OK | os.X_OK, effective_ids=True):
            return 0
        return errno.EROFS if os.statvfs(path).f_flag & os.ST_RDONLY else errno.EACCES
    except OSError as error:
        return error.errno or 0


def _of_path(path: str) -> NameTried:
    """What is there, whoever asks."""
    at = _at(path)
    return NameTried(None, False, at, _is_bound(path) if at == "socket" else None)


def _is_bound(path: str) -> bool | None:
    """Asked by a connection of a type that no listener takes: the server is told nothing."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(path)
        except OSError as error:
            known = {errno.ECONNREFUSED: False, errno.EPROTOTYPE: True, errno.EPERM: True}
            return known.get(error.errno or 0)
    return True


def _at(path: str) -> At:
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return "nothing"
    return "socket" if stat.S_ISSOCK(mode) else "link" if stat.S_ISLNK(mode) else "file"
