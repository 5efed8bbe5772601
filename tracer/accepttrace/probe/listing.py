"""The socket iterator by itself: what BPF shows of listeners without any hook."""

from __future__ import annotations

from typing import Final

from accepttrace.errors import UnsupportedError
from accepttrace.facts.records import ListenerFact
from accepttrace.facts.sight import Sight
from accepttrace.probe import privileges, wire
from accepttrace.probe.load import loaders
from accepttrace.probe.load.core import Loaded
from accepttrace.probe.members import facts_of
from accepttrace.probe.plans import Plan

_PLAN: Final = Plan("tracepoint", (), Sight(), ())


class ListenerIterator:
    """Loaded when constructed; `UnsupportedError` or OSError say why that cannot be."""

    def __init__(self) -> None:
        if not privileges.may_trace():
            raise UnsupportedError("no permission to use BPF", privileges.ADVICE)
        loaders.require("libbpf")
        loaders.raise_memlock()
        self._loaded = Loaded(_PLAN)
        if not self._loaded.lists_sockets:
            self._loaded.close()
            raise UnsupportedError("this kernel has no BPF iterator over sockets")

    def read(self) -> dict[int, ListenerFact]:
        """Every listener in the network namespace of the calling thread, by inode."""
        return facts_of(self._loaded.sockets(wire.TcpMember))

    def close(self) -> None:
        """Free it. May be called twice."""
        self._loaded.close()
