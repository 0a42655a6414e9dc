"""A dry run of a step: its expressions tried on a frame without rows, while a flow is loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import polars as pl

from .errors import ExpressionError, SchemaError, unknown_column
from .schema import Schema

__all__ = ["check_known", "followed", "tried"]


def tried(schema: Schema, run: Callable[[pl.DataFrame], pl.DataFrame]) -> pl.DataFrame:
    """Run on an empty frame; polars checks some types only when it runs.

    Raises ExpressionError for what polars refuses.
    """
    try:
        return run(schema.empty())
    except pl.exceptions.ColumnNotFoundError as error:
        found = str(error).split("\n", 1)[0].strip("'\"")
        name = found.split('"')[1] if '"' in found else found
        raise ExpressionError(unknown_column(name, schema.names)) from None
    except (pl.exceptions.PolarsError, TypeError) as error:
        raise ExpressionError(_explained(str(error).split("\n", 1)[0])) from None


def followed(schema: Schema, made: pl.Schema) -> Schema:
    """Return the schema after a step: what was event time or site stays so if it is kept.

    Raises SchemaError if a part of an upsert stream's key is gone.
    """
    columns = tuple(made.items())
    names = dict(columns)

    def kept(name: str | None) -> str | None:
        return name if name is not None and names.get(name) == schema.dtype(name) else None

    if schema.key is not None and (gone := [k for k in schema.key if k not in names]):
        raise SchemaError(f"select keeps the key of an upsert stream; {', '.join(gone)} is gone")
    return replace(
        schema,
        columns=columns,
        event_time=kept(schema.event_time),
        site=kept(schema.site),
        nullable=schema.nullable & frozenset(names),
        name=None,
    )


def check_known(schema: Schema, column: str) -> None:
    """Raise ExpressionError for a column that the schema does not have."""
    if column not in schema.names:
        raise ExpressionError(unknown_column(column, schema.names))


def _explained(text: str) -> str:
    """Add to what polars says what it means here."""
    if "Datetime('μs', 'UTC')" in text and "Datetime('μs')" in text:
        return f"{text}; give the time a zone: datetime(2024, 1, 1, tzinfo=UTC)"
    return text
