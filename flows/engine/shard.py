"""A shard: some nodes of a graph, run over batches by one thread, without I/O."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..batch import START, Batch, DeadRow, Logic, Output, concatenated
from ..clock import Clock
from ..graph import Edge, Graph, Node, Place, SinkSpec, SourceSpec
from ..operators.dead import dead_rows, late_reason
from ..snapshot import Tables

__all__ = ["Counts", "Delivery", "Shard", "StepClock"]


class StepClock:
    """The processing time of a step: read once, so that all operators of a step agree."""

    __slots__ = ("_now",)

    def __init__(self) -> None:
        self._now = 0

    def now(self) -> int:
        return self._now

    def set(self, now: int) -> None:
        """The step happens at `now`."""
        self._now = max(now, self._now)


@dataclass(slots=True)
class Counts:
    """What went through a node."""

    rows_in: int = 0
    rows_out: int = 0
    batches: int = 0
    seconds: float = 0.0
    late: int = 0
    dead: int = 0
    watermark: int = START
    held: int = 0
    """Rows that wait in it now."""
    dropped: int = 0
    """Rows that it left out on purpose, as repetitions."""
    by_columns: int = 0
    """Batches on which a function of a row ran on columns."""
    by_rows: int = 0
    """Batches on which it was called row by row."""
    why_by_rows: str = ""
    """Why, the last time."""

    def add(self, other: Counts) -> None:
        """Add another shard's counts of the same node."""
        self.rows_in += other.rows_in
        self.rows_out += other.rows_out
        self.batches += other.batches
        self.seconds += other.seconds
        self.late += other.late
        self.dead += other.dead
        self.watermark = min(self.watermark, other.watermark)
        self.held += other.held
        self.dropped += other.dropped
        self.by_columns += other.by_columns
        self.by_rows += other.by_rows
        self.why_by_rows = other.why_by_rows or self.why_by_rows


@dataclass(frozen=True, slots=True)
class Delivery:
    """A batch for a node that is not of this shard."""

    node: str
    port: int
    batch: Batch


@dataclass(slots=True)
class Step:
    """What a step of a shard gives to the outside."""

    deliveries: list[Delivery] = field(default_factory=list)
    dead: list[DeadRow] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class _Post:
    """A member at work: its state machine, its counts, and who reads its outputs."""

    node: Node
    logic: Logic
    counts: Counts
    main: list[_Target] = field(default_factory=list)
    late: list[_Target] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class _Target:
    """An input of a node; `post` is None if rows go there by the outside."""

    node: str
    port: int
    post: _Post | None


_Work = deque[tuple[_Post, int, Batch]]


class Shard:
    """Runs `members` of a graph; what other nodes read is delivered to the outside."""

    def __init__(
        self,
        graph: Graph,
        members: Iterable[str],
        *,
        entries: Container[tuple[str, int]] = (),
        seed: int = 0,
        settings: Any = None,
    ) -> None:
        """Build the members; what they give to the inputs in `entries` goes by the outside too."""
        self.graph = graph
        self.clock = StepClock()
        chosen = set(members)
        self._posts: dict[str, _Post] = {}
        for node in graph.nodes:
            if node.id in chosen and not isinstance(node.spec, SourceSpec | SinkSpec):
                logic = node.spec.build(_place(graph, node, self.clock, seed, settings))
                self._posts[node.id] = _Post(node, logic, Counts())
        self.counts = {name: post.counts for name, post in self._posts.items()}
        self._readers: dict[Edge, list[_Target]] = {}
        for node in graph.nodes:
            for port, edge in enumerate(node.inputs):
                post = None if (node.id, port) in entries else self._posts.get(node.id)
                self._readers.setdefault(edge, []).append(_Target(node.id, port, post))
        for name, post in self._posts.items():
            post.main = self._readers.get(Edge(name), [])
            post.late = self._readers.get(Edge(name, "late"), [])
        self._ticking = [p for p in self._posts.values() if p.logic.ticks]

    def feed(self, edge: Edge, batch: Batch) -> Step:
        """Take a batch that an edge carries; run all that follows from it."""
        step, work = Step(), _Work()
        _route(self._readers.get(edge, ()), batch, work, step)
        self._drain(work, step)
        return step

    def receive(self, node: str, port: int, batch: Batch) -> Step:
        """Take a batch for one input of a member; run all that follows from it."""
        step = Step()
        self._drain(_Work([(self._posts[node], port, batch)]), step)
        return step

    def tick(self, now: int) -> Step:
        """Processing time is `now` (µs)."""
        self.clock.set(now)
        step = Step()
        for post in self._ticking:
            output = post.logic.tick(self.clock.now())
            if output is not None:
                work = _Work()
                _forward(post, output, work, step)
                self._drain(work, step)
        return step

    def counted(self) -> dict[str, Counts]:
        """Return what went through each member so far, and what waits in it."""
        for post in self._posts.values():
            post.counts.held = getattr(post.logic, "held_rows", 0)
            post.counts.dropped = getattr(post.logic, "dropped", 0)
            post.counts.by_columns = getattr(post.logic, "by_columns", 0)
            post.counts.by_rows = getattr(post.logic, "by_rows", 0)
            post.counts.why_by_rows = getattr(post.logic, "why_by_rows", "")
        return self.counts

    def snapshot(self) -> dict[str, Tables]:
        """Return what each member remembers, between two steps."""
        found = {name: post.logic.snapshot() for name, post in self._posts.items()}
        return {name: tables for name, tables in found.items() if tables}

    def restore(self, tables: Mapping[str, Tables]) -> None:
        """Give fresh members back what `snapshot` returned; those without tables stay fresh."""
        for name, post in self._posts.items():
            if name in tables:
                post.logic.restore(tables[name])

    def close(self) -> None:
        """Let go of what operators hold outside memory."""
        for post in self._posts.values():
            post.logic.close()

    @property
    def ticks(self) -> bool:
        """Whether an operator goes by processing time."""
        return bool(self._ticking)

    def _drain(self, work: _Work, step: Step) -> None:
        while work:
            post, port, batch = work.popleft()
            counts = post.counts
            if batch.rows is not None:
                counts.rows_in += batch.rows.height
                counts.batches += 1
            begun = time.perf_counter()
            output = post.logic.receive(port, batch)
            counts.seconds += time.perf_counter() - begun
            _forward(post, output, work, step)


def _forward(post: _Post, output: Output, work: _Work, step: Step) -> None:
    counts = post.counts
    for batch in output.batches:
        if batch.rows is not None:
            counts.rows_out += batch.rows.height
        counts.watermark = max(batch.watermark, counts.watermark)
        _route(post.main, batch, work, step)
    if output.dead:
        counts.dead += len(output.dead)
        step.dead.extend(output.dead)
    late = concatenated(output.late) if output.late else None
    if late is not None:
        counts.late += late.height
    if post.late:
        _route(post.late, Batch(late, counts.watermark), work, step)
    elif late is not None:
        step.dead.extend(dead_rows(post.node.operator, late, late_reason(late)))


def _route(targets: Sequence[_Target], batch: Batch, work: _Work, step: Step) -> None:
    for target in targets:
        if target.post is not None:
            work.append((target.post, target.port, batch))
        else:
            step.deliveries.append(Delivery(target.node, target.port, batch))


def _place(graph: Graph, node: Node, clock: Clock, seed: int, settings: Any) -> Place:
    return Place(
        node.operator,
        tuple(graph.schema_of(edge) for edge in node.inputs),
        node.schema,
        clock,
        seed,
        graph.on_error,
        settings,
        graph.timed(node.id),
    )


def total(counts: Sequence[Counts]) -> Counts:
    """Add up the counts of one node over its shards."""
    result = Counts(watermark=min((c.watermark for c in counts), default=START))
    for each in counts:
        result.add(each)
    return result
