"""Aggregates: a user's own, and the parts that any aggregate is folded in.

A `Part` is folded row by row over a row-wise input. The engine's compiled folds take the numeric
kinds, `pythonfolds` every other. `Aggregate` is the base of a user's own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

import polars as pl

from .errors import ExpressionError
from .sketches import QuantileSketch

__all__ = ["FAILURES", "TEMPORAL", "Aggregate", "Part", "approx_quantile", "part_of"]

S = TypeVar("S")

FAILURES = (pl.exceptions.PolarsError, pl.exceptions.PanicException)
TEMPORAL = (pl.Date, pl.Datetime, pl.Duration, pl.Time)
_COUNTED: dict[str, pl.DataType] = {
    "len": pl.Int64(), "count": pl.Int64(), "approx_n_unique": pl.Int64(),
    "var": pl.Float64(), "std": pl.Float64(), "approx_quantile": pl.Float64(),
}  # fmt: skip


class Aggregate(ABC, Generic[S]):
    """A user's own aggregate: `agg(p99=MyAggregate("celsius"))`.

    `init`, `add`, `merge` and `result` fold the rows of a group; `add` gets the input's value (a
    tuple if there are several inputs, None for null) and returns the state, which it may change in
    place. `merge` must not depend on the order of its arguments. A durable
    run keeps states of plain values, containers, dates, decimals, and dataclasses.
    What they raise ends the flow: the row may be in the state by then, and cannot be left out.
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
        physical = self.input.to_physical() if isinstance(self.dtype_in, TEMPORAL) else self.input
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
        except (TypeError, *FAILURES) as error:
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
