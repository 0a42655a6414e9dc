"""The graph of a flow: frozen nodes, in topological order. To make one runs nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from .batch import Logic
from .clock import Clock
from .event import Event
from .schema import Schema

__all__ = ["Edge", "Graph", "Node", "Place", "SinkSpec", "SourceSpec", "Spec"]

OnError = Literal["dead", "stop"]
OutputName = Literal["main", "late", "dead"]
Tier = Literal["device", "edge", "cloud"]


@dataclass(frozen=True, slots=True)
class Edge:
    """One output of a node: what it gives, its late rows, or its dead letters."""

    node: str
    output: OutputName = "main"


@dataclass(frozen=True, slots=True)
class Place:
    """What an operator is told when it is built: where it stands and what is passed in."""

    operator: str
    inputs: tuple[Schema, ...]
    schema: Schema
    clock: Clock
    seed: int
    on_error: OnError = "dead"
    settings: object = None
    timed: bool = True
    """Whether all rows come from sources with event time, so that watermarks move."""


class Spec(Protocol):
    """The frozen description of what a node does."""

    @property
    def title(self) -> str:
        """A few words for the drawing of the graph."""
        ...

    def build(self, place: Place) -> Logic:
        """Make the state machine."""
        ...


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """A source: `make` is the user's function, called where the source runs."""

    event: type[Event]
    make: Callable[..., Any]
    disorder: int
    """µs by which a row may be older than the newest before it."""
    idle: int | None = None
    """µs of processing time after which a silent partition no longer holds others back."""
    generates: bool = False
    """Whether `make` is a generator of events and not a function that returns a Source."""
    settings: str | None = None
    """The parameter that takes the flow's settings."""

    @property
    def title(self) -> str:
        return "source"

    def build(self, place: Place) -> Logic:
        raise TypeError("a source is read, not built")


@dataclass(frozen=True, slots=True)
class SinkSpec:
    """A sink: `make` is the user's function, or None for the terminal."""

    make: Callable[..., Any] | None
    settings: str | None = None
    """The parameter that takes the flow's settings."""

    @property
    def title(self) -> str:
        return "sink" if self.make else "terminal"

    def build(self, place: Place) -> Logic:
        raise TypeError("a sink is written, not built")


@dataclass(frozen=True, slots=True)
class Node:
    """One node: what it does, what it reads, what its rows look like."""

    id: str
    operator: str
    """The operator of the user's flow that it belongs to."""
    spec: Spec
    inputs: tuple[Edge, ...]
    schema: Schema
    keys: tuple[str, ...] | None = None
    """Columns by which its rows are spread over shards; () for one place, None for anywhere."""
    broadcast: frozenset[int] = frozenset()
    """The inputs of which every shard gets all rows."""
    tier: Tier | None = None
    notes: tuple[str, ...] = ()
    """What the drawing says of it, such as why an aggregate is buffered."""


@dataclass(frozen=True, slots=True)
class Graph:
    """A flow that has been loaded and found right."""

    flow: str
    nodes: tuple[Node, ...]
    on_error: OnError = "dead"
    max_latency: int = 50_000
    """µs for which a reader may hold rows to make a batch larger."""
    settings: Any = None
    _by_id: Mapping[str, Node] = field(init=False, repr=False, compare=False)
    _timed: Mapping[str, bool] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_id", {node.id: node for node in self.nodes})
        timed: dict[str, bool] = {}
        for node in self.nodes:
            if isinstance(node.spec, SourceSpec):
                timed[node.id] = node.schema.event_time is not None
            else:
                timed[node.id] = all(
                    timed[edge.node] and edge.output != "dead" for edge in node.inputs
                )
        object.__setattr__(self, "_timed", timed)

    def timed(self, name: str) -> bool:
        """Whether all rows of a node come from sources with event time."""
        return self._timed[name]

    def node(self, name: str) -> Node:
        """Return the node of that id; raises KeyError."""
        return self._by_id[name]

    def schema_of(self, edge: Edge) -> Schema:
        """Return the schema of what an edge carries."""
        node = self._by_id[edge.node]
        if edge.output == "dead":
            return DEAD_LETTER
        if edge.output == "late":
            return self.schema_of(node.inputs[0])
        return node.schema

    def sources(self) -> Iterator[Node]:
        """Yield the sources, in the order they were written."""
        return (node for node in self.nodes if isinstance(node.spec, SourceSpec))

    def sinks(self) -> Iterator[Node]:
        """Yield the sinks, in the order they were written."""
        return (node for node in self.nodes if isinstance(node.spec, SinkSpec))


def _dead_letter_schema() -> Schema:
    import polars as pl

    return Schema(
        columns=(
            ("operator", pl.String()),
            ("origin", pl.String()),
            ("reason", pl.String()),
            ("raw", pl.Binary()),
        )
    )


DEAD_LETTER = _dead_letter_schema()
"""What `.dead` carries; `headwater.flows.declaration.DeadLetter` is its event."""
