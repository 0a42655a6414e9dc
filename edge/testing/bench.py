"""A bench: one flow under test, fed by hand, in one process and in virtual time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Final, TypeAlias

import polars as pl

from ...flows.batch import DELETED, END, START
from ...flows.clock import ManualClock
from ...flows.declaration import DeadLetter, Operator
from ...flows.durations import Duration, microseconds
from ...flows.engine.options import BATCH_ROWS
from ...flows.errors import HeadwaterError
from ...flows.flow import Flow
from ...flows.graph import OutputName
from ...flows.journal.records import SyncPolicy
from ...flows.journal.settings import JournalSettings
from ...flows.rows import events_of
from ...flows.settings import Settings
from ..flowfile import load_flow
from ..overrides import settings_of
from .fed import End, Fed, Item
from .process import Choices, Process
from .rig import Tap, name_of, unknown
from .showing import shortened

__all__ = ["Bench", "Deleted"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_LETTERS: Final = 5
"""Dead letters that a description shows."""

Named: TypeAlias = Operator[..., Any] | str
"""An operator of the flow: what its decorator returned, or its name."""


@dataclass(frozen=True, slots=True)
class Deleted:
    """What `Bench.read` gives of a table's row that was deleted."""

    row: Any


class Bench:
    """Runs a flow that a test feeds and reads, step by step.

        with Bench(flow) as bench:
            bench.feed(readings, Reading(at=noon, celsius=4.0))
            bench.end()
            assert bench.read(means) == [Mean(at=noon, celsius=4.0)]

    It is the engine of `headwater run --state`, over a storage in memory and a clock that only
    `advance` moves. Every source is fed by hand, every sink is caught, and every operator can be
    read. What is fed is worked off before `feed` returns.
    """

    def __init__(
        self,
        flow: Flow | str,
        *,
        settings: Settings | None = None,
        partitions: Mapping[Named, int | Sequence[str]] | None = None,
        start: datetime = _START,
        seed: int = 0,
        batch_rows: int = BATCH_ROWS,
        sync: SyncPolicy = "always",
        image_every: Duration = "10s",
        rewinds: bool = True,
    ) -> None:
        """Begin a run of a flow, or of the one in a file (``flow.py``).

        Without `settings` they are made of the environment and their defaults. A source has one
        partition, or as many, or those of the names, that `partitions` says. With `rewinds` False
        sources give again only what was not acknowledged, as HTTP does. `sync` and `image_every`
        are those of ``headwater run``. Raises `FlowError`, `SettingsError`.
        """
        made = load_flow(flow) if isinstance(flow, str) else flow
        self._clock = ManualClock((start - _EPOCH) // _MICROSECOND)
        self._closed = False
        choices = Choices(
            settings_of(made.settings, ()) if settings is None else settings,
            seed,
            batch_rows,
            JournalSettings(sync=sync),
            microseconds(image_every),
            rewinds,
        )
        names = _partition_names(made, partitions or {})
        self._process = Process(made, self._clock, choices, names)

    # What it is given

    def feed(self, source: Named, *items: Item, partition: str | int | None = None) -> None:
        """Feed a source, and work off what can be.

        Events and frames are taken as they are. A dict is fed as a line of JSON; bytes and text are
        one, so that what is wrong with them is a dead letter. `End`, `Pause` and `Abort` among them
        are commands. Raises what the flow raises, and `HeadwaterError` for what cannot be fed.
        """
        self._check()
        self._partition(source, partition).feed(items)
        self._process.work()

    def advance(self, by: Duration | datetime, *, every: Duration | None = None) -> None:
        """Let time pass, or go on to a time, and work off what that brings.

        The clock stops where a pause ends or a source has been idle for long enough; and, with
        `every`, that often, for timers that set themselves anew.
        """
        self._check()
        now = self._clock.now()
        until = (by - _EPOCH) // _MICROSECOND if isinstance(by, datetime) else 0
        target = until if isinstance(by, datetime) else now + microseconds(by)
        if target < now:
            raise HeadwaterError(f"time does not go back: it is {self.now} already")
        stride = None if every is None else max(1, microseconds(every))
        while now < target:
            stops = [target, *self._process.stops(now)]
            if stride is not None:
                stops.append(now + stride)
            following = min(stops)
            self._clock.advance(following - now)
            now = following
            self._process.work()

    def resume(self, source: Named, *, partition: str | int | None = None) -> None:
        """End the pauses of a source, or of one of its partitions, and read on."""
        self._check()
        for fed in self._chosen(source, partition):
            fed.resume()
        self._process.work()

    def end(self, source: Named | None = None, *, partition: str | int | None = None) -> None:
        """End a source, one of its partitions, or everything; with the last, the run ends.

        Then windows close, sinks are completed, and what waited can be read.
        """
        self._check()
        names = self._process.sources if source is None else (self._name(source),)
        for name in names:
            for fed in self._chosen(name, partition):
                if not fed.ended:
                    fed.feed([End()])
                    fed.resume()
        self._process.work()

    # What comes out

    def read(self, operator: Named) -> list[Any]:
        """Return the rows of an operator, source or sink since they were last read, as events.

        Rows of a table that were deleted are `Deleted`; rows that no event class of the flow has
        the columns of are dicts.
        """
        tap = self._tap(operator, "main")
        return _rows(tap, tap.caught.read())

    def frame(self, operator: Named) -> pl.DataFrame:
        """Return what `read` would, as a frame; of a table with the column ``_deleted``."""
        tap = self._tap(operator, "main")
        rows = tap.caught.read()
        return rows if rows.width else pl.DataFrame(schema=_columns(tap))

    def late(self, operator: Named) -> list[Any]:
        """Return the late rows of an operator since they were last asked for, as they came in.

        Whether the flow reads them or not: if not, they are dead letters as well.
        """
        tap = self._tap(operator, "late")
        return _rows(tap, tap.caught.read())

    def dead(self, operator: Named | None = None) -> list[DeadLetter]:
        """Return the dead letters, of one operator or all, since they were last asked for.

        Those that the flow reads itself come last.
        """
        name = None if operator is None else self._name(operator)
        found = self._process.buried.read(name)
        for (owner, output), tap in self._process.rig.taps.items():
            if output == "dead" and name in (None, owner):
                found += _rows(tap, tap.caught.read())
        return found

    def watermark(self, operator: Named) -> datetime | None:
        """Return how far an operator is in event time; None before its first row, the latest
        `datetime` after its last.
        """
        mark = self._process.watermark(self._tap(operator, "main").edge.node)
        if mark >= END:
            return datetime.max.replace(tzinfo=UTC)
        return None if mark <= START else _EPOCH + mark * _MICROSECOND

    def state(self, operator: Named, *key: Any) -> list[dict[str, Any]]:
        """Return what an operator remembers, of one key or all, as ``headwater state`` tells it."""
        name = self._name(operator)
        found = []
        for place, tables in self._process.tables().items():
            node = self._process.rig.graph.node(place)
            if node.operator != name:
                continue
            given = dict(zip(node.keys or (), key, strict=False))
            for table, rows in tables.items():
                if set(given) <= set(rows.columns):
                    for column, value in given.items():
                        rows = rows.filter(pl.col(column) == pl.lit(value, rows.schema[column]))
                    found += [{"table": table, **row} for row in rows.iter_rows(named=True)]
        return found

    @property
    def now(self) -> datetime:
        """The processing time."""
        return _EPOCH + self._clock.now() * _MICROSECOND

    @property
    def notices(self) -> Sequence[str]:
        """What the run has said to a person."""
        return tuple(self._process.notices)

    @property
    def ended(self) -> bool:
        """Whether every source has ended and the sinks are complete."""
        return self._process.done

    # Interruptions

    def restart(
        self, flow: Flow | None = None, *, down: Duration = "0s", reset: Sequence[Named] = ()
    ) -> None:
        """Stop in good order and go on, with another version of the flow if one is given.

        The time `down` passes in between. The operators in `reset` begin anew. Raises
        `RecoveryError` if a changed flow cannot go on with the state of the one before.
        """
        self._check_open()
        self._process.stop()
        self._clock.advance(microseconds(down))
        names = self._names if flow is None else _names(flow)
        chosen = [name_of(flow or self._flow, operator, names) for operator in reset]
        self._process.again(flow, frozenset(chosen), exact=True)

    def crash(
        self, flow: Flow | None = None, *, down: Duration = "0s", unsynced: bool = False
    ) -> None:
        """Lose what is in memory, and go on from the last image and the journal.

        With `unsynced` the machine dies too, and writes that were not synced are lost. What comes
        again must be what was there before: if it differs, an `AssertionError` says where (but if
        `sync` allows that steps are lost, they may come to something else when they are done anew).
        """
        self._check_open()
        exact = self._process.die(unsynced)
        self._clock.advance(microseconds(down))
        self._process.again(flow, frozenset(), exact=exact)

    def close(self) -> None:
        """Let go of the run; what was caught can still be read."""
        if not self._closed:
            self._closed = True
            self._process.close()

    def __enter__(self) -> Bench:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            with suppress(Exception):  # what failed is told, whatever else is wrong
                error.add_note(self.describe())
        self.close()

    def __repr__(self) -> str:
        return f"<bench of flow {self._flow.name} at {self.now.isoformat()}>"

    def describe(self) -> str:
        """Say in a few lines where every operator stands, and what no one has read."""
        told = [f"bench of flow {self._flow.name} at {self.now.isoformat()}"]
        for name in self._process.rig.operators:
            told.append(f"  {name}: {', '.join(self._described(name))}")
        letters = self._process.buried.unread()
        if letters:
            many = "s" if len(letters) > 1 else ""
            told.append(f"  {len(letters)} dead letter{many} that no one has read:")
            told += [f"    {letter.operator}: {_letter(letter)}" for letter in letters[:_LETTERS]]
        told += [f"  notice: {notice}" for notice in self._process.notices]
        return "\n".join(told)

    def _described(self, name: str) -> list[str]:
        tap = self._process.rig.taps.get((name, "main"))
        told = [] if tap is None else [f"{len(tap.caught)} rows, {tap.caught.unread} unread"]
        late = self._process.rig.taps.get((name, "late"))
        if late is not None and len(late.caught):
            told.append(f"{len(late.caught)} late")
        mark = self.watermark(name)
        told.append("no watermark" if mark is None else f"watermark {_time(mark)}")
        waiting = [f for f in self._process.fed.get(name, {}).values() if f.paused]
        return [*told, *(f"{fed.name} is paused" for fed in waiting)]

    # Names

    @property
    def _flow(self) -> Flow:
        return self._process.flow

    @property
    def _names(self) -> tuple[str, ...]:
        return _names(self._flow)

    def _name(self, operator: Named) -> str:
        return name_of(self._flow, operator, self._names)

    def _tap(self, operator: Named, output: OutputName) -> Tap:
        return self._process.rig.tap(self._name(operator), output)

    def _chosen(self, source: Named, partition: str | int | None) -> list[Fed]:
        if partition is not None:
            return [self._partition(source, partition)]
        return list(self._partitions_of(source).values())

    def _partitions_of(self, source: Named) -> dict[str, Fed]:
        name, sources = self._name(source), self._process.sources
        if name not in sources:
            raise HeadwaterError(f"{name} is no source; the flow's are {', '.join(sources)}")
        return self._process.fed[name]

    def _partition(self, source: Named, partition: str | int | None) -> Fed:
        found = self._partitions_of(source)
        if partition is None and len(found) == 1:
            return next(iter(found.values()))
        if partition is None:
            raise HeadwaterError(f"say which partition=, of {', '.join(found)}")
        if str(partition) not in found:
            raise unknown(str(partition), tuple(found))
        return found[str(partition)]

    def _check_open(self) -> None:
        if self._closed:
            raise HeadwaterError("the bench is closed")

    def _check(self) -> None:
        self._check_open()
        self._process.check()


def _names(flow: Flow) -> tuple[str, ...]:
    return tuple(declaration.name for declaration in flow.declarations)


def _partition_names(
    flow: Flow, partitions: Mapping[Named, int | Sequence[str]]
) -> dict[str, Sequence[str]]:
    return {
        name_of(flow, source, _names(flow)): [str(n) for n in range(given)]
        if isinstance(given, int)
        else list(given)
        for source, given in partitions.items()
    }


def _columns(tap: Tap) -> pl.Schema:
    deleted = {DELETED: pl.Boolean()} if tap.schema.key is not None else {}
    return pl.Schema({**dict(tap.schema.columns), **deleted})


def _rows(tap: Tap, rows: pl.DataFrame) -> list[Any]:
    if not rows.height:
        return []
    found: list[Any]
    if tap.event is None:
        found = rows.drop(DELETED, strict=False).to_dicts()
    else:
        found = list(events_of(rows, tap.event))
    if DELETED not in rows.columns:
        return found
    return [Deleted(row) if gone else row for row, gone in zip(found, rows[DELETED], strict=True)]


def _letter(letter: DeadLetter) -> str:
    place = f"{letter.origin}: " if letter.origin else ""
    return shortened(f"{place}{letter.reason}  {letter.raw.decode(errors='replace')}")


def _time(moment: datetime) -> str:
    return "the end" if moment.year == datetime.max.year else moment.isoformat()
