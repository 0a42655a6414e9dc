"""What a function means: expressions with a type each, in a tree of its decisions.

An expression is pure, and is evaluated on columns only for the rows for which Python would come
to it. The tree ends in what the function returns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import polars as pl

from ..event import Event
from ..fieldtypes import FieldType

__all__ = [
    "ByRows",
    "Check",
    "Kind",
    "Made",
    "Node",
    "Nothing",
    "Raises",
    "Refused",
    "Test",
    "Tree",
    "alike",
    "dtype_of",
    "kind_of_column",
    "kind_of_field",
    "spelled",
]

Kind = Literal["bool", "int", "float", "str", "none", "number", "enum", "other"]
"""The Python type of a value; `number` is an int in one case and a float in another."""

_DTYPES: Final[dict[str, pl.DataType]] = {
    "bool": pl.Boolean(),
    "int": pl.Int64(),
    "float": pl.Float64(),
    "str": pl.String(),
    "none": pl.Null(),
    "number": pl.Float64(),
}
_KINDS: Final[dict[str, Kind]] = {"bool": "bool", "int": "int", "float": "float", "str": "str"}
_BY_DTYPE: Final[dict[str, Kind]] = {"Int64": "int", "Boolean": "bool", "String": "str"}
_SPELLED: Final = {
    "bool": "a bool",
    "int": "an int",
    "float": "a float",
    "str": "a str",
    "none": "None",
    "number": "an int or a float",
}


class Refused(Exception):
    """Why a function is called row by row, in its user's words."""

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason if line is None else f"line {line} {reason}")


class ByRows(Exception):
    """Why the rows of a batch are taken one by one: columns would not give what Python gives."""


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """An expression: what is done (`op`) to which others; equal ones are the same object."""

    op: str
    kind: Kind
    args: tuple[Node, ...] = ()
    of: Any = None
    """What it holds beside others: a field's name, a constant."""
    kept: FieldType | None = None
    """Of an enum, or of a value that is only passed on: how its column keeps it."""
    line: int = 0


@dataclass(frozen=True, slots=True)
class Nothing:
    """The function returns None."""


@dataclass(frozen=True, slots=True)
class Made:
    """The function returns an event with these fields."""

    event: type[Event]
    fields: dict[str, Node]
    line: int = 0


@dataclass(frozen=True, slots=True)
class Raises:
    """The function raises, or returns what it must not."""

    why: str


@dataclass(frozen=True, slots=True)
class Test:
    """What comes after a condition, if it holds and if not."""

    condition: Node
    yes: Tree
    no: Tree


@dataclass(frozen=True, slots=True)
class Check:
    """An expression that is evaluated, and may raise, before the rest."""

    node: Node
    rest: Tree


Tree: TypeAlias = Nothing | Made | Raises | Test | Check


def dtype_of(node: Node) -> pl.DataType:
    """Return the type of the columns that an expression gives."""
    return _DTYPES[node.kind] if node.kept is None else node.kept.polars


def kind_of_column(dtype: pl.DataType) -> Kind:
    """Return the type of an enum's or a literal's values, by the type of their column."""
    return _BY_DTYPE[str(dtype)]


def kind_of_field(kept: FieldType) -> Kind | None:
    """Return the type of a field's values; None for those that are only passed on."""
    return kind_of_column(kept.polars) if kept.kind == "literal" else _KINDS.get(kept.kind)


def spelled(node: Node) -> str:
    """Return a node's type as a person writes it."""
    if node.kept is not None:
        of, dtype = node.kept.of, node.kept.polars
        if isinstance(dtype, pl.Datetime) and dtype.time_zone != "UTC":
            return f"a datetime in {dtype.time_zone}"
        return of.__name__ if isinstance(of, type) else f"a {node.kept.kind}"
    return _SPELLED.get(node.kind, node.kind)


def alike(one: FieldType | None, other: FieldType | None) -> bool:
    """Whether two fields keep the same values in the same way, nulls apart."""
    if one is None or other is None:
        return one is other
    same = (one.kind, one.polars, one.of) == (other.kind, other.polars, other.of)
    if not same or (one.item is None) != (other.item is None):
        return False
    if one.item is None or other.item is None:
        return True
    return one.item.nullable == other.item.nullable and alike(one.item, other.item)
