"""Sliding windows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.flows.batch import WATERMARK, Batch
from headwater.flows.errors import SchemaError
from headwater.flows.operators import ordered_window
from headwater.flows.operators.ordered_window import OrderedWindow, ordered_window_schema
from headwater.flows.windows import SlidingWindow

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
SIZE = st.integers(1, 20)
LATENESS = st.integers(0, 10)


def slides(rows: list[Row], size: int) -> list[tuple[Any, ...]]:
    """The rows of sliding windows, each looked up among all rows."""
    found = []
    for (k, j), mine in by_key(canonical(rows)).items():
        for t in sorted({row.at for row in mine}):
            seen = [row for row in mine if t - size < row.at <= t]
            found.append((k, j, t - size, t + 1, t, *folded(seen)))
    return sorted(found, key=lambda f: (f[4], group(f[0], f[1]), nulls_first(f[:2])))


@settings(max_examples=60, deadline=None)
@given(ROWS, DISORDER, CUTS, SIZE, LATENESS)
def test_slides_equal_the_model_and_late_rows_are_told(
    rows: list[Row], disorder: int, cuts: list[int], size: int, lateness: int
) -> None:
    window = SlidingWindow(size)
    out = ordered_window_schema(SCHEMA, KEYS, window, AGGREGATES)
    spec = OrderedWindow(KEYS, window, AGGREGATES, lateness)
    ran = run(spec, out, fed(rows, disorder, cuts))
    on_time, late = judged(rows, disorder, lateness)
    assert slides(on_time, size) == plain(ran.rows)
    assert late == [rows[origin] for origin in ran.late]
    assert [row[4] for row in plain(ran.rows)] == ran.rows[WATERMARK].to_list()
    assert 0 == ran.logic.held_rows
    assert sharded(spec, out, fed(rows, disorder, cuts), 3).equals(ran.rows)


@settings(max_examples=40, deadline=None)
@given(ROWS, st.lists(st.integers(0, 50), max_size=30), CUTS, SIZE)
def test_arrival_within_the_disorder_changes_nothing(
    rows: list[Row], order: list[int], cuts: list[int], size: int
) -> None:
    window = SlidingWindow(size)
    out = ordered_window_schema(SCHEMA, KEYS, window, AGGREGATES)
    spec = OrderedWindow(KEYS, window, AGGREGATES)
    ran = run(spec, out, fed(arrived(rows, 20, order), 20, cuts))
    assert [] == ran.late
    assert slides(rows, size) == plain(ran.rows)


def test_windows_are_folded_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [Row(t, "a", t % 3, t, t / 7) for t in range(60)]
    window = SlidingWindow(30)
    out = ordered_window_schema(SCHEMA, KEYS, window, AGGREGATES)
    monkeypatch.setattr(ordered_window, "_EXPLODED", 15)
    ran = run(OrderedWindow(KEYS, window, AGGREGATES), out, fed(rows, 0))
    assert slides(rows, 30) == plain(ran.rows)


def test_the_whole_stream_may_be_one_key() -> None:
    rows = [Row(0, "a", 0, 1, None), Row(3, "b", 0, 2, None), Row(10, None, 0, 3, None)]
    window, few = SlidingWindow(10), aggregates({"whole": ALL["whole"]})
    out = ordered_window_schema(SCHEMA, (), window, few)
    ran = run(OrderedWindow((), window, few), out, fed(rows, 0))
    assert [(-10, 1, 0, 1), (-7, 4, 3, 3), (0, 11, 10, 5)] == plain(ran.rows)


def test_rows_are_kept_no_longer_than_windows_may_need_them() -> None:
    window = SlidingWindow(5)
    out = ordered_window_schema(SCHEMA, KEYS, window, AGGREGATES)
    logic: Any = OrderedWindow(KEYS, window, AGGREGATES).build(place(out))
    logic.receive(0, fed([Row(0, "a", 0, 1, None), Row(2, "b", 0, 1, None)], 0)[0])
    for watermark, held in [(3, 2), (4, 2), (5, 1), (6, 1), (7, 0)]:
        logic.receive(0, Batch(None, watermark))
        assert held == logic.held_rows


def test_updates_are_refused() -> None:
    with pytest.raises(SchemaError, match="has no updates"):
        ordered_window_schema(SCHEMA, KEYS, SlidingWindow(5), AGGREGATES, "updates")


def test_without_event_time_the_flow_does_not_load() -> None:
    with pytest.raises(SchemaError, match=r"sliding .* needs event time"):
        ordered_window_schema(UNTIMED, KEYS, SlidingWindow(5), aggregates(ALL, UNTIMED))
