"""The disk and the clock of a simulated machine."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from typing import Any

from headwater.flows.errors import NoRoomError
from headwater.flows.journal.faulty import Crashed, MortalStorage
from headwater.flows.journal.storage import FULL

__all__ = ["AtOnce", "Disk", "SimulatedClock", "append"]


class Disk(MortalStorage):
    """A disk of a machine that others may let die, too."""

    def check(self) -> None:
        """Raise `Crashed` if the machine is dead."""
        if self.dead:
            raise Crashed

    def die(self) -> None:
        """Let the machine die now."""
        self.dead = True
        raise Crashed

    @property
    def used(self) -> int:
        """Bytes of all files."""
        return sum(self.size(name) for name in self.names())


def append(disk: Disk, name: str, data: Sequence[bytes]) -> None:
    """Append to a file; on a full disk, raises `NoRoomError` and leaves nothing of it."""
    size = disk.size(name)
    try:
        disk.append(name, data)
    except OSError as error:
        if error.errno not in FULL:
            raise
        disk.truncate(name, size)
        raise NoRoomError(f"{name}: there is no room") from error


class SimulatedClock:
    """Moves on by some µs whenever it is looked at, and otherwise as the world says."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.time = 1_767_225_600_000_000

    def now(self) -> int:
        self.time += self._chance.randint(0, 2000)
        return self.time


class AtOnce(Executor):
    """Runs what it is given at once."""

    def submit(self, call: Callable[..., Any], /, *given: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(call(*given, **named))
        except OSError as error:
            future.set_exception(error)
        return future
