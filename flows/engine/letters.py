"""Dead letters as rows, and who reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import polars as pl

from ..batch import START, DeadRow, hide
from ..graph import DEAD_LETTER, Edge, Graph

__all__ = ["dead_edges", "letter_rows"]


def dead_edges(graph: Graph) -> Mapping[str, Edge]:
    """Return the edges that carry dead letters to operators, by the operator they come from."""
    return {
        graph.node(edge.node).operator: edge
        for node in graph.nodes
        for edge in node.inputs
        if edge.output == "dead"
    }


def letter_rows(dead: Sequence[DeadRow], describe: Callable[[int], str]) -> pl.DataFrame:
    """Return dead letters as rows; `describe` says in words where an origin is."""
    frame = pl.DataFrame(
        {
            "operator": [d.operator for d in dead],
            "origin": [describe(d.origin) for d in dead],
            "reason": [d.reason for d in dead],
            "raw": [d.raw for d in dead],
        },
        schema=DEAD_LETTER.polars(),
    )
    return hide(frame, pl.lit(START))
