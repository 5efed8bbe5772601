"""How a file of lines is compressed: by gzip, or by zstd where Python can.

Each is written in members (frames of zstd), one after the other, which `zcat` and `zstdcat` take
for one. A reader never has more than a piece of text at a time, whatever a file says of itself.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from accepttrace.errors import UnsupportedError

CHUNK: Final = 1 << 16  # bytes that are read at once, and of a piece of text
ZSTD_SUFFIX: Final = ".zst"
_GZIP_WBITS: Final = 31  # of zlib: with the header of gzip
_LEVEL: Final = 3
_WINDOW_LOG: Final = 23  # that a reader of zstd keeps: 8 MiB, as levels up to 19 need
Read = Callable[[], bytes]  # the next bytes of a file, none at its end


class DamagedError(Exception):
    """What was read is not what a compressor writes."""


class CutError(Exception):
    """The file ends before the member does."""


@dataclass(frozen=True, slots=True)
class Codec:
    """`member`: a compressor with `compress` and `flush`, whose modes are `line` (all until here
    can be read) and `end`. `texts`: the decompressed pieces; it raises DamagedError and CutError.
    """

    magic: bytes
    member: Callable[[], Any]
    line: int
    end: int
    texts: Callable[[bytes, Read], Iterator[bytes]]


class _Inflate:
    """zlib's decompressor, used as those of Python's newer modules."""

    def __init__(self) -> None:
        self._inflate, self._kept = zlib.decompressobj(wbits=_GZIP_WBITS), b""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        text = self._inflate.decompress(self._kept + data, max_length)
        self._kept = self._inflate.unconsumed_tail
        self._full = len(text) == max_length
        return text

    @property
    def needs_input(self) -> bool:
        return not (self._kept or self.eof or self._full)

    @property
    def eof(self) -> bool:
        return self._inflate.eof

    @property
    def unused_data(self) -> bytes:
        return self._inflate.unused_data


def _texts(
    data: bytes, read: Read, new: Callable[[], Any], wrong: type[Exception]
) -> Iterator[bytes]:
    """Of members that follow each other. `new`: a decompressor of one, which raises `wrong`."""
    while data:
        member = new()
        while not member.eof:
            try:
                text = member.decompress(data, CHUNK)
            except wrong as error:
                raise DamagedError from error
            if text:
                yield text
            data = b""
            if member.needs_input:
                data = read()
                if not data:
                    raise CutError
        data = member.unused_data or read()


def _of_python(zstd: Any) -> Codec:
    """By the module `compression.zstd` of Python 3.14."""
    kind, parameter = zstd.ZstdCompressor, zstd.CompressionParameter
    options = {parameter.compression_level: _LEVEL, parameter.checksum_flag: True}
    limit = {zstd.DecompressionParameter.window_log_max: _WINDOW_LOG}

    def texts(data: bytes, read: Read) -> Iterator[bytes]:
        return _texts(data, read, lambda: zstd.ZstdDecompressor(options=limit), zstd.ZstdError)

    new = partial(kind, options=options)
    return Codec(_MAGIC_OF_ZSTD, new, kind.FLUSH_BLOCK, kind.FLUSH_FRAME, texts)


def _of_package(zstd: Any) -> Codec:
    """By the package zstandard, which does not say whether a frame was cut."""

    class Source:
        """What its reader takes for a file."""

        def __init__(self, data: bytes, read: Read) -> None:
            self._first, self._next = data, read

        def read(self, _: int) -> bytes:
            data, self._first = self._first or self._next(), b""
            return data

    def texts(data: bytes, read: Read) -> Iterator[bytes]:
        frames = zstd.ZstdDecompressor(max_window_size=1 << _WINDOW_LOG)
        reader = frames.stream_reader(Source(data, read), CHUNK, read_across_frames=True)
        try:
            while text := reader.read(CHUNK):
                yield text
        except zstd.ZstdError as error:
            raise DamagedError from error

    return Codec(
        _MAGIC_OF_ZSTD,
        zstd.ZstdCompressor(level=_LEVEL, write_checksum=True).compressobj,
        zstd.COMPRESSOBJ_FLUSH_BLOCK,
        zstd.COMPRESSOBJ_FLUSH_FINISH,
        texts,
    )


_MAGIC_OF_ZSTD: Final = b"\x28\xb5\x2f\xfd"
GZIP: Final = Codec(
    b"\x1f\x8b",
    lambda: zlib.compressobj(_LEVEL, wbits=_GZIP_WBITS),
    zlib.Z_SYNC_FLUSH,
    zlib.Z_FINISH,
    lambda data, read: _texts(data, read, _Inflate, zlib.error),
)


def zstd_codec() -> Codec:
    """UnsupportedError where there is no module for it."""
    if find_spec("compression") is not None:
        return _of_python(import_module("compression.zstd"))
    if find_spec("zstandard") is not None:
        return _of_package(import_module("zstandard"))
    raise UnsupportedError(
        f"files that end in {ZSTD_SUFFIX} need Python 3.14 or the package zstandard",
        "install it: pip install 'accepttrace[record]'; or name the file .gz",
    )


def codec_for(path: Path) -> Codec:
    """By what a new file is called."""
    return zstd_codec() if path.suffix == ZSTD_SUFFIX else GZIP


def codec_of(data: bytes) -> Codec | None:
    """By how a file begins; None: it is not compressed."""
    if data.startswith(_MAGIC_OF_ZSTD):
        return zstd_codec()
    return GZIP if data.startswith(GZIP.magic) else None
