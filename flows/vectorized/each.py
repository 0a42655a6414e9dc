"""Functions of Python's own, called with the values of a column one after the other.

What polars would do in another way, Python does: without events around the values that is still
many times faster than calling the whole function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import repeat
from typing import Any, Final

import polars as pl

from .evaluation import Active, Evaluation, Operation, Value
from .nodes import ByRows, Node, dtype_of

__all__ = ["EACH"]

_TYPES: Final = {"bool": bool, "int": int, "float": float, "str": str}
_HALFWAY: Final = 1 << 52
"""Floats from here on are whole, so that half of one cannot be told."""
_PLACES: Final = range(1, 16)


def _each(run: Evaluation, node: Node, active: Active | None) -> Value:
    return _mapped(run, node, active, node.of)


def _mapped(
    run: Evaluation, node: Node, active: Active | None, function: Callable[..., Any]
) -> Value:
    values = [run.present(part, active) for part in node.args]
    if not any(isinstance(value, pl.Series) for value in values):
        return _called(node, function, [[value] for value in values])[0]
    mask = None if active is None or active.mask.all() else active.mask
    listed = [_listed(value, mask) for value in values]
    return _placed(node, _called(node, function, listed), mask)


def _listed(value: Value, mask: pl.Series | None) -> Iterable[Any]:
    if not isinstance(value, pl.Series):
        return repeat(value)
    return (value if mask is None else value.filter(mask)).to_list()


def _called(node: Node, function: Callable[..., Any], listed: list[Iterable[Any]]) -> list[Any]:
    try:
        found = list(map(function, *listed))
    except (ArithmeticError, ValueError, TypeError, LookupError) as error:
        raise ByRows(f"line {node.line}: {error}") from None
    if not set(map(type, found)) <= {_TYPES[node.kind]}:
        raise ByRows(f"line {node.line}: a result of another type than the others")
    return found


def _placed(node: Node, found: list[Any], mask: pl.Series | None) -> pl.Series:
    """Return results as a column, each in its row."""
    dtype = dtype_of(node)
    try:
        column = pl.Series(found, dtype=dtype, strict=True)
    except (OverflowError, TypeError, UnicodeEncodeError, pl.exceptions.PolarsError):
        raise ByRows(f"line {node.line}: a result that no column holds") from None
    if mask is None:
        return column
    places = pl.select(pl.when(mask).then(mask.cast(pl.UInt32).cum_sum() - 1)).to_series()
    return column.gather(places)


def _round_to(run: Evaluation, node: Node, active: Active | None) -> Value:
    """Round to decimal places, halves to even, by the exact value of a float as Python does.

    x times a power of ten is rounded to the nearest float, which does not cross a half: only where
    that float is itself half-way between two ints does it not say which of them is nearer.
    """
    value, places = (run.present(part, active) for part in node.args)
    if not isinstance(value, pl.Series) or places not in _PLACES:
        return _mapped(run, node, active, round)
    power = 10.0**places
    scaled = value * power
    low, high = scaled.min(), scaled.max()
    if not isinstance(low, float) or not isinstance(high, float):
        return value
    if not max(-low, high) < _HALFWAY:
        return _mapped(run, node, active, round)
    rounded = scaled.round(0, mode="half_to_even") / run.shared(power, pl.Float64())
    half = scaled - scaled.floor() == 0.5
    if not half.any():
        return rounded
    where = half.arg_true()
    exact = _called(node, round, [value.gather(where).to_list(), repeat(places)])
    return rounded.scatter(where, exact)


EACH: Final[dict[str, Operation]] = {"each": _each, "round_to": _round_to}
