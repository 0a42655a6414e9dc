"""Stages: which tier and which partitioning each operator has, and what is fused.

A stage is a maximal chain of operators on one tier with one partitioning; it is what is placed,
moved, restarted and scaled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from .errors import Problem
from .graph import Edge, Graph, Node, SinkSpec, SourceSpec, Tier
from .operators.asynchronous import AsyncFunction
from .operators.columns import Columns

__all__ = ["Stage", "fused", "partitions", "placed", "stages"]

_TIERS: Final[tuple[Tier, ...]] = ("device", "edge", "cloud")


@dataclass(frozen=True, slots=True)
class Stage:
    """Nodes that run together, in topological order."""

    name: str
    tier: Tier
    keys: tuple[str, ...] | None
    """The columns by which its rows are spread over shards; None where they stay as read."""
    nodes: tuple[str, ...]


def placed(nodes: Sequence[Node]) -> tuple[tuple[Node, ...], list[Problem]]:
    """Return the nodes with the tier of each, and what keeps one from the tier it is pinned to.

    A source is at the edge unless it says otherwise. What follows stays where its inputs are; a
    key without the site spans the fleet, so that operator goes to the cloud. Data flows upwards.
    """
    tiers: dict[str, Tier] = {}
    sites = {node.id: node.schema.site for node in nodes}
    problems: dict[str, Problem] = {}
    found: list[Node] = []
    for node in nodes:
        lowest = max(
            (tiers[edge.node] for edge in node.inputs), key=_TIERS.index, default=_default(node)
        )
        tier, message = _tier(node, lowest, {sites[edge.node] for edge in node.inputs})
        if message is not None:  # an operator's inner nodes would only repeat it
            problems.setdefault(node.operator, Problem(node.operator, message))
        tiers[node.id] = tier
        found.append(replace(node, tier=tier))
    return tuple(found), list(problems.values())


def _tier(node: Node, lowest: Tier, sites: set[str | None]) -> tuple[Tier, str | None]:
    """Return where a node runs, and what is wrong with where it is pinned to."""
    if node.keys is not None and not any(site in node.keys for site in sites if site is not None):
        return "cloud", _spans(node) if node.tier in ("device", "edge") else None
    if node.tier is None:
        return lowest, None
    if _TIERS.index(node.tier) >= _TIERS.index(lowest):
        return node.tier, None
    return lowest, (
        f"is pinned to {node.tier}, and reads what is made in the {lowest}; "
        f"data flows from the edge to the cloud: drop tier={node.tier!r}"
    )


def _default(node: Node) -> Tier:
    return node.tier or "edge"


def _spans(node: Node) -> str:
    keys = ", ".join(node.keys or ()) or "no key"
    return (
        f"is pinned to {node.tier}, but its key ({keys}) does not contain the site, so a key's "
        f"rows come from many sites; add the hw.Site field to the key, or let it run in the cloud"
    )


def partitions(nodes: Sequence[Node]) -> dict[str, tuple[str, ...] | None]:
    """Return by which columns each node's rows are spread: its own keys or those it inherits.

    None means that rows stay where they were read; a node that reads several inputs without keys
    of its own gathers them again, as it merges them in an order that spans the keys.
    """
    found: dict[str, tuple[str, ...] | None] = {}
    for node in nodes:
        if node.keys is not None:
            found[node.id] = node.keys
            continue
        if isinstance(node.spec, SinkSpec | SourceSpec):
            found[node.id] = None
            continue
        inputs = [
            found[edge.node] for port, edge in enumerate(node.inputs) if port not in node.broadcast
        ]
        found[node.id] = inputs[0] if len(inputs) == 1 else None
    return found


def stages(graph: Graph) -> tuple[Stage, ...]:
    """Cut a graph into its stages."""
    spread = partitions(graph.nodes)
    stage_of: dict[str, int] = {}
    members: list[list[Node]] = []
    reads: list[set[int]] = []
    for node in graph.nodes:
        inputs = {stage_of[edge.node] for edge in node.inputs}
        joined = next(
            (
                stage_of[edge.node]
                for edge in node.inputs
                if _continues(graph.node(edge.node), node, spread)
                and not _circular(stage_of[edge.node], inputs, reads)
            ),
            None,
        )
        if joined is None:
            joined = len(members)
            members.append([])
            reads.append(set())
        reads[joined] |= inputs - {joined}
        stage_of[node.id] = joined
        members[joined].append(node)
    return tuple(
        Stage(
            nodes[0].operator,
            nodes[0].tier or "edge",
            spread[nodes[0].id],
            tuple(node.id for node in nodes),
        )
        for nodes in members
    )


def _continues(before: Node, node: Node, spread: dict[str, tuple[str, ...] | None]) -> bool:
    """Whether a node runs where the one before it runs. An async operator ends its stage."""
    return (
        before.tier == node.tier
        and spread[before.id] == spread[node.id]
        and not isinstance(before.spec, AsyncFunction)
    )


def _circular(stage: int, inputs: set[int], reads: list[set[int]]) -> bool:
    """Whether a node in `stage` would read, by way of another stage, what the stage gives."""
    seen = set(inputs) - {stage}
    waiting = list(seen)
    while waiting:
        for above in reads[waiting.pop()]:
            if above == stage:
                return True
            if above not in seen:
                seen.add(above)
                waiting.append(above)
    return False


def fused(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """Join chains of row-wise steps of one operator, so that each runs as one query a batch."""
    readers: dict[Edge, int] = {}
    for node in nodes:
        for edge in node.inputs:
            readers[edge] = readers.get(edge, 0) + 1
    result: dict[str, Node] = {}
    for node in nodes:
        spec = node.spec
        if isinstance(spec, Columns) and node.inputs[0].output == "main":
            before = result.get(node.inputs[0].node)
            if (
                before is not None
                and isinstance(before.spec, Columns)
                and before.operator == node.operator
                and before.tier == node.tier
                and readers[node.inputs[0]] == 1
            ):
                del result[before.id]
                joined = Columns((*before.spec.steps, *spec.steps), upsert=spec.upsert)
                result[node.id] = replace(node, spec=joined, inputs=before.inputs)
                continue
        result[node.id] = node
    return tuple(result.values())
