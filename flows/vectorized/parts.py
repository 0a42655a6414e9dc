"""Parts of values: of times, of texts, and values as parts of a text."""

from __future__ import annotations

import ast
import enum
import inspect
from dataclasses import dataclass
from typing import Final

from .nodes import Node, Refused, kind_of_column, spelled
from .operations import Operations

__all__ = ["attribute", "formatted", "piece"]

_DATE: Final = ("year", "month", "day")
_ATTRIBUTES: Final = {
    "Date": _DATE,
    "Datetime(time_unit='us', time_zone='UTC')": (*_DATE, "hour", "minute", "second"),
}
"""The attributes of times that columns have."""


def attribute(make: Operations, node: Node, name: str, line: int) -> Node:
    """Return an attribute of a value: a part of a time, the value of an enum's member."""
    kept = node.kept
    if kept is not None and name == "value" and kept.kind == "enum":
        plain = {type(value) for value in kept.allowed} <= {bool, int, str}
        if plain and inspect.getattr_static(kept.of, name) is vars(enum.Enum)[name]:
            return make.node("present", kind_of_column(kept.polars), node, line=line)
    elif kept is not None and name in _ATTRIBUTES.get(str(kept.polars), ()):
        return make.node("part", "int", node, of=name, line=line)
    raise Refused(f"reads .{name} of {spelled(node)}", line)


@dataclass(frozen=True)
class _Piece:
    """A piece of a text: at a place, or from one to another by steps."""

    place: int | tuple[int | None, ...]

    def __call__(self, text: str) -> str:
        return text[self.place if isinstance(self.place, int) else slice(*self.place)]


def piece(make: Operations, text: Node, tree: ast.Subscript) -> Node:
    """Return a piece of a text."""
    place, line = tree.slice, tree.lineno
    if text.kind != "str":
        raise Refused(f"takes a part of {spelled(text)}", line)
    if isinstance(place, ast.Slice):
        bounds = (place.lower, place.upper, place.step)
        cut = _Piece(tuple(None if one is None else _written(one) for one in bounds))
    else:
        cut = _Piece(_written(place))
    return make.each(cut, "str", text, line=line)


def _written(tree: ast.expr) -> int:
    """Return an int that is written out."""
    sign, inner = 1, tree
    if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub):
        sign, inner = -1, tree.operand
    if not isinstance(inner, ast.Constant) or type(inner.value) is not int:
        raise Refused("takes a part of a text at no constant place", tree.lineno)
    return sign * inner.value


def formatted(make: Operations, tree: ast.FormattedValue, node: Node) -> Node:
    """Return one value of an f-string, as it is written there."""
    line = tree.lineno
    if tree.conversion == ord("r"):
        node = make.each(repr, "str", node, line=line)
    elif tree.conversion == ord("s"):
        node = make.text(node, line)
    elif tree.conversion != -1:
        raise Refused("formats with !a", line)
    if tree.format_spec is None:
        return make.text(node, line)
    spec = tree.format_spec
    assert isinstance(spec, ast.JoinedStr)
    written = [part.value for part in spec.values if isinstance(part, ast.Constant)]
    if len(written) != len(spec.values):
        raise Refused("formats in a way that is no constant", line)
    text = "".join(map(str, written))
    return make.each(format, "str", node, make.constant(text, line), line=line)
