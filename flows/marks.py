"""Marks on annotations: which field is the time or the site, and how a column keeps a field."""

from __future__ import annotations

import re
import types
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from math import floor
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic_core import PydanticCustomError
from pydantic_core import core_schema as cs

from .errors import SchemaError

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler

__all__ = ["EPOCH", "EventTimeMark", "SiteMark", "Unit", "Width", "Zone", "marked", "out_of_years"]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECONDS_TO = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_NUMBER = re.compile(r"\s*[-+]?\d{1,30}(\.\d{1,30})?\s*$")


@dataclass(frozen=True, slots=True)
class EventTimeMark:
    """Marks the field that holds an event's time."""


@dataclass(frozen=True, slots=True)
class SiteMark:
    """Marks the field that names an event's site."""


@dataclass(frozen=True, slots=True)
class Unit:
    """Says that numbers in a time field count "s", "ms", "us" or "ns" since 1970 in UTC.

    Whole numbers and text are cut to µs, floats rounded. Raises SchemaError for another unit.
    """

    name: str

    def __post_init__(self) -> None:
        if self.name not in SECONDS_TO:
            raise SchemaError(f'hw.Unit({self.name!r}): use "s", "ms", "us" or "ns"')

    def instant(self, value: Any) -> Any:
        """The aware time that a number, or text holding one, stands for; others as they are."""
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if isinstance(value, str) and _NUMBER.match(value):
            value = Decimal(value.strip())
        elif isinstance(value, bool) or not isinstance(value, int | float | Decimal):
            return value
        per = SECONDS_TO[self.name]
        try:
            if isinstance(value, int):
                micros = value * 1_000_000 // per
            elif isinstance(value, float):
                micros = round(Fraction(value) * 1_000_000 / per)
            else:
                micros = floor(Fraction(value) * 1_000_000 / per)
            return EPOCH + timedelta(microseconds=micros)
        except (OverflowError, ValueError):
            raise out_of_years() from None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        return cs.no_info_before_validator_function(self.instant, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: Any, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"anyOf": [{"type": "number"}, handler(schema)]}


@dataclass(frozen=True, slots=True)
class Zone:
    """Keeps a datetime field in a time zone such as "Europe/Rome".

    Raises SchemaError for an unknown zone.
    """

    name: str

    def __post_init__(self) -> None:
        try:
            ZoneInfo(self.name)
        except (ZoneInfoNotFoundError, ValueError):
            raise SchemaError(
                f"hw.Zone({self.name!r}): no such time zone; use an IANA name"
            ) from None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        zone = ZoneInfo(self.name)
        return cs.no_info_after_validator_function(lambda at: at.astimezone(zone), handler(source))


@dataclass(frozen=True, slots=True)
class Width:
    """Keeps an int field in 8, 16, 32 or 64 bits (64 without it)."""

    bits: int

    def __post_init__(self) -> None:
        if self.bits not in (8, 16, 32, 64):
            raise SchemaError(f"hw.Width({self.bits!r}): an int has 8, 16, 32 or 64 bits")

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        inner = handler(source)
        low, high = -(1 << self.bits - 1), (1 << self.bits - 1) - 1
        if inner["type"] != "int":
            return cs.chain_schema([inner, cs.int_schema(ge=low, le=high)])
        low, high = max(low, inner.get("ge", low)), min(high, inner.get("le", high))
        return {**inner, "ge": low, "le": high}

    def __get_pydantic_json_schema__(
        self, schema: Any, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        found = handler(schema)
        limits = {"minimum": -(1 << 63), "maximum": (1 << 63) - 1}
        return {k: v for k, v in found.items() if k not in limits or v != limits[k]}


def marked(annotation: Any, mark: type) -> bool:
    """Whether a field's annotation carries a mark of this class, itself or in a union."""
    origin = get_origin(annotation)
    if origin is Annotated and any(isinstance(note, mark) for note in annotation.__metadata__):
        return True
    inner = (annotation.__origin__,) if origin is Annotated else get_args(annotation)
    unions = (Annotated, Union, types.UnionType)
    return origin in unions and any(marked(part, mark) for part in inner)


def out_of_years() -> PydanticCustomError:
    """The error of an instant that a column cannot hold."""
    return PydanticCustomError(
        "datetime_range", "Input should lie between the years 1 and 9999 in UTC"
    )
