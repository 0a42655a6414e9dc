"""Running aggregates: each row with the aggregates of its key's rows so far, itself included.

Ordered: rows are taken in (event time, key group, all columns) as the watermark passes them, or
without event time as they come.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl
import pyarrow as pa

from ..batch import HIDDEN, ORIGIN, START, WATERMARK, Batch, Logic, Output
from ..decompose import Buffered, Incremental
from ..errors import SchemaError
from ..graph import Place
from ..schema import Schema
from ..snapshot import Tables, part_of, scalars, scalars_in, with_parts
from .aggregation import RunningAggregation
from .ordered import GROUP, OrderedBuffer, microseconds_of
from .rowfolds import SLOT
from .slots import Key, codes_of, key_columns
from .spans import segments, spans_of
from .windowed import checked_keys, instants

__all__ = ["Running", "running_schema"]

_LAST = "_hw_last"


@dataclass(frozen=True, slots=True)
class Running:
    """Adds to each row the aggregates of its key's rows so far.

    A key that had no row for more than `ttl` µs starts anew; None keeps every key for ever.
    """

    keys: tuple[str, ...]
    aggregates: tuple[Incremental | Buffered, ...]
    ttl: int | None = None

    @property
    def title(self) -> str:
        """By what it runs."""
        return f"running by {', '.join(self.keys)}" if self.keys else "running"

    def build(self, place: Place) -> Logic:
        """Make the state machine; raises SchemaError as `running_schema` does."""
        running_schema(place.inputs[0], self.keys, self.aggregates, self.ttl)
        return _RunningLogic(self, place)


def running_schema(
    schema: Schema,
    keys: Sequence[str],
    aggregates: Sequence[Incremental | Buffered],
    ttl: int | None = None,
) -> Schema:
    """Return the input's columns and the aggregates after them; raises SchemaError."""
    checked_keys(schema, keys)
    if ttl is not None and schema.event_time is None:
        raise SchemaError(
            "running(ttl=…) needs event time, and the stream has none; leave ttl out, or give "
            "its event a field of type hw.EventTime"
        )
    if not aggregates:
        raise SchemaError("running() without a column; write running(n=pl.len())")
    for aggregate in aggregates:
        if isinstance(aggregate, Buffered):
            raise SchemaError(
                f"running({aggregate.name}=…) needs all rows of the key for each row, as "
                f"{aggregate.reason}; use a window, or an aggregate such as sum, mean or "
                f"hw.approx_quantile"
            )
        if aggregate.name in schema.names:
            raise SchemaError(
                f"running({aggregate.name}=…): the stream has a column '{aggregate.name}'; give "
                f"the aggregate another name"
            )
    made = tuple((aggregate.name, aggregate.dtype) for aggregate in aggregates)
    nullable = schema.nullable | {name for name, _ in made}
    return replace(schema, columns=schema.columns + made, nullable=nullable, name=None)


class _RunningLogic(Logic):
    __slots__ = (
        "_aggregation",
        "_buffer",
        "_expiry",
        "_keys",
        "_lasts",
        "_schema",
        "_slots",
        "_time",
        "_ttl",
        "_watermark",
    )

    def __init__(self, spec: Running, place: Place) -> None:
        self._keys = spec.keys
        self._schema = place.schema
        self._ttl = spec.ttl
        self._time = place.inputs[0].event_time
        self._buffer = OrderedBuffer(self._time, spec.keys)
        incremental = [a for a in spec.aggregates if isinstance(a, Incremental)]
        self._aggregation = RunningAggregation(incremental, place.operator)
        self._slots: dict[Key, int] = {}
        self._lasts: dict[Key, int] = {}
        """The time of each key's last row, if keys are forgotten."""
        self._expiry: list[tuple[int, int, Key]] = []
        """A heap of (time, slot, key): the key's last row was then or later."""
        self._watermark = START

    @property
    def held_rows(self) -> int:
        """Rows that wait for the watermark."""
        return self._buffer.held_rows

    @property
    def live(self) -> int:
        """Keys that have state."""
        return self._aggregation.live

    def receive(self, port: int, batch: Batch) -> Output:
        output = Output()
        if batch.rows is not None and batch.rows.height:
            late = self._buffer.add(batch.rows)
            if late is not None:
                output.late.append(late)
        self._watermark = max(self._watermark, batch.watermark)
        rows = self._buffer.release(self._watermark)
        made = None if rows is None else self._run(rows)
        self._forget()
        output.batches.append(Batch(made, self._watermark))
        return output

    def snapshot(self) -> Tables:
        """Return the keys that have state as ``keys``; with `ttl`, the time of their last row."""
        tables = scalars(watermark=self._watermark)
        if self._slots:
            columns = key_columns(self._schema, self._keys, list(self._slots))
            if self._ttl is not None:
                columns.append(instants(_LAST, [self._lasts[key] for key in self._slots]))
            columns.append(pl.Series(SLOT, list(self._slots.values())))
            tables["keys"] = pl.DataFrame(columns)
        parts = with_parts(buffer=self._buffer.snapshot(), aggregates=self._aggregation.snapshot())
        return tables | parts

    def restore(self, tables: Tables) -> None:
        self._watermark = scalars_in(tables)["watermark"]
        self._buffer.restore(part_of(tables, "buffer"))
        self._aggregation.restore(part_of(tables, "aggregates"))
        if "keys" not in tables:
            return
        rows = tables["keys"]
        _, keys = codes_of(rows, self._keys)
        self._slots = dict(zip(keys, rows[SLOT].to_list(), strict=True))
        if self._ttl is not None:
            self._lasts = dict(zip(keys, rows[_LAST].to_physical().to_list(), strict=True))
            self._expiry = [(self._lasts[key], slot, key) for key, slot in self._slots.items()]
            heapq.heapify(self._expiry)

    def _run(self, rows: pl.DataFrame) -> pl.DataFrame:
        codes, keys = codes_of(rows, self._keys)
        gone: list[int] = []
        if self._ttl is None or self._time is None:
            slots = pa.array([self._slot(key) for key in keys], pa.int64()).take(codes)
        else:
            slots = self._timed(codes, keys, rows[self._time].to_physical(), self._ttl, gone)
        found = self._aggregation.add(slots, rows)
        self._aggregation.release(gone)
        hidden = rows.select(HIDDEN)
        if self._time is not None:
            hidden = rows.select(microseconds_of(self._time).alias(WATERMARK), ORIGIN)
        visible = rows.drop(*HIDDEN, GROUP)
        columns = [*visible.iter_columns(), *found.iter_columns()]
        return pl.DataFrame(columns).select(self._schema.names).hstack(hidden)

    def _slot(self, key: Key) -> int:
        slot = self._slots.get(key)
        if slot is None:
            slot = self._slots[key] = self._aggregation.new_slot()
        return slot

    def _timed(
        self, codes: pa.Array, keys: list[Key], times: pl.Series, ttl: int, gone: list[int]
    ) -> pa.Array:
        """Return the slot of each row; those of keys that started anew are added to `gone`."""
        lasts = [self._lasts.get(key) for key in keys]
        numbers, found = spans_of(segments(codes, times, lasts, ttl + 1))
        slots: list[int] = []
        for code, part, _, last, _ in found:
            key = keys[code]
            if part and key in self._slots:
                gone.append(self._slots.pop(key))
            if key not in self._slots:
                heapq.heappush(self._expiry, (last, self._slot(key), key))
            self._lasts[key] = last
            slots.append(self._slots[key])
        return pa.array(slots, pa.int64()).take(numbers)

    def _forget(self) -> None:
        """Free the keys whose next row starts anew, whenever it comes."""
        if self._ttl is None:
            return
        gone: list[int] = []
        while self._expiry and self._expiry[0][0] + self._ttl < self._watermark:
            _, slot, key = heapq.heappop(self._expiry)
            if self._slots.get(key) != slot:
                continue
            if self._lasts[key] + self._ttl >= self._watermark:
                heapq.heappush(self._expiry, (self._lasts[key], slot, key))
                continue
            del self._lasts[key]
            gone.append(self._slots.pop(key))
        self._aggregation.release(gone)
