"""Evaluates expressions so that what a row gives does not depend on the rows beside it.

Most expressions are so by themselves. Those that divide, or take powers, by a constant are not:
polars multiplies by the constant's reciprocal, except in a frame or chunk of one row or in a
column that it keeps as one value and a count, where it divides: the last bit may differ. They are
evaluated over rows in one form; see `as_several`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import polars as pl

from ..batch import as_several
from ..expressions import columns_of, uses_selector, without_company

__all__ = ["RowWise", "by_rows"]

_HEIGHT: Final = "_hw_height"


def by_rows(
    run: Callable[[pl.DataFrame], pl.DataFrame],
    rows: pl.DataFrame,
    names: Sequence[str] | None = None,
) -> pl.DataFrame:
    """Run what works row by row over rows (of them, the columns `names`) in that one form.

    Raises ValueError if it gives an odd number of rows for one that is given twice.
    """
    made = run(as_several(rows, names))
    if rows.height != 1:
        return made
    if made.height % 2:
        raise ValueError(f"gives {made.height} rows for two equal rows; each must count by itself")
    return made[: made.height // 2]


class RowWise:
    """Row-wise expressions without selectors, evaluated over frames that have a column."""

    __slots__ = ("_count", "_expressions", "_names", "_plain", "_touchy")

    def __init__(self, expressions: Sequence[pl.Expr]) -> None:
        self._expressions = list(expressions)
        places = [
            place
            for place, expression in enumerate(expressions)
            if not uses_selector(expression)
            and not without_company(expression)
            and columns_of(expression)
        ]
        self._touchy = [self._expressions[place] for place in places]
        self._plain = [e for place, e in enumerate(expressions) if place not in places]
        self._count = len(self._plain)
        if not all(columns_of(e) for e in self._plain):
            # With a column of full height beside them, constants have that height as well.
            self._plain.append(pl.nth(0).alias(_HEIGHT))
        self._names = sorted({name for e in self._touchy for name in columns_of(e)})

    def columns(self, rows: pl.DataFrame) -> list[pl.Series]:
        """Return the values, each as high as the rows; in no order."""
        found: list[pl.Series] = []
        if self._touchy:
            made = by_rows(lambda some: some.select(self._touchy), rows, self._names)
            found.extend(made.get_columns())
        if self._plain:
            found.extend(rows.select(self._plain).get_columns()[: self._count])
        return found

    def over(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the values as a frame, in the order of the expressions."""
        made = {column.name: column for column in self.columns(rows)}
        return pl.DataFrame([made[e.meta.output_name()] for e in self._expressions])
