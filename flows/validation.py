"""Validation: pydantic is told to take what a field's column can hold, and no more."""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from pydantic_core import PydanticCustomError
from pydantic_core import core_schema as cs

from .marks import Width, out_of_years

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler

__all__ = ["LONGEST", "checked_type"]

LONGEST = timedelta(days=106_751_990)  # what 64 bits of µs hold, in whole days


def checked_type(annotation: Any) -> Any:
    """The annotation by which pydantic takes what the field's column can hold, and no more."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return Annotated[(checked_type(annotation.__origin__), *annotation.__metadata__)]
    if origin in (Union, types.UnionType):
        return reduce(or_, (checked_type(part) for part in get_args(annotation)))
    if origin is list:
        return list[checked_type(get_args(annotation)[0])]  # type: ignore[misc]
    return _CHECKED.get(annotation, annotation) if isinstance(annotation, type) else annotation


@dataclass(frozen=True, slots=True)
class _Checked:
    """How pydantic checks a type, where a column can hold less than the type."""

    build: Callable[[], Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        return self.build()


def _no_number(value: Any) -> Any:
    """Refuse epoch numbers, which pydantic would take for seconds or milliseconds by size."""
    if isinstance(value, str | bytes):
        try:
            float(value)
        except ValueError:
            return value
    elif not isinstance(value, int | float | Decimal):
        return value
    raise PydanticCustomError(
        "datetime_number",
        "Input is a number, which needs a unit to be a time; "
        'declare the field as Annotated[hw.EventTime, hw.Unit("ms")]',
    )


def _in_utc(value: datetime) -> datetime:
    try:
        return value if value.tzinfo is UTC else value.astimezone(UTC)
    except OverflowError:
        raise out_of_years() from None


def _fits_micros(value: timedelta) -> timedelta:
    if abs(value) > LONGEST:
        raise PydanticCustomError("duration_range", "Input should be at most 292 000 years")
    return value


def _instant_schema() -> Any:
    aware = cs.datetime_schema(tz_constraint="aware")
    utc = cs.no_info_after_validator_function(_in_utc, aware)
    return cs.no_info_before_validator_function(_no_number, utc)


def _duration_schema() -> Any:
    return cs.no_info_after_validator_function(_fits_micros, cs.timedelta_schema())


_CHECKED: dict[Any, Any] = {
    int: Annotated[int, Width(64)],
    datetime: Annotated[datetime, _Checked(_instant_schema)],
    time: Annotated[time, _Checked(lambda: cs.time_schema(tz_constraint="naive"))],
    timedelta: Annotated[timedelta, _Checked(_duration_schema)],
    Decimal: Annotated[
        Decimal, _Checked(lambda: cs.decimal_schema(max_digits=38, decimal_places=9))
    ],
}
