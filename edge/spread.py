"""Runs a flow's keyed operators in several processes on this machine.

This process reads the sources, runs what has no key, and writes the sinks. What has a key runs in
the workers, each of which has a contiguous range of the key groups; rows reach them by their key
and come back merged in canonical order, so that the results are those of one process.

A worker is sent at most `_CREDIT` batches that it has not worked off. It takes them in by a thread
of its own, so that neither side ever waits for the other while the other waits for it.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from multiprocessing.connection import Connection, wait
from typing import Any, Final

import polars as pl

from ..ext import key_owners, split
from ..flows.batch import KEY_GROUPS, Batch
from ..flows.engine.runner import Options
from ..flows.engine.shard import Counts, Delivery, Shard, Step, total
from ..flows.errors import ConnectorError, HeadwaterError, RecoveryError, RowError, WorkerError
from ..flows.graph import Edge, Graph, Node, SinkSpec, SourceSpec
from ..flows.merge import Merge
from ..flows.operators.lookup import LookupJoin
from ..flows.operators.window import WindowAggregate
from ..flows.rewiring import Rewiring
from ..flows.snapshot import Tables
from ..flows.stages import partitions
from ..flows.windows import WholeWindow
from .collector import relax_collector
from .flowfile import load_flow
from .traces import told

__all__ = ["Spread"]

_CREDIT: Final = 8
"""Batches that a worker may have before it has to answer."""
_COUNTS_EVERY: Final = 0.2
"""Seconds between a worker's reports of its counts."""
_ERRORS: Final = {error.__name__: error for error in (RowError, WorkerError, ConnectorError)}
"""Errors of a worker that are raised as what they are; any other is a `HeadwaterError`."""
_DEADLINE: Final = 60.0
"""Seconds that a worker may take to start."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """Which nodes run in the workers, and by which of their inputs rows get there."""

    workers: frozenset[str]
    entries: frozenset[tuple[str, int]]


def _plan(graph: Graph) -> _Plan:
    spread = partitions(graph.nodes)
    workers = frozenset(
        node.id
        for node in graph.nodes
        if spread[node.id] and not isinstance(node.spec, SourceSpec | SinkSpec)
    )
    entries = frozenset(
        (node.id, port)
        for node in graph.nodes
        if node.id in workers
        for port, edge in enumerate(node.inputs)
        if node.keys is not None or port in node.broadcast or edge.node not in workers
    )
    return _Plan(workers, entries)


# In this process


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
        graph = _graph(reference, rewiring)
        self._graph = graph
        self._plan = _plan(graph)
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
                    target=_work,
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
            for number in range(len(self._connections)):
                self._outgoing[number].append(("tick", now))
        self._flow(step, lambda: False)
        return step

    def settle(self) -> Step:
        step = Step()
        self._flow(step, lambda: any(self._outgoing) or any(self._owed))
        for number in range(len(self._connections)):
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

    def snapshot(self) -> Mapping[str, Tables]:
        raise RecoveryError("a run with --state has one worker: leave --workers out")

    def restore(self, tables: Mapping[str, Tables]) -> None:
        raise RecoveryError("a run with --state has one worker: leave --workers out")

    @property
    def process_ids(self) -> list[int]:
        """The workers' processes."""
        return [process.pid for process in self._processes]

    def close(self) -> None:
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
                self._owed[number] += 1
                try:
                    self._connections[number].send(waiting.popleft())
                except OSError:
                    raise self._lost(number) from None

    def _pump(self, step: Step, timeout: float) -> None:
        """Take in the answers that are there, waiting up to `timeout` s if none is owed now."""
        for ready in wait(self._connections, timeout):
            number = self._connections.index(ready)  # type: ignore[arg-type]  # one of them
            kind, *rest = self._receive(number)
            if kind == "error":
                raise _ERRORS.get(rest[1], HeadwaterError)(rest[0])
            self._owed[number] -= 1
            deliveries, dead, counts = rest
            step.dead.extend(dead)
            if counts is not None:
                self._counts[number] = counts
            for node, port, rows, watermark in deliveries:
                batch = self._merge(node, port).receive(number, Batch(_read(rows), watermark))
                self._handle(Step([Delivery(node, port, batch)]), step)

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
            f"what it held is lost: run the flow again from its sources"
        )

    def _merge(self, node: str, port: int) -> Merge:
        merge = self._merges.get((node, port))
        if merge is None:
            edge = self._graph.node(node).inputs[port]
            in_order = self._graph.timed(edge.node) or self._from_whole(edge)
            merge = Merge(len(self._connections), in_order=in_order)
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
                ("batch", node.id, delivery.port, _written(part), delivery.batch.watermark)
            )


def _graph(reference: str, rewiring: Rewiring | None) -> Graph:
    graph = load_flow(reference).graph()
    return graph if rewiring is None else rewiring.apply(graph)


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


def _written(rows: pl.DataFrame | None) -> bytes | None:
    if rows is None:
        return None
    out = io.BytesIO()
    rows.write_ipc_stream(out)
    return out.getvalue()


def _read(data: bytes | None) -> pl.DataFrame | None:
    return None if data is None else pl.read_ipc_stream(io.BytesIO(data))


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


# In a worker


def _work(
    connection: Connection, reference: str, options: Options, rewiring: Rewiring | None
) -> None:
    """Serve one worker's share of the keyed operators until nobody asks any more."""
    import signal

    relax_collector()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process drains and ends us
    try:
        graph = _graph(reference, rewiring)
        settings = None
        if graph.settings is not None and options.settings is not None:
            settings = graph.settings.model_validate(options.settings)
        plan = _plan(graph)
        shard = Shard(
            graph, plan.workers, entries=plan.entries, seed=options.seed, settings=settings
        )
        connection.send(("ready", shard.ticks))
        _serve(connection, shard)
        shard.close()
    except (BrokenPipeError, EOFError):
        pass
    except HeadwaterError as error:
        connection.send(("error", str(error), type(error).__name__))
    except Exception as error:  # the outermost edge of a worker: the first process tells it
        connection.send(("error", str(told(error, None)), "HeadwaterError"))


def _serve(connection: Connection, shard: Shard) -> None:
    inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def take_in() -> None:
        try:
            while True:
                inbox.put(connection.recv())
        except (EOFError, OSError):
            inbox.put(None)

    threading.Thread(target=take_in, daemon=True).start()
    reported = 0.0
    while (message := inbox.get()) is not None:
        kind, *rest = message
        if kind == "batch":
            node, port, rows, watermark = rest
            step = shard.receive(node, port, Batch(_read(rows), watermark))
        elif kind == "tick":
            step = shard.tick(rest[0])
        else:
            step = Step()
        deliveries = [
            (d.node, d.port, _written(d.batch.rows), d.batch.watermark) for d in step.deliveries
        ]
        now = time.monotonic()
        counts = None
        if kind == "count" or now - reported > _COUNTS_EVERY:
            counts, reported = shard.counted(), now
        connection.send(("done", deliveries, step.dead, counts))
