"""The CPUs of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

FOLDER: Final = Path("/sys/devices/system/cpu")


def cpus(which: Literal["online", "possible"]) -> int:
    """One more than the highest number of a CPU that is, or may ever be, there. Source: sysfs.

    OSError or ValueError where that is not shown.
    """
    return int((FOLDER / which).read_text().replace("-", ",").split(",")[-1]) + 1
