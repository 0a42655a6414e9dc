"""A flow rigged for a test: its sources are fed, its sinks caught, and its outputs tapped."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from ...flows.batch import Batch
from ...flows.declaration import DeadLetter, Declaration, Operator
from ...flows.engine.executor import Local
from ...flows.engine.options import Options
from ...flows.engine.shard import Step
from ...flows.errors import HeadwaterError
from ...flows.event import Event
from ...flows.flow import Flow
from ...flows.graph import Edge, Graph, Node, OutputName, SinkSpec, SourceSpec
from ...flows.operators.columns import BatchFunction, Columns
from ...flows.operators.dead import dead_rows, late_reason
from ...flows.operators.function import RowFunction
from ...flows.schema import Schema
from ...flows.signature import read_signature
from .caught import Catching, Caught
from .fed import Fed, source_of

__all__ = ["Rig", "Tap", "Tapped", "rigged"]

_STATELESS: Final = (Columns, RowFunction, BatchFunction, SourceSpec, SinkSpec)


@dataclass(frozen=True, slots=True)
class Tap:
    """A sink that was put on an edge, or in the place of one of the flow's own."""

    node: str
    edge: Edge
    schema: Schema
    event: type[Event] | None
    """The class of its rows, None if no class of the flow has their columns."""
    caught: Caught


@dataclass(frozen=True, slots=True)
class Rig:
    """The graph with its taps, by the operator or sink and the output that they are of."""

    graph: Graph
    taps: Mapping[tuple[str, OutputName], Tap]
    unread_late: Mapping[str, str]
    """Operators whose late rows the flow itself does not read, by the tap that has them."""
    operators: tuple[str, ...]
    """What has a name in the flow."""

    def tap(self, name: str, output: OutputName) -> Tap:
        """Return a tap; raises `HeadwaterError` if there is none."""
        found = self.taps.get((name, output))
        if found is not None:
            return found
        if name in self.operators:
            what = "late rows" if output == "late" else "output of its own: read those before it"
            raise HeadwaterError(f"{name} has no {what}")
        raise unknown(name, self.operators)


def unknown(name: str, there: tuple[str, ...]) -> HeadwaterError:
    """Return the error for a name that the flow does not have."""
    close = difflib.get_close_matches(name, there, 1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return HeadwaterError(f"the flow has no {name!r}; {hint}it has {', '.join(there)}")


def rigged(
    flow: Flow,
    fed: Mapping[str, Mapping[str, Fed]],
    caught: dict[tuple[str, OutputName, str], Caught],
    *,
    rewinds: bool,
) -> Rig:
    """Rig a flow; `fed` is by source and partition, and `caught`, by tap, grows by those new."""
    graph = flow.graph()
    return _Rigging(flow, graph, fed, caught, rewinds).rig()


class _Rigging:
    def __init__(
        self,
        flow: Flow,
        graph: Graph,
        fed: Mapping[str, Mapping[str, Fed]],
        caught: dict[tuple[str, OutputName, str], Caught],
        rewinds: bool,
    ) -> None:
        self._flow = flow
        self._graph = graph
        self._fed = fed
        self._caught = caught
        self._rewinds = rewinds
        self._events = {d.name: _event_of(d) for d in flow.declarations if d.role != "sink"}
        self._taps: dict[tuple[str, OutputName], Tap] = {}
        self._added: list[Node] = []
        self._unread_late: dict[str, str] = {}

    def rig(self) -> Rig:
        nodes = [self._own(node) for node in self._graph.nodes]
        read = {edge for node in self._graph.nodes for edge in node.inputs}
        for declaration in self._flow.declarations:
            name = declaration.name
            if declaration.role == "sink":
                if (name, "main") not in self._taps:  # a function that is called with each row
                    inputs = self._graph.node(name).inputs
                    if len(inputs) == 1:
                        self._put(name, "main", inputs[0])
                continue
            self._put(name, "main", Edge(name))
            late = self._late_node(name)
            if late is not None:
                self._put(name, "late", Edge(late, "late"))
                if Edge(late, "late") not in read:
                    self._unread_late[f"{name} (late)"] = name
            if Edge(name, "dead") in read:
                self._put(name, "dead", Edge(name, "dead"))
        graph = replace(self._graph, nodes=(*nodes, *self._added))
        names = tuple(d.name for d in self._flow.declarations)
        return Rig(graph, self._taps, self._unread_late, names)

    def _own(self, node: Node) -> Node:
        """Return a node of the flow, with another source or sink in the place of its own."""
        spec = node.spec
        if isinstance(spec, SourceSpec):
            make = source_of(self._fed[node.operator], rewinds=self._rewinds)
            return replace(node, spec=replace(spec, make=make, generates=False, settings=None))
        if isinstance(spec, SinkSpec):
            return self._tapped(node.operator, "main", node)
        return node

    def _put(self, name: str, output: OutputName, edge: Edge) -> None:
        """Put a tap on an edge."""
        what = "read" if output == "main" else output
        tap = f"{name} ({what})"
        node = Node(tap, tap, SinkSpec(None), (edge,), self._graph.schema_of(edge))
        self._added.append(self._tapped(name, output, node))

    def _tapped(self, name: str, output: OutputName, node: Node) -> Node:
        schema = node.schema
        key = (name, output, str(schema.polars()))
        caught = self._caught.setdefault(key, Caught())
        event = self._event(node.inputs[0])
        self._taps[name, output] = Tap(node.id, node.inputs[0], schema, event, caught)
        return replace(node, spec=SinkSpec(partial(Catching, caught)))

    def _event(self, edge: Edge) -> type[Event] | None:
        if edge.output == "dead":
            return DeadLetter
        node = self._graph.node(edge.node)
        if edge.output == "late":
            return self._event(node.inputs[0]) if node.inputs[0].output == "main" else None
        return self._events.get(node.id)

    def _late_node(self, name: str) -> str | None:
        """Return the node that `.late` of an operator means: its first with a memory."""
        for node in self._graph.nodes:
            if node.operator == name and not isinstance(node.spec, _STATELESS):
                return node.id
        return None


def _event_of(declaration: Declaration) -> type[Event] | None:
    signature = read_signature(declaration.function, declaration.scope)
    return declaration.options.returns or signature.returned.event


class Tapped(Local):
    """Runs all operators in this thread; late rows that only a tap reads are dead letters too."""

    def __init__(self, rig: Rig, options: Options) -> None:
        super().__init__(rig.graph, options)
        self._unread_late = rig.unread_late

    def feed(self, edge: Edge, batch: Batch) -> Step:
        return self._told(super().feed(edge, batch))

    def tick(self, now: int) -> Step:
        return self._told(super().tick(now))

    def _told(self, step: Step) -> Step:
        for delivery in step.deliveries:
            operator, rows = self._unread_late.get(delivery.node), delivery.batch.rows
            if operator is not None and rows is not None:
                step.dead += dead_rows(operator, rows, late_reason(rows))
        return step


def name_of(flow: Flow, operator: Operator[..., Any] | str, names: tuple[str, ...]) -> str:
    """Return the name of an operator that is given itself or by name; raises `HeadwaterError`."""
    if isinstance(operator, Operator):
        if operator.flow is not flow:
            raise HeadwaterError(f"{operator!r} is not of the flow that is on the bench")
        return operator.name
    if operator not in names:
        raise unknown(operator, names)
    return operator
