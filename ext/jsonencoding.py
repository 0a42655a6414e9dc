r"""Columns to JSON lines: the plain Python twin of `_jsonencoding`.

A row is an object on a line of its own, with its columns in order and no spaces. Where polars'
`write_ndjson` writes a value, the bytes are the same.

    null                     null
    boolean                  true, false
    integer                  as in Python
    float                    the shortest decimal that reads back as the same float, of those the
                             nearest: 1.0, -0.0, 0.00001, 1.5e-6, 1000000000000000.0, 1e+16. Without
                             an exponent from 1e-5 to below 1e16 (float32: 1e-6, 1e13). NaN and
                             infinities, which JSON does not have: null
    string, dictionary       in quotes; `"` and `\` behind a backslash, control characters as
                             \b \t \n \f \r or \u0000 to \u001f, all else as it is in UTF-8
    date                     "2024-02-29"; years outside 0 .. 9999 with a sign: "+10000-01-01"
    datetime without a zone  "2024-02-29 12:34:56", ".789", ".789123" or ".789123456" behind it if
                             there is a rest: as few groups of three places as are exact
    datetime in UTC          "2024-02-29T12:34:56.789+00:00"
    time                     "12:34:56.789", as above; null outside a day
    duration                 in seconds, as ISO 8601 has it: "PT90S", "-PT0.001S", "P0D"
    struct, list, array      objects and arrays

Strings are Arrow's views, lists have 64-bit offsets, times are in milli-, micro- or nanoseconds
(times of day in nanoseconds): what polars exports. There is no form here for other types (decimals,
float16, 128-bit integers, bytes) and other time zones, whose rules are polars' to know.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from datetime import date
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from io import BytesIO
from itertools import pairwise
from typing import Any, Final, Protocol

import pyarrow as pa

__all__ = ["Frame", "encodable", "encode_lines", "write_lines"]

_EPOCH: Final = date(1970, 1, 1).toordinal()
_ERA: Final = 146_097
"""Days of 400 years, after which the calendar repeats itself."""
_DAY: Final = 86_400
_SECOND: Final = {"ms": 10**3, "us": 10**6, "ns": 10**9}
_PLAIN: Final = (
    pa.null(),
    pa.bool_(),
    *(pa.int8(), pa.int16(), pa.int32(), pa.int64()),
    *(pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
    *(pa.float32(), pa.float64()),
    *(pa.string_view(), pa.date32(), pa.time64("ns")),
)


class Frame(Protocol):
    """Columns that can be read through Arrow's C stream interface."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """A capsule of the stream."""


def encodable(frame: Frame) -> bool:
    """Whether `encode_lines` takes frames with the columns of this one; rows do not matter."""
    try:
        schema = pa.RecordBatchReader.from_stream(frame).schema
    except pa.ArrowInvalid:  # a type that is polars' own
        return False
    return all(_is_known(field.type) for field in schema)


def encode_lines(frame: Frame) -> bytes:
    """The rows of `frame` as JSON objects, a line each; raises as `write_lines` does."""
    lines = BytesIO()
    write_lines(frame, lines.write)
    return lines.getvalue()


def write_lines(frame: Frame, write: Callable[[memoryview], object]) -> None:
    """Hand the lines of `encode_lines` to `write`, in pieces of whole lines.

    A piece is `write`'s until it returns; then its memory is used again. Raises TypeError for what
    is not `encodable`, ValueError for a frame of several chunks or with views, offsets or indices
    that point outside, and what `write` raises.
    """
    batches = list(pa.RecordBatchReader.from_stream(frame))
    if len(batches) > 1:
        raise ValueError("there are several chunks; make them one with rechunk()")
    for batch in batches:
        for field in batch.schema:
            if not _is_known(field.type):
                raise TypeError(f"{field.name!r} is a {field.type}, which is not encoded here")
        names = [_text(name) for name in batch.schema.names]
        columns = [_texts(column) for column in batch.columns]
        lines = "".join(
            "{" + ",".join(f"{n}:{next(c)}" for n, c in zip(names, columns, strict=True)) + "}\n"
            for _ in range(batch.num_rows)
        )
        if lines:
            write(memoryview(lines.encode()))


def _is_known(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return bool(kind.value_type == pa.string_view())
    if pa.types.is_timestamp(kind):
        return kind.unit in _SECOND and kind.tz in (None, "UTC", "Etc/UTC")
    if pa.types.is_duration(kind):
        return kind.unit in _SECOND
    if pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _is_known(kind.value_type)
    if pa.types.is_struct(kind):
        return all(_is_known(field.type) for field in kind)
    return kind in _PLAIN


def _texts(column: pa.Array) -> Iterator[str]:
    """Each value of a column as JSON."""
    kind, valid = column.type, column.is_valid().to_pylist()
    if pa.types.is_struct(kind):
        names = [_text(field.name) for field in kind]
        fields = [_texts(column.field(number)) for number in range(len(names))]
        for there in valid:
            members = ",".join(f"{n}:{next(f)}" for n, f in zip(names, fields, strict=True))
            yield f"{{{members}}}" if there else "null"
    elif pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        for there, (begin, end) in zip(valid, _bounds(column), strict=True):
            if there and not 0 <= begin <= end <= len(column.values):
                raise ValueError("an offset points outside of its column")
            values = column.values[begin:end] if there else ()
            yield f"[{','.join(_texts(values))}]" if there else "null"
    else:
        written = _writer(kind)
        for value in _plain(column).to_pylist():
            yield "null" if value is None else written(value)


def _bounds(column: pa.Array) -> Iterator[tuple[int, int]]:
    """Where the elements of each row are."""
    if pa.types.is_large_list(column.type):
        return pairwise(column.offsets.to_pylist())
    width = column.type.list_size
    rows = range(column.offset, column.offset + len(column))
    return ((row * width, (row + 1) * width) for row in rows)


def _plain(column: pa.Array) -> pa.Array:
    """Times as integers, which have no bounds; what a dictionary's indices stand for."""
    kind = column.type
    if pa.types.is_temporal(kind):
        return column.view(pa.int32() if pa.types.is_date32(kind) else pa.int64())
    try:
        column.validate(full=True)
    except pa.ArrowIndexError as error:
        raise ValueError(str(error)) from error
    return pa.array(column.to_pylist()) if pa.types.is_dictionary(kind) else column


def _writer(kind: pa.DataType) -> Callable[[Any], str]:
    if pa.types.is_timestamp(kind):
        return lambda moment: _moment(moment, _SECOND[kind.unit], kind.tz is not None)
    if pa.types.is_duration(kind):
        return lambda length: _duration(length, _SECOND[kind.unit])
    if pa.types.is_date32(kind):
        return lambda day: f'"{_date(day)}"'
    if pa.types.is_time64(kind):
        return _time_of_day
    if pa.types.is_float32(kind):
        return lambda number: _float(number, _single_digits, -6, 12)
    if pa.types.is_float64(kind):
        return lambda number: _float(number, lambda n: Decimal(repr(n)), -5, 15)
    if pa.types.is_integer(kind):
        return str
    return _text


def _text(value: str | bool) -> str:
    return json.dumps(value, ensure_ascii=False)


def _float(number: float, shortest: Callable[[float], Decimal], least: int, most: int) -> str:
    """A float, without exponent if that of its first digit is in `least` .. `most`."""
    if number - number != 0:  # NaN and the infinities
        return "null"
    minus, figures, _ = Decimal(number).as_tuple()
    if number == 0:
        return "-0.0" if minus else "0.0"
    _, figures, last = shortest(abs(number)).normalize().as_tuple()
    digits, first = "".join(map(str, figures)), len(figures) - 1 + int(last)
    if not least <= first <= most:
        text = digits[0] + ("." + digits[1:] if digits[1:] else "") + f"e{first:+d}"
    elif first < 0:
        text = "0." + "0" * (-1 - first) + digits
    else:
        digits = digits.ljust(first + 2, "0")
        text = digits[: first + 1] + "." + digits[first + 1 :]
    return ("-" if minus else "") + text


def _single_digits(number: float) -> Decimal:
    """The shortest decimal that rounds to a positive float32, of those the nearest."""
    (bits,) = struct.unpack("<I", struct.pack("<f", number))
    exact = Fraction(number)
    below = (_single(bits - 1) + exact) / 2
    above = (_single(bits + 1) + exact) / 2
    for places in range(1, 10):
        found = [
            Context(prec=places, rounding=rounding).create_decimal(Decimal(number))
            for rounding in (ROUND_FLOOR, ROUND_CEILING)
        ]
        within = [
            decimal
            for decimal in found
            if below < Fraction(decimal) < above
            or (bits % 2 == 0 and Fraction(decimal) in (below, above))
        ]
        if within:
            return min(
                within, key=lambda d: (abs(Fraction(d) - exact), d.as_tuple().digits[-1] % 2)
            )
    raise AssertionError("nine digits tell every float32 apart")


def _single(bits: int) -> Fraction:
    """A positive float32; the one behind the greatest as if there were no infinity."""
    if bits == 0x7F800000:
        return Fraction(2) ** 128
    return Fraction(*struct.unpack("<f", struct.pack("<I", bits))[0].as_integer_ratio())


def _date(day: int) -> str:
    """A day, counted from 1970, in the Gregorian calendar without end in both directions."""
    eras, rest = divmod(day, _ERA)
    found = date.fromordinal(_EPOCH + rest)
    year = found.year + 400 * eras
    return (f"{year:04d}" if 0 <= year <= 9999 else f"{year:+05d}") + f"{found:-%m-%d}"


def _time(second: int, rest: int, unit: int) -> str:
    """A time of day, and the rest in `unit`s of a second by three, six or nine places."""
    text = f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"
    if not rest:
        return text
    places = f"{rest * (10**9 // unit):09d}"
    while places.endswith("000"):
        places = places[:-3]
    return f"{text}.{places}"


def _moment(moment: int, unit: int, utc: bool) -> str:
    seconds, rest = divmod(moment, unit)
    day, second = divmod(seconds, _DAY)
    return f'"{_date(day)}{"T" if utc else " "}{_time(second, rest, unit)}{"+00:00" * utc}"'


def _time_of_day(nanoseconds: int) -> str:
    second, rest = divmod(nanoseconds, 10**9)
    return f'"{_time(second, rest, 10**9)}"' if 0 <= second < _DAY else "null"


def _duration(length: int, unit: int) -> str:
    if not length:
        return '"P0D"'
    seconds, rest = divmod(abs(length), unit)
    places = f".{rest * (10**9 // unit):09d}".rstrip("0") if rest else ""
    return f'"{"-" * (length < 0)}PT{seconds}{places}S"'
