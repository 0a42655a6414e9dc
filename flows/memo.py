"""What is made of an event class once, and kept with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from .event import Event

__all__ = ["once_per_class"]

T = TypeVar("T")


def once_per_class(build: Callable[[type[Event]], T]) -> Callable[[type[Event]], T]:
    """Keep what `build` makes of an event class for as long as the class lives."""

    def kept(cls: type[Event]) -> T:
        memo = cls.__event_memo__
        if build not in memo:
            memo[build] = build(cls)
        found: T = memo[build]
        return found

    kept.__doc__, kept.__name__ = build.__doc__, build.__name__
    return kept
