from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.flows.batch import END, Batch
from headwater.flows.errors import SchemaError
from headwater.flows.operators.asof import AsofJoin, AsofLogic, asof_schema
from headwater.flows.schema import Schema

from .joins_model import (
    LEFT,
    ORDERS,
    RIGHT,
    TIME,
    Expected,
    Feed,
    Row,
    check,
    feeds,
    in_order,
    place_of,
    run,
    same_key,
)


def _build(spec: AsofJoin, out: Schema) -> AsofLogic:
    return spec.build(place_of(LEFT, RIGHT, out))


def _sortable(row: Row) -> list[tuple[bool, Any]]:
    return [(row[name] is not None, row[name] or 0) for name in RIGHT.names]


def _match(spec: AsofJoin, left: Row, rights: list[Row]) -> Row | None:
    """The row a person would pick, from the words of the documentation."""
    near = [
        row
        for row in rights
        if same_key(left, row, spec.keys)
        and (spec.tolerance is None or abs(left["at"] - row["on"]) <= spec.tolerance)
    ]
    before = {row["on"] for row in near if row["on"] <= left["at"]}
    after = {row["on"] for row in near if row["on"] >= left["at"]}
    times = []
    if spec.strategy != "forward" and before:
        times.append(max(before))
    if spec.strategy != "backward" and after:
        times.append(min(after))
    if not times:
        return None
    best = min(times, key=lambda time: (abs(time - left["at"]), -time))
    return max((row for row in near if row["on"] == best), key=_sortable)


def _oracle(spec: AsofJoin, left: Feed, right: Feed) -> list[Expected]:
    rights = [row for _, row in right.split()[0]]
    found: list[Expected] = []
    for origin, row in left.split()[0]:
        match = _match(spec, row, rights)
        if match is None and spec.how == "inner":
            continue
        joined = dict(row)
        for name in RIGHT.names:
            if name not in spec.keys:
                joined[name + "_r" * (name in row)] = match[name] if match else None
        found.append((row["at"], joined, origin))
    return found


_SPECS = st.builds(
    lambda keys, way, how: AsofJoin(keys, "at", "on", way[1], way[0], how, "_r"),
    st.sampled_from([(), ("k",), ("k", "j")]),
    st.sampled_from(
        [("backward", None), ("backward", 0), ("backward", 7), ("forward", 7), ("nearest", 7)]
    ),
    st.sampled_from(["left", "inner"]),
)


@settings(max_examples=150, deadline=None)
@given(_SPECS, feeds(LEFT), feeds(RIGHT), ORDERS)
def test_gives_each_row_its_match_however_the_inputs_are_cut(
    spec: AsofJoin, left: Feed, right: Feed, orders: list[tuple[Any, Any, Any]]
) -> None:
    out = asof_schema(LEFT, RIGHT, spec.keys, spec.how, spec.suffix)
    expected = in_order(_oracle(spec, left, right), out, spec.keys, 0)
    check(lambda: _build(spec, out), left, right, orders, out, expected)


def _steady(schema: Schema, count: int, step: int) -> Feed:
    time = str(schema.event_time)
    rows = tuple({"k": "abc"[n % 3], "j": n % 2, "v": n, time: n * step} for n in range(count))
    return Feed(schema, rows, 0)


@pytest.mark.parametrize(
    ("strategy", "tolerance", "most"),
    [("backward", None, 24), ("backward", 50, 40), ("forward", 50, 40), ("nearest", 50, 40)],
)
def test_holds_few_rows_once_time_has_moved_on(
    strategy: Any, tolerance: int | None, most: int
) -> None:
    spec = AsofJoin(("k",), "at", "on", tolerance, strategy)
    out = asof_schema(LEFT, RIGHT, ("k",))
    join = _build(spec, out)
    left, right = _steady(LEFT, 2_000, 10), _steady(RIGHT, 2_000, 10)
    cuts = list(range(0, 2_000, 7))
    held = []
    for mine, theirs in zip(left.batches(cuts)[:-1], right.batches(cuts)[:-1], strict=True):
        join.receive(1, theirs)
        join.receive(0, mine)
        held.append(join.held_rows)
    assert max(held) <= most
    join.receive(0, Batch(None, END))
    join.receive(1, Batch(None, END))
    assert join.held_rows == 0


def test_right_rows_too_old_for_the_tolerance_go_without_new_ones() -> None:
    spec = AsofJoin(("j",), "at", "on", 10)
    join = _build(spec, asof_schema(LEFT, RIGHT, ("j",)))
    rows = tuple({"j": n, "v": n, "k": None, "on": n} for n in range(100))
    for batch in Feed(RIGHT, rows, 0).batches([]):
        join.receive(1, batch)
    join.receive(0, Batch(None, 150))
    assert join.held_rows == 0


def test_large_table_and_few_rows() -> None:
    rows = tuple({"j": n, "v": -n, "k": None, "on": 0} for n in range(500))
    asked = tuple({"j": n, "v": 0, "k": None, "at": 5} for n in (499, 7, 1_000))
    out = asof_schema(LEFT, RIGHT, ("j",))
    steps = [(1, batch) for batch in Feed(RIGHT, rows, 0).batches(range(0, 500, 3))]
    steps += [(0, batch) for batch in Feed(LEFT, asked, 0).batches([])]
    found = run(_build(AsofJoin(("j",), "at", "on"), out), steps, out)
    assert {(499, -499), (7, -7), (1_000, None)} == {(row[2], row[4]) for row in found.rows}


@pytest.mark.parametrize("dtype", [pl.Boolean(), pl.Date(), pl.Float64(), pl.Binary()])
def test_keys_of_other_types(dtype: pl.DataType) -> None:
    one, two = pl.Series([0, 1]).cast(pl.Boolean if dtype == pl.Boolean else pl.Int32)
    values = {
        pl.Boolean(): (one, two),
        pl.Date(): (one, two),
        pl.Float64(): (-0.0, float("nan")),
        pl.Binary(): (b"\x00", b"\xff"),
    }[dtype]
    series = pl.Series("k", [*values, None]).cast(dtype)
    left = Schema((("at", TIME), ("k", dtype)), event_time="at", nullable=frozenset("k"))
    right = Schema((("on", TIME), ("k", dtype), ("v", pl.Int64())), event_time="on")
    out = asof_schema(left, right, ("k",), "inner")
    join = AsofJoin(("k",), "at", "on", how="inner").build(place_of(left, right, out))
    hidden = [pl.lit(0, pl.Int64).alias("_hw_watermark"), pl.lit(0, pl.Int64).alias("_hw_origin")]
    at = pl.repeat(1, 3, dtype=pl.Int64).cast(TIME)
    lefts = pl.DataFrame([series]).select(at.alias("at"), "k", *hidden)
    rights = pl.DataFrame([series, pl.Series("v", [1, 2, 3])]).select(
        at.alias("on"), "k", "v", *hidden
    )
    join.receive(0, Batch(lefts, END))
    (batch,) = join.receive(1, Batch(rights, END)).batches
    assert batch.rows is not None
    assert {1, 2} == set(batch.rows["v"].to_list())


def test_late_right_rows_are_dead_letters_with_their_row() -> None:
    rows = ({"j": 1, "v": None, "k": "ü", "on": 20}, {"j": 2, "v": 3, "k": "b", "on": 4})
    out = asof_schema(LEFT, RIGHT, ("k",))
    steps = [(1, batch) for batch in Feed(RIGHT, rows, 5).batches([])]
    (dead,) = run(
        _build(AsofJoin(("k",), "at", "on"), out), [*steps, (0, Batch(None, END))], out
    ).dead
    assert ("join", 1, 15) == (dead.operator, dead.origin, dead.watermark)
    assert "late: 1970-01-01T00:00:00.000004+00:00 is before the watermark " in dead.reason
    assert {"j": 2, "v": 3, "k": "b", "on": "1970-01-01T00:00:00.000004+00:00"} == json.loads(
        dead.raw
    )


def test_output_columns() -> None:
    site = replace(LEFT, site="k")
    out = asof_schema(site, RIGHT, ("k",))
    assert ("at", "k", "j", "v", "j_right", "v_right", "on") == out.names
    assert ("at", "k", None) == (out.event_time, out.site, out.key)
    assert frozenset(out.names) - {"at"} == out.nullable


@pytest.mark.parametrize(
    ("left", "right", "keys", "options", "message"),
    [
        (LEFT, RIGHT, ("x",), {}, "key 'x' is not in the left stream .* has at, k, j, v"),
        (LEFT, RIGHT.select(["on", "v"]), ("k",), {}, "'k' is not in the right stream"),
        (
            LEFT,
            Schema((("on", TIME), ("k", pl.Int64())), event_time="on"),
            ("k",),
            {},
            "'k' is String in the left stream and 'k' is Int64 in the right .*cast",
        ),
        (LEFT, replace(RIGHT, event_time=None), ("k",), {}, "right stream .* no event time"),
        (replace(LEFT, event_time=None), RIGHT, ("k",), {}, "left stream .* no event time"),
        (LEFT.with_key("k"), RIGHT, ("k",), {}, "left stream .* changing table"),
        (LEFT, RIGHT.with_key("k"), ("k",), {}, r"right stream .* changing table .*lookup\(\)"),
        (LEFT, RIGHT, ("k",), {"suffix": ""}, "'j' would come out as 'j', a name that is taken"),
        (LEFT, RIGHT, ("k",), {"how": "full"}, "not 'full'"),
        (LEFT, LEFT, ("at",), {}, "is the left stream's event time"),
    ],
)
def test_what_cannot_be_joined(
    left: Schema, right: Schema, keys: tuple[str, ...], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(SchemaError, match=message):
        asof_schema(left, right, keys, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tolerance": -1}, "must not be negative"),
        ({"strategy": "forward"}, "without a tolerance"),
        ({"strategy": "later"}, "one of 'backward'"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        AsofJoin(("k",), "at", "on", **options)


def test_a_right_row_just_within_the_tolerance_is_kept() -> None:
    out = asof_schema(LEFT, RIGHT, ("k",))
    changes = tuple({"k": "a", "j": 0, "v": on, "on": on} for on in (0, 2))
    left = Feed(LEFT, ({"at": 12, "k": "a", "j": 0, "v": 0},), 0).batches([])
    right = Feed(RIGHT, changes, 0).batches([1])
    steps = [(1, batch) for batch in right]
    steps += [(0, Batch(None, 12)), *((0, batch) for batch in left)]
    found = run(_build(AsofJoin(("k",), "at", "on", 10), out), steps, out)
    assert [2] == [row[out.names.index("v_right")] for row in found.rows]


def test_columns_of_nested_types_are_carried() -> None:
    nested = (("l", pl.List(pl.Int64())), ("s", pl.Struct({"x": pl.Int64()})))
    left = Schema((("at", TIME), ("k", pl.String()), *nested), event_time="at")
    right = Schema((("on", TIME), ("k", pl.String()), *nested), event_time="on")
    out = asof_schema(left, right, ("k",), suffix="_r")
    rows = [{"at": 1, "k": "a", "l": [n], "s": {"x": n}} for n in (2, 1)]
    changes = [{"on": 1, "k": "a", "l": [n, n], "s": {"x": n}} for n in (3, 4, 1)]
    steps = [(0, batch) for batch in Feed(left, tuple(rows), 0).batches([1])]
    steps += [(1, batch) for batch in Feed(right, tuple(changes), 0).batches([1])]
    join = AsofJoin(("k",), "at", "on", suffix="_r").build(place_of(left, right, out))
    found = run(join, steps, out)
    assert [([1], [4, 4], {"x": 4}), ([2], [4, 4], {"x": 4})] == [
        (row[2], row[5], row[6]) for row in found.rows
    ]


def test_a_key_is_a_plain_value() -> None:
    nested = Schema((("at", TIME), ("k", pl.List(pl.Int64()))), event_time="at")
    with pytest.raises(SchemaError, match="a key is a plain value"):
        asof_schema(nested, nested, ("k",))
