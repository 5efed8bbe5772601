"""BPF maps by file descriptor: the same for every loader."""

from __future__ import annotations

import ctypes as c
import errno
from collections.abc import Iterator, Sequence
from sys import byteorder
from typing import ClassVar, Final, Generic, Literal, TypeVar

from accepttrace.probe import _syscall as sys
from accepttrace.probe.preemption import not_preempted

Key = TypeVar("Key", bound=c.Structure)
Value = TypeVar("Value", bound=c.Structure)

_BATCH = 256
MANY: Final = 64  # elements of an array: from so many on it is quicker to read it whole
Number = Literal["I", "Q"]  # of 32 and of 64 bits


class Map(Generic[Key, Value]):
    """A hash or array map whose keys and values are ctypes objects of the given types.

    `never_preempted`: whether no other task may run on this CPU during a system call on any map.
    """

    never_preempted: ClassVar[bool] = False

    def __init__(self, fd: int, key: type[Key], value: type[Value]) -> None:
        self._fd = fd
        self._key = key
        self._value = value

    def get(self, key: Key) -> Value | None:
        """The value under `key`, None where there is none."""
        value = self._value()
        try:
            self._call(sys.MAP_LOOKUP_ELEM, self._attr(key, c.addressof(value)))
        except OSError as error:
            if error.errno == errno.ENOENT:
                return None
            raise
        return value

    def elements(self, keys: Sequence[Key]) -> list[Value]:
        """Of an array map, those of these numbers."""
        if len(keys) < MANY:
            return [value for key in keys if (value := self.get(key)) is not None]
        batches = [values for _, values, _ in self._batches()]
        numbers = [int.from_bytes(key, byteorder) for key in map(bytes, keys)]
        return [batches[number // _BATCH][number % _BATCH] for number in numbers]

    def put(self, key: Key, value: Value) -> None:
        """Store `value` under `key`; OSError (E2BIG) where the map is full."""
        self._call(sys.MAP_UPDATE_ELEM, self._attr(key, c.addressof(value)))

    def delete(self, key: Key) -> None:
        """Remove `key`; nothing happens where it is not there."""
        try:
            self._call(sys.MAP_DELETE_ELEM, self._attr(key, 0))
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise

    def delete_all(self, keys: Sequence[Key]) -> None:
        """Remove these from a hash map, in a few calls as long as none is missing."""
        for first in range(0, len(keys), _BATCH):
            self._delete_batch(keys[first : first + _BATCH])

    def _delete_batch(self, keys: Sequence[Key]) -> None:
        whole = (self._key * _BATCH)(*keys)  # of one length: ctypes keeps a type for each
        done = 0
        while done < len(keys):
            attr = sys.BatchAttr(
                keys=c.addressof(whole) + done * c.sizeof(self._key),
                count=len(keys) - done,
                map_fd=self._fd,
            )
            try:
                self._call(sys.MAP_DELETE_BATCH, attr)
            except OSError as error:
                if error.errno != errno.ENOENT:
                    raise
                done += attr.count + 1  # the first that was not there
            else:
                return

    def clear(self) -> None:
        """Remove everything that is in a hash map now."""
        self.delete_all([key for key, _ in self.items()])

    def items(self) -> list[tuple[Key, Value]]:
        """Everything in a hash map, read in batches. The objects own their memory."""
        found: list[tuple[Key, Value]] = []
        for keys, values, count in self._batches():
            found.extend(zip(keys[:count], values[:count], strict=True))
        return found

    def columns(self, *fields: tuple[int, Number]) -> Iterator[tuple[list[int], ...]]:
        """Some numbers of each value in a map, batch by batch: much cheaper than its objects.

        Each field by its offset and its format; no value is of a size that it does not divide.
        """
        for _, values, count in self._batches():
            whole = memoryview(values).cast("B")[: count * c.sizeof(self._value)]
            yield tuple(_column(whole, c.sizeof(self._value), *field) for field in fields)

    def _batches(self) -> Iterator[tuple[c.Array[Key], c.Array[Value], int]]:
        """Arrays of keys and values, of which so many are filled."""
        cursor = c.create_string_buffer(max(c.sizeof(self._key), 8))
        first, size, end = True, _BATCH, False
        while not end:
            keys, values = (self._key * size)(), (self._value * size)()
            attr = sys.BatchAttr(
                in_batch=0 if first else c.addressof(cursor),
                out_batch=c.addressof(cursor),
                keys=c.addressof(keys),
                values=c.addressof(values),
                count=size,
                map_fd=self._fd,
            )
            try:
                self._call(sys.MAP_LOOKUP_BATCH, attr)
            except OSError as error:
                if error.errno == errno.ENOSPC:  # one bucket alone holds more than the batch
                    size *= 2
                    continue
                if error.errno != errno.ENOENT:
                    raise
                end = True
            yield keys, values, attr.count
            first = False

    def _call(self, command: int, attr: c.Structure) -> int:
        if not Map.never_preempted:
            return sys.bpf(command, attr)
        with not_preempted():
            return sys.bpf(command, attr)

    def _attr(self, key: Key, value: int) -> sys.ElementAttr:
        return sys.ElementAttr(map_fd=self._fd, key=c.addressof(key), value=value)


def _column(values: memoryview, size: int, offset: int, kind: Number) -> list[int]:
    numbers = values.cast(kind)
    return numbers[offset // numbers.itemsize :: size // numbers.itemsize].tolist()
