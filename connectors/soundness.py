"""Which rows of an Arrow batch hold what its types promise, and what is wrong with the others.

The bytes of a file are a stranger's: offsets that point outside, or text that is not UTF-8, would
crash whoever trusts them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pydantic_core import to_json

from .formats import not_utf8

__all__ = ["Unsound", "held", "sound_rows"]

_REFUSED = (
    pa.types.is_decimal256,
    pa.types.is_union,
    pa.types.is_run_end_encoded,
    pa.types.is_interval,
    pa.types.is_list_view,
    pa.types.is_large_list_view,
)


@dataclass(frozen=True, slots=True)
class Unsound:
    """A row that cannot be read: its place in the batch, its bytes as JSON, and why."""

    index: int
    raw: bytes
    reason: str


def held(dtype: pa.DataType) -> bool:
    """Whether polars has columns of this type."""
    if isinstance(dtype, pa.BaseExtensionType):
        return held(dtype.storage_type)
    if pa.types.is_dictionary(dtype):
        return held(dtype.value_type)
    inner = (dtype.field(place).type for place in range(dtype.num_fields))
    return not any(kind(dtype) for kind in _REFUSED) and all(map(held, inner))


def sound_rows(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, Sequence[int], list[Unsound]]:
    """Return the rows that are sound, the place of each in the batch, and the other rows.

    Raises `pa.ArrowInvalid` if the buffers are shorter than the batch says: it has no rows then.
    """
    batch.validate()
    try:
        batch.validate(full=True)
        return batch, range(len(batch)), []
    except pa.ArrowInvalid:
        batch = _without_dictionaries(batch)
    pieces: list[pa.RecordBatch] = [batch.slice(0, 0)]
    places: list[int] = []
    unsound: list[Unsound] = []
    for start, piece in _pieces(batch, 0):
        if isinstance(piece, Unsound):
            unsound.append(piece)
        else:
            pieces.append(piece)
            places.extend(range(start, start + len(piece)))
    return pa.concat_batches(pieces), places, unsound


def _without_dictionaries(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Look the values up, so that a bad one among them is only that of the rows that have it."""
    columns = list(batch.columns)
    for place, column in enumerate(columns):
        if pa.types.is_dictionary(column.type):
            try:
                columns[place] = column.dictionary.take(column.indices)
            except pa.ArrowException:  # it points outside, which is told of the row itself
                continue
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _pieces(batch: pa.RecordBatch, start: int) -> Iterator[tuple[int, pa.RecordBatch | Unsound]]:
    """Halve the batch until each piece is sound, or a row."""
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid as error:
        half = len(batch) // 2
        if half:
            yield from _pieces(batch.slice(0, half), start)
            yield from _pieces(batch.slice(half), start + half)
        elif len(batch):
            yield start, _told(batch, start, error)
    else:
        yield start, batch


def _told(row: pa.RecordBatch, index: int, error: pa.ArrowInvalid) -> Unsound:
    values: dict[str, Any] = {}
    reasons: list[str] = []
    for name, column in zip(row.schema.names, row.columns, strict=True):
        values[name], reason = _value(column)
        if reason is not None:
            reasons.append(f"{name}: {reason}")
    raw = to_json(values, bytes_mode="base64", inf_nan_mode="constants", fallback=str)
    return Unsound(index, raw, "; ".join(reasons) or str(error))


def _value(column: pa.Array) -> tuple[Any, str | None]:
    """Return a column's only value, and what is wrong with it."""
    text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    try:
        if text:
            # Text is bytes until it is known to be text; this looks at no value yet.
            large = pa.types.is_large_string(column.type)
            column = column.cast(pa.large_binary() if large else pa.binary())
        column.validate(full=True)
        value = column[0].as_py()
        return (value.decode() if text and value is not None else value), None
    except UnicodeDecodeError as error:
        return value, not_utf8(error)
    except (pa.ArrowException, ValueError, OverflowError) as error:
        return None, str(error).split("\n", 1)[0]
