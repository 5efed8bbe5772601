"""Lines in compressed files: written so that what is there can be read, whatever happens next."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn

from accepttrace.errors import AcceptTraceError, UsageError
from accepttrace.store.codecs import CHUNK, CutError, DamagedError, codec_for, codec_of

LONGEST_LINE: Final = 64 << 20  # bytes; ten thousand listeners with a worker each take 12 MB
_MEMBER: Final = 4 << 20  # bytes of text, after which a member of the file ends
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class LineWriter:
    """Compressed members, one after the other; each line is whole in the file when `write` returns.

    The file is of zstd if its name ends so, else of gzip. It is new: none is overwritten, no link
    followed. AcceptTraceError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0  # bytes in the file
        self._codec = codec_for(path)
        self._begin()
        try:
            self._fd = os.open(path, _NEW, 0o600)
        except FileExistsError:
            raise UsageError(f"{path} is there already", "name another file") from None
        except OSError as error:
            raise UsageError(f"cannot create {path}: {error.strerror}") from None

    def write(self, line: bytes) -> None:
        """Add a line."""
        data = self._member.compress(line)
        self._length += len(line)
        if self._length < _MEMBER:
            self._put(data + self._member.flush(self._codec.line))
        else:
            self._put(data + self._member.flush(self._codec.end))
            self._begin()

    def close(self) -> None:
        """End the last member."""
        try:
            if self._length:
                self._put(self._member.flush(self._codec.end))
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Leave the file as it is."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _begin(self) -> None:
        self._member, self._length = self._codec.member(), 0

    def _put(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                written = os.write(self._fd, rest)
                self.size += written
                rest = rest[written:]
        except OSError as error:
            raise AcceptTraceError(
                f"cannot write to {self.path}: {error.strerror}",
                "what was recorded until then can be replayed",
            ) from None


class LineReader:
    """The lines of a file, compressed or not, as far as it is whole; `why` it ends before its end.

    A file may come from anybody: never more than a line is kept. UsageError: it is none that can be
    read, and read again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.why: str | None = None
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise UsageError(f"cannot read {path}: {error.strerror}") from None
        self._file = open(fd, "rb", buffering=0)  # noqa: SIM115
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            self._file.close()
            raise UsageError(f"{path} is no file")

    def __iter__(self) -> Iterator[bytes]:
        begun: list[bytes] = []  # pieces of a line
        with suppress(EOFError), self._file:
            for text in self._texts():
                *ends, last = text.split(b"\n")
                for end in ends:
                    yield b"".join((*begun, end))
                    begun = []
                begun.append(last)
                if sum(map(len, begun)) > LONGEST_LINE:
                    self._stop(f"a line has more than {LONGEST_LINE >> 20} MiB")
            if any(begun):
                self._stop("its last line is cut")

    def _texts(self) -> Iterator[bytes]:
        """What the file decompresses to, a piece at a time."""
        data = self._read()
        codec = codec_of(data)
        if codec is None:
            while data:
                yield data
                data = self._read()
            return
        try:
            yield from codec.texts(data, self._read)
        except DamagedError:
            self._stop("it is damaged")
        except CutError:
            self._stop("it was cut")

    def _read(self) -> bytes:
        try:
            return self._file.read(CHUNK) or b""
        except OSError as error:
            self._stop(f"it cannot be read: {error.strerror}")

    def _stop(self, why: str) -> NoReturn:
        self.why = why
        raise EOFError
