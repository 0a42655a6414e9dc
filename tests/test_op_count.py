"""Count windows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.flows.batch import END, START, WATERMARK
from headwater.flows.errors import SchemaError
from headwater.flows.operators.ordered_window import OrderedWindow, ordered_window_schema
from headwater.flows.windows import CountWindow

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
UNTIMED_AGGREGATES = aggregates(ALL, UNTIMED)
SIZE = st.integers(1, 5)
LATENESS = st.integers(0, 10)
Found = tuple[Any, ...]


def counts(rows: list[Row], size: int) -> tuple[list[Found], list[Found]]:
    """The full windows and those that the end of the stream cut short."""
    full: list[Found] = []
    rest: list[Found] = []
    for (k, j), mine in by_key(canonical(rows)).items():
        for begin in range(0, len(mine), size):
            part = mine[begin : begin + size]
            end = part[-1].at + 1
            row = (k, j, part[0].at, end, end - 1, *folded(part))
            (full if len(part) == size else rest).append(row)
    full.sort(key=lambda f: (f[3], group(f[0], f[1]), nulls_first(f[:2])))
    rest.sort(key=lambda f: (group(f[0], f[1]), nulls_first(f[:2])))
    return full, rest


@settings(max_examples=60, deadline=None)
@given(ROWS, DISORDER, CUTS, SIZE, LATENESS)
def test_counts_equal_the_model_and_late_rows_are_told(
    rows: list[Row], disorder: int, cuts: list[int], size: int, lateness: int
) -> None:
    window = CountWindow(size)
    out = ordered_window_schema(SCHEMA, KEYS, window, AGGREGATES)
    spec = OrderedWindow(KEYS, window, AGGREGATES, lateness)
    ran = run(spec, out, fed(rows, disorder, cuts))
    on_time, late = judged(rows, disorder, lateness)
    full, rest = counts(on_time, size)
    assert full + rest == plain(ran.rows)
    assert late == [rows[origin] for origin in ran.late]
    assert [row[4] for row in full] + [END - 1] * len(rest) == ran.rows[WATERMARK].to_list()
    assert (0, 0) == (ran.logic.live, ran.logic.held_rows)
    assert sharded(spec, out, fed(rows, disorder, cuts), 3).equals(ran.rows)


@settings(max_examples=40, deadline=None)
@given(ROWS, st.lists(st.integers(0, 50), max_size=30), CUTS, SIZE)
def test_arrival_within_the_disorder_changes_nothing(
    rows: list[Row], order: list[int], cuts: list[int], size: int
) -> None:
    window = CountWindow(size)
    out = ordered_window_schema(SCHEMA, KEYS, window, AGGREGATES)
    ran = run(OrderedWindow(KEYS, window, AGGREGATES), out, fed(arrived(rows, 20, order), 20, cuts))
    assert [] == ran.late
    full, rest = counts(rows, size)
    assert full + rest == plain(ran.rows)


@settings(max_examples=40, deadline=None)
@given(ROWS, CUTS, SIZE)
def test_without_event_time_rows_count_as_they_come(
    rows: list[Row], cuts: list[int], size: int
) -> None:
    window = CountWindow(size)
    out = ordered_window_schema(UNTIMED, KEYS, window, UNTIMED_AGGREGATES)
    assert (*KEYS, *ALL) == out.names
    spec = OrderedWindow(KEYS, window, UNTIMED_AGGREGATES)
    ran = run(spec, out, fed(rows, 0, cuts, timed=False), timed=False)
    full: list[Found] = []
    waiting: dict[tuple[Any, Any], list[Row]] = {}
    for row in rows:
        mine = waiting.setdefault((row.k, row.j), [])
        mine.append(row)
        if len(mine) == size:
            full.append((row.k, row.j, *folded(waiting.pop((row.k, row.j)))))
    rest = [(*key, *folded(mine)) for key, mine in waiting.items()]
    rest.sort(key=lambda f: (group(f[0], f[1]), nulls_first(f[:2])))
    assert full + rest == plain(ran.rows)
    assert {START} >= set(ran.rows[WATERMARK])


def test_a_full_window_is_freed() -> None:
    window = CountWindow(2)
    out = ordered_window_schema(SCHEMA, KEYS, window, AGGREGATES)
    logic: Any = OrderedWindow(KEYS, window, AGGREGATES).build(place(out))
    rows = [Row(t, "a", 0, t, None) for t in range(5)]
    live = []
    for batch in fed(rows, 0, [1, 2, 3, 4])[:-1]:
        logic.receive(0, batch)
        live.append(logic.live)
    assert [0, 1, 0, 1, 0] == live


def test_updates_are_refused() -> None:
    with pytest.raises(SchemaError, match="has no updates"):
        ordered_window_schema(SCHEMA, KEYS, CountWindow(5), AGGREGATES, "updates")


def test_names_that_clash_are_refused() -> None:
    for name in ("k", "start", "end", "at"):
        with pytest.raises(SchemaError, match="give the aggregate another name"):
            ordered_window_schema(SCHEMA, KEYS, CountWindow(5), aggregates({name: ALL["n"]}))
    with pytest.raises(SchemaError, match="rename the key or event-time column"):
        ordered_window_schema(SCHEMA, ("at",), CountWindow(5), AGGREGATES)
    with pytest.raises(SchemaError, match="'nobody' is missing"):
        ordered_window_schema(SCHEMA, ("nobody",), CountWindow(5), AGGREGATES)
