"""What is made of an event class once, and kept with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

__all__ = ["once_per_class"]

T = TypeVar("T")


class _Remembering(Protocol):
    """A class that has a memo of its own."""

    __event_memo__: dict[Any, Any]


C = TypeVar("C", bound=_Remembering)


def once_per_class(build: Callable[[C], T]) -> Callable[[C], T]:
    """Keep what `build` makes of an event class for as long as the class lives."""

    def kept(cls: C) -> T:
        memo = cls.__event_memo__
        if build not in memo:
            memo[build] = build(cls)
        found: T = memo[build]
        return found

    kept.__doc__, kept.__name__ = build.__doc__, build.__name__
    return kept
