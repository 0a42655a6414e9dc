"""Functions of a row on columns: operations of which columns and Python differ, and guards."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import polars as pl
import pytest

from headwater.flows.batch import ORIGIN, WATERMARK

from .rowgrammar import Wide, function_of
from .twoways import equal_ways, frame_of, returning

NAN, INF = math.nan, math.inf
FLOATS = [0.0, -0.0, 1.0, -1.0, 2.675, 0.125, -2.5, 3.0, 20.35, 1e-9, 5e-324, 33.3, 1e15, 0.5]
ODD_FLOATS = [NAN, INF, -INF, 1.7e308, -1.7e308, 2.0**53, 2.0**63, 1e300]
INTS = [0, 1, -1, 2, 7, -7, 100, -128, 127]
ODD_INTS = [2**31, 2**53, 2**53 + 1, -(2**53) - 1, 2**62, 2**63 - 1, -(2**63)]
TEXTS = [
    "", "12", "\ua7cb", "a", "ab", "abab", " a ", "x.y$1", "ß", "İ", "😀", "\u2003a\u2003",
    "\x1ca\x1c", "ά",
]  # fmt: skip


def numbers(usual_only: bool = False) -> pl.DataFrame:
    """Return rows with every pair of floats and every pair of ints."""
    floats = FLOATS if usual_only else FLOATS + ODD_FLOATS
    ints = INTS if usual_only else INTS + ODD_INTS
    reals = list(product(floats, floats))
    wholes = list(product(ints, ints))
    height = max(len(reals), len(wholes))
    reals, wholes = (reals * height)[:height], (wholes * height)[:height]
    return frame_of(
        height,
        x=[x for x, _ in reals],
        y=[y for _, y in reals],
        ox=[None if n % 5 == 0 else y for n, (_, y) in enumerate(reals)],
        i=[i for i, _ in wholes],
        j=[j for _, j in wholes],
        oi=[None if n % 7 == 0 else j for n, (_, j) in enumerate(wholes)],
        s=[TEXTS[n % len(TEXTS)] for n in range(height)],
        u=[TEXTS[n // len(TEXTS) % len(TEXTS)] for n in range(height)],
        os=[None if n % 3 == 0 else TEXTS[n % len(TEXTS)] for n in range(height)],
        b=[n % 2 == 0 for n in range(height)],
        ob=[None if n % 5 == 0 else n % 3 == 0 for n in range(height)],
    )


# --- one operation at a time, over every pair of values ---

FLOAT_OPERATIONS = [
    "row.x * 9 / 5 + 32", "row.x + row.y", "row.x - row.y", "row.x * row.y", "row.x / row.y",
    "row.x / 3", "row.x / 0.1", "row.x / 1e-300", "3 / row.x", "row.x + 0.0", "0 + row.x",
    "row.x - 0.0", "row.x - -0.0", "0.0 - row.x", "-row.x", "+row.x", "abs(row.x)", "row.x * 0",
    "row.x // row.y", "row.x % row.y", "row.x // 10", "-7 % row.x", "row.x ** 2", "row.x ** 0.5",
    "row.i / row.j", "row.i / 3", "1 / row.i", "row.x + row.i", "row.i * row.x", "row.i / row.x",
    "row.b / row.x", "row.x * row.b", "max(row.x, row.y)", "min(row.x, row.y, 0)",
    "max(row.x, row.i)", "math.sqrt(row.x)", "math.fabs(row.x)", "math.exp(row.x)",
    "math.log(row.x)", "math.atan2(row.x, row.y)", "math.pi * row.x", "float(row.i)",
    "round(row.x, 2)", "round(row.x, 1)", "round(row.y, 15)", "round(row.x, -1)", "row.ox + 1",
    "row.x / row.i if row.i else row.y", "row.ox or row.x", "row.x and row.y", "row.i",
    "row.x if row.x > row.y else row.i", "float(row.s)", "row.x / (row.x - row.y)", "1e400 * row.x",
]  # fmt: skip
INT_OPERATIONS = [
    "row.i + row.j", "row.i - row.j", "row.i * row.j", "row.i // row.j", "row.i % row.j",
    "row.i // 7", "row.i % 7", "row.i // -7", "row.i % -7", "7 // row.i", "-7 % row.i", "-row.i",
    "abs(row.i)", "row.i ** 3", "row.i ** 1", "row.i + row.b", "row.b + row.b", "-row.b",
    "int(row.x)", "round(row.x)", "math.floor(row.x)", "math.ceil(row.x)", "math.trunc(row.x)",
    "round(row.i, -1)", "int(row.i / 7)", "len(row.s)", "row.i + 9223372036854775807",
    "max(row.i, row.j)", "row.small * 100", "row.s.count('a')",
    "row.at.year * 100 + row.at.month", "int(row.s)", "(row.i - row.j) * (row.i + row.j)",
    "row.i // row.j if row.j else 0", "row.oi or 3", "row.i if row.oi is None else row.oi",
]  # fmt: skip
TRUTHS = [
    "row.x < row.y", "row.x <= row.y", "row.x > row.y", "row.x >= row.y", "row.x == row.y",
    "row.x != row.y", "row.x > 1", "1 < row.x", "row.x == 0", "row.x > math.nan", "row.x != INF",
    "row.i < row.x", "row.i == row.x", "row.i > 2.5", "row.i == 9007199254740993.0",
    "row.b == row.i",
    "0 < row.x < row.y", "0 < row.i <= row.j", "row.i in (1, 2.5, True, 'a', None)",
    "row.x in (1, 0.125, 9007199254740993)", "row.i not in {7, 100, -7, 2, 1}",
    "row.oi in (3, None)",
    "row.oi in NUMBERS",
    "row.os in NAMES",
    "not row.ob",
    "not row.oi",
    "not row.os",
    "not row.oc",
    "not row.x", "not row.s", "bool(row.ob)", "row.b and row.x > 0", "row.b or row.x / row.y > 1",
    "row.y != 0 and row.x / row.y > 1", "row.ob is None", "row.ox is not None", "row.ox == None",
    "row.ox == row.x", "row.oi != row.i", "row.s < row.u", "row.s == row.u", "row.os == 'a'",
    "row.os != row.s", "row.s.startswith('a')", "row.s.endswith('')", "'a' in row.s",
    "'' not in row.s", "math.isnan(row.x)", "math.isinf(row.x)", "math.isfinite(row.i)",
    "row.s.isalpha()", "row.c == Colour.RED", "row.c is row.oc", "row.c in (Colour.RED, None)",
    "row.due > row.at", "row.due == row.at", "row.s.isdigit() or row.s.isspace()", "row.lit == 'p'",
    "math.isclose(row.x, row.y)", "row.c.value == row.s", "row.day == row.day",
]  # fmt: skip
TEXT_OPERATIONS = [
    "row.s + row.u", "row.s + '-' + row.u", "f'{row.s}/{row.i}'", "f'{row.x:.2f}'", "str(row.x)",
    "f'{row.x}|{row.b}'", "str(row.i)", "row.s.strip()", "row.s.lstrip()", "row.s.rstrip('a ')",
    "row.s.strip('')", "row.s.lower()", "row.s.upper()", "row.s.title()", "row.s.removeprefix('a')",
    "row.s.removesuffix('b')", "row.s.replace('a', '$1')", "row.s.replace('', 'x')",
    "row.s.replace('.', '')", "row.s[:2]", "row.s[::-1]", "row.s[0]", "row.s.zfill(5)",
    "row.os or row.s", "row.s if row.b else 'no'", "max(row.s, row.u)", "f'{row.s!r:>9}'",
    "row.s and row.u", "'İ' + row.s", "row.s.ljust(4, '.')",
]  # fmt: skip
OPERATIONS = [
    *((text, "x") for text in FLOAT_OPERATIONS),
    *((text, "i") for text in INT_OPERATIONS),
    *((text, "b") for text in TRUTHS),
    *((text, "s") for text in TEXT_OPERATIONS),
]


@pytest.mark.parametrize(("expression", "field"), OPERATIONS)
def test_an_operation_gives_what_python_gives(expression: str, field: str) -> None:
    function = returning(expression, field, INF=INF)
    equal_ways(function, numbers())
    rows = numbers(usual_only=True)
    equal_ways(function, rows)
    found = [equal_ways(function, rows[place : place + 1]) for place in range(0, rows.height, 11)]
    found += [equal_ways(function, rows[place : place + 2]) for place in range(0, rows.height, 37)]
    assert any(outcome.by_columns for outcome in found)


@pytest.mark.parametrize("expression", [*TRUTHS, "row.oi", "row.os", "row.ox", "row.ob", "row.oc"])
def test_a_condition_keeps_the_rows_that_python_keeps(expression: str) -> None:
    texts = (f"return row if {expression} else None", f"return None if {expression} else row")
    for text in (*texts, f"return row.replace(i=1 if {expression} else 2)"):
        function = function_of(f"def drawn(row):\n    {text}\n", INF=INF)
        equal_ways(function, numbers())
        equal_ways(function, numbers(usual_only=True))


# --- when a batch has to go by rows ---

BY_ROWS: list[tuple[str, str, dict[str, list[Any]], str]] = [
    ("row.i / row.j", "x", {"j": [1, 0]}, "line 2: a division by zero"),
    ("row.i % row.j", "i", {"j": [1, 0]}, "line 2: a division by zero"),
    ("row.oi ** 1", "oi", {"oi": [1, None]}, "oi is None where a value is needed"),
    ("max(row.oi, row.oi)", "oi", {"oi": [1, None]}, "oi is None where a value is needed"),
    ("+row.ox", "ox", {"ox": [1.0, None]}, "ox is None where a value is needed"),
    ("round(row.ox, 1)", "ox", {"ox": [1.0, None]}, "ox is None where a value is needed"),
    ("str(row.os)", "os", {"os": ["a", None]}, "os is None where a value is needed"),
    ("row.i // row.j in ('a',)", "b", {"j": [1, 0]}, "line 2: a division by zero"),
    ("row.x / row.y", "x", {"y": [1.0, -0.0]}, "line 2: a division by zero"),
    ("row.i + 1", "i", {"i": [1, 2**63 - 1]}, "line 2: an int of more than 64 bits"),
    ("-row.i", "i", {"i": [1, -(2**63)]}, "line 2: an int of more than 64 bits"),
    ("abs(row.i)", "i", {"i": [1, -(2**63)]}, "line 2: an int of more than 64 bits"),
    ("row.i // row.j", "i", {"i": [1, -(2**63)]}, "line 2: an int of more than 64 bits"),
    ("row.i < row.x", "b", {"i": [1, 2**53 + 1]}, "line 2: an int that no float holds"),
    ("row.i / 3", "x", {"i": [1, 2**53 + 1]}, "line 2: an int that no float holds"),
    ("row.ox + 1", "x", {"ox": [1.0, None]}, "ox is None where a value is needed"),
    ("row.oi < 3", "b", {"oi": [1, None]}, "oi is None where a value is needed"),
    ("row.os + 'a'", "s", {"os": ["a", None]}, "os is None where a value is needed"),
    ("row.os", "s", {"os": ["a", None]}, "None for s, which is not optional"),
    ("int(row.x)", "i", {"x": [1.0, NAN]}, "line 2: a float that is no int of 64 bits"),
    ("round(row.x)", "i", {"x": [1.0, INF]}, "line 2: a float that is no int of 64 bits"),
    ("math.sqrt(row.x)", "x", {"x": [1.0, -1.0]}, "line 2: the square root of a negative number"),
    ("row.x ** 0.5", "x", {"x": [1.0, -8.0]}, "line 2: a result of another type than the others"),
    ("row.i", "small", {"i": [1, 128]}, "small does not fit its field"),
    (
        "row.x * 9223372036854775808 if row.b else row.i * 9223372036854775808",
        "x",
        {"b": [True, False]},
        "line 2: an int of more than 64 bits",
    ),
    ("row.s", "lit", {"s": ["p", "r"]}, "a value of lit that its field cannot have"),
    ("row.s[1]", "s", {"s": ["ab", "a"]}, "line 2: string index out of range"),
]


@pytest.mark.parametrize(("expression", "field", "columns", "why"), BY_ROWS)
def test_one_row_sends_its_batch_to_the_loop(
    expression: str, field: str, columns: dict[str, list[Any]], why: str
) -> None:
    function = returning(expression, field)
    outcome = equal_ways(function, frame_of(2, **columns))
    assert (False, why) == (outcome.by_columns, outcome.why)
    first = equal_ways(function, frame_of(2, **columns)[:1])
    assert (True, "") == (first.by_columns, first.why)


SHORT_CIRCUITS = [
    "if row.j == 0:\n        return None\n    return row.replace(x=row.i / row.j)",
    "return row.replace(x=row.i / row.j if row.j != 0 else 0.0)",
    "return row.replace(x=0.0 if row.j == 0 or row.i / row.j > 3 else row.i / row.j)",
    "return row if row.j and row.i // row.j > 1 else None",
    "y = 0.0\n    if row.j:\n        y = row.i / row.j\n    return row.replace(y=y)",
    "if row.j:\n        if row.i / row.j > 1:\n            return row\n    return None",
    "return row.replace(i=(1 // row.j if row.b else 2) if row.j else 3)",
    "return row.replace(b=row.b and (row.j != 0 and (row.i > 0 and row.i // row.j > 0)))",
    "if not row.j:\n        x = 1.0\n    else:\n        x = 1 / row.j\n    return row.replace(x=x)",
    "x = row.ox + 1 if row.ox is not None else 0\n    return row.replace(x=x)",
    "if row.ox is None or row.ox < 0:\n        return None\n    return row.replace(x=row.ox * 2)",
    "i = row.i + 1 if row.i < 9223372036854775807 else row.i\n    return row.replace(i=i)",
    "if row.s == '':\n        return row\n    return row.replace(s=row.s[0])",
    "x = round(row.x, 1) if 0 < row.x < 1e9 else 0\n    return row.replace(x=x)",
    "if row.x > 0:\n        return row.replace(x=math.log(row.x), y=math.sqrt(row.x))",
    "n = int(row.x) if -1e9 < row.x < 1e9 else 0\n    return row.replace(i=n)",
]


@pytest.mark.parametrize("body", SHORT_CIRCUITS)
def test_what_python_does_not_come_to_fails_no_guard(body: str) -> None:
    function = function_of(f"def drawn(row):\n    {body}\n")
    assert equal_ways(function, numbers(usual_only=True)).by_columns


def test_what_is_assigned_is_evaluated_even_if_nothing_uses_it() -> None:
    function = function_of(
        "def drawn(row):\n"
        "    if row.b:\n"
        "        unused = 1 // row.i\n"
        "        unused = 3\n"
        "    other = max(row.oi, row.oi)\n"
        "    return row\n"
    )
    assert equal_ways(function, frame_of(3, i=[1, 0, 2], b=[True, False, True])).by_columns
    for columns in ({"i": [1, 0, 2]}, {"oi": [1, None, 2]}):
        outcome = equal_ways(function, frame_of(3, **columns))
        assert (False, 1) == (outcome.by_columns, len(outcome.dead))


def test_what_one_way_has_computed_serves_no_other_way() -> None:
    function = function_of(
        "def drawn(row):\n"
        "    if row.j != 0:\n"
        "        k = row.i // row.j\n"
        "        return row.replace(oi=k)\n"
        "    if row.b:\n"
        "        return None\n"
        "    return row.replace(oi=row.i // row.j)\n"
    )
    assert equal_ways(function, frame_of(3, j=[1, 0, 2], b=[True, True, False])).by_columns
    assert not equal_ways(function, frame_of(3, j=[1, 0, 0], b=[True, False, True])).by_columns


def test_one_row_that_is_left_over_is_rounded_as_any_other() -> None:
    function = function_of(
        "def drawn(row):\n"
        "    y = row.y * 3\n"
        "    if row.i != 1:\n"
        "        return None\n"
        "    return row.replace(x=row.x / y, y=y / 7 + LIMIT)\n"
    )
    rows = numbers(usual_only=True).filter(pl.col("y") != 0).with_columns(i=pl.lit(0, pl.Int64))
    for place in range(0, rows.height, 7):
        one = pl.when(pl.int_range(rows.height) == place).then(1).otherwise(0).cast(pl.Int64)
        assert equal_ways(function, rows.with_columns(i=one)).by_columns


@pytest.mark.parametrize("expression", ["row.x / 3", "row.x * 9 / 5 + 0", "row.x / row.y"])
def test_chunks_change_nothing(expression: str) -> None:
    rows = numbers(usual_only=True).filter(pl.col("y") != 0)
    cut = pl.concat([rows[:1], rows[1:2], rows[2:40], rows[40:41], rows[41:]], rechunk=False)
    assert cut.n_chunks() > 3
    assert equal_ways(returning(expression, "x"), cut).by_columns


def test_statements_choose_and_return() -> None:
    function = function_of(
        "def drawn(row):\n"
        '    """It has a docstring."""\n'
        "    level: int = 0\n"
        "    if row.x > 2:\n"
        "        level += 1\n"
        "        if row.y > 2:\n"
        "            level += row.i * 2\n"
        "    elif row.s:\n"
        "        level = len(row.s)\n"
        "    else:\n"
        "        pass\n"
        "    made = row.replace(i=level, s=str(level))\n"
        "    if made.i == 3:\n"
        "        return None\n"
        "    if made.i == 4:\n"
        "        return made.replace(b=not made.b)\n"
        "    return made if level < 100 else None\n"
    )
    outcome = equal_ways(function, numbers(usual_only=True))
    assert outcome.by_columns
    assert equal_ways(function, frame_of(2, s=["abc", "abc"])).columns is None


def test_an_event_of_another_class_takes_defaults_aliases_and_ints_for_floats() -> None:
    function = function_of(
        "def drawn(row):\n"
        "    return Wide(at=row.at, tags=row.tags, name=row.os, x=row.i, c=row.oc or Colour.RED,\n"
        "                oc=Colour.BLUE, ob=row.x > 2, ox=None)\n"
    )
    rows = frame_of(3, os=["a", None, "b"], oc=["blue", None, "red"], i=[1, 2**53 + 1, -1])
    outcome = equal_ways(function, rows, Wide)
    assert outcome.by_columns
    names = [*Wide.__event_names__, WATERMARK, ORIGIN]
    assert names == [name for name, *_ in outcome.columns]
