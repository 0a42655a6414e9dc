"""What functions with a key keep, by key: plain values for the calls, tables for snapshots.

A table has the columns of the key under their own names, and last a column of what is kept, which
is called otherwise only if a key column has its name already.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Generic, NamedTuple, TypeAlias, TypeVar

import polars as pl

from ..values import Encoding

__all__ = ["Alarm", "ByKey", "Column", "Key", "alarms", "keys_of", "times", "values"]

V = TypeVar("V")
Key: TypeAlias = tuple[Any, ...]

_NAN: Final = float("nan")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_INSTANT: Final = pl.Datetime("us", "UTC")
_GONE: Final = object()
_MOST_CHANGED: Final = 0.2
"""The share of changed rows from which a table of plain columns is made anew as fast."""


class Column(NamedTuple, Generic[V]):
    """How what is kept stands in a table: under which name, and made and read by what.

    `encode` makes a column of the type that it is given, if it can; None leaves it the choice.
    """

    name: str
    encode: Callable[[Sequence[V], pl.DataType | None], pl.Series]
    decode: Callable[[pl.Series], Iterable[V]]


class Alarm(NamedTuple):
    """When a timer goes off: in µs, and as it is handed out, in UTC."""

    micros: int
    at: datetime

    @classmethod
    def of(cls, micros: int) -> Alarm:
        """Return the alarm at so many µs since 1970."""
        return cls(micros, _EPOCH + timedelta(microseconds=micros))

    @classmethod
    def when(cls, at: datetime) -> Alarm:
        """Return the alarm at an aware time."""
        return cls.of((at - _EPOCH) // _MICROSECOND)


def alarms() -> Column[Alarm]:
    """Return how the alarms of a timer stand in a table: as ``at``, in UTC."""
    return Column(
        "at",
        lambda kept, _: pl.Series([one.micros for one in kept], dtype=pl.Int64).cast(_INSTANT),
        lambda column: map(Alarm.of, column.to_physical().to_list()),
    )


def times(of_events: bool) -> Column[int]:
    """Return how times in µs stand in a table: as ``at``; what is no event's time as Int64."""
    dtype = _INSTANT if of_events else pl.Int64()
    return Column(
        "at",
        lambda kept, _: pl.Series(kept, dtype=pl.Int64).cast(dtype),
        lambda column: column.to_physical().to_list(),
    )


def values(encoding: Encoding) -> Column[Any]:
    """Return how the values of a state stand in a table: as ``value``, see `Encoding`."""

    def encode(kept: Sequence[Any], dtype: pl.DataType | None) -> pl.Series:
        if dtype == pl.Binary():
            return pl.Series([encoding.encode(value) for value in kept], dtype=dtype)
        return encoding.column("value", kept)

    return Column("value", encode, encoding.values)


class ByKey(Generic[V]):
    """One value for each key, in `of`, which only `put` and `pop` change.

    From the first snapshot on it is known which keys have changed, and the next makes anew the rows
    of these alone: a million values are not encoded because of a few. A key that is popped and put
    again comes last, here and in the table.
    """

    __slots__ = ("_changed", "_column", "_keys", "_name", "_superseded", "_table", "of")

    def __init__(self, keys: Mapping[str, pl.DataType], column: Column[V]) -> None:
        """Keep values by a key of these columns."""
        self._keys = dict(keys)
        self._column = column
        self._name = column.name
        while self._name in self._keys:
            self._name = f"_{self._name}"
        self.of: dict[Key, V] = {}
        self._table: pl.DataFrame | None = None
        self._changed: dict[Key, Any] | None = None
        """What was put or popped since `_table` was made."""
        self._superseded = 0
        """Rows whose text `_table` may still hold in memory though it no longer has them."""

    def put(self, key: Key, value: V) -> None:
        """Keep a value."""
        self.of[key] = value
        if self._changed is not None:
            self._changed[key] = value

    def pop(self, key: Key) -> V | None:
        """Forget a key; return what it had."""
        if self._changed is not None:
            self._changed.pop(key, None)
            self._changed[key] = _GONE
        return self.of.pop(key, None)

    def snapshot(self) -> pl.DataFrame:
        """Return a row for each key; raises what the encoding of a value does."""
        table = self._brought_up()
        if table is None:
            table, self._superseded = self._rows(self.of, self.of.values(), None), 0
        self._table, self._changed = table, {}
        return table

    def _brought_up(self) -> pl.DataFrame | None:
        """Return the last table with what has changed, or None if it has to be made anew."""
        table, changed = self._table, self._changed
        if table is None or changed is None or not self._keys:
            return None
        if not changed:
            return table
        plain = table.dtypes[-1] != pl.Binary()
        if plain and len(changed) > table.height * _MOST_CHANGED:
            return None
        gone = pl.DataFrame(self._key_columns(changed))
        stay = table.join(
            gone, on=list(self._keys), how="anti", nulls_equal=True, maintain_order="left"
        )
        if not stay.height:
            return None
        kept = {key: value for key, value in changed.items() if value is not _GONE}
        made = self._rows(kept, kept.values(), stay.dtypes[-1])
        if made.schema != stay.schema:
            return None
        self._superseded += len(changed)
        table = pl.concat([stay, made], rechunk=True)
        if self._superseded > table.height:
            table, self._superseded = _compact(table), 0
        return table

    def restore(self, table: pl.DataFrame) -> None:
        """Take back what `snapshot` gave; raises what the decoding of a value does."""
        kept = self._column.decode(table.to_series(len(self._keys)))
        self.of.clear()
        self.of.update(zip(keys_of(table, tuple(self._keys)), kept, strict=True))
        self._table, self._changed = table, {}

    def _rows(
        self, keys: Collection[Key], kept: Iterable[V], dtype: pl.DataType | None
    ) -> pl.DataFrame:
        column = self._column.encode(list(kept), dtype).alias(self._name)
        return pl.DataFrame([*self._key_columns(keys), column])

    def _key_columns(self, keys: Collection[Key]) -> list[pl.Series]:
        columns = []
        for place, (name, dtype) in enumerate(self._keys.items()):
            zone = dtype.time_zone if isinstance(dtype, pl.Datetime) else None
            column = pl.Series(
                name, [key[place] for key in keys], dtype=_INSTANT if zone else dtype
            )
            columns.append(column.dt.convert_time_zone(zone) if zone else column)
        return columns


def keys_of(rows: pl.DataFrame, names: tuple[str, ...]) -> list[Key]:
    """Return each row's key; what is equal in columns is equal as a key, and one value.

    NaN is one object, zero has no sign, and times are in UTC: in a zone of its own, Python takes
    the two times for equal that an hour put back gives the same name.
    """
    if not names:
        return [()] * rows.height
    floats = any(rows.schema[name].is_float() for name in names)
    keys = rows.select([_canonical(name, rows.schema[name]) for name in names]).rows()
    if floats:
        return [tuple(_NAN if part != part else part for part in key) for key in keys]
    return keys


def _canonical(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if dtype.is_float():
        return pl.when(column == 0).then(pl.lit(0.0, dtype)).otherwise(column).alias(name)
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        return column.dt.convert_time_zone("UTC")
    return column


def _compact(table: pl.DataFrame) -> pl.DataFrame:
    """Return the table with text of its own: polars keeps that of rows that are gone."""
    oldest = pl.CompatLevel.oldest()
    return table.with_columns(
        pl.Series(column.name, column.to_arrow(compat_level=oldest))
        for column in table
        if column.dtype in (pl.String, pl.Binary)
    )
