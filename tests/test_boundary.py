"""The boundary, with pydantic's own adapter as the oracle for every row."""

from __future__ import annotations

import enum
import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Annotated, Any, Literal

import polars as pl
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.connectors.formats import JsonLines, Origin
from headwater.flows.boundary import Bad, Checked, boundary_of
from headwater.flows.connector import Chunk
from headwater.flows.errors import SchemaError
from headwater.flows.event import Event, EventTime, Field, Site, Unit, Width, Zone, adapter_of
from headwater.flows.jsondecoder import decoder_of
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


class Usual(Event):
    at: Annotated[EventTime, Unit("ms")]
    store: Site
    seen: datetime | None = None
    local: Annotated[datetime, Zone("Europe/Rome"), Unit("s")] | None = None
    nano: Annotated[datetime, Unit("ns")] | None = None
    flag: bool = True
    whole: int | None
    small: Annotated[int, Width(8)] = Field(default=99, le=10)
    real: float = Field(gt=-1, lt=100)
    text: str | None = "as long as a text that has no room in its view"
    raw: bytes = b"\xff"
    day: date = date(2024, 1, 1)
    clock: time | None = time(1, 2, 3, 4)
    colour: Colour | None = None
    level: Level = Level.LOW
    word: Literal["a", "b"] = "b"
    sure: Literal[True] | None = None
    tags: list[Annotated[int, Field(ge=0)] | None] | None = None
    part: Part | None = None
    parts: list[Part] | None = None


USUAL: dict[str, Any] = {
    "at": 1_704_067_200_000, "store": "rome-1", "seen": "2024-07-01T12:00:00.5+02:00",
    "local": 1_704_067_200.25, "nano": 1_704_067_200_000_000_999, "flag": False, "whole": -7,
    "small": 10, "real": 25.37, "text": 'é "quoted" \n 😀', "raw": "a", "day": "2024-02-29",
    "clock": "23:59:59.9", "colour": "red", "level": 1, "word": "a", "sure": True,
    "tags": [1, None, 2], "part": {"n": 1}, "parts": [{"n": 1, "more": []}, {"n": 2}],
}  # fmt: skip
NEAR: dict[str, list[Any]] = {
    "at": [
        0,
        -1,
        1.5,
        "2024-07-01T12:00:00Z",
        "1704067200000",
        253_402_300_799_999,
        10**15,
        True,
        253_402_300_800_000,
        -62_135_596_800_000,
        -62_135_596_800_001,
        2**63,
        1e300,
        -0.0005,
    ],
    "store": ["", "é", None, 1, "x" * 200, "\x00", "\ud83d\ude00", "tab\t"],
    "seen": [
        None,
        17,
        "2024-07-01t12:00:00z",
        "2024-07-01 12:00:00-00:00",
        "2024-07-01T12:00Z",
        "2024-07-01T12:00:00+14:00",
        "0001-01-01T00:00:00Z",
        "2024-07-01T12:00:00",
    ],
    "local": [253_402_300_799, -62_135_596_800, -62_135_596_800.5, 0.0000005, 1e-7, "x", 1.7e9],
    "nano": [-1, 1001, 1.5, 2**63 - 1, -(2**63), "2024-07-01T12:00:00Z"],
    "flag": [True, 0, 1, "true", None],
    "whole": [0, 2**63 - 1, -(2**63), 2**63, 1.0, 1e3, "7", True, None],
    "small": [-128, 11, -129, 2**40],
    "real": [-1, 0, 99, 100, 99.99999999999999, -0.9999999999999999, 1e-400, "1", None, 10**17],
    "text": ["short", None, 5],
    "raw": ["é", "\x00", None, 3],
    "day": ["2023-02-29", "2024-07-01T00:00:00", 19000, None, "0999-01-01"],
    "clock": ["24:00:00", "12:00", "12:00:00Z", 5, None, "12:00:00.1234567"],
    "colour": ["RED", "blue", None, 1],
    "level": [2, 1.0, True, "1"],
    "word": ["c", "", None],
    "sure": [False, 1, None, "true"],
    "tags": [[], None, [-1], ["1"], [[1]], {}, [2**63]],
    "part": [None, {}, {"n": "1"}, {"n": 1.5}, [], {"n": None}],
    "parts": [None, [], [None], [{"n": 2**63}], {"n": 1}],
}


def assert_same(expected: Checked, actual: Checked) -> None:
    """Rows to the last bit, places, bytes and reasons."""
    assert expected.rows.schema == actual.rows.schema
    assert expected.rows.equals(actual.rows)
    reals = [name for name, kind in expected.rows.schema.items() if kind == pl.Float64]
    for name in reals:
        assert expected.rows[name].to_arrow().equals(actual.rows[name].to_arrow())
    assert expected.index.to_list() == actual.index.to_list()
    bad = [(one.index, one.raw, one.reason) for one in expected.bad]
    assert bad == [(one.index, one.raw, one.reason) for one in actual.bad]


def assert_lines_agree(cls: type[Event], lines: list[bytes]) -> None:
    boundary = boundary_of(cls)
    assert_same(boundary.each_line(lines, range(len(lines))), boundary.json_lines(lines))


@pytest.mark.needs("kernels")
def test_usual_lines_need_no_pydantic() -> None:
    required = {name: USUAL[name] for name in ("at", "store", "whole", "real")}
    nulls = USUAL | {name: None for name, values in NEAR.items() if None in values[1:4]}
    lines = lines_of(USUAL, required, dict(reversed(USUAL.items())), {"x": [{}], **USUAL})
    decoder = decoder_of(Usual)
    assert decoder is not None
    assert [] == decoder.decode_all(lines).doubts
    assert_lines_agree(Usual, [*lines, *lines_of(nulls)])


@pytest.mark.parametrize("name", NEAR)
def test_each_json_value_is_taken_as_pydantic_takes_it(name: str) -> None:
    assert set(USUAL) == set(NEAR)
    near = lines_of(*({**USUAL, name: value} for value in NEAR[name]))
    absent = lines_of({key: value for key, value in USUAL.items() if key != name})
    assert_lines_agree(Usual, [*near, *absent])
    assert_lines_agree(Usual, [line for line in [*near, *absent] for _ in range(2)])


NUMBERS = ["NaN", "-Infinity", "1e999", "1E+2", "1.", ".5", "01", "-", "+1", "0.1e-0", "1" * 30,
           "25.370000000000000000001", "-0", "1e-999", "-0.0", "0.5e1"]  # fmt: skip


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("name", ["real", "whole", "at", "local", "store", "unknown"])
def test_each_number_is_taken_as_pydantic_takes_it(name: str, number: str) -> None:
    (line,) = lines_of({**USUAL, name: "the number"})
    assert_lines_agree(Usual, [line.replace(b'"the number"', number.encode())])


@st.composite
def usual_lines(draw: st.DrawFn) -> bytes:
    """A line of a usual event with some values, keys and bytes other than usual."""
    near = draw(st.lists(st.sampled_from(list(NEAR)), max_size=2))
    changes = {name: draw(st.sampled_from(NEAR[name])) for name in near}
    other = draw(st.dictionaries(st.sampled_from([*USUAL, "y"]), json_values, max_size=1))
    pairs = draw(st.permutations(list(({**USUAL, **changes, **other}).items())))
    kept = dict(pairs[draw(st.integers(0, 2)) :])
    line = json.dumps(kept, ensure_ascii=draw(st.booleans())).encode("utf-8", "replace")
    if draw(st.booleans()):
        place, gone = draw(st.integers(0, len(line))), draw(st.integers(0, 2))
        piece = draw(
            st.sampled_from([b"", *b'"\\,:{}[]-0.e \n\x00\xff', b"null", b'"x":1,', b"\\u0041"])
        )
        line = (
            line[:place]
            + (bytes([piece]) if isinstance(piece, int) else piece)
            + line[place + gone :]
        )
    return line


@settings(max_examples=250)
@given(st.lists(usual_lines(), max_size=5))
def test_decoded_lines_agree_with_pydantic(lines: list[bytes]) -> None:
    assert_lines_agree(Usual, lines)


def test_a_usual_line_truncated_anywhere_is_bad() -> None:
    line = json.dumps(USUAL, ensure_ascii=False).encode()
    assert_lines_agree(Usual, [line[:end] for end in range(len(line) + 1)])


def test_events_that_only_pydantic_can_judge_have_no_decoder() -> None:
    class Aliases(Event):
        n: Annotated[int, Field(validation_alias=pydantic.AliasChoices("a", "b"))]

    class Money(Event):
        amount: Decimal

    class Short(Event):
        name: str = Field(max_length=3)

    class Around(Event):
        inner: Judged

    class Far(Event):
        at: datetime = Field(gt=NOON)

    for cls, row in (
        (Aliases, {"b": 1}),
        (Money, {"amount": "1.5"}),
        (Short, {"name": "abcd"}),
        (Around, {"inner": {"n": 2}}),
        (Far, {"at": STAMP}),
        (Judged, {"n": 3}),
    ):
        assert decoder_of(cls) is None
        assert_lines_agree(cls, lines_of(row, {}))


def test_defaults_are_what_pydantic_makes_of_them() -> None:
    class Made(Event):
        n: int = Field(default=3, gt=5)
        checked: int = Field(default=3, gt=5, validate_default=True)
        tags: list[str] = Field(default_factory=list)
        part: Part = Part(n=1)
        named: float = Field(default=2, alias="real")

    rows = [{}, {"n": 7}, {"checked": 7}, {"checked": 7, "tags": []}, {"part": {"n": 2}}]
    full = {"n": 7, "checked": 7, "tags": ["x"], "part": {"n": 3}}
    assert_lines_agree(Made, lines_of(*rows, full, {**full, "real": 1.5}, {**full, "named": 1.5}))
    decoder = decoder_of(Made)
    assert decoder is None or not decoder.decode_all(lines_of(full)).doubts


# --- blocks of lines, as sources hand them over ---


def rows_of_stream(
    text: bytes, cuts: Sequence[int], max_line: int, fields: tuple[tuple[str, str], ...] = ()
) -> list[Chunk]:
    """What a parser gives for a text that comes in pieces."""
    origin = Origin("x", Usual, boundary_of(Usual), fields)
    parser = JsonLines(max_line).start(origin)
    places = [0, *sorted(cuts), len(text)]
    chunks = [parser.feed(text[start:end]) for start, end in pairwise(places)]
    return [*chunks, parser.finish()]


def with_fields(line: bytes, fields: tuple[tuple[str, str], ...]) -> bytes:
    """The line, if it looks like an object, with these keys at its end."""
    body = line.strip()
    if not fields or not (body.startswith(b"{") and body.endswith(b"}")):
        return line
    more = json.dumps(dict(fields)).encode().strip(b"{}")
    return body[:-1] + (b", " if body[1:-1].strip() else b"") + more + b"}"


def lines_one_by_one(
    text: bytes, max_line: int, fields: tuple[tuple[str, str], ...]
) -> tuple[Checked, list[int]]:
    """What pydantic says to each line of a text, and which lines are too long."""
    lines, long = [], []
    for number, line in enumerate(text.split(b"\n"), 1):
        line = line.removesuffix(b"\r")
        if len(line) > max_line:
            long.append(number)
        elif line.strip():
            lines.append((number, line))
    filled = [with_fields(line, fields) for _, line in lines]
    checked = boundary_of(Usual).each_line(filled, [number for number, _ in lines])
    raw = dict(lines)
    bad = [Bad(one.index, raw[one.index], one.reason) for one in checked.bad]
    return Checked(checked.rows, checked.index, bad), long


@settings(max_examples=150)
@given(
    st.lists(usual_lines() | st.sampled_from([b"", b" \t\x0b\x0c", b"\r", b"{}"]), max_size=5),
    st.lists(st.integers(0, 3000), max_size=4),
    st.sampled_from([2**20, 480]),
    st.sampled_from([(), (("store", "rome"), ("day", "2024-05-06"), ("area", "7"))]),
    st.sampled_from([b"\n", b"\r\n"]),
)
def test_blocks_agree_with_lines(
    lines: list[bytes],
    cuts: list[int],
    max_line: int,
    fields: tuple[tuple[str, str], ...],
    end: bytes,
) -> None:
    text = end.join(lines)
    chunks = rows_of_stream(text, [cut % (len(text) + 1) for cut in cuts], max_line, fields)
    expected, long = lines_one_by_one(text, max_line, fields)
    rows = pl.concat(chunk.rows for chunk in chunks)
    offsets = pl.concat(chunk.offsets for chunk in chunks)
    dead = [one for chunk in chunks for one in chunk.dead]
    reasons = [Bad(one.offset, one.raw, one.reason) for one in dead if "max_line" not in one.reason]
    assert_same(expected, Checked(rows, offsets, reasons))
    assert long == [one.offset for one in dead if "max_line" in one.reason]
    assert [one.offset for one in dead] == sorted(one.offset for one in dead)


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
