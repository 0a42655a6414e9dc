"""What may fail on a row: a cast of text, a parse, an index.

An aggregate folds whole batches, so it could not go on without a row that fails. Such parts of
its expression are tried beforehand, in a step that turns the rows they fail on into dead letters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import polars as pl

from .errors import ExpressionError
from .expressions import Tree, check_row_wise, expression_of, function_of, tree_of

__all__ = ["fallible"]

_SAFE_GROUPS = frozenset({"Boolean", "Pow", "Trigonometry"})
_SAFE = frozenset(
    f"{group}{word}"
    for group, words in {
        "": """
            Abs Ceil Clip Coalesce Exp FillNull Floor Hash Log Log1p MaxHorizontal MeanHorizontal
            MinHorizontal Negate Round RoundSF Sign SumHorizontal Truncate""",
        "StringExpr.": "EndsWith LenBytes LenChars Lowercase StartsWith Uppercase",
        "StructExpr.": "FieldByName",
        "TemporalExpr.": """
            CastTimeUnit Date Day Hour IsoYear Microsecond Millisecond Minute Month Nanosecond
            OrdinalDay Quarter Second Time TimeStamp TotalDays TotalHours TotalMicroseconds
            TotalMilliseconds TotalMinutes TotalNanoseconds TotalSeconds Week WeekDay Year""",
    }.items()
    for word in words.split()
)


def fallible(expressions: Iterable[pl.Expr]) -> list[pl.Expr]:
    """The parts of expressions that look at one row and may raise for it; each once."""
    found: dict[str, pl.Expr] = {}
    for expression in expressions:
        for part in _parts(tree_of(expression)):
            found.setdefault(part.meta.serialize(format="json"), part)
    return list(found.values())


def _parts(tree: Tree) -> Iterator[pl.Expr]:
    stack = [tree]
    while stack:
        item = stack.pop()
        if isinstance(item, list):
            stack.extend(item)
        if not isinstance(item, dict):
            continue
        for name, payload in item.items():
            part = _row_wise({name: payload}) if _may_fail(name, payload) else None
            if part is not None:
                yield part
            elif name != "Literal":
                stack.append(payload)


def _may_fail(name: str, payload: Any) -> bool:
    if name == "Cast":
        return bool(payload["options"] == "Strict")
    if name != "Function":
        return False
    function = function_of(payload["function"])[0]
    return function not in _SAFE and function.partition(".")[0] not in _SAFE_GROUPS


def _row_wise(tree: Tree) -> pl.Expr | None:
    part = expression_of(tree)
    if part is None:
        return None
    try:
        check_row_wise(part)
    except ExpressionError:
        return None
    return part
