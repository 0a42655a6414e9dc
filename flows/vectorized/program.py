"""Row functions on columns: what can be known of a function beforehand, and a batch's run.

The outcome is that of calling the function for each row, or `ByRows`: then the batch has to be
taken row by row, as some row raises or columns would give another result.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from ..batch import HIDDEN
from ..event import Event
from ..fieldtypes import FieldType, field_types
from ..settings import Settings
from .arithmetic import ARITHMETIC
from .each import EACH
from .evaluation import UNKNOWN, Active, Columns, Evaluation, Value
from .expressions import Expressions
from .intact import check_nulls, check_readable, needs_reading
from .logic import INT64, LOGIC, where
from .names import Found, Names
from .nodes import ByRows, Check, Made, Node, Raises, Refused, Test, Tree, dtype_of
from .operations import Operations
from .results import fitted
from .source import definition
from .statements import Statements, gives_its_fields
from .text import TEXT

__all__ = ["Program", "program_of"]

_OPERATIONS: Final = {**LOGIC, **ARITHMETIC, **EACH, **TEXT}
_FAILURES: Final = (ArithmeticError, MemoryError, RuntimeError, TypeError, ValueError)
"""What an operation raises for values that no guard has thought of: the loop has the answer."""
_LINE: Final = "\n"


@dataclass(frozen=True, slots=True)
class Program:
    """A row function as expressions on columns."""

    tree: Tree
    fields: tuple[tuple[str, FieldType, Node], ...]
    """Each field of what comes out: how it is kept, and the expression that gives it."""
    read: tuple[tuple[str, FieldType], ...]
    """The fields whose columns may hold what no value of them is."""
    fixed: tuple[Found, ...]
    """Names that have to be bound to what they were bound to."""

    def over(self, rows: pl.DataFrame, settings: object = None) -> pl.DataFrame | None:
        """Return what the function gives for rows with hidden columns; None for no row.

        Raises `ByRows` if that has to be found row by row.
        """
        try:
            return self._over(rows, settings)
        except pl.exceptions.PolarsError as error:
            raise ByRows(f"polars: {str(error).partition(_LINE)[0]}") from None
        except _FAILURES as error:
            raise ByRows(f"{type(error).__name__}: {str(error).partition(_LINE)[0]}") from None

    def _over(self, rows: pl.DataFrame, settings: object) -> pl.DataFrame | None:
        for found in self.fixed:
            if found.reference.now() is not found.value:
                raise ByRows(f"{found.reference.name} is not what it was")
        for name, kept in self.read:
            check_readable(name, kept, rows.get_column(name))
        run = Evaluation(Columns(rows), _OPERATIONS, settings)
        walk = _Walk(run)
        keep = walk.through(self.tree, None)
        if isinstance(keep, pl.Series):
            if not keep.null_count() and keep.all():
                keep = True
            elif not keep.any():
                keep = False
        if keep is False or not rows.height:
            return None
        if keep is not True:
            columns = Columns(rows, keep)
            run = Evaluation(columns, _OPERATIONS, settings, _known(run, walk, columns))
        made = [self._column(run, *field) for field in self.fields]
        hidden = [run.columns.get(name) for name in HIDDEN]
        return pl.DataFrame([*made, *hidden])

    def _column(self, run: Evaluation, name: str, kept: FieldType, node: Node) -> pl.Series:
        column = self._given(run, name, kept, node)
        check_nulls(name, kept, column)
        if needs_reading(kept):
            check_readable(name, kept, column)
        return column if column.name == name else column.alias(name)

    def _given(self, run: Evaluation, name: str, kept: FieldType, node: Node) -> pl.Series:
        if node.op == "field":
            column = run.columns.get(node.of)
            if column.dtype == kept.polars:
                return column
        value = run.value(node, None)
        if not isinstance(value, pl.Series):
            if type(value) is int and value not in INT64:
                raise ByRows(f"{name} does not fit its field")
            value = run.shared(value, kept.polars if value is None else dtype_of(node))
        if value.dtype != kept.polars:
            try:
                value = value.cast(kept.polars)
            except pl.exceptions.InvalidOperationError:
                raise ByRows(f"{name} does not fit its field") from None
        height = run.columns.height
        return value if value.len() == height else value[:height]


class _Walk:
    """Goes through a tree and finds which rows come to an event."""

    def __init__(self, run: Evaluation) -> None:
        self._run = run
        self.reached: list[Active | None] = []
        """The rows that came to each event."""

    def through(self, tree: Tree, active: Active | None) -> bool | pl.Series:
        """Return for which rows something is made; raises `ByRows` where Python raises."""
        while isinstance(tree, Check):
            self._run.value(tree.node, active)
            tree = tree.rest
        if isinstance(tree, Raises):
            if active is None or active.mask.any():
                raise ByRows(tree.why)
            return False
        if isinstance(tree, Made):
            self.reached.append(active)
            return True
        return self._either(tree, active) if isinstance(tree, Test) else False

    def _either(self, tree: Test, active: Active | None) -> bool | pl.Series:
        holds = where(self._run, tree.condition, active)
        if isinstance(holds, bool):
            return self.through(tree.yes if holds else tree.no, active)
        under = self._run.under
        yes = self.through(tree.yes, under(tree.condition, holds, True, active))
        no = self.through(tree.no, under(tree.condition, holds, False, active))
        if isinstance(yes, bool) and isinstance(no, bool):
            if yes == no:
                return yes
            return holds if yes else ~holds
        if isinstance(yes, bool):
            return holds | no if yes else ~holds & no
        if isinstance(no, bool):
            return ~holds | yes if no else holds & yes
        return (holds & yes) | (~holds & no)


def _known(run: Evaluation, walk: _Walk, columns: Columns) -> Callable[[Node], Value]:
    """Return how to find what was computed for all rows before some of them were kept."""
    active = walk.reached[0] if len(walk.reached) == 1 else None

    def known(node: Node) -> Value:
        value = run.known(node, active)
        if not isinstance(value, pl.Series) or value is UNKNOWN:
            return value
        return UNKNOWN if columns.height == 1 else columns.cut(value)

    return known


def program_of(
    function: Callable[..., Any],
    event: type[Event],
    output: type[Event],
    *,
    optional: bool,
    settings: str | None = None,
    settings_class: type[Settings] | None = None,
) -> Program:
    """Return a function of one row as expressions; raises `Refused` with the reason if it is none.

    `settings` is the parameter that takes the flow's settings.
    """
    tree = definition(function)
    assert isinstance(function, types.FunctionType)
    row = _parameters(tree, settings)
    if not gives_its_fields(event):
        raise Refused(f"{event.__name__} gives its fields in a way of its own")
    make, names = Operations(), Names(function)
    local = frozenset((*function.__code__.co_varnames, *function.__code__.co_cellvars))
    expressions = Expressions(make, names, local, (settings, settings_class))
    try:
        seen = {row: expressions.row(event)}
        found = Statements(expressions, output, optional).tree(tree.body, seen)
        fields = fitted(make, found, output)
    except RecursionError:
        raise Refused("it is nested too deeply") from None
    kept = field_types(output)
    touchy = tuple((n, k) for n, k in field_types(event).items() if needs_reading(k))
    return Program(
        found,
        tuple((name, kept[name], node) for name, node in fields.items()),
        touchy,
        tuple(names.fixed),
    )


def _parameters(tree: Any, settings: str | None) -> str:
    """Return the parameter that takes the row; raises `Refused` if there are others."""
    arguments = tree.args
    positional = [one.arg for one in (*arguments.posonlyargs, *arguments.args)]
    others = {one.arg for one in arguments.kwonlyargs} | set(positional[1:])
    if not positional or arguments.vararg or arguments.kwarg or others - {settings}:
        raise Refused("it takes more than a row")
    return str(positional[0])
