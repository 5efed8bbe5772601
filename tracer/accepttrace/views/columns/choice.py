"""Which columns a table shows for which kind of row, the most important first.

As many as fit, from left to right in the order of the table. Behind the bar are those that only
come when nothing else has to shrink for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_PROCESS: Final = (
    "pid accepts name listener netns rate share fair_ratio recent_ratio via wait_p99_us wait_p50_us"
    " wasted_wakeups"
)
_LOST: Final = (
    "lost_on_close dropped_overflow blocked overflow_syn overflow_peers overflow_ack"
    " overflow_aborted refused_accepts migrated_in migrated_out unseen epoch"
)
_SOCKETS: Final = (
    "accepts name queue queue_max fair_ratio recent_ratio wait_p99_us rate selected arrived share"
    " queue_mean wait_p50_us"
)
_HELD: Final = "open_connections cpu local"
_MORE: Final = "recent_share recent_accepts empty_accepts wait_max_us failed_accepts"
_WHERE: Final = "pod container unit cgroup ns_pid wasted_per_accept comm"
_GROUP: Final = "selector group_size"
_TROUBLE: Final = f"oldest_wait_us {_LOST} {_GROUP}"
_REST: Final = f"capacity wasted_wakeups {_MORE} via wait_p90_us wasted_per_accept drops"
TCP: Final[Mapping[str, str]] = {
    "worker": f"{_PROCESS} | {_HELD} {_MORE} listener_inode queue wait_p90_us {_WHERE}",
    "process": f"{_PROCESS} | {_HELD} {_MORE} wait_p90_us {_WHERE}",
    "thread": f"tid {_PROCESS} | {_MORE} comm listener_inode queue wait_p90_us {_WHERE}",
    "socket": f"listener_inode listener netns {_SOCKETS} | {_TROUBLE} group {_REST}",
    "group": f"group listener netns {_SOCKETS} | {_TROUBLE} {_REST}",
}
UDP: Final[Mapping[str, str]] = {
    "socket": "local datagrams netns name remote pid selected rate dropped queue"
    " | share drops group selector queue_bytes queue_limit_bytes inode",
}
