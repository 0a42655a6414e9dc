"""Running aggregates."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.flows.batch import ORIGIN, WATERMARK, Batch
from headwater.flows.errors import SchemaError
from headwater.flows.operators.running import Running, running_schema

from .streams_model import (
    CUTS,
    DISORDER,
    INCREMENTAL,
    KEYS,
    ROWS,
    SCHEMA,
    UNTIMED,
    Row,
    aggregates,
    arrived,
    by_key,
    canonical,
    fed,
    folded,
    judged,
    place,
    plain,
    run,
    sharded,
)

AGGREGATES = aggregates(INCREMENTAL)
UNTIMED_AGGREGATES = aggregates(INCREMENTAL, UNTIMED)
TTL = st.one_of(st.none(), st.integers(0, 12))


def runs(rows: list[Row], ttl: int | None) -> list[tuple[Any, ...]]:
    """Each row with the fold of its key's rows up to it."""
    found = []
    seen: dict[tuple[Any, Any], list[Row]] = {}
    for row in rows:
        mine = seen.setdefault((row.k, row.j), [])
        if mine and ttl is not None and row.at - mine[-1].at > ttl:
            mine.clear()
        mine.append(row)
        found.append((*row, *folded(mine, INCREMENTAL)))
    return found


@settings(max_examples=60, deadline=None)
@given(ROWS, DISORDER, CUTS, TTL)
def test_runs_equal_the_model_and_late_rows_are_told(
    rows: list[Row], disorder: int, cuts: list[int], ttl: int | None
) -> None:
    out = running_schema(SCHEMA, KEYS, AGGREGATES, ttl)
    spec = Running(KEYS, AGGREGATES, ttl)
    ran = run(spec, out, fed(rows, disorder, cuts))
    on_time, late = judged(rows, disorder)
    assert runs(canonical(on_time), ttl) == plain(ran.rows)
    assert late == [rows[origin] for origin in ran.late]
    assert [row.at for row in canonical(on_time)] == ran.rows[WATERMARK].to_list()
    assert [tuple(rows[o]) for o in ran.rows[ORIGIN]] == [row[:5] for row in plain(ran.rows)]
    assert 0 == ran.logic.held_rows
    assert len(by_key(on_time)) * (ttl is None) == ran.logic.live
    assert sharded(spec, out, fed(rows, disorder, cuts), 3).equals(ran.rows)


@settings(max_examples=40, deadline=None)
@given(ROWS, st.lists(st.integers(0, 50), max_size=30), CUTS, TTL)
def test_arrival_within_the_disorder_changes_nothing(
    rows: list[Row], order: list[int], cuts: list[int], ttl: int | None
) -> None:
    out = running_schema(SCHEMA, KEYS, AGGREGATES, ttl)
    ran = run(Running(KEYS, AGGREGATES, ttl), out, fed(arrived(rows, 20, order), 20, cuts))
    assert [] == ran.late
    assert runs(canonical(rows), ttl) == plain(ran.rows)


@settings(max_examples=40, deadline=None)
@given(ROWS, CUTS)
def test_without_event_time_rows_run_as_they_come(rows: list[Row], cuts: list[int]) -> None:
    out = running_schema(UNTIMED, KEYS, UNTIMED_AGGREGATES)
    spec = Running(KEYS, UNTIMED_AGGREGATES)
    ran = run(spec, out, fed(rows, 0, cuts, timed=False), timed=False)
    assert [row[1:] for row in runs(rows, None)] == plain(ran.rows)


def test_nan_and_negative_zero_are_one_key_each() -> None:
    nan = float("nan")
    rows = [Row(0, "a", 0, 1, x) for x in (nan, 0.0, -0.0, nan, None)]
    few = aggregates({"n": INCREMENTAL["n"]})
    spec = Running(("x",), few)
    ran = run(spec, running_schema(SCHEMA, ("x",), few), fed(rows, 9, [1, 2, 3]))
    found = ran.rows.group_by("x").agg(pl.col("n").max()).sort("x", nulls_last=True)
    assert [2, 2, 1] == found["n"].to_list()


def test_a_key_is_forgotten_after_its_ttl() -> None:
    spec = Running(KEYS, AGGREGATES, 5)
    logic: Any = spec.build(place(running_schema(SCHEMA, KEYS, AGGREGATES, 5)))
    logic.receive(0, fed([Row(0, "a", 0, 1, None), Row(2, "b", 0, 1, None)], 0)[0])
    for watermark, live in [(3, 2), (5, 2), (6, 1), (7, 1), (8, 0)]:
        logic.receive(0, Batch(None, watermark))
        assert live == logic.live


def test_a_key_that_had_rows_since_is_kept() -> None:
    spec = Running(KEYS, AGGREGATES, 5)
    logic: Any = spec.build(place(running_schema(SCHEMA, KEYS, AGGREGATES, 5)))
    logic.receive(0, fed([Row(0, "a", 0, 1, None)], 0)[0])
    logic.receive(0, fed([Row(3, "a", 0, 1, None)], 0)[0])
    for watermark, live in [(4, 1), (8, 1), (9, 0)]:
        logic.receive(0, Batch(None, watermark))
        assert live == logic.live


def test_what_cannot_run_does_not_load() -> None:
    with pytest.raises(SchemaError, match="needs all rows of the key"):
        running_schema(SCHEMA, KEYS, aggregates({"middle": pl.col("v").median()}))
    with pytest.raises(SchemaError, match="give the aggregate another name"):
        running_schema(SCHEMA, KEYS, aggregates({"v": pl.len()}))
    with pytest.raises(SchemaError, match="without a column"):
        running_schema(SCHEMA, KEYS, ())
    with pytest.raises(SchemaError, match="needs event time"):
        running_schema(UNTIMED, KEYS, UNTIMED_AGGREGATES, 5)
    with pytest.raises(SchemaError, match="only appends"):
        running_schema(SCHEMA.with_key("k"), KEYS, AGGREGATES)
