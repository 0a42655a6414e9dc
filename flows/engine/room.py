"""What a run does when a place outside has no room, as on a full disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ..errors import NoRoomError

__all__ = ["Room"]

T = TypeVar("T")


class Room:
    """Does things that may find no room; if it can `wait`, it tries until there is.

    `notice` is told once that there is none, and once that there is again.
    """

    __slots__ = ("_notice", "_wait")

    def __init__(self, wait: Callable[[], None] | None, notice: Callable[[str], None]) -> None:
        self._wait = wait
        self._notice = notice

    def found(self, act: Callable[[], T]) -> T:
        """Return what `act` does; raises what it raises, and what `wait` does."""
        told = False
        while True:
            try:
                done = act()
            except NoRoomError as error:
                if self._wait is None:
                    raise
                if not told:
                    self._notice(f"{error}; it goes on when there is room")
                    told = True
                self._wait()
            else:
                if told:
                    self._notice("there is room again")
                return done
