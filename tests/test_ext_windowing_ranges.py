"""Keyed windows over keys whose hashes lie in one range, as those of one worker among several."""

from __future__ import annotations

from collections import Counter
from types import ModuleType
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from headwater.ext.hashing import key_owners, row_hashes
from headwater.ext.windowing import END, WindowPart

from . import components

GROUPS = 128
ROWS = 12_000
WIDTH = 1_000


@pytest.fixture(scope="module", params=components.KINDS)
def windowing(request: pytest.FixtureRequest) -> ModuleType:
    """The twin, then the compiled kernel."""
    return components.kernel("windowing", request.param)


def rows_of(owners: int, owner: int) -> pl.DataFrame:
    """Rows of 2,000 keys, of which only those are left that the owner has."""
    keys = pl.Series("key", [f"device-{place * 7919 % 2000:07}" for place in range(ROWS)])
    times = pl.Series("time", [place // 4 for place in range(ROWS)])
    frame = pl.DataFrame([keys, times])
    frame = frame.with_columns(mark=pl.col("time").shift(1, fill_value=0) - 10)
    return frame.filter(pl.Series(key_owners([keys], GROUPS, owners)) == owner)


def table_of(windowing: ModuleType, size: int) -> Any:
    schema = pa.schema([("key", pa.string_view())])
    return windowing.WindowTable(
        schema, [WindowPart("len")], size=size, every=WIDTH, time="time", watermark="mark"
    )


def expected_of(frame: pl.DataFrame, size: int) -> list[tuple[str, int, int]]:
    """Key, end and rows of every window; by end, then by hash."""
    counts: Counter[tuple[int, str]] = Counter()
    for key, time in frame.select("key", "time").rows():
        begin = time - time % WIDTH
        while begin > time - size:
            counts[begin + size, key] += 1
            begin -= WIDTH
    keys = sorted({key for _, key in counts})
    hashes = dict(zip(keys, row_hashes([pl.Series(keys)]).to_pylist(), strict=True))
    places = sorted(counts, key=lambda place: (place[0], hashes[place[1]]))
    return [(key, end, counts[end, key]) for end, key in places]


@pytest.mark.parametrize("size", [WIDTH, 3 * WIDTH])
@pytest.mark.parametrize(
    ("owners", "owner"), [(1, 0), (2, 0), (2, 1), (3, 1), (8, 7), (128, 64), (128, 127)]
)
def test_keys_of_one_range_leave_by_hash(
    windowing: ModuleType, owners: int, owner: int, size: int
) -> None:
    frame = rows_of(owners, owner)
    table = table_of(windowing, size)
    found: list[tuple[str, int, int]] = []
    for begin in range(0, frame.height, 700):
        assert table.add(frame[begin : begin + 700]) is None
        found += rows_in(table.take())
    table.close(END)
    found += rows_in(table.take())
    assert expected_of(frame, size) == found


def test_keys_of_all_hashes_after_those_of_one_range(windowing: ModuleType) -> None:
    """A table that has seen one range alone takes the others as well."""
    frame = pl.concat([rows_of(16, 3), rows_of(1, 0).with_columns(pl.col("time", "mark") + ROWS)])
    table = table_of(windowing, WIDTH)
    assert table.add(frame.rechunk()) is None
    table.close(END)
    assert expected_of(frame, WIDTH) == rows_in(table.take())


def rows_in(batch: pa.RecordBatch | None) -> list[tuple[str, int, int]]:
    return [] if batch is None else pl.DataFrame(batch).rows()
