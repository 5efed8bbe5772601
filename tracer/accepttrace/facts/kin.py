"""What `who` reads beside the inventory: whose child each holder is, and how the machine is set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from accepttrace.facts.records import TICKS_PER_S


class Kin(NamedTuple):
    """A process among others. Source: /proc/PID/stat and status."""

    pid: int
    start_ticks: int
    comm: str
    parent: int  # 0: none that is visible
    session: int
    uid: int | None  # effective
    cpus: str | None  # on which it may run, as in Cpus_allowed_list
    stopped: bool = False  # by a signal or a debugger, or frozen: see `surroundings`


class NetSettings(NamedTuple):
    """Of a network namespace. None: not readable, or this kernel has no such setting."""

    somaxconn: int | None = None  # net.core.somaxconn
    migrates: bool | None = None  # net.ipv4.tcp_migrate_req


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Everything by which sharing is explained, at one moment.

    `kin`: holders, those who only serve, and their ancestors. `users`: names by uid. `same_file`:
    by inode of a listener, whether all its holders have the same open file description (kcmp,
    KCMP_FILE); absent: not asked, or not permitted. `now_ticks`: the time on the clock of
    `Kin.start_ticks`. `netns`: the network namespace that we are in ourselves; `namespaces`: what
    those are called that `ip netns` made.
    """

    kin: Mapping[int, Kin] = field(default_factory=dict)
    users: Mapping[int, str] = field(default_factory=dict)
    settings: Mapping[int, NetSettings] = field(default_factory=dict)  # by netns
    same_file: Mapping[int, bool] = field(default_factory=dict)
    now_ticks: int = 0
    netns: int | None = None
    namespaces: Mapping[int, str] = field(default_factory=dict)
    cpus: int = 0  # one more than the highest number of a CPU that is online; 0: not known

    def age_s(self, start_ticks: int) -> float | None:
        """Since when a process runs."""
        if not (self.now_ticks and start_ticks):
            return None
        return max(self.now_ticks - start_ticks, 0) / TICKS_PER_S
