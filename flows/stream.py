"""Streams as they are written: what a ``Stream -> Stream`` function works on, at load.

A `Stream` holds no rows. Its methods add operators to the graph and return the next stream; every
expression is tried on an empty frame of the stream's columns, so that an unknown column or a type
that does not fit is found before a row moves.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Generic, Literal, NoReturn, TypeVar

import polars as pl

from .draft import Draft
from .dryrun import check_known, followed, tried
from .durations import Duration, microseconds
from .errors import ExpressionError, SchemaError
from .expressions import check_row_wise, output_name, uses_selector
from .graph import Edge
from .keyedstream import Keyed, Windowed
from .operators.asof import AsofJoin, asof_schema
from .operators.changes import Changes, changes_schema
from .operators.columns import Columns, Step
from .operators.function import RowFunction
from .operators.interval import IntervalJoin, interval_schema
from .operators.lookup import LookupJoin, lookup_schema
from .operators.union import Union
from .operators.window import Emit
from .operators.window_join import WindowJoin, window_join_schema
from .schema import Schema, can_be_key, differences, schema_of
from .windows import HoppingWindow, Window

__all__ = ["Keyed", "Stream", "Windowed"]

T = TypeVar("T")
JoinHow = Literal["inner", "left", "full"]


class Stream(Generic[T]):
    """A stream of rows of the event T, to be transformed by columns."""

    __form__: ClassVar = "stream"  # how `signature` knows it in an annotation
    __slots__ = ("_draft", "_edge", "schema")

    def __init__(self, draft: Draft, edge: Edge, schema: Schema) -> None:
        self._draft = draft
        self._edge = edge
        self.schema = schema
        """The columns as they are here."""

    # Row by row

    def filter(self, *predicates: pl.Expr) -> Stream[T]:
        """Keep the rows for which all predicates are true (null is not true)."""
        if not predicates:
            raise ExpressionError("filter() without a predicate")
        self._check(predicates)
        for predicate in predicates:
            found = tried(self.schema, operator.methodcaller("select", predicate)).dtypes
            if any(dtype != pl.Boolean for dtype in found):
                listed = ", ".join(str(dtype) for dtype in found)
                raise ExpressionError(f"filter({predicate}) gives {listed}, not true or false")
        return self._columns(Step("filter", predicates), self.schema)

    def select(self, *columns: pl.Expr | str, **named: pl.Expr) -> Stream[Any]:
        """Keep these columns and no others; ``name=expression`` makes one."""
        return self._made("select", columns, named)

    def with_columns(self, *columns: pl.Expr | str, **named: pl.Expr) -> Stream[Any]:
        """Add columns, or replace those of the same name."""
        return self._made("with_columns", columns, named)

    def map(self, function: Callable[..., Any]) -> Stream[Any]:
        """Call a function on every row as an event; it returns an event, or None for no row.

        Its annotations name the event classes: ``def fahrenheit(row: Reading) -> Reading``.
        """
        return self._per_row(function, many=False)

    def flat_map(self, function: Callable[..., Any]) -> Stream[Any]:
        """Call a function on every row as an event; it returns or yields any number of events."""
        return self._per_row(function, many=True)

    def split(self, predicate: pl.Expr) -> tuple[Stream[T], Stream[T]]:
        """Return the rows for which the predicate is true, and all others (null included)."""
        true = predicate.fill_null(False)
        return self.filter(true), self.filter(~true)

    # Several streams

    def union(self, *others: Stream[Any]) -> Stream[T]:
        """Put the rows of streams of the same columns together."""
        for other in others:
            found = differences(other.schema, self.schema)
            if found or self.schema.key is not None or other.schema.key is not None:
                if not found:
                    raise SchemaError("union takes append streams; call .changes() on an upsert")
                raise SchemaError(f"union of different streams: {'; '.join(found)}")
        names = self.schema.names
        streams = (self, *(o if o.schema.names == names else o.select(*names) for o in others))
        edges = [stream._edge for stream in streams]
        return self._add(Union(len(edges)), self.schema, inputs=edges)

    def join_asof(
        self,
        right: Stream[Any],
        *,
        by: str | list[str] | None = None,
        tolerance: Duration | None = None,
        strategy: Literal["backward", "forward", "nearest"] = "backward",
        how: Literal["left", "inner"] = "left",
        suffix: str = "_right",
    ) -> Stream[Any]:
        """Give each row the newest row of `right` that is not newer than it, of equal `by`.

        `tolerance` is how far apart the two may be. With `strategy` "forward" it is the oldest
        row that is not older, with "nearest" the closest; both need a tolerance. A row leaves
        once the watermarks of both sides have passed what it can match.
        """
        keys = _names(by)
        limit = None if tolerance is None else microseconds(tolerance)
        schema = asof_schema(self.schema, right.schema, keys, how=how, suffix=suffix)
        spec = AsofJoin(keys, self._time(), right._time(), limit, strategy, how, suffix)
        return self._add(spec, schema, inputs=[self._edge, right._edge], keys=keys)

    def join_interval(
        self,
        right: Stream[Any],
        *,
        by: str | list[str],
        before: Duration = "0s",
        after: Duration = "0s",
        how: JoinHow = "inner",
        suffix: str = "_right",
    ) -> Stream[Any]:
        """Pair rows of equal `by` if right is at most `before` older and `after` newer than left.

        The pair has the event time of left; it leaves once the watermark has passed both rows.
        """
        keys = _names(by)
        schema = interval_schema(self.schema, right.schema, keys, how=how, suffix=suffix)
        spec = IntervalJoin(
            keys,
            self._time(),
            right._time(),
            microseconds(before),
            microseconds(after),
            how,
            suffix,
        )
        return self._add(spec, schema, inputs=[self._edge, right._edge], keys=keys)

    def join_window(
        self,
        right: Stream[Any],
        *,
        by: str | list[str],
        window: Window,
        how: JoinHow = "inner",
        suffix: str = "_right",
    ) -> Stream[Any]:
        """Pair rows of equal `by` in the same tumbling or hopping window; `start`, `end` added."""
        if not isinstance(window, HoppingWindow) or window.time != "event":
            raise SchemaError(f"join_window takes tumbling or hopping event time, not {window}")
        keys = _names(by)
        schema = window_join_schema(self.schema, right.schema, keys, how=how, suffix=suffix)
        spec = WindowJoin(
            keys,
            self._time(),
            right._time(),
            window.size,
            window.every,
            window.offset,
            how,
            suffix,
        )
        return self._add(spec, schema, inputs=[self._edge, right._edge], keys=keys)

    def lookup(
        self,
        table: Stream[Any],
        *,
        by: str | list[str],
        table_by: str | list[str] | None = None,
        how: Literal["left", "inner"] = "left",
        broadcast: bool = False,
        suffix: str = "_right",
    ) -> Stream[Any]:
        """Give each row the row of a changing table that held at its event time.

        `table` is an upsert stream, or an append stream of which the newest row of a key counts.
        With `broadcast`, every shard gets the whole (small) table, and this stream stays
        partitioned as it is.
        """
        keys = _names(by)
        table_keys = keys if table_by is None else _names(table_by)
        schema = lookup_schema(self.schema, table.schema, keys, table_keys, how=how, suffix=suffix)
        spec = LookupJoin(keys, table_keys, self._time(), table._time(), how, suffix)
        return self._add(
            spec,
            schema,
            inputs=[self._edge, table._edge],
            keys=None if broadcast else keys,
            broadcast=frozenset({1}) if broadcast else frozenset(),
        )

    # By key, by time

    def key_by(self, *columns: str) -> Keyed[T]:
        """Group by the values of columns: what follows works on each key for itself."""
        if not columns:
            raise ExpressionError("key_by() without a column; without key_by, all rows are one key")
        for column in columns:
            if not isinstance(column, str):
                raise ExpressionError(
                    f"key_by({column}) takes names of columns; make one with with_columns first"
                )
            check_known(self.schema, column)
            dtype = self.schema.dtype(column)
            if not can_be_key(dtype):
                raise ExpressionError(
                    f"key_by({column!r}): a key is no list, nested event or integer of 128 bits, "
                    f"and that is {dtype}"
                )
        return Keyed(self, columns)

    def window(
        self, window: Window, *, lateness: Duration = "0s", emit: Emit = "close"
    ) -> Windowed[T]:
        """Cut the whole stream, as one key, into windows; see `Keyed.window`."""
        return Keyed(self, ()).window(window, lateness=lateness, emit=emit)

    def top(self, k: int, *, by: str, descending: bool = True) -> Stream[Any]:
        """Keep the k best rows so far, as an upsert stream by `rank`; see `Keyed.top`."""
        return Keyed(self, ()).top(k, by=by, descending=descending)

    def changes(self) -> Stream[Any]:
        """Turn an upsert stream into an append stream with a column `change`.

        `change` is "upsert" or "delete"; a deleted row has its key and nulls.
        """
        if self.schema.key is None:
            raise SchemaError("changes() is for an upsert stream; this one only appends")
        return self._add(Changes(), changes_schema(self.schema))

    # What a newcomer tries

    def __bool__(self) -> NoReturn:
        raise ExpressionError(
            "a Stream has no rows while the flow is loaded, so `if` cannot ask it; write "
            "rows.filter(pl.col('x') > 3), or annotate the input with the event class to work "
            "row by row"
        )

    def __iter__(self) -> Iterator[NoReturn]:
        raise ExpressionError(
            "a Stream has no rows while the flow is loaded, so `for` cannot go over it; annotate "
            "the input with the event class (row: Reading) to be called for each row"
        )

    def __getitem__(self, name: object) -> NoReturn:
        raise ExpressionError(f"a Stream holds no rows; a column is written pl.col({name!r})")

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(name)
        if name in ("group_by", "groupby"):
            raise ExpressionError(f"a Stream has no .{name}(); write .key_by(…).window(…)")
        if name in ("agg", "sum", "mean", "count", "len", "min", "max"):
            raise ExpressionError(
                f"a Stream has no end, so .{name}() needs a window: "
                f".window(hw.tumbling('1m')).agg(…), or hw.whole() for a stream that ends"
            )
        if name == "join":
            raise ExpressionError(
                "a Stream has no .join(), as it has no end; join by time: .join_asof(…), "
                ".join_interval(…), .join_window(…), or .lookup(…) for a table"
            )
        if name in self.schema.names:
            raise ExpressionError(f"a column is written pl.col({name!r}), not .{name}")
        raise AttributeError(f"a Stream has no .{name}; see the reference of headwater.Stream")

    # Inside

    def _check(self, expressions: tuple[pl.Expr, ...]) -> None:
        for expression in expressions:
            check_row_wise(expression)

    def _check_key_kept(self, expressions: tuple[pl.Expr, ...]) -> None:
        for expression in expressions if self.schema.key else ():
            if uses_selector(expression):
                continue
            name, bare = output_name(expression), expression.meta.undo_aliases()
            same = bare.meta.is_column() and bare.meta.output_name() == name
            if not same and name in (self.schema.key or ()):
                raise SchemaError(
                    f"{name!r} is of the key by which rows of this stream replace earlier ones, "
                    f"and cannot be made anew; give the new column another name"
                )

    def _time(self) -> str:
        if self.schema.event_time is None:
            listed = ", ".join(self.schema.names)
            raise SchemaError(
                f"this needs event time, and the stream has none: {listed}; give its event a field "
                f"of type hw.EventTime, and keep that column in select"
            )
        return self.schema.event_time

    def _made(
        self,
        kind: Literal["select", "with_columns"],
        columns: tuple[pl.Expr | str, ...],
        named: dict[str, pl.Expr],
    ) -> Stream[Any]:
        expressions = (
            *(pl.col(c) if isinstance(c, str) else c for c in columns),
            *(e.alias(n) for n, e in ((n, _expression(e)) for n, e in named.items())),
        )
        self._check(expressions)
        self._check_key_kept(expressions)
        made = tried(self.schema, lambda frame: getattr(frame, kind)(*expressions))
        return self._columns(Step(kind, expressions), followed(self.schema, made.schema))

    def _columns(self, step: Step, schema: Schema) -> Stream[Any]:
        return self._add(Columns((step,), upsert=self.schema.key is not None), schema)

    def _per_row(self, function: Callable[..., Any], *, many: bool) -> Stream[Any]:
        from .signature import SignatureError, read_signature

        self.append_only("a function per row")
        name = getattr(function, "__name__", "the function")
        try:
            signature = read_signature(function, self._draft.scope)
        except SignatureError as error:
            raise SchemaError(f"{name}({error.parameter or ''}): {error}") from None
        if signature.kind != "row" or signature.events[0] is None:
            raise SchemaError(f"{name} takes no event; annotate its parameter: (row: Reading)")
        if signature.injected or signature.fired or signature.asynchronous:
            raise SchemaError(
                f"{name} is more than a function of a row; make it an operator of its own: "
                f"@flow.operator(…)"
            )
        output = signature.returned.event
        if output is None:
            raise SchemaError(f"{name} returns no event; annotate what it returns")
        wanted = schema_of(signature.events[0])
        found = differences(self.schema, wanted)
        if found:
            raise SchemaError(f"{name}({signature.inputs[0]}): {'; '.join(found)}")
        spec = RowFunction(
            function,
            (signature.events[0],),
            output,
            many or signature.returned.many,
            signature.returned.optional,
        )
        narrowed = self if self.schema.names == wanted.names else self.select(*wanted.names)
        return narrowed._add(spec, schema_of(output))

    def append_only(self, what: str) -> None:
        """Raise `SchemaError` if this is an upsert stream, which `what` cannot take."""
        if self.schema.key is not None:
            raise SchemaError(
                f"{what} needs a stream that only appends, and this one replaces earlier rows by "
                f"({', '.join(self.schema.key)}); use emit='close', or .changes() to see each "
                f"change as a row"
            )

    def _add(
        self,
        spec: Any,
        schema: Schema,
        *,
        inputs: list[Edge] | None = None,
        keys: tuple[str, ...] | None = None,
        broadcast: frozenset[int] = frozenset(),
        notes: tuple[str, ...] = (),
    ) -> Stream[Any]:
        edge = self._draft.add(
            spec,
            [self._edge] if inputs is None else inputs,
            schema,
            keys=keys,
            broadcast=broadcast,
            notes=notes,
        )
        return Stream(self._draft, edge, schema)


def _expression(value: object) -> pl.Expr:
    if isinstance(value, pl.Expr):
        return value
    if isinstance(value, str):
        return pl.col(value)
    return pl.lit(value)


def _names(by: str | list[str] | None) -> tuple[str, ...]:
    if by is None:
        return ()
    return (by,) if isinstance(by, str) else tuple(by)
