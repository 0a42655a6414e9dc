"""Takes `agg(name=expr)` apart into folds, or has its rows kept until the window closes.

`decompose` finds the aggregates inside an expression, each a `Part`, and the row-wise expression
that finishes them. What has no incremental form is `Buffered`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from .aggregates import FAILURES, TEMPORAL, Aggregate, Part, part_of
from .errors import ExpressionError, unknown_column
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

__all__ = ["Buffered", "Incremental", "decompose"]

_INTEGERS = frozenset({"Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "Boolean"})
_KINDS = {
    "Sum": "sum", "Mean": "mean", "Min": "min", "Max": "max", "Var": "var", "Std": "std",
    "First": "first", "Last": "last", "FirstNonNull": "first", "LastNonNull": "last",
    "Count": "count",
}  # fmt: skip
_SKIP_NULLS = frozenset({"sum", "mean", "min", "max", "var", "std", "count"})


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
        except FAILURES as error:
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
        except FAILURES as error:
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
    temporal = isinstance(dtype, TEMPORAL)
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
        raise ExpressionError(unknown_column(column, schema))


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
        except FAILURES as error:
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
    except FAILURES:
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
