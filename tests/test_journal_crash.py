"""A journal on a faulty disk, against a list: a workload from a seed, crashes, and what is left.

The model knows nothing of segments, frames or recovery. It keeps what was appended, how much of it
was promised, and what was acknowledged.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pytest

from headwater.connectors import journaltail
from headwater.connectors.journal import (
    JournalReader,
    JournalSettings,
    JournalWriter,
    Written,
    open_journal,
)
from headwater.connectors.journalnotes import readers
from headwater.flows.journal.commit import GroupCommit
from headwater.flows.journal.entry import Range, Step, StepKind
from headwater.flows.journal.errors import FullError, JournalError, LossError
from headwater.flows.journal.faulty import Crashed, FaultyStorage
from headwater.flows.journal.records import SyncPolicy

SEEDS = 1000
STEPS = 30
FLOW = bytes(range(16))
OPENING = -1
"""What the model takes the opening of an epoch for."""


class Violation(AssertionError):
    """The journal is not what was promised."""


@lru_cache(maxsize=256)
def rows_of(count: int, value: int) -> pa.RecordBatch:
    return pa.record_batch({"value": pa.array([value] * count, pa.int64())})


class Model:
    """The journal as a list."""

    def __init__(self) -> None:
        self.log: list[int] = []
        self.promised = 0
        self.maybe: list[int] = []
        self.known = (-1, -1)
        self.maybe_known: list[tuple[int, int]] = []

    def check(self, first: int, found: list[int], known: tuple[int, int], *, killed: bool) -> None:
        """Hold what is there from sequence `first` on against what has to be; take it over."""
        must = len(self.log) if killed else self.promised
        end = first + len(found)
        if end < must:
            raise Violation(f"{must} were promised, {end} are there")
        there = [*self.log, *self.maybe]
        kept = end
        while kept > first and found[: kept - first] != there[first:kept]:
            if found[kept - first - 1] != OPENING:
                raise Violation(f"there is {found} from {first} on, and should be {there[first:]}")
            kept -= 1
        if first > max(durable for _, durable in (self.known, *self.maybe_known)) + 1:
            raise Violation(f"the journal begins with {first}, and {self.known} was acknowledged")
        if known not in (self.known, *self.maybe_known):
            raise Violation(f"{self.known} was acknowledged, {known} is there")
        self.log = there[:kept] + [OPENING] * (end - kept)
        self.promised, self.maybe = end, []
        self.known, self.maybe_known = known, []


class SlowDisk(FaultyStorage):
    """A sync covers what there was when it began: `sizes` by name, while one is under way."""

    sizes: dict[str, int] | None = None

    def sync(self, name: str) -> None:
        super().sync(name)
        if self.sizes is not None:
            file = self._file(name)
            file.durable = file.durable[: self.sizes[name]]
            file.lowest = len(file.durable)


class Later(Executor):
    """Runs on a `SlowDisk` what it is given, sooner or later: when it is asked whether it has."""

    def __init__(self, storage: SlowDisk) -> None:
        self.storage = storage

    def submit(self, sync: Callable[..., Any], /, *_: Any, **__: Any) -> Future[Any]:
        sizes = {name: self.storage.size(name) for name in self.storage.names()}
        return UnderWay(self.storage, sync, sizes)


class UnderWay(Future[None]):
    """A sync that is under way."""

    def __init__(self, storage: SlowDisk, sync: Callable[[], None], sizes: dict[str, int]) -> None:
        super().__init__()
        self.storage, self.run, self.sizes = storage, sync, sizes

    def done(self) -> bool:
        return self.storage.random.random() < 0.3

    def exception(self, timeout: float | None = None) -> BaseException | None:
        self.storage.sizes = self.sizes
        try:
            self.run()
        except OSError as error:
            return error
        finally:
            self.storage.sizes = None
        return None


class Run:
    """One seed: a storage, a journal that is opened again and again, and the model.

    With `machine` the whole machine may die; what is promised then, is what is durable or, with
    `always`, committed.
    """

    def __init__(
        self,
        seed: int,
        made: Callable[..., FaultyStorage],
        *,
        errors: bool,
        sync: SyncPolicy = "always",
        machine: bool = True,
    ) -> None:
        rng = self.random = random.Random(seed)
        self.storage = made(
            seed,
            append_errors=0.02 if errors else 0.0,
            sync_errors=rng.choice((0.0, 0.1)) if errors else 0.0,
            capacity=rng.choice((1 << 30, 15_000)) if errors else 1 << 30,
        )
        self.executor = Later(self.storage) if isinstance(self.storage, SlowDisk) else None
        self.machine = machine
        self.settings = JournalSettings(
            sync=sync,
            segment_bytes=rng.choice((1500, 4000)),
            compression=rng.choice((None, None, "lz4")),
            chain=rng.random() < 0.3,
        )
        self.model = Model()
        self.now = self.epoch = self.value = 0
        self.writer: JournalWriter | None = None

    def run(self) -> None:
        """Work and die, in turn; raises `Violation`."""
        killed = True  # and not crashed since the journal was last looked at
        for _ in range(self.random.randint(2, 4)):
            work = self.random.randint(5, 120)
            self.storage.crash_at = self.storage.operations + work
            try:
                if self.open(killed=killed):
                    killed = True
                    self.work()
            except Crashed:
                pass
            if not self.machine or self.random.random() < 0.3:
                self.storage.kill()
            else:
                self.storage.crash()
                killed = False
        self.storage.crash_at = None
        self.storage.append_errors = self.storage.sync_errors = 0.0
        self.storage.capacity = 1 << 40
        if not self.open(killed=killed):
            raise Violation("a journal on a sound disk does not open")

    def open(self, *, killed: bool) -> bool:
        """Recover and compare; False if the disk did not let it."""
        self.epoch += self.random.random() < 0.2
        try:
            self.writer = open_journal(
                self.storage, epoch=self.epoch, flow=FLOW, now=self.now, settings=self.settings,
                entropy=self.random.randbytes, executor=self.executor,
            )  # fmt: skip
        except (OSError, FullError):
            return False
        except JournalError as error:
            if self.storage.sync_errors or self.storage.append_errors:
                if not isinstance(error, LossError) and "disk failed" in str(error):
                    return False
                if "cannot be begun" in str(error):
                    return False
            raise Violation(f"the journal does not open: {error}") from error
        reader = readers(self.storage).get("r")
        known = (reader.applied, reader.durable) if reader else (-1, -1)
        try:
            first, found = self.content(self.writer)
        except JournalError as error:
            raise Violation(f"the journal cannot be read: {error}") from error
        self.model.check(first, found, known, killed=killed)
        return True

    def content(self, writer: JournalWriter) -> tuple[int, list[int]]:
        """All that the journal has: from which sequence on, and what."""
        first = writer.beginning
        found: list[int] = []
        reader = JournalReader(self.storage, first, committed=lambda: writer.committed)
        while records := reader.read():
            for record in records:
                assert isinstance(record, Written)
                if record.entry.sequence != first + len(found):
                    raise Violation(f"entry {record.entry.sequence} stands at {first + len(found)}")
                found.append(_value(record))
        return first, found

    def work(self) -> None:
        """Do what the seed says, until it is enough."""
        writer, rng, model = self.writer, self.random, self.model
        assert writer is not None
        for _ in range(rng.randint(1, STEPS)):
            self.now += rng.randint(0, 50_000)
            choice = rng.random()
            try:
                if choice < 0.65:
                    self.append(writer)
                elif choice < 0.85:
                    writer.sync(self.now)
                elif choice < 0.95 and model.promised:
                    self.acknowledge(writer)
                else:
                    writer.tick(self.now)
            except FullError:
                if model.promised:
                    with suppress(OSError, FullError):
                        self.acknowledge(writer)
                        writer.trim()
            except (OSError, JournalError) as error:
                if not (self.storage.sync_errors or self.storage.append_errors):
                    raise Violation(f"on a sound disk: {error}") from error
            sees_unsynced = self.machine and self.settings.sync != "always"
            safe = writer.durable if sees_unsynced else writer.committed
            model.promised = max(model.promised, safe)
            if model.promised > len(model.log):
                raise Violation("more is committed than was appended")

    def append(self, writer: JournalWriter) -> None:
        self.value += 1
        self.model.maybe = [self.value]
        step = Step(ranges=(Range(0, self.value, self.value),), clock=self.now)
        batch = rows_of(self.random.choice((1, 1, 1, 60)), self.value)
        try:
            sequence = writer.append(step, batch)
        except FullError:
            self.model.maybe = []
            raise
        if sequence != len(self.model.log):
            raise Violation(f"{sequence} was given where {len(self.model.log)} was due")
        self.model.log.append(self.value)
        self.model.maybe = []

    def acknowledge(self, writer: JournalWriter) -> None:
        model = self.model
        applied = self.random.randint(max(model.known[0], 0), model.promised - 1)
        durable = self.random.randint(model.known[1], applied)
        model.maybe_known.append((applied, durable))
        writer.acknowledge("r", applied, durable)
        model.known, model.maybe_known = (applied, durable), []


def _value(record: Written) -> int:
    if record.entry.step.kind is StepKind.OPEN:
        return OPENING
    batch = record.batch()
    assert batch is not None
    values = set(batch.column(0).to_pylist())
    if values != {record.entry.step.ranges[0].first}:
        raise Violation(f"rows of another entry: {values}")
    return int(values.pop())


def broken_seed(
    made: Callable[..., FaultyStorage], seeds: int, *, errors: bool, sync: SyncPolicy = "always"
) -> int | None:
    """The first seed that finds something wrong."""
    for seed in range(seeds):
        try:
            Run(seed, made, errors=errors, sync=sync).run()
        except Violation:
            return seed
    return None


@pytest.mark.parametrize("block", range(4))
def test_what_was_committed_is_there_exactly(block: int) -> None:
    for seed in range(block * SEEDS // 4, (block + 1) * SEEDS // 4):
        try:
            Run(seed, FaultyStorage, errors=seed % 2 == 1).run()
        except Violation as error:
            raise AssertionError(f"seed {seed}: {error}") from error


@pytest.mark.parametrize("block", range(2))
def test_what_is_durable_is_there_though_syncs_are_under_way(block: int) -> None:
    for seed in range(block * SEEDS // 2, (block + 1) * SEEDS // 2):
        try:
            Run(seed, SlowDisk, errors=seed % 2 == 1, sync="interval").run()
        except Violation as error:
            raise AssertionError(f"seed {seed}: {error}") from error


@pytest.mark.parametrize("sync", ["interval", "never"])
def test_the_death_of_a_process_costs_nothing(sync: SyncPolicy) -> None:
    for seed in range(SEEDS // 4):
        try:
            Run(seed, SlowDisk, errors=False, sync=sync, machine=False).run()
        except Violation as error:
            raise AssertionError(f"seed {seed}: {error}") from error


# The model has teeth


class SkipsSync(FaultyStorage):
    """Now and then a sync does nothing."""

    def sync(self, name: str) -> None:
        if self.random.random() < 0.05:
            return
        super().sync(name)


class ForgetsTheDirectory(FaultyStorage):
    """Names are never made durable."""

    def sync_directory(self) -> None:
        return


class RetriesSync(FaultyStorage):
    """A sync that failed is tried again, and believed."""

    def sync(self, name: str) -> None:
        try:
            super().sync(name)
        except OSError:
            super().sync(name)


class Early(GroupCommit[Any]):
    """An entry is acknowledged before it is synced."""

    @property
    def committed(self) -> int:
        return self.appended


class Whole(GroupCommit[Any]):
    """What was appended while a sync was under way is taken to be synced by it."""

    def sync_done(self) -> None:
        self.begun = self.appended
        super().sync_done()


class RetriesSlowly(SlowDisk):
    """A sync that failed while others appended is tried again, and believed."""

    def sync(self, name: str) -> None:
        try:
            super().sync(name)
        except OSError:
            super().sync(name)


@pytest.mark.parametrize(
    ("made", "errors"),
    [(SkipsSync, False), (ForgetsTheDirectory, False), (RetriesSync, True)],
    ids=["skips a sync", "forgets the directory", "retries a failed sync"],
)
def test_a_disk_that_is_used_wrongly_is_found(
    made: Callable[..., FaultyStorage], errors: bool
) -> None:
    assert broken_seed(made, SEEDS, errors=errors) is not None


def test_an_early_acknowledgement_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journaltail, "GroupCommit", Early)
    assert broken_seed(FaultyStorage, SEEDS, errors=False) is not None


def test_a_sync_that_is_taken_to_cover_what_came_later_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert broken_seed(RetriesSlowly, SEEDS, errors=True, sync="interval") is not None
    monkeypatch.setattr(journaltail, "GroupCommit", Whole)
    assert broken_seed(SlowDisk, SEEDS, errors=False, sync="interval") is not None
