"""A replay whose sinks are caught: what would have been written, and how long it took."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import polars as pl

from ..connectors.recordings import Recording
from ..flows.batch import DELETED, END, START
from ..flows.connector import Sink, SinkContext, Writer
from ..flows.engine.options import Options
from ..flows.engine.replayer import Arrival
from ..flows.engine.runner import Did, Executor
from ..flows.graph import Graph, Node, SinkSpec
from ..flows.schema import Schema
from .replaying import Part, replay
from .taking import Times, times_of
from .tally import rows_read

__all__ = ["Catch", "Written", "catch"]


@dataclass(frozen=True, slots=True)
class Written:
    """What one sink was given, in order."""

    schema: Schema
    rows: pl.DataFrame
    """With `DELETED` after the schema's columns if the stream is upsert."""
    waits: pl.Series
    """By how many µs of event time each row was behind what had been read when it came."""
    keys: tuple[str, ...]
    """What the rows are told apart by, as far as the operator before it says so."""


@dataclass(frozen=True, slots=True)
class Catch:
    """What a flow made of a recording."""

    sinks: Mapping[str, Written]
    """By operator."""
    letters: pl.DataFrame
    """Dead letters that no operator reads: operator, reason, raw."""
    read: int
    """Rows."""
    seconds: float
    steps: tuple[float, ...] = field(repr=False)
    """Seconds that each step took."""


def catch(
    graph: Graph,
    reference: str,
    settings: Any,
    recording: Recording,
    part: Part,
    *,
    workers: int = 1,
    seed: int = 0,
) -> Catch:
    """Replay a recording, without the flow's sinks; raises what a replay raises."""
    reached = _Reached()
    found = replay(graph, recording, replace(part, speed=None), watch=reached.watching)
    kept = {n.id: _Kept(reached) for n in found.graph.sinks()}
    nodes = tuple(
        replace(node, spec=SinkSpec(kept[node.id].given)) if node.id in kept else node
        for node in found.graph.nodes
    )
    options = Options(seed=seed, settings=settings)
    letters: list[pl.DataFrame] = []
    executor: Executor | None = None
    if workers > 1:
        from .spread import Spread

        executor = Spread(reference, workers, options, found.way.rewiring)
    caught = replace(found.graph, nodes=nodes)
    runner = found.way.make(caught, found.way.clock, options, letters.append, executor)
    steps: list[float] = []
    begun = last = time.perf_counter()
    try:
        runner.begin()
        while (did := runner.step()) is not Did.END:
            now = time.perf_counter()
            if did is Did.SOMETHING:
                steps.append(now - last)
            last = now
        runner.finish()
    finally:
        runner.close()
    seconds = time.perf_counter() - begun
    sinks = {
        graph.node(name).operator: one.written(graph, graph.node(name))
        for name, one in kept.items()
    }
    told = pl.concat(letters) if letters else _no_letters()
    read = rows_read(caught, runner.progress())
    chosen = told.select("operator", "reason", "raw")
    return Catch(sinks, chosen, read, seconds, tuple(steps))


def _no_letters() -> pl.DataFrame:
    return pl.DataFrame(schema={"operator": pl.String, "reason": pl.String, "raw": pl.Binary})


class _Reached:
    """The newest event time that was read."""

    def __init__(self) -> None:
        self.now = START

    def watching(self, arrivals: Iterator[Arrival], times: Times) -> Iterator[Arrival]:
        for arrival in arrivals:
            found = times_of(arrival, times)
            if found is not None:
                self.now = max(self.now, int(found.max()))  # type: ignore[arg-type]  # ints
            yield arrival


class _Kept(Sink):
    """Keeps what it is given."""

    upsert: ClassVar[bool] = True

    def __init__(self, reached: _Reached) -> None:
        self.reached = reached
        self.frames: list[pl.DataFrame] = []
        self.waits: list[pl.Series] = []

    def given(self) -> Sink:
        return self

    def open(self, context: SinkContext) -> Writer:
        return _KeptWriter(self, context.schema.event_time)

    def written(self, graph: Graph, node: Node) -> Written:
        schema = node.schema
        columns = schema.polars()
        if schema.key is not None:
            columns = pl.Schema([*columns.items(), (DELETED, pl.Boolean())])
        rows = pl.concat(self.frames) if self.frames else pl.DataFrame(schema=columns)
        waits = pl.concat(self.waits) if self.waits else pl.Series(dtype=pl.Int64)
        return Written(schema, rows, waits, _keys(graph, node))


class _KeptWriter(Writer):
    def __init__(self, kept: _Kept, time: str | None) -> None:
        self._kept = kept
        self._time = time

    def write(self, rows: pl.DataFrame) -> None:
        self._kept.frames.append(rows)
        reached = self._kept.reached.now
        if self._time is not None and START < reached < END:
            self._kept.waits.append(reached - rows[self._time].to_physical())

    def close(self) -> None:
        """It is kept."""

    def abort(self) -> None:
        """What was kept is thrown away with the sink."""


def _keys(graph: Graph, node: Node) -> tuple[str, ...]:
    """Return by what rows of a sink may be told apart: its key, or keys and event time."""
    schema = node.schema
    if schema.key is not None:
        return schema.key
    before = graph.node(node.inputs[0].node)
    while before.keys is None and len(before.inputs) == 1:
        before = graph.node(before.inputs[0].node)
    found = [*(before.keys or ()), *([] if schema.event_time is None else [schema.event_time])]
    return tuple(found) if before.keys and set(found) <= set(schema.names) else ()
