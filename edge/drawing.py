"""A flow as a drawing: regions for its stages, boxes for its operators, arrows for its streams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..flows.graph import Graph, Node, SinkSpec, SourceSpec, Tier
from ..flows.schema import Schema
from ..flows.stages import Stage, stages

__all__ = ["Arrow", "Box", "Drawing", "Region", "drawing_of"]

Kind = Literal["source", "operator", "sink"]


@dataclass(frozen=True, slots=True)
class Box:
    """One operator, or the part of it that lies in one stage."""

    id: str
    name: str
    titles: tuple[str, ...]
    """What its nodes do, in order."""
    schema: Schema
    notes: tuple[str, ...]
    kind: Kind
    region: str


@dataclass(frozen=True, slots=True)
class Region:
    """One stage."""

    id: str
    name: str
    tier: Tier
    keys: tuple[str, ...] | None
    boxes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Arrow:
    """What one box reads of another; the label is empty, "late" or "dead"."""

    start: str
    end: str
    label: Literal["", "late", "dead"]


@dataclass(frozen=True, slots=True)
class Drawing:
    """Everything that a picture shows, without coordinates."""

    flow: str
    regions: tuple[Region, ...]
    boxes: tuple[Box, ...]
    """In topological order."""
    arrows: tuple[Arrow, ...]

    def box(self, box_id: str) -> Box:
        """Return the box of that id; raises KeyError."""
        return {box.id: box for box in self.boxes}[box_id]

    def tiers(self) -> tuple[Tier, ...]:
        """Return the tiers it has, from the device to the cloud."""
        order: tuple[Tier, ...] = ("device", "edge", "cloud")
        return tuple(tier for tier in order if any(r.tier == tier for r in self.regions))


def drawing_of(graph: Graph) -> Drawing:
    """Return the drawing of a flow."""
    cut = stages(graph)
    region_of = {node: f"s{number}" for number, stage in enumerate(cut) for node in stage.nodes}
    parts: dict[tuple[str, str], list[Node]] = {}
    for node in graph.nodes:
        parts.setdefault((node.operator, region_of[node.id]), []).append(node)
    box_of: dict[str, str] = {}
    for number, nodes in enumerate(parts.values()):
        box_of.update((node.id, f"b{number}") for node in nodes)
    boxes = tuple(_box(box_of[nodes[0].id], key[1], nodes) for key, nodes in parts.items())
    regions = tuple(_region(f"s{n}", stage, boxes) for n, stage in enumerate(cut))
    found: dict[Arrow, None] = {}
    for node in graph.nodes:
        for edge in node.inputs:
            start, end = box_of[edge.node], box_of[node.id]
            if start != end:
                label = "" if edge.output == "main" else edge.output
                found[Arrow(start, end, label)] = None
    return Drawing(graph.flow, regions, boxes, tuple(found))


def _region(region: str, stage: Stage, boxes: tuple[Box, ...]) -> Region:
    inside = tuple(box.id for box in boxes if box.region == region)
    return Region(region, stage.name, stage.tier, stage.keys, inside)


def _box(box: str, region: str, nodes: list[Node]) -> Box:
    last = nodes[-1]
    titles = [node.spec.title for node in nodes]
    if len(titles) > 1 and titles[-1] == "select":
        titles.pop()  # it only puts the columns in the order of the event
    notes = tuple(note for node in nodes for note in node.notes)
    kind: Kind = "operator"
    if isinstance(last.spec, SourceSpec):
        kind = "source"
    elif isinstance(last.spec, SinkSpec):
        kind = "sink"
    return Box(box, last.operator, tuple(titles), last.schema, notes, kind, region)
