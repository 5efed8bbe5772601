"""The socket iterators by themselves: what BPF shows of sockets without any hook."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from accepttrace.errors import UnsupportedError
from accepttrace.facts.records import ListenerFact
from accepttrace.facts.sight import Sight
from accepttrace.probe import privileges, wire
from accepttrace.probe.load import loaders
from accepttrace.probe.load.core import Loaded
from accepttrace.probe.members import Queue, facts_of, queue_of
from accepttrace.probe.plans import Plan

_TCP: Final = Plan("tracepoint", (), Sight(), ())
_UDP: Final = replace(_TCP, listing="iter_receivers")


class _SocketIterator:
    """Loaded when constructed; `UnsupportedError` or OSError say why that cannot be."""

    def __init__(self, plan: Plan) -> None:
        if not privileges.may_trace():
            raise UnsupportedError("no permission to use BPF", privileges.ADVICE)
        loaders.require("libbpf")
        loaders.raise_memlock()
        self._loaded = Loaded(plan)
        if not self._loaded.lists_sockets:
            self._loaded.close()
            raise UnsupportedError("this kernel has no BPF iterator over sockets")

    def close(self) -> None:
        """Free it. May be called twice."""
        self._loaded.close()


class ListenerIterator(_SocketIterator):
    """Listeners of TCP; raises as its base."""

    def __init__(self) -> None:
        super().__init__(_TCP)

    def read(self) -> dict[int, ListenerFact]:
        """Every listener in the network namespace of the calling thread, by inode."""
        return facts_of(self._loaded.sockets(wire.TcpMember))


class ReceiverIterator(_SocketIterator):
    """Sockets of UDP; raises as its base."""

    def __init__(self) -> None:
        super().__init__(_UDP)

    def read(self) -> tuple[Queue, ...]:
        """Every UDP socket in the network namespace of the calling thread."""
        return tuple(queue_of(found) for found in self._loaded.sockets(wire.UdpMember))
