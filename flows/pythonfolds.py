"""Folds in Python, of the parts that the engine has no compiled fold for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from decimal import Context, Decimal
from types import GenericAlias
from typing import Any, Generic, TypeVar, get_args, get_origin, get_type_hints

import polars as pl

from .aggregates import Aggregate, Part, approx_quantile
from .sketches import DistinctSketch
from .values import Encoding

__all__ = ["PythonFold", "encoding_of", "fold_of"]

S = TypeVar("S")

_EXACT = Context(prec=200)


class PythonFold(ABC, Generic[S]):
    """A fold in Python over encoded values.

    `add` takes the row's order key (event time, then all columns) where `ordered` is true, else
    anything; rows may come in any order, and states may be merged in any order.
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
        return _Custom(approx_quantile(pl.lit(None), part.parameters[0]), False)
    if part.kind == "custom":
        aggregate: Aggregate[Any] = part.parameters[0]
        return _Custom(aggregate, len(aggregate.inputs) > 1)
    raise ValueError(f"the fold of {part.kind} over {part.dtype_in} is the engine's")


def encoding_of(part: Part, owner: str) -> Encoding:
    """How states of the fold of a part are kept in a snapshot; `owner` is for errors."""
    if part.kind != "custom":
        return Encoding(owner)
    cls = type(part.parameters[0])
    return Encoding(owner, _declared(cls), cls.__module__)


def _declared(cls: type[Aggregate[Any]]) -> Any:
    """What a user's aggregate says its state is: ``Aggregate[S]``, and what `init` returns."""
    bases = [base for one in cls.__mro__ for base in vars(one).get("__orig_bases__", ())]
    found = [kind for base in bases if get_origin(base) is Aggregate for kind in get_args(base)]
    with suppress(NameError, TypeError, AttributeError):  # names there for type checkers alone
        found.append(get_type_hints(cls.init).get("return"))
    return GenericAlias(tuple, tuple(found))


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
