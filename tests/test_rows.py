"""Events to frames and back, over all field types."""

from __future__ import annotations

import enum
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Context, Decimal
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.flows.errors import SchemaError
from headwater.flows.event import Event, EventTime, Field, Site, Width, Zone
from headwater.flows.rows import checked_frame, events_of, frame_of
from headwater.flows.schema import schema_of
from headwater.flows.validation import LONGEST

NOON = datetime(2024, 7, 1, 12, tzinfo=UTC)
FIRST, LAST = datetime(1, 1, 3), datetime(9999, 12, 29)
WIDE = Context(prec=60)
ROME = ZoneInfo("Europe/Rome")


class Colour(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


class Level(enum.Enum):
    LOW = 1
    HIGH = 2


class Inner(Event):
    at: datetime
    colour: Colour | None


class Wide(Event):
    flag: bool
    whole: int
    small: Annotated[int, Width(8)]
    real: float
    text: str
    blob: bytes
    at: EventTime
    local: Annotated[datetime, Zone("Europe/Rome")] | None
    day: date
    clock: time
    span: timedelta
    amount: Decimal
    price: Annotated[Decimal, Field(max_digits=5, decimal_places=2)] | None
    colour: Colour
    level: Level | None
    word: Literal["a", "b"]
    numbers: list[int | None]
    times: list[datetime] | None
    inner: Inner | None
    inners: list[Inner]
    nested: list[list[Colour]]


class Reading(Event):
    at: EventTime
    store: Site
    celsius: float | None


zones = st.sampled_from([UTC, ROME, timezone(timedelta(hours=-7, minutes=30))])
instants = st.builds(
    lambda naive, zone: naive.replace(tzinfo=UTC).astimezone(zone),
    st.datetimes(FIRST, LAST),
    zones,
)
int64 = st.integers(-(2**63), 2**63 - 1)
colours = st.sampled_from(Colour)
inners = st.builds(Inner, at=instants, colour=st.none() | colours)
wides = st.builds(
    Wide,
    flag=st.booleans(),
    whole=int64,
    small=st.integers(-128, 127),
    real=st.floats(allow_nan=False),
    text=st.text(),
    blob=st.binary(),
    at=instants,
    local=st.none() | instants,
    day=st.dates(),
    clock=st.times(),
    span=st.timedeltas(-LONGEST, LONGEST),
    amount=st.integers(-(10**38) + 1, 10**38 - 1).map(lambda n: Decimal(n).scaleb(-9, WIDE)),
    price=st.none() | st.decimals(-999, 999, places=2),
    colour=colours,
    level=st.none() | st.sampled_from(Level),
    word=st.sampled_from(["a", "b"]),
    numbers=st.lists(st.none() | int64, max_size=3),
    times=st.none() | st.lists(instants, max_size=3),
    inner=st.none() | inners,
    inners=st.lists(inners, max_size=2),
    nested=st.lists(st.lists(colours, max_size=2), max_size=2),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(wides, max_size=4))
def test_events_come_back_as_they_were(events: list[Wide]) -> None:
    frame = frame_of(events, Wide)
    assert schema_of(Wide).polars() == frame.schema
    assert events == events_of(frame, Wide)


@settings(max_examples=20, deadline=None)
@given(st.lists(wides, min_size=1, max_size=3))
def test_a_frame_made_value_by_value_is_the_same(events: list[Wide]) -> None:
    spoiled = [*events, events[0].replace(**dict.fromkeys(Wide.__event_names__))]
    frame, bad = checked_frame(spoiled, Wide)
    assert frame_of(events, Wide).equals(frame)
    assert [len(events)] == [index for index, _ in bad]


@settings(deadline=None)
@given(st.lists(instants, min_size=1))
def test_times_in_utc_carry_the_standard_zone(times: list[datetime]) -> None:
    frame = frame_of([Reading(at=at, store="a", celsius=None) for at in times], Reading)
    found = events_of(frame, Reading)
    assert times == [event.at for event in found]
    assert all(event.at.tzinfo is UTC for event in found)


BAD: list[tuple[str, Any, str]] = [
    ("flag", 1, "should be a bool"),
    ("flag", None, "should not be None"),
    ("whole", True, "should be an int"),
    ("whole", 1.0, "should be an int"),
    ("whole", 2**63, "an int of 64 bits"),
    ("small", 128, "an int of 8 bits"),
    ("real", "1", "should be a float"),
    ("real", True, "should be a float"),
    ("real", 10**400, "too large"),
    ("text", b"a", "should be a str"),
    ("text", "\ud800", "UTF-8"),
    ("blob", "a", "should be bytes"),
    ("at", datetime(2024, 7, 1), "time zone"),
    ("at", 1_719_835_200, "should be a datetime"),
    ("at", datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))), "years 1 to|between the years"),
    ("local", datetime(2024, 7, 1), "time zone"),
    ("day", NOON, "should be a date"),
    ("clock", time(1, tzinfo=UTC), "without a zone"),
    ("span", LONGEST + timedelta(microseconds=1), "292 000 years"),
    ("amount", 1, "should be a Decimal"),
    ("amount", Decimal("NaN"), "finite"),
    ("amount", Decimal("1E-10"), "9 decimal places"),
    ("price", Decimal("1000"), "3 digits before"),
    ("colour", "red", "should be Colour"),
    ("level", 1, "should be Level"),
    ("word", "c", "'a' or 'b'"),
    ("numbers", (1,), "should be a list"),
    ("numbers", [1, "2"], r"numbers\.1: Value should be an int"),
    ("times", [datetime(2024, 7, 1)], r"times\.0: .*time zone"),
    ("inner", 3, "should be Inner"),
    ("inners", [Inner(at=3, colour=None)], r"inners\.0\.at: Value should be a datetime"),  # type: ignore[arg-type]
    ("nested", [[None]], r"nested\.0\.0: Value should not be None"),
]
GOOD = Wide(
    flag=True,
    whole=1,
    small=2,
    real=3.5,
    text="é",
    blob=b"\xff",
    at=NOON,
    local=None,
    day=date(2024, 7, 1),
    clock=time(23, 59),
    span=timedelta(seconds=-1),
    amount=Decimal("1.5"),
    price=None,
    colour=Colour.RED,
    level=None,
    word="a",
    numbers=[1, None],
    times=None,
    inner=None,
    inners=[],
    nested=[[]],
)


@pytest.mark.parametrize(("name", "value", "reason"), BAD)
def test_a_value_that_does_not_fit_is_left_out_with_a_reason(
    name: str, value: object, reason: str
) -> None:
    spoiled = GOOD.replace(**{name: value})
    frame, bad = checked_frame([GOOD, spoiled, GOOD], Wide)
    assert [GOOD, GOOD] == events_of(frame, Wide)
    ((index, found),) = bad
    assert 1 == index
    assert found.startswith(name)
    with pytest.raises(SchemaError, match=f"event 0 of 1 does not fit Wide: .*({reason})"):
        frame_of([spoiled], Wide)


def test_all_reasons_of_a_row_are_given() -> None:
    events: list[Any] = [3, Reading(at=None, store=2, celsius="x")]  # type: ignore[arg-type]
    frame, bad = checked_frame(events, Reading)
    assert 0 == frame.height
    assert [
        (0, "Value should be Reading [found 3]"),
        (
            1,
            "at: Value should not be None [found null]; store: Value should be a str [found 2]; "
            "celsius: Value should be a float [found 'x']",
        ),
    ] == bad


strange = st.sampled_from(
    [None, 3, 1.5, "\ud800", "a", datetime(2024, 7, 1), NOON, Colour.RED, [3]]
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.builds(
            Reading,
            at=instants | strange,
            store=st.text(max_size=14) | strange,
            celsius=st.none() | st.floats(allow_nan=False) | strange,
        ),
        max_size=12,
    )
)
def test_what_fits_keeps_its_order_among_what_does_not(events: list[Reading]) -> None:
    def fits(event: Reading) -> bool:
        try:
            frame_of([event], Reading)
        except SchemaError:
            return False
        return True

    frame, bad = checked_frame(events, Reading)
    assert [event for event in events if fits(event)] == events_of(frame, Reading)
    assert [n for n, event in enumerate(events) if not fits(event)] == [n for n, _ in bad]


def test_an_event_whose_field_is_gone_has_no_such_attribute() -> None:
    event = Reading(at=NOON, store="a", celsius=None)
    object.__delattr__(event, "store")
    with pytest.raises(AttributeError, match="store"):
        checked_frame([event], Reading)


def test_an_event_that_was_changed_by_force_is_checked_as_it_is() -> None:
    event = Reading(at=NOON, store="a", celsius=None)
    object.__setattr__(event, "celsius", "warm")
    assert [(0, "celsius: Value should be a float [found 'warm']")] == checked_frame(
        [event], Reading
    )[1]
    object.__setattr__(event, "celsius", 7)
    assert [7.0] == frame_of([event], Reading)["celsius"].to_list()


def test_a_field_may_be_a_property_below() -> None:
    class Fixed(Reading):
        @property  # type: ignore[misc]
        def celsius(self) -> float:
            return 4.0

    event = Reading(at=NOON, store="a", celsius=1.0)
    made = object.__new__(Fixed)
    for name in ("at", "store"):
        object.__setattr__(made, name, getattr(event, name))
    assert [1.0, 4.0] == frame_of([event, made], Reading)["celsius"].to_list()


def test_subclasses_of_the_declared_types_fit() -> None:
    class Warm(Reading):
        pass

    class Name(str):
        pass

    events = [Warm(at=NOON, store=Name("a"), celsius=3)]
    assert [Reading(at=NOON, store="a", celsius=3.0)] == events_of(
        frame_of(events, Reading), Reading
    )


def test_a_frame_is_made_to_fit_the_class() -> None:
    frame = pl.DataFrame({"n": [1], "store": ["a"], "at": [NOON], "celsius": [None]})
    assert [Reading(at=NOON, store="a", celsius=None)] == events_of(frame, Reading)
    with pytest.raises(SchemaError, match="'celsius' is missing"):
        events_of(frame.drop("celsius"), Reading)


def test_a_value_that_is_no_member_is_named() -> None:
    frame = frame_of([GOOD], Wide).with_columns(colour=pl.lit("green"))
    with pytest.raises(SchemaError, match="'green' is no Colour"):
        events_of(frame, Wide)
