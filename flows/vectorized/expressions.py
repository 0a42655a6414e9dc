"""Reads Python expressions: a syntax tree in, typed operations out."""

from __future__ import annotations

import ast
import enum
import functools
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from ..event import Event, EventMeta
from ..fieldtypes import FieldType, field_types
from ..settings import Settings
from .calls import FUNCTIONS, METHODS, called, method
from .names import PLAIN, Found, Names, among_plain, enum_type, kind_of
from .nodes import Made, Node, Refused, kind_of_field, spelled
from .operations import Operations
from .parts import attribute, formatted, piece

__all__ = ["Expressions", "Variables"]

Variables: TypeAlias = Mapping[str, "Node | Made | None"]
"""What the variables hold at one place; None for one that may not have been set."""


class Expressions:
    """Turns the expressions of one function into operations."""

    def __init__(
        self,
        make: Operations,
        names: Names,
        local: frozenset[str],
        settings: tuple[str | None, type[Settings] | None],
    ) -> None:
        """Read for a function with these variables, and this parameter for the flow's settings."""
        self.make = make
        self.names = names
        self._local = local
        self._parameter, self._settings = settings

    def value(self, tree: ast.expr, seen: Variables) -> Node:
        """Return what an expression gives; raises `Refused`."""
        read = _READ.get(type(tree))
        if read is None:
            raise Refused(f"uses {_named(tree)}", tree.lineno)
        return read(self, tree, seen)

    def condition(self, tree: ast.expr, seen: Variables) -> Node:
        """Return whether an expression is true, as ``if`` asks."""
        line = tree.lineno
        if isinstance(tree, ast.BoolOp):
            join = self.make.both if isinstance(tree.op, ast.And) else self.make.either
            parts = [self.condition(part, seen) for part in tree.values]
            return functools.reduce(lambda one, other: join(one, other, line), parts)
        return self.make.truth(self.value(tree, seen), line)

    # Names and constants

    def _constant(self, tree: ast.Constant, seen: Variables) -> Node:
        return self.make.constant(tree.value, tree.lineno)

    def _name(self, tree: ast.Name, seen: Variables) -> Node:
        name, line = tree.id, tree.lineno
        if name in seen:
            node = seen[name]
            if node is None:
                raise Refused(f"uses {name} where it may not have been set", line)
            if isinstance(node, Made):
                raise Refused(f"uses {name} as a whole", line)
            return node
        if name in self._local:
            how = "as a whole" if name == self._parameter else "where it may not have been set"
            raise Refused(f"uses {name} {how}", line)
        return self._found(self._find(tree), line)

    def _find(self, tree: ast.expr) -> Found:
        root = tree
        while isinstance(root, ast.Attribute):
            root = root.value
        found = None
        if isinstance(root, ast.Name) and root.id not in self._local:
            found = self.names.find(tree)
        if found is None:
            raise Refused(f"reads {ast.unparse(tree)}", tree.lineno)
        return found

    def _found(self, found: Found, line: int) -> Node:
        kind = kind_of(found.value)
        if kind is not None:
            return self.make.node("given", kind, of=found.reference, line=line)
        node = self.plain(found.value, found.reference.name, line)
        self.names.fix(found)
        return node

    def plain(self, value: Any, name: str, line: int) -> Node:
        """Return a constant that has a name; raises `Refused` for what no column holds."""
        if not isinstance(value, enum.Enum):
            if kind_of(value) is None:
                raise Refused(f"uses {name}, a {type(value).__name__}", line)
            return self.make.constant(value, line)
        kept = enum_type(type(value))
        if kept is None:
            raise Refused(f"uses {name}, whose class compares in a way of its own", line)
        return self.make.node("const", "enum", of=value.value, kept=kept, line=line)

    def class_of(self, tree: ast.Name | ast.Attribute) -> Found | None:
        """Return the event class that a name stands for; None if it stands for none."""
        root: ast.expr = tree
        while isinstance(root, ast.Attribute):
            root = root.value
        if not isinstance(root, ast.Name) or root.id in self._local:
            return None
        found = self.names.find(tree)
        is_event = found is not None and isinstance(found.value, EventMeta)
        return found if is_event else None

    def _attribute(self, tree: ast.Attribute, seen: Variables) -> Node:
        owner, line = tree.value, tree.lineno
        if isinstance(owner, ast.Name):
            made = seen.get(owner.id)
            if isinstance(made, Made):
                if tree.attr not in made.fields:
                    kind = made.event.__name__
                    raise Refused(f"reads .{tree.attr}, which is no field of {kind}", line)
                return made.fields[tree.attr]
            if owner.id == self._parameter and made is None:
                return self._setting(owner.id, tree.attr, line)
        if self._is_own(owner):
            return attribute(self.make, self.value(owner, seen), tree.attr, line)
        return self._found(self._find(tree), line)

    def row(self, event: type[Event]) -> Made:
        """Return the row that the function is called with."""
        fields = {name: self._field(name, kept) for name, kept in field_types(event).items()}
        return Made(event, fields)

    def _field(self, name: str, kept: FieldType) -> Node:
        kind = kind_of_field(kept)
        if kind is not None:
            return self.make.node("field", kind, of=name)
        return self.make.node(
            "field", "enum" if kept.kind == "enum" else "other", of=name, kept=kept
        )

    def _setting(self, parameter: str, name: str, line: int) -> Node:
        fields = {} if self._settings is None else self._settings.model_fields
        if name not in fields:
            raise Refused(f"reads {parameter}.{name}, which is no field of the settings", line)
        kind = PLAIN.get(fields[name].annotation)  # type: ignore[arg-type]
        if kind is None:
            raise Refused(f"reads {parameter}.{name}, which is no plain number or text", line)
        return self.make.node("setting", kind, of=name, line=line)

    # Operations

    def _binary(self, tree: ast.BinOp, seen: Variables) -> Node:
        left, right = self.value(tree.left, seen), self.value(tree.right, seen)
        return self.make.arithmetic(tree.op, left, right, tree.lineno)

    def _unary(self, tree: ast.UnaryOp, seen: Variables) -> Node:
        line = tree.lineno
        if isinstance(tree.op, ast.Not):
            return self.make.negated(self.condition(tree.operand, seen), line)
        node = self.value(tree.operand, seen)
        if isinstance(tree.op, ast.USub):
            if node.op == "const" and node.kind in ("int", "float"):
                return self.make.constant(-node.of, line)
            return self.make.negative(node, line)
        if isinstance(tree.op, ast.UAdd):
            node = self.make.number(node, "uses + on", line)
            if node.kind != "number":
                return self.make.node("present", node.kind, node, line=line)
        raise Refused(f"uses {_named(tree)}", line)

    def _boolean(self, tree: ast.BoolOp, seen: Variables) -> Node:
        """Return ``and`` or ``or`` as a value, which is one of the operands."""
        made, line = self.value(tree.values[0], seen), tree.lineno
        for part in tree.values[1:]:
            other, test = self.value(part, seen), self.make.truth(made, line)
            if made.kind == other.kind == "bool" and test is made:
                join = self.make.both if isinstance(tree.op, ast.And) else self.make.either
                if self.make.truth(other, line) is other:
                    made = join(made, other, line)
                    continue
            if isinstance(tree.op, ast.And):
                made = self.make.select(test, other, made, line)
            else:
                made = self.make.select(test, made, other, line)
        return made

    def _conditional(self, tree: ast.IfExp, seen: Variables) -> Node:
        test = self.condition(tree.test, seen)
        yes, no = self.value(tree.body, seen), self.value(tree.orelse, seen)
        return self.make.select(test, yes, no, tree.lineno)

    def _comparison(self, tree: ast.Compare, seen: Variables) -> Node:
        left, made = self.value(tree.left, seen), None
        for operator, side in zip(tree.ops, tree.comparators, strict=True):
            if isinstance(operator, ast.In | ast.NotIn):
                if len(tree.ops) > 1:
                    raise Refused("chains `in` with other comparisons", tree.lineno)
                return self._membership(left, operator, side, seen)
            right = self.value(side, seen)
            if isinstance(operator, ast.Is | ast.IsNot):
                found = self._identity(operator, left, right, side.lineno)
            else:
                found = self.make.compare(operator, left, right, side.lineno)
            made = found if made is None else self.make.both(made, found, tree.lineno)
            left = right
        assert made is not None
        return made

    def _identity(self, operator: ast.cmpop, left: Node, right: Node, line: int) -> Node:
        if "none" in (left.kind, right.kind):
            found = self.make.is_none(right if left.kind == "none" else left, line)
        elif left.kind == right.kind == "enum":
            found = self.make.compare(ast.Eq(), left, right, line)
        else:
            raise Refused(f"asks whether {spelled(left)} is {spelled(right)}", line)
        return found if isinstance(operator, ast.Is) else self.make.negated(found, line)

    def _membership(self, left: Node, operator: ast.cmpop, side: ast.expr, seen: Variables) -> Node:
        line = side.lineno
        made = self._among(left, side, seen)
        if made is None:
            text = self.value(side, seen)
            if text.kind != "str" or left.kind != "str" or left.op not in ("const", "given"):
                raise Refused(f"asks whether {spelled(left)} is in {spelled(text)}", line)
            made = self.make.node("contains", "bool", text, left, line=line)
        return made if isinstance(operator, ast.In) else self.make.negated(made, line)

    def _among(self, left: Node, side: ast.expr, seen: Variables) -> Node | None:
        """Return whether a value is one of a collection of constants; None if it is no such."""
        line = side.lineno
        if isinstance(side, ast.Tuple | ast.List | ast.Set):
            made = self.make.node("never", "bool", left, line=line)
            for element in side.elts:
                one = self.value(element, seen)
                if one.op not in ("const", "given", "setting"):
                    raise Refused("looks among values that are no constants", line)
                if one.kind == "float" and one.op != "const":
                    raise Refused("looks among floats that may be NaN", line)
                same = self._equal(left, one, line)
                if same is not None:
                    made = self.make.either(made, same, line)
            return made
        if not isinstance(side, ast.Name | ast.Attribute) or self._is_own(side):
            return None
        found = self._find(side)
        if not isinstance(found.value, tuple | frozenset | set | list):
            return None
        if left.kind not in ("str", "int"):
            raise Refused(f"asks whether {spelled(left)} is in {found.reference.name}", line)
        if not among_plain(found.value, left.kind):
            raise Refused(f"uses {found.reference.name}, which holds more than plain values", line)
        return self.make.node("among", "bool", left, of=found.reference, line=line)

    def _is_own(self, tree: ast.expr) -> bool:
        while isinstance(tree, ast.Attribute):
            tree = tree.value
        return not isinstance(tree, ast.Name) or tree.id in self._local

    def _equal(self, left: Node, right: Node, line: int) -> Node | None:
        """Return whether two are equal; None if their types never are."""
        numbers = ("bool", "int", "float", "number")
        if {left.kind, right.kind} <= {*numbers, "str"} and (
            (left.kind in numbers) != (right.kind in numbers)
        ):
            return None
        return self.make.compare(ast.Eq(), left, right, line)

    # Calls and text

    def _call(self, tree: ast.Call, seen: Variables) -> Node:
        line, function = tree.lineno, tree.func
        if isinstance(function, ast.Attribute) and not self._names_something(function, seen):
            if function.attr not in METHODS and self._is_own(function):
                raise Refused(f"calls {ast.unparse(function)}", line)
            owner = self.value(function.value, seen)
            return method(self.make, owner, function.attr, self._arguments(tree, seen), line)
        if not isinstance(function, ast.Name | ast.Attribute) or self._is_own(function):
            raise Refused(f"calls {ast.unparse(function)}", line)
        found = self._find(function)
        try:
            known = found.value in FUNCTIONS
        except TypeError:
            known = False
        if not known:
            raise Refused(f"calls {found.reference.name}", line)
        self.names.fix(found)
        given = self._arguments(tree, seen)
        return called(self.make, found.value, found.reference.name, given, line)

    def _names_something(self, function: ast.Attribute, seen: Variables) -> bool:
        """Whether a dotted name leads to a function of a module."""
        return not self._is_own(function) and self.names.find(function) is not None

    def _arguments(self, tree: ast.Call, seen: Variables) -> list[Node]:
        if tree.keywords or any(isinstance(one, ast.Starred) for one in tree.args):
            raise Refused(f"calls {ast.unparse(tree.func)} with names or stars", tree.lineno)
        return [self.value(one, seen) for one in tree.args]

    def _subscript(self, tree: ast.Subscript, seen: Variables) -> Node:
        return piece(self.make, self.value(tree.value, seen), tree)

    def _formatted(self, tree: ast.JoinedStr, seen: Variables) -> Node:
        parts: list[Node] = []
        for part in tree.values:
            if isinstance(part, ast.Constant):
                parts.append(self.make.constant(part.value, part.lineno))
                continue
            assert isinstance(part, ast.FormattedValue)
            parts.append(formatted(self.make, part, self.value(part.value, seen)))
        return self.make.joined(parts, tree.lineno)


def _named(tree: ast.AST) -> str:
    text = ast.unparse(tree)
    return f"`{text}`" if len(text) <= 40 else f"`{text[:37]}...`"


_READ: Final[dict[type, Callable[[Expressions, Any, Variables], Node]]] = {
    ast.Constant: Expressions._constant,
    ast.Name: Expressions._name,
    ast.Attribute: Expressions._attribute,
    ast.BinOp: Expressions._binary,
    ast.UnaryOp: Expressions._unary,
    ast.BoolOp: Expressions._boolean,
    ast.IfExp: Expressions._conditional,
    ast.Compare: Expressions._comparison,
    ast.Call: Expressions._call,
    ast.JoinedStr: Expressions._formatted,
    ast.Subscript: Expressions._subscript,
}
