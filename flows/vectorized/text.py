"""Text on columns, where polars does with all text what Python does."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Final

import polars as pl

from .evaluation import Active, Evaluation, Operation, Value
from .nodes import Node

__all__ = ["TEXT"]

# What Python's strip takes for space; polars has fewer control characters.
_SPACE: Final = (
    "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006"
    "\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)
_METHODS: Final[dict[str, Callable[..., pl.Series]]] = {
    "startswith": lambda text, part: text.str.starts_with(part),
    "endswith": lambda text, part: text.str.ends_with(part),
    "contains": lambda text, part: text.str.contains(part, literal=True),
    "lower": lambda text: text.str.to_lowercase(),
    "upper": lambda text: text.str.to_uppercase(),
    "strip": lambda text, chars=_SPACE: text.str.strip_chars(chars),
    "lstrip": lambda text, chars=_SPACE: text.str.strip_chars_start(chars),
    "rstrip": lambda text, chars=_SPACE: text.str.strip_chars_end(chars),
    "removeprefix": lambda text, part: text.str.strip_prefix(part),
    "removesuffix": lambda text, part: text.str.strip_suffix(part),
    "replace": lambda text, old, new: text.str.replace_all(old, new, literal=True),
}


def _method(run: Evaluation, node: Node, active: Active | None) -> Value:
    text, *given = (run.present(part, active) for part in node.args)
    if not isinstance(text, pl.Series):
        return given[0] in text if node.op == "contains" else getattr(str, node.op)(text, *given)
    if node.op in ("lower", "upper") and not _ascii(text):
        return _by_python(text, node.op)
    return _METHODS[node.op](text, *given)


def _by_python(text: pl.Series, method: str) -> pl.Series:
    call = operator.methodcaller(method)
    values = [None if value is None else call(value) for value in text.to_list()]
    return pl.Series(values, dtype=pl.String)


def _ascii(text: pl.Series) -> bool:
    return bool(text.str.len_bytes().sum() == text.str.len_chars().sum())


def _len(run: Evaluation, node: Node, active: Active | None) -> Value:
    text = run.present(node.args[0], active)
    return text.str.len_chars().cast(pl.Int64) if isinstance(text, pl.Series) else len(text)


def _joined(run: Evaluation, node: Node, active: Active | None) -> Value:
    made: Value = ""
    for part in node.args:
        text = run.present(part, active)
        if isinstance(text, pl.Series) or text:
            made = text if isinstance(made, str) and not made else made + text
    return made


def _text_of_int(run: Evaluation, node: Node, active: Active | None) -> Value:
    value = run.present(node.args[0], active)
    return value.cast(pl.String) if isinstance(value, pl.Series) else str(value)


TEXT: Final[dict[str, Operation]] = {
    **dict.fromkeys(_METHODS, _method),
    "len": _len,
    "joined": _joined,
    "text_of_int": _text_of_int,
}
