"""What an expression gives for a row does not depend on the rows beside it, to the last bit."""

from __future__ import annotations

import struct
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.flows.expressions import without_company
from headwater.flows.operators.rowwise import RowWise, by_rows

X, N, S = pl.col("x"), pl.col("n"), pl.col("s")
EXPRESSIONS = {
    "x / 7": X / 7,
    "x * 9 / 5 + 32": X * 9 / 5 + 32,
    "x // 0.3": X // 0.3,
    "x % 0.7": X % 0.7,
    "1 / x": 1 / X,
    "n / 3": N / 3,
    "n // 3": N // 3,
    "n % 5": N % 5,
    "x ** 3": X**3,
    "x ** 0.5": X.abs() ** 0.5,
    "2 ** x": 2.0 ** (X / 100),
    "x / n": X / N,
    "sqrt": X.abs().sqrt(),
    "log": X.abs().log(3),
    "sin": X.sin(),
    "round": (X / 3).round(2),
    "when": pl.when(X > 1).then(X / 9).otherwise(N / 9),
    "mean_horizontal": pl.mean_horizontal("x", "n"),
    "sum": X + N * 3 - 2,
    "compare": (X * 3 > N) & (X < 10),
    "fill": X.fill_null(0.1) * 3,
    "text": S.str.len_chars(),
    "concat": pl.concat_str(S, pl.lit("-"), S),
    "cast": X.cast(pl.Float32) / 3,
    "clip": X.clip(-1, 1) * 1.1,
}
rows = st.lists(
    st.tuples(
        st.none() | st.floats(-1e6, 1e6),
        st.none() | st.integers(-(2**40), 2**40),
        st.none() | st.text("ab", max_size=3),
    ),
    min_size=1,
    max_size=6,
)
SCHEMA = {"x": pl.Float64(), "n": pl.Int64(), "s": pl.String()}


def bits(values: pl.Series) -> list[Any]:
    return [
        "nan" if v != v else struct.pack("d", v) if isinstance(v, float) else v
        for v in values.to_list()
    ]


def in_every_form(given_rows: list[Any]) -> list[tuple[int, pl.DataFrame]]:
    """Return each row in frames of many shapes, with its place in them."""
    company = [(2.5, 7, "a"), (0.1, 3, None), (-8.25, 1, "b")]
    forms: list[tuple[int, pl.DataFrame]] = []
    for row in given_rows:
        alone = pl.DataFrame([row], schema=SCHEMA, orient="row")
        among = pl.DataFrame([*company, row], schema=SCHEMA, orient="row")
        forms += [
            (0, alone),
            (1, pl.concat([alone, alone], rechunk=False)),  # chunks of one row
            (0, alone.clone().extend(alone)),  # a value and a count
            (3, pl.concat([among[:3], alone], rechunk=False)),
            (0, among.filter(pl.int_range(pl.len()) == 3)),
            (2, alone.select(pl.all().repeat_by(3).explode())),
            (3, among),
        ]
    return forms


@pytest.mark.parametrize("name", EXPRESSIONS)
@given(rows)
def test_a_row_gives_the_same_in_any_company(name: str, given_rows: list[Any]) -> None:
    expression = EXPRESSIONS[name].alias("made")
    evaluated = RowWise([expression])
    forms = in_every_form(given_rows)
    size = len(forms) // len(given_rows)
    for first in range(0, len(forms), size):
        found = {
            tuple(bits(evaluated.over(frame)["made"][place : place + 1]))
            for place, frame in forms[first : first + size]
        }
        assert 1 == len(found)


@pytest.mark.parametrize("name", EXPRESSIONS)
@given(rows)
def test_what_is_called_without_company_is(name: str, given_rows: list[Any]) -> None:
    expression = EXPRESSIONS[name].alias("made")
    if not without_company(expression):
        return
    forms = in_every_form(given_rows)
    size = len(forms) // len(given_rows)
    for first in range(0, len(forms), size):
        found = {
            tuple(bits(frame.select(expression)["made"][place : place + 1]))
            for place, frame in forms[first : first + size]
        }
        assert 1 == len(found)


def test_the_plain_ones_are_known() -> None:
    plain = {name for name, expression in EXPRESSIONS.items() if without_company(expression)}
    assert {"sum", "compare", "fill", "text", "concat", "clip"} <= plain
    assert not plain & {"x / 7", "x // 0.3", "x % 0.7", "x ** 3", "cast", "round"}


def test_one_row_that_counts_for_another_is_refused() -> None:
    frame = pl.DataFrame({"x": [1.0]})
    with pytest.raises(ValueError, match="each must count by itself"):
        by_rows(lambda some: some.unique(), frame)
