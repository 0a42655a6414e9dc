"""The wall clock: the one place where it is read."""

from __future__ import annotations

import time

__all__ = ["SystemClock"]


class SystemClock:
    """Tells the time of the machine; stands still while the machine's clock is set back."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last = 0

    def now(self) -> int:
        """Return microseconds since 1970-01-01T00:00:00Z; never runs backwards."""
        self._last = max(self._last, time.time_ns() // 1000)
        return self._last
