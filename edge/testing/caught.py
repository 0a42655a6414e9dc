"""What a bench catches: rows where a sink stood or was put, and dead letters."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import polars as pl

from ...flows.connector import Sink, SinkContext, Writer
from ...flows.declaration import DeadLetter
from ...flows.rows import events_of

__all__ = ["Buried", "Catching", "Caught", "unlike"]


def unlike(before: pl.DataFrame, after: pl.DataFrame) -> int | None:
    """Return the first row in which two tables differ, None if they are the same."""
    if before.height == after.height and (not before.height or before.equals(after)):
        return None
    same, most = 0, min(before.height, after.height)
    while same < most:
        count = (most - same + 1) // 2
        if before.slice(same, count).equals(after.slice(same, count)):
            same += count
        else:
            most = same + count - 1
    return same


class Caught:
    """Rows in the order in which they came; it outlives the runs that write it.

    A run that goes on takes back what came after its image, and gives it again.
    """

    def __init__(self) -> None:
        self.taken_back: pl.DataFrame | None = None
        """What was there when rows were last taken back, for the ones that come in their place."""
        self._frames: list[pl.DataFrame] = []
        self._seen = 0

    def add(self, rows: pl.DataFrame) -> None:
        """Take rows."""
        self._frames.append(rows)

    def __len__(self) -> int:
        return sum(frame.height for frame in self._frames)

    @property
    def rows(self) -> pl.DataFrame:
        """Everything that came."""
        if not self._frames:
            return pl.DataFrame()
        if len(self._frames) > 1:
            self._frames = [pl.concat(self._frames)]
        return self._frames[0]

    @property
    def unread(self) -> int:
        """How many rows no `read` has returned."""
        return max(0, len(self) - self._seen)

    def read(self) -> pl.DataFrame:
        """Return what came since it was last read."""
        rows = self.rows.slice(self._seen)
        self._seen = max(len(self), self._seen)
        return rows

    def rewind(self, count: int) -> None:
        """Forget all rows but the first so many."""
        if count < len(self):
            if self.taken_back is None:
                self.taken_back = self.rows
            self._frames = [self.rows.head(count)]

    def differing(self) -> tuple[int, pl.DataFrame, pl.DataFrame] | None:
        """Return where what came differs from what was taken back, with both rows.

        What differs counts as not read.
        """
        before, self.taken_back = self.taken_back, None
        if before is None or not before.height:
            return None
        after = self.rows.head(before.height)
        place = unlike(before, after)
        if place is None:
            return None
        self._seen = min(place, self._seen)
        return place, before.slice(place, 1), after.slice(place, 1)


@dataclass(frozen=True, slots=True)
class Catching(Sink):
    """A sink that keeps what is written where the test can see it, exactly once."""

    upsert: ClassVar[bool] = True
    resumes: ClassVar[bool] = True
    caught: Caught = field(repr=False)

    def open(self, context: SinkContext) -> Writer:
        return self.resume(context, None)

    def resume(self, context: SinkContext, position: bytes | None) -> Writer:
        self.caught.rewind(int(position or 0))
        return _CatchingWriter(self.caught)


class _CatchingWriter(Writer):
    def __init__(self, caught: Caught) -> None:
        self._caught = caught

    def write(self, rows: pl.DataFrame) -> None:
        if rows.height:
            self._caught.add(rows)

    def position(self) -> bytes | None:
        return b"%d" % len(self._caught)

    def suspend(self) -> None:
        """It stays as it is."""

    def close(self) -> None:
        """It is complete."""

    def abort(self) -> None:
        """What was caught may be looked at after a failure too."""


class Buried:
    """The dead letters that no operator of the flow reads; implements `Letters`."""

    def __init__(self) -> None:
        self._caught = Caught()
        self._seen: dict[str, int] = {}

    def bury(self, letters: pl.DataFrame) -> None:
        self._caught.add(letters)

    def position(self) -> bytes:
        return b"%d" % len(self._caught)

    def rewind(self, position: bytes | None) -> None:
        self._caught.rewind(int(position or 0))

    @property
    def rows(self) -> pl.DataFrame:
        """Every letter that came."""
        return self._caught.rows

    def unread(self, operator: str | None = None) -> list[DeadLetter]:
        """Return the letters of one operator, or of all, that were not taken yet."""
        letters = events_of(self.rows, DeadLetter) if len(self._caught) else []
        return [
            letter
            for place, letter in enumerate(letters)
            if operator in (None, letter.operator) and place >= self._seen.get(letter.operator, 0)
        ]

    def read(self, operator: str | None = None) -> list[DeadLetter]:
        """Return the letters of one operator, or of all, since it was last asked for them."""
        letters = self.unread(operator)
        for name in {letter.operator for letter in letters}:
            self._seen[name] = max(len(self._caught), self._seen.get(name, 0))
        return letters
