"""Messages of JSON in memory, as engines without columns take and give them."""

from __future__ import annotations

from io import BytesIO

import polars as pl

from ..work import Inputs, Result, Totals

__all__ = ["lines_of", "result_of"]


def lines_of(inputs: Inputs) -> list[bytes]:
    """Return the rows as JSON, a message each."""
    return inputs.file("jsonl").read_bytes().splitlines()


def result_of(out: BytesIO) -> Result:
    """Return how many messages were written, a line each, and the sum of their `f`.

    Writing them is cheaper than keeping each: what orjson gives has room for more than it holds.
    """
    totals = Totals(("f",))
    totals.add(pl.read_ndjson(out.getvalue()))
    return totals.result()
