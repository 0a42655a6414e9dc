"""Operations on typed expressions: what Python would do for these types, or why not on columns."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterable
from typing import Any, Final

from ..fieldtypes import FieldType
from .names import enum_type, kind_of
from .nodes import Kind, Node, Refused, alike, spelled

__all__ = ["Operations"]

_ARITHMETIC: Final[dict[type[ast.operator], tuple[str, str]]] = {
    ast.Add: ("add", "adds"),
    ast.Sub: ("sub", "subtracts"),
    ast.Mult: ("mul", "multiplies"),
    ast.Div: ("div", "divides"),
    ast.FloorDiv: ("floordiv", "divides with //"),
    ast.Mod: ("mod", "takes %"),
}
_ORDERED: Final = {"lt", "le", "gt", "ge"}
_BY_VALUE: Final = {"floordiv": operator.floordiv, "mod": operator.mod}
_COMPARED: Final[dict[type[ast.cmpop], str]] = {
    ast.Eq: "eq",
    ast.NotEq: "ne",
    ast.Lt: "lt",
    ast.LtE: "le",
    ast.Gt: "gt",
    ast.GtE: "ge",
}
_TIMES: Final = ("datetime", "date", "time", "duration")
_HIGHEST_POWER: Final = 16
"""Up to which a power is written out as products."""
_HIGHEST_OF_CONSTANT: Final = 64
_MOST_NODES: Final = 2000


class Operations:
    """Makes expressions, each once."""

    def __init__(self) -> None:
        self._made: dict[Any, Node] = {}

    def node(
        self,
        op: str,
        kind: Kind,
        *args: Node,
        of: Any = None,
        kept: FieldType | None = None,
        line: int = 0,
    ) -> Node:
        """Return the expression; raises `Refused` if the function has become too large."""
        held = of
        if op == "const":  # -0.0 is another than 0.0, True another than 1
            told = repr(of) if type(of) is float else of
            held = (type(of), told, None if kept is None else kept.of)
        key = (op, kind, tuple(map(id, args)), held)
        found = self._made.get(key)
        if found is None:
            if len(self._made) >= _MOST_NODES:
                raise Refused("it is too large", line)
            found = self._made[key] = Node(op, kind, args, of, kept, line)
        return found

    # Values

    def constant(self, value: Any, line: int) -> Node:
        """Return a constant; raises `Refused` for what no column holds."""
        kind = kind_of(value)
        if kind is None:
            raise Refused(f"uses a {type(value).__name__}", line)
        if kind == "str":
            try:
                value.encode()
            except UnicodeEncodeError:
                raise Refused("uses text that UTF-8 cannot hold", line) from None
        return self.node("const", kind, of=value, line=line)

    def select(self, test: Node, yes: Node, no: Node, line: int) -> Node:
        """Return `yes` where the test holds, else `no`; the test is asked in any case."""
        if yes is no:
            return self.node("after", yes.kind, test, yes, kept=yes.kept, line=line)
        if yes.kind == no.kind and alike(yes.kept, no.kept):
            return self.node("select", yes.kind, test, yes, no, kept=yes.kept, line=line)
        if "none" in (yes.kind, no.kind):
            some = no if yes.kind == "none" else yes
            return self.node("select", some.kind, test, yes, no, kept=some.kept, line=line)
        if {yes.kind, no.kind} <= {"int", "float", "number"}:
            return self.node("select", "number", test, yes, no, line=line)
        raise Refused(f"is {spelled(yes)} in one case and {spelled(no)} in another", line)

    def number(self, node: Node, verb: str, line: int) -> Node:
        """Return an operand of arithmetic; a bool counts as an int."""
        if node.kind == "bool":
            return self.node("int_of_bool", "int", node, line=line)
        if node.kind not in ("int", "float", "number"):
            raise Refused(f"{verb} {spelled(node)}", line)
        return node

    def to_float(self, node: Node, line: int, how: str = "float_of") -> Node:
        """Return a number as a float.

        `how` is ``float_exactly`` if it must be equal to what it was, ``float_or_none`` if it may
        be None.
        """
        if node.kind in ("float", "none"):
            return node
        if node.kind == "number":  # which a choice between an int and a float gives
            test, *parts = node.args
            made = [self.to_float(part, line, how) for part in parts]
            return self.select(test, made[0], made[-1], line)
        return self.node(how, "float", node, line=line)

    # Arithmetic

    def arithmetic(self, sign: ast.operator, left: Node, right: Node, line: int) -> Node:
        """Return ``left sign right``."""
        if isinstance(sign, ast.Pow):
            return self._power(left, right, line)
        if type(sign) not in _ARITHMETIC:
            raise Refused(f"uses the operator {type(sign).__name__}", line)
        op, verb = _ARITHMETIC[type(sign)]
        if left.kind == right.kind == "str" and op == "add":
            return self.joined([left, right], line)
        if "str" in (left.kind, right.kind):
            raise Refused(f"{verb} {spelled(left)} and {spelled(right)}", line)
        left, right = (self.number(side, verb, line) for side in (left, right))
        if left.kind == right.kind == "int":
            return self.node(op, "float" if op == "div" else "int", left, right, line=line)
        if "float" not in (left.kind, right.kind):
            raise Refused(f"{verb} what is an int in one case and a float in another", line)
        if op in ("floordiv", "mod"):
            return self.each(_BY_VALUE[op], "float", left, right, line=line)
        floats = [self.to_float(side, line) for side in (left, right)]
        return self.node(f"f{op}", "float", *floats, line=line)

    def _power(self, base: Node, exponent: Node, line: int) -> Node:
        base, exponent = (self.number(side, "takes a power of", line) for side in (base, exponent))
        if "float" in (base.kind, exponent.kind):
            return self.each(pow, "float", base, exponent, line=line)
        if exponent.op != "const" or base.kind != "int":
            raise Refused("takes a power that may be an int or a float", line)
        if exponent.of < 0:
            return self.each(pow, "float", base, exponent, line=line)
        if base.op == "const" and exponent.of <= _HIGHEST_OF_CONSTANT:
            return self.constant(base.of**exponent.of, line)
        if not 1 <= exponent.of <= _HIGHEST_POWER:
            return self.each(pow, "int", base, exponent, line=line)
        made = self.node("present", "int", base, line=line)
        for _ in range(exponent.of - 1):
            made = self.node("mul", "int", made, base, line=line)
        return made

    def each(self, function: Callable[..., Any], kind: Kind, *args: Node, line: int) -> Node:
        """Return what a function of Python's own gives, called with value after value."""
        for node in args:
            if node.kind not in ("bool", "int", "float", "str"):
                name = getattr(function, "__name__", "a function")
                raise Refused(f"calls {name} with {spelled(node)}", line)
        return self.node("each", kind, *args, of=function, line=line)

    def negative(self, node: Node, line: int) -> Node:
        """Return ``-node``."""
        node = self.number(node, "negates", line)
        if node.kind == "number":
            raise Refused("negates what is an int in one case and a float in another", line)
        return self.node("neg" if node.kind == "int" else "fneg", node.kind, node, line=line)

    # Conditions

    def compare(self, sign: ast.cmpop, left: Node, right: Node, line: int) -> Node:
        """Return a comparison, which is a bool and never None."""
        op = _COMPARED.get(type(sign))
        if op is None:
            raise Refused(f"uses the comparison {type(sign).__name__}", line)
        if op in ("eq", "ne") and "none" in (left.kind, right.kind):
            made = self.is_none(right if left.kind == "none" else left, line)
            return made if op == "eq" else self.negated(made, line)
        numbers = ("bool", "int", "float", "number")
        if left.kind in numbers and right.kind in numbers:
            if not (left.kind == right.kind == "bool" and op in ("eq", "ne")):
                left, right = self._comparable(left, right, line)
        elif left.kind != right.kind or not alike(left.kept, right.kept):
            raise Refused(f"compares {spelled(left)} with {spelled(right)}", line)
        elif left.kept is not None and not _has_order(left.kept, op):
            raise Refused(f"compares {spelled(left)}", line)
        return self.node(op, "bool", left, right, line=line)

    def _comparable(self, left: Node, right: Node, line: int) -> tuple[Node, Node]:
        left, right = (self.number(side, "compares", line) for side in (left, right))
        if left.kind == right.kind == "int":
            return left, right
        exactly = "float_exactly"
        return self.to_float(left, line, exactly), self.to_float(right, line, exactly)

    def is_none(self, node: Node, line: int) -> Node:
        """Return whether a value is None."""
        return self.node("is_none", "bool", node, line=line)

    def negated(self, node: Node, line: int) -> Node:
        """Return ``not node`` of a truth."""
        return self.node("not", "bool", node, line=line)

    def both(self, left: Node, right: Node, line: int) -> Node:
        """Return whether both truths hold; the second is not asked where the first fails."""
        return self.node("and", "bool", left, right, line=line)

    def either(self, left: Node, right: Node, line: int) -> Node:
        """Return whether a truth holds; the second is not asked where the first does."""
        return self.node("or", "bool", left, right, line=line)

    def truth(self, node: Node, line: int) -> Node:
        """Return whether Python takes a value for true."""
        if node.kind == "none":
            return self.constant(False, line)
        if node.kind == "number":
            node = self.to_float(node, line)
        if node.kept is not None and _always_true(node.kept):
            return self.negated(self.is_none(node, line), line)
        if node.kind not in ("bool", "int", "float", "str"):
            raise Refused(f"asks for the truth of {spelled(node)}", line)
        if node.kind == "bool" and _never_none(node):
            return node
        return self.node("truth", "bool", node, line=line)

    # Text

    def joined(self, parts: Iterable[Node], line: int) -> Node:
        """Return texts one after the other."""
        return self.node("joined", "str", *parts, line=line)

    def text(self, node: Node, line: int) -> Node:
        """Return what ``str(node)`` gives."""
        if node.kind == "str":
            return node
        if node.kind == "int":
            return self.node("text_of_int", "str", node, line=line)
        return self.each(str, "str", node, line=line)


def _has_order(kept: FieldType, op: str) -> bool:
    """Whether a column compares what is kept so as Python does."""
    if kept.kind == "enum":
        return op not in _ORDERED and enum_type(kept.of) is not None
    return kept.kind in _TIMES


def _always_true(kept: FieldType) -> bool:
    """Whether every value of a field, None apart, is true for Python."""
    if kept.kind in ("enum", "event"):
        above = [vars(base) for base in kept.of.__mro__]
        return not any("__bool__" in names or "__len__" in names for names in above)
    return kept.kind in ("datetime", "date", "time")


def _never_none(node: Node) -> bool:
    if node.op in ("select", "after"):
        return all(_never_none(part) for part in node.args[1:])
    return node.op != "field" and node.kind != "none"
