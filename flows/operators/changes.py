"""Turns an upsert stream into an append stream of its changes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import polars as pl

from ..batch import DELETED, HIDDEN, Batch, Logic, Output
from ..graph import Place
from ..schema import Schema

__all__ = ["Changes", "changes_schema"]


def changes_schema(schema: Schema) -> Schema:
    """Return the schema of an upsert stream's changes: its columns and `change`."""
    return replace(schema, columns=(*schema.columns, ("change", pl.String())), key=None)


@dataclass(frozen=True, slots=True)
class Changes:
    """Each change as a row, "upsert" or "delete" in the column `change`."""

    @property
    def title(self) -> str:
        return "changes"

    def build(self, place: Place) -> Logic:
        return _ChangesLogic()


class _ChangesLogic(Logic):
    __slots__ = ()

    def receive(self, port: int, batch: Batch) -> Output:
        if batch.rows is None:
            return Output([batch])
        change = pl.when(DELETED).then(pl.lit("delete")).otherwise(pl.lit("upsert"))
        rows = batch.rows.with_columns(change.alias("change"))
        order = [c for c in rows.columns if c not in (DELETED, *HIDDEN)]
        return Output([Batch(rows.select(*order, *HIDDEN), batch.watermark)])
