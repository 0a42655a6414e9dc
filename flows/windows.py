"""The windows a keyed stream can be cut into; durations are strings such as "10s", or timedelta.

A window holds the rows with start <= event time < end; it closes when the watermark reaches its
end plus the lateness allowed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .durations import Duration, microseconds, spelled

__all__ = [
    "CountWindow",
    "HoppingWindow",
    "SessionWindow",
    "SlidingWindow",
    "WholeWindow",
    "Window",
    "count",
    "hopping",
    "session",
    "sliding",
    "tumbling",
    "whole",
]

Time = Literal["event", "processing"]


@dataclass(frozen=True, slots=True)
class HoppingWindow:
    """Windows of `size` µs, one beginning every `every` µs; tumbling when both are equal."""

    size: int
    every: int
    offset: int = 0
    time: Time = "event"

    def __str__(self) -> str:
        kind = "tumbling" if self.size == self.every else "hopping"
        step = "" if self.size == self.every else f" every {spelled(self.every)}"
        return f"{kind} {spelled(self.size)}{step}"


@dataclass(frozen=True, slots=True)
class SlidingWindow:
    """For every row, the rows of its key in the `size` µs up to and with it."""

    size: int
    time: Time = "event"

    def __str__(self) -> str:
        return f"sliding {spelled(self.size)}"


@dataclass(frozen=True, slots=True)
class SessionWindow:
    """Rows of a key that follow each other within `gap` µs."""

    gap: int
    time: Time = "event"

    def __str__(self) -> str:
        return f"session {spelled(self.gap)}"


@dataclass(frozen=True, slots=True)
class CountWindow:
    """Every `size` rows of a key, in event-time order; what is left at the end is a window too."""

    size: int
    time: Time = "event"

    def __str__(self) -> str:
        return f"count {self.size}"


@dataclass(frozen=True, slots=True)
class WholeWindow:
    """All rows of a key, until the stream ends."""

    def __str__(self) -> str:
        return "whole"


Window = HoppingWindow | SlidingWindow | SessionWindow | CountWindow | WholeWindow


def _positive(duration: Duration, what: str) -> int:
    length = microseconds(duration)
    if length <= 0:
        raise ValueError(f"{what} is {duration!r}; it must be longer than nothing")
    return length


def tumbling(size: Duration, *, offset: Duration = "0s", time: Time = "event") -> HoppingWindow:
    """Cut time into windows of `size` that touch; they begin at the epoch plus `offset`."""
    length = _positive(size, "the size of a window")
    return HoppingWindow(length, length, microseconds(offset) % length, time)


def hopping(
    size: Duration, every: Duration, *, offset: Duration = "0s", time: Time = "event"
) -> HoppingWindow:
    """Cut time into windows of `size`, one beginning `every` so often; they overlap.

    Raises ValueError if `every` is longer than `size`, as rows would fall between windows.
    """
    length, step = _positive(size, "the size of a window"), _positive(every, "every")
    if step > length:
        raise ValueError(f"every {every!r} is longer than the window {size!r}: rows would be lost")
    return HoppingWindow(length, step, microseconds(offset) % step, time)


def sliding(size: Duration, *, time: Time = "event") -> SlidingWindow:
    """Give every row the rows of its key in the `size` before it, itself included.

    The window of a row at t is (t - size, t]; rows of the same time are all in it.
    """
    return SlidingWindow(_positive(size, "the size of a window"), time)


def session(gap: Duration, *, time: Time = "event") -> SessionWindow:
    """Gather rows of a key until none has come for `gap`."""
    return SessionWindow(_positive(gap, "the gap of a session"), time)


def count(rows: int, *, time: Time = "event") -> CountWindow:
    """Gather every `rows` rows of a key, in event-time order."""
    if rows < 1:
        raise ValueError(f"a count window of {rows} rows; it needs one at least")
    return CountWindow(rows, time)


def whole() -> WholeWindow:
    """Gather all rows of a key until the stream ends."""
    return WholeWindow()
