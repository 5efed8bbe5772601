"""How long something takes."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable


def processor_s(work: Callable[[], object]) -> float:
    """Of processor time, without that of collections, which walk all that other tests left."""
    gc.disable()
    try:
        began = time.process_time()
        work()
        return time.process_time() - began
    finally:
        gc.enable()
