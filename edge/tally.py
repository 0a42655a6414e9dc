"""What went through each operator of a flow, added up over its nodes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..flows.engine.runner import Progress
from ..flows.engine.shard import Counts
from ..flows.graph import Graph, Node, SinkSpec, SourceSpec

__all__ = ["Tally", "rows_read", "tallies"]


@dataclass(frozen=True, slots=True)
class Tally:
    """The counts of one operator, as its user sees it."""

    operator: str
    is_source: bool
    rows_in: int
    rows_out: int
    batches: int
    seconds: float
    late: int
    dead: int
    watermark: int
    """µs, of the operator's own output."""
    held: int
    """Rows that wait in it now."""
    dropped: int
    """Rows that it left out on purpose, as repetitions."""
    by_columns: int
    """Batches on which its function of a row ran on columns."""
    by_rows: int
    """Batches on which that was called row by row."""
    why_by_rows: str
    """Why, the last time."""


def tallies(graph: Graph, progress: Progress) -> tuple[Tally, ...]:
    """Return the counts of every source and operator, in the order of the flow.

    What goes in is counted where the operator reads others, what comes out at the node that has
    its name; all else is added up.
    """
    return tuple(_tally(operator, nodes, progress) for operator, nodes in _members(graph) if nodes)


def rows_read(graph: Graph, progress: Progress) -> int:
    """Return how many rows the sources have read, those that were no rows included."""
    return sum(
        progress.counts[node.id].rows_in for node in graph.sources() if node.id in progress.counts
    )


def _members(graph: Graph) -> Iterator[tuple[str, list[Node]]]:
    found: dict[str, list[Node]] = {}
    for node in graph.nodes:
        if not isinstance(node.spec, SinkSpec):
            found.setdefault(node.operator, []).append(node)
    yield from found.items()


def _tally(operator: str, nodes: list[Node], progress: Progress) -> Tally:
    ids = {node.id for node in nodes}
    counts = {node.id: progress.counts.get(node.id, Counts()) for node in nodes}
    entries: dict[object, Node] = {}
    for node in nodes:  # what two nodes of the operator read alike came in once
        if not any(edge.node in ids for edge in node.inputs):
            entries.setdefault(node.inputs, node)
    last = counts.get(operator, counts[nodes[-1].id])
    every = counts.values()
    return Tally(
        operator,
        isinstance(nodes[0].spec, SourceSpec),
        sum(counts[node.id].rows_in for node in entries.values()),
        last.rows_out,
        sum(count.batches for count in every),
        sum(count.seconds for count in every),
        sum(count.late for count in every),
        sum(count.dead for count in every),
        last.watermark,
        sum(count.held for count in every),
        sum(count.dropped for count in every),
        sum(count.by_columns for count in every),
        sum(count.by_rows for count in every),
        next((count.why_by_rows for count in every if count.why_by_rows), ""),
    )
