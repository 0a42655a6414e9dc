"""The disk and the clock of a simulated machine."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from headwater.flows.journal.faulty import Crashed, FaultyStorage

__all__ = ["AtOnce", "Disk", "SimulatedClock"]


class Disk(FaultyStorage):
    """Once the machine is dead, every operation raises `Crashed`, until `crash` or `kill`."""

    dead = False

    def check(self) -> None:
        """Raise `Crashed` if the machine is dead."""
        if self.dead:
            raise Crashed

    def die(self) -> None:
        """Let the machine die now."""
        self.dead = True
        raise Crashed

    def crash(self) -> None:
        self.dead = False
        super().crash()

    def kill(self) -> None:
        self.dead = False
        super().kill()

    @property
    def used(self) -> int:
        """Bytes of all files."""
        return sum(self.size(name) for name in self.names())

    def _step(self) -> bool:
        self.check()
        self.dead = super()._step()
        return self.dead


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
