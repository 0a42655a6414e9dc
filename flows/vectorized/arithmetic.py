"""Arithmetic on columns, to the last bit what Python gives, or not at all.

An int may have any size in Python and 64 bits in a column: the range of each result is found from
those of its operands before it is computed. Floats are added, multiplied and divided alike, once
polars is kept from taking a constant's reciprocal for the constant.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any, Final

import polars as pl

from .evaluation import Active, Evaluation, Operation, Span, Value
from .logic import nan_in
from .nodes import ByRows, Node

__all__ = ["ARITHMETIC"]

_LOWEST: Final = -(1 << 63)
_HIGHEST: Final = (1 << 63) - 1
_EXACT: Final = 1 << 53
"""Ints up to here are floats as well."""
_PYTHON: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "floordiv": operator.floordiv,
    "mod": operator.mod,
}


def _alone(node: Node, compute: Callable[..., Any], *values: Value) -> Value:
    """Return what Python gives for values that all rows share."""
    try:
        return compute(*values)
    except (ArithmeticError, ValueError) as error:
        raise ByRows(f"line {node.line}: {error}") from None


def _refuse(node: Node, why: str) -> ByRows:
    return ByRows(f"line {node.line}: {why}")


# Ints


def _within(span: Span, low: int = _LOWEST, high: int = _HIGHEST) -> bool:
    return low <= span[0] and span[1] <= high


def _corners(compute: Callable[[int, int], int]) -> Callable[[Span, Span], Span]:
    def span(left: Span, right: Span) -> Span:
        found = [compute(one, other) for one in left for other in right]
        return min(found), max(found)

    return span


def _floordiv_span(left: Span, right: Span) -> Span:
    largest = max(map(abs, left))
    return -largest, largest


def _mod_span(left: Span, right: Span) -> Span:
    # Computed as left - left // right * right, which comes as far from left as right is large.
    largest = max(map(abs, right))
    return min(left[0] - largest, -largest), max(left[1] + largest, largest)


_SPANS: Final[dict[str, Callable[[Span, Span], Span]]] = {
    "add": lambda left, right: (left[0] + right[0], left[1] + right[1]),
    "sub": lambda left, right: (left[0] - right[1], left[1] - right[0]),
    "mul": _corners(operator.mul),
    "floordiv": _floordiv_span,
    "mod": _mod_span,
}


def _whole(run: Evaluation, node: Node, active: Active | None) -> Value:
    left, right = (run.present(side, active) for side in node.args)
    if not isinstance(left, pl.Series) and not isinstance(right, pl.Series):
        return _alone(node, _PYTHON[node.op], left, right)
    if node.op in ("floordiv", "mod"):
        _not_zero(run, node, right, active)
    one, other = node.args
    spans = run.span(one, active), run.span(other, active)
    made = _SPANS[node.op](*spans)
    if not all(map(_within, (*spans, made))):
        spans = run.tight(one, active), run.tight(other, active)
        made = _SPANS[node.op](*spans)
        if not all(map(_within, (*spans, made))):
            raise _refuse(node, "an int of more than 64 bits")
    if node.op == "mod":
        run.spans(node, active, (min(spans[1][0], 0), max(spans[1][1], 0)))
        return left - (left // right) * right
    run.spans(node, active, made)
    return _PYTHON[node.op](left, right)


def _not_zero(run: Evaluation, node: Node, divisor: Value, active: Active | None) -> None:
    zero = divisor == 0
    if run.some(zero, active) if isinstance(zero, pl.Series) else zero:
        raise _refuse(node, "a division by zero")


def _neg(run: Evaluation, node: Node, active: Active | None) -> Value:
    return _one_int(run, node, active, operator.neg, lambda low, high: (-high, -low))


def _abs(run: Evaluation, node: Node, active: Active | None) -> Value:
    return _one_int(run, node, active, abs, lambda low, high: (0, max(abs(low), abs(high))))


def _one_int(
    run: Evaluation,
    node: Node,
    active: Active | None,
    compute: Callable[[Any], Any],
    span: Callable[[int, int], Span],
) -> Value:
    value = run.present(node.args[0], active)
    if not isinstance(value, pl.Series):
        return compute(value)
    made = span(*run.span(node.args[0], active))
    if not _within(made):
        made = span(*run.tight(node.args[0], active))
        if not _within(made):
            raise _refuse(node, "an int of more than 64 bits")
    run.spans(node, active, made)
    return value.abs() if compute is abs else compute(value)


def _int_of_bool(run: Evaluation, node: Node, active: Active | None) -> Value:
    value = run.present(node.args[0], active)
    return value.cast(pl.Int64) if isinstance(value, pl.Series) else int(value)


def _div(run: Evaluation, node: Node, active: Active | None) -> Value:
    """Divide ints: Python rounds the exact quotient once, as floats do if they hold the ints."""
    left, right = (run.present(side, active) for side in node.args)
    if not isinstance(left, pl.Series) and not isinstance(right, pl.Series):
        return _alone(node, operator.truediv, left, right)
    _not_zero(run, node, right, active)
    for side in node.args:
        _exact(run, node, side, active)
    return _ratio(run, *(_as_float(value) for value in (left, right)))


def _exact(run: Evaluation, node: Node, side: Node, active: Active | None) -> None:
    """Check that ints are floats as well."""
    for span in (run.span, run.tight):
        if _within(span(side, active), -_EXACT, _EXACT):
            return
    raise _refuse(node, "an int that no float holds")


def _as_float(value: Value) -> Value:
    return value.cast(pl.Float64) if isinstance(value, pl.Series) else float(value)


# Floats


def _float(run: Evaluation, node: Node, active: Active | None) -> Value:
    left, right = (run.present(side, active) for side in node.args)
    op = node.op[1:]
    if not isinstance(left, pl.Series) and not isinstance(right, pl.Series):
        return _alone(node, _PYTHON[op], left, right)
    if op == "div":
        _not_zero(run, node, right, active)
        return _ratio(run, left, right)
    if op != "mul":  # polars takes adding a constant zero for nothing, and so keeps -0.0
        left, right = (_written_if_zero(run, side) for side in (left, right))
    return _PYTHON[op](left, right)


def _written_if_zero(run: Evaluation, value: Value) -> Value:
    if isinstance(value, pl.Series) or value != 0.0:
        return value
    return run.shared(value, pl.Float64())


def _ratio(run: Evaluation, left: Value, right: Value) -> Value:
    """Divide; by a column, as polars would multiply with the reciprocal of a constant."""
    return left / run.shared(right, pl.Float64())


def _float_of(run: Evaluation, node: Node, active: Active | None) -> Value:
    return _float_of_any(node, run.present(node.args[0], active))


def _float_of_any(node: Node, value: Value) -> Value:
    return _as_float(value) if isinstance(value, pl.Series) else _alone(node, float, value)


def _float_exactly(run: Evaluation, node: Node, active: Active | None) -> Value:
    value = run.value(node.args[0], active)
    if value is None:
        return None
    if not isinstance(value, pl.Series):
        made = _alone(node, float, value)
        if made != value:
            raise _refuse(node, "an int that no float holds")
        return made
    _exact(run, node, node.args[0], active)
    return _as_float(value)


def _float_or_none(run: Evaluation, node: Node, active: Active | None) -> Value:
    value = run.value(node.args[0], active)
    return None if value is None else _float_of_any(node, value)


def _fneg(run: Evaluation, node: Node, active: Active | None) -> Value:
    return -run.present(node.args[0], active)


def _fabs(run: Evaluation, node: Node, active: Active | None) -> Value:
    value = run.present(node.args[0], active)
    return value.abs() if isinstance(value, pl.Series) else abs(value)


def _sqrt(run: Evaluation, node: Node, active: Active | None) -> Value:
    value = run.present(node.args[0], active)
    if not isinstance(value, pl.Series):
        return _alone(node, math.sqrt, value)
    if run.some(value < 0.0, active):
        raise _refuse(node, "the square root of a negative number")
    return value.sqrt()


def _is_special(run: Evaluation, node: Node, active: Active | None) -> Value:
    value = run.present(node.args[0], active)
    if not isinstance(value, pl.Series):
        return getattr(math, node.op)(value)
    if node.op == "isnan":
        return value.is_nan() if nan_in(value) else False
    return value.is_infinite() if node.op == "isinf" else value.is_finite()


# Floats to ints

_ROUND: Final[dict[str, tuple[Callable[[Any], Any], Callable[[pl.Series], pl.Series]]]] = {
    "trunc": (int, lambda column: column),
    "floor": (math.floor, lambda column: column.floor()),
    "ceil": (math.ceil, lambda column: column.ceil()),
    "round": (round, lambda column: column.round(0, mode="half_to_even")),
}


def _rounded(run: Evaluation, node: Node, active: Active | None) -> Value:
    alone, compute = _ROUND[node.op]
    value = run.present(node.args[0], active)
    if not isinstance(value, pl.Series):
        return _alone(node, alone, value)
    if not _fit_ints(value) and not _fit_ints(run.of(value, active)):
        raise _refuse(node, "a float that is no int of 64 bits")
    return compute(value).cast(pl.Int64, strict=False)


def _fit_ints(column: pl.Series) -> bool:
    low, high = column.min(), column.max()
    if not isinstance(low, float) or not isinstance(high, float):
        return True
    return max(-low, high) <= 2.0**62 and not nan_in(column)


ARITHMETIC: Final[dict[str, Operation]] = {
    **dict.fromkeys(_SPANS, _whole),
    **dict.fromkeys(("fadd", "fsub", "fmul", "fdiv"), _float),
    **dict.fromkeys(_ROUND, _rounded),
    **dict.fromkeys(("isnan", "isinf", "isfinite"), _is_special),
    "abs": _abs,
    "div": _div,
    "fabs": _fabs,
    "float_exactly": _float_exactly,
    "float_of": _float_of,
    "float_or_none": _float_or_none,
    "fneg": _fneg,
    "int_of_bool": _int_of_bool,
    "neg": _neg,
    "sqrt": _sqrt,
}
