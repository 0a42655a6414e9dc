"""A flow drawn as a Mermaid flowchart, for Markdown: https://mermaid.js.org/syntax/flowchart."""

from __future__ import annotations

from collections.abc import Iterator

from .drawing import Arrow, Box, Drawing

__all__ = ["mermaid"]

_SHAPES = {"source": ("([", "])"), "operator": ("[", "]"), "sink": ("[(", ")]")}
_ENTITIES = {"#": "#35;", "&": "#amp;", "<": "#lt;", ">": "#gt;", '"': "#quot;", "`": "#96;"}


def mermaid(drawing: Drawing) -> str:
    """Return the flowchart: tiers and stages are subgraphs, late and dead rows dotted edges."""
    return "\n".join(_lines(drawing)) + "\n"


def _lines(drawing: Drawing) -> Iterator[str]:
    yield "flowchart LR"
    for tier in drawing.tiers():
        yield f'  subgraph {tier}["{tier}"]'
        for region in drawing.regions:
            if region.tier != tier:
                continue
            keys = "" if region.keys is None else f" by ({', '.join(region.keys)})"
            yield f'    subgraph {region.id}["{_escaped(region.name + keys)}"]'
            yield from (f"      {_box(drawing.box(box))}" for box in region.boxes)
            yield "    end"
        yield "  end"
    yield from (f"  {_arrow(arrow)}" for arrow in drawing.arrows)


def _box(box: Box) -> str:
    before, after = _SHAPES[box.kind]
    lines = [f"<b>{_escaped(box.name)}</b>", *map(_escaped, box.titles)]
    return f'{box.id}{before}"{"<br/>".join(lines)}"{after}'


def _arrow(arrow: Arrow) -> str:
    if arrow.label:
        return f"{arrow.start} -. {arrow.label} .-> {arrow.end}"
    return f"{arrow.start} --> {arrow.end}"


def _escaped(text: str) -> str:
    return "".join(_ENTITIES.get(c, c if c.isprintable() else " ") for c in text)
