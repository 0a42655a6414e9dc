"""What a step gave to the outside, until the step is committed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from ..connector import Reader
from ..graph import Graph
from ..journal.entry import OutputMark
from .record import mark_of

__all__ = ["Made"]


class Made:
    """Rows for sinks, dead letters that nothing reads, and what may be acknowledged then."""

    __slots__ = ("acknowledge", "letters", "rows")

    def __init__(self) -> None:
        self.rows: list[tuple[str, pl.DataFrame]] = []
        """By the nodes of their sinks."""
        self.letters: list[pl.DataFrame] = []
        self.acknowledge: tuple[Reader, int] | None = None
        """A reader, and the offset of the last that was read of it."""

    def marks(self, numbers: Mapping[str, int]) -> tuple[OutputMark, ...]:
        """Return a mark for each sink that rows came to; `numbers` are those of nodes."""
        by_sink: dict[str, list[pl.DataFrame]] = {}
        for sink, rows in self.rows:
            by_sink.setdefault(sink, []).append(rows)
        return tuple(mark_of(numbers[sink], rows) for sink, rows in by_sink.items())

    def unlike(
        self, outputs: Sequence[OutputMark], graph: Graph, numbers: Mapping[str, int]
    ) -> list[str]:
        """Return the nodes whose rows are not those of `outputs`, which came of the same step."""
        found = self.marks(numbers)
        odd = {mark.node for mark in {*found} ^ {*outputs}}
        sinks = [node for node in graph.nodes if numbers[node.id] in odd]
        return sorted({edge.node for sink in sinks for edge in sink.inputs})
