"""What a run did, step by step, as it was appended; and what may be said of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import polars as pl
import pyarrow as pa

from headwater.connectors.runlog import FolderLog
from headwater.flows.engine.image import Image
from headwater.flows.engine.record import Record, body_of, entry_of
from headwater.flows.journal.entry import Entry, encode_entry

from .ends import Client, Outside

__all__ = ["History", "Recorded", "Replayed", "Violation"]


class Violation(AssertionError):
    """The run is not what was promised."""


class History:
    """The steps of a run, by their numbers, beside the journal; it knows nothing of files."""

    def __init__(self) -> None:
        self.steps: list[Record] = []
        self.promised = 0
        """How many steps nothing may take away any more."""
        self.next: Record | None = None
        """A step that was being appended when the machine died."""
        self.crashed = False
        """Whether the machine has died since it was last looked at, and not only the process."""

    def recovered(self, first: int, found: list[Record]) -> None:
        """Hold what a journal has from step `first` on against what it should have."""
        must = self.promised if self.crashed else len(self.steps)
        there = [*self.steps, *([] if self.next is None else [self.next])]
        end = first + len(found)
        if end < must:
            raise Violation(f"{must} steps were promised, {end} are there")
        if end > len(there):
            raise Violation(f"{end} steps are there, {len(there)} were done")
        for number, record in enumerate(found, first):
            if _bytes_of(record) != _bytes_of(there[number]):
                raise Violation(f"step {number} is another: {record}, not {there[number]}")
        self.steps, self.next = there[:end], None
        self.promised, self.crashed = end, False

    def check(self, outside: Outside, channels: Mapping[int, str]) -> None:
        """Raise unless each item of a tape, and of what was kept for a client, is in it once."""
        items: dict[int, int] = {}
        ended: set[int] = set()
        posts: list[tuple[int, int]] = []
        now = 0
        for record in self.steps:
            if record.now < now:
                raise Violation("time ran backwards")
            now, taken = record.now, record.taken
            if taken is None:
                continue
            if taken.channel in ended:
                raise Violation(f"{channels[taken.channel]} has ended twice")
            if taken.ended:
                ended.add(taken.channel)
                continue
            if taken.first != items.get(taken.channel, 0):
                raise Violation(f"{channels[taken.channel]}: {taken} after {items}")
            items[taken.channel] = taken.first + taken.items
            if record.chunk is not None:
                posts += record.chunk.rows.select("id", "attempt").rows()
                for dead in record.chunk.dead:
                    one, attempt = dead.raw.split()
                    posts.append((int(one), int(attempt)))
        for channel, name in channels.items():
            if name in outside.tapes and items.get(channel, 0) != len(outside.tapes[name].items):
                raise Violation(f"{name}: {items.get(channel, 0)} items were read")
            if channel not in ended:
                raise Violation(f"{name} has not ended")
        if outside.client is not None:
            _check_posts(outside.client, posts)


def _check_posts(client: Client, posts: list[tuple[int, int]]) -> None:
    if len(posts) != len(set(posts)):
        raise Violation("a post was taken twice")
    if lost := client.acknowledged - set(posts):
        raise Violation(f"acknowledged and lost: {sorted(lost)}")
    if more := set(posts) - client.sent:
        raise Violation(f"never sent: {sorted(more)}")
    if {one for one, _ in client.acknowledged} != set(range(client.count)):
        raise Violation("not every post was acknowledged")


def _bytes_of(record: Record) -> tuple[bytes, pa.RecordBatch | None]:
    return encode_entry(Entry(0, 0, bytes(16), 0, 0, entry_of(record))), body_of(record)


class Recorded:
    """A log of a run that keeps its history."""

    def __init__(self, log: FolderLog, history: History) -> None:
        self._log, self._history = log, history

    @property
    def image(self) -> Image | None:
        return self._log.image

    def records(self, schemas: Mapping[int, pl.Schema]) -> Iterator[Record]:
        found = list(self._log.records(schemas))
        first = 0 if self._log.image is None else self._log.image.step
        self._history.recovered(first, found)
        return iter(found)

    @property
    def following(self) -> int:
        return self._log.following

    @property
    def committed(self) -> int:
        return self._log.committed

    def append(self, record: Record) -> None:
        history = self._history
        if self._log.following != len(history.steps):
            raise Violation(f"step {len(history.steps)} is to be {self._log.following}")
        history.next = record
        self._log.append(record)
        history.steps.append(record)
        history.next = None
        self._promise()

    def sync(self) -> None:
        self._log.sync()
        self._promise()

    def due(self, now: int) -> bool:
        due = self._log.due(now)
        self._promise()
        return due

    def save(self, image: Image, *, needed: bool) -> None:
        # How long the operators took is not of this world.
        counts = {name: {**found, "seconds": 0.0} for name, found in image.counts.items()}
        self._log.save(replace(image, counts=counts), needed=needed)
        self._promise()

    def wait(self) -> None:
        self._log.wait()

    def close(self) -> None:
        self._log.close()

    def _promise(self) -> None:
        self._history.promised = max(self._history.promised, self._log.committed)


class Replayed:
    """A log that has a history to do again, and takes nothing."""

    image = None

    def __init__(self, steps: list[Record]) -> None:
        self._steps = steps
        self.following = self.committed = len(steps)

    def records(self, schemas: Mapping[int, pl.Schema]) -> Iterator[Record]:
        return iter(self._steps)

    def append(self, record: Record) -> None:
        raise Violation(f"there is more to do: {record}")

    def sync(self) -> None:
        """It holds nothing."""

    def due(self, now: int) -> bool:
        return False

    def save(self, image: Image, *, needed: bool) -> None:
        """Nothing can happen to it."""

    def wait(self) -> None:
        raise Violation("there is room")

    def close(self) -> None:
        """It holds nothing."""
