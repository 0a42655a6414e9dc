"""Fields, constants, decisions and comparisons on columns."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Final

import polars as pl

from .evaluation import Active, Evaluation, Operation, Value
from .names import among_plain, kind_of
from .nodes import ByRows, Node, dtype_of

__all__ = ["INT64", "LOGIC", "nan_in", "where"]

_FEW: Final = 3
INT64: Final = range(-(1 << 63), 1 << 63)
_COMPARE: Final[dict[str, tuple[Callable[[Any, Any], Any], str]]] = {
    "lt": (operator.lt, "gt"),
    "le": (operator.le, "ge"),
    "gt": (operator.gt, "lt"),
    "ge": (operator.ge, "le"),
    "eq": (operator.eq, "eq"),
    "ne": (operator.ne, "ne"),
}
"""Each comparison, and what it is with its sides exchanged."""


def _field(run: Evaluation, node: Node, active: Active | None) -> Value:
    column = run.column(node.of)
    return column.cast(pl.Int64) if node.kind == "int" and column.dtype != pl.Int64 else column


def _const(run: Evaluation, node: Node, active: Active | None) -> Value:
    return node.of


def _given(run: Evaluation, node: Node, active: Active | None) -> Value:
    return _of_kind(node.of.now(), node, node.of.name)


def _setting(run: Evaluation, node: Node, active: Active | None) -> Value:
    return _of_kind(getattr(run.settings, node.of), node, f"the setting {node.of}")


def _of_kind(value: Any, node: Node, name: str) -> Any:
    """Return a value that was read for this batch; raises `ByRows` if its type has changed."""
    if kind_of(value) != node.kind:
        raise ByRows(f"line {node.line}: {name} is now of type {type(value).__name__}")
    if node.kind == "str":
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ByRows(f"line {node.line}: {name} is text that UTF-8 cannot hold") from None
    return value


# Decisions


def where(run: Evaluation, node: Node, active: Active | None) -> bool | pl.Series:
    """Return whether a test holds: one answer for all rows if they agree."""
    value = run.value(node, active)
    if isinstance(value, pl.Series):
        if not value.null_count() and value.all():
            return True
        return value if value.any() else False
    return bool(value)


def _select(run: Evaluation, node: Node, active: Active | None) -> Value:
    test, yes, no = node.args
    holds = where(run, test, active)
    if isinstance(holds, bool):
        return run.value(yes if holds else no, active)
    dtype = dtype_of(node)
    one = _side(run.value(yes, run.under(test, holds, True, active)), dtype)
    other = _side(run.value(no, run.under(test, holds, False, active)), dtype)
    return one.zip_with(holds, other)


def _side(value: Value, dtype: pl.DataType) -> pl.Series:
    if not isinstance(value, pl.Series):
        if type(value) is int and value not in INT64:
            raise ByRows("an int of more than 64 bits")
        return pl.Series([value], dtype=dtype, strict=dtype != pl.Float64())
    return value if value.dtype == dtype else value.cast(dtype)


def _after(run: Evaluation, node: Node, active: Active | None) -> Value:
    test, value = node.args
    run.value(test, active)
    return run.value(value, active)


def _if(run: Evaluation, node: Node, active: Active | None) -> Value:
    test, effect = node.args
    holds = where(run, test, active)
    if holds is True:
        run.value(effect, active)
    elif isinstance(holds, pl.Series):
        run.value(effect, run.under(test, holds, True, active))
    return None


def _and(run: Evaluation, node: Node, active: Active | None) -> Value:
    left, right = node.args
    holds = where(run, left, active)
    if isinstance(holds, bool):
        return run.value(right, active) if holds else False
    other = run.value(right, run.under(left, holds, True, active))
    if isinstance(other, pl.Series):
        return holds & other
    return holds if other else False


def _or(run: Evaluation, node: Node, active: Active | None) -> Value:
    left, right = node.args
    holds = where(run, left, active)
    if isinstance(holds, bool):
        return True if holds else run.value(right, active)
    other = run.value(right, run.under(left, holds, False, active))
    if isinstance(other, pl.Series):
        return holds | other
    return True if other else holds


def _not(run: Evaluation, node: Node, active: Active | None) -> Value:
    value = run.value(node.args[0], active)
    return ~value if isinstance(value, pl.Series) else not value


def _truth(run: Evaluation, node: Node, active: Active | None) -> Value:
    value = run.value(node.args[0], active)
    if not isinstance(value, pl.Series):
        return bool(value)
    if value.dtype != pl.Boolean:
        value = value != ("" if value.dtype == pl.String else 0)
    return value.fill_null(False) if value.null_count() else value


def _never(run: Evaluation, node: Node, active: Active | None) -> Value:
    run.value(node.args[0], active)
    return False


def _present(run: Evaluation, node: Node, active: Active | None) -> Value:
    return run.present(node.args[0], active)


def _part(run: Evaluation, node: Node, active: Active | None) -> Value:
    column = run.present(node.args[0], active)
    return getattr(column.dt, node.of)().cast(pl.Int64)


# Comparisons


def _is_none(run: Evaluation, node: Node, active: Active | None) -> Value:
    value = run.value(node.args[0], active)
    if isinstance(value, pl.Series):
        return value.is_null() if value.null_count() else False
    return value is None


def _compare(run: Evaluation, node: Node, active: Active | None) -> Value:
    compare, flipped = _COMPARE[node.op]
    read = run.value if node.op in ("eq", "ne") else run.present
    left, right = (read(side, active) for side in node.args)
    if not isinstance(left, pl.Series):
        if not isinstance(right, pl.Series):
            return compare(left, right)
        left, right, compare = right, left, _COMPARE[flipped][0]
    if right is None:  # to which only == and != come
        return left.is_null() if node.op == "eq" else left.is_not_null()
    if not isinstance(right, pl.Series):
        if isinstance(right, float) and right != right:
            right = run.shared(right, pl.Float64())
        elif type(right) is int and right not in INT64:
            raise ByRows(f"line {node.line}: an int of more than 64 bits")
    if node.op in ("eq", "ne") and _nulls(left, right):
        found = left.eq_missing(right) if node.op == "eq" else left.ne_missing(right)
    else:
        found = compare(left, right)
    return _without_nan(found, left, right, node.op)


def _nulls(left: pl.Series, right: Value) -> bool:
    return bool(left.null_count()) or (isinstance(right, pl.Series) and bool(right.null_count()))


def _without_nan(found: pl.Series, left: pl.Series, right: Value, op: str) -> pl.Series:
    """Return what was found with NaN equal to nothing, nor less nor greater than anything."""
    if left.dtype != pl.Float64:
        return found
    for side in (left, right):
        if isinstance(side, pl.Series) and nan_in(side):
            nan = side.is_nan().fill_null(False)
            found = found | nan if op == "ne" else found & ~nan
    return found


def nan_in(column: pl.Series) -> bool:
    """Whether a column of floats holds NaN."""
    total = column.sum()
    return total != total and bool(column.is_nan().any())


def _among(run: Evaluation, node: Node, active: Active | None) -> Value:
    value = run.value(node.args[0], active)
    values = node.of.now()
    kind = node.args[0].kind
    if not among_plain(values, kind):
        raise ByRows(f"line {node.line}: {node.of.name} holds other values now")
    if not isinstance(value, pl.Series):
        return value in values
    known = [one for one in values if kind == "str" or one in INT64]
    if len(known) > _FEW:
        found = value.is_in(pl.Series(known, dtype=value.dtype).implode())
    else:
        found = run.shared(False, pl.Boolean())
        for one in known:
            found = found | (value == one)
    return found.fill_null(False) if found.null_count() else found


LOGIC: Final[dict[str, Operation]] = {
    "field": _field,
    "const": _const,
    "given": _given,
    "setting": _setting,
    "select": _select,
    "after": _after,
    "if": _if,
    "and": _and,
    "or": _or,
    "not": _not,
    "truth": _truth,
    "never": _never,
    "part": _part,
    "present": _present,
    "is_none": _is_none,
    "among": _among,
    **dict.fromkeys(_COMPARE, _compare),
}
