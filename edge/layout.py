"""Where things stand in a picture of a flow: layers by longest path, few crossings.

Streams go from left to right. Stages stand in columns, those of one tier in columns of its own;
within a stage its boxes stand in columns again. An arrow that passes a column on its way gets a
lane there, so that it runs between the boxes and not over them (Sugiyama, Tagawa and Toda, 1981).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ..flows.graph import Tier
from .drawing import Arrow, Drawing

__all__ = ["Layout", "Rect", "layers", "layout_of"]

LANE: Final = 16.0
_GAP: Final = 18.0
_COLUMN_GAP: Final = 46.0
_STAGE_GAP: Final = 64.0
_PAD: Final = 16.0
STAGE_HEADING: Final = 22.0
_TIER_PAD: Final = 18.0
TIER_HEADING: Final = 26.0
_MARGIN: Final = 14.0


@dataclass(frozen=True, slots=True)
class Rect:
    """A rectangle; units are those of the picture, y grows downwards."""

    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        """Its vertical middle."""
        return self.y + self.height / 2


@dataclass(frozen=True, slots=True)
class Layout:
    """A drawing with coordinates."""

    width: float
    height: float
    boxes: Mapping[str, Rect]
    regions: Mapping[str, Rect]
    tiers: Mapping[Tier, Rect]
    routes: Sequence[tuple[Arrow, tuple[tuple[float, float], ...]]]
    """The points that each arrow goes through."""


def layers(names: Sequence[str], arrows: Iterable[tuple[str, str]]) -> dict[str, int]:
    """Return the layer of each name: the longest path that leads to it.

    Arrows that close a circle, in the order of `names`, are left out.
    """
    place = {name: number for number, name in enumerate(names)}
    before: dict[str, set[str]] = {name: set() for name in names}
    for start, end in arrows:
        if start in place and end in place and place[start] < place[end]:
            before[end].add(start)
    found: dict[str, int] = {}
    for name in names:
        found[name] = max((found[b] + 1 for b in before[name]), default=0)
    return found


def layout_of(
    drawing: Drawing, sizes: Mapping[str, tuple[float, float]], headings: Mapping[str, float]
) -> Layout:
    """Place boxes of the given sizes (width, height), in stages with headings of some width."""
    return _Placing(drawing, sizes, headings).layout()


class _Placing:
    """Fills columns from left to right; each thing goes near the middle of what it reads."""

    def __init__(
        self,
        drawing: Drawing,
        sizes: Mapping[str, tuple[float, float]],
        headings: Mapping[str, float],
    ) -> None:
        self.drawing = drawing
        self.sizes = sizes
        self.headings = headings
        self.region_of = {box.id: box.region for box in drawing.boxes}
        self.boxes: dict[str, Rect] = {}
        self.regions: dict[str, Rect] = {}
        self.points: dict[Arrow, list[tuple[float, float]]] = {a: [] for a in drawing.arrows}
        self.inner = self._inner_layers()
        self.outer = self._outer_layers()

    def layout(self) -> Layout:
        tiers: dict[Tier, tuple[float, float]] = {}
        x = _MARGIN
        for tier in self.drawing.tiers():
            columns = sorted({self.outer[r.id] for r in self.drawing.regions if r.tier == tier})
            left, x = x, x + _TIER_PAD
            for number, column in enumerate(columns):
                x = self._column(column, x + (_STAGE_GAP if number else 0.0))
            tiers[tier] = (left, x + _TIER_PAD - left)
            x += _TIER_PAD + _STAGE_GAP
        return self._moved(tiers, x - _STAGE_GAP + _MARGIN)

    # Layers

    def _inner_layers(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for region in self.drawing.regions:
            pairs = [(a.start, a.end) for a in self.drawing.arrows]
            found.update(layers(region.boxes, pairs))
        return found

    def _outer_layers(self) -> dict[str, int]:
        """Return the column of each stage; those of a tier come after those of the one before."""
        pairs = [(self.region_of[a.start], self.region_of[a.end]) for a in self.drawing.arrows]
        found: dict[str, int] = {}
        first = 0
        for tier in self.drawing.tiers():
            names = [region.id for region in self.drawing.regions if region.tier == tier]
            own = layers(names, pairs)
            found.update((name, first + layer) for name, layer in own.items())
            first += max(own.values()) + 1
        return found

    # Columns of stages

    def _column(self, column: int, x: float) -> float:
        """Place the stages and lanes of a column; return where it ends."""
        stages = [r.id for r in self.drawing.regions if self.outer[r.id] == column]
        lanes = [a for a in self.drawing.arrows if self._passes(a, column)]
        wanted: list[tuple[float, str | Arrow]] = [(self._wanted_stage(s), s) for s in stages]
        wanted += [(self._before(lane), lane) for lane in lanes]
        wanted.sort(key=lambda pair: pair[0])
        heights: list[tuple[Arrow, float]] = []
        free = float("-inf")
        right = x
        for want, item in wanted:
            if isinstance(item, Arrow):
                y = max(want, free + LANE / 2)
                heights.append((item, y))
                free = y + LANE / 2
            else:
                rect = self._stage(item, x, max(want, free + _GAP))
                free = rect.y + rect.height + _GAP / 2
                right = max(right, rect.x + rect.width)
        for lane, y in heights:
            self.points[lane] += [(x, y), (right, y)]
        return right

    def _passes(self, arrow: Arrow, column: int) -> bool:
        start, end = self.region_of[arrow.start], self.region_of[arrow.end]
        return self.outer[start] < column < self.outer[end]

    def _wanted_stage(self, region: str) -> float:
        """Return the top that puts a stage beside what it reads."""
        reads = [
            self._before(arrow)
            for arrow in self.drawing.arrows
            if self.region_of[arrow.end] == region and self.region_of[arrow.start] != region
        ]
        inside = [box for box, own in self.region_of.items() if own == region]
        first = [self.sizes[box][1] for box in inside if self.inner[box] == 0]
        height = sum(first) + _GAP * (len(first) - 1) + 2 * _PAD + STAGE_HEADING
        return (sum(reads) / len(reads) if reads else 0.0) - STAGE_HEADING / 2 - height / 2

    def _before(self, arrow: Arrow) -> float:
        """Return the height at which an arrow is, as far as it has been drawn."""
        points = self.points[arrow]
        if points:
            return points[-1][1]
        start = self.boxes.get(arrow.start)
        return start.middle if start is not None else 0.0

    # Columns of boxes

    def _stage(self, region: str, left: float, top: float) -> Rect:
        """Place the boxes of a stage, and its lanes, from its left and top."""
        inside = [box for box, own in self.region_of.items() if own == region]
        y0 = top + _PAD + STAGE_HEADING
        x, bottom = left + _PAD, y0
        depth = max(self.inner[box] for box in inside)
        for layer in range(depth + 1):
            boxes = [box for box in inside if self.inner[box] == layer]
            lanes = [a for a in self.drawing.arrows if self._crosses(a, region, layer)]
            width = max(self.sizes[box][0] for box in boxes)
            bottom = max(bottom, self._stack(boxes, lanes, x, width, y0))
            x += width + (_COLUMN_GAP if layer < depth else _PAD)
        wide = max(x - left, self.headings[region])
        rect = Rect(left, top, wide, bottom - top + _PAD)
        self.regions[region] = rect
        return rect

    def _crosses(self, arrow: Arrow, region: str, layer: int) -> bool:
        """Whether an arrow passes a column of boxes of a stage that it begins or ends in."""
        begins = self.region_of[arrow.start] == region
        ends = self.region_of[arrow.end] == region
        if not begins and not ends:
            return False
        after = not begins or self.inner[arrow.start] < layer
        return after and (not ends or layer < self.inner[arrow.end])

    def _stack(
        self, boxes: list[str], lanes: list[Arrow], x: float, width: float, y: float
    ) -> float:
        """Put boxes and lanes below each other, ordered by what they read; return the end."""
        items: list[tuple[float, str | Arrow]] = [(self._reads(box), box) for box in boxes]
        items += [(self._before(lane), lane) for lane in lanes]
        items.sort(key=lambda pair: pair[0])
        free = y
        for want, item in items:
            if isinstance(item, Arrow):
                middle = max(want, free + LANE / 2)
                self.points[item] += [(x, middle), (x + width, middle)]
                free = middle + LANE / 2 + _GAP / 2
            else:
                height = self.sizes[item][1]
                at = max(want - height / 2, free)
                self.boxes[item] = Rect(x, at, width, height)
                free = at + height + _GAP
        return free - _GAP

    def _reads(self, box: str) -> float:
        heights = [self._before(a) for a in self.drawing.arrows if a.end == box]
        return sum(heights) / len(heights) if heights else 0.0

    # All of it

    def _moved(self, tiers: Mapping[Tier, tuple[float, float]], width: float) -> Layout:
        """Move everything so that the picture begins at its corner."""
        lane_heights = [y for points in self.points.values() for _, y in points]
        top = min([r.y for r in self.regions.values()] + lane_heights)
        bottom = max([r.y + r.height for r in self.regions.values()] + lane_heights)
        down = _MARGIN + TIER_HEADING + _TIER_PAD / 2 - top
        height = bottom - top + TIER_HEADING + 1.5 * _TIER_PAD

        def moved(rect: Rect) -> Rect:
            return Rect(rect.x, rect.y + down, rect.width, rect.height)

        boxes = {name: moved(rect) for name, rect in self.boxes.items()}
        routes = []
        for arrow, points in self.points.items():
            start, end = boxes[arrow.start], boxes[arrow.end]
            route = [(start.x + start.width, start.middle)]
            route += [(x, y + down) for x, y in points]
            route.append((end.x, end.middle))
            routes.append((arrow, tuple(route)))
        return Layout(
            width,
            height + 2 * _MARGIN,
            boxes,
            {name: moved(rect) for name, rect in self.regions.items()},
            {name: Rect(x, _MARGIN, wide, height) for name, (x, wide) in tiers.items()},
            routes,
        )
