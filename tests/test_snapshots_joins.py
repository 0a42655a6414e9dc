"""Buffers, joins, the best rows, deduplication, merges and intakes made anew from snapshots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.flows.batch import DELETED, END, HIDDEN, START, Batch, Logic, Output, visible
from headwater.flows.clock import ManualClock
from headwater.flows.connector import Chunk, Dead
from headwater.flows.engine.intake import Intake
from headwater.flows.graph import Place, Spec
from headwater.flows.merge import Merge
from headwater.flows.operators.asof import AsofJoin, asof_schema
from headwater.flows.operators.deduplicate import Deduplicate
from headwater.flows.operators.interval import IntervalJoin, interval_schema
from headwater.flows.operators.lookup import LookupJoin, lookup_schema
from headwater.flows.operators.ordered import OrderedBuffer
from headwater.flows.operators.top import Top, top_schema
from headwater.flows.operators.union import Union
from headwater.flows.operators.window_join import WindowJoin, window_join_schema
from headwater.flows.schema import Schema
from headwater.flows.snapshot import Tables
from headwater.flows.windows import HoppingWindow

from .joins_model import interleaved
from .restarting import through_bytes
from .streams_model import SCHEMA, UNTIMED, Row, fed

Step = Callable[[Any], Any]
"""A call on what is tested."""

NAN = float("nan")
ROW = st.builds(
    Row,
    st.integers(-8, 16),
    st.sampled_from([None, "a", "b"]),
    st.sampled_from([None, 0, 1]),
    st.sampled_from([None, -1, 2]),
    st.sampled_from([None, 0.0, -0.0, NAN, -NAN, 0.1, float("inf")]),
)
ROWS = st.one_of(st.lists(ROW, max_size=8), st.lists(ROW, min_size=15, max_size=30))
CUTS = st.lists(st.integers(0, 30), max_size=8)
DISORDER = st.sampled_from([0, 3, 12, 25])
KEYS = st.sampled_from([("k",), ("k", "j"), ("x",)])
PLACES = st.sets(st.integers(0, 20), min_size=1, max_size=4)
"""Before which steps it is made anew; positions after the last count from the first again."""


def bits(column: pl.Series) -> list[Any]:
    """Return a column's values, floats as their bits."""
    if column.dtype.is_float():
        whole = pa.int32() if column.dtype == pl.Float32 else pa.int64()
        found: list[Any] = column.rechunk().to_arrow().view(whole).to_pylist()
        return found
    return column.to_physical().to_list() if column.dtype.is_temporal() else column.to_list()


def shown(given: Any) -> Any:
    """Return what was given so that equal means bit for bit: also zeros, NaNs and types."""
    if isinstance(given, pl.DataFrame):
        return given.schema, [bits(column) for column in given.get_columns()]
    if isinstance(given, Batch):
        return shown(given.rows), given.watermark
    if isinstance(given, Output):
        return shown([given.batches, given.late, given.dead])
    if isinstance(given, dict):
        return {name: shown(value) for name, value in given.items()}
    return [shown(one) for one in given] if isinstance(given, list | tuple) else given


def counted(made: Any) -> dict[str, Any]:
    """Return the counts that others read."""
    names = ("held_rows", "live", "dropped", "watermark", "ended")
    return {name: getattr(made, name) for name in names if hasattr(made, name)}


def assert_goes_on(make: Callable[[], Any], steps: Sequence[Step], places: set[int]) -> None:
    """Make it anew before some steps; what it gives must be what an undisturbed one gives."""
    undisturbed, other = make(), make()
    starts = {place % len(steps) for place in places}
    for number, step in enumerate(steps):
        if number in starts:
            before, other = other, make()
            taken: Tables = before.snapshot()
            written = through_bytes(taken)
            for later in steps[number:]:
                later(before)
            assert shown(written) == shown(taken), "later calls have changed the snapshot"
            other.restore(written)
            assert counted(undisturbed) == counted(other)
        assert shown(step(undisturbed)) == shown(step(other))
        assert counted(undisturbed) == counted(other)
    fresh = make()
    fresh.restore(through_bytes(make().snapshot()))
    assert shown(make().snapshot()) == shown(fresh.snapshot())
    assert counted(make()) == counted(fresh)


def receive(*given: Any) -> Step:
    return lambda made: made.receive(*given)


def built(spec: Spec, out: Schema, *inputs: Schema, timed: bool = True) -> Callable[[], Logic]:
    return lambda: spec.build(Place("op", inputs, out, ManualClock(), 0, timed=timed))


def batches_of(rows: list[Row], disorder: int, cuts: list[int], timed: bool = True) -> list[Batch]:
    """Return the rows in batches, of which none has a frame without rows."""
    found = fed(rows, disorder, cuts, timed=timed)
    return [b if b.rows is not None and b.rows.height else replace(b, rows=None) for b in found]


@st.composite
def two_inputs(draw: st.DrawFn, *, upsert: bool = False) -> list[Step]:
    """Steps of a join of two streams of `SCHEMA`; with `upsert` the right one deletes rows."""
    left = batches_of(draw(ROWS), draw(DISORDER), draw(CUTS))
    right = batches_of(draw(ROWS), draw(DISORDER), draw(CUTS))
    if upsert:
        deleted = (pl.col("v").fill_null(0) < 0).alias(DELETED)
        right = [
            replace(b, rows=b.rows.select(pl.exclude(HIDDEN), deleted, *HIDDEN))
            if b.rows is not None
            else b
            for b in right
        ]
    turns = draw(st.lists(st.booleans(), max_size=14))
    return [receive(port, batch) for port, batch in interleaved(left, right, turns)]


@settings(max_examples=80, deadline=None)
@given(
    ROWS, DISORDER, CUTS, KEYS, st.booleans(), st.integers(1, 5),
    st.lists(st.none() | st.integers(-10, 20), max_size=6), PLACES,
)  # fmt: skip
def test_an_ordered_buffer_goes_on(
    rows: list[Row],
    disorder: int,
    cuts: list[int],
    keys: tuple[str, ...],
    timed: bool,
    times: int,
    watermarks: list[int | None],
    places: set[int],
) -> None:
    def add(batch: pl.DataFrame) -> Step:
        return lambda buffer: buffer.add(batch)

    def release(watermark: int) -> Step:
        return lambda buffer: buffer.release(watermark)

    # Many small batches: they are made one at some time.
    cuts = [*cuts, *range(len(rows) * times)] if times > 2 else cuts
    steps: list[Step] = []
    for number, batch in enumerate(fed(rows * times, disorder, cuts, timed=timed)):
        if batch.rows is not None:
            steps.append(add(batch.rows))
        watermark = watermarks[number % len(watermarks)] if watermarks else batch.watermark
        if watermark is not None:
            steps.append(release(watermark))
    steps.append(release(END))
    assert_goes_on(lambda: OrderedBuffer("at" if timed else None, keys), steps, places)


def test_an_ordered_buffer_shows_the_rows_that_it_holds() -> None:
    buffer = OrderedBuffer("at", ("k",))
    assert {"scalars"} == set(buffer.snapshot())
    rows = fed([Row(t, "a", 0, t, 0.5) for t in (3, 1, 2)], 5, [1])
    for batch in rows[:2]:
        assert batch.rows is not None
        buffer.add(batch.rows)
    held = buffer.snapshot()["rows"]
    assert [1, 2, 3] == sorted(held["v"])
    assert [*SCHEMA.names, *HIDDEN] == held.columns


@settings(max_examples=40, deadline=None)
@given(
    two_inputs(), KEYS, st.integers(-2, 6), st.integers(2, 6),
    st.sampled_from(["inner", "left", "full"]), PLACES,
)  # fmt: skip
def test_an_interval_join_goes_on(
    steps: list[Step], keys: tuple[str, ...], before: int, after: int, how: Any, places: set[int]
) -> None:
    spec = IntervalJoin(keys, "at", "at", before, after, how)
    out = interval_schema(SCHEMA, SCHEMA, keys, how)
    assert_goes_on(built(spec, out, SCHEMA, SCHEMA), steps, places)


@settings(max_examples=40, deadline=None)
@given(
    two_inputs(), KEYS, st.integers(1, 6), st.integers(0, 6), st.integers(0, 3),
    st.sampled_from(["inner", "left", "full"]), PLACES,
)  # fmt: skip
def test_a_window_join_goes_on(
    steps: list[Step],
    keys: tuple[str, ...],
    every: int,
    more: int,
    offset: int,
    how: Any,
    places: set[int],
) -> None:
    spec = WindowJoin(keys, "at", "at", every + more, every, offset, how)
    out = window_join_schema(SCHEMA, SCHEMA, keys, how)
    assert_goes_on(built(spec, out, SCHEMA, SCHEMA), steps, places)


@settings(max_examples=40, deadline=None)
@given(
    two_inputs(),
    st.one_of(st.just(()), KEYS),
    st.sampled_from(
        [("backward", None), ("backward", 0), ("backward", 4), ("forward", 4), ("nearest", 4)]
    ),
    st.sampled_from(["left", "inner"]),
    PLACES,
)
def test_an_asof_join_goes_on(
    steps: list[Step],
    keys: tuple[str, ...],
    way: tuple[Any, int | None],
    how: Any,
    places: set[int],
) -> None:
    spec = AsofJoin(keys, "at", "at", way[1], way[0], how)
    out = asof_schema(SCHEMA, SCHEMA, keys, how)
    assert_goes_on(built(spec, out, SCHEMA, SCHEMA), steps, places)


@settings(max_examples=40, deadline=None)
@given(
    st.booleans().flatmap(lambda upsert: st.tuples(st.just(upsert), two_inputs(upsert=upsert))),
    st.sampled_from([("k",), ("k", "j")]),
    PLACES,
)
def test_a_lookup_join_goes_on(
    given_steps: tuple[bool, list[Step]], keys: tuple[str, ...], places: set[int]
) -> None:
    upsert, steps = given_steps
    right = replace(SCHEMA, key=keys) if upsert else SCHEMA
    spec = LookupJoin(keys, keys, "at", "at")
    out = lookup_schema(SCHEMA, right, keys, keys)
    assert_goes_on(built(spec, out, SCHEMA, right), steps, places)


@pytest.mark.parametrize("way", [("backward", None), ("backward", 40), ("nearest", 40)])
def test_an_asof_join_goes_on_to_forget_when_it_would_have(way: tuple[Any, int | None]) -> None:
    rows = [Row(n, "abcdefgh"[n * n % 8], None, n, -0.0) for n in range(200)]
    batches = fed(rows, 0, range(0, 200, 7))
    steps = [receive(port, batch) for batch in batches for port in (1, 0)]
    spec = AsofJoin(("k",), "at", "at", way[1], way[0])
    out = asof_schema(SCHEMA, SCHEMA, ("k",))
    assert_goes_on(built(spec, out, SCHEMA, SCHEMA), steps, {14, 15, 31, 46})


def test_of_changes_at_the_same_time_the_last_to_come_still_counts() -> None:
    table = replace(SCHEMA, key=("k",))
    names = [*SCHEMA.names, DELETED, *HIDDEN]
    changes = [Row(5, "a", None, value, None) for value in (3, 2, 1)]
    right = [
        replace(b, rows=b.rows.with_columns(pl.lit(False).alias(DELETED)).select(names))
        for b in fed(changes, 3, [1, 2])[1:3]
        if b.rows is not None
    ]
    rows = fed([Row(6, "a", None, 0, None)], 3)
    steps = [
        *(receive(1, batch) for batch in right),
        *(receive(0, batch) for batch in rows),
        receive(1, Batch(None, END)),
    ]
    spec = LookupJoin(("k",), ("k",), "at", "at")
    out = lookup_schema(SCHEMA, table, ("k",), ("k",))
    assert_goes_on(built(spec, out, SCHEMA, table), steps, {1})


@settings(max_examples=40, deadline=None)
@given(
    ROWS, DISORDER, CUTS, st.one_of(st.just(()), KEYS), st.integers(1, 3),
    st.sampled_from(["v", "x"]), st.booleans(), st.sampled_from([None, (5, 5, 0), (7, 3, 1)]),
    st.booleans(), PLACES,
)  # fmt: skip
def test_the_best_rows_go_on(
    rows: list[Row],
    disorder: int,
    cuts: list[int],
    keys: tuple[str, ...],
    k: int,
    by: str,
    descending: bool,
    window: tuple[int, int, int] | None,
    timed: bool,
    places: set[int],
) -> None:
    timed = timed or window is not None
    schema = SCHEMA if timed else UNTIMED
    hopping = HoppingWindow(*window) if window else None
    spec = Top(keys, k, by, descending, hopping, lateness=2 if window else 0)
    out = top_schema(schema, keys, k, by, hopping)
    batches = fed(rows, disorder, cuts, timed=timed)
    steps = [receive(0, given) for batch in batches for given in (batch, Batch(None, START))]
    assert_goes_on(built(spec, out, schema), steps, places)


def test_the_best_rows_go_on_when_candidates_are_reduced() -> None:
    rows = [Row(n // 900, "ab"[n % 2], None, n * 7 % 11, -0.0) for n in range(18_000)]
    spec = Top(("k",), 2000, "v", window=HoppingWindow(10, 5))
    out = top_schema(SCHEMA, ("k",), 2000, "v", HoppingWindow(10, 5))
    steps = [receive(0, batch) for batch in fed(rows, 6, range(500, 18_000, 700))]
    assert_goes_on(built(spec, out, SCHEMA), steps, {9, 20})


@dataclass
class Timed:
    """A logic over processing time, with its clock."""

    logic: Logic
    clock: ManualClock

    @property
    def held_rows(self) -> Any:
        return getattr(self.logic, "held_rows", 0)

    def go(self, now: int, batch: Batch) -> list[Output | None]:
        self.clock.advance(now - self.clock.now())
        return [self.logic.tick(now), self.logic.receive(0, batch)]

    def snapshot(self) -> Tables:
        return self.logic.snapshot()

    def restore(self, tables: Tables) -> None:
        self.logic.restore(tables)


@settings(max_examples=30, deadline=None)
@given(ROWS, CUTS, st.lists(st.integers(0, 9), min_size=1), PLACES)
def test_the_best_rows_of_windows_of_processing_time_go_on(
    rows: list[Row], cuts: list[int], moves: list[int], places: set[int]
) -> None:
    window = HoppingWindow(10, 5, time="processing")
    spec, out = Top(("k",), 2, "x", window=window), top_schema(UNTIMED, ("k",), 2, "x", window)

    def made() -> Timed:
        clock = ManualClock()
        return Timed(spec.build(Place("op", (UNTIMED,), out, clock, 0)), clock)

    def step(now: int, batch: Batch) -> Step:
        return lambda timed: timed.go(now, batch)

    batches = fed(rows, 0, cuts, timed=False)
    times = [sum(moves[i % len(moves)] for i in range(n)) for n in range(len(batches))]
    steps = [step(now, batch) for now, batch in zip(times, batches, strict=True)]
    assert_goes_on(made, steps, places)


@settings(max_examples=40, deadline=None)
@given(
    ROWS, DISORDER, CUTS, st.one_of(st.just(()), KEYS), st.sampled_from([None, 0, 3, 9]),
    st.booleans(), PLACES,
)  # fmt: skip
def test_deduplication_goes_on(
    rows: list[Row],
    disorder: int,
    cuts: list[int],
    keys: tuple[str, ...],
    within: int | None,
    timed: bool,
    places: set[int],
) -> None:
    timed = timed or within is not None
    schema = SCHEMA if timed else UNTIMED
    spec = Deduplicate(keys, within)
    batches = fed(rows, disorder, cuts, timed=timed)
    steps = [receive(0, given) for batch in batches for given in (batch, Batch(None, START))]
    assert_goes_on(built(spec, schema, schema), steps, places)


KEY_VALUES: dict[str, tuple[pl.DataType, list[Any]]] = {
    "when": (pl.Datetime("us", "Europe/Berlin"), [0, None, -1, 2**53 + 1]),
    "day": (pl.Date(), [0, 1, None]),
    "clock": (pl.Time(), [1, 86_399_999_999_999]),
    "span": (pl.Duration("us"), [5, -5, None]),
    "part": (pl.Float32(), [0.1, None, NAN, -0.0, 0.0]),
    "large": (pl.UInt64(), [2**64 - 1, 0, None]),
    "raw": (pl.Binary(), [b"", b"\xff\x00", None]),
    "kind": (pl.Enum(["b", "a"]), ["a", "b", None]),
    "label": (pl.Categorical(), ["z", "y", None]),
    "price": (pl.Decimal(10, 2), ["1.50", "1.5", "-3"]),
    "flag": (pl.Boolean(), [True, None, False]),
}


@pytest.mark.parametrize("within", [None, 100])
@pytest.mark.parametrize("name", KEY_VALUES)
def test_deduplication_keeps_keys_of_every_type(name: str, within: int | None) -> None:
    dtype, values = KEY_VALUES[name]
    key = pl.Series(name, values, strict=False).cast(dtype)
    rows = fed([Row(n, None, None, None, None) for n in range(len(values))], 0)[0].rows
    assert rows is not None
    rows = rows.select("at", key, *HIDDEN)
    schema = Schema((("at", SCHEMA.columns[0][1]), (name, dtype)), "at", nullable=frozenset({name}))
    steps = [
        receive(0, Batch(rows, 50)), receive(0, Batch(rows[::-1], 51)), receive(0, Batch(None, 500))
    ]  # fmt: skip
    later = rows.with_columns(pl.col("at") + pl.duration(microseconds=60)), rows
    steps[1] = receive(0, Batch(later[0], 90))
    make = built(Deduplicate((name,), within), schema, schema)
    assert_goes_on(make, steps, {1, 2})
    logic = make()
    logic.receive(0, Batch(rows, 50))
    assert dtype == logic.snapshot()["keys"].schema[name]
    made = make()
    made.restore(through_bytes(logic.snapshot()))
    (again,) = made.receive(0, Batch(later[0], 90)).batches
    assert again.rows is None, "all of them have been seen"


Moves = list[tuple[str, int]]
MOVES = st.lists(
    st.tuples(st.sampled_from(["row", "row", "row", "idle", "end"]), st.integers(0, 2)), max_size=25
)
"""What the channels do, in turn."""


@settings(max_examples=40, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=3), MOVES, CUTS, st.booleans(), PLACES)
def test_a_merge_goes_on(
    lists: list[list[Row]], moves: Moves, cuts: list[int], in_order: bool, places: set[int]
) -> None:
    waiting = [batches_of(rows, 3, cuts, in_order) for rows in lists]
    steps: list[Step] = []

    def idle(channel: int) -> Step:
        return lambda merge: merge.idle(channel)

    for move, number in moves:
        channel = number % len(lists)
        if move == "idle":
            steps.append(idle(channel))
        elif waiting[channel]:
            steps.append(receive(channel, waiting[channel].pop(0)))
    steps.append(lambda merge: [merge.frontier(channel) for channel in range(len(lists))])
    rest = [receive(c, batch) for c, batches in enumerate(waiting) for batch in batches]
    assert_goes_on(lambda: Merge(len(lists), in_order=in_order), [*steps, *rest], places)


def test_a_merge_still_knows_how_far_a_channel_had_come_that_ends() -> None:
    steps: list[Step] = [
        receive(0, Batch(None, 10)),
        receive(1, Batch(None, 3)),
        receive(0, Batch(None, END)),
        lambda merge: merge.idle(1),
    ]
    assert_goes_on(lambda: Merge(2), steps, {2})


@settings(max_examples=30, deadline=None)
@given(two_inputs(), st.booleans(), PLACES)
def test_a_union_goes_on(steps: list[Step], timed: bool, places: set[int]) -> None:
    assert_goes_on(built(Union(2), SCHEMA, SCHEMA, SCHEMA, timed=timed), steps, places)


@settings(max_examples=40, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=3), MOVES, DISORDER, st.booleans(), PLACES)
def test_an_intake_goes_on(
    lists: list[list[Row]], moves: Moves, disorder: int, timed: bool, places: set[int]
) -> None:
    frames = [visible(b.rows) for rows in lists for b in fed(rows, 0)[:1] if b.rows is not None]
    read = [0] * len(lists)
    ended: set[int] = set()
    steps: list[Step] = []

    def call(name: str, *arguments: Any) -> Step:
        return lambda intake: getattr(intake, name)(*arguments)

    for move, number in [*moves, *(("end", n) for n in range(len(lists)))]:
        partition = number % len(lists)
        if partition in ended:
            steps.append(call("frontier", partition))
        elif move == "row":
            first, read[partition] = read[partition], read[partition] + 4
            rows = frames[partition][first : first + 4]
            offsets = pl.Series(range(first, first + rows.height), dtype=pl.Int64)
            steps.append(call("receive", partition, Chunk(rows, offsets, [Dead(first, b"x", "?")])))
        else:
            steps.append(call(move, partition))
            ended |= {partition} if move == "end" else set()
    steps.append(call("follow", END))
    time = "at" if timed else None
    assert_goes_on(lambda: Intake("in", time, disorder, len(lists), 3), steps, places)
