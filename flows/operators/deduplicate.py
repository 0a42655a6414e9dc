"""Deduplication: of rows with equal keys, the earliest passes.

Ordered: rows are taken in (event time, key group, all columns) as the watermark passes them, or
without event time as they come.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from ..batch import HIDDEN, ORIGIN, START, WATERMARK, Batch, Logic, Output
from ..errors import SchemaError
from ..graph import Place
from ..schema import Schema
from ..snapshot import Tables, part_of, scalars, scalars_in, with_parts
from .ordered import GROUP, OrderedBuffer, microseconds_of
from .slots import Key, codes_of, key_columns
from .window import checked_keys

__all__ = ["Deduplicate", "deduplicate_schema"]

_PASSED: Final = "_hw_passed"


@dataclass(frozen=True, slots=True)
class Deduplicate:
    """Drops the rows of a key that are at most `within` µs after the one that passed.

    The next row after these passes again. None drops them for ever, and keeps every key that has
    been seen.
    """

    keys: tuple[str, ...]
    within: int | None = None

    @property
    def title(self) -> str:
        """By what rows are equal."""
        return f"deduplicate by {', '.join(self.keys)}" if self.keys else "deduplicate"

    def build(self, place: Place) -> Logic:
        """Make the state machine."""
        return _DeduplicateLogic(self, place)


def deduplicate_schema(schema: Schema, keys: Sequence[str], within: int | None = None) -> Schema:
    """Return the input's schema, which stays; raises SchemaError."""
    checked_keys(schema, keys)
    if within is not None and schema.event_time is None:
        raise SchemaError(
            "deduplicate(within=…) needs event time, and the stream has none; leave `within` out "
            "to drop every repetition, or give its event a field of type hw.EventTime"
        )
    if within is not None and within < 0:
        raise SchemaError(f"deduplicate(within={within} µs): it must not be negative")
    return schema


class _DeduplicateLogic(Logic):
    __slots__ = (
        "_buffer",
        "_order",
        "_passed",
        "_schema",
        "_spec",
        "_time",
        "_watermark",
        "dropped",
    )

    def __init__(self, spec: Deduplicate, place: Place) -> None:
        self._spec = spec
        self._schema = place.inputs[0]
        self._time = place.inputs[0].event_time
        self._buffer = OrderedBuffer(self._time, spec.keys)
        self._passed: dict[Key, int] = {}
        """When the last row of a key passed."""
        self._order: deque[tuple[int, Key]] = deque()
        """What passed, in order, if it is to be forgotten."""
        self._watermark = START
        self.dropped = 0
        """Rows that were repetitions."""

    @property
    def held_rows(self) -> int:
        """Rows that wait for the watermark."""
        return self._buffer.held_rows

    @property
    def live(self) -> int:
        """Keys that are remembered."""
        return len(self._passed)

    def receive(self, port: int, batch: Batch) -> Output:
        output = Output()
        if batch.rows is not None and batch.rows.height:
            late = self._buffer.add(batch.rows)
            if late is not None:
                output.late.append(late)
        self._watermark = max(self._watermark, batch.watermark)
        rows = self._buffer.release(self._watermark)
        made = None if rows is None else self._first(rows)
        self._forget()
        output.batches.append(Batch(made, self._watermark))
        return output

    def snapshot(self) -> Tables:
        """Return each key that passed with the time, null if none is forgotten, as ``keys``."""
        tables = scalars(watermark=self._watermark, dropped=self.dropped)
        tables |= with_parts(buffer=self._buffer.snapshot())
        keys, times = list(self._passed), None
        if self._spec.within is not None:
            keys = [key for _, key in self._order]
            times = [time for time, _ in self._order]
        if keys:
            columns = key_columns(self._schema, self._spec.keys, keys)
            passed = pl.Series(_PASSED, times or [None] * len(keys), pl.Int64)
            tables["keys"] = pl.DataFrame([*columns, passed.cast(pl.Datetime("us", "UTC"))])
        return tables

    def restore(self, tables: Tables) -> None:
        found = scalars_in(tables)
        self._watermark, self.dropped = found["watermark"], found["dropped"]
        self._buffer.restore(part_of(tables, "buffer"))
        if "keys" not in tables:
            return
        codes, keys = codes_of(tables["keys"], self._spec.keys)
        if self._spec.within is None:
            self._passed = dict.fromkeys(keys, 0)
            return
        times = tables["keys"][_PASSED].to_physical()
        for time, code in zip(times, codes.to_pylist(), strict=True):
            self._order.append((time, keys[code]))
            self._passed[keys[code]] = time

    def _first(self, rows: pl.DataFrame) -> pl.DataFrame | None:
        codes, keys = codes_of(rows, self._spec.keys)
        numbers = pl.Series("code", codes)
        if self._spec.within is None or self._time is None:
            fresh = pl.Series([key not in self._passed for key in keys], dtype=pl.Boolean)
            passes = fresh.gather(numbers) & numbers.is_first_distinct()
            self._passed.update(dict.fromkeys(keys, 0))
        else:
            times = rows[self._time].to_physical().to_list()
            passes = self._apart(numbers.to_list(), keys, times, self._spec.within)
        kept = rows.filter(passes)
        self.dropped += rows.height - kept.height
        if not kept.height:
            return None
        if self._time is not None:
            kept = kept.with_columns(microseconds_of(self._time).alias(WATERMARK))
        return kept.select(*kept.drop(*HIDDEN, GROUP).columns, WATERMARK, ORIGIN)

    def _apart(self, codes: list[int], keys: list[Key], times: list[int], within: int) -> pl.Series:
        """Tell for each row whether it is more than `within` after the one that passed."""
        lasts = [self._passed.get(key) for key in keys]
        passes = []
        for code, time in zip(codes, times, strict=True):
            last = lasts[code]
            fresh = last is None or time - last > within
            if fresh:
                lasts[code] = time
                self._order.append((time, keys[code]))
            passes.append(fresh)
        for key, last in zip(keys, lasts, strict=True):
            assert last is not None
            self._passed[key] = last
        return pl.Series(passes, dtype=pl.Boolean)

    def _forget(self) -> None:
        within = self._spec.within
        if within is None:
            return
        while self._order and self._order[0][0] + within < self._watermark:
            time, key = self._order.popleft()
            if self._passed.get(key) == time:
                del self._passed[key]
