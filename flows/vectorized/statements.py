"""Reads a function's statements: variables take their values, decisions become a tree.

Each path through the function is followed once; branches that return nothing are joined again by
choosing each variable's value. What is assigned is evaluated even if nothing uses it, as it may
raise.
"""

from __future__ import annotations

import ast
import inspect
import types
from collections.abc import Sequence
from typing import Any, Final

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from ..event import Event, EventMeta
from .expressions import Expressions, Variables
from .nodes import Check, Made, Node, Nothing, Raises, Refused, Test, Tree

__all__ = ["Statements", "gives_its_fields"]

_MOST_STEPS: Final = 500


class Statements:
    """Turns the body of one function into a tree."""

    def __init__(self, expressions: Expressions, output: type[Event], optional: bool) -> None:
        """Read for a function that promises an `output`, or None as well if `optional`."""
        self._read = expressions
        self._output = output
        self._optional = optional
        self._steps = 0

    def tree(self, body: Sequence[ast.stmt], seen: Variables) -> Tree:
        """Return what happens from here to the function's end; raises `Refused`."""
        for place, statement in enumerate(body):
            rest = body[place + 1 :]
            line = statement.lineno
            self._steps += 1
            if self._steps > _MOST_STEPS:
                raise Refused("has too many ways to go", line)
            if isinstance(statement, ast.Return):
                return self._returned(statement.value, seen, line)
            if isinstance(statement, ast.Raise):
                return Raises(f"line {line} raises")
            if isinstance(statement, ast.If):
                return self._if(statement, rest, seen)
            if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
                seen, checks = self._assigned(statement, seen)
                tree = self.tree(rest, seen)
                return _checked(checks, tree)
            if not _does_nothing(statement):
                raise Refused(f"has a statement `{_word(statement)}`", line)
        return self._nothing("it ends without a return")

    # Branches

    def _if(self, statement: ast.If, rest: Sequence[ast.stmt], seen: Variables) -> Tree:
        test = self._read.condition(statement.test, seen)
        if _returns(statement):
            yes = self.tree([*statement.body, *rest], seen)
            no = self.tree([*statement.orelse, *rest], seen)
            return Test(test, yes, no)
        seen, checks = self._joined(statement, test, seen)
        return _checked(checks, self.tree(rest, seen))

    def _joined(
        self, statement: ast.If, test: Node, seen: Variables
    ) -> tuple[Variables, list[Node]]:
        """Return what variables hold after branches that do not return, and what to evaluate."""
        make, line = self._read.make, statement.lineno
        yes, checks_yes = self._straight(statement.body, seen)
        no, checks_no = self._straight(statement.orelse, seen)
        checks = [test]
        checks += [make.node("if", "none", test, check) for check in checks_yes]
        denied = make.negated(test, line)
        checks += [make.node("if", "none", denied, check) for check in checks_no]
        held = dict(seen)
        for name in {**yes, **no}:
            held[name] = self._chosen(test, yes.get(name), no.get(name), line)
        return held, checks

    def _chosen(
        self, test: Node, yes: Node | Made | None, no: Node | Made | None, line: int
    ) -> Node | Made | None:
        if yes is no or yes is None or no is None:
            return yes if yes is no else None
        make = self._read.make
        if isinstance(yes, Node) and isinstance(no, Node):
            return make.select(test, yes, no, line)
        if isinstance(yes, Made) and isinstance(no, Made) and yes.event is no.event:
            fields: dict[str, Node] = {}
            for name, node in yes.fields.items():
                other = no.fields[name]
                fields[name] = node if node is other else make.select(test, node, other, line)
            return Made(yes.event, fields, line)
        raise Refused("gives a variable another class in each case", line)

    def _straight(self, body: Sequence[ast.stmt], seen: Variables) -> tuple[Variables, list[Node]]:
        """Follow statements that do not return."""
        checks: list[Node] = []
        for statement in body:
            if isinstance(statement, ast.If):
                test = self._read.condition(statement.test, seen)
                seen, more = self._joined(statement, test, seen)
            elif isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
                seen, more = self._assigned(statement, seen)
            elif _does_nothing(statement):
                continue
            else:
                raise Refused(f"has a statement `{_word(statement)}`", statement.lineno)
            checks += more
        return seen, checks

    # Assignments

    def _assigned(
        self, statement: ast.Assign | ast.AnnAssign | ast.AugAssign, seen: Variables
    ) -> tuple[Variables, list[Node]]:
        line = statement.lineno
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        target = targets[0]
        if len(targets) > 1 or not isinstance(target, ast.Name):
            raise Refused("assigns to more than one name", line)
        if statement.value is None:
            return seen, []
        if isinstance(statement, ast.AugAssign):
            before = self._read.value(ast.copy_location(ast.Name(target.id), target), seen)
            after = self._read.value(statement.value, seen)
            node = self._read.make.arithmetic(statement.op, before, after, line)
            return {**seen, target.id: node}, [node]
        event = self._event(statement.value, seen)
        if event is not None:
            return {**seen, target.id: event}, list(event.fields.values())
        node = self._read.value(statement.value, seen)
        return {**seen, target.id: node}, [node]

    # What is returned

    def _returned(self, tree: ast.expr | None, seen: Variables, line: int) -> Tree:
        if tree is None or (isinstance(tree, ast.Constant) and tree.value is None):
            return self._nothing(f"line {line} returns None")
        if isinstance(tree, ast.IfExp):
            test = self._read.condition(tree.test, seen)
            yes = self._returned(tree.body, seen, line)
            return Test(test, yes, self._returned(tree.orelse, seen, line))
        event = self._event(tree, seen)
        if event is None:
            self._read.value(tree, seen)  # which may have more to say
            raise Refused(f"returns `{ast.unparse(tree)[:40]}`, which makes no event", line)
        kept = self._output.__event_names__
        return _checked([node for name, node in event.fields.items() if name not in kept], event)

    def _nothing(self, why: str) -> Tree:
        return Nothing() if self._optional else Raises(why)

    def _event(self, tree: ast.expr, seen: Variables) -> Made | None:
        """Return the event that an expression gives; None if it gives none."""
        if isinstance(tree, ast.Name):
            held = seen.get(tree.id)
            return held if isinstance(held, Made) else None
        if not isinstance(tree, ast.Call):
            return None
        function = tree.func
        if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
            owner = seen.get(function.value.id)
            if isinstance(owner, Made):
                if function.attr != "replace" or owner.event.replace is not Event.replace:
                    raise Refused(f"calls {ast.unparse(function)}", tree.lineno)
                fields = {**owner.fields, **self._keywords(tree, owner, seen)}
                return Made(owner.event, fields, tree.lineno)
        if isinstance(function, ast.Name | ast.Attribute):
            return self._constructed(tree, function, seen)
        return None

    def _keywords(self, tree: ast.Call, owner: Made, seen: Variables) -> dict[str, Node]:
        found = self._named(tree, seen)
        for name in found.keys() - owner.fields.keys():
            raise Refused(f"replaces {name}, which is no field", tree.lineno)
        return found

    def _named(self, tree: ast.Call, seen: Variables) -> dict[str, Node]:
        found: dict[str, Node] = {}
        if tree.args:
            raise Refused("makes an event without naming its fields", tree.lineno)
        for keyword in tree.keywords:
            if keyword.arg is None:
                raise Refused("makes an event with **", tree.lineno)
            found[keyword.arg] = self._read.value(keyword.value, seen)
        return found

    def _constructed(
        self, tree: ast.Call, function: ast.Name | ast.Attribute, seen: Variables
    ) -> Made | None:
        """Return an event made by its class; None if something else is called."""
        found = self._read.class_of(function)
        if found is None:
            return None
        cls: type[Event] = found.value
        if not gives_its_fields(cls):
            raise Refused(
                f"makes a {cls.__name__}, whose class is made in a way of its own", tree.lineno
            )
        self._read.names.fix(found)
        given = self._named(tree, seen)
        return Made(cls, self._filled(cls, given, tree.lineno), tree.lineno)

    def _filled(self, cls: type[Event], given: dict[str, Node], line: int) -> dict[str, Node]:
        """Return every field of an event: those given by name or alias, and defaults."""
        fields: dict[str, Node] = {}
        for name in cls.__event_names__:
            spelled, default = _default(cls, name)
            if spelled in given:
                fields[name] = given.pop(spelled)
            elif default is PydanticUndefined or default is Ellipsis:
                raise Refused(f"makes a {cls.__name__} without {spelled}", line)
            else:
                fields[name] = self._read.plain(default, f"the default of {spelled}", line)
        for spelled in given:
            raise Refused(f"gives a {cls.__name__} a field {spelled}, which it has not", line)
        return fields


def gives_its_fields(cls: type[Event]) -> bool:
    """Whether an event is made and read as `EventMeta` wrote it."""
    return (
        type(cls) is EventMeta
        and cls.__new__ is object.__new__
        and cls.__getattribute__ is object.__getattribute__
        and all(
            isinstance(inspect.getattr_static(cls, name), types.MemberDescriptorType)
            for name in cls.__event_names__
        )
    )


def _default(cls: type[Event], name: str) -> tuple[str, object]:
    """Return what a field is called in its constructor, and its default or what makes it."""
    default: Any = cls.__event_defaults__.get(name, PydanticUndefined)
    spelled = name
    if isinstance(default, FieldInfo):
        spelled = default.alias or name
        default = default.default if default.default_factory is None else default.default_factory
    return spelled, default


def _checked(checks: Sequence[Node], tree: Tree) -> Tree:
    for node in reversed(checks):
        if node.op not in ("const", "field", "setting"):
            tree = Check(node, tree)
    return tree


def _returns(statement: ast.If) -> bool:
    return any(isinstance(inner, ast.Return | ast.Raise) for inner in ast.walk(statement))


def _does_nothing(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Pass):
        return True
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _word(statement: ast.stmt) -> str:
    return ast.unparse(statement).split("\n", 1)[0][:40]
