"""Aggregates taken apart and folded over arbitrary cuts give what polars gives for the whole."""

from __future__ import annotations

import math
import pickle
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.flows.aggregates import Aggregate, Part, approx_quantile
from headwater.flows.decompose import Buffered, Incremental, decompose
from headwater.flows.errors import ExpressionError
from headwater.flows.pythonfolds import fold_of

x, n, w, b, s = pl.col("x"), pl.col("n"), pl.col("w"), pl.col("b"), pl.col("s")
t, d, m, u, i8 = pl.col("t"), pl.col("d"), pl.col("m"), pl.col("u"), pl.col("i8")

SCHEMA: dict[str, pl.DataType] = {
    "x": pl.Float64(), "n": pl.Int64(), "w": pl.Int32(), "b": pl.Boolean(), "s": pl.String(),
    "t": pl.Datetime("us", "UTC"), "d": pl.Duration("us"), "m": pl.Decimal(12, 2),
    "u": pl.UInt64(), "i8": pl.Int8(),
}  # fmt: skip

INCREMENTAL = [
    pl.len(), x.count(), x.len(), x.sum(), x.mean(), x.min(), x.max(), x.var(), x.std(), x.std(0),
    x.var(2), x.first(), x.last(), n.sum(), n.mean(), n.min(), n.max(), n.var(), w.sum(), w.max(),
    w.mean(), b.sum(), b.mean(), b.min(), b.any(), b.all(), (x > 1).any(), s.min(), s.max(),
    s.first(), s.count(), t.min(), t.max(), t.first(), t.last(), d.sum(), d.mean(), d.max(),
    m.sum(), m.min(), m.mean(), u.min(), u.max(), u.mean(), i8.sum(), i8.min(), i8.std(),
    x.null_count(), x.approx_n_unique(), s.approx_n_unique(), x.sum() / pl.len(),
    (x * n).sum() / n.sum(), x.max() - x.min(), x.filter(n > 0).sum(), x.filter(n > 0).count(),
    s.filter(n > 0).len(), x.filter(b).mean(), x.drop_nulls().sum(), x.drop_nulls().len(),
    x.drop_nulls().first(), x.drop_nans().max(), x.last(ignore_nulls=True), x.dot(n),
    pl.struct(x.min().alias("lo"), x.max().alias("hi")), pl.struct(x.min(), n.max()),
    pl.when(x.count() > 1).then(x.mean()).otherwise(0.0), (t.max() - t.min()).dt.total_seconds(),
    s.str.len_chars().max(), n.sum().cast(pl.String), pl.lit(1), x.mean().alias("other"),
    x.mean().name.suffix("_z"), (n % 3).max(), x.mean().round(1), pl.coalesce(x.min(), 0.0),
]  # fmt: skip

BUFFERED = [
    (x.median(), "`median()` has no incremental form"),
    (x.quantile(0.5), "`quantile()` has no incremental form"),
    (x.n_unique(), "`n_unique()` has no incremental form"),
    (x.implode(), "`implode()` has no incremental form"),
    ((x - x.mean()).sum(), "`mean()` has no incremental form"),
    (x.sort().first(), "`sort()` has no incremental form"),
    (x.nan_max(), "`nan_max()` has no incremental form"),
    (x.product(), "`product()` has no incremental form"),
    (x.diff().sum(), "`diff()` has no incremental form"),
    (u.sum(), "`sum()` of UInt64 has no incremental form"),
    (t.mean(), "`mean()` of Datetime"),
    (x.filter(b).first(), "`first()` of filtered rows has no incremental form"),
    (b.any(ignore_nulls=False), "that keeps nulls"),
    (x.fill_null(math.nan).sum(), "NaN or infinity"),
    (pl.lit(1).sum(), "names no single column"),
    (pl.corr("x", "n"), "`pl.corr()` has no incremental form"),
]


def _frames() -> st.SearchStrategy[pl.DataFrame]:
    at = st.datetimes(datetime(2000, 1, 1), datetime(2030, 1, 1))
    small = st.integers(-100, 100)
    row = st.fixed_dictionaries(
        {
            "x": st.none() | st.integers(-8000, 8000).map(lambda v: v / 8) | st.just(math.nan),
            "n": st.none() | st.integers(-(10**6), 10**6),
            "w": st.none() | st.integers(-(2**31), 2**31 - 1),
            "b": st.none() | st.booleans(),
            "s": st.none() | st.text("abcé", max_size=3),
            "t": st.none() | at,
            "d": st.none() | st.timedeltas(timedelta(-9), timedelta(9)),
            "m": st.none() | st.decimals(-99, 99, places=2),
            "u": st.none() | st.integers(0, 2**63),
            "i8": st.none() | small,
        }
    )
    return st.lists(row, max_size=12).map(
        lambda rows: pl.DataFrame(
            {name: [r[name] for r in rows] for name in SCHEMA},
            {**SCHEMA, "t": pl.Datetime("us")},
        ).with_columns(pl.col("t").dt.replace_time_zone("UTC"))
    )


def _reference(part: Part, batches: Sequence[pl.DataFrame]) -> object:
    """What the engine's compiled folds do: one value at a time, nulls skipped."""
    if part.kind == "len":
        return sum(batch.height for batch in batches)
    expr = part.encoded_input()
    assert expr is not None
    values = [v for batch in batches for v in batch.select(expr).to_series().to_list()]
    values = [value for value in values if value is not None]
    if part.kind in ("count", "sum"):
        total = sum(values) if part.kind == "sum" else len(values)
        wraps = part.encoded == pl.Int64()
        return (total + 2**63) % 2**64 - 2**63 if wraps else float(total)
    if part.kind in ("min", "max"):
        numbers = [value for value in values if value == value]
        return (min if part.kind == "min" else max)(numbers or values, default=None)
    if part.kind == "mean":
        return sum(values) / len(values) if values else None
    return _spread(values, part.parameters[0], root=part.kind == "std")


def _spread(values: list[float], ddof: int, *, root: bool) -> float | None:
    if len(values) <= ddof:
        return None
    mean = squares = 0.0
    for count, value in enumerate(values, 1):
        delta = value - mean
        mean += delta / count
        squares += delta * (value - mean)
    variance = squares / (len(values) - ddof)
    return math.sqrt(variance) if root else variance


def _python(part: Part, batches: Sequence[pl.DataFrame]) -> object:
    """A Python fold: each batch on its own, then merged, with a stop for a snapshot."""
    fold = fold_of(part)
    expr = part.encoded_input()
    assert expr is not None
    merged, position = fold.init(), 0
    for batch in batches:
        state = fold.init()
        for value in batch.select(expr.alias("v"))["v"].to_list():
            state = fold.add(state, position, value)
            position += 1
        merged = fold.merge(merged, pickle.loads(pickle.dumps(state)))
    return fold.result(merged)


def _folded(taken: Incremental, batches: Sequence[pl.DataFrame]) -> pl.Series:
    columns = [
        part.column(f"__{i}", [(_reference if part.compiled else _python)(part, batches)])
        for i, part in enumerate(taken.parts)
    ]
    return pl.DataFrame(columns).select(taken.finish).to_series()


def _close(expected: Any, actual: Any) -> bool:
    if isinstance(expected, dict):
        return all(_close(expected[key], actual[key]) for key in expected)
    if isinstance(expected, float) and isinstance(actual, float):
        same = expected == actual or (math.isnan(expected) and math.isnan(actual))
        return same or math.isclose(expected, actual, rel_tol=1e-9, abs_tol=1e-9)
    return bool(expected == actual)


@pytest.mark.parametrize("expr", INCREMENTAL, ids=str)
def test_it_has_an_incremental_form_of_the_type_polars_gives(expr: pl.Expr) -> None:
    taken = decompose("r", expr, SCHEMA)
    assert isinstance(taken, Incremental), getattr(taken, "reason", "")
    assert pl.DataFrame(schema=SCHEMA).select(expr).dtypes[0] == taken.dtype
    assert taken.finish.meta.output_name() == "r"


@settings(max_examples=40, deadline=None)
@given(frame=_frames(), cuts=st.lists(st.integers(0, 12), max_size=3))
def test_folding_over_any_cut_is_what_polars_gives(frame: pl.DataFrame, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, frame.height) for cut in cuts), frame.height]
    batches = [frame[a:b] for a, b in pairwise(edges)]
    for expr in INCREMENTAL:
        taken = decompose("r", expr, SCHEMA)
        assert isinstance(taken, Incremental)
        expected = frame.select(expr.alias("r")).to_series()
        actual = _folded(taken, batches)
        assert expected.dtype == actual.dtype, str(expr)
        assert _close(expected.item(), actual.item()), (str(expr), expected, actual)
        if frame.height:
            grouped = frame.group_by(pl.lit(1).alias("g")).agg(expr.alias("r"))["r"]
            assert _close(grouped.item(), actual.item()), (str(expr), grouped, actual)


def test_many_groups_finish_at_once() -> None:
    for expr in (pl.lit(1), x.mean() * 2, pl.struct(x.min(), n.max()), (x > 1).all()):
        taken = decompose("r", expr, SCHEMA)
        assert isinstance(taken, Incremental)
        columns = [p.column(f"__{i}", [None, None, None]) for i, p in enumerate(taken.parts)]
        assert pl.DataFrame(columns).select(taken.finish).height == 3


@pytest.mark.parametrize(("expr", "reason"), BUFFERED, ids=str)
def test_the_rest_is_buffered_with_a_reason(expr: pl.Expr, reason: str) -> None:
    taken = decompose("r", expr, SCHEMA)
    assert isinstance(taken, Buffered)
    assert reason in taken.reason


@pytest.mark.parametrize(
    ("expr", "message"),
    [
        (pl.col("xx").sum(), "unknown column 'xx'; did you mean 'x'?"),
        (pl.col("celcius").sum(), "the stream has x, n, w"),
        (x, "implode"),
        (x + x.sum(), "does not give one value"),
        (x.head(1), "does not give one value"),
        (x.sum().over("n"), "does not give one value"),
        (s.dt.year().max(), "polars refuses"),
        (t.sum(), "polars refuses"),
        (pl.all().count(), "10 columns"),
        (x.map_elements(lambda v: v, pl.Float64).sum(), "row function"),
    ],
    ids=str,
)
def test_what_cannot_be_aggregated(expr: pl.Expr, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        decompose("r", expr, SCHEMA)
    assert message in str(caught.value)


class Range(Aggregate[tuple[float, float]]):
    """Greatest x minus least n."""

    returns = float

    def init(self) -> tuple[float, float]:
        return -math.inf, math.inf

    def add(self, state: tuple[float, float], value: Any) -> tuple[float, float]:
        high, low = value
        return max(state[0], high or 0.0), min(state[1], low or 0.0)

    def merge(self, a: tuple[float, float], b: tuple[float, float]) -> tuple[float, float]:
        return max(a[0], b[0]), min(a[1], b[1])

    def result(self, state: tuple[float, float]) -> float:
        return state[0] - state[1]


def test_a_custom_aggregate_gets_a_tuple_of_its_inputs() -> None:
    frame = pl.DataFrame({"x": [1.0, 5.0, 2.0], "n": [4, 3, 9]})
    taken = decompose("r", Range("x", n * 2), {"x": pl.Float64(), "n": pl.Int64()})
    assert isinstance(taken, Incremental)
    assert taken.dtype == pl.Float64()
    assert _folded(taken, [frame[:1], frame[1:]]).to_list() == [5.0 - 6.0]


def test_custom_aggregates_are_checked() -> None:
    with pytest.raises(ExpressionError, match=r"`mean\(\)`"):
        decompose("r", Range("x", x.mean()), SCHEMA)
    with pytest.raises(ExpressionError, match="unknown column"):
        decompose("r", Range("nope"), SCHEMA)
    with pytest.raises(ExpressionError, match="needs a column"):
        Range()


def test_approx_quantile_is_within_one_percent() -> None:
    frame = pl.DataFrame({"x": [float(v) for v in range(1, 1001)]})
    taken = decompose("p", approx_quantile("x", 0.9), {"x": pl.Float64()})
    assert isinstance(taken, Incremental)
    (found,) = _folded(taken, [frame[:300], frame[300:]]).to_list()
    assert abs(frame["x"].quantile(0.9, "lower") - found) <= 0.01 * found
    with pytest.raises(ExpressionError, match="takes numbers"):
        decompose("p", approx_quantile("s", 0.5), SCHEMA)
    with pytest.raises(ExpressionError, match="between 0 and 1"):
        approx_quantile("x", 50)


def test_ends_follow_the_order_key_not_the_arrival() -> None:
    part = decompose("r", x.first(), SCHEMA).parts[0]  # type: ignore[union-attr]
    fold = fold_of(part)
    state = fold.init()
    for key, value in (((3,), 30.0), ((1,), None), ((2,), 20.0)):
        state = fold.add(state, key, value)
    assert fold.ordered
    assert fold.result(state) is None


def test_sums_wrap_and_stay_exact_as_in_polars() -> None:
    frame = pl.DataFrame({"w": pl.Series([2**31 - 1, 5], dtype=pl.Int32)})
    taken = decompose("r", w.sum(), {"w": pl.Int32()})
    assert isinstance(taken, Incremental)
    assert frame.select(w.sum()).item() == _folded(taken, [frame]).item()
    money = pl.DataFrame({"m": [Decimal("0.10")] * 3}, {"m": pl.Decimal(12, 2)})
    taken = decompose("r", m.sum(), {"m": pl.Decimal(12, 2)})
    assert isinstance(taken, Incremental)
    assert Decimal("0.30") == _folded(taken, [money]).item()
