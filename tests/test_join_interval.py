from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.flows.batch import END, NO_ORIGIN, Batch
from headwater.flows.errors import SchemaError
from headwater.flows.operators.interval import IntervalJoin, IntervalLogic, interval_schema
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


def _build(spec: IntervalJoin, out: Schema) -> IntervalLogic:
    return spec.build(place_of(LEFT, RIGHT, out))


def _oracle(spec: IntervalJoin, left: Feed, right: Feed) -> list[Expected]:
    lefts, rights = left.split()[0], right.split()[0]
    theirs = {name: name + "_right" * (name in LEFT.names) for name in RIGHT.names}
    theirs = {name: to for name, to in theirs.items() if name not in spec.keys}
    found: list[Expected] = []
    partnered: set[int] = set()
    for origin, row in lefts:
        alone = True
        for number, (_, other) in enumerate(rights):
            distance = other["on"] - row["at"]
            if same_key(row, other, spec.keys) and -spec.before <= distance <= spec.after:
                joined = dict(row) | {to: other[name] for name, to in theirs.items()}
                found.append((max(row["at"], other["on"]), joined, origin))
                partnered.add(number)
                alone = False
        if alone and spec.how != "inner":
            joined = dict(row) | dict.fromkeys(theirs.values())
            found.append((row["at"] + max(spec.after, 0), joined, origin))
    if spec.how == "full":
        for number, (_, other) in enumerate(rights):
            if number not in partnered:
                joined = dict.fromkeys(LEFT.names) | {"at": other["on"]}
                joined |= {key: other[key] for key in spec.keys}
                joined |= {to: other[name] for name, to in theirs.items()}
                found.append((other["on"] + max(spec.before, 0), joined, NO_ORIGIN))
    return found


_SPECS = st.builds(
    lambda keys, reach, how: IntervalJoin(keys, "at", "on", reach[0], reach[1], how),
    st.sampled_from([("k",), ("k", "j"), ("j",)]),
    st.sampled_from([(0, 0), (5, 0), (0, 5), (7, 3), (-2, 6), (9, -4), (-5, 5)]),
    st.sampled_from(["inner", "left", "full"]),
)


@settings(max_examples=150, deadline=None)
@given(_SPECS, feeds(LEFT), feeds(RIGHT), ORDERS)
def test_gives_all_pairs_and_lone_rows_however_the_inputs_are_cut(
    spec: IntervalJoin, left: Feed, right: Feed, orders: list[tuple[Any, Any, Any]]
) -> None:
    out = interval_schema(LEFT, RIGHT, spec.keys, spec.how)
    hold = max(spec.after, 0, spec.before if spec.how == "full" else 0)
    expected = in_order(_oracle(spec, left, right), out, spec.keys, hold)
    check(lambda: _build(spec, out), left, right, orders, out, expected)


@pytest.mark.parametrize("how", ["inner", "left", "full"])
def test_holds_only_what_is_within_reach(how: Any) -> None:
    spec = IntervalJoin(("k",), "at", "on", 30, 20, how)
    join = _build(spec, interval_schema(LEFT, RIGHT, ("k",)))
    count = 3_000
    left = Feed(LEFT, tuple({"k": "a", "j": 0, "v": n, "at": n} for n in range(count)), 0)
    right = Feed(RIGHT, tuple({"k": "a", "j": 0, "v": n, "on": n} for n in range(count)), 0)
    cuts = range(0, count, 10)
    held, given = [], 0
    for mine, theirs in zip(left.batches(cuts)[:-1], right.batches(cuts)[:-1], strict=True):
        for port, batch in ((1, theirs), (0, mine)):
            rows = join.receive(port, batch).batches[0].rows
            given += 0 if rows is None else rows.height
            held.append(join.held_rows)
    assert max(held) <= 30 + 20 + 2 * 11
    for port in (0, 1):
        rows = join.receive(port, Batch(None, END)).batches[0].rows
        given += 0 if rows is None else rows.height
    every = sum(min(n + 20, count - 1) - max(n - 30, 0) + 1 for n in range(count))
    assert every == given
    assert join.held_rows == 0


@pytest.mark.parametrize(("before", "after", "how", "hold"), [
    (30, 20, "inner", 20), (30, -5, "left", 0), (30, 20, "full", 30), (-4, 20, "full", 20),
])  # fmt: skip
def test_watermark_is_held_back_by_the_reach(before: int, after: int, how: Any, hold: int) -> None:
    spec = IntervalJoin(("k",), "at", "on", before, after, how)
    join = _build(spec, interval_schema(LEFT, RIGHT, ("k",)))
    join.receive(0, Batch(None, 1_000))
    (batch,) = join.receive(1, Batch(None, 2_000)).batches
    assert 1_000 - hold == batch.watermark


def test_a_lone_row_comes_out_when_no_partner_can_come() -> None:
    join = _build(
        IntervalJoin(("k",), "at", "on", 0, 20, "left"), interval_schema(LEFT, RIGHT, ("k",))
    )
    row = {"k": "a", "j": 0, "v": 0, "at": 100}
    join.receive(0, Feed(LEFT, (row,), 0).batches([])[0])
    join.receive(0, Batch(None, 500))
    assert join.receive(1, Batch(None, 120)).batches[0].rows is None
    rows = join.receive(1, Batch(None, 121)).batches[0].rows
    assert rows is not None
    assert rows.height == 1


def test_output_columns() -> None:
    inner = interval_schema(LEFT, RIGHT, ("k",))
    assert ("at", "k", "j", "v", "j_right", "v_right", "on") == inner.names
    assert "on" not in inner.nullable
    assert "on" in interval_schema(LEFT, RIGHT, ("k",), "left").nullable
    assert "at" not in interval_schema(LEFT, RIGHT, ("k",), "full").nullable


def test_what_cannot_be_joined() -> None:
    with pytest.raises(SchemaError, match="no key column"):
        interval_schema(LEFT, RIGHT, ())
    with pytest.raises(SchemaError, match=r"right stream .* changing table .*lookup\(\)"):
        interval_schema(LEFT, RIGHT.with_key("k"), ("k",))
    with pytest.raises(SchemaError, match="one of 'inner', 'left' and 'full'"):
        interval_schema(LEFT, RIGHT, ("k",), how="right")  # type: ignore[arg-type]
    with pytest.raises(SchemaError, match="is empty"):
        IntervalJoin(("k",), "at", "on", -3, 2)
