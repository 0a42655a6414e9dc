"""A replay whose sinks are caught: what would have been written, and how long it took."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import polars as pl

from ..connectors.recordings import Recording
from ..flows.batch import DELETED, END, START
from ..flows.engine.options import Options
from ..flows.engine.replayer import Arrival
from ..flows.engine.runner import Did, Executor
from ..flows.graph import Graph, Node, SinkSpec
from ..flows.schema import Schema
from .replaying import Part, replay
from .taking import Times, times_of
from .tally import rows_read
from .testing.caught import Catching, Caught

__all__ = ["Catch", "Written", "catch", "with_sinks_caught"]


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
    kept = {n.id: _Timed(reached, n.schema.event_time) for n in found.graph.sinks()}
    options = Options(seed=seed, settings=settings)
    letters: list[pl.DataFrame] = []
    executor: Executor | None = None
    if workers > 1:
        from .spread import Spread

        executor = Spread(reference, workers, options, found.way.rewiring)
    caught = with_sinks_caught(found.graph, kept)
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
        graph.node(name).operator: _written(graph, graph.node(name), one)
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


class _Timed(Caught):
    """Rows, and by how much each was behind what had been read when it came."""

    def __init__(self, reached: _Reached, time: str | None) -> None:
        super().__init__()
        self.waits: list[pl.Series] = []
        self._reached = reached
        self._time = time

    def add(self, rows: pl.DataFrame) -> None:
        super().add(rows)
        reached = self._reached.now
        if self._time is not None and START < reached < END:
            self.waits.append(reached - rows[self._time].to_physical())


def with_sinks_caught(graph: Graph, caught: Mapping[str, Caught]) -> Graph:
    """Return the graph with what catches the rows in the place of sinks, by node."""
    return replace(
        graph,
        nodes=tuple(
            replace(node, spec=SinkSpec(partial(Catching, caught[node.id])))
            if node.id in caught
            else node
            for node in graph.nodes
        ),
    )


def _written(graph: Graph, node: Node, caught: _Timed) -> Written:
    schema = node.schema
    columns = schema.polars()
    if schema.key is not None:
        columns = pl.Schema([*columns.items(), (DELETED, pl.Boolean())])
    rows = caught.rows if len(caught) else pl.DataFrame(schema=columns)
    waits = pl.concat(caught.waits) if caught.waits else pl.Series(dtype=pl.Int64)
    return Written(schema, rows, waits, _keys(graph, node))


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
