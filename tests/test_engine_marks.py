"""The mark of what a step gave: how many rows, and a checksum of nine of them at most."""

from __future__ import annotations

import zlib
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from headwater.flows.engine.record import mark_of


def frame(rows: int) -> pl.DataFrame:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    number = range(rows)
    return pl.DataFrame(
        {
            "at": [start + timedelta(milliseconds=n) for n in number],
            "text": [f"row {n}" if n % 3 else None for n in number],
            "real": [n / 7 for n in number],
            "site": pl.Series([("a", "b")[n % 2] for n in number], dtype=pl.Enum(["a", "b"])),
            "list": [[n, n + 1] for n in number],
            "struct": [{"n": n, "s": str(n)} for n in number],
            "raw": [bytes([n % 256]) for n in number],
        },
        schema_overrides={"text": pl.String},
    )


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 10, 64, 1000])
def test_rows_at_eight_places_and_the_last_stand_for_all(count: int) -> None:
    batch = frame(count)
    rows = batch.rows()
    if count > 8:
        rows = [rows[count * place // 8] for place in range(8)] + rows[-1:]
    mark = mark_of(3, [batch])
    assert (3, count, zlib.crc32(repr(rows).encode())) == (mark.node, mark.rows, mark.checksum)


def test_how_rows_lie_in_memory_is_no_difference() -> None:
    batch = frame(100)
    pieces = pl.concat([batch.head(30), batch.slice(30, 1), batch.slice(31)], rechunk=False)
    assert 3 == pieces.n_chunks()
    assert mark_of(0, [batch]) == mark_of(0, [pieces])
    assert mark_of(0, [batch]) != mark_of(0, [batch.head(99)])
    assert mark_of(0, [batch.head(50), batch.slice(50)]).rows == 100
