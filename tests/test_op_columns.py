"""Row-wise steps: at any cut they give what polars gives on the whole, bit for bit."""

from __future__ import annotations

import struct
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

import headwater as hw
from headwater.flows.schema import schema_of

from .harness import Kept, Rows, at, run


class Sample(hw.Event):
    at: hw.EventTime
    x: float | None
    n: int | None
    s: str | None


samples = st.lists(
    st.fixed_dictionaries(
        {
            "at": st.integers(0, 1000).map(at),
            "x": st.none() | st.floats(width=64),
            "n": st.none() | st.integers(-(2**40), 2**40),
            "s": st.none() | st.text("abc1 ", max_size=4),
        }
    ),
    max_size=30,
)
cuts = st.lists(st.integers(1, 9), min_size=1, max_size=6).map(tuple)
predicates = st.sampled_from(
    [
        pl.col("x") > 0,
        pl.col("n") % 3 != 0,
        pl.col("s").str.contains("a"),
        pl.col("x").is_nan().not_() & pl.col("n").is_not_null(),
        (pl.col("x") / 7) < 1,
        pl.lit(True),
    ]
)
columns = st.sampled_from(
    [
        pl.col("x") * 9 / 5 + 32,
        pl.col("n") / 7,
        pl.col("x") / pl.col("n"),
        (pl.col("x") / 3).round(2),
        pl.col("x") % 0.7,
        pl.col("n") // 5,
        pl.when(pl.col("x") > 1).then(pl.col("n") / 3).otherwise(pl.col("x")),
        pl.col("s").str.len_chars() / 3,
        pl.col("at").dt.second() / 60,
        pl.col("x").fill_null(0.1) ** 2,
    ]
)
steps = st.lists(st.tuples(st.booleans(), predicates, columns), min_size=1, max_size=4)


def bits(rows: list[dict[str, Any]]) -> list[Any]:
    """Return rows so that they are equal only if every bit of every float is."""
    return [
        tuple(
            # Of NaN there are many; which one comes out is the processor's choice.
            "nan" if v != v else struct.pack("d", v) if isinstance(v, float) else v
            for v in row.values()
        )
        for row in rows
    ]


def applied(frame: Any, chosen: list[tuple[bool, pl.Expr, pl.Expr]], first: int = 0) -> Any:
    for number, (is_filter, predicate, column) in enumerate(chosen, first):
        if is_filter:
            frame = frame.filter(predicate)
        else:
            frame = frame.with_columns(column.alias(f"c{number}"))
    return frame


@settings(max_examples=80)
@given(samples, cuts, steps)
def test_a_chain_gives_what_polars_gives_on_the_whole(
    rows: list[dict[str, Any]], sizes: tuple[int, ...], chosen: list[tuple[bool, Any, Any]]
) -> None:
    flow, kept = hw.Flow("f"), Kept()

    @flow.source
    def given_rows() -> hw.Source[Sample]:
        return Rows({"p": rows}, sizes)

    @flow.operator(given_rows)
    def chain(stream: hw.Stream[Sample]) -> hw.Stream[Any]:
        result: hw.Stream[Any] = applied(stream, chosen)
        return result

    @flow.sink(chain)
    def out() -> hw.Sink:
        return kept

    run(flow)
    schema = schema_of(Sample).polars()
    # With company that every filter keeps, so that the oracle never works on a frame of one row.
    company = [{"at": at(i), "x": 2.5 + i / 10, "n": 1, "s": "a"} for i in range(3)]
    frame = pl.DataFrame([*rows, *company], schema=schema, orient="row").with_row_index("row")
    for number, step in enumerate(chosen):
        frame = applied(frame, [step], number).rechunk()
    whole = frame.filter(pl.col("row") < len(rows)).drop("row")
    assert bits(whole.to_dicts()) == bits(kept.rows)


def test_a_row_that_an_expression_fails_on_is_dead_and_the_others_go_on() -> None:
    flow, kept = hw.Flow("f"), Kept()
    texts = ["1", "2", "x", "4", "", "6"]

    @flow.source
    def given_rows() -> hw.Source[Sample]:
        return Rows({"p": [{"at": at(i), "x": None, "n": i, "s": s} for i, s in enumerate(texts)]})

    @flow.operator(given_rows)
    def parsed(rows: hw.Stream[Sample]) -> hw.Stream[Any]:
        return rows.with_columns(value=pl.col("s").cast(pl.Int64))

    @flow.sink(parsed)
    def out() -> hw.Sink:
        return kept

    ran = run(flow)
    assert [1, 2, 4, 6] == [row["value"] for row in kept.rows]
    assert ["row 2", "row 4"] == [letter["origin"] for letter in ran.buried]


def test_selectors_and_constants_never_meet_hidden_columns() -> None:
    flow, kept = hw.Flow("f"), Kept()
    rows = [{"at": at(i), "x": float(i), "n": i, "s": "a"} for i in range(3)]

    @flow.source
    def given_rows() -> hw.Source[Sample]:
        return Rows({"p": rows})

    @flow.operator(given_rows)
    def changed(rows: hw.Stream[Sample]) -> hw.Stream[Any]:
        return rows.select(pl.selectors.numeric() * 2, pl.lit("c").alias("constant"))

    @flow.operator(changed)
    def constant(rows: hw.Stream[Any]) -> hw.Stream[Any]:
        return rows.select(pl.lit(1).alias("one"))

    one = Kept()

    @flow.sink(changed)
    def out() -> hw.Sink:
        return kept

    @flow.sink(constant)
    def out_one() -> hw.Sink:
        return one

    run(flow)
    assert [{"x": 2.0 * i, "n": 2 * i, "constant": "c"} for i in range(3)] == kept.rows
    assert [{"one": 1}] * 3 == one.rows


def test_split_keeps_every_row_once() -> None:
    flow, high, low = hw.Flow("f"), Kept(), Kept()
    values = [None, 1.0, 5.0, float("nan")]

    @flow.source
    def given_rows() -> hw.Source[Sample]:
        return Rows({"p": [{"at": at(0), "x": v, "n": i, "s": ""} for i, v in enumerate(values)]})

    @flow.operator(given_rows)
    def highs(rows: hw.Stream[Sample]) -> hw.Stream[Sample]:
        return rows.split(pl.col("x") > 3)[0]

    @flow.operator(given_rows)
    def lows(rows: hw.Stream[Sample]) -> hw.Stream[Sample]:
        return rows.split(pl.col("x") > 3)[1]

    @flow.sink(highs)
    def out_high() -> hw.Sink:
        return high

    @flow.sink(lows)
    def out_low() -> hw.Sink:
        return low

    run(flow)
    assert [2, 3] == [row["n"] for row in high.rows]  # polars takes NaN to be the greatest
    assert [0, 1] == [row["n"] for row in low.rows]


def test_filtering_an_upsert_stream_deletes_what_leaves_it_and_changes_shows_it() -> None:
    flow, table, log = hw.Flow("f"), Kept(), Kept()
    rows = [{"at": at(i), "x": x, "n": 0, "s": "k"} for i, x in enumerate([1.0, 5.0, -9.0])]

    @flow.source
    def given_rows() -> hw.Source[Sample]:
        return Rows({"p": rows})

    @flow.operator(given_rows)
    def high(rows: hw.Stream[Sample]) -> hw.Stream[Any]:
        summed = rows.key_by("s").window(hw.tumbling("1m"), emit="updates")
        return summed.agg(total=pl.col("x").sum()).filter(pl.col("total") > 3)

    @flow.operator(high)
    def changes(rows: hw.Stream[Any]) -> hw.Stream[Any]:
        return rows.changes().select("change", "total")

    @flow.sink(high)
    def out() -> hw.Sink:
        return table

    @flow.sink(changes)
    def out_log() -> hw.Sink:
        return log

    run(flow, batch_rows=1)
    assert [(1.0, True), (6.0, False), (-3.0, True)] == [
        (row["total"], row["_deleted"]) for row in table.rows
    ]
    assert ["delete", "upsert", "delete"] == [row["change"] for row in log.rows]
