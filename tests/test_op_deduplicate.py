"""Deduplication."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.flows.batch import ORIGIN, WATERMARK, Batch
from headwater.flows.errors import SchemaError
from headwater.flows.operators.deduplicate import Deduplicate, deduplicate_schema
from headwater.flows.schema import Schema

from .streams_model import (
    CUTS,
    DISORDER,
    KEYS,
    ROWS,
    SCHEMA,
    UNTIMED,
    Row,
    arrived,
    canonical,
    fed,
    judged,
    place,
    plain,
    run,
    sharded,
)

WITHIN = st.one_of(st.none(), st.integers(0, 15))


def firsts(rows: list[Row], within: int | None) -> list[Row]:
    """The rows that pass."""
    found = []
    last: dict[tuple[Any, Any], int] = {}
    for row in rows:
        key = row.k, row.j
        if key not in last or (within is not None and row.at > last[key] + within):
            last[key] = row.at
            found.append(row)
    return found


@settings(max_examples=60, deadline=None)
@given(ROWS, DISORDER, CUTS, WITHIN)
def test_what_passes_equals_the_model_and_late_rows_are_told(
    rows: list[Row], disorder: int, cuts: list[int], within: int | None
) -> None:
    spec = Deduplicate(KEYS, within)
    ran = run(spec, deduplicate_schema(SCHEMA, KEYS, within), fed(rows, disorder, cuts))
    on_time, late = judged(rows, disorder)
    expected = firsts(canonical(on_time), within)
    assert [tuple(row) for row in expected] == plain(ran.rows)
    assert late == [rows[origin] for origin in ran.late]
    assert len(on_time) - len(expected) == ran.logic.dropped
    assert [row.at for row in expected] == ran.rows[WATERMARK].to_list()
    assert [rows[o] for o in ran.rows[ORIGIN]] == expected
    assert 0 == ran.logic.held_rows
    assert sharded(spec, SCHEMA, fed(rows, disorder, cuts), 3).equals(ran.rows)


@settings(max_examples=40, deadline=None)
@given(ROWS, st.lists(st.integers(0, 50), max_size=30), CUTS, WITHIN)
def test_arrival_within_the_disorder_changes_nothing(
    rows: list[Row], order: list[int], cuts: list[int], within: int | None
) -> None:
    ran = run(Deduplicate(KEYS, within), SCHEMA, fed(arrived(rows, 20, order), 20, cuts))
    assert [] == ran.late
    assert [tuple(row) for row in firsts(canonical(rows), within)] == plain(ran.rows)


@settings(max_examples=40, deadline=None)
@given(ROWS, CUTS)
def test_without_event_time_the_first_to_come_passes(rows: list[Row], cuts: list[int]) -> None:
    out = deduplicate_schema(UNTIMED, KEYS)
    ran = run(Deduplicate(KEYS), out, fed(rows, 0, cuts, timed=False), timed=False)
    assert [tuple(row)[1:] for row in firsts(rows, None)] == plain(ran.rows)


def test_a_key_is_forgotten_once_its_next_row_passes_in_any_case() -> None:
    logic: Any = Deduplicate(KEYS, 5).build(place(SCHEMA))
    logic.receive(0, fed([Row(0, "a", 0, 1, None), Row(2, "b", 0, 1, None)], 0)[0])
    for watermark, live in [(3, 2), (5, 2), (6, 1), (7, 1), (8, 0)]:
        logic.receive(0, Batch(None, watermark))
        assert live == logic.live


def test_what_has_no_sense_does_not_load() -> None:
    with pytest.raises(SchemaError, match="leave `within` out"):
        deduplicate_schema(UNTIMED, KEYS, 5)
    with pytest.raises(SchemaError, match="must not be negative"):
        deduplicate_schema(SCHEMA, KEYS, -1)
    with pytest.raises(SchemaError, match="'nobody' is missing"):
        deduplicate_schema(SCHEMA, ("nobody",))
    nested = Schema((("k", pl.List(pl.Int64())),))
    with pytest.raises(SchemaError, match="a key is a plain value"):
        deduplicate_schema(nested, ("k",))
    with pytest.raises(SchemaError, match="given twice"):
        deduplicate_schema(SCHEMA, ("k", "k"))
