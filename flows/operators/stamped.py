"""Processing time as event time: what comes after goes by when rows were seen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import polars as pl

from ..batch import END, START, WATERMARK, Batch, Logic, Output
from ..graph import Place
from ..schema import Schema
from ..snapshot import Tables, scalars, scalars_in

__all__ = ["Stamped", "stamped_schema"]

_SEEN: Final = "seen_at"


def stamped_schema(schema: Schema) -> Schema:
    """Return the schema with the time a row was seen as event time.

    It stands in the event-time column, or in a new one, `seen_at`, if there is none.
    """
    if schema.event_time is not None:
        return schema
    columns = (*schema.columns, (_SEEN, pl.Datetime("us", "UTC")))
    return replace(schema, columns=columns, event_time=_SEEN, name=None)


@dataclass(frozen=True, slots=True)
class Stamped:
    """Gives each row the processing time of its step as event time, with no disorder."""

    @property
    def title(self) -> str:
        return "stamped with processing time"

    def build(self, place: Place) -> Logic:
        return _StampedLogic(place)


class _StampedLogic(Logic):
    __slots__ = ("_place", "_watermark")

    def __init__(self, place: Place) -> None:
        self._place = place
        self._watermark = START

    def receive(self, port: int, batch: Batch) -> Output:
        now = self._place.clock.now()
        rows, schema = batch.rows, self._place.schema
        time = schema.event_time
        if rows is not None and time is not None:
            stamp = pl.lit(now, pl.Int64)
            rows = rows.with_columns(
                stamp.cast(pl.Datetime("us", "UTC")).cast(schema.dtype(time)).alias(time),
                stamp.alias(WATERMARK),
            )
            hidden = [name for name in rows.columns if name not in schema.names]
            rows = rows.select(*schema.names, *hidden)
        self._watermark = END if batch.watermark >= END else now
        return Output([Batch(rows, self._watermark)])

    def tick(self, now: int) -> Output | None:
        if now <= self._watermark:
            return None
        self._watermark = now
        return Output([Batch(None, now)])

    def snapshot(self) -> Tables:
        return scalars(watermark=self._watermark)

    def restore(self, tables: Tables) -> None:
        self._watermark = scalars_in(tables)["watermark"]
