"""Expressions evaluated on the columns of a batch, each for the rows that come to it.

A value is a column, or a Python value that all rows share. What a column holds in rows that do not
come to an expression is of no account: guards leave those rows out, and nothing reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import polars as pl

from .nodes import ByRows, Node

__all__ = ["UNKNOWN", "Active", "Columns", "Evaluation", "Operation", "Span", "Value"]

Value: TypeAlias = Any
"""A `pl.Series`, or a bool, int, float, str or None that all rows share."""
Span: TypeAlias = tuple[int, int]
"""The least and the greatest that an int can be."""

UNKNOWN: Final = object()
"""The value of what has not been evaluated."""


class Active:
    """The rows that come to an expression: those of `above` for which a test holds, or fails."""

    __slots__ = ("_holds", "_mask", "_test", "above")

    def __init__(self, test: pl.Series, holds: bool, above: Active | None) -> None:
        self._test = test
        self._holds = holds
        self.above = above
        self._mask: pl.Series | None = None

    @property
    def mask(self) -> pl.Series:
        """Which rows they are."""
        if self._mask is None:
            mask = self._test if self._holds else ~self._test
            self._mask = mask if self.above is None else mask & self.above.mask
        return self._mask


class Columns:
    """The columns of some rows of a frame, cut out when they are asked for."""

    __slots__ = ("_cut", "_frame", "_keep", "height")

    def __init__(self, frame: pl.DataFrame, keep: pl.Series | None = None) -> None:
        """Take the rows that `keep` says, or all."""
        self._frame = frame
        self._keep = keep
        self._cut: dict[str, pl.Series] = {}
        self.height = frame.height if keep is None else int(keep.sum())

    def get(self, name: str) -> pl.Series:
        """Return a column; what is not cut is not copied."""
        if self._keep is None:
            return self._frame.get_column(name)
        found = self._cut.get(name)
        if found is None:
            found = self._cut[name] = self.cut(self._frame.get_column(name))
        return found

    def cut(self, column: pl.Series) -> pl.Series:
        """Return these rows of a column that has all."""
        return column if self._keep is None else column.filter(self._keep)


class Evaluation:
    """The values of expressions over the columns of some rows, each computed once."""

    def __init__(
        self,
        columns: Columns,
        operations: Mapping[str, Operation],
        settings: object,
        before: Callable[[Node], Value] | None = None,
    ) -> None:
        """Evaluate over `columns`; `before` gives what is known of a node for all their rows."""
        self.columns = columns
        self.settings = settings
        self.length = max(columns.height, 2)
        """Of columns: a single row is given twice, as polars rounds it differently alone."""
        self._before = before
        self._operations = operations
        self._values: dict[tuple[Node, Active | None], Value] = {}
        self._spans: dict[tuple[Node, Active | None], Span] = {}
        self._actives: dict[tuple[Node, bool, Active | None], Active] = {}

    # Values

    def value(self, node: Node, active: Active | None) -> Value:
        """Return what an expression gives; raises `ByRows` if Python would give something else."""
        found = self.known(node, active)
        if found is UNKNOWN and self._before is not None:
            found = self._before(node)
        if found is UNKNOWN:
            found = self._operations[node.op](self, node, active)
        self._values[node, active] = found
        return found

    def known(self, node: Node, active: Active | None) -> Value:
        """Return what an expression gave for these rows or more; `UNKNOWN` if it was not asked."""
        while active is not None:
            if (node, active) in self._values:
                return self._values[node, active]
            active = active.above
        return self._values.get((node, None), UNKNOWN)

    def present(self, node: Node, active: Active | None) -> Value:
        """Return what an expression gives where None would raise."""
        value = self.value(node, active)
        if isinstance(value, pl.Series):
            if value.null_count() and self.of(value, active).null_count():
                raise ByRows(_missing(node))
        elif value is None:
            raise ByRows(_missing(node))
        return value

    def column(self, name: str) -> pl.Series:
        """Return a field as expressions take it: in one piece, of two rows at least."""
        column = self.columns.get(name)
        if self.columns.height == 1:
            column = column.clone().extend(column)
        return column.rechunk() if column.n_chunks() > 1 else column

    def shared(self, value: Value, dtype: pl.DataType) -> pl.Series:
        """Return a value as a column, written out."""
        if isinstance(value, pl.Series):
            return value
        return pl.Series([value], dtype=dtype).new_from_index(0, self.length)

    # The rows that come to an expression

    def under(self, test: Node, column: pl.Series, holds: bool, active: Active | None) -> Active:
        """Return the rows among `active` for which a test holds, or fails."""
        found = self._actives.get((test, holds, active))
        if found is None:
            found = self._actives[test, holds, active] = Active(column, holds, active)
        return found

    def of(self, column: pl.Series, active: Active | None) -> pl.Series:
        """Return the rows of a column that count."""
        return column if active is None else column.filter(active.mask)

    def some(self, found: pl.Series, active: Active | None) -> bool:
        """Whether something is found in a row that counts."""
        if not found.any():
            return False
        return active is None or bool((found & active.mask).any())

    # The range of ints

    def span(self, node: Node, active: Active | None) -> Span:
        """Return the range of an int; wider than it is, if only because other rows are in it."""
        value = self.value(node, active)
        if not isinstance(value, pl.Series):
            return value, value
        key = (node, active)
        while key not in self._spans and key[1] is not None:
            key = (node, key[1].above)
        found = self._spans.get(key)
        if found is None:
            found = self._spans[node, active] = range_of(value)
        return found

    def tight(self, node: Node, active: Active | None) -> Span:
        """Return the range of an int in the rows that count."""
        value = self.value(node, active)
        if not isinstance(value, pl.Series):
            return value, value
        return range_of(self.of(value, active))

    def spans(self, node: Node, active: Active | None, span: Span) -> None:
        """Keep the range of an int that was found without looking."""
        self._spans[node, active] = span


Operation: TypeAlias = Callable[[Evaluation, Node, "Active | None"], Value]


def range_of(column: pl.Series) -> Span:
    """Return the least and the greatest of a column of ints; of none, 0 and 0."""
    low, high = column.min(), column.max()
    return (low, high) if isinstance(low, int) and isinstance(high, int) else (0, 0)


def _missing(node: Node) -> str:
    if node.op == "field":
        return f"{node.of} is None where a value is needed"
    return f"line {node.line}: None where a value is needed"
