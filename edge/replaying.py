"""Recordings as what a flow is fed with: which streams, which rows of them, how often, how fast."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from heapq import merge
from itertools import chain
from operator import itemgetter
from pathlib import Path

import polars as pl
import pyarrow as pa

from ..connectors.recordings import Recorded, Recording, described
from ..flows.batch import START, Batch
from ..flows.clock import ManualClock
from ..flows.connector import Chunk
from ..flows.engine.record import record_of
from ..flows.engine.replayer import Arrival, Given, Place, Replayer
from ..flows.errors import RecordingError
from ..flows.graph import Graph, Node, SinkSpec
from ..flows.journal.entry import Step
from ..flows.rewiring import Rewiring
from .pacing import paced
from .running import Way
from .taking import Between, Times, repeated, times_of

__all__ = ["Part", "Replay", "replay"]

Arrivals = Iterator[Arrival]


@dataclass(frozen=True, slots=True)
class Part:
    """Which part of a recording is replayed, how often, and how fast."""

    at: tuple[str, ...] = ()
    """Streams; empty for all sources that were recorded, or else all other operators."""
    partitions: tuple[str, ...] = ()
    """Names of partitions, or patterns with * and ?; empty for all."""
    first: int | None = None
    """Rows of this time (µs) and later, by event time or else by when they were recorded."""
    last: int | None = None
    """Rows before this time."""
    rounds: int | None = 1
    """How often, one time after the other; None without end."""
    speed: float | None = None
    """Seconds of the recording in one second; None for as fast as it goes."""
    replaced: tuple[tuple[str, Path], ...] = ()
    """Streams that another recording gives."""


@dataclass(frozen=True, slots=True)
class Replay:
    """A flow that is fed by recordings."""

    graph: Graph
    way: Way
    fed: frozenset[str]
    arrivals: Iterator[Arrival | None]
    """What it is fed, once."""


def replay(
    graph: Graph,
    recording: Recording,
    part: Part,
    *,
    watch: Callable[[Arrivals, Times], Arrivals] = lambda arrivals, times: arrivals,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> Replay:
    """Feed a flow with a recording; all that comes passes through `watch`.

    Raises `RecordingError` if the two do not fit, and `FlowError` for streams that are not there.
    """
    replaced = {name: Recording(folder) for name, folder in part.replaced}
    chosen = {name: recording for name in _chosen(recording, part, graph, set(replaced))}
    chosen |= replaced
    fed = {name: _partitions(found.stream(name), part.partitions) for name, found in chosen.items()}
    if part.partitions and not any(fed.values()):
        known = sorted({p for n, r in chosen.items() for p in r.stream(n).partitions})
        raise RecordingError(
            f"--partition {part.partitions[0]}: there is none; there are {', '.join(known)}"
        )
    rewiring = Rewiring(fed)
    rewired = rewiring.apply(graph)
    there = {node.id for node in rewired.nodes}  # not what another that is fed leads to
    fed = {name: names for name, names in fed.items() if name in there}
    chosen = {name: found for name, found in chosen.items() if name in there}
    for name, found in chosen.items():
        _check(rewired.node(name), found.stream(name))
    times = {name: rewired.node(name).schema.event_time for name in fed}

    def once() -> Arrivals:
        arrivals = _together(rewired, recording, chosen, fed, times)
        if part.first is None and part.last is None:
            return arrivals
        return Between(part.first, part.last, times).of(arrivals)

    arrivals = watch(once() if part.rounds == 1 else repeated(once, part.rounds, times), times)
    due = arrivals if part.speed is None else paced(arrivals, part.speed, times, sleep, now)
    streams = frozenset(fed)
    make = partial(Replayer, arrivals=due, fed=streams)
    return Replay(rewired, Way(make, ManualClock(), rewiring), streams, due)


def _chosen(recording: Recording, part: Part, graph: Graph, replaced: Set[str]) -> list[str]:
    """Return the streams that the recording itself gives."""
    if part.at:
        return [recording.stream(name).operator for name in part.at if name not in replaced]
    there = {node.id for node in graph.nodes if not isinstance(node.spec, SinkSpec)}
    streams = [stream for name, stream in recording.streams.items() if name in there]
    if not streams:
        raise RecordingError(
            f"{recording.folder}: has streams of {', '.join(recording.streams)}, and "
            f"{graph.flow} has no such operator"
        )
    sources = [stream.operator for stream in streams if stream.kind == "source"]
    return [n for n in sources or [s.operator for s in streams] if n not in replaced]


def _partitions(stream: Recorded, wanted: Sequence[str]) -> tuple[str, ...]:
    if not wanted or stream.kind == "operator":
        return stream.partitions
    return tuple(p for p in stream.partitions if any(fnmatchcase(p, w) for w in wanted))


def _check(node: Node, stream: Recorded) -> None:
    """Raise if a stream's rows are not those that the flow has now."""
    now, then = dict(described(node.schema)), dict(stream.columns)
    odd = [
        f"{name} was {then.get(name, 'not there')} and is {now.get(name, 'not there')}"
        for name in {**then, **now}
        if then.get(name) != now.get(name)
    ]
    if odd or list(now) != list(then):
        told = "; ".join(odd) or "its columns have another order"
        raise RecordingError(f"{node.id}: the recording does not fit the flow: {told}")


# What comes


def _together(
    graph: Graph,
    recording: Recording,
    chosen: Mapping[str, Recording],
    fed: Mapping[str, tuple[str, ...]],
    times: Times,
) -> Arrivals:
    """Yield what the recordings give, by how far event time has come; `recording` has the clock."""
    own = {name: fed[name] for name, found in chosen.items() if found is recording}
    arrivals = _of(recording, own, graph)
    others = {name: found for name, found in chosen.items() if found is not recording}
    if not others:
        return arrivals
    first = next(arrivals, None)
    begun = 0 if first is None else first.now
    ranked = [_ranked(chain([] if first is None else [first], arrivals), times)]
    for name, found in others.items():
        given = _of(found, {name: fed[name]}, graph)
        ranked.append(_ranked((replace(arrival, now=begun) for arrival in given), times))
    return (arrival for _, arrival in merge(*ranked, key=itemgetter(0)))


def _ranked(arrivals: Arrivals, times: Times) -> Iterator[tuple[int, Arrival]]:
    """Yield arrivals with the newest event time before them."""
    newest = START
    for arrival in arrivals:
        yield newest, arrival
        found = times_of(arrival, times)
        if found is not None:
            newest = max(newest, int(found.max()))  # type: ignore[arg-type]  # they are ints


def _of(recording: Recording, fed: Mapping[str, tuple[str, ...]], graph: Graph) -> Arrivals:
    """Yield the arrivals of one recording; of streams that are not `fed`, only the time."""
    places: dict[int, Place] = {}
    schemas: dict[int, pl.Schema] = {}
    for name, partitions in fed.items():
        stream = recording.stream(name)
        for number, partition in enumerate(stream.partitions, stream.first):
            if partition in partitions:
                places[number] = name, partition
                if stream.kind == "source":
                    schemas[number] = graph.node(name).schema.polars()
    for step, body in recording.entries():
        yield _arrival(step, body, places, schemas)


def _arrival(
    step: Step,
    body: pa.RecordBatch | None,
    places: Mapping[int, Place],
    schemas: Mapping[int, pl.Schema],
) -> Arrival:
    idle = tuple(places[mark.channel] for mark in step.idles if mark.channel in places)
    channel = step.ended[0] if step.ended else step.ranges[0].channel if step.ranges else None
    if channel is None or channel not in places:
        return Arrival(step.clock, idle=idle)
    place = places[channel]
    if channel in schemas:
        chunk = record_of(step, body, schemas).chunk
        if chunk is None and not step.ended:  # nothing came, and that was told
            chunk = Chunk(pl.DataFrame(schema=schemas[channel]), pl.Series(dtype=pl.Int64))
        return Arrival(step.clock, place, chunk, idle)
    rows = None if body is None else pl.DataFrame(body)
    return Arrival(step.clock, place, Given(Batch(rows, step.watermark), step.ranges[0].first))
