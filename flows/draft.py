"""A graph in the making, while the functions of a flow are called at load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from .connector import DELETED
from .errors import ExpressionError, FlowError, Problem, SchemaError
from .graph import Edge, Node, Spec, Tier
from .schema import Schema

__all__ = ["Draft"]


class Draft:
    """Collects nodes; those added within an operator get names of their own below its name."""

    __slots__ = ("_count", "_tier", "nodes", "operator", "scope")

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.operator = ""
        self.scope: dict[str, Any] = {}
        """The names around the operator's function, by which annotations are resolved."""
        self._tier: Tier | None = None
        self._count = 0

    def begin(self, operator: str, tier: Tier | None, scope: dict[str, Any] | None = None) -> None:
        """What is added from now on belongs to `operator`."""
        self.operator = operator
        self.scope = scope or {}
        self._tier = tier
        self._count = 0

    def add(
        self,
        spec: Spec,
        inputs: Sequence[Edge],
        schema: Schema,
        *,
        keys: tuple[str, ...] | None = None,
        broadcast: frozenset[int] = frozenset(),
        notes: tuple[str, ...] = (),
        name: str | None = None,
    ) -> Edge:
        """Add a node and return its output."""
        self._count += 1
        node_id = name or f"{self.operator}.{self._count}"
        self._free(node_id)
        for edge in inputs:
            if edge.node not in self.nodes:
                raise SchemaError(
                    f"reads a stream that was kept from where {edge.node} was made; a Stream is of "
                    f"use only within the function that it was handed to"
                )
        for column in schema.names:
            if column.startswith("_hw_") or column == DELETED:
                raise ExpressionError(
                    f"the name {column!r} is taken; names must not begin with _hw_"
                )
        self.nodes[node_id] = Node(
            node_id,
            self.operator,
            spec,
            tuple(inputs),
            schema,
            keys=keys,
            broadcast=broadcast,
            tier=self._tier,
            notes=notes,
        )
        return Edge(node_id)

    def _free(self, name: str) -> None:
        if name in self.nodes:
            raise FlowError([Problem(name, "two operators have this name; give one `name=`")])

    def rename(self, edge: Edge, name: str) -> Edge:
        """Give a node that nothing reads yet another name."""
        self._free(name)
        node = self.nodes.pop(edge.node)
        self.nodes[name] = replace(node, id=name)
        return Edge(name)

    def reschema(self, edge: Edge, schema: Schema) -> None:
        """Declare a node's rows as of a schema with the same columns."""
        self.nodes[edge.node] = replace(self.nodes[edge.node], schema=schema)

    def discard(self, operator: str) -> None:
        """Forget the nodes of an operator that turned out wrong."""
        for name in [n for n, node in self.nodes.items() if node.operator == operator]:
            del self.nodes[name]

    def read_within(self, edge: Edge) -> bool:
        """Whether a node reads the edge already."""
        return any(edge in node.inputs for node in self.nodes.values())
