"""Runs a flow's keyed operators in several processes on this machine.

This process reads the sources, runs what has no key, and writes the sinks. What has a key runs in
the workers, each of which has a contiguous range of the key groups; rows reach them by their key
and come back merged in canonical order, so that the results are those of one process.

A worker is sent at most `_CREDIT` batches that it has not worked off. What comes of a feed may come
with a later one; once all is settled, a snapshot holds all that was fed and nothing else.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from multiprocessing.connection import Connection, wait
from typing import Any, Final

import polars as pl

from ..ext import key_owners, split
from ..flows.batch import KEY_GROUPS, Batch
from ..flows.engine.runner import Options
from ..flows.engine.shard import Counts, Delivery, Shard, Step, total
from ..flows.errors import ConnectorError, HeadwaterError, RowError, WorkerError
from ..flows.graph import Edge, Node, SinkSpec
from ..flows.merge import Merge
from ..flows.operators.lookup import LookupJoin
from ..flows.operators.window import WindowAggregate
from ..flows.rewiring import Rewiring
from ..flows.snapshot import Tables, part_of, with_parts
from ..flows.windows import WholeWindow
from .worker import graph_of, pack, plan_of, read, unpack, work, written

__all__ = ["Spread"]

_CREDIT: Final = 8
"""Batches that a worker may have before it has to answer."""
_ERRORS: Final = {error.__name__: error for error in (RowError, WorkerError, ConnectorError)}
"""Errors of a worker that are raised as what they are; any other is a `HeadwaterError`."""
_DEADLINE: Final = 60.0
"""Seconds that a worker may take to start."""


class Spread:
    """An executor whose keyed operators run in `workers` spawned processes."""

    def __init__(
        self, reference: str, workers: int, options: Options, rewiring: Rewiring | None = None
    ) -> None:
        """Start the workers; they load the flow `reference` themselves, and rewire it likewise.

        Raises `WorkerError` if one does not start.
        """
        if not 1 <= workers <= KEY_GROUPS:
            raise WorkerError(f"{workers} workers; 1 to {KEY_GROUPS} can share the keys of a flow")
        graph = graph_of(reference, rewiring)
        self._graph = graph
        self._plan = plan_of(graph)
        here = [node.id for node in graph.nodes if node.id not in self._plan.workers]
        self._shard = Shard(graph, here, seed=options.seed, settings=options.settings)
        self._merges: dict[tuple[str, int], Merge] = {}
        self._outgoing: list[deque[tuple[Any, ...]]] = [deque() for _ in range(workers)]
        self._owed = [0] * workers
        self._counts: list[Mapping[str, Counts]] = [{} for _ in range(workers)]
        self._processes: list[Any] = []
        self._connections: list[Connection] = []
        self._ticking = False
        self._now = 0
        atexit.register(self.close)  # or Python waits for workers when it ends
        self._start(reference, workers, options, rewiring)

    def _start(
        self, reference: str, workers: int, options: Options, rewiring: Rewiring | None
    ) -> None:
        context = multiprocessing.get_context("spawn")
        settings = options.settings.model_dump() if options.settings is not None else None
        passed = replace(options, settings=settings, leaf=None)
        with _worker_environment():
            for number in range(workers):
                ours, theirs = context.Pipe()
                process = context.Process(
                    target=work,
                    args=(theirs, reference, passed, rewiring),
                    name=f"worker-{number}",
                )
                process.daemon = True
                process.start()
                theirs.close()
                self._processes.append(process)
                self._connections.append(ours)
        for number, connection in enumerate(self._connections):
            if not connection.poll(_DEADLINE):
                raise WorkerError(f"worker {number} did not start within {_DEADLINE:.0f} s")
            kind, *rest = self._receive(number)
            if kind == "error":
                raise WorkerError(f"worker {number}: {rest[0]}")
            self._ticking = self._ticking or rest[0]

    def feed(self, edge: Edge, batch: Batch) -> Step:
        step = Step()
        self._handle(self._shard.feed(edge, batch), step)
        self._flow(step, lambda: any(len(q) > _CREDIT for q in self._outgoing))
        return step

    def tick(self, now: int) -> Step:
        step = Step()
        self._now = now
        self._handle(self._shard.tick(now), step)
        if self._ticking:
            for number in range(self.workers):
                self._outgoing[number].append(("tick", now))
        self._flow(step, lambda: False)
        return step

    def settle(self) -> Step:
        step = Step()
        self._flow(step, lambda: any(self._outgoing) or any(self._owed))
        for number in range(self.workers):
            self._outgoing[number].append(("count",))
        self._flow(step, lambda: any(self._outgoing) or any(self._owed))
        return step

    def counts(self) -> dict[str, Counts]:
        found = dict(self._shard.counted())
        for node in self._plan.workers:
            shares = [counts[node] for counts in self._counts if node in counts]
            found[node] = total(shares)
        return found

    @property
    def ticks(self) -> bool:
        return self._ticking or self._shard.ticks

    @property
    def workers(self) -> int:
        return len(self._connections)

    def snapshot(self) -> Mapping[str, Tables]:
        for number in range(self.workers):
            self._ask(number, ("snapshot",))
        kept = dict(self._shard.snapshot())
        for number in range(self.workers):
            (share,) = self._answer(number)
            for node, tables in unpack(share).items():
                kept.setdefault(node, {}).update(with_parts(**{_share(number): tables}))
        for (node, port), merge in self._merges.items():
            tables = with_parts(**{_merging(node, port): merge.snapshot()})
            giver = self._graph.node(node).inputs[port].node
            kept.setdefault(giver, {}).update(tables)
        return kept

    def restore(self, tables: Mapping[str, Tables]) -> None:
        self._shard.restore(tables)
        for number, waiting in enumerate(self._outgoing):
            share = {node: part_of(kept, _share(number)) for node, kept in tables.items()}
            waiting.append(("restore", pack({node: kept for node, kept in share.items() if kept})))
        self._flow(Step(), lambda: any(self._outgoing) or any(self._owed))
        for entry in self._graph.nodes:
            for port, edge in enumerate(entry.inputs):
                merged = part_of(tables.get(edge.node, {}), _merging(entry.id, port))
                if merged:
                    self._merge(entry.id, port).restore(merged)

    @property
    def process_ids(self) -> list[int]:
        """The workers' processes."""
        return [process.pid for process in self._processes]

    def close(self) -> None:
        atexit.unregister(self.close)
        self._shard.close()
        for connection in self._connections:
            connection.close()  # a worker ends when there is nobody to answer
        for process in self._processes:
            process.join(5)
            if process.is_alive():
                process.kill()
                process.join()

    # Between the processes

    def _flow(self, step: Step, more: Any) -> None:
        """Send what credit allows, and take in what comes, for as long as `more()`."""
        self._send()
        self._pump(step, 0.0)
        while more():
            self._send()
            self._pump(step, 1.0)
        self._send()

    def _send(self) -> None:
        for number, waiting in enumerate(self._outgoing):
            while waiting and self._owed[number] < _CREDIT:
                self._ask(number, waiting.popleft())

    def _ask(self, number: int, message: tuple[Any, ...]) -> None:
        self._owed[number] += 1
        try:
            self._connections[number].send(message)
        except OSError:
            raise self._lost(number) from None

    def _pump(self, step: Step, timeout: float) -> None:
        """Take in the answers that are there, waiting up to `timeout` s if none is owed now."""
        for ready in wait(self._connections, timeout):
            number = self._connections.index(ready)  # type: ignore[arg-type]  # one of them
            deliveries, dead, counts = self._answer(number)
            step.dead.extend(dead)
            if counts is not None:
                self._counts[number] = counts
            for node, port, rows, watermark in deliveries:
                batch = self._merge(node, port).receive(number, Batch(read(rows), watermark))
                self._handle(Step([Delivery(node, port, batch)]), step)

    def _answer(self, number: int) -> Sequence[Any]:
        kind, *rest = self._receive(number)
        if kind == "error":
            raise _ERRORS.get(rest[1], HeadwaterError)(rest[0])
        self._owed[number] -= 1
        return rest

    def _receive(self, number: int) -> Sequence[Any]:
        try:
            message: Sequence[Any] = self._connections[number].recv()
        except (EOFError, OSError):
            raise self._lost(number) from None
        return message

    def _lost(self, number: int) -> WorkerError:
        process = self._processes[number]
        process.join(1)
        return WorkerError(
            f"worker {number} (process {process.pid}) died with exit code {process.exitcode}; "
            f"what it held is lost: start it again (a run with --state goes on where it was)"
        )

    def _merge(self, node: str, port: int) -> Merge:
        merge = self._merges.get((node, port))
        if merge is None:
            edge = self._graph.node(node).inputs[port]
            in_order = self._graph.timed(edge.node) or self._from_whole(edge)
            merge = Merge(self.workers, in_order=in_order)
            self._merges[node, port] = merge
        return merge

    def _from_whole(self, edge: Edge) -> bool:
        """Whether rows come at the end of the stream alone, so that worker may follow worker."""
        node = self._graph.node(edge.node)
        if isinstance(node.spec, WindowAggregate):
            return isinstance(node.spec.window, WholeWindow) and node.spec.emit == "close"
        inside = node.id in self._plan.workers and node.keys is None
        return inside and all(self._from_whole(before) for before in node.inputs)

    def _handle(self, made: Step, step: Step) -> None:
        """Bring what was made to the workers, to the operators here, or to the outside."""
        work = deque(made.deliveries)
        step.dead.extend(made.dead)
        while work:
            delivery = work.popleft()
            node = self._graph.node(delivery.node)
            if isinstance(node.spec, SinkSpec):
                step.deliveries.append(delivery)
            elif node.id in self._plan.workers:
                self._exchange(node, delivery)
            else:
                inner = self._shard.receive(node.id, delivery.port, delivery.batch)
                step.dead.extend(inner.dead)
                work.extend(inner.deliveries)

    def _exchange(self, node: Node, delivery: Delivery) -> None:
        """Queue a batch for the workers: each row for the one that has its key."""
        if (node.id, delivery.port) not in self._plan.entries:
            return  # the workers have it already
        rows = delivery.batch.rows
        parts: list[pl.DataFrame | None] = [rows] * len(self._outgoing)
        if rows is not None and delivery.port not in node.broadcast:
            parts = _by_key(rows, _keys(node, delivery.port), len(self._outgoing))
        for waiting, part in zip(self._outgoing, parts, strict=True):
            waiting.append(
                ("batch", node.id, delivery.port, written(part), delivery.batch.watermark)
            )


def _share(number: int) -> str:
    """Name the part of a node's tables that a worker remembers."""
    return f"worker {number}"


def _merging(node: str, port: int) -> str:
    """Name the part of a node's tables that is on its way to an input of another."""
    return f"to {node} {port}"


def _keys(node: Node, port: int) -> tuple[str, ...]:
    if isinstance(node.spec, LookupJoin) and port == 1:
        return node.spec.right_keys
    assert node.keys is not None
    return node.keys


def _by_key(rows: pl.DataFrame, keys: tuple[str, ...], workers: int) -> list[pl.DataFrame | None]:
    owners = key_owners([rows[key].rechunk() for key in keys], KEY_GROUPS, workers)
    numbers, offsets = split(owners, workers)
    placed = rows[pl.Series(numbers)]
    return [placed[begin:end] if begin < end else None for begin, end in pairwise(offsets)]


@contextmanager
def _worker_environment() -> Iterator[None]:
    """Give the processes started within a fixed hash seed and one polars thread each."""
    wanted = {"PYTHONHASHSEED": "0", "POLARS_MAX_THREADS": "1"}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
