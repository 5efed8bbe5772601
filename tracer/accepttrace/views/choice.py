"""Which columns a table shows for which kind of row, the dearest first.

As many as fit, from left to right as in COLUMNS. Behind the bar are those that only come when
nothing else has to shrink for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from accepttrace.views.column import Column
from accepttrace.views.columns import COLUMNS

_PROCESS: Final = (
    "pid accepts name listener netns rate share fair_ratio via wait_p99_us wait_p50_us"
    " wasted_wakeups"
)
_LOST: Final = (
    "lost_on_close overflow_syn overflow_peers overflow_ack overflow_aborted refused_accepts"
    " migrated_in migrated_out unseen epoch"
)
_SOCKETS: Final = (
    "accepts name queue queue_max fair_ratio wait_p99_us rate selected arrived share"
    " queue_mean wait_p50_us"
)
_MORE: Final = "empty_accepts wait_max_us failed_accepts"
_WHERE: Final = "container cgroup ns_pid wasted_per_accept comm"
_GROUP: Final = "selector group_size"
_REST: Final = f"capacity wasted_wakeups {_MORE} via wait_p90_us wasted_per_accept drops"
CHOICE: Final[Mapping[str, str]] = {
    "worker": f"{_PROCESS} | {_MORE} listener_inode queue wait_p90_us {_WHERE}",
    "process": f"{_PROCESS} | {_MORE} wait_p90_us {_WHERE}",
    "thread": f"tid {_PROCESS} | {_MORE} comm listener_inode queue wait_p90_us {_WHERE}",
    "socket": f"listener_inode listener netns {_SOCKETS} | {_LOST} {_GROUP} group {_REST}",
    "group": f"group listener netns {_SOCKETS} | {_LOST} {_GROUP} {_REST}",
}


def chosen(by: str) -> tuple[list[Column], list[Column]]:
    """Columns for rows of this kind, the dearest first: the base, and those for wide windows."""
    base, more = (dict.fromkeys(part.split()) for part in CHOICE[by].split("|"))
    return [COLUMNS[key] for key in base], [COLUMNS[key] for key in more]
