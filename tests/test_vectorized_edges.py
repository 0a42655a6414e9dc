"""Row functions that columns once got wrong, each by a corner of Python: the two ways agree."""

from __future__ import annotations

import enum
import types
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

import polars as pl
import pytest

import headwater as hw
from headwater.flows.schema import schema_of
from headwater.flows.vectorized.nodes import Refused

from .rowgrammar import Colour, Row, Wide, function_of
from .test_vectorized import numbers
from .twoways import both_ways, equal_ways, frame_of, hidden, returning, spec_of


class Paint(enum.Enum):
    """Kept by the same values as `Colour`, and equal to none of its members."""

    RED = "red"
    BLUE = "blue"


class Larger(Wide):
    ratio: float = 0.0


class Everything(set[int]):
    def __contains__(self, value: object) -> bool:
        return True


class Shouted(str):
    def upper(self) -> str:
        return "SHOUTED"


class Word(enum.Enum):
    A = Shouted("a")


class Same(enum.Enum):
    ONE = 1
    TWO = 2

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same)

    __hash__ = enum.Enum.__hash__


class Pair(hw.Event):
    at: hw.EventTime
    one: Same
    two: Same
    word: Word
    s: str
    b: bool


def drawn(body: str, **names: Any) -> Callable[..., Any]:
    return function_of(f"def drawn(row):\n    {body}\n", **names)


def refused(function: Callable[..., Any], event: type[hw.Event] = Row) -> str:
    with pytest.raises(Refused) as why:
        spec_of(function, event, event)
    return str(why.value)


# --- None in every row: one Python value, not a column ---


@pytest.mark.parametrize("sign", ["==", "!="])
@pytest.mark.parametrize(
    ("value", "other"),
    [
        ("i", "row.i"), ("i", "row.oi"), ("i", "row.x"), ("i", "2.5"), ("i", "5"), ("x", "row.x"),
        ("x", "row.ox"), ("x", "row.i"), ("s", "row.s"), ("s", "row.os"), ("b", "row.b"),
        ("b", "row.ob"), ("at", "row.at"), ("at", "row.due"), ("c", "row.c"), ("c", "row.oc"),
    ],
)  # fmt: skip
def test_none_of_all_rows_is_compared(value: str, sign: str, other: str) -> None:
    for text in (f"v {sign} {other}", f"{other} {sign} v"):
        function = drawn(f"v = None if row.b else row.{value}\n    return row.replace(b={text})")
        rows = numbers(usual_only=True)
        equal_ways(function, rows)
        found = equal_ways(function, rows.filter("b"))
        assert found.by_columns or "None where" in found.why


# --- what is not kept may raise ---


def test_a_field_that_the_output_lacks_may_raise() -> None:
    body = "return Larger(at=row.at, tags=row.tags, ratio=1 / row.i)"
    function = drawn(body, Larger=Larger)
    assert equal_ways(function, frame_of(2, i=[1, 2]), Wide).by_columns
    found = equal_ways(function, frame_of(2, i=[1, 0]), Wide)
    assert "line 2: a division by zero" == found.why
    assert 1 == len(found.dead)


def test_a_global_that_is_gone_raises_though_nothing_uses_it() -> None:
    function = drawn("k = GONE\n    return row", GONE=1)
    spec = spec_of(function, Row, Row)
    del function.__globals__["GONE"]
    columns, loop = both_ways(spec, frame_of(3))
    assert loop.result == columns.result
    assert "GONE is not defined" == columns.why
    assert 3 == len(columns.dead)


# --- enums ---


def test_members_of_two_enums_are_not_taken_for_each_other() -> None:
    body = "red = row.c == Colour.RED\n    return row.replace(b=row.c == Paint.RED)"
    function = drawn(body, Colour=Colour, Paint=Paint)
    assert "line 3 compares Colour with Paint" == refused(function)


def pairs() -> pl.DataFrame:
    values = {"at": datetime(2026, 1, 1, tzinfo=UTC), "one": 1, "two": 2, "word": "a", "s": "x"}
    return hidden(pl.DataFrame([{**values, "b": False}], schema=schema_of(Pair).polars()))


def test_fields_of_an_enum_that_compares_in_its_own_way_stay_per_row() -> None:
    function = drawn("return row.replace(b=row.one == row.two)")
    assert "line 2 compares Same" == refused(function, Pair)


def test_values_of_an_enum_that_are_of_a_class_of_their_own_stay_per_row() -> None:
    function = drawn("return row.replace(s=row.word.value.upper())")
    assert "line 2 reads .value of Word" == refused(function, Pair)


def test_an_enum_that_is_passed_on_needs_no_more() -> None:
    function = drawn("return row.replace(two=row.one)")
    columns, loop = both_ways(spec_of(function, Pair, Pair), pairs())
    assert loop.result == columns.result
    assert columns.by_columns


# --- times ---


class Zoned(hw.Event):
    at: hw.EventTime
    rome: Annotated[datetime, hw.Zone("Europe/Rome")]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("return row if row.at == row.rome else None",
         "line 2 compares a datetime with a datetime in Europe/Rome"),
        ("return row.replace(rome=row.at)",
         "line 2 gives a datetime for the datetime rome, which is kept in another way"),
    ],
)  # fmt: skip
def test_times_in_two_zones_are_told_apart(body: str, why: str) -> None:
    assert why == refused(drawn(body), Zoned)


# --- names ---


def test_a_collection_that_looks_up_in_its_own_way_stays_per_row() -> None:
    function = returning("row.i in KNOWN", "b", KNOWN=Everything({1}))
    assert "line 2 uses KNOWN, which holds more than plain values" == refused(function)


def test_a_collection_may_not_become_one_of_its_own_kind() -> None:
    function = returning("row.i in KNOWN", "b", KNOWN={1})
    spec = spec_of(function, Row, Row)
    function.__globals__["KNOWN"] = Everything({1})
    columns, loop = both_ways(spec, frame_of(2))
    assert loop.result == columns.result
    assert "line 2: KNOWN holds other values now" == columns.why


def test_a_module_that_makes_its_names_up_is_asked_for_each_row() -> None:
    asked: list[str] = []

    def made_up(name: str) -> int:
        asked.append(name)
        return len(asked)

    module = types.ModuleType("counting")
    vars(module).update(__getattr__=made_up, LIMIT=3)
    text = "line 2 uses counting.tick is not defined"
    assert text == refused(returning("counting.tick", "i", counting=module))
    assert [] == asked
    function = returning("row.i + counting.LIMIT", "i", counting=module)
    assert equal_ways(function, frame_of(2)).by_columns


def test_a_name_that_a_class_changes_stays_per_row() -> None:
    text = (
        "class Holder:\n    @staticmethod\n    def drawn(row):\n"
        "        return row.replace(i=__limit)\ndrawn = Holder.drawn\n"
    )
    function = function_of(text, __limit=3, _Holder__limit=4)
    assert "line 3 uses __limit, which has another name in a class" == refused(function)


# --- what else a function may be, and how large ---


def test_a_generator_that_returns_first_stays_per_row() -> None:
    assert "it is a generator" == refused(drawn("return row\n    yield"))


def test_a_constant_may_be_larger_than_text_for_it() -> None:
    huge = "0x" + "f" * 5000
    assert not equal_ways(returning(f"row.i < {huge}", "b"), frame_of(2)).by_columns
    found = equal_ways(returning(f"str({huge})", "s"), frame_of(2))
    assert found.why.startswith("ValueError: Exceeds the limit")
    assert 2 == len(found.dead)


@pytest.mark.parametrize(
    ("expression", "field", "why"),
    [("row.x" + " + 1" * 400, "x", "RecursionError"), ("row.s.zfill(10**15)", "s", "MemoryError")],
)
def test_what_cannot_be_evaluated_goes_by_rows(expression: str, field: str, why: str) -> None:
    found = equal_ways(returning(expression, field), frame_of(2))
    assert found.why.startswith(why)


def test_no_rows_give_none() -> None:
    assert equal_ways(returning("row.i + 1", "i"), frame_of(2)[:0]).columns is None
