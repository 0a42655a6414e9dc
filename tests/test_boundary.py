"""The boundary, with pydantic's own adapter as the oracle for every row."""

from __future__ import annotations

import enum
import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

import polars as pl
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.flows.boundary import Checked, boundary_of
from headwater.flows.errors import SchemaError
from headwater.flows.event import Event, EventTime, Field, Site, Unit, Width, Zone, adapter_of
from headwater.flows.rows import events_of, frame_of

STAMP = "2024-07-01T12:00:00Z"
NOON = datetime(2024, 7, 1, 12, tzinfo=UTC)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1


class Reading(Event):
    at: EventTime
    store: Site
    celsius: float


class Part(Event):
    n: int


class Mixed(Event):
    at: Annotated[EventTime, Unit("ms")]
    local: Annotated[datetime, Zone("Europe/Rome")]
    nano: Annotated[datetime, Unit("ns")]
    flag: bool
    whole: int | None
    small: Annotated[int, Width(8)]
    real: float = Field(ge=-1, lt=100)
    text: str | None
    day: date
    clock: time
    amount: Decimal
    price: Annotated[Decimal, Field(max_digits=5, decimal_places=2)]
    colour: Colour | None
    level: Level
    word: Literal["a", "b"]


class Defaulted(Event):
    at: EventTime
    n: int = Field(default=3, gt=5)
    tags: list[str] = Field(default_factory=list)
    note: str | None = None


class Judged(Event):
    n: int

    @pydantic.field_validator("n")
    @classmethod
    def even(cls, n: int) -> int:
        if n == 13:
            raise KeyError("unlucky")
        if n % 2:
            raise ValueError("odd")
        return n * 10


class Listed(Event):
    numbers: list[int]
    maybe: list[str | None]
    part: Part


def by_pydantic(cls: type[Event], values: Sequence[Any]) -> dict[int, Event]:
    """The events that pydantic makes, one value at a time."""
    adapter, found = adapter_of(cls), {}
    for index, value in enumerate(values):
        try:
            found[index] = (
                adapter.validate_json(value)
                if isinstance(value, bytes)
                else adapter.validate_python(value)
            )
        except pydantic.ValidationError:
            continue
    return found


def assert_agrees(cls: type[Event], values: Sequence[Any], checked: Checked) -> None:
    expected = by_pydantic(cls, values)
    assert list(expected) == checked.index.to_list()
    assert frame_of(list(expected.values()), cls).equals(checked.rows)
    assert [i for i in range(len(values)) if i not in expected] == [b.index for b in checked.bad]


def lines_of(*values: object) -> list[bytes]:
    return [json.dumps(value).encode() for value in values]


GOOD = {"at": STAMP, "store": "rome-1", "celsius": -18.5}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "Invalid JSON: EOF"),
        (b"   ", "Invalid JSON: EOF"),
        (b'{"at": "2024', "Invalid JSON: EOF"),
        (b"[]", r"should be an object \[found \[\]\]"),
        (b"null", "should be an object"),
        (b"3", "should be an object"),
        (b"\xff\xfe", "Invalid JSON"),
        (b'{"store": "\xff"}', "Invalid JSON: invalid unicode"),
        (b'{"store": "\\ud800"}', "Invalid JSON"),
        (b"{}\x00", "Invalid JSON"),
        (b"\x00", "Invalid JSON"),
        (b"{}{}", "Invalid JSON"),
        (b"[" * 5000, "Invalid JSON"),
        (b"{}", "at: Field required; store: Field required; celsius: Field required"),
        (lines_of({**GOOD, "celsius": "abc"})[0], r"celsius: .*number.* \[found 'abc'\]$"),
        (lines_of({**GOOD, "celsius": None})[0], r"celsius: .*number.* \[found null\]"),
        (lines_of({**GOOD, "at": 17})[0], r"at: .*hw\.Unit\(\"ms\"\).*found 17\]"),
        (lines_of({**GOOD, "at": "2024-07-01T12:00:00"})[0], "end it with Z or an offset"),
    ],
)
def test_a_bad_line_is_kept_with_its_reason(line: bytes, reason: str) -> None:
    checked = boundary_of(Reading).json_lines([*lines_of(GOOD), line, *lines_of(GOOD)])
    assert [0, 2] == checked.index.to_list()
    assert 2 == checked.rows.height
    (bad,) = checked.bad
    assert (1, line) == (bad.index, bad.raw)
    with pytest.raises(SchemaError, match=reason):
        raise SchemaError(bad.reason)


def test_a_line_truncated_anywhere_is_bad() -> None:
    (line,) = lines_of(GOOD)
    checked = boundary_of(Reading).json_lines([line[:end] for end in range(len(line))])
    assert 0 == checked.rows.height
    assert list(range(len(line))) == [bad.index for bad in checked.bad]


def test_positions_stand_in_for_places() -> None:
    lines = [*lines_of(GOOD), b"x", *lines_of(GOOD)]
    checked = boundary_of(Reading).json_lines(lines, [10, 20, 40])
    assert [10, 40] == checked.index.to_list()
    assert [(20, b"x")] == [(bad.index, bad.raw) for bad in checked.bad]


def test_nothing_is_checked_as_nothing() -> None:
    boundary = boundary_of(Reading)
    for checked in (boundary.json_lines([]), boundary.columns(boundary.schema.empty())):
        assert boundary.schema.polars() == checked.rows.schema
        assert [0, 0, 0] == [checked.rows.height, len(checked.index), len(checked.bad)]
        assert pl.Int64() == checked.index.dtype


json_values = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3),
    st.sampled_from(["1", "true", STAMP, "2024-07-01", "1e3", "red"]),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(GOOD, json_values)), max_size=4))
def test_json_lines_agree_with_pydantic(changes: list[dict[str, Any]]) -> None:
    lines = lines_of(*({**GOOD, **change} for change in changes))
    assert_agrees(Reading, lines, boundary_of(Reading).json_lines(lines))


TEXTS: dict[str, list[str]] = {
    "at": [STAMP, "2024-07-01 12:00:00.123456+05:30", "1719835200000", "-5", "2024-07-01T12:00:00",
           "2024-02-30T00:00:00Z", "1.5", "99999999999999999", "2024-07-01T12:00:60Z"],
    "local": [STAMP, "2024-07-01t12:00z", "17", "2024-07-01T24:00:00Z", "1999-12-31T23:59:59-13:59",
              "2024-07-01T12:00:00.1234567Z", "0001-01-01T00:00:00+10:00", "٢٠٢٤-07-01T12:00:00Z"],
    "nano": ["1719835200000000001", "-1", "-1001", "0", STAMP, "999999999999999999", "1e3"],
    "flag": ["true", "FALSE", "0", "1", "yes", "T", "off", "2", " true", "\u017fes"],
    "whole": ["1", "-0", "+1", "007", " 7 ", "1.0", "1.5", "1_000", "9223372036854775807",
              "9223372036854775808", "-9223372036854775808", "", "x", "٣", "1\n"],
    "small": ["127", "128", "-128", "-129", "0"],
    "real": ["1", "-1", "100", "99.99", "1e1", "1e-99", ".5", "1.", "nan", "inf", "-0.0", "0.1",
             "12345678901234567e-17", " 1", "1e400", "0x1", "1,5"],
    "text": ["", "a", " b ", "é"],
    "day": ["2024-07-01", "2024-02-30", "2024-07-01T00:00:00", "17", "20240701", "0001-01-01"],
    "clock": ["23:59:59", "23:59", "24:00:00", "12:00:00.1234567", "12:00:00Z", "12:00:61", "17"],
    "amount": ["1.5", "-0", "1e3", "1.1234567890", "12345678901234567890123456789.123456789",
               "123456789012345678901234567890", "nan", "01"],
    "price": ["1.25", "999.99", "1000", "1.250", "1.255", "-999.9", "1."],
    "colour": ["red", "blue", "RED", "", "green"],
    "level": ["1", "2", "LOW"],
    "word": ["a", "b", "c", ""],
}  # fmt: skip
FINE = {name: values[0] for name, values in TEXTS.items()}


def as_pydantic_sees(row: dict[str, Any]) -> dict[str, Any]:
    """An empty text is null where a field is nullable and no str."""
    return {k: None if k in ("whole", "colour") and v == "" else v for k, v in row.items()}


@pytest.mark.parametrize("name", TEXTS)
def test_each_text_is_taken_as_pydantic_takes_it(name: str) -> None:
    rows = [{**FINE, name: text} for text in [*TEXTS[name], None]]
    frame = pl.DataFrame(rows, schema=dict.fromkeys(TEXTS, pl.String))
    assert_agrees(Mixed, [as_pydantic_sees(row) for row in rows], boundary_of(Mixed).columns(frame))


def mutated(text: str) -> st.SearchStrategy[str]:
    """The text with one character changed, put in or left out."""
    place = st.integers(0, max(0, len(text) - 1))
    piece = st.sampled_from(["", *"0159+-.:TZe _x"])
    return st.builds(lambda i, p, n: text[:i] + p + text[i + n :], place, piece, st.integers(0, 1))


texts = st.fixed_dictionaries(
    {}, optional={n: st.sampled_from(v).flatmap(mutated) for n, v in TEXTS.items()}
)


@settings(max_examples=200, deadline=None)
@given(st.lists(texts, max_size=4))
def test_columns_of_text_agree_with_pydantic(changes: list[dict[str, str]]) -> None:
    rows = [{**FINE, **change} for change in changes]
    frame = pl.DataFrame(rows, schema=dict.fromkeys(TEXTS, pl.String))
    assert_agrees(Mixed, [as_pydantic_sees(row) for row in rows], boundary_of(Mixed).columns(frame))


TYPED: list[tuple[str, pl.Series]] = [
    ("at", pl.Series([0, -5, None, 2**62, 253_402_300_800_000])),
    ("at", pl.Series([0, -5]).cast(pl.UInt64, strict=False)),
    ("at", pl.Series([1.5, 2.0, float("nan")])),
    ("nano", pl.Series([0, -1, -1001, 1_719_835_200_000_000_001])),
    ("at", pl.Series([0, -5, None]).cast(pl.Datetime("us", "UTC"))),
    ("at", pl.Series([0, 1]).cast(pl.Datetime("us"))),
    ("local", pl.Series([0, 1, None]).cast(pl.Datetime("ms", "America/Lima"))),
    ("local", pl.Series([0, 1500, 2000]).cast(pl.Datetime("ns", "UTC"))),
    ("local", pl.Series([0, 1])),
    ("flag", pl.Series([True, None, False])),
    ("flag", pl.Series([0, 1, 2])),
    ("whole", pl.Series([1, None, -1], dtype=pl.Int16)),
    ("whole", pl.Series([1, 2**63], dtype=pl.UInt64)),
    ("whole", pl.Series([1.0, 1.5, float("inf")])),
    ("whole", pl.Series([True, False])),
    ("small", pl.Series([127, 128, -128, -129])),
    ("real", pl.Series([-1.0, -1.5, 99.5, 100.0, float("nan"), None])),
    ("real", pl.Series([1.5, 0.1], dtype=pl.Float32)),
    ("real", pl.Series([1, 2, 100])),
    ("text", pl.Series([1, 2])),
    ("text", pl.Series(["a", None], dtype=pl.Categorical)),
    ("day", pl.Series([date(2024, 7, 1), None])),
    ("day", pl.Series([datetime(2024, 7, 1), datetime(2024, 7, 1, 5)])),
    ("clock", pl.Series([time(1, 2, 3, 4), None])),
    ("amount", pl.Series([Decimal("1.5"), None], dtype=pl.Decimal(38, 9))),
    ("price", pl.Series([Decimal("1.55"), Decimal("1.555")], dtype=pl.Decimal(10, 3))),
    ("colour", pl.Series(["red", "green", None], dtype=pl.Enum(["red", "green"]))),
    ("level", pl.Series([1, 2])),
    ("word", pl.Series([None, None])),
    ("text", pl.Series([None, None])),
]


@pytest.mark.parametrize(("name", "column"), TYPED)
def test_typed_columns_agree_with_pydantic(name: str, column: pl.Series) -> None:
    rows = [{**FINE, name: value} for value in column.to_list()]
    frame = pl.DataFrame([FINE] * len(rows)).with_columns(column.alias(name))
    assert_agrees(Mixed, rows, boundary_of(Mixed).columns(frame))


@settings(deadline=None)
@given(
    st.lists(st.lists(st.none() | st.integers(0, 9), max_size=3) | st.none(), min_size=1),
    st.lists(st.none() | st.text(max_size=2), max_size=3),
)
def test_lists_and_structs_agree_with_pydantic(numbers: list[Any], maybe: list[Any]) -> None:
    rows = [{"numbers": n, "maybe": maybe, "part": {"n": 1}} for n in numbers]
    rows.append({"numbers": [], "maybe": [], "part": {"n": None}})
    schema = {
        "numbers": pl.List(pl.Int64),
        "maybe": pl.List(pl.String),
        "part": pl.Struct({"n": pl.Int64}),
    }
    frame = pl.DataFrame(rows, schema=schema)
    assert_agrees(Listed, rows, boundary_of(Listed).columns(frame))


def test_a_bad_row_of_columns_has_its_bytes_and_all_its_reasons() -> None:
    frame = pl.DataFrame({**{k: [v, v] for k, v in GOOD.items()}, "celsius": ["1", "abc"]})
    frame = frame.with_columns(store=pl.Series(["a", None]), extra=1)
    (bad,) = boundary_of(Reading).columns(frame, [b"0", b"1"].__getitem__).bad
    assert (1, b"1") == (bad.index, bad.raw)
    assert (
        "store: Input should be a valid string [found null]; celsius: Input should be a valid "
        "number, unable to parse string as a number [found 'abc']"
    ) == bad.reason
    (bad,) = boundary_of(Reading).columns(frame).bad
    assert {**GOOD, "store": None, "celsius": "abc", "extra": 1} == json.loads(bad.raw)


def test_a_missing_column_is_not_this_schema() -> None:
    message = "column 'celsius' is missing for Reading; the input has at, store, extra"
    with pytest.raises(SchemaError, match=message):
        boundary_of(Reading).columns(pl.DataFrame(schema=["at", "store", "extra"]))


def test_a_missing_column_with_a_default_takes_it() -> None:
    checked = boundary_of(Defaulted).columns(pl.DataFrame({"at": [STAMP, "x"]}))
    assert [Defaulted(at=NOON)] == events_of(checked.rows, Defaulted)
    assert [1] == [bad.index for bad in checked.bad]
    assert [Defaulted(at=NOON)] == events_of(
        boundary_of(Defaulted).json_lines(lines_of({"at": STAMP})).rows, Defaulted
    )


def test_an_alias_names_the_column() -> None:
    class Aliased(Event):
        celsius: float = Field(alias="temp")
        store: Annotated[str, Field(validation_alias=pydantic.AliasChoices("shop", "store"))]

    frame = pl.DataFrame({"temp": ["1", "x"], "shop": ["a", "b"]})
    checked = boundary_of(Aliased).columns(frame)
    assert [Aliased(temp=1.0, store="a")] == events_of(checked.rows, Aliased)
    assert [True] == [bad.reason.startswith("temp: ") for bad in checked.bad]


def test_validators_judge_every_row() -> None:
    rows = [{"n": n} for n in (2, 3, 13, 2**62)]
    for checked in (
        boundary_of(Judged).columns(pl.DataFrame(rows)),
        boundary_of(Judged).json_lines(lines_of(*rows)),
    ):
        assert [20] == checked.rows["n"].to_list()
        assert [1, 2, 3] == [bad.index for bad in checked.bad]
        assert "KeyError: 'unlucky'" == checked.bad[1].reason
        assert "an int of 64 bits" in checked.bad[2].reason


def test_a_time_outside_python_s_years_is_bad() -> None:
    at = pl.Series([0, 2**62, 0, -(2**62)]).cast(pl.Datetime("us", "UTC"))
    checked = boundary_of(Reading).columns(
        pl.DataFrame({"at": at, "store": ["a", "b", None, "d"], "celsius": [1.0] * 4})
    )
    assert [0] == checked.index.to_list()
    assert [1, 2, 3] == [bad.index for bad in checked.bad]
    assert "years 1 to 9999" in checked.bad[0].reason
    assert checked.bad[1].reason.startswith("store")


def test_the_boundary_of_a_class_is_made_once() -> None:
    assert boundary_of(Reading) is boundary_of(Reading)
    assert timedelta(0) == NOON.utcoffset()
