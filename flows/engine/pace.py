"""How many rows to read at a time from a source that lives on.

A batch is as large as the load makes it: while the engine is busy, rows gather, and the next
batch is larger, which costs less a row. Where a batch takes longer than the latency allowed, the
next is smaller. Results do not depend on it, as they never depend on how rows are cut.
"""

from __future__ import annotations

from typing import Final

__all__ = ["Pace"]

_FIRST: Final = 4096
_LEAST: Final = 16


class Pace:
    """Keeps the work on one batch below `max_latency` µs, with at most `most` rows a batch."""

    __slots__ = ("_max_latency", "_most", "limit")

    def __init__(self, most: int, max_latency: int) -> None:
        self._most = most
        self._max_latency = max_latency
        self.limit = min(most, _FIRST)
        """Rows to ask for next."""

    def took(self, rows: int, elapsed: int) -> None:
        """Learn that a batch of so many rows was worked off in `elapsed` µs."""
        if elapsed > self._max_latency:
            fitting = max(1, rows * self._max_latency // elapsed)
            self.limit = max(min(_LEAST, self._most), min(self.limit, fitting))
        elif rows >= self.limit and 2 * elapsed < self._max_latency:
            self.limit = min(self._most, 2 * self.limit)
