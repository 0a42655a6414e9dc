"""Streams by key and by window, as they are written; see `stream`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Generic, NoReturn, TypeVar

import polars as pl

from .aggregates import Aggregate
from .decompose import Buffered, Incremental, decompose
from .durations import Duration, microseconds
from .errors import ExpressionError, SchemaError
from .fallible import fallible
from .operators.columns import Columns, Step
from .operators.deduplicate import Deduplicate, deduplicate_schema
from .operators.ordered_window import OrderedWindow, ordered_window_schema
from .operators.running import Running, running_schema
from .operators.stamped import Stamped, stamped_schema
from .operators.top import Top, top_schema
from .operators.window import Emit, WindowAggregate, window_schema
from .schema import Schema
from .windows import CountWindow, HoppingWindow, WholeWindow, Window

if TYPE_CHECKING:
    from .stream import Stream

__all__ = ["Keyed", "Windowed"]

T = TypeVar("T")
Aggregated = pl.Expr | Aggregate[Any]


class Keyed(Generic[T]):
    """A stream grouped by key: only what works on each key for itself."""

    __form__: ClassVar = "keyed"  # how `signature` knows it in an annotation
    __slots__ = ("_keys", "_stream")

    def __init__(self, stream: Stream[T], keys: tuple[str, ...]) -> None:
        self._stream = stream
        self._keys = keys

    def window(
        self, window: Window, *, lateness: Duration = "0s", emit: Emit = "close"
    ) -> Windowed[T]:
        """Cut each key's rows into windows.

        `lateness` keeps a window open so much longer for rows that come late. `emit` "close"
        gives one row when a window closes; "updates" gives an upsert stream with a row whenever
        an open window changes. In processing time no row is late, and a row's event time becomes
        the time it was seen.
        """
        stream = self._stream
        stream.append_only("a window")
        by_clock = not isinstance(window, WholeWindow) and window.time == "processing"
        if by_clock and not isinstance(window, HoppingWindow):
            stream = stream._add(Stamped(), stamped_schema(stream.schema))
        elif not by_clock and not isinstance(window, WholeWindow | CountWindow):
            stream._time()
        return Windowed(stream, self._keys, window, microseconds(lateness), emit)

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(name)
        if name in ("agg", "sum", "mean", "count", "len", "min", "max", "median", "first", "last"):
            raise ExpressionError(
                f"a key has no end, so .{name}() needs a window: "
                f".window(hw.tumbling('1m')).agg(…), or hw.whole() for a stream that ends; for "
                f"an aggregate of the rows so far, .running(…)"
            )
        raise AttributeError(
            f"a keyed stream has no .{name}; it has .window, .running, .deduplicate and .top; "
            f"what works row by row stands before .key_by(…)"
        )

    def running(self, *, ttl: Duration | None = None, **columns: Aggregated) -> Stream[Any]:
        """Add to each row the aggregates of its key's rows so far, itself included.

        Rows come in event-time order. A key that had no row for `ttl` starts anew.
        """
        stream = self._stream
        stream.append_only("a running aggregate")
        aggregates = _aggregates(stream.schema, columns)
        stream = _sound(stream, columns)
        span = None if ttl is None else microseconds(ttl)
        schema = running_schema(stream.schema, self._keys, aggregates, span)
        spec = Running(self._keys, aggregates, span)
        return stream._add(spec, schema, keys=self._keys)

    def deduplicate(self, *, within: Duration | None = None) -> Stream[T]:
        """Let the earliest row of a key pass, and drop those within `within` after it."""
        stream = self._stream
        stream.append_only("deduplicate")
        span = None if within is None else microseconds(within)
        schema = deduplicate_schema(stream.schema, self._keys, span)
        return stream._add(Deduplicate(self._keys, span), schema, keys=self._keys)

    def top(self, k: int, *, by: str, descending: bool = True) -> Stream[Any]:
        """Keep the k best rows of each key so far, as an upsert stream by (key, `rank`)."""
        stream = self._stream
        stream.append_only("top")
        schema = top_schema(stream.schema, self._keys, k, by, None)
        return stream._add(Top(self._keys, k, by, descending, None), schema, keys=self._keys)


class Windowed(Generic[T]):
    """A keyed stream cut into windows, to be aggregated."""

    __slots__ = ("_emit", "_keys", "_lateness", "_stream", "_window")

    def __init__(
        self, stream: Stream[T], keys: tuple[str, ...], window: Window, lateness: int, emit: Emit
    ) -> None:
        self._stream = stream
        self._keys = keys
        self._window = window
        self._lateness = lateness
        self._emit: Emit = emit

    def agg(self, *unnamed: Aggregated, **columns: Aggregated) -> Stream[Any]:
        """Aggregate each window: ``agg(n=pl.len(), mean=pl.col("celsius").mean())``.

        A row has the keys, `start`, `end`, the event time (end - 1 µs) and the aggregates.
        """
        if unnamed:
            raise ExpressionError("agg() takes its columns by name; write agg(n=pl.len())")
        if not columns:
            raise ExpressionError("agg() without a column; write agg(n=pl.len())")
        stream, window = self._stream, self._window
        aggregates = _aggregates(stream.schema, columns)
        stream = _sound(stream, columns)
        notes = tuple(
            f"{a.name} keeps its rows until the window closes: {a.reason}"
            for a in aggregates
            if isinstance(a, Buffered)
        )
        if isinstance(window, HoppingWindow | WholeWindow):
            schema = window_schema(stream.schema, self._keys, window, aggregates, self._emit)
            spec: Any = WindowAggregate(self._keys, window, aggregates, self._lateness, self._emit)
        else:
            schema = ordered_window_schema(
                stream.schema, self._keys, window, aggregates, self._emit
            )
            spec = OrderedWindow(self._keys, window, aggregates, self._lateness, self._emit)
        return stream._add(spec, schema, keys=self._keys, notes=notes)

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(name)
        raise AttributeError(
            f"a window has no .{name}; aggregate it: .agg(mean=pl.col('celsius').mean())"
        )

    def top(self, k: int, *, by: str, descending: bool = True) -> Stream[Any]:
        """Keep the k best rows of each key and window, with their `rank` from 1.

        A row has the window's `start`, `end` and event time (end - 1 µs).
        """
        if not isinstance(self._window, HoppingWindow) or self._emit != "close":
            raise SchemaError("top takes tumbling or hopping windows that emit on close")
        stream = self._stream
        schema = top_schema(stream.schema, self._keys, k, by, self._window)
        spec = Top(self._keys, k, by, descending, self._window, self._lateness)
        return stream._add(spec, schema, keys=self._keys)


def _sound(stream: Stream[T], columns: dict[str, Aggregated]) -> Stream[T]:
    """Return the stream without the rows that an input of an aggregate fails on."""
    given = [
        each
        for value in columns.values()
        for each in (value.inputs if isinstance(value, Aggregate) else [value])
    ]
    tried = fallible(each for each in given if isinstance(each, pl.Expr))
    if not tried:
        return stream
    named = tuple(each.alias(f"_hw_tried_{number}") for number, each in enumerate(tried))
    kept = tuple(pl.col(name) for name in stream.schema.names)
    steps = Step("with_columns", named), Step("select", kept)
    return stream._add(Columns(steps), stream.schema)


def _aggregates(
    schema: Schema, columns: dict[str, Aggregated]
) -> tuple[Incremental | Buffered, ...]:
    dtypes = dict(schema.columns)
    return tuple(decompose(name, value, dtypes) for name, value in columns.items())
