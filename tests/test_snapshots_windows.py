"""Windows that a kernel folds go on from their snapshots as if nothing had happened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.flows.batch import END, ORIGIN, START, WATERMARK, Batch, Logic
from headwater.flows.clock import ManualClock
from headwater.flows.decompose import Buffered, Incremental, decompose
from headwater.flows.graph import Place
from headwater.flows.operators.window import WindowAggregate, window_schema
from headwater.flows.operators.window_table import WindowsByTable
from headwater.flows.schema import Schema
from headwater.flows.values import StateError
from headwater.flows.windows import HoppingWindow, WholeWindow

from .restarting import through_bytes
from .streams_model import CUTS, DISORDER, INCREMENTAL, KEYS, ROWS, SCHEMA, UNTIMED, Row, fed, place
from .streams_model import aggregates as aggregates_of
from .test_op_window_types import TYPES, typed, typed_aggregates
from .test_snapshots_aggregates import AT, EMIT, KEYED, LATENESS, bits, check, making, rows_of

V, X = pl.col("v"), pl.col("x")
NUMBERS: dict[str, Any] = {
    **{name: expr for name, expr in INCREMENTAL.items() if name not in ("name", "spread")},
    "least": X.min(),
    "first": X.first(),
    "last": X.drop_nulls().last(),
    "var": X.var(ddof=0),
    "wide": (V.max() - V.min()) / pl.len(),
    "square": (V * V).sum(),
}
TIMED, UNTIMED_NUMBERS = aggregates_of(NUMBERS), aggregates_of(NUMBERS, UNTIMED)
SIZES = st.sampled_from([(4, 4), (6, 4), (9, 3)])


@settings(max_examples=60, deadline=None)
@given(ROWS, DISORDER, CUTS, AT, KEYED, SIZES, LATENESS, EMIT)
def test_tumbling_and_hopping_windows(
    rows: list[Row],
    disorder: int,
    cuts: list[int],
    at: list[int],
    keys: tuple[str, ...],
    window: tuple[int, int],
    lateness: int,
    emit: Any,
) -> None:
    spec = WindowAggregate(keys, HoppingWindow(*window), TIMED, lateness, emit)
    make = making(spec, window_schema(SCHEMA, keys, spec.window, TIMED, emit))
    assert isinstance(make(), WindowsByTable)
    check(make, fed(rows_of(rows), disorder, cuts), at)


@settings(max_examples=40, deadline=None)
@given(ROWS, CUTS, AT, KEYED, st.booleans(), EMIT)
def test_whole(
    rows: list[Row], cuts: list[int], at: list[int], keys: tuple[str, ...], timed: bool, emit: Any
) -> None:
    schema, found = (SCHEMA, TIMED) if timed else (UNTIMED, UNTIMED_NUMBERS)
    spec = WindowAggregate(keys, WholeWindow(), found, 0, emit)
    make = making(spec, window_schema(schema, keys, spec.window, found, emit), timed=timed)
    assert isinstance(make(), WindowsByTable)
    check(make, fed(rows_of(rows), 5, cuts, timed=timed), at)


@settings(max_examples=40, deadline=None)
@given(ROWS, CUTS, AT, SIZES, LATENESS, EMIT, st.lists(st.integers(0, 6), max_size=8))
def test_windows_of_processing_time(
    rows: list[Row],
    cuts: list[int],
    at: list[int],
    window: tuple[int, int],
    lateness: int,
    emit: Any,
    passing: list[int],
) -> None:
    spec = WindowAggregate(KEYS, HoppingWindow(*window, 0, "processing"), TIMED, lateness, emit)
    out = window_schema(SCHEMA, KEYS, spec.window, TIMED, emit)
    clock = ManualClock()
    whole, restarted = (spec.build(place(out, clock)) for _ in range(2))
    for number, batch in enumerate(fed(rows_of(rows), 5, cuts)):
        if number in at:
            tables = through_bytes(restarted.snapshot())
            restarted = spec.build(place(out, clock))
            restarted.restore(tables)
        assert bits(whole.tick(clock.now())) == bits(restarted.tick(clock.now()))
        assert bits(whole.receive(0, batch)) == bits(restarted.receive(0, batch))
        clock.advance(passing[number % len(passing)] if passing else 1)


def every_type(keys: Sequence[str], names: Sequence[str]) -> Callable[[], Logic]:
    """Makes windows of 10 µs over rows of every type, the columns renamed."""
    schema = Schema(
        tuple(typed().drop(WATERMARK, ORIGIN).schema.items()),
        event_time="at",
        nullable=frozenset({"kind", *TYPES}),
    )
    made: tuple[Incremental | Buffered, ...] = tuple(
        decompose(name, expr, dict(schema.columns))
        for column in names
        for name, expr in typed_aggregates(column).items()
    )
    spec = WindowAggregate(tuple(keys), HoppingWindow(10, 10), made)
    out = window_schema(schema, tuple(keys), spec.window, made)
    return lambda: spec.build(Place("op", (schema,), out, ManualClock(), 0))


@pytest.mark.parametrize("key", ["kind", *TYPES])
def test_keys_and_values_of_every_type(key: str) -> None:
    frame = typed()
    make = every_type([key, "kind"] if key != "kind" else [key], [*TYPES])
    assert isinstance(make(), WindowsByTable)
    batches = [Batch(frame[n : n + 15], START if n < 30 else 9) for n in range(0, 60, 15)]
    check(make, [*batches, Batch(None, END)], [1, 2, 3, 4])


def test_the_table_says_what_is_held() -> None:
    made = aggregates_of({"n": pl.len(), "mean": X.mean(), "head": V.first()})
    keys = ("j", "k")
    spec = WindowAggregate(keys, HoppingWindow(4, 4), made)
    logic = spec.build(place(window_schema(SCHEMA, keys, spec.window, made)))
    rows = [Row(5, "a", 1, 7, 0.5), Row(4, "a", 1, None, 1.0), Row(9, None, 2, 3, None)]
    logic.receive(0, fed(rows, 20)[0])
    tables = logic.snapshot()
    assert {"watermark": -11, "passed": -11, "sequence": 3} == tables["scalars"].row(0, named=True)
    found = tables["entries"].with_columns(pl.col("begin").to_physical()).rows(named=True)
    assert [
        {"begin": 4, "j": 1, "k": "a", "rows": 2, "count(x)": 1 + 1, "sum(x)": 1.5,
         "first_time(v)": 4, "first(v)": None},
        {"begin": 8, "j": 2, "k": None, "rows": 1, "count(x)": 0, "sum(x)": 0.0,
         "first_time(v)": 9, "first(v)": 3},
    ] == found  # fmt: skip


@pytest.mark.parametrize("dtype", [pl.String(), pl.Enum(["a"])], ids=["text", "category"])
def test_keys_keep_their_names_whatever_they_are(dtype: pl.DataType) -> None:
    names = ("rows", "rows_", "begin")
    schema = Schema((("at", SCHEMA.dtype("at")), *((n, dtype) for n in names)), event_time="at")
    made = (decompose("n", pl.len(), dict(schema.columns)),)
    spec = WindowAggregate(names, HoppingWindow(4, 4), made)
    out = window_schema(schema, names, spec.window, made)

    def make() -> Logic:
        return spec.build(Place("op", (schema,), out, ManualClock(), 0))

    frame = pl.DataFrame(
        {"at": [1], **dict.fromkeys(names, "a"), WATERMARK: [START], ORIGIN: [0]},
        schema_overrides={"at": SCHEMA.dtype("at"), **dict.fromkeys(names, dtype)},
    )
    logic = make()
    logic.receive(0, Batch(frame, START))
    entries = logic.snapshot()["entries"]
    assert ["begin_", *names, "rows__"] == entries.columns
    check(make, [Batch(frame, START), Batch(frame, 2), Batch(None, END)], [1, 2])


def test_entries_of_other_aggregates_are_refused() -> None:
    def making_of(expr: pl.Expr) -> Logic:
        made = aggregates_of({"x": expr})
        spec = WindowAggregate(KEYS, HoppingWindow(4, 4), made)
        return spec.build(place(window_schema(SCHEMA, KEYS, spec.window, made)))

    logic = making_of(X.sum())
    logic.receive(0, fed([Row(1, "a", 1, 1, 1.0)], 9)[0])
    with pytest.raises(StateError, match="op: .* are no entries of it"):
        making_of(V.sum()).restore(logic.snapshot())
