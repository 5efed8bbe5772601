"""How many different things were seen, from the values of a short hash that they had."""

from __future__ import annotations

from math import log
from typing import Final

SLOTS: Final = 128  # values of the hash; as CLIENT_SLOTS of the kernel side


def distinct(seen: int) -> int | None:
    """About how many, if each set one of SLOTS bits; None: too many to say, several hundred.

    Linear counting: Whang, Vander-Zanden and Taylor, ACM TODS 15(2), 1990.
    """
    free = SLOTS - seen.bit_count()
    return round(SLOTS * log(SLOTS / free)) if free > 0 else None
