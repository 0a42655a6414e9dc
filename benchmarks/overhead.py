"""What the engine costs per operator and batch, beyond the polars call that the operator makes."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Final

import polars as pl

from . import pipelines
from .inmemory import Frame, Sums
from .onecore import stay_on_one_core
from .sensors import blocks
from .work import Totals

__all__ = ["BATCHES", "overhead"]

BATCHES: Final = {1: 400, 256: 300, 16_384: 60}
"""Rows of a batch, and how many batches are run."""

_OPERATORS: Final = 12
_ROUNDS: Final = 5
_KEPT: Final = pl.col("temp") > -1000.0
_MADE: Final = (pl.col("hum") + 1.0).alias("hum")


def overhead(rounds: int = _ROUNDS) -> dict[str, float]:
    """Return the µs per operator and batch, by kind of operator and rows of a batch.

    A chain of operators minus a flow without any is what the operators cost; minus the same calls
    on a frame without hidden columns, what the engine adds. "source to sink" is what a batch costs
    without an operator. Each is a median of `rounds`.
    """
    found: dict[str, float] = {}
    for rows, batches in BATCHES.items():
        frame = pl.concat(list(blocks(rows * batches))).rechunk()
        pieces = [frame.slice(start, rows) for start in range(0, frame.height, rows)]
        bare = [_flow_seconds(frame, rows, 0, lambda s: s) for _ in range(rounds)]
        found[f"source to sink, {rows} rows"] = 1e6 * median(bare) / batches
        for kind, step, call in (
            ("filter", lambda s: s.filter(_KEPT), lambda f: f.filter(_KEPT)),
            ("with_columns", lambda s: s.with_columns(_MADE), lambda f: f.with_columns(_MADE)),
        ):
            extra = []
            for _ in range(rounds):
                flow = _flow_seconds(frame, rows, _OPERATORS, step)
                hand = _hand_seconds(pieces, call)
                extra.append(flow - median(bare) - hand)
            found[f"{kind}, {rows} rows"] = 1e6 * median(extra) / batches / _OPERATORS
            by_hand = 1e6 * hand / batches / _OPERATORS
            found[f"{kind} by hand, {rows} rows"] = by_hand
    return found


def _flow_seconds(
    frame: pl.DataFrame, rows: int, operators: int, step: Callable[..., object]
) -> float:
    flow = pipelines.chain(Frame(frame, rows), Sums(Totals(())), operators, step)
    flow.graph()
    begun = time.perf_counter()
    pipelines.run(flow)
    return time.perf_counter() - begun


def _hand_seconds(
    pieces: list[pl.DataFrame], call: Callable[[pl.DataFrame], pl.DataFrame]
) -> float:
    begun = time.perf_counter()
    for piece in pieces:
        for _ in range(_OPERATORS):
            piece = call(piece)
    return time.perf_counter() - begun


if __name__ == "__main__":
    stay_on_one_core()
    print(json.dumps(overhead(int(sys.argv[1]))))
