"""Time as it is passed in: nothing below the command line reads a wall clock of its own."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Clock", "ManualClock"]


class Clock(Protocol):
    """Tells processing time."""

    def now(self) -> int:
        """Return microseconds since 1970-01-01T00:00:00Z; never runs backwards."""
        ...


class ManualClock:
    """A clock for tests, which moves only when told to."""

    __slots__ = ("_now",)

    def __init__(self, now: int = 0) -> None:
        self._now = now

    def now(self) -> int:
        return self._now

    def advance(self, microseconds: int) -> None:
        """Move forward by so many microseconds (not negative)."""
        if microseconds < 0:
            raise ValueError("a clock does not run backwards")
        self._now += microseconds
