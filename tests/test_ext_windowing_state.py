"""Tables of windows that go on from entries that another gave, in both kernels."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Callable, Sequence
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
from headwater.ext.windowing import END, START

from . import components
from .restarting import through_bytes
from .windows_model import CUTS, KEYS, LONG, PARTS, ROWS, WINDOWS, Row, Windows, frame_of

PAIRS = [(one, other) for one in components.KINDS for other in components.KINDS]


@pytest.fixture(scope="module", params=components.KINDS)
def windowing(request: pytest.FixtureRequest) -> ModuleType:
    """The twin, then the compiled kernel."""
    return components.kernel("windowing", request.param)


@pytest.fixture(scope="module", params=PAIRS, ids="-".join)
def both(request: pytest.FixtureRequest) -> tuple[ModuleType, ModuleType]:
    """The kernel that entries are from, and the one that takes them."""
    one, other = request.param
    return components.kernel("windowing", one), components.kernel("windowing", other)


def made(module: ModuleType, windows: Windows | None, **options: Any) -> Any:
    given: dict[str, Any] = {"keys": KEYS, "parts": PARTS, "time": "time", "watermark": "mark"}
    if windows is not None:
        given |= {
            "size": windows.size, "every": windows.every, "offset": windows.offset,
            "lateness": windows.lateness,
        }  # fmt: skip
    given |= options
    return module.WindowTable(given.pop("keys"), given.pop("parts"), **given)


def written(table: Any) -> tuple[pl.DataFrame, int, int]:
    """What a table is written down as, as another process reads it."""
    batch = table.entries()
    batch.validate(full=True)
    assert table.live == batch.num_rows
    return through_bytes({"e": pl.DataFrame(batch)})["e"], table.passed, table.sequence


def gone_on(table: Any, state: tuple[pl.DataFrame, int, int]) -> Any:
    entries, passed, sequence = state
    table.take_back(entries, passed=passed, sequence=sequence)
    return table


def bits(frame: Any) -> Any:
    """All that is in a frame; floats as bytes, every NaN alike."""
    if frame is None:
        return None
    found = pl.DataFrame(frame)
    return found.schema, [
        tuple(
            (b"nan" if v != v else struct.pack("d", v)) if isinstance(v, float) else v for v in row
        )
        for row in found.rows()
    ]


def step(
    table: Any, rows: pl.DataFrame, mark: int, now: int | None = None, *, updates: bool = False
) -> Any:
    """Everything that a table gives for a batch."""
    late = table.add(rows, now)
    if updates:
        table.update()
    table.close(mark)
    found = bits(table.take())
    return late and late.to_pylist(), found, table.live, table.passed, table.sequence


SOME_PARTS = st.just(PARTS) | st.lists(st.sampled_from(PARTS), max_size=3)
MODES = st.sampled_from(["closed", "updates", "whole", "whole untimed", "processing"])


@settings(max_examples=200, deadline=None)
@given(ROWS, WINDOWS, SOME_PARTS, st.integers(0, 25), CUTS, st.sets(st.integers(0, 5)), MODES)
def test_what_comes_is_as_if_nothing_had_happened(
    both: tuple[ModuleType, ModuleType],
    rows: list[Row],
    windows: Windows,
    parts: Sequence[WindowPart],
    disorder: int,
    cuts: list[int],
    restarts: set[int],
    mode: str,
) -> None:
    one, other = both

    def make(module: ModuleType) -> Any:
        if mode.startswith("whole"):
            time = None if mode == "whole untimed" else "time"
            return made(module, None, parts=parts, time=time, watermark=None)
        return made(module, windows, parts=parts, updates=mode == "updates")

    updates = mode == "updates"
    frame = frame_of(rows, disorder)
    places = [0, *sorted(min(cut, frame.height) for cut in cuts), frame.height]
    whole, restarted = make(one), make(other)
    twin = make(other)
    for number, (begin, end) in enumerate(pairwise(places)):
        if number in restarts:
            state = written(whole)
            restarted = gone_on(make(other), state)
            assert bits(state[0]) == bits(written(restarted)[0])
            assert bits(state[0]) == bits(written(twin)[0])
        now = 7 * number if mode == "processing" else None
        mark = frame["mark"][end] if end < frame.height else START
        if mode.startswith("whole"):
            mark = START
        elif now is not None:
            mark = now
        expected = step(whole, frame[begin:end], mark, now, updates=updates)
        assert expected == step(restarted, frame[begin:end], mark, now, updates=updates)
        assert expected == step(twin, frame[begin:end], mark, now, updates=updates)
        assert bits(whole.entries()) == bits(restarted.entries())
    assert step(whole, frame[:0], END, 99) == step(restarted, frame[:0], END, 99)
    assert (0, END) == (restarted.live, restarted.passed)


def test_many_entries(both: tuple[ModuleType, ModuleType]) -> None:
    """More than a chunk holds and a block takes, in many panes, some with long texts."""
    randomly = random.Random(7)
    rows = [
        Row(
            randomly.choice([None, "k", LONG]) and f"{randomly.choice(['', LONG])}{n % 4000}",
            n % 3,
            n // 8 - randomly.randrange(60),
            randomly.randrange(-9, 9),
            randomly.random(),
        )
        for n in range(6000)
    ]
    frame = frame_of(rows, 40)
    for windows in (Windows(150, 150), Windows(90, 60, 7, 5), Windows(5000, 5000), None):
        options = {} if windows is not None else {"watermark": None}
        whole, restarted = made(both[0], windows, **options), made(both[1], windows, **options)
        for begin in range(0, 6000, 2000):
            mark = START if windows is None else frame["mark"][begin]
            if begin:
                restarted = gone_on(made(both[1], windows, **options), written(whole))
            part = frame[begin : begin + 2000]
            assert step(whole, part, mark) == step(restarted, part, mark)
        assert windows is not None or whole.live > 3000
        assert step(whole, frame[:0], END) == step(restarted, frame[:0], END)


def test_the_columns_have_names_that_say_what_they_are(windowing: ModuleType) -> None:
    table = made(windowing, Windows(10, 5))
    table.add(frame_of([Row("a", 1, 13, 5, 0.5), Row("a", 1, 12, 9, None)], 9))
    expected = {
        "begin": 10, "text": "a", "number": 1, "rows": 2,
        "count(text)": 2, "count(real)": 1,
        "count(whole)": 2, "sum(whole)": 14, "min(whole)": 5, "max(whole)": 9,
        "first_time(whole)": 12, "first(whole)": 9,
        "last_some_time(whole)": 13, "last_some(whole)": 5,
        "count(real)_": 1, "sum(real)": 0.5, "min(real)": 0.5, "max(real)": 0.5,
        "mean(real)": 0.5, "squares(real)": 0.0,
        "last_time(real)": 13, "last(real)": 0.5,
        "first_some_time(real)": 13, "first_some(real)": 0.5,
    }  # fmt: skip
    found = table.entries().to_pylist()
    assert [[*expected.items()]] == [[*row.items()] for row in found]
    assert (4, 2) == (table.passed, table.sequence)


def test_a_key_keeps_its_name(windowing: ModuleType) -> None:
    keys = pa.schema([("rows", pa.int8()), ("begin", pa.int64())])
    names = windowing.WindowTable(keys, [], size=5).entries().schema.names
    assert ["begin_", "rows", "begin", "rows_"] == names


KEY_TYPES: dict[str, tuple[pl.DataType, list[Any]]] = {
    "i8": (pl.Int8(), [None, -1, 1, 127]),
    "i16": (pl.Int16(), [None, -(2**15), 1, 127]),
    "i32": (pl.Int32(), [None, -1, -(2**31), 127]),
    "u8": (pl.UInt8(), [255, 0, 1, None]),
    "u16": (pl.UInt16(), [65535, 0, 1, None]),
    "u32": (pl.UInt32(), [2**32 - 1, 0, 1, None]),
    "u64": (pl.UInt64(), [0, 2**64 - 1, None, 5]),
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
def test_keys_of_every_type(both: tuple[ModuleType, ModuleType], name: str) -> None:
    names = [*KEY_TYPES] if name == "all" else [name]
    frame = pl.DataFrame([pl.Series(n, KEY_TYPES[n][1]).cast(KEY_TYPES[n][0]) for n in names])
    keys = pa.schema(pa.RecordBatchReader.from_stream(frame).schema)
    whole = both[0].WindowTable(keys, [WindowPart("len")])
    whole.add(frame)
    state = written(whole)
    assert dict(frame.schema) == dict(state[0].select(names).schema)
    restarted = gone_on(both[1].WindowTable(keys, [WindowPart("len")]), state)
    assert bits(state[0]) == bits(restarted.entries())
    assert step(whole, frame[::-1], END) == step(restarted, frame[::-1], END)


def test_keys_of_one_hash_are_told_apart(both: tuple[ModuleType, ModuleType]) -> None:
    # The first word makes one factor of the product zero.
    first = (0xA0761D6478BD642F ^ (12 * 0x9E3779B97F4A7C15)) % 2**64
    raw = [first.to_bytes(8, "little") + n.to_bytes(4, "big") for n in range(300)]
    frame = pl.DataFrame({"raw": raw[::-1]})
    keys = pa.schema([("raw", pa.binary_view())])
    whole = both[0].WindowTable(keys, [WindowPart("len")])
    whole.add(frame)
    restarted = gone_on(both[1].WindowTable(keys, [WindowPart("len")]), written(whole))
    restarted.add(frame[::3])
    restarted.close(END)
    found = restarted.take().to_pydict()
    assert raw == found["0"]
    assert [2 if n % 3 == 2 else 1 for n in range(300)] == found["2"]


def of_bits(number: int) -> float:
    found: float = struct.unpack("d", struct.pack("Q", number))[0]
    return found


def test_floats_are_kept_bit_by_bit(both: tuple[ModuleType, ModuleType]) -> None:
    odd = [of_bits(0x7FF8_0000_0000_BEEF), of_bits(0xFFF8_0000_0000_0001), -0.0, 5e-324]
    kinds = ("min", "max", "first", "last")
    parts = [WindowPart(kind, "real", True) for kind in kinds]  # type: ignore[arg-type]
    frame = frame_of([Row("a", n, 3, None, value) for n, value in enumerate(odd)], 0)
    whole = made(both[0], None, parts=parts, watermark=None)
    whole.add(frame)
    restarted = gone_on(made(both[1], None, parts=parts, watermark=None), written(whole))
    again = pl.DataFrame(restarted.entries()).sort("number")
    restarted.close(END)
    found = pl.DataFrame(restarted.take()).sort("1")
    expected = [struct.pack("d", value) for value in odd]
    for held, part in (("first(real)", "5"), ("last(real)", "6")):
        assert expected == [struct.pack("d", v) for v in again[held]]
        assert expected == [struct.pack("d", v) for v in found[part]]
    assert expected[2:] == [struct.pack("d", v) for v in again["min(real)"]][2:]
    assert expected[2:] == [struct.pack("d", v) for v in again["max(real)"]][2:]


def test_the_first_and_last_times_there_are(both: tuple[ModuleType, ModuleType]) -> None:
    windows = Windows(1000, 7, 3)
    rows = [Row("a", 1, time) for time in (-(2**61), -(2**61) + 5, 2**61 - 1, 2**61)]
    frame = frame_of(rows, 0).with_columns(pl.lit(START, pl.Int64).alias("mark"))
    parts = [WindowPart("len"), WindowPart("first", "whole")]
    whole = made(both[0], windows, parts=parts)
    whole.add(frame)
    restarted = gone_on(made(both[1], windows, parts=parts), written(whole))
    assert bits(whole.entries()) == bits(restarted.entries())
    assert step(whole, frame, START) == step(restarted, frame, START)
    assert step(whole, frame[:0], END) == step(restarted, frame[:0], END)


def test_entries_stay_as_they_are(windowing: ModuleType) -> None:
    table = made(windowing, Windows(10, 5))
    table.add(frame_of([Row(f"{LONG}{n}", n, n % 9, n, n / 3) for n in range(500)], 30))
    state = table.entries()
    before = bits(state)
    table.add(frame_of([Row(f"{LONG}{n}", n, n % 19, n, n / 3) for n in range(900)], 30))
    table.close(END)
    assert 1400 < table.take().num_rows
    del table
    assert before == bits(state)


def test_nothing_comes_of_nothing(both: tuple[ModuleType, ModuleType]) -> None:
    for windows in (Windows(10, 5), None):
        fresh = made(both[0], windows)
        state = written(fresh)
        assert (0, START, 0) == (state[0].height, *state[1:])
        restarted = gone_on(made(both[1], windows), state)
        assert None is restarted.take()
        assert bits(state[0]) == bits(restarted.entries())
    bare = both[0].WindowTable(pa.schema([]), [], size=5)
    bare.add(pl.DataFrame({"x": [1, 2]}), 3)
    bare.add(pl.DataFrame({"x": [1]}), 8)
    found = written(gone_on(both[1].WindowTable(pa.schema([]), [], size=5), written(bare)))
    assert ([(0, 2), (5, 1)], START, 3) == (found[0].rows(), *found[1:])


def test_what_is_given_is_taken_first(windowing: ModuleType) -> None:
    table = made(windowing, Windows(10, 10), updates=True)
    table.add(frame_of([Row("a", 1, 3), Row("b", 1, 14)], 0))
    with pytest.raises(ValueError, match="given and taken first"):
        table.entries()
    table.update()
    with pytest.raises(ValueError, match="given and taken first"):
        table.entries()
    table.take()
    assert 2 == table.entries().num_rows


def arrow(frame: pl.DataFrame) -> pa.Table:
    return frame.to_arrow(compat_level=pl.CompatLevel.newest())


def null(name: str) -> Callable[[pl.DataFrame], Any]:
    return lambda f: f.with_columns(
        pl.when(pl.int_range(pl.len()) == 2).then(None).otherwise(pl.col(name)).alias(name)
    )


def put(name: str, value: Any) -> Callable[[pl.DataFrame], Any]:
    return lambda f: f.with_columns(
        pl.when(pl.int_range(pl.len()) == 2).then(value).otherwise(pl.col(name)).alias(name)
    )


SPOILED: dict[str, Callable[[pl.DataFrame], Any]] = {
    "a column less": lambda f: f.drop("sum(real)"),
    "a column more": lambda f: f.with_columns(x=1),
    "another name": lambda f: f.rename({"sum(real)": "sum(x)"}),
    "another order": lambda f: f.select(reversed(f.columns)),
    "another type": lambda f: f.with_columns(pl.col("rows").cast(pl.Float64)),
    "another key": lambda f: f.with_columns(pl.col("text").cast(pl.Binary)),
    "chunks": lambda f: pa.concat_tables([arrow(f[:2]), arrow(f[2:])]),
    "no begin": null("begin"),
    "no rows": null("rows"),
    "no count": null("count(real)"),
    "no sum": null("sum(real)"),
    "no mean": null("mean(real)"),
    "no squares": null("squares(real)"),
    "no minimum": null("min(real)"),
    "no maximum": null("max(whole)"),
    "no time": null("first_time(whole)"),
    "no time of values": null("last_some_time(whole)"),
    "0 rows": put("rows", 0),
    "rows below 0": put("rows", -(2**63)),
    "more rows than came": put("rows", 1999),
    "rows without end": put("rows", 2**63 - 1),
    "more values than rows": put("count(real)", 9),
    "values below 0": put("count(real)", -1),
    "a minimum of nothing": put("count(whole)", 0),
    "begins within panes": lambda f: f.with_columns(pl.col("begin") + 3),
    "a begin that is closed": put("begin", -20),
    "a begin out of range": put("begin", 2**63 - 1),
    "a begin far below": put("begin", -(2**63)),
    "panes in disorder": lambda f: f[::-1],
    "a pane twice": lambda f: pl.concat([f, f[:1]], rechunk=True),
}


REFUSED = "have the columns|several chunks|no open pane|begin is null|there twice|cannot be held"


def state_to_spoil(module: ModuleType) -> tuple[pl.DataFrame, int, int]:
    table = made(module, Windows(10, 10), parts=PARTS)
    rows = [Row(text, 1, time, 5, 0.5) for time in (3, 13, 23) for text in ("a", "b")]
    table.add(frame_of(rows, 30))
    return written(table)


@pytest.mark.parametrize("name", SPOILED)
def test_what_no_table_gave_is_refused(windowing: ModuleType, name: str) -> None:
    entries, passed, _ = state_to_spoil(windowing)
    spoiled = SPOILED[name](entries)
    with pytest.raises(ValueError, match=REFUSED):
        made(windowing, Windows(10, 10)).take_back(spoiled, passed=passed, sequence=2000)


@pytest.mark.parametrize("parts", [[], PARTS], ids=["none", "all"])
def test_a_key_is_there_once(windowing: ModuleType, parts: list[WindowPart]) -> None:
    table = made(windowing, None, parts=parts, watermark=None)
    table.add(frame_of([Row(text, 1, 3, 5, 0.5) for text in ("a", "b", LONG)], 30))
    entries = pl.DataFrame(table.entries())
    for places in ([0, 1, 1], [2, 0, 1, 2], [0, 1, 2] * 300):
        with pytest.raises(ValueError, match="there twice"):
            made(windowing, None, parts=parts, watermark=None).take_back(
                entries[places], passed=START, sequence=2000
            )


def test_a_place_that_no_table_has_is_refused(windowing: ModuleType) -> None:
    entries, _, _ = state_to_spoil(windowing)
    for passed, sequence in ((END + 1, 0), (-(2**63), 0), (0, -1), (2**80, 0), (0, 2**80)):
        with pytest.raises(ValueError, match="no table has passed"):
            made(windowing, Windows(10, 10)).take_back(entries, passed=passed, sequence=sequence)
    with pytest.raises(ValueError, match="no open pane begins"):
        made(windowing, Windows(10, 10)).take_back(entries, passed=10, sequence=6)
    with pytest.raises(ValueError, match="cannot be held"):  # there are six rows
        made(windowing, Windows(10, 10)).take_back(entries, passed=9, sequence=5)
    made(windowing, Windows(10, 10)).take_back(entries, passed=9, sequence=6)


def test_a_table_that_is_not_fresh_takes_nothing_back(windowing: ModuleType) -> None:
    state = state_to_spoil(windowing)
    table = gone_on(made(windowing, Windows(10, 10)), state)
    with pytest.raises(ValueError, match="not fresh"):
        gone_on(table, state)
    passed = made(windowing, Windows(10, 10))
    passed.close(5)
    with pytest.raises(ValueError, match="not fresh"):
        gone_on(passed, state)


@pytest.mark.parametrize(("size", "buffer", "offset"), [(20, 1, 0), (20, 0, 13), (-1, 0, 0)])
def test_a_key_that_points_outside_is_told(
    windowing: ModuleType, size: int, buffer: int, offset: int
) -> None:
    views = pa.py_buffer(struct.pack("<i4sii", size, b"abcd", buffer, offset))
    texts = pa.Array.from_buffers(pa.string_view(), 1, [None, views, pa.py_buffer(b"abcd" * 8)])
    batch = pa.RecordBatch.from_arrays([texts, pa.array([1])], ["text", "rows"])
    table = windowing.WindowTable(pa.schema([("text", pa.string_view())]), [])
    with pytest.raises(ValueError, match="outside|view|buffer"):
        table.take_back(batch, passed=START, sequence=1)


def test_entries_may_be_a_part_of_a_longer_batch(windowing: ModuleType) -> None:
    entries, passed, sequence = state_to_spoil(windowing)
    longer: Sequence[pl.DataFrame] = [entries.clear(), entries, entries]
    batch = pa.RecordBatchReader.from_stream(pl.concat(longer, rechunk=True)).read_next_batch()
    table = made(windowing, Windows(10, 10))
    table.take_back(batch.slice(5, 3).slice(1, 2), passed=passed, sequence=sequence)
    assert bits(entries[:2]) == bits(table.entries())
