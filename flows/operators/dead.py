"""Turns rows that an operator could not take into dead letters."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl
from pydantic_core import to_json

from ..batch import DELETED, ORIGIN, WATERMARK, DeadRow

__all__ = ["dead_rows", "late_reason", "lines_of"]


def dead_rows(operator: str, rows: pl.DataFrame, reasons: Iterable[str]) -> list[DeadRow]:
    """Return a dead letter for each row, its visible columns as a line of JSON."""
    hidden = [c for c in (DELETED, WATERMARK, ORIGIN) if c in rows.columns]
    lines = lines_of(rows.drop(hidden))
    return [
        DeadRow(operator, line, reason, origin, watermark)
        for line, reason, origin, watermark in zip(
            lines, reasons, rows[ORIGIN], rows[WATERMARK], strict=True
        )
    ]


def lines_of(rows: pl.DataFrame) -> list[bytes]:
    """Return each row as JSON; bytes as base64."""
    if any(_has_bytes(dtype) for dtype in rows.dtypes):  # which polars does not write
        return [
            to_json(row, bytes_mode="base64", inf_nan_mode="null", fallback=str)
            for row in rows.iter_rows(named=True)
        ]
    return rows.write_ndjson().encode().splitlines()


def _has_bytes(dtype: pl.DataType) -> bool:
    if isinstance(dtype, pl.Struct):
        return any(_has_bytes(_instance(field.dtype)) for field in dtype.fields)
    if isinstance(dtype, pl.List):
        return _has_bytes(_instance(dtype.inner))
    return dtype == pl.Binary


def _instance(dtype: object) -> pl.DataType:
    return dtype() if isinstance(dtype, type) else dtype  # type: ignore[return-value]


def late_reason(rows: pl.DataFrame) -> list[str]:
    """Return for each late row why it is dead, for those that nobody reads."""
    return [
        "late: the watermark of its partition had passed it; read the operator's .late to keep it"
    ] * rows.height
