"""A worker: a process that runs one share of a flow's keyed operators.

It is asked over a pipe, and answers each message, in the order they come. It takes them in by a
thread of its own, so that neither side ever waits for the other while the other waits for it.
"""

from __future__ import annotations

import io
import queue
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Final

import polars as pl

from ..flows.batch import Batch
from ..flows.engine.options import Options
from ..flows.engine.shard import Shard, Step
from ..flows.errors import HeadwaterError
from ..flows.graph import Graph, SinkSpec, SourceSpec
from ..flows.rewiring import Rewiring
from ..flows.snapshot import Tables
from ..flows.stages import partitions
from .collector import relax_collector
from .flowfile import load_flow
from .traces import told

__all__ = ["Packed", "Plan", "graph_of", "pack", "plan_of", "read", "unpack", "work", "written"]

_COUNTS_EVERY: Final = 0.2
"""Seconds between a worker's reports of its counts."""

Packed = Mapping[str, Mapping[str, bytes]]
"""State on its way between processes: Arrow IPC streams by node and name of the table."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Which nodes run in the workers, and by which of their inputs rows get there."""

    workers: frozenset[str]
    entries: frozenset[tuple[str, int]]


def plan_of(graph: Graph) -> Plan:
    """Return which nodes have their rows spread over workers."""
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
    return Plan(workers, entries)


def graph_of(reference: str, rewiring: Rewiring | None) -> Graph:
    """Return the graph that the first process and all workers share."""
    graph = load_flow(reference).graph()
    return graph if rewiring is None else rewiring.apply(graph)


# What goes through the pipe


def written(rows: pl.DataFrame | None) -> bytes | None:
    """Return a batch's rows as an Arrow IPC stream."""
    return None if rows is None else _stream(rows)


def read(data: bytes | None) -> pl.DataFrame | None:
    """Return what `written` was given."""
    return None if data is None else _frame(data)


def pack(tables: Mapping[str, Tables]) -> Packed:
    """Return state as bytes."""
    return {node: {n: _stream(table) for n, table in kept.items()} for node, kept in tables.items()}


def unpack(packed: Packed) -> dict[str, Tables]:
    """Return what `pack` was given."""
    return {node: {n: _frame(data) for n, data in kept.items()} for node, kept in packed.items()}


def _stream(rows: pl.DataFrame) -> bytes:
    out = io.BytesIO()
    rows.write_ipc_stream(out)
    return out.getvalue()


def _frame(data: bytes) -> pl.DataFrame:
    return pl.read_ipc_stream(io.BytesIO(data))


# The process


def work(
    connection: Connection, reference: str, options: Options, rewiring: Rewiring | None
) -> None:
    """Serve one worker's share of the keyed operators until nobody asks any more."""
    relax_collector()
    for number in (signal.SIGINT, signal.SIGTERM):  # the first process drains and ends us
        signal.signal(number, signal.SIG_IGN)
    try:
        graph = graph_of(reference, rewiring)
        settings = None
        if graph.settings is not None and options.settings is not None:
            settings = graph.settings.model_validate(options.settings)
        plan = plan_of(graph)
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
        if kind == "snapshot":
            connection.send(("state", pack(shard.snapshot())))
            continue
        step = Step()
        if kind == "batch":
            node, port, rows, watermark = rest
            step = shard.receive(node, port, Batch(read(rows), watermark))
        elif kind == "tick":
            step = shard.tick(rest[0])
        elif kind == "restore":
            shard.restore(unpack(rest[0]))
        deliveries = [
            (d.node, d.port, written(d.batch.rows), d.batch.watermark) for d in step.deliveries
        ]
        now = time.monotonic()
        counts = None
        if kind == "count" or now - reported > _COUNTS_EVERY:
            counts, reported = shard.counted(), now
        connection.send(("done", deliveries, step.dead, counts))
