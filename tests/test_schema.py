"""Schemas: column types of fields, and how far two schemas agree."""

from __future__ import annotations

import enum
import re
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.flows.errors import SchemaError
from headwater.flows.event import Event, EventMeta, EventTime, Field, Site, Unit, Width, Zone
from headwater.flows.fieldtypes import field_types
from headwater.flows.schema import Schema, conform, differences, lossless, schema_of

UTC_STAMP = pl.Datetime("us", "UTC")


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Mixed(enum.Enum):
    A = "a"
    B = 2


class Powers(enum.Flag):
    READ = 1


class Part(Event):
    n: int
    at: datetime | None


class Reading(Event):
    at: EventTime
    store: Site
    celsius: float | None


class Tree(Event):
    children: list[Tree]


class Nothing(Event):
    pass


def type_of(annotation: Any, default: Any = None) -> pl.DataType:
    body = {"__annotations__": {"a": annotation}, "__module__": __name__}
    if default is not None:
        body["a"] = default
    cls: Any = EventMeta("Made", (Event,), body)
    return field_types(cls)["a"].polars


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (bool, pl.Boolean()),
        (int, pl.Int64()),
        (Annotated[int, Width(8)], pl.Int8()),
        (Annotated[int, Width(32)], pl.Int32()),
        (float, pl.Float64()),
        (str, pl.String()),
        (bytes, pl.Binary()),
        (datetime, UTC_STAMP),
        (EventTime, UTC_STAMP),
        (Annotated[EventTime, Unit("ms")], UTC_STAMP),
        (Annotated[datetime, Zone("Europe/Rome")], pl.Datetime("us", "Europe/Rome")),
        (date, pl.Date()),
        (time, pl.Time()),
        (timedelta, pl.Duration("us")),
        (Decimal, pl.Decimal(38, 9)),
        (Annotated[Decimal, Field(max_digits=10, decimal_places=2)], pl.Decimal(10, 2)),
        (Annotated[Decimal, Field(decimal_places=2)], pl.Decimal(38, 2)),
        (Colour, pl.String()),
        (Level, pl.Int64()),
        (Literal["a", "b"], pl.String()),
        (Literal[1, 2], pl.Int64()),
        (Literal[True], pl.Boolean()),
        (float | None, pl.Float64()),
        (list[int], pl.List(pl.Int64())),
        (list[list[Colour]], pl.List(pl.List(pl.String()))),
        (Part, pl.Struct({"n": pl.Int64(), "at": UTC_STAMP})),
    ],
)
def test_each_type_has_its_column(annotation: Any, expected: pl.DataType) -> None:
    assert expected == type_of(annotation)


def test_a_field_given_as_default_counts() -> None:
    assert pl.Decimal(9, 3) == type_of(Decimal, Field(max_digits=9, decimal_places=3))


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (dict[str, int], r"Made\.a: .*nested hw\.Event"),
        (dict, "keep the text as str"),
        (tuple[int, int], r"use list\[\.\.\.\]"),
        (set[int], "use list"),
        (list, "of what"),
        (int | str, "one type"),
        (Any, "use bool, int"),
        (object, "use bool, int"),
        (Mixed, "all str or all 64-bit int"),
        (Powers, "Flag"),
        (Literal["a", 1], "all str or all"),
        (Literal[Colour.RED], "the enum class"),
        (Annotated[Decimal, Field(max_digits=50, decimal_places=2)], "38 digits"),
        (Annotated[Decimal, Field(max_digits=5)], "give both"),
        (Annotated[str, Unit("ms")], "for datetime fields"),
        (Annotated[str, Width(8)], "for int fields"),
        (Annotated[EventTime, Zone("Europe/Rome")], "kept in UTC"),
        (Tree, "contains itself"),
        (Nothing, "no fields"),
    ],
)
def test_a_type_without_column_is_refused_with_advice(annotation: Any, message: str) -> None:
    cls: Any = EventMeta("Made", (Event,), {"__annotations__": {"a": annotation}})
    with pytest.raises(SchemaError, match=message):
        schema_of(cls)


@pytest.mark.parametrize("make", [lambda: Unit("m"), lambda: Zone("Rome/Europe"), lambda: Width(7)])
def test_a_mark_that_means_nothing_is_refused(make: Any) -> None:
    with pytest.raises(SchemaError, match=r"hw\."):
        make()


def test_the_schema_of_an_event() -> None:
    expected = Schema(
        columns=(("at", UTC_STAMP), ("store", pl.String()), ("celsius", pl.Float64())),
        event_time="at",
        site="store",
        nullable=frozenset({"celsius"}),
    )
    assert expected == schema_of(Reading)
    assert hash(expected) == hash(schema_of(Reading))
    assert (
        "Reading(at: datetime[us, UTC] event-time, store: str site, celsius: float64?)"
        " upsert(store)"
    ) == str(schema_of(Reading).with_key("store"))
    assert "Part(n: int64, at: datetime[us, UTC]?)" == str(schema_of(Part))


def test_an_empty_frame_has_the_schema() -> None:
    schema = schema_of(Reading)
    assert schema.polars() == schema.empty().schema
    wanted = [("at", pa.timestamp("us", "UTC")), ("store", pa.large_string())]
    assert pa.schema([*wanted, ("celsius", pa.float64())]) == schema.arrow()
    assert [kept.arrow for kept in field_types(Reading).values()] == schema.arrow().types


def test_select_keeps_roles_that_remain() -> None:
    schema = schema_of(Reading)
    assert ("celsius", "at") == schema.select(["celsius", "at"]).names
    assert ("at", None) == (
        schema.select(["celsius", "at"]).event_time,
        schema.select(["celsius", "at"]).site,
    )
    assert frozenset() == schema.select(["at"]).nullable
    with pytest.raises(SchemaError, match="'x' is missing; the stream has at, store, celsius"):
        schema.select(["x"])
    with pytest.raises(SchemaError, match="part of the key"):
        schema.with_key("store").select(["at"])
    assert None is schema.with_key("store").with_key().key


def test_a_schema_is_consistent() -> None:
    with pytest.raises(SchemaError, match="twice"):
        Schema((("a", pl.Int64()), ("a", pl.Int64())))
    with pytest.raises(SchemaError, match="'b' is missing"):
        Schema((("a", pl.Int64()),), key=("b",))


@pytest.mark.parametrize(
    ("found", "wanted", "message"),
    [
        (pl.String(), pl.Int64(), r"Count\.a wants Int64; cast it with pl.col\('a'\)\.cast"),
        (pl.Int64(), pl.Float64(), r"\.cast\(pl\.Float64\)"),
        (pl.Datetime("us"), UTC_STAMP, r"replace_time_zone\(\"UTC\"\)"),
        (pl.Datetime("ns", "UTC"), UTC_STAMP, "cast_time_unit"),
        (pl.String(), UTC_STAMP, "to_datetime"),
        (pl.Int64(), UTC_STAMP, "from_epoch"),
        (pl.List(pl.String()), pl.List(pl.Int64()), "alike"),
    ],
)
def test_a_mistyped_column_is_described(
    found: pl.DataType, wanted: pl.DataType, message: str
) -> None:
    (text,) = differences(Schema((("a", found),)), Schema((("a", wanted),), name="Count"))
    assert text.startswith(f"column 'a' is {found}, ")
    assert re.search(message, text)
    with pytest.raises(SchemaError, match="column 'a'"):
        conform(pl.DataFrame(schema={"a": found}), Schema((("a", wanted),)))


def test_missing_columns_are_described_and_others_ignored() -> None:
    found = Schema((("at", UTC_STAMP), ("store", pl.String()), ("x", pl.Int64())))
    assert ["column 'celsius' is missing; the stream has at, store, x"] == differences(
        found, schema_of(Reading)
    )
    assert [] == differences(schema_of(Reading), schema_of(Reading))


def test_conform_orders_drops_and_widens() -> None:
    frame = pl.DataFrame(
        {"x": [1], "celsius": [None], "store": ["a"], "at": [datetime(2024, 1, 1)]},
        schema={
            "x": pl.Int64,
            "celsius": pl.Null,
            "store": pl.Categorical,
            "at": pl.Datetime("ms", "Europe/Rome"),
        },
    )
    found = conform(frame, schema_of(Reading))
    assert schema_of(Reading).polars() == found.schema
    assert frame["at"].dt.epoch("us").to_list() == found["at"].dt.epoch("us").to_list()
    with pytest.raises(SchemaError, match="'celsius' is Null"):
        conform(frame, Schema((("celsius", pl.Float64()),)))


INTS = [pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64]


@given(
    st.sampled_from(INTS), st.sampled_from([*INTS, pl.Float64]), st.integers(-(2**63), 2**64 - 1)
)
def test_lossless_conversions_lose_nothing(found: Any, wanted: Any, value: int) -> None:
    series = pl.Series([value], dtype=pl.Int128).cast(found, strict=False).drop_nulls()
    if lossless(found(), wanted()):
        assert series.to_list() == [int(x) for x in series.cast(wanted).to_list()]
