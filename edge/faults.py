"""A flow under faults: replayed as a durable run that dies again and again, until it has ended.

Journal and images are on a disk in memory. In one of its operations the process dies, or the
machine with it, and what was not synced is lost, torn or there. The flow is loaded anew, as a new
process does, and goes on from what the disk holds. When it dies, and how, is in the seed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

import polars as pl

from ..connectors.recordings import Recording
from ..connectors.runlog import FolderLog
from ..flows.clock import ManualClock
from ..flows.connector import Chunk
from ..flows.engine.executor import Local
from ..flows.engine.image import Image
from ..flows.engine.options import Options
from ..flows.engine.record import Record
from ..flows.engine.replayer import Arrival, Given, Place, Replayer
from ..flows.engine.runner import Did
from ..flows.errors import HeadwaterError, RecordingError
from ..flows.graph import Graph, SourceSpec
from ..flows.journal.faulty import Crashed, MortalStorage
from ..flows.journal.records import SyncPolicy
from ..flows.journal.settings import JournalSettings
from .catching import with_sinks_caught
from .differences import LETTERS, row_json
from .replaying import Part, replay
from .taking import piece
from .testing.caught import Buried, Caught, unlike
from .testing.inline import Inline

__all__ = ["Faults", "Subject", "Trial"]

_STEPS: Final = 100
"""Into so many steps a recording is cut that has fewer: a run dies between them, and within."""
_SHOWN: Final = 3
"""Rows of a sink that differ, of which are shown."""
_LETTER: Final = ("operator", "reason", "raw")
_FLOW: Final = bytes(16)
"""Stands for the hash of the code, which does not change from one process to the next."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is put under faults."""

    load: Callable[[], tuple[Graph, Any]]
    """Loads the flow, and its settings, as a new process does."""
    recording: Recording
    part: Part = field(default_factory=Part)
    seed: int = 0
    """Of what is random in the flow."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of one seed."""

    seed: int
    deaths: int
    differences: tuple[str, ...]
    """From what comes without faults, in words; none if there are none."""


@dataclass(slots=True)
class _Outside:
    """What sinks and dead letters were given; it outlives the processes that give it."""

    sinks: dict[str, Caught] = field(default_factory=dict)
    """By node."""
    letters: Buried = field(default_factory=Buried)

    def tables(self) -> Mapping[str, pl.DataFrame]:
        letters = self.letters.rows
        told = letters.select(*_LETTER) if letters.height else letters
        return {**{name: caught.rows for name, caught in self.sinks.items()}, LETTERS: told}


class Faults:
    """A flow and a recording, of which seed after seed can be tried.

    Raises what a replay raises, `RecordingError` if there is more to read than what sources gave
    when they were recorded, and `FlowError` if the flow has a state that no run can keep.
    """

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._rows = _piece_of(subject.recording)
        self._expected = _Outside()
        life = _Life(subject, self._rows, self._expected)
        life.work()
        life.close()
        calm = _Run(subject, self._rows, random.Random(0), reach=None)
        calm.life()
        self.operations = calm.disk.operations
        """Of the disk, in a durable run without faults."""
        self.unsteady = tuple(_differences(self._expected, calm.outside))
        """How two replays without faults differ from each other, in words."""

    @property
    def rows(self) -> int:
        """How many rows and dead letters come without faults."""
        return sum(table.height for table in self._expected.tables().values())

    def tried(self, seed: int) -> Trial:
        """Let the run die, as `seed` has it, until it has ended; say what is different."""
        run = _Run(self._subject, self._rows, random.Random(seed), reach=self.operations)
        try:
            while not run.life():
                run.deaths += 1
        except Exception as error:  # functions of the user run within
            kind = "" if isinstance(error, HeadwaterError) else f"{type(error).__name__}: "
            return Trial(seed, run.deaths, (f"the run fails: {kind}{error}",))
        return Trial(seed, run.deaths, tuple(_differences(self._expected, run.outside)))


class _Run:
    """One durable run, and the disk on which it is."""

    def __init__(
        self, subject: Subject, rows: int | None, chance: random.Random, *, reach: int | None
    ) -> None:
        self._subject = subject
        self._rows = rows
        self._chance = chance
        machine = chance.random() < 0.5
        self._machine = machine
        sync: SyncPolicy = "always" if machine else chance.choice(("always", "interval", "never"))
        segment = chance.choice((4_000, 64_000, 1_000_000))
        self._settings = JournalSettings(sync=sync, segment_bytes=segment)
        self._sparse = chance.choice((1, 1, 3, 10))
        """Of so many steps, one is followed by an image."""
        self._lives = 0 if reach is None else chance.randint(1, 6)
        self._reach = chance.choice((20, 100, max(2, (reach or 0) // 2)))
        self._logged: list[int] = []
        self.disk = MortalStorage(chance.randrange(1 << 32))
        self.outside = _Outside()
        self.deaths = 0

    def life(self) -> bool:
        """Begin the run, or go on with it; return whether it has ended, and not died."""
        disk, chance = self.disk, self._chance
        dies = self.deaths < self._lives
        disk.crash_at = disk.operations + chance.randint(1, self._reach) if dies else None
        life = None
        try:
            life = _Life(self._subject, self._rows, self.outside, self._log_of)
            life.work()
        except Crashed:
            if self._machine and chance.random() < 0.7:
                disk.crash()
            else:
                disk.kill()
            return False
        finally:
            if life is not None:
                life.close()
        return True

    def _log_of(self, clock: ManualClock, course: _Course) -> _Log:
        log = FolderLog(
            self.disk, clock, _FLOW, settings=self._settings, every=1 << 62, wait=_never,
            notice=lambda text: None, executor=Inline(),
        )  # fmt: skip
        return _Log(log, course, self._logged, self._sparse)


class _Life:
    """One process: it replays what is not done yet."""

    def __init__(
        self,
        subject: Subject,
        rows: int | None,
        outside: _Outside,
        log_of: Callable[[ManualClock, _Course], _Log] | None = None,
    ) -> None:
        graph, settings = subject.load()
        found = replay(graph, subject.recording, replace(subject.part, speed=None, rounds=1))
        live = [node.id for node in found.graph.sources() if node.id not in found.fed]
        if any(isinstance(graph.node(name).spec, SourceSpec) for name in live):
            raise RecordingError(
                f"{subject.recording.folder}: has nothing of {', '.join(live)}; a flow is put "
                f"under faults with all of its sources recorded"
            )
        for node in found.graph.sinks():
            outside.sinks.setdefault(node.id, Caught())
        self._course = _Course(found.arrivals, rows, list(_places(found.graph)))
        caught = with_sinks_caught(found.graph, outside.sinks)
        options = Options(seed=subject.seed, settings=settings)
        clock = ManualClock()
        self._log = None if log_of is None else log_of(clock, self._course)
        self._executor = Local(caught, options)
        self.runner = Replayer(
            caught, clock, options, outside.letters.bury, self._executor,
            arrivals=self._course.steps(), fed=found.fed, log=self._log, letters=outside.letters,
        )  # fmt: skip

    def work(self) -> None:
        """Replay to the end; raises what a run raises, and `Crashed`."""
        runner = self.runner
        runner.begin()
        if self._log is not None:
            self._log.go_on()
        while runner.step() is not Did.END:
            pass
        runner.finish()

    def close(self) -> None:
        """Let go of the operators; what is on the disk stays as it is."""
        with suppress(Exception):  # of a process that is dead
            self._executor.close()


class _Course:
    """What is replayed: pieces of `rows` at the most, and the end of every partition."""

    def __init__(
        self, arrivals: Iterator[Arrival | None], rows: int | None, places: Sequence[Place]
    ) -> None:
        self._arrivals = arrivals
        self._rows = rows
        self._open = dict.fromkeys(places)
        self.start = 0
        """The number of the first piece that is not done yet."""
        self.at = -1
        """The number of the piece that was given last."""

    def steps(self) -> Iterator[Arrival | None]:
        """Yield what is to be done, after a moment in which the run finds out where it is."""
        yield None
        for at, arrival in enumerate(self._whole()):
            self.at = at
            if at >= self.start:
                yield arrival

    def _whole(self) -> Iterator[Arrival]:
        now = 0
        for arrival in self._arrivals:
            if arrival is None:
                continue
            now = arrival.now
            if arrival.place is not None and arrival.content is None:
                self._open.pop(arrival.place, None)
            yield from self._pieces(arrival)
        for place in self._open:  # it was not read to its end
            yield Arrival(now, place)

    def _pieces(self, arrival: Arrival) -> Iterator[Arrival]:
        content = arrival.content
        if isinstance(content, Given):
            raise RecordingError(
                "what left an operator cannot be put under faults: record the sources, which "
                "`headwater record` does without --at"
            )
        if not isinstance(content, Chunk):
            yield arrival
            return
        height = content.rows.height
        if not height and not content.dead:
            yield replace(arrival, place=None, content=None)
            return
        rows = self._rows or height
        yield from (
            piece(arrival, first, min(first + rows, height), height)
            for first in range(0, max(height, 1), max(rows, 1))
        )


class _Log:
    """The log of a run that knows which piece of its course each record is of.

    `logged` has the number of the piece for each record; it outlives the process.
    """

    def __init__(self, log: FolderLog, course: _Course, logged: list[int], sparse: int) -> None:
        self._log, self._course, self._logged, self._sparse = log, course, logged, sparse
        self._saved = log.following

    def go_on(self) -> None:
        """Let the course begin with what no record is of."""
        done = self._log.following
        self._course.start = self._logged[done - 1] + 1 if done else 0

    @property
    def image(self) -> Image | None:
        return self._log.image

    @property
    def following(self) -> int:
        return self._log.following

    @property
    def committed(self) -> int:
        return self._log.committed

    def records(self, schemas: Mapping[int, pl.Schema]) -> Iterator[Record]:
        return self._log.records(schemas)

    def append(self, record: Record) -> None:
        self._logged[self._log.following :] = [self._course.at]
        self._log.append(record)

    def sync(self) -> None:
        self._log.sync()

    def due(self, now: int) -> bool:
        self._log.due(now)
        return self._log.following >= self._saved + self._sparse

    def save(self, image: Image, *, needed: bool) -> None:
        self._saved = self._log.following
        self._log.save(image, needed=needed)

    def wait(self) -> None:
        self._log.wait()

    def close(self) -> None:
        self._log.close()


def _never() -> None:
    raise AssertionError("a storage in memory is not full")


def _places(graph: Graph) -> Iterator[Place]:
    """Yield the partitions of a graph that is fed."""
    for node in graph.sources():
        assert isinstance(node.spec, SourceSpec)
        yield from ((node.id, name) for name in node.spec.make().partitions())


def _piece_of(recording: Recording) -> int | None:
    """Return how many rows a step is to have, None for as many as were recorded."""
    entries = rows = 0
    for step, _ in recording.entries():
        entries += 1
        rows += sum(found.last - found.first + 1 for found in step.ranges)
    return None if entries >= _STEPS else max(1, -(-rows // _STEPS))


def _differences(expected: _Outside, found: _Outside) -> Iterator[str]:
    there = found.tables()
    for name, before in expected.tables().items():
        after = there[name]
        place = unlike(before, after)
        if place is None:
            continue
        counts = f"{before.height:,} rows without faults, {after.height:,} with"
        yield f"{name}: {counts}; from row {place}:"
        for row in range(place, max(before.height, after.height))[:_SHOWN]:
            for sign, table in (("-", before), ("+", after)):
                if row < table.height:
                    yield f"  {sign} {row_json(table.row(row, named=True))}"
