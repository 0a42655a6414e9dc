"""Aggregates: `agg(name=expr)` taken apart into folds, or buffered until the window closes.

`decompose` finds the aggregates inside an expression (`Part`s, each folded row by row over a
row-wise input) and the row-wise expression that finishes them. What has no incremental form is
`Buffered`. The engine's compiled folds take the numeric kinds; `fold_of` gives the Python fold of
every other. `Aggregate` is the base of a user's own.
"""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Context, Decimal
from typing import Any, Generic, TypeVar

import polars as pl

from .errors import ExpressionError
from .expressions import (
    Tree,
    check_row_wise,
    columns_of,
    expression_of,
    function_of,
    method_of,
    output_name,
    split_node,
    tree_of,
    uses_selector,
)
from .sketches import DistinctSketch, QuantileSketch

__all__ = [
    "Aggregate",
    "Buffered",
    "Incremental",
    "Part",
    "PythonFold",
    "approx_quantile",
    "decompose",
    "fold_of",
]

S = TypeVar("S")

_FAILURES = (pl.exceptions.PolarsError, pl.exceptions.PanicException)
_TEMPORAL = (pl.Date, pl.Datetime, pl.Duration, pl.Time)
_INTEGERS = frozenset({"Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "Boolean"})
_KINDS = {
    "Sum": "sum", "Mean": "mean", "Min": "min", "Max": "max", "Var": "var", "Std": "std",
    "First": "first", "Last": "last", "FirstNonNull": "first", "LastNonNull": "last",
    "Count": "count",
}  # fmt: skip
_SKIP_NULLS = frozenset({"sum", "mean", "min", "max", "var", "std", "count"})


_COUNTED: dict[str, pl.DataType] = {
    "len": pl.Int64(), "count": pl.Int64(), "approx_n_unique": pl.Int64(),
    "var": pl.Float64(), "std": pl.Float64(), "approx_quantile": pl.Float64(),
}  # fmt: skip
_EXACT = Context(prec=200)


class Aggregate(ABC, Generic[S]):
    """A user's own aggregate: `agg(p99=MyAggregate("celsius"))`.

    `init`, `add`, `merge` and `result` fold the rows of a group; `add` gets the input's value (a
    tuple if there are several inputs, None for null) and returns the state, which it may change in
    place. `merge` must not depend on the order of its arguments. States are pickled in snapshots.
    `returns` is the type of the result: a polars type, or int, float, str, bool, datetime ...
    """

    returns: pl.DataType | type[object]

    def __init__(self, *inputs: str | pl.Expr) -> None:
        if not inputs:
            raise ExpressionError(f"{type(self).__name__} needs a column or an expression to read")
        self.inputs: tuple[str | pl.Expr, ...] = inputs

    @abstractmethod
    def init(self) -> S:
        """The state of a group without rows."""

    @abstractmethod
    def add(self, state: S, value: Any) -> S:
        """The state after one more row."""

    @abstractmethod
    def merge(self, a: S, b: S) -> S:
        """The state of the rows of both."""

    @abstractmethod
    def result(self, state: S) -> object:
        """What the group gives: a value of type `returns`, or None."""


class _ApproxQuantile(Aggregate[QuantileSketch]):
    returns = pl.Float64()

    def __init__(self, column: str | pl.Expr, q: float) -> None:
        if not 0 <= q <= 1:
            raise ExpressionError(f"a quantile lies between 0 and 1, not {q}")
        super().__init__(column)
        self.q = q

    def init(self) -> QuantileSketch:
        return QuantileSketch()

    def add(self, state: QuantileSketch, value: float | None) -> QuantileSketch:
        if value is not None:
            state.add(value)
        return state

    def merge(self, a: QuantileSketch, b: QuantileSketch) -> QuantileSketch:
        a.merge(b)
        return a

    def result(self, state: QuantileSketch) -> float | None:
        return state.quantile(self.q)


def approx_quantile(column: str | pl.Expr, q: float) -> Aggregate[QuantileSketch]:
    """The q-quantile (0 to 1) of a number, within 1 % of the exact value, in bounded memory.

    Exact means the value of rank floor(q * (n - 1)); nulls and NaNs are left out.
    """
    return _ApproxQuantile(column, q)


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One fold: its kind, its row-wise input, and the column that it gives to the finish.

    kind: len, count, sum, mean, min, max, var, std, first, last, approx_n_unique, approx_quantile
    or custom. parameters: (ddof,) of var and std, (skip nulls,) of first and last, (q,) of
    approx_quantile, (aggregate,) of custom. `encoded` is the type that the fold takes, after
    `encoded_input`; `compiled` says whether that is an Int64 or Float64 fold of the engine, else
    `fold_of` gives the fold. Numeric folds skip nulls.
    """

    kind: str
    input: pl.Expr | None
    dtype_in: pl.DataType | None
    dtype_out: pl.DataType
    parameters: tuple[Any, ...] = ()
    encoded: pl.DataType | None = None
    compiled: bool = False

    def encoded_input(self) -> pl.Expr | None:
        """The expression to evaluate for each batch; None for `len`, which counts rows."""
        if self.input is None or self.kind == "len":
            return None
        if self.kind == "count":
            return pl.when(self.input.is_not_null()).then(pl.lit(1, pl.Int64))
        if self.dtype_in == self.encoded or self.encoded is None:
            return self.input
        physical = self.input.to_physical() if isinstance(self.dtype_in, _TEMPORAL) else self.input
        return physical.cast(self.encoded)

    def column(self, name: str, values: Sequence[object] | pl.Series) -> pl.Series:
        """The folds' results, one for each group, as the column `name` of type `dtype_out`."""
        dtype = _COUNTED.get(self.kind) or self.encoded or self.dtype_out
        if self.kind == "mean" and self.compiled:
            dtype = pl.Float64()
        if self.kind == "sum" and isinstance(self.dtype_out, pl.Decimal):
            dtype = self.dtype_out
        try:
            raw = pl.Series(name, values, dtype=dtype)
        except (TypeError, *_FAILURES) as error:
            raise ExpressionError(f"a {self.kind} aggregate must give {dtype}: {error}") from error
        return raw if dtype == self.dtype_out else raw.cast(self.dtype_out, wrap_numerical=True)


def part_of(aggregate: Aggregate[Any], value: pl.Expr, dtype: pl.DataType) -> Part:
    """The part of a user's aggregate over a row-wise expression of this type."""
    if isinstance(aggregate, _ApproxQuantile):
        if not dtype.is_numeric():
            raise ExpressionError(f"approx_quantile takes numbers, not {dtype}")
        out = pl.Float64()
        return Part("approx_quantile", value, dtype, out, (aggregate.q,), pl.Float64())
    return Part("custom", value, dtype, _returned(aggregate), (aggregate,))


def _returned(aggregate: Aggregate[Any]) -> pl.DataType:
    returns = getattr(aggregate, "returns", None)
    if returns is datetime:
        return pl.Datetime("us", "UTC")
    try:
        return pl.Series([], dtype=returns).dtype if returns is not None else _unknown(returns)
    except (TypeError, ValueError):
        return _unknown(returns)


def _unknown(returns: object) -> pl.DataType:
    raise ExpressionError(
        f"an Aggregate says what it gives in `returns`, such as `returns = float`; found {returns}"
    )


class PythonFold(ABC, Generic[S]):
    """A fold in Python over encoded values.

    `add` takes the row's order key (event time, then all columns) where `ordered` is true, else
    anything; rows may come in any order, and states may be merged in any order. States pickle.
    """

    __slots__ = ()
    ordered = False

    @abstractmethod
    def init(self) -> S:
        """The state of a group without rows."""

    @abstractmethod
    def add(self, state: S, order_key: Any, value: Any) -> S:
        """The state after one more row."""

    @abstractmethod
    def merge(self, a: S, b: S) -> S:
        """The state of the rows of both; it may change and return `a`."""

    @abstractmethod
    def result(self, state: S) -> object:
        """The value of the group, for `Part.column`."""


def fold_of(part: Part) -> PythonFold[Any]:
    """The Python fold of a part that is not `compiled`; raises ValueError for one that is."""
    if part.kind in ("first", "last"):
        return _End(part.kind == "last", part.parameters == (True,))
    if part.kind in ("min", "max") and not part.compiled:
        return _Extreme(part.kind == "max")
    if part.kind == "sum" and isinstance(part.dtype_in, pl.Decimal):
        return _DecimalSum()
    if part.kind == "mean" and isinstance(part.dtype_in, pl.Duration):
        return _ExactMean()
    if part.kind == "approx_n_unique":
        return _Distinct()
    if part.kind == "approx_quantile":
        return _Custom(_ApproxQuantile(pl.lit(None), part.parameters[0]), False)
    if part.kind == "custom":
        aggregate: Aggregate[Any] = part.parameters[0]
        return _Custom(aggregate, len(aggregate.inputs) > 1)
    raise ValueError(f"the fold of {part.kind} over {part.dtype_in} is the engine's")


@dataclass(frozen=True, slots=True)
class _End(PythonFold[tuple[Any, Any] | None]):
    """The value of the row whose order key is the least, or the greatest."""

    last: bool
    skip_nulls: bool
    ordered = True

    def init(self) -> tuple[Any, Any] | None:
        return None

    def add(self, state: tuple[Any, Any] | None, order_key: Any, value: Any) -> Any:
        if value is None and self.skip_nulls:
            return state
        return self.merge(state, (order_key, value))

    def merge(self, a: tuple[Any, Any] | None, b: tuple[Any, Any] | None) -> Any:
        if a is None or b is None:
            return b if a is None else a
        return b if (b[0] > a[0] if self.last else b[0] < a[0]) else a

    def result(self, state: tuple[Any, Any] | None) -> object:
        return None if state is None else state[1]


@dataclass(frozen=True, slots=True)
class _Extreme(PythonFold[Any]):
    """The least or greatest value that is not null."""

    largest: bool

    def init(self) -> Any:
        return None

    def add(self, state: Any, order_key: Any, value: Any) -> Any:
        return self.merge(state, value)

    def merge(self, a: Any, b: Any) -> Any:
        if a is None or b is None:
            return b if a is None else a
        return b if (b > a if self.largest else b < a) else a

    def result(self, state: Any) -> object:
        return state


class _DecimalSum(PythonFold[Decimal]):
    """The exact sum of the decimals that are not null."""

    __slots__ = ()

    def init(self) -> Decimal:
        return Decimal(0)

    def add(self, state: Decimal, order_key: Any, value: Decimal | None) -> Decimal:
        return state if value is None else _EXACT.add(state, value)

    def merge(self, a: Decimal, b: Decimal) -> Decimal:
        return _EXACT.add(a, b)

    def result(self, state: Decimal) -> Decimal:
        return state


class _ExactMean(PythonFold[tuple[int, int]]):
    """The mean of integers (ticks of a duration), summed exactly, cut towards zero as in polars."""

    __slots__ = ()

    def init(self) -> tuple[int, int]:
        return 0, 0

    def add(self, state: tuple[int, int], order_key: Any, value: int | None) -> tuple[int, int]:
        return state if value is None else (state[0] + value, state[1] + 1)

    def merge(self, a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
        return a[0] + b[0], a[1] + b[1]

    def result(self, state: tuple[int, int]) -> int | None:
        return int(state[0] / state[1]) if state[1] else None


class _Distinct(PythonFold[DistinctSketch]):
    __slots__ = ()

    def init(self) -> DistinctSketch:
        return DistinctSketch()

    def add(self, state: DistinctSketch, order_key: Any, value: object) -> DistinctSketch:
        state.add(value)
        return state

    def merge(self, a: DistinctSketch, b: DistinctSketch) -> DistinctSketch:
        a.merge(b)
        return a

    def result(self, state: DistinctSketch) -> int:
        return state.estimate()


@dataclass(frozen=True, slots=True)
class _Custom(PythonFold[Any]):
    aggregate: Aggregate[Any]
    several: bool

    def init(self) -> Any:
        return self.aggregate.init()

    def add(self, state: Any, order_key: Any, value: Any) -> Any:
        given = tuple(value.values()) if self.several else value
        return self.aggregate.add(state, given)

    def merge(self, a: Any, b: Any) -> Any:
        return self.aggregate.merge(a, b)

    def result(self, state: Any) -> object:
        return self.aggregate.result(state)


@dataclass(frozen=True, slots=True, eq=False)
class Incremental:
    """An aggregate of folds: evaluate `finish` over columns `__0`, `__1` ... of the parts.

    `finish` is row-wise, named `name` and of type `dtype`, so many groups finish at once.
    """

    name: str
    parts: tuple[Part, ...]
    finish: pl.Expr
    dtype: pl.DataType


@dataclass(frozen=True, slots=True, eq=False)
class Buffered:
    """An aggregate whose rows are kept until the window closes, and the reason for the graph."""

    name: str
    expr: pl.Expr
    reason: str
    dtype: pl.DataType


class _NoFold(Exception):
    """Why an expression is buffered."""


def decompose(
    name: str, expr: pl.Expr | Aggregate[Any], schema: Mapping[str, pl.DataType]
) -> Incremental | Buffered:
    """Take apart `agg(name=expr)` over rows of this schema.

    Raises `ExpressionError` for an unknown column, what polars refuses, a Python function, and an
    expression that does not give one value for a group.
    """
    if isinstance(expr, Aggregate):
        return _decompose_custom(name, expr, schema)
    tree = tree_of(expr)
    _check_columns(expr, schema)
    dtype = _reduced_dtype(name, expr, schema)
    cutter = _Cutter(pl.DataFrame(schema=dict(schema)))
    try:
        finish = cutter.finish(tree, dtype).alias(name)
    except _NoFold as why:
        return Buffered(name, expr, str(why), dtype)
    return Incremental(name, tuple(cutter.parts), finish, dtype)


@dataclass(slots=True)
class _Cutter:
    """Cuts the aggregates out of a tree; each becomes a part and, in the tree, a column."""

    empty: pl.DataFrame
    parts: list[Part] = field(default_factory=list)
    known: dict[str, int] = field(default_factory=dict)

    def finish(self, tree: Tree, dtype: pl.DataType) -> pl.Expr:
        while isinstance(tree, dict) and {"Alias", "RenameAlias", "KeepName"} & tree.keys():
            kind, payload = split_node(tree)
            if kind == "Alias":
                tree = payload[0]
            else:
                tree = payload["expr"] if kind == "RenameAlias" else payload
        expr = _built(self.cut(tree))
        _check_incremental(expr)
        if not self.parts:
            # A literal would give one row for any number of groups.
            self.parts.append(Part("len", None, None, pl.UInt32(), compiled=True))
            expr = pl.when(pl.col("__0").is_not_null()).then(expr)
        columns = pl.DataFrame(schema={f"__{i}": p.dtype_out for i, p in enumerate(self.parts)})
        try:
            found = columns.select(expr).dtypes[0]
        except _FAILURES as error:
            raise _NoFold("polars evaluates it over whole groups only") from error
        if found != dtype:
            raise _NoFold("its type depends on the whole expression")
        return expr

    def cut(self, node: Tree) -> Tree:
        found = _match(node)
        if found is not None:
            return self._cut_part(node, *found)
        name, payload = split_node(node)
        if name == "Alias":
            return {name: [self.cut(payload[0]), payload[1]]}
        if name == "Function":
            return {name: {**payload, "input": [self.cut(child) for child in payload["input"]]}}
        keys = {
            "BinaryExpr": ("left", "right"),
            "Cast": ("expr",),
            "Eval": ("expr",),
            "RenameAlias": ("expr",),
            "StructEval": ("expr",),
            "Ternary": ("predicate", "truthy", "falsy"),
        }.get(name, ())
        return {name: {**payload, **{k: self.cut(payload[k]) for k in keys}}} if keys else node

    def _cut_part(self, node: Tree, kind: str, tree: Tree, parameters: tuple[Any, ...]) -> Tree:
        boolean = kind in ("any", "all")
        kind = {"any": "max", "all": "min"}.get(kind, kind)
        key = repr((kind, tree, parameters))
        if key not in self.known:
            self.known[key] = len(self.parts)
            self.parts.append(self._part(node, kind, tree, parameters))
        column: Tree = {"Column": f"__{self.known[key]}"}
        if boolean:
            nothing = {"Literal": {"Scalar": {"Boolean": kind == "min"}}}
            column = {"Function": {"input": [column, nothing], "function": "FillNull"}}
        return {"Alias": [column, _built(node).meta.output_name()]}

    def _part(self, node: Tree, kind: str, tree: Tree, parameters: tuple[Any, ...]) -> Part:
        out = self._dtype(_built(node))
        if tree is None:
            return Part("len", None, None, pl.UInt32(), compiled=True)
        expr = _built(tree)
        _check_incremental(expr)
        if uses_selector(expr) or not columns_of(expr):
            raise _NoFold("it names no single column")
        dtype = self._dtype(expr)
        if kind == "len":
            return Part("len", None, None, pl.UInt32(), compiled=True)
        encoded, compiled = _encoding(kind, dtype)
        return Part(kind, expr, dtype, out, parameters, encoded, compiled)

    def _dtype(self, expr: pl.Expr) -> pl.DataType:
        try:
            return self.empty.select(expr).dtypes[0]
        except _FAILURES as error:
            raise _NoFold("polars evaluates it over whole groups only") from error


def _match(node: Tree) -> tuple[str, Tree, tuple[Any, ...]] | None:
    """The kind, input and parameters of a node that is an aggregate; None for any other."""
    name, payload = split_node(node)
    if name == "Len":
        return "len", None, ()
    if name == "Agg":
        return _match_aggregate(payload)
    if name != "Function":
        return None
    function, options = function_of(payload["function"])
    source = payload["input"][0] if payload["input"] else None
    if function == "ApproxNUnique":
        return _filtered("approx_n_unique", source, ())
    if function == "NullCount":
        null = {"Function": {"input": [source], "function": {"Boolean": "IsNull"}}}
        return "count", _where(null, {"Literal": {"Scalar": {"Boolean": True}}}), ()
    if function in ("Boolean.Any", "Boolean.All"):
        if not options["ignore_nulls"]:
            raise _NoFold(f"`{method_of(function)}` that keeps nulls has no incremental form")
        return _filtered(method_of(function)[:-2], source, ())
    return None


def _match_aggregate(payload: Any) -> tuple[str, Tree, tuple[Any, ...]]:
    name, inner = split_node(payload)
    if name not in _KINDS:
        raise _NoFold(f"`{method_of(f'Agg.{name}')}` has no incremental form")
    kind = _KINDS[name]
    if name in ("Var", "Std"):
        return _filtered(kind, inner[0], (inner[1],))
    if name in ("Min", "Max"):
        if inner["propagate_nans"]:
            raise _NoFold(f"`nan_{kind}()` has no incremental form")
        return _filtered(kind, inner["input"], ())
    if name == "Count":
        return _filtered("len" if inner["include_nulls"] else "count", inner["input"], ())
    if kind in ("first", "last"):
        return _filtered(kind, inner, (name.endswith("NonNull"),))
    return _filtered(kind, inner, ())


def _filtered(
    kind: str, source: Tree, parameters: tuple[Any, ...]
) -> tuple[str, Tree, tuple[Any, ...]]:
    """The same fold without `.filter(...)`: rows that do not pass become nulls, which it skips."""
    name, payload = split_node(source)
    function = function_of(payload["function"])[0] if name == "Function" else name
    if function not in ("Filter", "DropNulls", "DropNans"):
        return kind, source, parameters
    source = payload["input"] if name == "Filter" else payload["input"][0]
    if name == "Filter":
        passes = payload["by"]
    else:
        test = "IsNotNull" if function == "DropNulls" else "IsNotNan"
        passes = {"Function": {"input": [source], "function": {"Boolean": test}}}
    if kind == "len" and function != "DropNans":
        _check_incremental(_built(source))
        if columns_of(_built(source)):
            return "count", _where(passes, {"Literal": {"Scalar": {"Boolean": True}}}), ()
    skips = kind in _SKIP_NULLS or kind in ("any", "all") or parameters == (True,)
    if not skips:
        if function == "DropNulls" and kind in ("first", "last"):
            return kind, source, (True,)
        raise _NoFold(f"`{kind}()` of filtered rows has no incremental form")
    return kind, _where(passes, source), parameters


def _where(passes: Tree, value: Tree) -> Tree:
    null = {"Literal": {"Scalar": {"Null": "Null"}}}
    return {"Ternary": {"predicate": passes, "truthy": value, "falsy": null}}


def _built(tree: Tree) -> pl.Expr:
    expr = expression_of(tree)
    if expr is None:
        raise _NoFold("it holds a literal NaN or infinity")
    return expr


def _check_incremental(expr: pl.Expr) -> None:
    try:
        check_row_wise(expr)
    except ExpressionError as error:
        words = str(error).split("`")
        what = f"`{words[1]}`" if len(words) > 1 else "it"
        raise _NoFold(f"{what} has no incremental form") from error


def _encoding(kind: str, dtype: pl.DataType) -> tuple[pl.DataType, bool]:
    """The type that a fold of this kind takes, and whether the engine has that fold."""
    temporal = isinstance(dtype, _TEMPORAL)
    integer = str(dtype) in _INTEGERS
    if kind == "count":
        return pl.Int64(), True
    if kind in ("var", "std") or (kind == "mean" and not temporal):
        return pl.Float64(), True
    if kind in ("sum", "min", "max"):
        if integer or (temporal and (kind != "sum" or isinstance(dtype, pl.Duration))):
            return pl.Int64(), True
        if dtype.is_float():
            return pl.Float64(), True
        wide = isinstance(dtype, pl.UInt64 | pl.Int128 | pl.String | pl.Binary)
        if isinstance(dtype, pl.Decimal) or (wide and kind != "sum"):
            return dtype, False
    if kind == "mean" and isinstance(dtype, pl.Duration):
        return pl.Int64(), False
    if kind in ("first", "last", "approx_n_unique"):
        if temporal:
            return pl.Int64(), False
        if not dtype.is_nested():
            return dtype, False
    raise _NoFold(f"`{kind}()` of {dtype} has no incremental form")


def _check_columns(expr: pl.Expr, schema: Mapping[str, pl.DataType]) -> None:
    for column in sorted(columns_of(expr) - schema.keys()):
        close = difflib.get_close_matches(column, schema, n=1)
        hint = f"did you mean '{close[0]}'? " if close else ""
        has = ", ".join(schema)
        raise ExpressionError(f"unknown column '{column}'; {hint}the stream has {has}")


def _select(expr: pl.Expr, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """The expression over no row or, if it needs one, a row of nulls; raises if polars refuses."""
    frames = [
        pl.DataFrame(schema=dict(schema)),
        pl.DataFrame([pl.Series(column, [None], dtype=dtype) for column, dtype in schema.items()]),
    ]
    failures = []
    for frame in frames:
        try:
            return frame.select(expr)
        except _FAILURES as error:
            failures.append(error)
    reason = str(failures[0]).split("\n\nThis error occurred", 1)[0]
    raise ExpressionError(f"polars refuses `{expr}`: {reason}") from failures[0]


def _reduced_dtype(name: str, expr: pl.Expr, schema: Mapping[str, pl.DataType]) -> pl.DataType:
    """The type of the one value that a group gives; raises if it gives more or less."""
    result = _select(expr, schema)
    if result.width != 1:
        raise ExpressionError(f"agg({name}=...) gives {result.width} columns; name them one by one")
    try:
        scalar = expr.meta.is_scalar()
    except _FAILURES:
        rows = [pl.Series(column, [None, None], dtype=dtype) for column, dtype in schema.items()]
        scalar = pl.DataFrame(rows).select(expr).height == 1
    if not scalar:
        raise ExpressionError(
            f"agg({name}={expr}) does not give one value for a group; use an aggregate such as "
            ".mean(), or .implode() to keep all values as a list"
        )
    return result.dtypes[0]


def _decompose_custom(
    name: str, aggregate: Aggregate[Any], schema: Mapping[str, pl.DataType]
) -> Incremental:
    inputs: list[pl.Expr] = []
    for given in aggregate.inputs:
        expr = pl.col(given) if isinstance(given, str) else given
        check_row_wise(expr)
        _check_columns(expr, schema)
        output_name(expr)
        inputs.append(expr)
    single = len(inputs) == 1
    value = inputs[0] if single else pl.struct(e.alias(str(i)) for i, e in enumerate(inputs))
    part = part_of(aggregate, value, _select(value, schema).dtypes[0])
    return Incremental(name, (part,), pl.col("__0").alias(name), part.dtype_out)
