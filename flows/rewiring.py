"""A graph of which some streams come from outside, and others are tapped.

A stream is what one operator gives, named by the operator. Where a stream is fed, the operator's
node becomes a source: what only led to it is left out, and so is what it does not reach.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar

from .connector import Chunk, Reader, Signal, Source, SourceContext
from .errors import FlowError, Problem
from .event import Event
from .graph import Edge, Graph, Node, SinkSpec, SourceSpec

__all__ = ["Rewiring", "tap_of"]


@dataclass(frozen=True, slots=True)
class Rewiring:
    """What is fed and what is tapped, by operator; plain values, so that workers can be told.

    `fed` has the names of the partitions of each stream. A tap is a sink that `tap_of` names.
    """

    fed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tapped: tuple[str, ...] = ()

    def apply(self, graph: Graph) -> Graph:
        """Return the graph, rewired; raises `FlowError` if it has no such stream."""
        streams = [n.id for n in graph.nodes if not isinstance(n.spec, SinkSpec)]
        odd = [name for name in (*self.fed, *self.tapped) if name not in streams]
        if odd:
            listed = ", ".join(dict.fromkeys(graph.node(name).operator for name in streams))
            raise FlowError(
                [Problem(name, f"is no operator of {graph.flow}; it has {listed}") for name in odd]
            )
        nodes = self._with_fed(graph) if self.fed else graph.nodes
        there = {node.id: node for node in nodes}
        taps = [
            Node(tap_of(name), tap_of(name), SinkSpec(None), (Edge(name),), there[name].schema)
            for name in self.tapped
        ]
        return replace(graph, nodes=(*nodes, *taps))

    def _with_fed(self, graph: Graph) -> tuple[Node, ...]:
        needed = _needed(graph, self.fed)
        lost: dict[Edge, Node] = {}
        kept: list[Node] = []
        for node in graph.nodes:
            if node.id not in needed:
                continue
            if node.id in self.fed:
                kept.append(_fed(node, self.fed[node.id]))
                continue
            inputs = []
            for edge in node.inputs:
                if _is_lost(graph, edge, self.fed):
                    if edge not in lost:
                        lost[edge] = _empty(graph, edge)
                        kept.append(lost[edge])
                    edge = Edge(lost[edge].id)
                inputs.append(edge)
            kept.append(replace(node, inputs=tuple(inputs)))
        return tuple(kept)


def tap_of(operator: str) -> str:
    """Return the node of the sink that taps an operator."""
    return f"{operator} (recorded)"


def _needed(graph: Graph, fed: Iterable[str]) -> set[str]:
    """Return what the fed streams reach to its very end, and what else that end needs."""
    fed = set(fed)
    reached = set(fed)
    for node in graph.nodes:  # they stand in topological order
        if any(e.node in reached and not _is_lost(graph, e, fed) for e in node.inputs):
            reached.add(node.id)
    read = {edge.node for node in graph.nodes for edge in node.inputs}
    waiting = [name for name in reached if name not in read]
    needed = set(waiting)
    while waiting:
        node = graph.node(waiting.pop())
        if node.id in fed:
            continue
        for edge in node.inputs:
            if edge.node not in needed and not _is_lost(graph, edge, fed):
                needed.add(edge.node)
                waiting.append(edge.node)
    return needed


def _is_lost(graph: Graph, edge: Edge, fed: Iterable[str]) -> bool:
    """Whether an edge carries what an operator that is fed would have set aside."""
    node = graph.node(edge.node)
    if node.operator not in fed or isinstance(node.spec, SourceSpec):
        return False
    return edge.output != "main"


def _fed(node: Node, partitions: Sequence[str]) -> Node:
    make = partial(_Fed, tuple(partitions))
    if isinstance(node.spec, SourceSpec):
        spec = replace(node.spec, make=make, idle=None, generates=False, settings=None)
    else:
        spec = SourceSpec(_Nothing, make, disorder=0)
    return replace(node, spec=spec, inputs=(), keys=None, broadcast=frozenset(), notes=())


def _empty(graph: Graph, edge: Edge) -> Node:
    """A source that has ended, in place of side outputs that are not there."""
    name = f"{edge.node} ({edge.output})"
    spec = SourceSpec(_Nothing, partial(_Fed, ()), disorder=0)
    return Node(name, name, spec, (), graph.schema_of(edge), tier=graph.node(edge.node).tier)


class _Nothing(Event):
    """Stands for the event of a stream that no reader reads."""

    nothing: int


@dataclass(frozen=True, slots=True)
class _Fed(Source[Event]):
    """A source whose rows are handed to the runner, and never read."""

    rewinds: ClassVar[bool] = False
    names: tuple[str, ...]

    def partitions(self) -> Sequence[str]:
        return self.names

    def open(self, partition: str, context: SourceContext) -> Reader:
        return _Silent(partition)


class _Silent(Reader):
    def __init__(self, partition: str) -> None:
        self._partition = partition

    def read(self, limit: int) -> Chunk | Signal:
        return Signal.WAIT

    def close(self) -> None:
        """It holds nothing."""

    def describe(self, offset: int) -> str:
        return f"{self._partition}, offset {offset}"
