"""Python values in the columns of a snapshot: each comes back as it was, and nothing else does."""

from __future__ import annotations

import enum
import math
import struct
import sys
import uuid
from array import array
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from fractions import Fraction
from typing import Any, Generic, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

import polars as pl
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import headwater as hw
from headwater.flows.errors import HeadwaterError
from headwater.flows.sketches import DistinctSketch, QuantileSketch
from headwater.flows.values import Encoding, StateError

from .restarting import through_bytes

T = TypeVar("T")


class Colour(enum.Enum):
    RED = 1
    CRIMSON = 1
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Rights(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()


class Point(NamedTuple):
    x: float
    y: Any = None


@dataclass
class Window:
    first: Any
    last: Any = None
    seen: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.made = "by its constructor"


@dataclass(frozen=True, slots=True)
class Span:
    begin: Any
    end: Any = 0


class Reading(hw.Event):
    at: hw.EventTime
    celsius: float
    note: str | None = None


class Model(pydantic.BaseModel):
    count: int
    names: dict[str, int] = {}
    _private: float = 0.0


class Holder:
    @dataclass
    class Inner(Generic[T]):
        value: T


class Plain:
    """None of the kinds of classes that are kept."""


class Counted(list[int]):
    """A list that is not just a list."""


ENCODING = Encoding("operator 'watch', state 'seen'")


def bits(value: float) -> bytes:
    return struct.pack(">d", value)


def attributes(value: Any) -> dict[str, Any]:
    slots = (name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ()))
    found = {name: getattr(value, name) for name in slots if hasattr(value, name)}
    return {**getattr(value, "__dict__", {}), **found}


def shown(value: Any) -> Any:
    """Everything about a value that could differ, in plain lists and text."""
    kind = type(value)
    what: Any = repr(value)
    if kind is float:
        what = bits(value)
    elif kind in (list, tuple, deque, Point):
        what = [getattr(value, "maxlen", None), *map(shown, value)]
    elif kind in (set, frozenset):
        what = sorted(repr(shown(one)) for one in value)
    elif isinstance(value, dict):
        factory = getattr(value, "default_factory", None)
        what = [factory, *([shown(k), shown(v)] for k, v in value.items())]
    elif isinstance(value, datetime | time):
        zone = value.tzinfo
        what = [value.replace(tzinfo=None).isoformat(), type(zone), repr(zone), value.fold]
    elif kind is Fraction:
        what = [value.numerator, value.denominator]
    elif isinstance(value, QuantileSketch | DistinctSketch):
        what = value.to_bytes()
    elif isinstance(value, Window | Span | Reading | Model | Holder.Inner):
        what = sorted((name, shown(one)) for name, one in attributes(value).items())
    return [kind, what]


FLOATS = st.one_of(
    st.floats(), st.binary(min_size=8, max_size=8).map(lambda b: float(struct.unpack(">d", b)[0]))
)
ZONES = st.one_of(
    st.none(),
    st.just(UTC),
    st.sampled_from(["Europe/Rome", "America/New_York", "UTC"]).map(ZoneInfo),
    st.integers(-(10**6), 10**6).map(lambda n: timezone(timedelta(microseconds=n))),
    st.just(timezone(timedelta(hours=1), "winter")),
    st.integers(-50_000, 50_000).map(pydantic.TypeAdapter(datetime).validate_python).map(
        lambda at: at.tzinfo
    ),
    st.just(
        pydantic.TypeAdapter(datetime).validate_json('"2026-01-01T00:00:00+05:30"').tzinfo
    ),
)  # fmt: skip


def zoned(value: datetime | time, zone: tzinfo | None, fold: int) -> datetime | time:
    return value.replace(tzinfo=zone, fold=fold)


TEXT = st.one_of(
    st.text(max_size=5), st.text(st.characters(categories=["Cs"]), max_size=2), st.just("$dict")
)
ATOMS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**1100), 2**1100),
    FLOATS,
    TEXT,
    st.binary(max_size=9),
    st.dates(),
    st.builds(zoned, st.datetimes(), ZONES, st.integers(0, 1)),
    st.builds(zoned, st.times(), ZONES.filter(lambda z: not isinstance(z, ZoneInfo)), st.just(0)),
    st.timedeltas(),
    st.decimals(),
    st.sampled_from([Decimal("1E+999"), Decimal("-0.000"), Decimal("sNaN12")]),
    st.sampled_from([*Colour, *Level, *Rights, Rights.READ | Rights.WRITE, Rights(0)]),
    st.fractions(),
    st.uuids(),
)
KEYS = st.one_of(ATOMS.filter(lambda v: not (type(v) is Decimal and v.is_snan())))


def within(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    some = st.lists(values, max_size=4)
    dicts = st.one_of(
        st.dictionaries(KEYS, values, max_size=3), st.dictionaries(TEXT, values, max_size=3)
    )
    return st.one_of(
        some,
        some.map(tuple),
        st.frozensets(KEYS, max_size=4),
        st.sets(KEYS, max_size=4),
        dicts,
        st.builds(deque, some, st.one_of(st.none(), st.integers(0, 5))),
        dicts.map(OrderedDict),
        st.builds(defaultdict, st.sampled_from([None, int, list]), dicts),
        st.builds(Point, FLOATS, values),
        st.builds(Window, values, values),
        st.builds(Span, values),
        st.builds(Holder.Inner, values),
        st.builds(Reading, at=st.datetimes(timezones=st.just(UTC)), celsius=FLOATS, note=TEXT),
    )


VALUES = st.recursive(ATOMS, within, max_leaves=8)


@settings(max_examples=300, deadline=None)
@given(VALUES)
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    data = ENCODING.encode(value)
    assert shown(value) == shown(ENCODING.decode(data))
    assert data == ENCODING.encode(value)


COLUMNS = st.one_of(
    *(
        st.lists(st.one_of(st.none(), values), max_size=5)
        for values in (
            st.booleans(),
            st.integers(-(2**63), 2**63 - 1),
            st.integers(-(2**65), 2**65),
            FLOATS,
            TEXT,
            VALUES,
        )
    )
)


@settings(max_examples=150, deadline=None)
@given(COLUMNS)
def test_a_column_comes_back_as_it_was(values: list[Any]) -> None:
    table = pl.DataFrame(ENCODING.column("state", values))
    assert ["state"] == table.columns
    read = through_bytes({"states": table})["states"]
    assert shown(values) == shown(ENCODING.values(read["state"]))


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1, None, 2**63 - 1], pl.Int64),
        ([1, 2**63], pl.Binary),
        ([1.5, math.nan], pl.Float64),
        (["a", None], pl.String),
        (["\ud800"], pl.Binary),
        ([True, False], pl.Boolean),
        ([True, 1], pl.Binary),
        ([1, 1.0], pl.Binary),
        ([Level.LOW], pl.Binary),
        ([None], pl.Binary),
        ([], pl.Binary),
    ],
)
def test_values_of_one_plain_type_stand_in_a_column_of_it(values: list[Any], dtype: Any) -> None:
    assert dtype == ENCODING.column("state", values).dtype


@pytest.mark.parametrize(
    "value",
    [
        uuid.UUID(int=7),
        bytearray(b"\xff\x00"),
        array("d", [1.5, -0.0]),
        array("q", []),
        Counter({"b": 2, "a": -1}),
        OrderedDict(b=1, a=2),
        defaultdict(Counter, {(1, "x"): Counter("ab")}),
        deque([1, 2, 3], 2),
        deque(maxlen=0),
        {1: {True: {None: {1.5: {(): {}}}}}},
        {"$tuple": [1], "$of": None},
        {"a": 1, "$b": 2},
        {"\ud800": 1},
        "\ud83d\ude00",
        datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Rome")),
        datetime(1, 1, 1),
        time(23, 59, 59, 999_999, fold=1),
        timedelta.max,
        timedelta.min,
        Window((1, 2), [Span(None, Reading(at=datetime(2026, 1, 1, tzinfo=UTC), celsius=1.0))]),
        Holder.Inner(Holder.Inner(3)),
        Point(-0.0, Point(1.0)),
        Rights.READ | Rights.WRITE,
        [Colour.CRIMSON, Level.HIGH],
    ],
    ids=repr,
)
def test_types_that_hold_others(value: Any) -> None:
    assert shown(value) == shown(ENCODING.decode(ENCODING.encode(value)))


def test_sketches() -> None:
    distinct, quantiles = DistinctSketch(), QuantileSketch()
    for number in range(2000):
        distinct.add(number)
        quantiles.add(number / 7)
    for sketch in (DistinctSketch(), QuantileSketch(), distinct, quantiles):
        assert shown(sketch) == shown(ENCODING.decode(ENCODING.encode(sketch)))


def test_a_value_is_filled_in_without_its_constructor() -> None:
    window = Window(1)
    window.made = "later"
    found = ENCODING.decode(ENCODING.encode(window))
    assert "later" == found.made
    model = Model(count=1, names={"a": 2})
    model._private = 2.5
    copied = ENCODING.decode(ENCODING.encode(model))
    assert (model, 2.5, model.model_fields_set) == (
        copied,
        copied._private,
        copied.model_fields_set,
    )


def test_what_is_plain_json_can_be_read_by_people() -> None:
    assert b'{"low":-1.5,"names":["a",null,true]}' == ENCODING.encode(
        {"low": -1.5, "names": ["a", None, True]}
    )
    assert b'[{"$tuple":[1,2]},{"$decimal":"1.20"}]' == ENCODING.encode([(1, 2), Decimal("1.20")])


def test_classes_of_the_declared_type_may_be_anywhere() -> None:
    @dataclass
    class Local:
        value: Any

    class Pair(NamedTuple):
        one: int

    encoding = Encoding("operator 'x'", dict[str, list[Local | None]] | Pair)
    for value in ({"a": [Local(1.5), None]}, Pair(3)):
        assert value == encoding.decode(encoding.encode(value))
    with pytest.raises(StateError, match="not at the top of the module"):
        ENCODING.encode(Local(1))


def test_classes_of_its_own_module_are_written_without_it() -> None:
    there = Encoding("operator 'x'", home=__name__)
    data = there.encode(Span(1, Point(2.0)))
    assert b'{"$of":":Span","is":{"begin":1,"end":{"$of":":Point","is":{"x":2.0,"y":null}}}}' == (
        data
    )
    assert Span(1, Point(2.0)) == there.decode(data)
    with pytest.raises(StateError, match="no class :Point"):
        ENCODING.decode(data)


def test_a_class_may_have_got_fields_with_defaults_but_lost_none() -> None:
    def versions(**fields: Any) -> Encoding:
        @dataclass(slots=True)
        class Local:
            __annotations__ = dict.fromkeys(fields, Any)
            locals().update({k: v for k, v in fields.items() if v is not None})

        kinds.append(Local)
        return Encoding("operator 'x'", Local)

    kinds: list[Any] = []
    old, more, less, other = (
        versions(a=None),
        versions(a=None, b=field(default_factory=list), c=7),
        versions(d=1),
        versions(a=None, b=None),
    )
    data = old.encode(kinds[0](1.5))
    found = more.decode(data)
    assert (1.5, [], 7) == (found.a, found.b, found.c)
    with pytest.raises(StateError, match="has no field a any more"):
        less.decode(data)
    with pytest.raises(StateError, match="a new field b; give it a default"):
        other.decode(data)


def _nested(depth: int) -> Any:
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


def _unset() -> Span:
    return Span.__new__(Span)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (Plain(), "test_values.Plain in its state cannot be kept"),
        ([{"a": Counted([1])}], "Counted"),
        (len, "builtin"),
        (Plain, "type"),
        (range(3), "range"),
        (1j, "complex"),
        (defaultdict(lambda: 0), "use a dict and its setdefault"),
        (datetime(2026, 1, 1, tzinfo=type("Mine", (tzinfo,), {})()), "use a ZoneInfo"),
        (_nested(5000), "contains itself"),
        (_nested(400), "contains itself"),
        (_unset(), "field begin is not set"),
    ],
)
def test_what_has_no_form_is_refused_with_its_owner_and_type(value: Any, says: str) -> None:
    with pytest.raises(HeadwaterError, match="operator 'watch', state 'seen': ") as caught:
        ENCODING.column("state", [1, value])
    assert says in str(caught.value)


def test_a_value_that_contains_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(StateError, match="contains itself"):
        ENCODING.encode(value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[",
        b"\xff",
        b"NaN",
        b"-Infinity",
        b"[" * 100_000,
        b"1" * 5000,
        b'{"$none":1}',
        b'{"$tuple":[1],"more":2}',
        b'{"$tuple":7}',
        b'{"$set":[[1]]}',
        b'{"$dict":[[1]]}',
        b'{"$float":"7ff0"}',
        b'{"$int":1}',
        b'{"$bytes":"?"}',
        b'{"$decimal":"x"}',
        b'{"$datetime":["2026-01-01T00:00:00","../../etc/passwd",0]}',
        b'{"$datetime":["2026-01-01T00:00:00","Europe/Atlantis",0]}',
        b'{"$datetime":["2026-01-01T00:00:00",999999999999,0]}',
        b'{"$datetime":["2026-01-01T00:00:00",null,7]}',
        b'{"$defaults":["eval",[]]}',
        b'{"$array":["q",8,"AA=="]}',
        b'{"$array":["d",4,""]}',
        b'{"$distinct":""}',
        b'{"$fraction":[1,0]}',
        b'{"$of":"os:system","is":{}}',
        b'{"$of":"builtins:eval","is":{}}',
        b'{"$of":"subprocess:Popen","is":{"args":"true"}}',
        b'{"$of":"this:","is":{}}',
        b'{"$of":7,"is":{}}',
        b'{"$of":"builtins:ValueError","is":{}}',
        b'{"$of":"headwater.tests.test_values:Span","is":[]}',
    ],
)
def test_bytes_that_are_no_value_are_refused(data: bytes) -> None:
    with pytest.raises(StateError, match="operator 'watch', state 'seen': "):
        ENCODING.decode(data)


def test_reading_imports_no_module() -> None:
    assert "this" not in sys.modules
    for name in (b"this:s", b"antigravity:fly", b"this"):
        with pytest.raises(StateError, match="no class"):
            ENCODING.decode(b'{"$of":"%s","is":{}}' % name)
    assert "this" not in sys.modules


@settings(max_examples=100, deadline=None)
@given(VALUES, st.data())
def test_damaged_bytes_give_a_value_or_an_error_that_says_so(value: Any, data: Any) -> None:
    written = bytearray(ENCODING.encode(value))
    for _ in range(10):
        place = data.draw(st.integers(0, len(written) - 1))
        damaged = written.copy()
        damaged[place] = data.draw(st.integers(0, 255))
        for found in (bytes(damaged), bytes(written[:place])):
            try:
                ENCODING.decode(found)
            except StateError:
                continue


def test_columns_of_another_type_hold_no_state() -> None:
    with pytest.raises(StateError, match="holds no state"):
        ENCODING.values(pl.Series([[1]]))
    with pytest.raises(StateError, match="is no state"):
        ENCODING.values(pl.Series([None], dtype=pl.Binary))
