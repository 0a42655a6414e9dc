"""Keyed windows: both kernels against lists of rows in plain Python."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import pairwise
from types import ModuleType
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.ext.accumulators import WindowPart
from headwater.ext.hashing import row_hashes
from headwater.ext.windowing import END, START

from . import components
from .windows_model import (
    CUTS,
    KEYS,
    LONG,
    PARTS,
    ROWS,
    SCHEMA,
    WINDOWS,
    Row,
    Windows,
    frame_of,
    modelled,
    order,
    summary,
)


@pytest.fixture(scope="module", params=components.KINDS)
def windowing(request: pytest.FixtureRequest) -> ModuleType:
    """The twin, then the compiled kernel."""
    return components.kernel("windowing", request.param)


# What the kernels give


@dataclass
class Ran:
    found: list[tuple[Any, ...]]
    late: list[int]
    live: list[int] = field(default_factory=list)
    types: list[pa.DataType] = field(default_factory=list)


def table_of(windowing: ModuleType, windows: Windows | None, **options: Any) -> Any:
    given: dict[str, Any] = {"keys": KEYS, "parts": PARTS, "time": "time", "watermark": "mark"}
    if windows is not None:
        given |= {
            "size": windows.size, "every": windows.every, "offset": windows.offset,
            "lateness": windows.lateness,
        }  # fmt: skip
    given |= options
    return windowing.WindowTable(given.pop("keys"), given.pop("parts"), **given)


def ran(table: Any, frame: pl.DataFrame, cuts: Sequence[int] = ()) -> Ran:
    """Feed a table all rows and the end, in pieces."""
    result = Ran([], [])
    places = [0, *sorted(min(cut, frame.height) for cut in cuts), frame.height]
    for begin, end in pairwise(places):
        late = table.add(frame[begin:end])
        result.late += [begin + place for place in (late or pa.array([], pa.int64())).to_pylist()]
        result.live.append(table.live)
        taken(table, result)
    table.close(END)
    taken(table, result)
    result.live.append(table.live)
    return result


def taken(table: Any, result: Ran) -> None:
    rows = table.take()
    if rows is not None:
        rows.validate(full=True)
        result.types = rows.schema.types
        result.found += list(zip(*(column.to_pylist() for column in rows.columns), strict=True))


def bits(rows: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Rows with floats as bytes, every NaN alike: its payload is the processor's choice."""
    return [
        tuple(
            (b"nan" if v != v else struct.pack("d", v)) if isinstance(v, float) else v for v in row
        )
        for row in rows
    ]


@settings(max_examples=150, deadline=None)
@given(ROWS, WINDOWS, st.integers(0, 25), CUTS)
def test_windows_equal_the_model_at_any_cut(
    windowing: ModuleType, rows: list[Row], windows: Windows, disorder: int, cuts: list[int]
) -> None:
    result = ran(table_of(windowing, windows), frame_of(rows, disorder), cuts)
    expected, late = modelled(rows, windows, disorder)
    assert late == result.late
    assert bits(expected) == bits(result.found)
    assert 0 == result.live[-1]


@settings(max_examples=60, deadline=None)
@given(ROWS, WINDOWS, st.integers(0, 25), CUTS)
def test_updates_are_the_windows_that_rows_came_for(
    windowing: ModuleType, rows: list[Row], windows: Windows, disorder: int, cuts: list[int]
) -> None:
    table = table_of(windowing, windows, updates=True)
    frame = frame_of(rows, disorder)
    places = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    width = math.gcd(windows.size, windows.every)
    for begin, end in pairwise(places):
        result = Ran([], [])
        table.add(frame[begin:end])
        table.update()
        table.close(frame["mark"][end] if end < len(rows) else END)
        taken(table, result)
        _, late = modelled(rows[:end], windows, disorder)
        kept = [row for place, row in enumerate(rows[:end]) if place not in late]
        now = [row for place, row in enumerate(rows[:end]) if place >= begin and place not in late]
        expected = touched(rows[:end], now, windows, disorder)
        assert bits(expected) == bits(result.found), (kept, width)
    assert 0 == table.live


def touched(
    rows: Sequence[Row], now: list[Row], windows: Windows, disorder: int
) -> list[tuple[Any, ...]]:
    """The rows of the windows that the last rows, told by identity, went into."""
    inside = []
    newest = -math.inf
    for row in rows:
        if any(row is other for other in now):
            inside += [
                (row.text, row.number, begin + windows.size)
                for begin in range(row.time - windows.size + 1, row.time + 1)
                if (begin - windows.offset) % windows.every == 0
                and begin + windows.size + windows.lateness > newest - disorder
            ]
        newest = max(newest, row.time)
    return [found for found in modelled(rows, windows, disorder)[0] if found[:3] in inside]


@settings(max_examples=60, deadline=None)
@given(ROWS, CUTS, st.booleans())
def test_one_window_without_end(
    windowing: ModuleType, rows: list[Row], cuts: list[int], timed: bool
) -> None:
    table = table_of(windowing, None, time="time" if timed else None, watermark=None)
    result = ran(table, frame_of(rows, 0), cuts)
    inside: dict[tuple[Any, Any], list[Row]] = {}
    for place, row in enumerate(rows):
        kept = row if timed else replace(row, time=place)
        inside.setdefault((row.text, row.number), []).append(kept)
    expected = [(*key, END, *summary(mine, None)) for key, mine in inside.items()]
    expected.sort(key=lambda found: order(*found[:2]))
    assert bits(expected) == bits(result.found)
    assert [] == result.late
    assert 0 == table.live


def test_rows_may_have_a_time_that_is_given(windowing: ModuleType) -> None:
    table = table_of(windowing, Windows(10, 10), parts=[WindowPart("len")], watermark=None)
    frame = frame_of([Row("a", 1, 70), Row("b", 1, 3), Row("a", 1, 5)], 0)
    assert None is table.add(frame, 12)
    assert None is table.add(frame[:1], 29)
    table.close(20)
    result = Ran([], [])
    taken(table, result)
    assert {("a", 1, 20, 2), ("b", 1, 20, 1)} == {*result.found}
    assert [0, 1, 2] == table.add(frame, 19).to_pylist()
    table.close(30)
    assert [("a", 1, 30, 1)] == list(zip(*table.take().to_pydict().values(), strict=True))


def test_many_rows_of_many_keys(windowing: ModuleType) -> None:
    """Tables that grow, chunks that fill, blocks that end, memory that is used again."""
    randomly = random.Random(7)
    rows = [
        Row(
            randomly.choice([None, "k", LONG]) and f"{randomly.choice(['', LONG])}{n % 700}",
            n % 3,
            n // 8 - randomly.randrange(60),
            randomly.randrange(-9, 9),
            randomly.random(),
        )
        for n in range(6000)
    ]
    for windows in (Windows(150, 150), Windows(90, 60, 7, 5), Windows(5000, 5000)):
        expected, late = modelled(rows, windows, 40)
        for cuts in ([], [1, 255, 256, 257, 1000, 3000]):
            result = ran(table_of(windowing, windows), frame_of(rows, 40), cuts)
            assert late == result.late
            assert bits(expected) == bits(result.found)
            assert 0 == result.live[-1]


def test_what_is_open_is_all_that_is_held(windowing: ModuleType) -> None:
    parts = [WindowPart("sum", "whole")]
    table = table_of(windowing, Windows(10, 10), parts=parts)
    held = []
    for begin in range(0, 3000, 10):
        rows = [Row(f"{LONG}{n}", n, begin + n % 10, n) for n in range(20)]
        held.append(ran_open(table, frame_of(rows, 0), begin))
    assert {20} == {*held[1:]}


def ran_open(table: Any, frame: pl.DataFrame, begin: int) -> int:
    """Add rows of one window, close those before it, and tell what is held."""
    table.add(frame.with_columns(pl.lit(begin - 1, pl.Int64).alias("mark")))
    table.close(begin)
    assert begin == 0 or table.take().num_rows == 20
    found: int = table.live
    return found


KEY_TYPES: dict[str, tuple[pl.DataType, list[Any]]] = {
    "small": (pl.Int8(), [None, -1, 1, 127]),
    "huge": (pl.UInt64(), [0, 2**64 - 1, None, 5]),
    "narrow": (pl.UInt16(), [65535, 0, 1, None]),
    "flag": (pl.Boolean(), [True, False, None, True]),
    "single": (pl.Float32(), [0.0, -0.0, math.nan, 1.5]),
    "double": (pl.Float64(), [math.nan, -math.inf, None, -0.0]),
    "day": (pl.Date(), [date(2024, 1, 1), None, date(1969, 12, 31), date(1970, 1, 1)]),
    "hour": (pl.Time(), [1, 2, None, 3]),
    "span": (pl.Duration("us"), [1, -2, None, 3]),
    "zoned": (pl.Datetime("ms", "Europe/Rome"), [1, -2, None, 3]),
    "raw": (pl.Binary(), [b"", b"\0", None, b"\xff" * 20]),
    "name": (pl.String(), ["", "é" * 20, None, "a"]),
}


@pytest.mark.parametrize("name", [*KEY_TYPES, "all"])
def test_keys_of_every_type_come_back_as_they_were(windowing: ModuleType, name: str) -> None:
    names = [*KEY_TYPES] if name == "all" else [name]
    columns = [pl.Series(n, KEY_TYPES[n][1]).cast(KEY_TYPES[n][0]) for n in names]
    frame = pl.DataFrame(columns)
    frame = pl.concat([frame, frame[1:], frame[:1]])
    keys = pa.schema(pa.RecordBatchReader.from_stream(frame).schema)
    table = windowing.WindowTable(keys, [WindowPart("len")])
    table.add(frame[:3])
    table.add(frame[3:])
    table.close(END)
    found = pl.DataFrame(table.take()).rename({str(place): n for place, n in enumerate(names)})
    assert dict(frame.schema) == dict(found.select(names).schema)
    tidy = frame.with_columns(pl.selectors.float() + 0.0).group_by(names).len("n")
    assert found.height == tidy.height
    both = tidy.join(found, on=names, nulls_equal=True)
    assert tidy.height == both.height
    assert both["n"].to_list() == both[str(len(names) + 1)].to_list()
    hashes = row_hashes([found[n] for n in names]).to_pylist()
    assert sorted(hashes) == hashes


def colliding(count: int) -> list[bytes]:
    """Keys of twelve bytes with one hash: the first word makes one factor of the product zero."""
    first = (0xA0761D6478BD642F ^ (12 * 0x9E3779B97F4A7C15)) % 2**64
    return [first.to_bytes(8, "little") + n.to_bytes(4, "big") for n in range(count)]


def test_keys_of_one_hash_are_told_apart_and_go_by_content(windowing: ModuleType) -> None:
    raw = colliding(300)
    assert 1 == len(set(row_hashes([pa.array(raw, pa.binary())]).to_pylist()))
    frame = pl.DataFrame({"raw": [*raw[::-1], *raw[::3]], "n": [1] * 400})
    keys = pa.schema([("raw", pa.binary_view())])
    table = windowing.WindowTable(keys, [WindowPart("sum", "n")])
    table.add(frame)
    table.close(END)
    found = table.take().to_pydict()
    assert raw == found["0"]
    assert [2 if n % 3 == 0 else 1 for n in range(300)] == found["2"]


def test_keys_of_one_hash_are_merged_in_their_order(windowing: ModuleType) -> None:
    raw = colliding(50)
    frame = pl.DataFrame({"raw": raw + raw[::-1], "t": [0] * 50 + [5] * 50, "m": [START] * 100})
    keys = pa.schema([("raw", pa.binary_view())])
    options = {"size": 10, "every": 5, "time": "t", "watermark": "m"}
    table = windowing.WindowTable(keys, [WindowPart("len")], **options)
    table.add(frame)
    table.close(END)
    found = table.take().to_pydict()
    assert raw * 3 == found["0"]
    assert [5] * 50 + [10] * 50 + [15] * 50 == found["1"]
    assert [1] * 50 + [2] * 50 + [1] * 50 == found["2"]


def test_nothing_comes_of_nothing(windowing: ModuleType) -> None:
    table = table_of(windowing, Windows(10, 10))
    assert None is table.add(frame_of([], 0))
    table.update()
    table.close(END)
    assert None is table.take()
    no_keys = table_of(windowing, Windows(10, 10), keys=pa.schema([]))
    result = ran(no_keys, frame_of([Row("a", 1, 3), Row(None, 2, 4)], 0))
    assert [(10, 2)] == [row[:2] for row in result.found]


def test_a_record_batch_does_as_well_as_a_frame(windowing: ModuleType) -> None:
    frame = frame_of([Row(text, 1, 3, 1) for text in ("x", "a", LONG, "b", "a")], 0)
    batch = pa.RecordBatchReader.from_stream(frame).read_next_batch().slice(1, 4)
    table = table_of(windowing, Windows(10, 10), parts=[WindowPart("sum", "whole")])
    table.add(batch)
    table.close(END)
    found = table.take().to_pydict()
    assert {"a": 2, LONG: 1, "b": 1} == dict(zip(found["0"], found["3"], strict=True))


def test_time_is_cut_to_the_microsecond_before_the_epoch_too(windowing: ModuleType) -> None:
    times = [-(2**61), -11, -10, -1, 0, 9, 10, 2**61]
    rows = [Row("a", 1, time) for time in times]
    frame = frame_of(rows, 0).with_columns(pl.lit(START, pl.Int64).alias("mark"))
    result = ran(table_of(windowing, Windows(10, 10, 3), parts=[WindowPart("len")]), frame)
    ends = [(time - 3) // 10 * 10 + 13 for time in times]
    assert sorted({(end, ends.count(end)) for end in ends}) == [row[2:] for row in result.found]


WRONG: list[tuple[str, type[Exception], Callable[[pl.DataFrame], Any]]] = [
    (
        "several chunks",
        ValueError,
        lambda f: pa.concat_tables([f.to_arrow(compat_level=pl.CompatLevel.newest())] * 2),
    ),
    ("nulls", ValueError, lambda f: f.with_columns(time=pl.lit(None, SCHEMA["time"]))),
    ("nulls", ValueError, lambda f: f.with_columns(mark=pl.lit(None, pl.Int64))),
    ("out of range", ValueError, lambda f: f.with_columns(time=pl.lit(2**61 + 1, pl.Int64))),
    ("out of range", ValueError, lambda f: f.with_columns(time=pl.lit(-(2**63), pl.Int64))),
    ("time", KeyError, lambda f: f.drop("time")),
    ("text", KeyError, lambda f: f.drop("text")),
    ("real", KeyError, lambda f: f.drop("real")),
    ("key", TypeError, lambda f: f.with_columns(pl.col("text").cast(pl.Binary))),
    ("key", TypeError, lambda f: f.with_columns(pl.col("text").cast(pl.Categorical))),
    ("key", TypeError, lambda f: f.with_columns(pl.col("number").cast(pl.Int32))),
    ("column time", TypeError, lambda f: f.with_columns(pl.col("time").cast(pl.Date))),
    ("column mark", TypeError, lambda f: f.with_columns(mark=pl.lit(1, pl.UInt64))),
    ("column whole", TypeError, lambda f: f.with_columns(pl.col("whole").cast(pl.Int32))),
    ("column real", TypeError, lambda f: f.with_columns(pl.col("real").cast(pl.Int64))),
]


@pytest.mark.parametrize(("message", "kind", "spoil"), WRONG)
def test_a_batch_that_cannot_be_taken(
    windowing: ModuleType,
    message: str,
    kind: type[Exception],
    spoil: Callable[[pl.DataFrame], Any],
) -> None:
    table = table_of(windowing, Windows(10, 10))
    with pytest.raises(kind, match=message):
        table.add(spoil(frame_of([Row("a", 1, 3), Row("b", 1, 4)], 0)))


@pytest.mark.parametrize(
    ("size", "buffer", "offset"),
    [
        (20, 1, 0),
        (20, -1, 0),
        (20, 0, 13),
        (20, 0, -1),
        (2**31 - 1, 0, 0),
        (-1, 0, 0),
        (20, 0, 2**31 - 1),
    ],
)
def test_a_view_that_points_outside_is_told(
    windowing: ModuleType, size: int, buffer: int, offset: int
) -> None:
    views = pa.py_buffer(struct.pack("<i4sii", size, b"abcd", buffer, offset))
    texts = pa.Array.from_buffers(pa.string_view(), 1, [None, views, pa.py_buffer(b"abcd" * 8)])
    batch = pa.RecordBatch.from_arrays([texts], ["text"])
    table = windowing.WindowTable(pa.schema([("text", pa.string_view())]), [WindowPart("len")])
    with pytest.raises(ValueError, match="outside|view|buffer"):
        table.add(batch)


def test_what_is_not_a_table(windowing: ModuleType) -> None:
    table = windowing.WindowTable
    wrong = (pa.string(), pa.decimal128(5, 2), pa.list_(pa.int8()), pa.null(), pa.float16())
    for kind in (*wrong, pa.month_day_nano_interval()):
        with pytest.raises(TypeError, match="the key k is"):
            table(pa.schema([("k", kind)]), PARTS)
    with pytest.raises(ValueError, match="33 key columns"):
        table(pa.schema([(str(n), pa.int8()) for n in range(33)]), [])
    for size, every, lateness in ((0, 1, 0), (5, 6, 0), (5, 0, 0), (2**61, 1, 0), (5, 5, -1)):
        with pytest.raises(ValueError, match="windows of"):
            table(KEYS, PARTS, size=size, every=every, lateness=lateness)
    with pytest.raises(ValueError, match="sum of the column None"):
        table(KEYS, [WindowPart("sum")])
    with pytest.raises(ValueError, match="mean is of float64"):
        table(KEYS, [WindowPart("mean", "whole")])
    with pytest.raises(ValueError, match="400 parts"):
        table(KEYS, [WindowPart("first", str(n)) for n in range(400)])
    with pytest.raises(ValueError, match="need a column of times"):
        table(KEYS, [], size=5).add(frame_of([Row("a", 1, 3)], 0))
    with pytest.raises(TypeError):
        table(KEYS, []).add([1, 2])
