"""Session windows."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.flows.batch import END, WATERMARK, Batch
from headwater.flows.errors import SchemaError
from headwater.flows.operators.ordered_window import OrderedWindow, ordered_window_schema
from headwater.flows.windows import SessionWindow

from .streams_model import (
    ALL,
    CUTS,
    DISORDER,
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
    group,
    judged,
    nulls_first,
    place,
    plain,
    run,
    sharded,
)

AGGREGATES = aggregates(ALL)
GAP = st.integers(1, 12)
LATENESS = st.integers(0, 10)


def sessions(rows: list[Row], gap: int) -> list[tuple[Any, ...]]:
    """The rows of sessions, row by row in plain Python."""
    found = []
    for (k, j), mine in by_key(canonical(rows)).items():
        session: list[Row] = []
        for row in [*mine, None]:
            if session and (row is None or row.at >= session[-1].at + gap):
                end = session[-1].at + gap
                found.append((k, j, session[0].at, end, end - 1, *folded(session)))
                session = []
            if row is not None:
                session.append(row)
    return sorted(found, key=lambda f: (f[3], group(f[0], f[1]), nulls_first(f[:2])))


@settings(max_examples=60, deadline=None)
@given(ROWS, DISORDER, CUTS, GAP, LATENESS)
def test_sessions_equal_the_model_and_late_rows_are_told(
    rows: list[Row], disorder: int, cuts: list[int], gap: int, lateness: int
) -> None:
    window = SessionWindow(gap)
    out = ordered_window_schema(SCHEMA, KEYS, window, AGGREGATES)
    spec = OrderedWindow(KEYS, window, AGGREGATES, lateness)
    ran = run(spec, out, fed(rows, disorder, cuts))
    on_time, late = judged(rows, disorder, lateness)
    assert sessions(on_time, gap) == plain(ran.rows)
    assert late == [rows[origin] for origin in ran.late]
    assert [row[4] for row in plain(ran.rows)] == ran.rows[WATERMARK].to_list()
    assert (0, 0) == (ran.logic.live, ran.logic.held_rows)
    assert sharded(spec, out, fed(rows, disorder, cuts), 3).equals(ran.rows)


@settings(max_examples=40, deadline=None)
@given(ROWS, st.lists(st.integers(0, 50), max_size=30), CUTS, GAP)
def test_arrival_within_the_disorder_changes_nothing(
    rows: list[Row], order: list[int], cuts: list[int], gap: int
) -> None:
    window = SessionWindow(gap)
    out = ordered_window_schema(SCHEMA, KEYS, window, AGGREGATES)
    spec = OrderedWindow(KEYS, window, AGGREGATES)
    ran = run(spec, out, fed(arrived(rows, 20, order), 20, cuts))
    assert [] == ran.late
    assert sessions(rows, gap) == plain(ran.rows)


@settings(max_examples=40, deadline=None)
@given(ROWS, DISORDER, CUTS, GAP)
def test_updates_come_to_the_rows_on_close(
    rows: list[Row], disorder: int, cuts: list[int], gap: int
) -> None:
    window = SessionWindow(gap)
    out = ordered_window_schema(SCHEMA, KEYS, window, AGGREGATES, "updates")
    assert (*KEYS, "start") == out.key
    spec = OrderedWindow(KEYS, window, AGGREGATES, emit="updates")
    ran = run(spec, out, fed(rows, disorder, cuts))
    table = {row[:3]: row for row in plain(ran.rows)}
    expected = sessions(judged(rows, disorder)[0], gap)
    assert {row[:3]: row for row in expected} == table
    assert 0 == ran.logic.live


def test_a_row_a_gap_later_starts_a_new_session() -> None:
    rows = [Row(0, "a", 0, 1, None), Row(4, "a", 0, 2, None), Row(9, "a", 0, 3, None)]
    window, few = SessionWindow(5), aggregates({"n": ALL["n"]})
    out = ordered_window_schema(SCHEMA, ("k",), window, few)
    for disorder in (0, 20):
        ran = run(OrderedWindow(("k",), window, few), out, fed(rows, disorder))
        assert [("a", 0, 9, 8, 2), ("a", 9, 14, 13, 1)] == plain(ran.rows)


def test_zeros_of_both_signs_are_one_key_and_so_are_all_nans() -> None:
    window, few = SessionWindow(5), aggregates({"n": ALL["n"]})
    out = ordered_window_schema(SCHEMA, ("x",), window, few)
    for cuts in ([], [1, 2, 3]):
        for x, y in ((0.0, -0.0), (math.nan, -math.nan)):
            rows = [Row(t, "a", 0, 1, x if t % 2 else y) for t in range(4)]
            ran = run(OrderedWindow(("x",), window, few), out, fed(rows, 0, cuts))
            assert [4] == ran.rows["n"].to_list()


def test_a_session_is_freed_once_the_watermark_has_passed_it() -> None:
    window = SessionWindow(5)
    out = ordered_window_schema(SCHEMA, KEYS, window, AGGREGATES)
    logic: Any = OrderedWindow(KEYS, window, AGGREGATES).build(place(out))
    logic.receive(0, fed([Row(0, "a", 0, 1, None)], 0)[0])
    assert (1, 0) == (logic.held_rows, logic.live)
    logic.receive(0, Batch(None, 4))
    assert (0, 1) == (logic.held_rows, logic.live)
    assert None is logic.receive(0, Batch(None, 4)).batches[0].rows
    closed = logic.receive(0, Batch(None, 5)).batches[0]
    assert (5, 1, 0) == (closed.watermark, closed.rows.height, logic.live)
    assert END == logic.receive(0, Batch(None, END)).batches[0].watermark


def test_without_event_time_the_flow_does_not_load() -> None:
    with pytest.raises(SchemaError, match=r"session .* needs event time"):
        ordered_window_schema(UNTIMED, KEYS, SessionWindow(5), aggregates(ALL, UNTIMED))
