"""Row-wise expressions, held against polars: a whole frame and its rows one by one agree."""

from __future__ import annotations

from datetime import date, datetime, time

import polars as pl
import polars.selectors as cs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.flows.errors import ExpressionError
from headwater.flows.expressions import check_row_wise, columns_of, output_name, uses_selector

x, y, s, t = pl.col("x"), pl.col("y"), pl.col("s"), pl.col("t")
items, pair, point, raw = pl.col("items"), pl.col("pair"), pl.col("point"), pl.col("raw")
e = pl.element()

SCHEMA = {
    "x": pl.Int64(),
    "y": pl.Float64(),
    "s": pl.String(),
    "t": pl.Datetime("us"),
    "items": pl.List(pl.Int64()),
    "pair": pl.Array(pl.Int64(), 2),
    "point": pl.Struct({"a": pl.Int64(), "b": pl.Int64()}),
    "raw": pl.Binary(),
}

ROW_WISE = [
    x * 2, -x, x // 3, x % 3, x + y, x == 1, x.eq_missing(y), (x > 1) & (y < 2), ~(x > 1),
    x.cast(pl.Float64), x.cast(pl.Int8, strict=False), x.alias("z"), x.name.suffix("_z"),
    pl.when(x > 1).then(y).otherwise(2), pl.lit(3), pl.lit("a"),
    x.abs(), x.sign(), y.sqrt(), y.cbrt(), y.exp(), y.floor(), y.ceil(), y.round(1), y.sin(),
    y.arctan(), y.log(), y.log1p(), y.degrees(), y.is_nan(), y.is_finite(), x.is_null(),
    x.is_between(0, 2), x.is_close(1), x.is_in([1, 2]),
    x.is_in(pl.lit(pl.Series([1, 2])).implode()),
    x.clip(0, 2), x.fill_null(0), x.fill_null(y), x.fill_null(strategy="zero"),
    y.fill_nan(1.0), x.replace({1: 9}), x.replace_strict({1: 9}, default=0), x.hash(), x.pow(2),
    x.bitwise_count_ones(), x.repeat_by(2), y.round_sig_figs(2),
    pl.coalesce("x", "y"), pl.sum_horizontal("x", "y"), pl.mean_horizontal("x", "y"),
    pl.max_horizontal("x", "y"), pl.any_horizontal(x > 1, y > 1), pl.struct("x", "y"),
    pl.concat_str("s", "x"), pl.format("{}-{}", "s", "x"), pl.concat_list("x", "x"),
    pl.arctan2("x", "y"), pl.int_ranges(0, x.abs() % 5), pl.duration(hours="x"),
    s.str.to_uppercase(), s.str.len_chars(), s.str.contains("a"), s.str.replace("a", "b"),
    s.str.split(","), s.str.slice(1), s.str.strip_chars(), s.str.zfill(4), s.str.head(1),
    s.str.extract("(a)"), s.str.contains_any(["a"]), s.str.starts_with("a"), s.str.encode("hex"),
    s.str.to_integer(strict=False), s.str.to_date("%Y", strict=False), s.str.pad_start(4),
    t.dt.year(), t.dt.truncate("1h"), t.dt.offset_by("1d"), t.dt.date(), t.dt.epoch("s"),
    t.dt.strftime("%Y"), t.dt.month_end(), t.dt.replace_time_zone("UTC"), t.dt.weekday(),
    t.dt.combine(time(1)), t - t.dt.truncate("1d"), t.dt.is_business_day(),
    items.list.sum(), items.list.len(), items.list.get(0, null_on_oob=True), items.list.sort(),
    items.list.eval(e * 2), items.list.eval(e.cum_sum()), items.list.eval(e.rank()),
    items.list.agg(e.sum()), items.list.contains(1), items.list.filter(e > 1),
    items.list.unique(maintain_order=True), items.list.reverse(), items.list.n_unique(),
    items.list.set_union([1]), items.list.concat(items), items.list.mean(), items.list.head(1),
    pair.arr.sum(), pair.arr.get(0), pair.arr.reverse(), pair.arr.to_list(), pair.arr.max(),
    point.struct.field("a"), point.struct.with_fields(pl.field("a") * 2),
    point.struct.json_encode(), raw.bin.size(), raw.bin.encode("hex"), raw.bin.starts_with(b"a"),
]  # fmt: skip

REFUSED = [
    (x - x.mean(), "mean()"), (x.sum(), "sum()"), (pl.len(), "pl.len()"), (x.count(), "count()"),
    (x.first(), "first()"), (x.median(), "median()"), (x.quantile(0.5), "quantile()"),
    (x.n_unique(), "n_unique()"), (x.approx_n_unique(), "approx_n_unique()"),
    (x.null_count(), "null_count()"), ((x > 1).any(), "any()"), (x.product(), "product()"),
    (x.arg_max(), "arg_max()"), (x.implode(), "implode()"), (s.str.join(","), "str.join()"),
    (pl.corr("x", "y"), "pl.corr()"), (x.bitwise_and(), "bitwise_and()"),
    (x.shift(), "shift()"), (x.diff(), "diff()"), (x.cum_sum(), "cum_sum()"),
    (x.rolling_mean(3), "rolling()"), (x.ewm_mean(alpha=0.5), "ewm_mean()"), (x.rank(), "rank()"),
    (x.fill_null(strategy="forward"), "fill_null_with_strategy()"), (x.reverse(), "reverse()"),
    (x.interpolate(), "interpolate()"), (x.is_first_distinct(), "is_first_distinct()"),
    (x.cumulative_eval(e.sum()), "cumulative_eval()"), (x.rle_id(), "rle_id()"),
    (x.filter(x > 1), "filter()"), (x.drop_nulls(), "drop_nulls()"), (x.sort(), "sort()"),
    (x.head(1), "slice() or head()"), (x.gather([0]), "gather()"), (x.unique(), "unique()"),
    (items.explode(), "explode()"), (x.top_k(1), "top_k()"), (x.append(1), "append()"),
    (pl.int_range(0, pl.len()), "int_range()"), (pl.repeat(1, 3), "repeat()"),
    (x.over("s"), "over()"), (x.shuffle(), "shuffle()"), (x.sample(1), "sample()"),
    (items.list.sample(1), "sample()"), (items.list.eval(e.shuffle()), "shuffle()"),
    (items.list.unique(), "unique()"), (x.is_in(y), "is_in()"), (x.is_in(items), "is_in()"),
    (x.is_in(y.implode()), "is_in()"), (x.replace(x, y), "replace()"),
    (s.str.to_datetime(), "str.strptime()"), (s.str.to_date(), "str.strptime()"),
    (pl.lit(pl.Series([1, 2])), "a Series has"), (x + pl.lit(pl.Series([7])), "a Series has"),
    (x.to_physical(), "to_physical()"),
    (x.map_elements(lambda v: v, pl.Int64), "row function"),
    (x.map_batches(lambda v: v), "row function"),
    (x.set_sorted(), "set_sorted()"),
]  # fmt: skip


def _frames() -> st.SearchStrategy[pl.DataFrame]:
    small = st.integers(-3, 5)
    row = st.fixed_dictionaries(
        {
            "x": st.none() | small,
            "y": st.none() | st.floats(-3, 3) | st.just(float("nan")),
            "s": st.none() | st.text("a,b1 ", max_size=4),
            "t": st.none() | st.datetimes(datetime(2000, 1, 1), datetime(2030, 1, 1)),
            "items": st.none() | st.lists(st.none() | small, max_size=4),
            "pair": st.none() | st.lists(small, min_size=2, max_size=2),
            "point": st.fixed_dictionaries({"a": st.none() | small, "b": small}),
            "raw": st.none() | st.binary(max_size=3),
        }
    )
    return st.lists(row, min_size=1, max_size=6).map(lambda rows: pl.DataFrame(rows, SCHEMA))


def _evaluate(frame: pl.DataFrame, expr: pl.Expr) -> pl.Series | None:
    try:
        return frame.with_columns(expr.alias("out"))["out"]
    except pl.exceptions.PolarsError:
        return None


@pytest.mark.parametrize("expr", ROW_WISE, ids=str)
def test_row_wise_is_accepted(expr: pl.Expr) -> None:
    check_row_wise(expr)


@pytest.mark.parametrize(("expr", "words"), REFUSED, ids=str)
def test_the_rest_is_refused_in_the_users_words(expr: pl.Expr, words: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        check_row_wise(expr)
    assert words in str(caught.value)


@settings(max_examples=12, deadline=None)
@given(frame=_frames())
def test_what_is_accepted_gives_each_row_alone_the_same(frame: pl.DataFrame) -> None:
    for expr in ROW_WISE:
        whole = _evaluate(frame, expr)
        alone = [_evaluate(frame[i : i + 1], expr) for i in range(frame.height)]
        rows = [one for one in alone if one is not None]
        if whole is None:
            assert len(rows) < len(alone), str(expr)
            continue
        assert len(alone) == len(rows), str(expr)
        assert whole.equals(pl.concat(rows)), str(expr)


def test_the_refused_table_has_teeth() -> None:
    frame = pl.DataFrame({"x": [3, 1, 2], "y": [1.0, 5.0, 3.0], "s": ["a", "a", "b"]})
    for expr in (x - x.mean(), x.shift(), x.cum_sum(), x.rank(), x.is_in(y.cast(pl.Int64))):
        whole = frame.select(expr.alias("out"))["out"]
        alone = [frame[i : i + 1].select(expr.alias("out"))["out"] for i in range(3)]
        assert not whole.equals(pl.concat(alone)), str(expr)


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        (x + y, {"x", "y"}),
        (pl.col("x", "y"), {"x", "y"}),
        (pl.lit(1), set()),
        (pl.all(), set()),
        (items.list.filter(e > 1), {"items"}),
        (pl.when(x > 1).then(s), {"x", "s"}),
        (pl.col("Len") + 1, {"Len"}),
    ],
    ids=str,
)
def test_columns(expr: pl.Expr, expected: set[str]) -> None:
    assert expected == columns_of(expr)


def test_selectors_are_row_wise_and_noted() -> None:
    for expr in (pl.all(), cs.numeric() * 2, pl.col("^a.*$"), pl.col("x", "y")):
        check_row_wise(expr)
        assert uses_selector(expr)
    assert not uses_selector(x + y)


def test_output_name() -> None:
    assert output_name(x * 2) == "x"
    assert output_name((x * y).alias("z")) == "z"
    with pytest.raises(ExpressionError, match="several columns"):
        output_name(pl.all())


def test_what_is_no_expression() -> None:
    with pytest.raises(ExpressionError, match="expected a polars expression"):
        check_row_wise(True)  # type: ignore[arg-type]


def test_a_very_deep_expression_is_an_error_not_a_crash() -> None:
    expr = x
    for _ in range(3000):
        expr = expr + 1
    with pytest.raises(ExpressionError, match="too deeply"):
        check_row_wise(expr)


def test_literals_of_every_type_are_row_wise() -> None:
    for value in (1, 1.5, "a", b"a", None, True, date(2020, 1, 1), datetime(2020, 1, 1), [1, 2]):
        check_row_wise(x.is_null() & (pl.lit(value).is_null()))
    check_row_wise(x > float("nan"))
