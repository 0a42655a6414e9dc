from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.flows.batch import DELETED, END, Batch
from headwater.flows.errors import SchemaError
from headwater.flows.operators.asof import AsofLogic
from headwater.flows.operators.lookup import LookupJoin, lookup_schema
from headwater.flows.schema import Schema

from .joins_model import (
    LEFT,
    ORDERS,
    RIGHT,
    Expected,
    Feed,
    Row,
    check,
    feeds,
    in_order,
    outputs,
    place_of,
)

_RENAMED = {"k": "name", "j": "number"}
TABLE = Schema(
    tuple((_RENAMED.get(name, name), dtype) for name, dtype in RIGHT.columns),
    event_time="on",
)


def _table(feed: Feed, key: tuple[str, ...] | None) -> Feed:
    schema = TABLE.with_key(*key or ())
    names = {*schema.names, DELETED} if key else {*schema.names}
    renamed = (
        {_RENAMED.get(name, name): value for name, value in row.items()} for row in feed.rows
    )
    rows = tuple({name: row[name] for name in row if name in names} for row in renamed)
    return Feed(schema, rows, feed.disorder)


def _build(spec: LookupJoin, table: Schema, out: Schema) -> AsofLogic:
    return spec.build(place_of(LEFT, table, out))


def _seen(spec: LookupJoin, row: Row, table: Feed) -> Row | None:
    """Replay the changes up to the row's time, by time; look the row's key up at the end."""
    changes = [change for _, change in table.split()[0]]
    if table.schema.key is None:
        changes.sort(key=lambda one: [(one[c] is not None, one[c] or 0) for c in TABLE.names])
    contents: dict[tuple[Any, ...], Row] = {}
    for change in sorted(changes, key=lambda one: int(one["on"])):
        if change["on"] <= row["at"]:
            key = tuple(change[name] for name in spec.right_keys)
            contents.pop(key, None)
            if not change.get(DELETED):
                contents[key] = change
    asked = tuple(row[name] for name in spec.keys)
    return None if None in asked else contents.get(asked)


def _oracle(spec: LookupJoin, left: Feed, table: Feed) -> list[Expected]:
    found: list[Expected] = []
    for origin, row in left.split()[0]:
        seen = _seen(spec, row, table)
        if seen is None and spec.how == "inner":
            continue
        joined = dict(row)
        for name in TABLE.names:
            if name not in spec.right_keys:
                joined[name + "_right" * (name in row)] = seen[name] if seen else None
        found.append((row["at"], joined, origin))
    return found


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([("k",), ("k", "j"), ("j",)]),
    st.sampled_from(["left", "inner"]),
    st.booleans(),
    feeds(LEFT),
    feeds(RIGHT.with_key("k")),
    ORDERS,
)
def test_sees_the_table_as_of_the_row_however_the_inputs_are_cut(
    keys: tuple[str, ...],
    how: Any,
    upsert: bool,
    left: Feed,
    right: Feed,
    orders: list[tuple[Any, Any, Any]],
) -> None:
    spec = LookupJoin(keys, tuple(_RENAMED[key] for key in keys), "at", "on", how)
    table = _table(right, spec.right_keys if upsert else None)
    out = lookup_schema(LEFT, table.schema, spec.keys, spec.right_keys, how)
    expected = in_order(_oracle(spec, left, table), out, spec.keys, 0)
    check(lambda: _build(spec, table.schema, out), left, table, orders, out, expected)


def _change(number: int, value: int, on: int, deleted: bool = False) -> Row:
    return {"number": number, "v": value, "name": "x", "on": on, DELETED: deleted}


def test_of_changes_at_the_same_time_the_last_of_an_upsert_stream_counts() -> None:
    table = Feed(
        TABLE.with_key("number"), (_change(1, 9, 5), _change(1, 9, 5, True), _change(1, 2, 5)), 0
    )
    left = Feed(LEFT, ({"at": 5, "k": None, "j": 1, "v": 0},), 0)
    out = lookup_schema(LEFT, table.schema, ("j",), ("number",))
    spec = LookupJoin(("j",), ("number",), "at", "on")
    for cuts in ([], [1], [2], [1, 2]):
        found = outputs(lambda: _build(spec, table.schema, out), left, table, ([], cuts, []), out)
        assert [2] == [row[out.names.index("v_right")] for row in found.rows]


def test_state_is_the_table() -> None:
    schema = TABLE.with_key("number")
    join = _build(
        LookupJoin(("j",), ("number",), "at", "on"),
        schema,
        lookup_schema(LEFT, schema, ("j",), ("number",)),
    )
    changes = [_change(n % 20, n, n) for n in range(1_000)]
    changes += [_change(n, 0, 1_000 + n, True) for n in range(20)]
    join.receive(0, Batch(None, 10_000))
    held = []
    for batch in Feed(schema, tuple(changes), 0).batches(range(0, 1_020, 13))[:-1]:
        join.receive(1, batch)
        held.append(join.held_rows)
    assert max(held) <= 2 * 20 + 14
    join.receive(1, Batch(None, 9_000))
    join.receive(1, Feed(schema, (_change(77, 0, 9_001),), 0).batches([])[0])
    join.receive(1, Batch(None, 9_500))
    assert 1 == join.held_rows
    join.receive(0, Batch(None, END))
    join.receive(1, Batch(None, END))
    assert 0 == join.held_rows


def test_deleted_is_not_a_column_of_the_result() -> None:
    out = lookup_schema(LEFT, TABLE.with_key("number"), ("j",), ("number",))
    assert ("at", "k", "j", "v", "v_right", "name", "on") == out.names
    assert out.key is None


def test_what_cannot_be_looked_up() -> None:
    with pytest.raises(SchemaError, match="table by name, but is looked up by number"):
        lookup_schema(LEFT, TABLE.with_key("name"), ("j",), ("number",))
    with pytest.raises(SchemaError, match="1 key columns on its left .* 2 on its right"):
        lookup_schema(LEFT, TABLE, ("j",), ("number", "name"))
    with pytest.raises(SchemaError, match="'j' is Int64 in the left .* 'name' is String"):
        lookup_schema(LEFT, TABLE, ("j",), ("name",))
    with pytest.raises(SchemaError, match="needs a key column"):
        lookup_schema(LEFT, TABLE, (), ())
    with pytest.raises(SchemaError, match="not 'full'"):
        lookup_schema(LEFT, TABLE, ("j",), ("number",), how="full")  # type: ignore[arg-type]
