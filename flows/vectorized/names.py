"""What the names in a function stand for, read anew for each batch.

A global may be bound to something else between two calls. So a constant is read when a batch
comes, and what must stay as it was (a class, a function) is compared by identity then.
"""

from __future__ import annotations

import ast
import enum
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl

from ..fieldtypes import FieldType
from .nodes import ByRows, Kind, Refused

__all__ = ["PLAIN", "Found", "Names", "Reference", "among_plain", "enum_type", "kind_of"]

PLAIN: Final[dict[type, Kind]] = {bool: "bool", int: "int", float: "float", str: "str"}
"""The Python types that expressions calculate with."""
_MOST_AMONG: Final = 1000


@dataclass(frozen=True, slots=True)
class Reference:
    """A name, or a dotted one, and how to read what it is bound to."""

    name: str
    read: Callable[[], Any] = field(compare=False)

    def now(self) -> Any:
        """Return what it is bound to; raises `ByRows` if it is bound to nothing."""
        try:
            return self.read()
        except (KeyError, ValueError, TypeError, AttributeError):
            raise ByRows(f"{self.name} is not defined") from None


@dataclass(frozen=True, slots=True)
class Found:
    """What a name was bound to when the flow was loaded."""

    reference: Reference
    value: Any


class Names:
    """The names that a function reads from around it."""

    def __init__(self, function: types.FunctionType) -> None:
        code = function.__code__
        self._globals = function.__globals__
        written: Any = function  # of which type checkers do not know all
        self._builtins: dict[str, Any] = written.__builtins__
        self._cells = dict(zip(code.co_freevars, function.__closure__ or (), strict=True))
        self.fixed: list[Found] = [Found(Reference("its code", lambda: function.__code__), code)]
        """What has to be the same object when a batch comes."""

    def find(self, tree: ast.expr) -> Found | None:
        """Return what a dotted name is bound to; None if it is no such name."""
        if isinstance(tree, ast.Name):
            reference = Reference(tree.id, self._reader(tree.id))
        elif isinstance(tree, ast.Attribute):
            owner = self.find(tree.value)
            if owner is None or type(owner.value) not in (types.ModuleType, enum.EnumType):
                return None
            reference = _attribute(owner, tree.attr)
        else:
            return None
        try:
            return Found(reference, reference.now())
        except ByRows as error:
            raise Refused(f"uses {error}", tree.lineno) from None

    def fix(self, found: Found) -> None:
        """What was found has to be the same object whenever a batch comes."""
        if not any(found.reference.name == other.reference.name for other in self.fixed):
            self.fixed.append(found)

    def _reader(self, name: str) -> Callable[[], Any]:
        if name in self._cells:
            cell = self._cells[name]
            return lambda: cell.cell_contents
        around, builtins = self._globals, self._builtins
        return lambda: around[name] if name in around else builtins[name]


def _attribute(owner: Found, name: str) -> Reference:
    read, name_of_both = owner.reference.read, f"{owner.reference.name}.{name}"
    if isinstance(owner.value, enum.EnumType):
        return Reference(name_of_both, lambda: getattr(read(), name))
    # As it stands there: a module's own __getattr__ may give another value at each call.
    return Reference(name_of_both, lambda: vars(read())[name])


def kind_of(value: Any) -> Kind | None:
    """Return the kind of a constant, None if it is none."""
    return "none" if value is None else PLAIN.get(type(value))


def among_plain(values: Any, kind: Kind) -> bool:
    """Whether values are a collection of Python's own, of not too many of exactly this kind."""
    if type(values) not in (tuple, frozenset, set, list) or len(values) > _MOST_AMONG:
        return False
    return all(kind_of(value) == kind for value in values)


def enum_type(cls: type[enum.Enum]) -> FieldType | None:
    """Return how a column keeps an enum whose members are equal only to themselves."""
    members = list(cls)
    if any(name in vars(base) for base in _own(cls) for name in ("__eq__", "__hash__")):
        return None
    if any((one == other) != (one is other) for one in members for other in members):
        return None
    kinds = {type(member.value) for member in members}
    if len(kinds) != 1:
        return None
    dtypes: dict[type, pl.DataType] = {bool: pl.Boolean(), int: pl.Int64(), str: pl.String()}
    dtype = dtypes.get(kinds.pop())
    return None if dtype is None else FieldType("enum", dtype, of=cls)


def _own(cls: type) -> list[type]:
    """Return the classes that a user wrote above an enum."""
    return [base for base in cls.__mro__ if base.__module__ not in ("builtins", "enum")]
