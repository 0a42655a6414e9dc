"""Calls that are known: builtins, functions of `math`, methods of text."""

from __future__ import annotations

import ast
import builtins
import math
from collections.abc import Callable, Sequence
from typing import Any, Final

from .nodes import Kind, Node, Refused, spelled
from .operations import Operations

__all__ = ["FUNCTIONS", "METHODS", "called", "method"]

_Build = Callable[[Operations, Sequence[Node], int], Node]


def _abs(make: Operations, given: Sequence[Node], line: int) -> Node:
    node = make.number(given[0], "takes the absolute value of", line)
    if node.kind == "number":
        raise Refused("takes abs() of what is an int in one case and a float in another", line)
    return make.node("abs" if node.kind == "int" else "fabs", node.kind, node, line=line)


def _most(operator: ast.cmpop) -> _Build:
    def build(make: Operations, given: Sequence[Node], line: int) -> Node:
        found = given[0]
        for other in given[1:]:  # as Python does: the first of equals, and NaN is not compared
            found = make.select(make.compare(operator, other, found, line), other, found, line)
        return found

    return build


def _len(make: Operations, given: Sequence[Node], line: int) -> Node:
    if given[0].kind != "str":
        raise Refused(f"takes len() of {spelled(given[0])}", line)
    return make.node("len", "int", given[0], line=line)


def _float(make: Operations, given: Sequence[Node], line: int) -> Node:
    if given[0].kind == "str":
        return make.each(float, "float", given[0], line=line)
    node = make.number(given[0], "makes a float of", line)
    if node.kind == "number":
        node = make.to_float(node, line)
    return make.node("float_of", "float", node, line=line)


def _int(make: Operations, given: Sequence[Node], line: int) -> Node:
    if given[0].kind == "str":
        return make.each(int, "int", given[0], line=line)
    return _whole("trunc", "makes an int of")(make, given, line)


def _whole(op: str, verb: str) -> _Build:
    def build(make: Operations, given: Sequence[Node], line: int) -> Node:
        node = make.number(given[0], verb, line)
        if node.kind == "number":
            raise Refused(f"{verb} what is an int in one case and a float in another", line)
        return make.node(op if node.kind == "float" else "present", "int", node, line=line)

    return build


def _round(make: Operations, given: Sequence[Node], line: int) -> Node:
    if len(given) == 1 or given[1].kind == "none":
        return _whole("round", "rounds")(make, given, line)
    node = make.number(given[0], "rounds", line)
    if node.kind == "number" or given[1].kind != "int":
        raise Refused(f"rounds {spelled(node)} to {spelled(given[1])} of places", line)
    if node.kind == "float" and given[1].op in ("const", "given", "setting"):
        return make.node("round_to", "float", node, given[1], line=line)
    return make.each(round, node.kind, node, given[1], line=line)


def _of_float(op: str, verb: str) -> _Build:
    def build(make: Operations, given: Sequence[Node], line: int) -> Node:
        node = make.to_float(make.number(given[0], verb, line), line)
        kind: Kind = "bool" if op.startswith("is") else "float"
        return make.node(op, kind, node, line=line)

    return build


def _each(function: Callable[..., Any], kind: Kind) -> _Build:
    def build(make: Operations, given: Sequence[Node], line: int) -> Node:
        floats = [make.to_float(node, line) if node.kind == "number" else node for node in given]
        return make.each(function, kind, *floats, line=line)

    return build


def _text(make: Operations, given: Sequence[Node], line: int) -> Node:
    return make.node("present", "str", make.text(given[0], line), line=line)


def _truth(make: Operations, given: Sequence[Node], line: int) -> Node:
    return make.truth(given[0], line)


FUNCTIONS: Final[dict[Any, tuple[_Build, int, int]]] = {
    builtins.abs: (_abs, 1, 1),
    builtins.max: (_most(ast.Gt()), 2, 8),
    builtins.min: (_most(ast.Lt()), 2, 8),
    builtins.len: (_len, 1, 1),
    builtins.float: (_float, 1, 1),
    builtins.int: (_int, 1, 1),
    builtins.bool: (_truth, 1, 1),
    builtins.str: (_text, 1, 1),
    builtins.round: (_round, 1, 2),
    math.floor: (_whole("floor", "takes the floor of"), 1, 1),
    math.ceil: (_whole("ceil", "takes the ceiling of"), 1, 1),
    math.trunc: (_whole("trunc", "truncates"), 1, 1),
    math.sqrt: (_of_float("sqrt", "takes the square root of"), 1, 1),
    math.fabs: (_of_float("fabs", "takes the absolute value of"), 1, 1),
    math.isnan: (_of_float("isnan", "asks for NaN"), 1, 1),
    math.isinf: (_of_float("isinf", "asks for infinity"), 1, 1),
    math.isfinite: (_of_float("isfinite", "asks for infinity"), 1, 1),
    math.isclose: (_each(math.isclose, "bool"), 2, 2),
    math.log: (_each(math.log, "float"), 1, 2),
    **{
        function: (_each(function, "float"), 2, 2)
        for function in (math.atan2, math.copysign, math.fmod, math.hypot, math.pow)
    },
    **{
        function: (_each(function, "float"), 1, 1)
        for function in (
            *(math.acos, math.asin, math.atan, math.cos, math.sin, math.tan),
            *(math.acosh, math.asinh, math.atanh, math.cosh, math.sinh, math.tanh),
            *(math.exp, math.expm1, math.log10, math.log1p, math.log2),
            *(math.cbrt, math.degrees, math.exp2, math.radians),
        )
    },
}
"""How each function is put, and how many arguments it takes."""

_LETTERS: Final = {"str": "s", "int": "i"}
METHODS: Final[dict[str, tuple[str, Kind, str]]] = {
    "startswith": ("startswith", "bool", "s"),
    "endswith": ("endswith", "bool", "s"),
    "lower": ("lower", "str", ""),
    "upper": ("upper", "str", ""),
    "strip": ("strip", "str", "s?"),
    "lstrip": ("lstrip", "str", "s?"),
    "rstrip": ("rstrip", "str", "s?"),
    "removeprefix": ("removeprefix", "str", "s"),
    "removesuffix": ("removesuffix", "str", "s"),
    "replace": ("replace", "str", "ss"),
    "count": ("each", "int", "s"),
    "find": ("each", "int", "s"),
    "rfind": ("each", "int", "s"),
    "zfill": ("each", "str", "i"),
    "ljust": ("each", "str", "is?"),
    "rjust": ("each", "str", "is?"),
    **dict.fromkeys(("capitalize", "casefold", "swapcase", "title"), ("each", "str", "")),
    **dict.fromkeys(("isalnum", "isalpha", "isascii", "isdecimal"), ("each", "bool", "")),
    **dict.fromkeys(("isdigit", "isidentifier", "islower", "isnumeric"), ("each", "bool", "")),
    **dict.fromkeys(("isprintable", "isspace", "istitle", "isupper"), ("each", "bool", "")),
}
"""The operation of a method of text, what it gives, and its constants: texts and ints."""


def called(make: Operations, function: Any, name: str, given: list[Node], line: int) -> Node:
    """Return a call of a known function; raises `Refused`."""
    build, least, most = FUNCTIONS[function]
    if not least <= len(given) <= most:
        raise Refused(f"calls {name} with {len(given)} arguments", line)
    return build(make, given, line)


def method(make: Operations, owner: Node, name: str, given: list[Node], line: int) -> Node:
    """Return a call of a method of text; raises `Refused`."""
    if owner.kind != "str":
        raise Refused(f"calls .{name}() of {spelled(owner)}", line)
    if name not in METHODS:
        raise Refused(f"calls .{name}()", line)
    op, kind, wanted = METHODS[name]
    found = "".join(_LETTERS.get(node.kind, "-") for node in given)
    if found not in (wanted.replace("?", ""), wanted[:-2] if "?" in wanted else wanted):
        raise Refused(f"calls .{name}() with other arguments than columns take", line)
    if op == "each":
        return make.each(getattr(str, name), kind, owner, *given, line=line)
    if not all(node.op in ("const", "given", "setting") for node in given):
        raise Refused(f"calls .{name}() with what is no constant", line)
    return make.node(op, kind, owner, *given, line=line)
