"""Records made by the thousand at each refresh."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["record"]

if TYPE_CHECKING:
    from dataclasses import dataclass as record
else:
    from dataclasses import dataclass

    def record(*, frozen: bool, slots: bool) -> Any:
        """A frozen dataclass for mypy, which alone holds that nothing is set in it.

        At run time a frozen one sets each field by a call: of fifty fields that takes 10 us, not 2.
        """
        return dataclass(slots=slots, unsafe_hash=frozen)
