"""ctypes prototypes of the system's libbpf (0.5 or newer), and its log. Nothing else."""

from __future__ import annotations

import ctypes as c
import errno
import os
import signal
from collections.abc import Callable
from functools import cache, partial
from typing import Any

from accepttrace.errors import UnsupportedError

_LIBRARIES = ("libbpf.so.1", "libbpf.so.0")
_NO_DESCRIPTORS = ("Error 24", "Too many open files")  # the dynamic linker's words
_STRICT_ALL = 0xFFFFFFFF  # libbpf 0.x: errors as NULL and errno, as 1.x does
_INFO = 1  # enum libbpf_print_level: WARN 0, INFO 1, DEBUG 2

_HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM, signal.SIGWINCH)

_Print = c.CFUNCTYPE(c.c_int, c.c_int, c.c_char_p, c.c_void_p)

_PROTOTYPES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "libbpf_set_print": (c.c_void_p, (_Print,)),
    "bpf_object__open_mem": (c.c_void_p, (c.c_char_p, c.c_size_t, c.c_void_p)),
    "bpf_object__load": (c.c_int, (c.c_void_p,)),
    "bpf_object__close": (None, (c.c_void_p,)),
    "bpf_object__find_program_by_name": (c.c_void_p, (c.c_void_p, c.c_char_p)),
    "bpf_object__name": (c.c_char_p, (c.c_void_p,)),
    "bpf_object__find_map_fd_by_name": (c.c_int, (c.c_void_p, c.c_char_p)),
    "bpf_program__set_autoload": (c.c_int, (c.c_void_p, c.c_bool)),
    "bpf_program__fd": (c.c_int, (c.c_void_p,)),
    "bpf_program__attach": (c.c_void_p, (c.c_void_p,)),
    "bpf_program__attach_iter": (c.c_void_p, (c.c_void_p, c.c_void_p)),
    "bpf_link__fd": (c.c_int, (c.c_void_p,)),
    "bpf_link__destroy": (c.c_int, (c.c_void_p,)),
    "btf__parse": (c.c_void_p, (c.c_char_p, c.c_void_p)),
    "btf__free": (None, (c.c_void_p,)),
    "btf__find_by_name_kind": (c.c_int, (c.c_void_p, c.c_char_p, c.c_uint32)),
    "btf__type_by_id": (c.c_void_p, (c.c_void_p, c.c_uint32)),
    "btf__name_by_offset": (c.c_char_p, (c.c_void_p, c.c_uint32)),
}


class OpenOptions(c.Structure):
    """struct bpf_object_open_opts (bpf/libbpf.h), as far as it is used."""

    _fields_ = (
        ("size", c.c_size_t),
        ("object_name", c.c_char_p),
        ("relaxed_maps", c.c_bool),
        ("pin_root_path", c.c_char_p),
        ("unused", c.c_uint32),
        ("kconfig", c.c_char_p),
        ("btf_custom_path", c.c_char_p),
    )


class Log:
    """What libbpf and the verifier said since the last `clear`. Shown with `-v` only."""

    def __init__(self, libc: c.CDLL) -> None:
        self._lines: list[str] = []
        self._vsnprintf = libc.vsnprintf
        self._vsnprintf.argtypes = (c.c_char_p, c.c_size_t, c.c_char_p, c.c_void_p)
        self.callback = _Print(self._take)  # must outlive the library's use of it

    def _take(self, level: int, text: bytes, arguments: int) -> int:
        if level <= _INFO:
            buffer = c.create_string_buffer(65536)
            self._vsnprintf(buffer, len(buffer), text, arguments)
            self._lines.append(buffer.value.decode(errors="replace"))
        return 0

    def clear(self) -> None:
        """Forget everything said so far."""
        self._lines.clear()

    def text(self) -> str:
        """All lines since the last `clear`."""
        return "".join(self._lines)


class Library:
    """libbpf with prototypes; `log` collects what it prints.

    Raises `UnsupportedError` where no libbpf is installed or it is too old.
    """

    def __init__(self) -> None:
        self.path, self._dll = _open()
        for name, (result, arguments) in _PROTOTYPES.items():
            try:
                function = getattr(self._dll, name)
            except AttributeError:
                raise UnsupportedError(
                    f"{self.path} is too old: it has no {name}",
                    "install libbpf 0.5 or newer (Debian, Ubuntu: libbpf1 or libbpf0)",
                ) from None
            function.restype = result
            function.argtypes = arguments
            setattr(self, name, partial(_call, function))
        self.log = Log(c.CDLL(None))
        self._dll.libbpf_set_print(self.log.callback)
        if hasattr(self._dll, "libbpf_set_strict_mode"):
            self._dll.libbpf_set_strict_mode(c.c_uint32(_STRICT_ALL))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dll, name)


def _open() -> tuple[str, c.CDLL]:
    reasons = []
    for name in _LIBRARIES:
        try:
            return name, c.CDLL(name, use_errno=True)
        except OSError as error:
            if any(word in str(error) for word in _NO_DESCRIPTORS):
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE)) from None
            reasons.append(str(error))
    raise UnsupportedError(
        "libbpf is not installed",
        "install it (Debian 12+, Ubuntu 24.04: libbpf1; Ubuntu 22.04: libbpf0; Fedora: libbpf)",
        "\n".join(reasons),
    )


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    """Signals wait until it returns.

    Each would make the kernel begin anew to verify a program, and what a handler raises would be
    lost in the log's callback.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
    try:
        return function(*arguments)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@cache
def library() -> Library:
    """The one libbpf of this process."""
    return Library()
