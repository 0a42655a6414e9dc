from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.flows.batch import END, NO_ORIGIN, Batch
from headwater.flows.errors import SchemaError
from headwater.flows.operators.window_join import WindowJoin, WindowLogic, window_join_schema
from headwater.flows.schema import Schema

from .joins_model import (
    LEFT,
    ORDERS,
    RIGHT,
    Expected,
    Feed,
    check,
    feeds,
    in_order,
    place_of,
    same_key,
)


def _build(spec: WindowJoin, out: Schema) -> WindowLogic:
    return spec.build(place_of(LEFT, RIGHT, out))


def _starts(spec: WindowJoin) -> list[int]:
    """The starts of all windows that could hold a row of the test."""
    return [start for start in range(-100, 100) if (start - spec.offset) % spec.every == 0]


def _oracle(spec: WindowJoin, left: Feed, right: Feed) -> list[Expected]:
    theirs = {name: name + "_right" * (name in LEFT.names) for name in RIGHT.names}
    theirs = {name: to for name, to in theirs.items() if name not in spec.keys}
    found: list[Expected] = []
    for start in _starts(spec):
        end = start + spec.size
        window = {"at": end - 1, "start": start, "end": end}
        mine = [one for one in left.split()[0] if start <= one[1]["at"] < end]
        others = [row for _, row in right.split()[0] if start <= row["on"] < end]
        for origin, row in mine:
            partners = [other for other in others if same_key(row, other, spec.keys)]
            for other in partners:
                joined = {**row, **{to: other[name] for name, to in theirs.items()}, **window}
                found.append((end - 1, joined, origin))
            if not partners and spec.how != "inner":
                joined = {**row, **dict.fromkeys(theirs.values()), **window}
                found.append((end - 1, joined, origin))
        for other in others if spec.how == "full" else ():
            if not any(same_key(row, other, spec.keys) for _, row in mine):
                joined = {**dict.fromkeys(LEFT.names), **{k: other[k] for k in spec.keys}}
                joined |= {to: other[name] for name, to in theirs.items()} | window
                found.append((end - 1, joined, NO_ORIGIN))
    return found


_SPECS = st.builds(
    lambda keys, window, how: WindowJoin(keys, "at", "on", window[0], window[1], window[2], how),
    st.sampled_from([("k",), ("k", "j"), ("j",)]),
    st.sampled_from([(10, 10, 0), (10, 10, 3), (10, 5, 0), (10, 3, 1), (7, 7, 6), (1, 1, 0)]),
    st.sampled_from(["inner", "left", "full"]),
)


@settings(max_examples=150, deadline=None)
@given(_SPECS, feeds(LEFT), feeds(RIGHT), ORDERS)
def test_gives_all_pairs_of_a_window_however_the_inputs_are_cut(
    spec: WindowJoin, left: Feed, right: Feed, orders: list[tuple[Any, Any, Any]]
) -> None:
    out = window_join_schema(LEFT, RIGHT, spec.keys, spec.how)
    expected = in_order(_oracle(spec, left, right), out, spec.keys, 0)
    check(lambda: _build(spec, out), left, right, orders, out, expected)


@pytest.mark.parametrize("how", ["inner", "left", "full"])
def test_holds_only_the_rows_of_open_windows(how: Any) -> None:
    join = _build(
        WindowJoin(("k",), "at", "on", 100, 50, 0, how), window_join_schema(LEFT, RIGHT, ("k",))
    )
    count = 3_000
    left = Feed(LEFT, tuple({"k": "a", "j": 0, "v": n, "at": n} for n in range(count)), 0)
    right = Feed(RIGHT, tuple({"k": "b", "j": 0, "v": n, "on": n} for n in range(count)), 0)
    cuts = range(0, count, 10)
    held = []
    for mine, theirs in zip(left.batches(cuts)[:-1], right.batches(cuts)[:-1], strict=True):
        for port, batch in ((1, theirs), (0, mine)):
            join.receive(port, batch)
            held.append(join.held_rows)
    assert max(held) <= 2 * 120
    for port in (0, 1):
        join.receive(port, Batch(None, END))
    assert join.held_rows == 0


def test_a_window_comes_out_when_both_watermarks_reach_its_end() -> None:
    out = window_join_schema(LEFT, RIGHT, ("k",))
    join = _build(WindowJoin(("k",), "at", "on", 10, 10), out)
    join.receive(0, Feed(LEFT, ({"k": "a", "j": 0, "v": 1, "at": 5},), 0).batches([])[0])
    join.receive(1, Feed(RIGHT, ({"k": "a", "j": 0, "v": 2, "on": 6},), 0).batches([])[0])
    join.receive(0, Batch(None, 10))
    assert join.receive(1, Batch(None, 9)).batches[0].rows is None
    (batch,) = join.receive(1, Batch(None, 10)).batches
    assert batch.rows is not None
    times = batch.rows.select(pl.col("at", "start", "end").to_physical())
    assert [(9, 0, 10)] == times.rows()
    assert 10 == batch.watermark


def test_output_columns() -> None:
    out = window_join_schema(LEFT, RIGHT, ("k",))
    assert ("at", "k", "j", "v", "j_right", "v_right", "on", "start", "end") == out.names
    assert pl.Datetime("us", "UTC") == out.dtype("end")


def test_what_cannot_be_joined() -> None:
    windows = window_join_schema(LEFT, RIGHT, ("k",))
    with pytest.raises(SchemaError, match="adds the column 'start'"):
        window_join_schema(windows, RIGHT, ("k",))
    with pytest.raises(SchemaError, match="must be positive and the step not longer"):
        WindowJoin(("k",), "at", "on", 10, 20)
    right = windows.select(["at", "k", "start", "end"])
    assert "start_right" in window_join_schema(LEFT, right, ("k",)).names


def test_a_row_at_the_start_of_an_open_window_is_kept() -> None:
    out = window_join_schema(LEFT, RIGHT, ("k",))
    join = _build(WindowJoin(("k",), "at", "on", 10, 10), out)
    join.receive(0, Feed(LEFT, ({"k": "a", "j": 0, "v": 1, "at": 10},), 5).batches([])[0])
    join.receive(1, Feed(RIGHT, ({"k": "a", "j": 0, "v": 2, "on": 10},), 5).batches([])[0])
    join.receive(0, Batch(None, 12))
    assert join.receive(1, Batch(None, 12)).batches[0].rows is None
    join.receive(0, Batch(None, END))
    (batch,) = join.receive(1, Batch(None, END)).batches
    assert batch.rows is not None
    assert 1 == batch.rows.height
