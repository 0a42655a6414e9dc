"""The best rows of each key."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.ext import key_groups
from headwater.flows.batch import NO_ORIGIN, ORIGIN, WATERMARK, Batch
from headwater.flows.clock import ManualClock
from headwater.flows.errors import SchemaError
from headwater.flows.operators.top import Top, top_schema
from headwater.flows.schema import Schema
from headwater.flows.windows import HoppingWindow

from .streams_model import (
    CUTS,
    DISORDER,
    KEYS,
    ROWS,
    SCHEMA,
    UNTIMED,
    Row,
    arrived,
    by_key,
    fed,
    gathered,
    group,
    honest,
    judged,
    nulls_first,
    place,
    plain,
    run,
    sharded,
)

K = st.integers(1, 4)
BY = st.sampled_from(["v", "x", "k"])
WINDOWS = st.builds(
    lambda every, more, offset: HoppingWindow(every + more, every, offset % every),
    st.integers(1, 10), st.sampled_from([0, 0, 3, 7]), st.integers(0, 9),
)  # fmt: skip


def ranked(rows: list[Row], by: str, *, descending: bool) -> list[Row]:
    """Rows from best to worst."""
    rows = sorted(rows, key=nulls_first)
    there = [row for row in rows if getattr(row, by) is not None]
    there.sort(key=lambda row: getattr(row, by), reverse=descending)
    return there + [row for row in rows if getattr(row, by) is None]


def window_tops(
    rows: list[Row], window: HoppingWindow, k: int, by: str, *, descending: bool
) -> list[tuple[Any, ...]]:
    """The best rows of each key and window, window by window."""
    found = []
    for key, mine in by_key(rows).items():
        for begin in range(-60, 60):
            if (begin - window.offset) % window.every:
                continue
            end = begin + window.size
            inside = [row for row in mine if begin <= row.at < end]
            best = ranked(inside, by, descending=descending)[:k]
            found += [
                (end, group(*key), nulls_first(key), rank, (end - 1, *row[1:], begin, end, rank))
                for rank, row in enumerate(best, 1)
            ]
    return [row[-1] for row in sorted(found, key=lambda f: f[:4])]


@settings(max_examples=60, deadline=None)
@given(ROWS, DISORDER, CUTS, K, BY, st.booleans(), WINDOWS)
def test_the_best_of_a_window_equal_the_model(
    rows: list[Row],
    disorder: int,
    cuts: list[int],
    k: int,
    by: str,
    descending: bool,
    window: HoppingWindow,
) -> None:
    out = top_schema(SCHEMA, KEYS, k, by, window)
    assert (*SCHEMA.names, "start", "end", "rank") == out.names
    spec = Top(KEYS, k, by, descending, window, lateness=100)
    ran = run(spec, out, fed(rows, disorder, cuts))
    assert [] == ran.late
    assert window_tops(rows, window, k, by, descending=descending) == plain(ran.rows)
    assert [row[0] for row in plain(ran.rows)] == ran.rows[WATERMARK].to_list()
    assert [rows[o][1:] for o in ran.rows[ORIGIN]] == [row[1:5] for row in plain(ran.rows)]
    assert 0 == ran.logic.held_rows
    assert sharded(spec, out, fed(rows, disorder, cuts), 3).equals(ran.rows)


@settings(max_examples=60, deadline=None)
@given(ROWS, DISORDER, CUTS, st.integers(0, 10))
def test_rows_are_late_when_their_last_window_has_closed(
    rows: list[Row], disorder: int, cuts: list[int], lateness: int
) -> None:
    window = HoppingWindow(10, 10)
    out = top_schema(SCHEMA, KEYS, 2, "v", window)
    ran = run(Top(KEYS, 2, "v", True, window, lateness), out, fed(rows, disorder, cuts))
    expected, newest = [], None
    for i, row in enumerate(rows):
        if newest is not None and row.at // 10 * 10 + 10 + lateness <= newest - disorder:
            expected.append(i)
        newest = row.at if newest is None else max(newest, row.at)
    assert expected == ran.late
    kept = [row for i, row in enumerate(rows) if i not in expected]
    assert window_tops(kept, window, 2, "v", descending=True) == plain(ran.rows)


def tables(rows: list[Row], k: int, by: str, *, descending: bool) -> list[tuple[Any, ...]]:
    """The ranks that change, moment by moment: the row, its rank, the moment."""
    found: list[tuple[Any, ...]] = []
    seen: dict[tuple[Any, Any], list[Row]] = {}

    def moment(row: Row) -> tuple[Any, ...]:
        return row.at, group(row.k, row.j), nulls_first((row.k, row.j))

    for (at, _, _), new in groupby(sorted(rows, key=moment), key=moment):
        fresh = list(new)
        mine = seen.setdefault((fresh[0].k, fresh[0].j), [])
        before = ranked(mine, by, descending=descending)[:k]
        mine += fresh
        after = ranked(mine, by, descending=descending)[:k]
        for i, row in enumerate(after):
            if before[i : i + 1] != [row]:
                found.append((at, *row[1:], i + 1))
    return found


@settings(max_examples=60, deadline=None)
@given(ROWS, DISORDER, CUTS, K, BY, st.booleans())
def test_the_ranks_that_change_equal_the_model(
    rows: list[Row], disorder: int, cuts: list[int], k: int, by: str, descending: bool
) -> None:
    out = top_schema(SCHEMA, KEYS, k, by, None)
    assert (*KEYS, "rank") == out.key
    spec = Top(KEYS, k, by, descending)
    ran = run(spec, out, fed(rows, disorder, cuts))
    on_time, late = judged(rows, disorder)
    expected = tables(on_time, k, by, descending=descending)
    assert expected == plain(ran.rows)
    assert late == [rows[origin] for origin in ran.late]
    assert [row[0] for row in expected] == ran.rows[WATERMARK].to_list()
    assert NO_ORIGIN not in ran.rows[ORIGIN]
    assert sum(min(k, len(mine)) for mine in by_key(on_time).values()) == ran.logic.live
    assert sharded(spec, out, fed(rows, disorder, cuts), 3).equals(ran.rows)


@settings(max_examples=40, deadline=None)
@given(ROWS, st.lists(st.integers(0, 50), max_size=30), CUTS, K, BY)
def test_arrival_within_the_disorder_changes_nothing(
    rows: list[Row], order: list[int], cuts: list[int], k: int, by: str
) -> None:
    out = top_schema(SCHEMA, KEYS, k, by, None)
    ran = run(Top(KEYS, k, by), out, fed(arrived(rows, 20, order), 20, cuts))
    assert [] == ran.late
    assert tables(rows, k, by, descending=True) == plain(ran.rows)


@settings(max_examples=40, deadline=None)
@given(ROWS, CUTS, K)
def test_without_event_time_every_row_is_a_moment(rows: list[Row], cuts: list[int], k: int) -> None:
    out = top_schema(UNTIMED, KEYS, k, "v", None)
    ran = run(Top(KEYS, k, "v"), out, fed(rows, 0, cuts, timed=False), timed=False)
    numbered = [row._replace(at=i) for i, row in enumerate(rows)]
    table: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for row in plain(ran.rows):
        table[*row[:2], row[-1]] = row
    expected = {
        (*key, rank): (*row[1:], rank)
        for key, mine in by_key(r._replace(at=0) for r in numbered).items()
        for rank, row in enumerate(ranked(mine, "v", descending=True)[:k], 1)
    }
    assert expected == table


def test_keys_of_one_group_do_not_part_the_rows_of_a_moment() -> None:
    groups = key_groups([pl.Series(range(10_000), dtype=pl.Int64).to_arrow()], 128).to_pylist()
    twin = groups.index(groups[0], 1)
    rows = [Row(0, k, j, v, None) for k, j, v in (("a", 0, 1), ("b", twin, 1), ("c", 0, 2))]
    ran = run(Top(("j",), 2, "v"), top_schema(SCHEMA, ("j",), 2, "v", None), fed(rows, 0))
    expected = [(0, "c", 0, 2, None, 1), (0, "a", 0, 1, None, 2), (0, "b", twin, 1, None, 1)]
    assert expected == plain(ran.rows)


def test_nan_comes_after_all_numbers() -> None:
    rows = [Row(0, "a", 0, 1, x) for x in (float("nan"), 1.0, None, 2.0)]
    window = HoppingWindow(10, 10)
    for descending, best in ((True, [2.0, 1.0]), (False, [1.0, 2.0])):
        spec = Top(KEYS, 2, "x", descending, window)
        ran = run(spec, top_schema(SCHEMA, KEYS, 2, "x", window), fed(rows, 0))
        assert best == ran.rows["x"].to_list()


def test_the_best_of_a_processing_time_window_come_by_the_clock() -> None:
    clock, window = ManualClock(100), HoppingWindow(10, 5, time="processing")
    out = top_schema(UNTIMED, ("k",), 1, "v", window)
    logic: Any = Top(("k",), 1, "v", True, window).build(place(out, clock, timed=False))
    first = fed([Row(0, "a", 0, v, None) for v in (1, 3, 2)], 0, timed=False)[0]
    given = logic.receive(0, first).batches
    for now in (104, 105, 109, 110, 111):
        given += getattr(logic.tick(now), "batches", [])
    honest(given, out)
    expected = [("a", 0, 3, None, 95, 105, 1), ("a", 0, 3, None, 100, 110, 1)]
    assert expected == plain(gathered(given, out))


def test_candidates_are_all_that_is_kept() -> None:
    window = HoppingWindow(10, 10)
    logic: Any = Top(KEYS, 3, "v", True, window).build(
        place(top_schema(SCHEMA, KEYS, 3, "v", window))
    )
    rows = [Row(i % 10, "a", 0, i, None) for i in range(1000)]
    for batch in fed(rows, 10, range(0, 1000, 10))[:-1]:
        logic.receive(0, batch)
    assert 300 == logic.held_rows
    closed = logic.receive(0, Batch(None, 10)).batches[0].rows
    assert ([999, 998, 997], 0) == (closed["v"].to_list(), logic.held_rows)


def test_what_has_no_sense_does_not_load() -> None:
    with pytest.raises(SchemaError, match="1 or more"):
        top_schema(SCHEMA, KEYS, 0, "v", None)
    with pytest.raises(SchemaError, match="'nobody' is missing"):
        top_schema(SCHEMA, KEYS, 1, "nobody", None)
    with pytest.raises(SchemaError, match="'rank', and the stream has one"):
        top_schema(Schema((("k", pl.Int64()), ("rank", pl.Int64()))), ("k",), 1, "k", None)
    with pytest.raises(SchemaError, match="needs event time"):
        top_schema(UNTIMED, KEYS, 1, "v", HoppingWindow(5, 5))
    with pytest.raises(SchemaError, match="has no order"):
        top_schema(Schema((("k", pl.Int64()), ("l", pl.List(pl.Int64())))), ("k",), 1, "l", None)
