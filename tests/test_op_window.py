"""Tumbling, hopping and whole windows."""

from __future__ import annotations

import math
from itertools import permutations
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.flows.batch import END, NO_ORIGIN, ORIGIN, START, WATERMARK, Batch
from headwater.flows.clock import ManualClock
from headwater.flows.decompose import decompose
from headwater.flows.errors import SchemaError
from headwater.flows.graph import Place
from headwater.flows.operators.window import WindowAggregate, window_schema
from headwater.flows.schema import Schema
from headwater.flows.windows import HoppingWindow, WholeWindow

from .streams_model import (
    ALL,
    CUTS,
    DISORDER,
    KEYS,
    ROWS,
    SCHEMA,
    TIME,
    UNTIMED,
    Row,
    aggregates,
    arrived,
    by_key,
    fed,
    folded,
    gathered,
    hashed,
    honest,
    nulls_first,
    place,
    plain,
    run,
    sharded,
)

NUMBERS = {
    name: expr for name, expr in ALL.items() if name not in ("name", "spread", "middle", "kinds")
}
"""Aggregates that a kernel folds if there are no others."""
BOTH = pytest.mark.parametrize("columns", [NUMBERS, ALL], ids=["by table", "by slots"])
INEXACT = ("total", "mean", "sd")
"""Aggregates whose bits depend on the order of arrival."""
AGGREGATES = aggregates(ALL)
LATENESS = st.integers(0, 10)
WINDOWS = st.builds(
    lambda every, more, offset: HoppingWindow(every + more, every, offset % every),
    st.integers(1, 10), st.sampled_from([0, 0, 3, 7]), st.integers(0, 9),
)  # fmt: skip
Found = tuple[Any, ...]
Columns = dict[str, Any]


def summary(rows: list[Row], columns: Columns, width: int | None = None) -> dict[str, Any]:
    """Aggregates of a window whose rows came in this order, of which panes are `width` long.

    Sums are those of panes, added up. First and last go by time, then value.
    """
    found = dict(zip(columns, folded(rows, columns), strict=True))
    heads = sorted(rows, key=lambda row: (row.at, *nulls_first([row.v])))
    tails = sorted(rows, key=lambda row: (row.at, *nulls_first([row.j])))
    found |= {"head": heads[0].v, "tail": tails[-1].j}
    if width is not None:
        panes: dict[int, list[float]] = {}
        for row in rows:
            if row.x is not None:
                panes.setdefault(row.at // width, []).append(row.x)
        found |= merged([panes[pane] for pane in sorted(panes)])
    return found


def merged(panes: list[list[float]]) -> dict[str, Any]:
    """Sum, mean and deviation, folded in each pane and then over panes."""
    total, count, mean, squares = 0.0, 0, 0.0, 0.0
    for nth, pane in enumerate(panes):
        added, middle, spread = 0.0, 0.0, 0.0
        for number, value in enumerate(pane, 1):
            added += value
            delta = value - middle
            middle += delta / number
            spread += delta * (value - middle)
        here = len(pane)
        if nth == 0:
            total, count, mean, squares = added, here, middle, spread
            continue
        total += added
        delta = middle - mean
        mean += delta * (here / (count + here))
        squares += spread + delta * delta * (count * here / (count + here))
        count += here
    return {
        "total": total,
        "mean": total / count if count else None,
        "sd": math.sqrt(squares / (count - 1)) if count > 1 else None,
    }


def windows(
    rows: list[Row], window: HoppingWindow, disorder: int, lateness: int, columns: Columns
) -> tuple[list[Found], list[Row]]:
    """The rows of windows, and the rows that are late for all of theirs."""
    inside: dict[tuple[Any, Any, int], list[Row]] = {}
    late = []
    newest = -math.inf
    for row in rows:
        begins = [
            begin
            for begin in range(row.at - window.size + 1, row.at + 1)
            if (begin - window.offset) % window.every == 0
            and begin + window.size + lateness > newest - disorder
        ]
        for begin in begins:
            inside.setdefault((row.k, row.j, begin), []).append(row)
        if not begins:
            late.append(row)
        newest = max(newest, row.at)
    width = math.gcd(window.size, window.every) if columns is NUMBERS else None
    found = []
    for (k, j, begin), mine in inside.items():
        shifted = [row._replace(at=row.at - window.offset) for row in mine]
        values = summary(shifted, columns, width).values()
        found.append((k, j, begin, begin + window.size, begin + window.size - 1, *values))
    return sorted(found, key=lambda f: (f[3], hashed(f[0], f[1]))), late


@BOTH
@settings(max_examples=60, deadline=None)
@given(ROWS, DISORDER, CUTS, WINDOWS, LATENESS)
def test_windows_equal_the_model_and_late_rows_are_told(
    columns: Columns,
    rows: list[Row],
    disorder: int,
    cuts: list[int],
    window: HoppingWindow,
    lateness: int,
) -> None:
    made = aggregates(columns)
    out = window_schema(SCHEMA, KEYS, window, made)
    spec = WindowAggregate(KEYS, window, made, lateness)
    ran = run(spec, out, fed(rows, disorder, cuts))
    expected, late = windows(rows, window, disorder, lateness, columns)
    assert expected == plain(ran.rows)
    assert late == [rows[origin] for origin in ran.late]
    assert [row[4] for row in expected] == ran.rows[WATERMARK].to_list()
    assert {NO_ORIGIN} >= set(ran.rows[ORIGIN])
    assert 0 == ran.logic.live
    assert sharded(spec, out, fed(rows, disorder, cuts), 3).equals(ran.rows)


@BOTH
@settings(max_examples=40, deadline=None)
@given(ROWS, st.lists(st.integers(0, 50), max_size=30), CUTS, WINDOWS)
def test_arrival_within_the_disorder_changes_nothing_that_is_exact(
    columns: Columns,
    rows: list[Row],
    order: list[int],
    cuts: list[int],
    window: HoppingWindow,
) -> None:
    made = aggregates({name: columns[name] for name in columns if name not in INEXACT})
    out = window_schema(SCHEMA, KEYS, window, made)
    spec = WindowAggregate(KEYS, window, made)
    one = run(spec, out, fed(rows, 60))
    other = run(spec, out, fed(arrived(rows, 20, order), 20, cuts))
    assert [] == one.late == other.late
    assert one.rows.equals(other.rows)


@BOTH
@settings(max_examples=40, deadline=None)
@given(ROWS, DISORDER, CUTS, WINDOWS, LATENESS)
def test_updates_come_to_the_rows_on_close(
    columns: Columns,
    rows: list[Row],
    disorder: int,
    cuts: list[int],
    window: HoppingWindow,
    lateness: int,
) -> None:
    made = aggregates(columns)
    out = window_schema(SCHEMA, KEYS, window, made, "updates")
    assert (*KEYS, "start") == out.key
    spec = WindowAggregate(KEYS, window, made, lateness, "updates")
    ran = run(spec, out, fed(rows, disorder, cuts))
    expected = windows(rows, window, disorder, lateness, columns)[0]
    assert {row[:3]: row for row in expected} == {row[:3]: row for row in plain(ran.rows)}
    assert 0 == ran.logic.live
    for batch in ran.batches:
        if batch.rows is not None:
            places = [(row[3], hashed(row[0], row[1])) for row in plain(batch.rows)]
            assert sorted(places) == places


def test_a_hopping_window_adds_up_its_panes_or_folds_rows_as_they_came() -> None:
    rows = [Row(t, "a", 0, None, x) for t, x in ((7, 1e16), (2, 3.0), (7, -1e16))]
    window, total = HoppingWindow(10, 5), {"total": ALL["total"]}
    for columns, expected in (
        (total, [3.0, 3.0 + (1e16 - 1e16), 0.0]),
        ({**total, "middle": ALL["middle"]}, [3.0, (1e16 + 3.0) - 1e16, 0.0]),
    ):
        made = aggregates(columns)
        out = window_schema(SCHEMA, KEYS, window, made)
        ran = run(WindowAggregate(KEYS, window, made), out, fed(rows, 20))
        assert expected == ran.rows["total"].to_list()


def wholes(rows: list[Row], columns: Columns) -> list[Found]:
    """A row for each key, at the time of its newest row."""
    found = [
        (*key, max(row.at for row in mine), *summary(mine, columns).values())
        for key, mine in by_key(rows).items()
    ]
    return sorted(found, key=lambda f: (f[2], hashed(f[0], f[1])))


@BOTH
@settings(max_examples=40, deadline=None)
@given(ROWS, DISORDER, CUTS)
def test_a_whole_window_has_all_rows_of_a_key(
    columns: Columns, rows: list[Row], disorder: int, cuts: list[int]
) -> None:
    made = aggregates(columns)
    out = window_schema(SCHEMA, KEYS, WholeWindow(), made)
    spec = WindowAggregate(KEYS, WholeWindow(), made)
    ran = run(spec, out, fed(rows, disorder, cuts))
    assert wholes(rows, columns) == plain(ran.rows)
    assert [] == ran.late
    assert {START} >= {batch.watermark for batch in ran.batches[:-1]}
    assert sharded(spec, out, fed(rows, disorder, cuts), 3).equals(ran.rows)


@BOTH
@settings(max_examples=40, deadline=None)
@given(ROWS, CUTS)
def test_a_whole_window_without_event_time(
    columns: Columns, rows: list[Row], cuts: list[int]
) -> None:
    untimed = aggregates(columns, UNTIMED)
    out = window_schema(UNTIMED, KEYS, WholeWindow(), untimed)
    spec = WindowAggregate(KEYS, WholeWindow(), untimed)
    ran = run(spec, out, fed(rows, 0, cuts, timed=False), timed=False)
    expected = [(*key, *folded(mine, columns)) for key, mine in by_key(rows).items()]
    expected.sort(key=lambda f: hashed(f[0], f[1]))
    assert expected == plain(ran.rows)


@BOTH
@settings(max_examples=40, deadline=None)
@given(ROWS, DISORDER, CUTS)
def test_updates_of_a_whole_window_come_to_its_rows(
    columns: Columns, rows: list[Row], disorder: int, cuts: list[int]
) -> None:
    made = aggregates(columns)
    out = window_schema(SCHEMA, KEYS, WholeWindow(), made, "updates")
    assert KEYS == out.key
    spec = WindowAggregate(KEYS, WholeWindow(), made, emit="updates")
    ran = run(spec, out, fed(rows, disorder, cuts))
    expected = {row[:2]: row for row in wholes(rows, columns)}
    assert expected == {row[:2]: row for row in plain(ran.rows)}


def test_the_whole_stream_may_be_one_key() -> None:
    rows = [Row(0, "a", 0, 1, None), Row(3, "b", 0, 2, None), Row(10, None, 0, 3, None)]
    few = aggregates({"whole": ALL["whole"]})
    for window, expected in (
        (HoppingWindow(5, 5), [(0, 5, 4, 3), (10, 15, 14, 3)]),
        (WholeWindow(), [(10, 6)]),
    ):
        spec = WindowAggregate((), window, few)
        assert expected == plain(
            run(spec, window_schema(SCHEMA, (), window, few), fed(rows, 0)).rows
        )
    made = window_schema(SCHEMA, (), WholeWindow(), few, "updates")
    assert () == made.key


def test_processing_time_windows_close_by_the_clock() -> None:
    clock, window = ManualClock(100), HoppingWindow(10, 10, time="processing")
    few = aggregates({"n": ALL["n"]}, UNTIMED)
    out = window_schema(UNTIMED, ("k",), window, few)
    assert ("k", "start", "end", "n") == out.names
    logic: Any = WindowAggregate(("k",), window, few, lateness=2).build(
        place(out, clock, timed=False)
    )
    given: list[Batch] = []

    def step(micros: int, *keys: str) -> None:
        clock.advance(micros)
        told = logic.tick(clock.now())
        given.extend(told.batches if told else [])
        rows = [Row(0, key, 0, 1, None) for key in keys]
        given.extend(logic.receive(0, fed(rows, 0, timed=False)[0]).batches)

    step(0, "a", "b")
    step(5, "a")
    step(5, "a")
    step(1, "b")
    assert [] == plain(gathered(given, out))
    step(1)
    assert [("a", 100, 110, 2), ("b", 100, 110, 1)] == plain(gathered(given, out))
    assert 110 == given[-1].watermark
    given.extend(logic.receive(0, Batch(None, END)).batches)
    assert [("a", 110, 120, 1), ("b", 110, 120, 1)] == plain(gathered(given, out))[2:]
    honest(given, out)
    assert logic.tick(10_000) is None


def test_event_time_has_no_ticks() -> None:
    window = HoppingWindow(10, 10)
    out = window_schema(SCHEMA, KEYS, window, AGGREGATES)
    assert not WindowAggregate(KEYS, window, AGGREGATES).build(place(out)).ticks


@pytest.mark.parametrize("left_out", ["price", "small"], ids=["by table", "by slots"])
def test_keys_of_every_type_come_back_as_they_were(left_out: str) -> None:
    frame = (
        pl.DataFrame({"n": [1, 2, 1, None]})
        .select(
            "n",
            (pl.col("n") * 86_400_000_000).cast(pl.Datetime("us", "Europe/Rome")).alias("zoned"),
            pl.col("n").cast(pl.Date).alias("day"),
            pl.col("n").cast(pl.Time).alias("hour"),
            pl.col("n").cast(pl.Duration("us")).alias("span"),
            pl.col("n").cast(pl.Decimal(10, 2)).alias("price"),
            pl.col("n").cast(pl.String).cast(pl.Binary).alias("raw"),
            (pl.col("n") == 1).alias("flag"),
            pl.col("n").cast(pl.String).cast(pl.Enum(["1", "2"])).alias("kind"),
            pl.col("n").cast(pl.Int8).alias("small"),
            (pl.col("n") / 3).alias("third"),
        )
        .drop(left_out)
    )
    schema = Schema(tuple(frame.schema.items()))
    keys = tuple(frame.columns)
    few = (decompose("count", pl.len(), dict(frame.schema)),)
    out = window_schema(schema, keys, WholeWindow(), few)
    logic = WindowAggregate(keys, WholeWindow(), few).build(
        Place("op", (schema,), out, ManualClock(), 0)
    )
    rows = frame.with_columns(pl.lit(START).alias(WATERMARK), pl.lit(0).alias(ORIGIN))
    logic.receive(0, Batch(rows, START))
    found = logic.receive(0, Batch(None, END)).batches[0].rows
    assert found is not None
    expected = frame.group_by(keys).agg(pl.len().alias("count")).sort("n")
    assert expected.cast({"count": out.dtype("count")}).equals(
        found.drop(WATERMARK, ORIGIN).sort("n")
    )


def test_ties_in_time_go_by_value_and_expressions_see_no_hidden_columns() -> None:
    frame = pl.DataFrame(
        {"at": [5, 5, 5, 5], "l": [[2], [1, 3], None, [1]], "v": [1, 2, None, 4]}
    ).cast({"at": TIME})
    schema = Schema(tuple(frame.schema.items()), event_time="at")
    columns = {
        "head": pl.col("v").first(),
        "tail": pl.col("v").last(),
        "some": pl.col("v").drop_nulls().first(),
        "wide": pl.struct(pl.all()).first().struct.field("l"),
        "kinds": pl.struct(pl.all()).n_unique(),
    }
    few = tuple(decompose(name, expr, dict(schema.columns)) for name, expr in columns.items())
    window = HoppingWindow(10, 10)
    out = window_schema(schema, (), window, few)
    for order in permutations(range(4)):
        logic = WindowAggregate((), window, few).build(
            Place("op", (schema,), out, ManualClock(), 0)
        )
        rows = frame[list(order)].with_columns(
            pl.lit(START).alias(WATERMARK), pl.Series(ORIGIN, order)
        )
        logic.receive(0, Batch(rows[:2], START))
        logic.receive(0, Batch(rows[2:], START))
        found = logic.receive(0, Batch(None, END)).batches[0].rows
        assert found is not None
        assert [(None, 4, 1, None, 4)] == found.select(*columns).rows()


def test_what_cannot_be_a_window_does_not_load() -> None:
    untimed = aggregates(ALL, UNTIMED)
    with pytest.raises(SchemaError, match=r"tumbling .* needs event time"):
        window_schema(UNTIMED, KEYS, HoppingWindow(5, 5), untimed)
    with pytest.raises(SchemaError, match="give the aggregate another name"):
        window_schema(SCHEMA, KEYS, HoppingWindow(5, 5), aggregates({"start": ALL["n"]}))
    with pytest.raises(SchemaError, match="only appends"):
        window_schema(SCHEMA.with_key("k"), KEYS, HoppingWindow(5, 5), AGGREGATES)
