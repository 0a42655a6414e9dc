"""Turns rows that an operator could not take into dead letters."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from ..batch import DELETED, ORIGIN, WATERMARK, DeadRow

__all__ = ["dead_rows", "late_reason"]


def dead_rows(operator: str, rows: pl.DataFrame, reasons: Iterable[str]) -> list[DeadRow]:
    """Return a dead letter for each row, its visible columns as a line of JSON."""
    hidden = [c for c in (DELETED, WATERMARK, ORIGIN) if c in rows.columns]
    lines = rows.drop(hidden).write_ndjson().encode().splitlines()
    return [
        DeadRow(operator, line, reason, origin, watermark)
        for line, reason, origin, watermark in zip(
            lines, reasons, rows[ORIGIN], rows[WATERMARK], strict=True
        )
    ]


def late_reason(rows: pl.DataFrame) -> list[str]:
    """Return for each late row why it is dead, for those that nobody reads."""
    return [
        "late: the watermark of its partition had passed it; read the operator's .late to keep it"
    ] * rows.height
