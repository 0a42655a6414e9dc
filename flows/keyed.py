"""What a keyed row function is handed beside its row: state, timers, and what fires."""

from __future__ import annotations

import copy
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, Generic, TypeVar

from .errors import SchemaError
from .event import Event
from .fieldtypes import field_types

__all__ = ["Fired", "State", "Timer"]

S = TypeVar("S")

_ATOMS: Final = (int, float, str, bytes, bool, type(None), datetime, date, timedelta, Event)
_FIXED: Final[set[type]] = set(_ATOMS)
"""Types whose values cannot be changed in place, as far as they have been met."""


class State(Generic[S]):
    """One value per key, kept between calls; only assignment to `value` counts.

    Of a value that can be changed in place, such as a list, `value` gives a copy each time: change
    the copy, and assign it. A fresh key starts at `S()`, or at None where S is optional. In a test,
    make one by hand: ``warm(minute, hw.State(4))``.
    """

    __slots__ = ("changed", "value_")

    def __init__(self, value: S) -> None:
        self.value_ = value
        self.changed = False
        """Whether `value` was assigned since the key was loaded."""

    @property
    def value(self) -> S:
        """The key's value, or a copy of one that can be changed in place."""
        value = self.value_
        return value if type(value) in _FIXED else _copied(value)

    @value.setter
    def value(self, value: S) -> None:
        self.value_ = value
        self.changed = True

    def __repr__(self) -> str:
        return f"State({self.value_!r})"


def _copied(value: Any) -> Any:
    kind = type(value)
    if issubclass(kind, _ATOMS) and not (issubclass(kind, Event) and _holds_lists(kind)):
        _FIXED.add(kind)
        return value
    if kind in (list, set, dict):
        inside = value.values() if kind is dict else value
        if _FIXED.issuperset(map(type, inside)):
            return value.copy()
    return copy.deepcopy(value)


def _holds_lists(kind: type[Event]) -> bool:
    try:
        fields = field_types(kind).values()
    except SchemaError:
        return True  # an event of no stream, whose fields may be anything
    return any(
        field.kind == "list" or (field.kind == "event" and _holds_lists(field.of))
        for field in fields
    )


class Timer:
    """A wake-up per key, in event time: at `at`, the function is called with `Fired`.

    A key has one wake-up per timer; setting it again moves it. One set at or before the row's own
    time fires right after the row.
    """

    __slots__ = ("at", "changed")

    def __init__(self, at: datetime | None = None) -> None:
        self.at = at
        """When it goes off, or None."""
        self.changed = False

    def set(self, at: datetime) -> None:
        """Go off at `at` (aware); raises ValueError for a naive time.

        Raises OverflowError for one that is not within the years 1 to 9999 in UTC.
        """
        if at.utcoffset() is None:
            raise ValueError("a timer needs a time with a zone, such as event.at + timedelta(…)")
        self.at = at if at.tzinfo is UTC else at.astimezone(UTC)
        self.changed = True

    def clear(self) -> None:
        """Do not go off."""
        self.at = None
        self.changed = True

    def __repr__(self) -> str:
        return f"Timer({self.at!r})"


class Fired:
    """What a function is called with when its timer goes off."""

    __slots__ = ("at", "timer")

    def __init__(self, at: datetime, timer: str = "timer") -> None:
        self.at = at
        """The time it was set to, in UTC."""
        self.timer = timer
        """The name of the parameter that holds the timer."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fired) and (self.at, self.timer) == (other.at, other.timer)

    def __hash__(self) -> int:
        return hash((self.at, self.timer))

    def __repr__(self) -> str:
        return f"Fired(at={self.at!r}, timer={self.timer!r})"
