"""Windows over columns of every type: what a kernel folds, and what is folded by slots."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from headwater.flows.batch import END, ORIGIN, START, WATERMARK, Batch
from headwater.flows.clock import ManualClock
from headwater.flows.decompose import decompose
from headwater.flows.graph import Place
from headwater.flows.operators.window import WindowAggregate, window_schema
from headwater.flows.schema import Schema
from headwater.flows.windows import HoppingWindow

from .streams_model import TIME

TYPES: dict[str, pl.DataType] = {
    "i8": pl.Int8(), "i64": pl.Int64(), "u32": pl.UInt32(), "flag": pl.Boolean(),
    "f32": pl.Float32(), "f64": pl.Float64(), "day": pl.Date(), "hour": pl.Time(),
    "span": pl.Duration("ms"), "zoned": pl.Datetime("ms", "Europe/Rome"), "text": pl.String(),
}  # fmt: skip


def typed() -> pl.DataFrame:
    """Rows of every type, with nulls, in three windows; `kind` is a category."""
    numbers = [n % 5 if n % 7 else None for n in range(60)]
    return pl.DataFrame(
        {
            "at": pl.Series([n * 7 % 30 for n in range(60)], dtype=pl.Int64).cast(TIME),
            "kind": pl.Series(["a", "b", None] * 20, dtype=pl.Enum(["b", "a"])),
            **{name: pl.Series(numbers, dtype=pl.Int64).cast(t) for name, t in TYPES.items()},
            WATERMARK: pl.Series([START] * 60, dtype=pl.Int64),
            ORIGIN: pl.Series(range(60), dtype=pl.Int64),
        }
    )


def typed_aggregates(name: str) -> dict[str, pl.Expr]:
    """Those that a column's type has, alone and in expressions."""
    column, dtype = pl.col(name), TYPES[name]
    made = {"count": column.count(), "nulls": column.null_count()}
    if name == "text":
        return made
    made |= {"first": column.first(), "some": column.drop_nulls().last(), "high": column.max()}
    if dtype.is_numeric():
        made |= {"sum": column.sum(), "mean": column.mean(), "var": column.var(ddof=0)}
        made |= {"share": (column > 2).sum() / pl.len(), "wide": column.max() - column.min()}
    if name == "flag":
        made |= {"any": column.any(), "all": column.all(), "true": column.sum()}
    return {f"{name}_{kind}": expr for kind, expr in made.items()}


def finished(columns: dict[str, pl.Expr], keys: tuple[str, ...]) -> tuple[str, pl.DataFrame]:
    """The logic that is chosen, and the windows that it gives for the rows of every type."""
    frame = typed()
    schema = Schema(
        tuple(frame.drop(WATERMARK, ORIGIN).schema.items()),
        event_time="at",
        nullable=frozenset({"kind", *TYPES}),
    )
    made = tuple(decompose(name, expr, dict(schema.columns)) for name, expr in columns.items())
    window = HoppingWindow(10, 10)
    out = window_schema(schema, keys, window, made)
    logic = WindowAggregate(keys, window, made).build(Place("op", (schema,), out, ManualClock(), 0))
    logic.receive(0, Batch(frame[:25], START))
    logic.receive(0, Batch(frame[25:], START))
    rows = logic.receive(0, Batch(None, END)).batches[0].rows
    assert rows is not None
    assert out.polars() == pl.Schema(rows.drop(WATERMARK, ORIGIN).schema)
    return type(logic).__name__, rows.select(*keys, "start", *columns)


@pytest.mark.parametrize("key", ["kind", "zoned", "text", "flag"])
@pytest.mark.parametrize("name", TYPES)
def test_both_ways_give_the_same_of_every_type(name: str, key: str) -> None:
    columns = typed_aggregates(name)
    way, found = finished(columns, (key,))
    other, expected = finished({**columns, "middle": pl.col("i64").median()}, (key,))
    assert ("WindowsByTable", "HoppingSlots") == (way, other)
    assert expected.drop("middle").equals(found)


@pytest.mark.parametrize(("every", "most"), [(2_500_000, 4), (3_333_333, 6)])
def test_what_is_open_does_not_grow_with_rows_whatever_the_step(every: int, most: int) -> None:
    window = HoppingWindow(10_000_000, every)
    frame = pl.DataFrame(
        {
            "at": pl.Series(range(0, 10_000_000, 10_000), dtype=pl.Int64).cast(TIME),
            WATERMARK: pl.Series([START] * 1000, dtype=pl.Int64),
            ORIGIN: pl.Series(range(1000), dtype=pl.Int64),
        }
    )
    schema = Schema((("at", TIME),), event_time="at")
    made = (decompose("n", pl.len(), dict(schema.columns)),)
    place = Place("op", (schema,), window_schema(schema, (), window, made), ManualClock(), 0)
    logic: Any = WindowAggregate((), window, made).build(place)
    logic.receive(0, Batch(frame, START))
    assert most == logic.live
    rows = logic.receive(0, Batch(None, END)).batches[0].rows
    assert rows is not None
    starts = range(-every * (9_999_999 // every), 10_000_000, every)
    expected = [
        sum(start <= at < start + 10_000_000 for at in range(0, 10_000_000, 10_000))
        for start in starts
    ]
    assert [count for count in expected if count] == rows["n"].to_list()


def test_what_a_kernel_does_not_fold_goes_by_slots() -> None:
    for expr in (
        pl.col("text").max(), pl.col("text").first(), pl.col("i64").n_unique(),
        pl.col("i64").median(), pl.col("i64").implode(),
    ):  # fmt: skip
        assert "HoppingSlots" == finished({"x": expr}, ("kind",))[0]
    assert "WindowsByTable" == finished({"x": pl.lit(1) + pl.len()}, ())[0]
