"""A world from a seed: a machine that dies, a disk that fails, and one run that has to go on."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from typing import Any

from headwater.connectors.images import images_in
from headwater.connectors.runlog import FolderLog
from headwater.flows.clock import ManualClock
from headwater.flows.engine.options import Options
from headwater.flows.engine.progress import Progress
from headwater.flows.engine.runner import Did, Runner
from headwater.flows.errors import HeadwaterError, NoRoomError, RecoveryError
from headwater.flows.journal.errors import DamageError, LossError
from headwater.flows.journal.faulty import Crashed
from headwater.flows.journal.records import SyncPolicy
from headwater.flows.journal.settings import JournalSettings
from headwater.flows.schema import schema_of

from .disk import AtOnce, Disk, SimulatedClock
from .ends import Client, Letters, Outside
from .flows import Flow, Post, flows
from .given import tapes_of
from .history import History, Recorded, Replayed, Violation

__all__ = ["STEPS", "World", "simulate"]

STEPS = 150
"""Steps with faults, if not said otherwise; after them the run is left alone until its end."""
_BATCH = 16
_PATIENCE = 2000
_PLENTY = 1 << 40
_TOLD = (
    "the journal takes nothing",
    "the journal has room again",
    "no room for an image",
    "no image of the run",
    "the run has ended before",
    "there is room again",
)
"""How what may be said to a person begins."""
_NO_ROOM = ": there is no room; it goes on when there is room"
"""What is said of a sink, after its name."""

_stage: list[Outside] = []
"""The world that the flows are in."""


def _outside() -> Outside:
    return _stage[-1]


@cache
def _flows() -> tuple[Flow, ...]:
    return flows(_outside)


@dataclass(frozen=True)
class Nature:
    """What a seed makes of its world."""

    machine: bool
    """Whether the machine dies, and not only the process."""
    sync: SyncPolicy
    errors: bool
    full: bool
    lives: int
    reach: int
    """Operations of a life at the most."""
    batch_rows: int
    every: int
    segment_bytes: int
    sleepy: float
    wakeful: float
    """How often what sleeps is woken."""


def _nature(chance: random.Random) -> Nature:
    machine = chance.random() < 0.7
    return Nature(
        machine,
        "always" if machine else chance.choice(("always", "interval", "never")),
        errors=chance.random() < 0.25,
        full=chance.random() < 0.25,
        lives=chance.randint(1, 5),
        reach=chance.choice((30, 80, 200)),
        batch_rows=chance.choice((1, 5, _BATCH)),
        every=chance.choice((1, 20_000, 100_000, 1_000_000)),
        segment_bytes=chance.choice((1500, 4000, 20_000)),
        sleepy=chance.choice((0.0, 0.1, 0.3)),
        wakeful=chance.choice((0.5, 0.15)),
    )


class World:
    """One seed. `run` raises `Violation` if anything is not as it was promised."""

    def __init__(self, seed: int, steps: int = STEPS, *, disk: type[Disk] = Disk) -> None:
        chance = self.chance = random.Random(seed)
        self.flow = _flows()[seed % len(_flows())]
        self.nature = nature = _nature(chance)
        self.clock = SimulatedClock(chance)
        self.disk = disk(chance.randrange(1 << 32))
        data = chance.randrange(4)
        self.outside = Outside(self.disk, chance, tapes_of(self.flow, data))
        if self.flow.posts:
            schema = schema_of(Post).polars()
            self.outside.client = Client(chance.choice((5, 40)), schema)
        self.data = data
        self.history = History()
        self.steps, self.lives = steps, nature.lives
        self.deaths = self.stops = self.failures = 0
        self.progress: Progress | None = None
        self.channels: dict[int, str] = {}
        self.notices: list[str] = []
        self.code = self.code_before = bytes(16)
        """The hash of the flow's code, and what it was before it was edited."""
        self.edited = False
        """Whether no run has begun since."""
        self.over = False
        self.quiet = False
        """Whether nothing goes wrong any more."""

    def __str__(self) -> str:
        done = len(self.history.steps)
        return f"{self.deaths} deaths, {self.stops} stops, {self.failures} failures, {done} steps"

    def run(self) -> None:
        _stage.append(self.outside)
        try:
            while not self.over:
                self._live()
            self._judge()
        finally:
            _stage.pop()

    # A life

    def _live(self) -> None:
        """Begin the run, or go on with it, until it ends, is stopped, fails or dies."""
        self._fate()
        client, disk = self.outside.client, self.disk
        self.notices = []
        self.outside.asleep.clear()
        try:
            self._work()
        except Crashed:
            self.deaths += 1
            if self.nature.machine and self.chance.random() < 0.7:
                disk.crash()
                self.history.crashed = True
            else:
                disk.kill()
        if client is not None:
            client.disconnect()
        self._listen()
        self.clock.time += self.chance.choice((0, 1000, 3_000_000, -2_000_000))

    def _fate(self) -> None:
        nature, disk, chance = self.nature, self.disk, self.chance
        self.lives -= 1
        self.quiet = self.lives < 0 or self.steps <= 0
        errors = nature.errors and not self.quiet
        disk.append_errors = 0.01 if errors else 0.0
        disk.sync_errors = 0.05 if errors else 0.0
        if self.quiet or chance.random() < 0.5:
            disk.capacity = _PLENTY
        disk.crash_at = None if self.quiet else disk.operations + chance.randint(1, nature.reach)
        if not self.quiet and not self.edited and chance.random() < 0.1:
            self.code, self.code_before = chance.randbytes(16), self.code
            self.edited = True
        self.outside.sleepy = nature.sleepy

    def _work(self) -> None:
        nature = self.nature
        graph = self.flow.graph
        letters = Letters(self.disk)
        runner = None
        try:
            log = self._log()
            runner = Runner(
                graph, self.clock, Options(batch_rows=nature.batch_rows), letters.bury,
                log=Recorded(log, self.history), letters=letters,
                notice=self.notices.append,
            )  # fmt: skip
            if not self.quiet and self.chance.random() < 0.03:
                runner.stop()
            runner.begin()
            self.edited = False
            self._steps(runner)
            ended = runner._inputs.ended
            runner.finish()
            self.progress = runner.progress()
            client = self.outside.client
            if client is not None and client.answered < len(client.waiting):
                raise Violation("posts were taken and not answered when the run was stopped")
            runner.close()
            self.over = ended
        except HeadwaterError as error:
            if runner is not None:
                runner.abort(error)
            self._failed(error)
            if runner is not None:
                self._closed(runner)

    def _log(self) -> FolderLog:
        nature = self.nature
        return FolderLog(
            self.disk,
            self.clock,
            self.code,
            settings=JournalSettings(sync=nature.sync, segment_bytes=nature.segment_bytes),
            every=nature.every,
            wait=self._wait,
            notice=self.notices.append,
            executor=AtOnce(),
        )

    def _closed(self, runner: Runner) -> None:
        try:
            runner.close()
        except HeadwaterError as error:
            self._failed(error)

    def _failed(self, error: HeadwaterError) -> None:
        """Raise if a run may not fail so; it is begun anew then."""
        self.failures += 1
        if isinstance(error, RecoveryError) and "has changed since" in str(error) and self.edited:
            self.code, self.edited = self.code_before, False
            return
        stopped = isinstance(error, NoRoomError) and self.nature.full
        if not (stopped or self.nature.errors) or self.quiet or isinstance(error, DamageError):
            raise Violation(f"the run failed: {error}") from error
        if isinstance(error, LossError) and self.nature.sync != "never":
            raise Violation(f"the run failed: {error}") from error

    def _steps(self, runner: Runner) -> None:
        chance, idle = self.chance, 0
        self.channels = {c.number: c.partition for c in runner._inputs.channels()}
        while (did := runner.step()) is not Did.END:
            self.steps -= 1
            self._happen()
            idle = idle + 1 if did is Did.NOTHING else 0
            if idle:
                self.clock.time += chance.randint(0, 1_500_000)
                self._wake()
            if idle > _PATIENCE:
                raise Violation("the run hangs")
            if not self.quiet and self.chance.random() < 0.01:
                runner.stop()
                self.stops += 1

    def _happen(self) -> None:
        """Let the outside do something between two steps."""
        chance, client, disk = self.chance, self.outside.client, self.disk
        if client is not None and chance.random() < 0.5:
            client.post(chance.randint(0, 6))
        if chance.random() < 0.3:
            self._wake()
        if self.quiet:
            disk.capacity = _PLENTY
        elif self.nature.full and chance.random() < 0.05:
            disk.capacity = disk.used + chance.choice((0, 100, 1000, 5000))
        elif chance.random() < 0.3:
            disk.capacity = _PLENTY
        if not self.quiet and chance.random() < 0.003:
            disk.die()

    def _wake(self) -> None:
        asleep = self.outside.asleep
        for wake in list(asleep):
            if self.chance.random() < self.nature.wakeful:
                asleep.remove(wake)
                wake()

    def _wait(self) -> None:
        """The disk is full."""
        self.clock.time += 200_000
        if not self.nature.full:
            raise Violation("the disk is not full")
        self.steps -= 1
        if self.steps <= 0 or self.chance.random() < 0.3:
            self.disk.capacity = _PLENTY
        elif self.chance.random() < 0.05:
            self.disk.die()
        elif self.chance.random() < 0.05:
            raise NoRoomError("stopped while it waited for room")

    def _listen(self) -> None:
        """Check what was said to a person in a life: once that there is no room, and once not."""
        odd = [t for t in self.notices if not t.startswith(_TOLD) and not t.endswith(_NO_ROOM)]
        if odd:
            raise Violation(f"it was said: {odd}")
        full = [text.startswith(_TOLD[0]) for text in self.notices if text.startswith(_TOLD[:2])]
        sinks = [t.endswith(_NO_ROOM) for t in self.notices if t.endswith((_NO_ROOM, _TOLD[-1]))]
        every_other = [number % 2 == 0 for number in range(max(len(full), len(sinks)))]
        if full != every_other[: len(full)] or sinks != every_other[: len(sinks)]:
            raise Violation(f"it was said more than once: {self.notices}")

    # What came of it

    def _judge(self) -> None:
        """Hold what is there against one undisturbed run of the same steps."""
        self.history.check(self.outside, self.channels)
        expected, heard, progress = self._replayed()
        found = left_on(self.disk)
        if expected != found:
            raise Violation(f"the sinks differ: {_difference(expected, found)}")
        if {*heard} != {*self.outside.heard}:
            odd = {*heard} ^ {*self.outside.heard}
            raise Violation(f"the bell differs: {sorted(odd)}")
        assert self.progress is not None
        if counted(progress) != counted(self.progress):
            raise Violation(f"it counted {counted(self.progress)}, not {counted(progress)}")
        if self.flow.timed:
            undisturbed = dict(_undisturbed(self.flow, self.data))
            for name in ("letters.out", *(f"{sink}.done" for sink in self.flow.unordered)):
                undisturbed[name], found[name] = (
                    b"".join(sorted(lines[name].splitlines(True))) for lines in (undisturbed, found)
                )
            if undisturbed != found:
                raise Violation(f"the run changed: {_difference(undisturbed, found)}")
        # The last image may have been written just before a death.
        if not self.nature.errors and len(images_in(self.disk)) > 3:
            raise Violation("images are left behind")

    def _replayed(self) -> tuple[dict[str, bytes], list[str], Progress]:
        """Do every step again, from the first, on a machine that nothing happens to."""
        disk = Disk(0)
        outside = Outside(disk, None, self.outside.tapes, Client(0, schema_of(Post).polars()))
        _stage.append(outside)
        letters, notices = Letters(disk), list[str]()
        try:
            runner = Runner(
                self.flow.graph, ManualClock(), Options(batch_rows=_BATCH), letters.bury,
                log=Replayed(self.history.steps), letters=letters, notice=notices.append,
            )  # fmt: skip
            progress = runner.run()
        finally:
            _stage.pop()
        if notices:
            raise Violation(f"it was said: {notices}")
        return left_on(disk), outside.heard, progress


def counted(progress: Progress) -> dict[str, Any]:
    """Return the counts that do not depend on how the rows were cut."""
    nodes = {
        name: (found.rows_in, found.rows_out, found.late, found.dead)
        for name, found in progress.counts.items()
    }
    return {"nodes": nodes, "sinks": dict(progress.sinks), "dead": progress.dead}


def left_on(disk: Disk) -> dict[str, bytes]:
    """Return the files that sinks and dead letters have left."""
    names = [name for name in disk.names() if name.endswith((".out", ".done"))]
    return {name: bytes(disk.read(name, 0)) for name in names}


@cache
def _undisturbed(flow: Flow, data: int) -> dict[str, bytes]:
    """Return what a run leaves that keeps no journal."""
    disk = Disk(0)
    letters = Letters(disk)
    letters.rewind(None)
    _stage.append(Outside(disk, None, tapes_of(flow, data)))
    try:
        Runner(flow.graph, ManualClock(), Options(batch_rows=_BATCH), letters.bury).run()
    finally:
        _stage.pop()
    return left_on(disk)


def _difference(expected: dict[str, bytes], found: dict[str, bytes]) -> str:
    for name in sorted({*expected, *found}):
        before, after = expected.get(name), found.get(name)
        if before is None or after is None:
            return f"{name} is {'missing' if after is None else 'there'}"
        if before != after:
            lines = zip(before.splitlines(), after.splitlines(), strict=False)
            number, pair = next(
                ((n, pair) for n, pair in enumerate(lines) if pair[0] != pair[1]),
                (min(before.count(b"\n"), after.count(b"\n")), ("the end of", "one of them")),
            )
            return f"{name}, line {number}: {pair[0]!r}, not {pair[1]!r}"
    return "nothing"


def simulate(seed: int, steps: int = STEPS) -> World:
    """Live through a world, and return it; raises `Violation`."""
    world = World(seed, steps)
    world.run()
    return world
