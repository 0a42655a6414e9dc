"""A flow drawn as a picture (SVG), with nothing but text: tiers, stages, boxes, arrows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final
from xml.sax.saxutils import escape

from .drawing import Arrow, Box, Drawing, Region
from .layout import STAGE_HEADING, TIER_HEADING, Layout, Rect, layout_of

__all__ = ["svg"]

_TIERS: Final = {
    "device": ("#fdf3e1", "#c98a1b"),
    "edge": ("#e5f3ea", "#2f7d4f"),
    "cloud": ("#e6eefb", "#2f5fa8"),
}
_KINDS: Final = {"source": "#2f7d4f", "operator": "#3d4654", "sink": "#8a3fa0"}
_NAME_SIZE: Final = 13.0
_TITLE_SIZE: Final = 11.0
_LINE: Final = 15.0
_PAD: Final = 10.0
_LEAST: Final = 90.0
_LONGEST: Final = 38
_HEADING_SIZE: Final = 10.5
_LONGEST_HEADING: Final = 60
_WIDTH: Final = 0.6
"""The width of a letter, of its height; what it is for the widest usual sans-serif font."""


def svg(drawing: Drawing) -> str:
    """Return the picture."""
    lines = {box.id: _titles(box) for box in drawing.boxes}
    layout = layout_of(
        drawing,
        {box.id: _size(box.name, lines[box.id]) for box in drawing.boxes},
        {r.id: len(_heading(r)) * _HEADING_SIZE * _WIDTH + 2 * _PAD for r in drawing.regions},
    )
    parts = [_head(drawing, layout)]
    parts += [_tier(tier, rect) for tier, rect in layout.tiers.items()]
    parts += [_region(region, layout.regions[region.id]) for region in drawing.regions]
    parts += [_arrow(arrow, route) for arrow, route in layout.routes]
    for box in drawing.boxes:
        parts += _box(box, lines[box.id], layout.boxes[box.id])
    return "\n".join([*parts, "</svg>"]) + "\n"


def _titles(box: Box) -> list[str]:
    """Return the lines under a box's name; long ones are wrapped."""
    return [line for title in box.titles for line in _wrapped(title)]


def _wrapped(text: str) -> Iterator[str]:
    line = ""
    for word in text.split():
        word = word if len(word) <= _LONGEST else word[: _LONGEST - 1] + "…"
        if line and len(line) + 1 + len(word) > _LONGEST:
            yield line
            line = word
        else:
            line = f"{line} {word}".strip()
    if line:
        yield line


def _size(name: str, titles: Sequence[str]) -> tuple[float, float]:
    widths = [len(name) * _NAME_SIZE * _WIDTH * 1.1]
    widths += [len(title) * _TITLE_SIZE * _WIDTH for title in titles]
    return max(_LEAST, max(widths) + 2 * _PAD), (len(titles) + 1) * _LINE + 1.6 * _PAD


def _head(drawing: Drawing, layout: Layout) -> str:
    width, height = round(layout.width), round(layout.height)
    markers = "".join(
        f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        f'markerHeight="7" orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="{colour}"/></marker>'
        for name, colour in (("end", "#5b6472"), ("end-side", "#b23b3b"))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" '
        f'font-family="Inter, Helvetica, Arial, DejaVu Sans, sans-serif">\n'
        f"<title>{_escaped(drawing.flow)}</title>\n<defs>{markers}</defs>\n"
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>'
    )


def _heading(region: Region) -> str:
    label = region.name if region.keys is None else f"{region.name} by {', '.join(region.keys)}"
    return label if len(label) <= _LONGEST_HEADING else label[: _LONGEST_HEADING - 1] + "…"


def _tier(tier: str, rect: Rect) -> str:
    fill, ink = _TIERS[tier]
    return _rect(rect, fill, "none", 14) + _text(
        rect.x + 14, rect.y + TIER_HEADING - 7, tier, size=14, colour=ink, weight="bold"
    )


def _region(region: Region, rect: Rect) -> str:
    ink = _TIERS[region.tier][1]
    return _rect(rect, "#ffffff", ink, 10, opacity=0.65, dash="5 4") + _text(
        rect.x + 10, rect.y + STAGE_HEADING - 6, _heading(region), size=_HEADING_SIZE, colour=ink
    )


def _box(box: Box, titles: Sequence[str], rect: Rect) -> Iterator[str]:
    colour = _KINDS[box.kind]
    tip = "\n".join([str(box.schema), *box.notes]) if box.schema.columns else box.name
    yield f"<g><title>{_escaped(tip)}</title>"
    yield _rect(rect, "#ffffff", colour, 18 if box.kind == "source" else 6, stroke=1.6)
    x, y = rect.x + rect.width / 2, rect.y + 0.8 * _PAD + 0.75 * _LINE
    yield _text(x, y, box.name, size=_NAME_SIZE, colour=colour, weight="bold", anchor="middle")
    for number, title in enumerate(titles, 1):
        yield _text(
            x, y + number * _LINE, title, size=_TITLE_SIZE, colour="#5b6472", anchor="middle"
        )
    if box.notes:
        right = rect.x + rect.width
        yield f'<circle cx="{right - 9:.1f}" cy="{rect.y + 9:.1f}" r="4" fill="#d9a21b"/>'
    yield "</g>"


def _arrow(arrow: Arrow, route: Sequence[tuple[float, float]]) -> str:
    """Draw a curve that leaves and enters every point level."""
    path = f"M{route[0][0]:.1f},{route[0][1]:.1f}"
    for (x0, y0), (x1, y1) in pairwise(route):
        bend = max(abs(x1 - x0) / 2, 24.0 if x1 < x0 else 0.0)
        path += f" C{x0 + bend:.1f},{y0:.1f} {x1 - bend:.1f},{y1:.1f} {x1:.1f},{y1:.1f}"
    colour, end, dash = ("#5b6472", "end", "")
    if arrow.label:
        colour, end, dash = ("#b23b3b", "end-side", ' stroke-dasharray="4 3"')
    drawn = (
        f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.4"{dash} '
        f'marker-end="url(#{end})"/>'
    )
    if not arrow.label:
        return drawn
    (x0, y0), (x1, y1) = route[-2], route[-1]
    return drawn + _text(
        (x0 + x1) / 2, (y0 + y1) / 2 - 5, arrow.label, size=10, colour=colour, anchor="middle"
    )


def _rect(
    rect: Rect,
    fill: str,
    line: str,
    radius: float,
    *,
    stroke: float = 1.0,
    opacity: float = 1.0,
    dash: str = "",
) -> str:
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<rect x="{rect.x:.1f}" y="{rect.y:.1f}" width="{rect.width:.1f}" '
        f'height="{rect.height:.1f}" rx="{radius}" fill="{fill}" fill-opacity="{opacity}" '
        f'stroke="{line}" stroke-width="{stroke}"{dashes}/>'
    )


def _text(
    x: float,
    y: float,
    text: str,
    *,
    size: float,
    colour: str,
    weight: str = "normal",
    anchor: str = "start",
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" '
        f'font-weight="{weight}" text-anchor="{anchor}">{_escaped(text)}</text>'
    )


def _escaped(text: str) -> str:
    """Escape for XML 1.0, which has no place for most control characters at all."""
    return escape("".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text))
