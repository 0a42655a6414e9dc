"""Events: construction, values, annotations, and what pydantic makes of them."""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import pickle
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Annotated, Any, ClassVar, TypeAlias

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.flows.errors import SchemaError
from headwater.flows.event import Event, EventMeta, EventTime, Field, Site, Unit, adapter_of

NOON = datetime(2024, 7, 1, 12, tzinfo=UTC)


class Reading(Event):
    at: EventTime
    store: Site
    celsius: float = Field(ge=-90)


class Fuller(Reading):
    celsius: int = 4
    tags: list[str] = Field(default_factory=list)
    kind: ClassVar[str] = "fuller"


class Aliased(Event):
    celsius: float = Field(alias="temp", description="in degrees")


class Judged(Event):
    low: int
    high: int

    @pydantic.field_validator("low")
    @classmethod
    def even(cls, low: int) -> int:
        if low % 2:
            raise ValueError("odd")
        return low

    @pydantic.model_validator(mode="after")
    def ordered(self) -> Judged:
        if self.low > self.high:
            raise ValueError("upside down")
        return self


def reading(**changes: Any) -> Reading:
    return Reading(at=NOON, store="rome-1", celsius=-18.5).replace(**changes)


def made(**annotations: Any) -> EventMeta:
    return EventMeta("Made", (Event,), {"__annotations__": annotations, "__module__": __name__})


def errors_of(cls: type[Event], value: object) -> list[tuple[str, str]]:
    with pytest.raises(pydantic.ValidationError) as caught:
        adapter_of(cls).validate_python(value)
    return [(".".join(map(str, e["loc"])), e["type"]) for e in caught.value.errors()]


def test_construction_keeps_values_as_they_are() -> None:
    event = Reading(at="no time", store=3, celsius=None)  # type: ignore[arg-type]
    expected: list[object] = ["no time", 3, None]
    assert expected == [event.at, event.store, event.celsius]


def test_an_event_is_slotted() -> None:
    assert not hasattr(reading(), "__dict__")
    assert not hasattr(Fuller(at=NOON, store="a"), "__dict__")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Reading(at=NOON), "missing 2 required .*'store' and 'celsius'"),  # type: ignore[call-arg]
        (lambda: Reading(at=NOON, store="a", celsius=1, x=2), "unexpected keyword argument 'x'"),  # type: ignore[call-arg]
        (lambda: Reading(NOON, "a", 1.0), "positional"),  # type: ignore[call-arg]
        (lambda: reading(x=1), "unexpected field 'x'"),
    ],
)
def test_construction_names_missing_and_unknown_fields(
    build: Callable[[], Reading], message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        build()


def test_defaults_and_inherited_fields() -> None:
    first, second = Fuller(at=NOON, store="a"), Fuller(at=NOON, store="a")
    assert 4 == first.celsius
    assert [] == first.tags
    assert first.tags is not second.tags
    assert "fuller" == Fuller.kind
    assert ["at", "store", "celsius", "tags"] == [f.name for f in dataclasses.fields(Fuller)]


def test_fields_may_be_given_in_any_order_and_by_any_string() -> None:
    values = {"tags": ["x"], "celsius": 1, "store": "a", "at": NOON}
    expected = Fuller(at=NOON, store="a", celsius=1, tags=["x"])
    assert expected == Fuller(**values)  # type: ignore[arg-type]
    assert expected == Fuller(**{"".join(list(name)): value for name, value in values.items()})  # type: ignore[arg-type]
    assert expected == Fuller(tags=["x"], at=NOON, celsius=1, store="a")


def test_a_class_may_be_called_by_anything_that_calls() -> None:
    make = functools.partial(Fuller, at=NOON)
    assert [Fuller(at=NOON, store=store) for store in "ab"] == [make(store=store) for store in "ab"]
    assert Event() == Event()
    with pytest.raises(TypeError, match="positional"):
        next(map(Fuller, "a"))  # type: ignore[arg-type]


def test_a_factory_that_raises_makes_no_event() -> None:
    def fail() -> int:
        raise LookupError("none left")

    class Numbered(Event):
        name: str
        number: int = Field(default_factory=fail)

    assert 3 == Numbered(name="a", number=3).number
    with pytest.raises(LookupError, match="none left"):
        Numbered(name="a")


def test_an_init_that_is_replaced_runs() -> None:
    class Counted(Event):
        n: int

    generated = Counted.__init__

    def doubled(self: Counted, *, n: int) -> None:
        generated(self, n=2 * n)

    Counted.__init__ = doubled  # type: ignore[method-assign]
    assert 6 == Counted(n=3).n
    assert 8 == Counted(n=3).replace(n=4).n
    Counted.__init__ = generated  # type: ignore[method-assign]
    assert 3 == Counted(n=3).n


def test_replace_takes_what_is_there() -> None:
    class Named(Reading):
        self_: int = Field(default=1, alias="own")

    event = Named(at=NOON, store="a", celsius=1.0)
    assert event == event.replace()
    assert event is not event.replace()
    changed = event.replace(self_=2, celsius=None)
    assert Named(at=NOON, store="a", celsius=None, own=2) == changed  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="unexpected field 'own'"):
        event.replace(own=2)
    with pytest.raises(TypeError, match="positional"):
        event.replace(3)  # type: ignore[call-arg]
    object.__delattr__(event, "store")
    with pytest.raises(AttributeError, match="store"):
        event.replace(celsius=2.0)
    assert "changes" in str(inspect.signature(event.replace))
    assert "TypeError" in (Event.replace.__doc__ or "")


def test_events_are_values() -> None:
    event = reading()
    assert reading() == event
    assert hash(reading()) == hash(event)
    assert reading(celsius=2.0) != event
    assert Fuller(at=NOON, store="rome-1") != event
    with pytest.raises(AttributeError, match=r"\.replace\(celsius="):
        event.celsius = 3.0  # type: ignore[misc]
    with pytest.raises(AttributeError, match="no field 'kelvin'"):
        event.kelvin = 3.0
    with pytest.raises(AttributeError, match="deleted"):
        del event.celsius


def test_copies_are_equal() -> None:
    event = reading()
    assert event == pickle.loads(pickle.dumps(event))
    assert event == copy.deepcopy(event)
    assert dataclasses.asdict(event) == {"at": NOON, "store": "rome-1", "celsius": -18.5}


def test_repr_shows_the_fields() -> None:
    assert "Judged(low=1, high=2)" == repr(Judged(low=1, high=2))


def test_an_alias_is_the_name_outside() -> None:
    event = Aliased(temp=1.5)
    assert "Aliased(celsius=1.5)" == repr(event)
    assert Aliased(temp=2.5) == event.replace(celsius=2.5)
    assert event == pickle.loads(pickle.dumps(event))
    assert event == adapter_of(Aliased).validate_json('{"temp": 1.5}')
    assert [("temp", "missing")] == errors_of(Aliased, {"celsius": 2})


def test_annotations_of_local_classes_resolve() -> None:
    Celsius: TypeAlias = float

    class Inner(Event):
        celsius: Celsius
        later: list[Later]

    class Later(Event):
        n: int

    value = {"celsius": "1.5", "later": [{"n": 2}]}
    expected = Inner(celsius=1.5, later=[Later(n=2)])
    assert expected == adapter_of(Inner).validate_python(value)


def test_a_class_body_around_the_class_is_searched() -> None:
    class Outer:
        Number = int

        class Inner(Event):
            n: Number  # type: ignore[name-defined]  # noqa: F821

    assert Outer.Inner(n=3) == adapter_of(Outer.Inner).validate_python({"n": "3"})


def test_a_later_name_resolves_after_its_function_has_returned() -> None:
    def build() -> type[Event]:
        class First(Event):
            second: Second

        class Second(Event):
            n: int

        return First

    assert {"n": int} == build().__event_fields__["second"].__event_fields__


def test_an_unresolved_name_is_named_with_advice() -> None:
    cls = made(a="Nowhere")
    with pytest.raises(SchemaError, match=r"Made\.a: the name 'Nowhere' .*TYPE_CHECKING"):
        _ = cls.__event_fields__
    with pytest.raises(SchemaError, match="Nowhere"):
        cls.json_schema()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("annotations", "message"),
    [
        ({"a": EventTime, "b": EventTime}, "2 fields of type EventTime: a and b"),
        ({"a": Site, "b": "Site"}, "2 fields of type Site: a and b"),
        ({"a": EventTime | None}, "EventTime cannot be optional"),
        ({"a": Annotated[str | None, *Site.__metadata__]}, "Site cannot be optional"),  # type: ignore[attr-defined]
        ({"replace": int}, "rename it"),
        ({"_a": int}, "rename it"),
        ({"a b": int}, "rename it"),
        ({"class": int}, "rename it"),
        ({"a": Annotated[int, Field(default=1)]}, "by assignment"),
        ({"a": "1 +"}, "not a usable annotation"),
    ],
)
def test_a_body_that_is_no_event_is_refused(annotations: dict[str, Any], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        made(**annotations)


@pytest.mark.parametrize(
    ("default", "message"),
    [
        ([], "default_factory"),
        (Field(default={}), "default_factory"),
        (dataclasses.field(default=3), r"hw\.Field"),
        (Field(default_factory=lambda before: before), "takes no argument"),
        (Field(alias="temp-c"), "use validation_alias="),
    ],
)
def test_a_default_that_cannot_be_one_is_refused(default: object, message: str) -> None:
    body = {"__annotations__": {"a": int}, "a": default, "__module__": __name__}
    with pytest.raises(SchemaError, match=message):
        EventMeta("Made", (Event,), body)


def test_an_own_init_is_refused() -> None:
    with pytest.raises(SchemaError, match="field_validator"):
        EventMeta("Made", (Event,), {"__init__": lambda self: None, "__module__": __name__})


def test_pydantic_checks_constraints() -> None:
    assert [("celsius", "greater_than_equal")] == errors_of(
        Reading, {"at": NOON, "store": "a", "celsius": -91}
    )


def test_pydantic_runs_validators() -> None:
    assert Judged(low=2, high=3) == adapter_of(Judged).validate_python({"low": 2, "high": 3})
    assert [("low", "value_error")] == errors_of(Judged, {"low": 1, "high": 3})
    assert [("", "value_error")] == errors_of(Judged, {"low": 4, "high": 3})


def test_the_json_schema_has_fields_in_order_with_their_constraints() -> None:
    schema = Reading.json_schema()
    assert ["at", "store", "celsius"] == list(schema["properties"])
    assert -90 == schema["properties"]["celsius"]["minimum"]
    assert {"type": "integer", "title": "Low"} == Judged.json_schema()["properties"]["low"]
    assert "in degrees" == Aliased.json_schema()["properties"]["temp"]["description"]


@pytest.mark.parametrize(
    ("at", "kind"),
    [
        (datetime(2024, 7, 1), "timezone_aware"),
        ("2024-07-01T12:00:00", "timezone_aware"),
        ("2024-07-01", "timezone_aware"),
        (1_719_835_200, "datetime_number"),
        (1_719_835_200.5, "datetime_number"),
        ("1719835200", "datetime_number"),
        ("1.7e9", "datetime_number"),
        ("0001-01-01T00:00:00+14:00", "datetime_range"),
        ("noon", "datetime_from_date_parsing"),
    ],
)
def test_a_time_without_zone_or_unit_is_bad(at: object, kind: str) -> None:
    assert [("at", kind)] == errors_of(Reading, {"at": at, "store": "a", "celsius": 1})


@given(st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1)), st.integers(-840, 840))
def test_a_time_is_kept_as_its_instant_in_utc(naive: datetime, minutes: int) -> None:
    at = naive.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    value = {"at": at.isoformat(), "store": "a", "celsius": 1}
    found = adapter_of(Reading).validate_python(value)
    assert at == found.at
    assert UTC is found.at.tzinfo


@pytest.mark.parametrize(("unit", "per_second"), [("s", 1), ("ms", 10**3), ("us", 10**6)])
@given(count=st.integers(-(10**9), 10**9))
def test_numbers_count_in_their_unit(unit: str, per_second: int, count: int) -> None:
    expected = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(
        microseconds=count * 10**6 // per_second
    )
    assert expected == Unit(unit).instant(count)
    assert expected == Unit(unit).instant(str(count))
    assert expected == Unit(unit).instant(float(count))


@given(st.integers(-(10**18), 10**18))
def test_nanoseconds_are_cut_to_microseconds(count: int) -> None:
    expected = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=count // 1000)
    assert expected == Unit("ns").instant(count) == Unit("ns").instant(str(count))


def test_a_unit_lets_numbers_and_text_in() -> None:
    class Stamped(Event):
        at: Annotated[EventTime, Unit("ms")]

    for at in (1_719_835_200_000, "1719835200000", "2024-07-01T12:00:00Z", NOON):
        assert Stamped(at=NOON) == adapter_of(Stamped).validate_python({"at": at})
    assert [("at", "datetime_range")] == errors_of(Stamped, {"at": 1e300})
    assert [("at", "datetime_range")] == errors_of(Stamped, {"at": float("nan")})
    assert [("at", "datetime_number")] == errors_of(Stamped, {"at": True})
