"""Which windows a kernel folds, the columns that it reads, and what is made of those it gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl
import pyarrow as pa

from ...ext import WindowPart
from ..aggregates import TEMPORAL, Part
from ..decompose import Buffered, Incremental
from ..schema import Schema
from .aggregation import part_names, parts_of
from .rowwise import RowWise

__all__ = ["TableColumns", "table_columns"]

_MOST_KEYS: Final = 32
_MOST_PARTS: Final = 255
"""One less than a kernel may have: the newest time may be one more."""
_WORDS: Final = (pl.Int64, pl.Datetime, pl.Duration, pl.Time)
_SMALL: Final = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.Boolean)
_FLOATS: Final = (pl.Float32, pl.Float64)
_KEYS: Final = (*_SMALL, pl.UInt64, *_FLOATS, *TEMPORAL, pl.String, pl.Binary)
_CODED: Final = (pl.Categorical, pl.Enum)


@dataclass(frozen=True, slots=True)
class TableColumns:
    """The columns of a `WindowTable`: what it reads, and the parts it is to give.

    `inputs` are those that rows do not have and that are computed for each batch.
    """

    keys: pa.Schema
    parts: tuple[WindowPart, ...]
    inputs: tuple[pl.Expr, ...]
    selected: tuple[str, ...] | None
    """All that is read of the rows, if they have columns that had better not be exported."""
    finish: Finish


class Finish:
    """Makes aggregates of what parts give; the parts of all are columns `part_names`."""

    __slots__ = ("_casts", "_direct", "_finish", "_names")

    def __init__(self, aggregates: Sequence[Incremental]) -> None:
        finish, parts = parts_of(aggregates)
        casts = dict(zip(part_names(len(parts)), (part.dtype_out for part in parts), strict=True))
        self._names = [expr.meta.output_name() for expr in finish]
        direct = [_direct(expr) for expr in finish]
        self._direct = [
            (name, part, casts[part])
            for name, part in zip(self._names, direct, strict=True)
            if part is not None
        ]
        self._casts = [
            pl.col(name).cast(dtype, wrap_numerical=True) for name, dtype in casts.items()
        ]
        self._finish = None if len(self._direct) == len(finish) else RowWise(finish)

    def over(self, rows: pl.DataFrame) -> list[pl.Series]:
        """Return the aggregates of rows, in their order."""
        if self._finish is None:
            return [
                rows.get_column(part).cast(dtype, wrap_numerical=True).alias(name)
                for name, part, dtype in self._direct
            ]
        columns = self._finish.columns(rows.with_columns(self._casts))
        made = {column.name: column for column in columns}
        return [made[name] for name in self._names]


def _direct(finish: pl.Expr) -> str | None:
    """The part that a finish hands on as it is; None for one that does more."""
    bare = finish.meta.undo_aliases()
    return bare.meta.output_name() if bare.meta.is_column() else None


def table_columns(
    aggregates: Sequence[Incremental | Buffered], keys: Sequence[str], schema: Schema
) -> TableColumns | None:
    """Return what a kernel needs for these windows; None if it cannot fold them."""
    incremental = [aggregate for aggregate in aggregates if isinstance(aggregate, Incremental)]
    parts = parts_of(incremental)[1]
    made = [_window_part(part) for part in parts]
    known = [part for part in made if part is not None]
    if len(incremental) < len(aggregates) or len(known) < len(made):
        return None
    if len(keys) > _MOST_KEYS or len(made) > _MOST_PARTS:
        return None
    if not all(isinstance(schema.dtype(key), (*_KEYS, *_CODED)) for key in keys):
        return None
    inputs: dict[str, pl.Expr] = {}
    placed = [
        part._replace(column=_column(input_of, inputs, part, schema))
        for part, input_of in zip(known, parts, strict=True)
    ]
    names = [_key_column(key, inputs, schema) for key in keys]
    return TableColumns(
        keys=_key_schema(names, keys, schema),
        parts=tuple(placed),
        inputs=tuple(expr.alias(name) for name, expr in inputs.items()),
        selected=_selected(names, placed, inputs, schema),
        finish=Finish(incremental),
    )


def _window_part(part: Part) -> WindowPart | None:
    """The part as the kernel has it, without its column; None if it has none like it."""
    real = part.encoded is not None and part.encoded.is_float()
    match part.kind:
        case "len" | "count":
            return WindowPart(part.kind)
        case "sum" | "min" | "max" | "mean" if part.compiled:
            return WindowPart(part.kind, real=real)
        case "var" | "std":
            return WindowPart(part.kind, real=True, ddof=int(part.parameters[0]))
        case "first" | "last" if isinstance(part.dtype_in, (*_SMALL, *_FLOATS, *TEMPORAL)):
            real = isinstance(part.dtype_in, _FLOATS)
            return WindowPart(part.kind, real=real, skip_nulls=part.parameters == (True,))
        case _:
            return None


def _column(part: Part, inputs: dict[str, pl.Expr], made: WindowPart, schema: Schema) -> str | None:
    """The column that a part reads: one of the rows', or one that is added to `inputs`."""
    if part.kind == "len" or part.input is None:
        return None
    if part.input.meta.is_column():
        name = part.input.meta.output_name()
        dtype = schema.dtype(name)
        fits = isinstance(dtype, pl.Float64 if made.real else _WORDS)
        if fits or (part.kind == "count" and not isinstance(dtype, pl.Null)):
            return name
    expr = part.encoded_input()
    assert expr is not None
    if part.kind in ("first", "last"):
        expr = expr.cast(pl.Float64 if made.real else pl.Int64)
    for name, known in inputs.items():
        if known.meta.eq(expr):
            return name
    name = f"_hw_input_{len(inputs)}"
    inputs[name] = expr
    return name


def _key_column(key: str, inputs: dict[str, pl.Expr], schema: Schema) -> str:
    """The column that a key is read from: of a category, what it stands for."""
    if not isinstance(schema.dtype(key), _CODED):
        return key
    name = f"_hw_key_{key}"
    inputs[name] = pl.col(key).cast(pl.String)
    return name


def _key_schema(names: Sequence[str], keys: Sequence[str], schema: Schema) -> pa.Schema:
    dtypes = [schema.dtype(key) for key in keys]
    plain = {
        name: pl.String() if isinstance(dtype, _CODED) else dtype
        for name, dtype in zip(names, dtypes, strict=True)
    }
    return pa.RecordBatchReader.from_stream(pl.DataFrame(schema=plain)).schema


def _selected(
    names: Sequence[str],
    parts: Sequence[WindowPart],
    inputs: dict[str, pl.Expr],
    schema: Schema,
) -> tuple[str, ...] | None:
    """What to select of the rows, without what is computed; None to hand over all of them.

    All of them cost nothing, unless the columns of one have to be put together to be exported.
    """
    if all(isinstance(dtype, _KEYS) for _, dtype in schema.columns):
        return None
    read = {*names, *(part.column for part in parts if part.column is not None)} - inputs.keys()
    return tuple(sorted(read))
