"""Columns that calls hand on as they are: both kernels, against records written one by one."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.ext import records
from headwater.ext.recordvalues import Kept, NoMember

from . import components
from .test_ext_records import FIELDS, KEPT, ROME, Colour, Slotted, Wide, strange, wides

NAMES = [kept.name for kept in KEPT]
COLOUR = Kept("colour", "member", True, Colour, (Kept("", "text"),))


@pytest.fixture(scope="module", params=["python", "compiled"])
def kernel(request: pytest.FixtureRequest) -> ModuleType:
    return components.kernel("records", request.param)


def frame_of(cls: type, kept: tuple[Kept, ...], made: list[Any]) -> pl.DataFrame:
    writer = records.RecordWriter(records.RecordPlan(cls, kept))
    writer.extend(made)
    return pl.DataFrame(writer.finish().rows)


def whole(found: Any, frame: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    """The rows with the columns that were passed on."""
    places = range(found.height) if found.places is None else found.places.to_pylist()
    rows = pl.DataFrame(found.rows)
    passed = frame[list(places)]
    return pl.DataFrame([(passed if n in found.passed else rows).get_column(n) for n in names])


def unused(number: int, found: object) -> None:
    raise AssertionError(f"row {number}: {found}")


def call_all(kernel: ModuleType, call: Any, frame: Any, writer: Any, cls: type, kept: Any) -> None:
    reader = kernel.RecordReader(kernel.RecordPlan(cls, kept), frame)
    kernel.call_each(call, reader, writer, True, unused, lambda number, error: None)


actions = st.lists(
    st.sampled_from(["same", "same", "new", "new", "nothing", "raise"])
    | st.sampled_from(FIELDS).flatmap(lambda one: st.tuples(st.just(one[0].name), one[1]))
    | st.tuples(st.sampled_from(NAMES), strange),
    min_size=1,
    max_size=6,
)


@pytest.mark.parametrize("passing", [True, False])
@settings(max_examples=60)
@given(
    made=st.lists(wides, min_size=4, max_size=4),
    rows=st.integers(0, 80),
    quiet=st.integers(0, 70),
    doing=actions,
)
def test_what_is_passed_on_is_what_would_be_written(
    kernel: ModuleType, passing: bool, made: list[Any], rows: int, quiet: int, doing: list[Any]
) -> None:
    frame = frame_of(Wide, KEPT, [made[i % 4] for i in range(rows)])
    expected = records.RecordWriter(records.RecordPlan(Wide, KEPT))
    number = -1

    def call(row: Any) -> Any:
        nonlocal number
        number += 1
        what = "new" if number < quiet else doing[number % len(doing)]
        if what == "raise":
            raise ValueError
        if what == "nothing":
            return None
        result = Wide(*row.parts())
        if isinstance(what, tuple):
            name, value = what
            setattr(result, name, value)
        expected.add(number, Wide(*result.parts()))
        return row if what == "same" else result

    writer = kernel.RecordWriter(kernel.RecordPlan(Wide, KEPT), rows)
    call_all(kernel, call, frame, writer, Wide, KEPT)
    found, wanted = writer.finish(passing), expected.finish()
    assert passing or not found.passed
    assert wanted.height == found.height
    assert wanted.places == found.places
    assert [one[:2] for one in wanted.rest] == [one[:2] for one in found.rest]
    pl_rows = pl.DataFrame(wanted.rows)
    got = whole(found, frame, NAMES)
    assert pl_rows.schema == got.schema
    assert pl_rows.equals(got)


class Pair(Slotted):
    __slots__ = ("n", "name")


PAIR = (Kept("n", "int64", True), Kept("name", "text"))
SURE = (Kept("n", "int64"), Kept("name", "text"))


def pairs(rows: int, size: int = 3) -> pl.DataFrame:
    return frame_of(Pair, PAIR, [Pair(i, f"{i % 5}" * size) for i in range(rows)])


@pytest.mark.needs("kernels")
@pytest.mark.parametrize("size", [1, 30, 5000])
def test_what_every_call_hands_on_is_not_copied(size: int) -> None:
    kernel = import_module("headwater.ext._records")
    frame = pairs(200, size)
    writer = kernel.RecordWriter(kernel.RecordPlan(Pair, PAIR))
    call_all(kernel, lambda row: Pair(row.n * 1000, row.name), frame, writer, Pair, PAIR)
    found = writer.finish(True)
    assert ["name"] == list(found.passed)
    assert [1000 * n for n in range(200)] == found.rows["n"].to_pylist()


def test_a_record_changed_in_place_is_not_passed_on(kernel: ModuleType) -> None:
    def call(row: Any) -> Any:
        # The second new value may lie where the one that was read lay.
        row.n = row.n * 1000
        row.n = row.n + 1
        return row

    frame = pairs(100)
    writer = kernel.RecordWriter(kernel.RecordPlan(Pair, PAIR))
    call_all(kernel, call, frame, writer, Pair, PAIR)
    found = whole(writer.finish(True), frame, ["n", "name"])
    assert [1000 * n + 1 for n in range(100)] == found["n"].to_list()
    assert frame["name"].to_list() == found["name"].to_list()


def test_a_null_is_not_passed_on_to_a_field_that_has_none(kernel: ModuleType) -> None:
    frame = frame_of(Pair, PAIR, [Pair(None if i % 3 == 1 else i, "a") for i in range(90)])
    writer = kernel.RecordWriter(kernel.RecordPlan(Pair, SURE))
    call_all(kernel, lambda row: Pair(row.n, row.name), frame, writer, Pair, PAIR)
    found = writer.finish(True)
    assert [i for i in range(90) if i % 3 != 1] == found.places.to_pylist()
    assert [i for i in range(90) if i % 3 == 1] == [place for _, place, _ in found.rest]
    assert found.places.to_pylist() == whole(found, frame, ["n", "name"])["n"].to_list()


def test_a_zone_or_an_enum_of_another_field_is_minded(kernel: ModuleType) -> None:
    local = (Kept("n", "instant", True, ROME), COLOUR)
    utc = (Kept("n", "instant", True), Kept("colour", "text", True))

    class Local(Slotted):
        __slots__ = ("n", "colour")

    frame = pl.DataFrame(
        {"n": pl.Series([0, 1], dtype=pl.Datetime("us", "Europe/Rome")), "colour": ["red", None]}
    )
    writer = kernel.RecordWriter(kernel.RecordPlan(Local, utc))
    call_all(kernel, lambda row: row, frame, writer, Local, local)
    found = writer.finish(True)
    assert [0] == [place for _, place, _ in found.rest]
    assert {"n", "colour"}.isdisjoint(found.passed)


def add_one(kernel: ModuleType, writer: Any) -> None:
    writer.add(7, Pair(-1, "added"))


def call_again(kernel: ModuleType, writer: Any) -> None:
    call_all(kernel, lambda row: row, pairs(3, 1), writer, Pair, PAIR)


@pytest.mark.parametrize("more", [add_one, call_again])
def test_what_comes_after_the_calls_stands_behind_them(
    kernel: ModuleType, more: Callable[[ModuleType, Any], None]
) -> None:
    frame = pairs(50)
    writer = kernel.RecordWriter(kernel.RecordPlan(Pair, PAIR))
    call_all(kernel, lambda row: row if row.n % 2 else None, frame, writer, Pair, PAIR)
    more(kernel, writer)
    found = writer.finish(True)
    after = [(-1, "added")] if more is add_one else pairs(3, 1).rows()
    assert [*frame.rows()[1::2], *after] == pl.DataFrame(found.rows).rows()
    assert not found.passed
    assert 0 == writer.finish(True).height


@pytest.mark.needs("kernels")  # the twin reads whole columns
@pytest.mark.parametrize("row", [0, 1, 31, 32, 40, 63, 64, 99])
def test_rows_before_one_that_cannot_be_read_are_called(row: int) -> None:
    class Painted(Slotted):
        __slots__ = ("n", "colour")

    frame = pl.DataFrame({"n": range(100), "colour": ["red"] * row + ["no colour"] * (100 - row)})
    kept = (Kept("n", "int64"), COLOUR)
    seen: list[int] = []
    kernel = import_module("headwater.ext._records")
    writer = kernel.RecordWriter(kernel.RecordPlan(Painted, kept))
    with pytest.raises(NoMember, match="no colour"):
        call_all(kernel, lambda one: seen.append(one.n), frame, writer, Painted, kept)
    assert list(range(row)) == seen
