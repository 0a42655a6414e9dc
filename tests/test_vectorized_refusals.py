"""Functions of a row that stay row by row, and names that are bound to something else."""

from __future__ import annotations

import enum
import functools
import linecache
import math
from collections.abc import Callable
from typing import Any

import pytest

import headwater as hw
from headwater.flows.vectorized.nodes import Refused
from headwater.flows.vectorized.program import program_of

from .rowgrammar import Row, Wide, function_of
from .twoways import both_ways, equal_ways, frame_of, returning, spec_of

# --- what is not taken, and why ---


class Base(hw.Event):
    at: hw.EventTime
    i: int


class Greedy(enum.Enum):
    ONE = 1

    def __eq__(self, other: object) -> bool:
        return True


class Loose(int, enum.Enum):
    ONE = 1
    TWO = 2

    def __new__(cls, value: int) -> Loose:
        member = int.__new__(cls, 0)
        member._value_ = value
        return member


CACHE: dict[str, int] = {}

REFUSED = [
    ("return re.match('a', row.s) and row", "line 2 calls re.match"),
    ("CACHE[row.s] = 1\n    return row", "line 2 assigns to more than one name"),
    ("return row.replace(i=CACHE[row.s])", "line 2 uses CACHE, a dict"),
    ("return row.replace(i=CACHE.get(row.s, 0))", "line 2 uses CACHE, a dict"),
    ("for n in range(3):\n        pass\n    return row",
     "line 2 has a statement `for n in range(3):`"),
    ("print(row.i)\n    return row", "line 2 has a statement `print(row.i)`"),
    ("return row.replace(i=sum(row.tags))", "line 2 calls sum"),
    ("return row.replace(i=row.nothing)", "line 2 reads .nothing, which is no field of Row"),
    ("return row.replace(nothing=1)", "line 2 replaces nothing, which is no field"),
    ("return row.replace(i=row.i + row.s)", "line 2 adds an int and a str"),
    ("return row.replace(i=row.x)", "line 2 gives a float for the int i"),
    ("return row.replace(i=row.x > 1)", "line 2 gives a bool for the int i"),
    ("return row.replace(x=row.b)", "line 2 gives a bool for the float x"),
    ("return row.replace(b=row.i)", "line 2 gives an int for the bool b"),
    ("return row.replace(i=None)", "line 2 gives None for i"),
    ("return row.replace(i=1 if row.b else 2.5)", "line 2 gives an int or a float for the int i"),
    ("return row.replace(s=row.b and 'a')", "line 2 is a str in one case and a bool in another"),
    ("return row.replace(i=row.i & 1)", "line 2 uses the operator BitAnd"),
    ("return row.replace(b=row.i < row.s)", "line 2 compares an int with a str"),
    ("return row.replace(b=row.s is row.u)", "line 2 asks whether a str is a str"),
    ("return row.replace(s=row.s.encode().decode())", "line 2 calls row.s.encode().decode"),
    ("return row.replace(s=row.s.strip(row.u))", "line 2 calls .strip() with what is no constant"),
    ("return row.replace(i=unknown)", "line 2 uses unknown is not defined"),
    ("return row.replace(x=math.gamma(row.x))", "line 2 calls math.gamma"),
    ("return row.replace(i=len(row.tags))", "line 2 takes len() of a list"),
    ("return row.replace(b=bool(row.span))", "line 2 asks for the truth of a duration"),
    ("return row.replace(b=row.c == Greedy.ONE)",
     "line 2 uses Greedy.ONE, whose class compares in a way of its own"),
    ("return row.replace(b=row.c == Loose.ONE)",
     "line 2 uses Loose.ONE, whose class compares in a way of its own"),
    ("if row.b:\n        k = 1\n    return row.replace(i=k)",
     "line 4 uses k where it may not have been set"),
    ("return row.i", "line 2 returns `row.i`, which makes no event"),
    ("return Wide(at=row.at)", "line 2 uses the default of tags, a type"),
    ("return Wide(i=1)", "line 2 makes a Wide without at"),
    ("return Wide(**{})", "line 2 makes an event with **"),
    ("return Wide(at=row.at, tags=row.tags, os='a')",
     "line 2 gives a Wide a field os, which it has not"),
    ("return Base(at=row.at, i=1)", "it returns a Base, which is no Row"),
    ("return None", "it never returns an event"),
    ("row = 3\n    return row", "line 3 returns `row`, which makes no event"),
    ("return (lambda: row)()", "line 2 calls lambda: row"),
    ("i = (k := 3)\n    return row", "line 2 uses `(k := 3)`"),
    ("import re\n    return row", "line 2 has a statement `import re`"),
    ("assert row.i\n    return row", "line 2 has a statement `assert row.i`"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "why"), REFUSED)
def test_a_refusal_names_line_and_cause(body: str, why: str) -> None:
    import re

    function = function_of(
        f"def drawn(row):\n    {body}\n", re=re, CACHE=CACHE, Greedy=Greedy, Loose=Loose, Base=Base
    )
    with pytest.raises(Refused) as refused:
        program_of(function, Row, Row, optional=True)
    assert why == str(refused.value)


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def inner(*given: Any) -> Any:
        return function(*given)

    return inner


@decorated
def wrapped(row: Row) -> Row:
    return row


class Called:
    def __call__(self, row: Row) -> Row:
        return row

    def method(self, row: Row) -> Row:
        return row


def with_default(row: Row, more: int = 3) -> Row:
    return row.replace(i=more)


async def awaited(row: Row) -> Row:
    return row


def lacking() -> Callable[..., Any]:
    namespace: dict[str, Any] = {}
    exec("def drawn(row):\n    return row\n", namespace)
    found: Callable[..., Any] = namespace["drawn"]
    return found


def changed() -> Callable[..., Any]:
    function = function_of("def drawn(row):\n    return row\n")
    file = function.__code__.co_filename
    text = "def drawn(row):\n    return row.replace(i=1)\n"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    return function


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (lambda row: row, "it is a lambda"),
        (functools.partial(wrapped), "it is not a function written with def"),
        (Called(), "it is not a function written with def"),
        (Called().method, "it is not a function written with def"),
        (len, "it is not a function written with def"),
        (wrapped, "it takes more than a row"),
        (with_default, "it takes more than a row"),
        (awaited, "it is not a plain function"),
        (lacking(), "its source is not at hand"),
        (changed(), "its source has changed since it was loaded, or a decorator replaced it"),
        (function_of("def drawn(row):\n    return " + "(" * 90 + "row" + ")" * 90), None),
        (function_of("def drawn(row):\n" + "    k = row.i\n" * 600 + "    return row"),
         "line 502 has too many ways to go"),
        (function_of("def drawn(row):\n    i = row.i" + " + row.j" * 900 + "\n    return row"),
         "it is nested too deeply"),
    ],
)  # fmt: skip
def test_a_function_that_cannot_be_read_stays_per_row(
    function: Callable[..., Any], why: str | None
) -> None:
    if why is None:
        assert program_of(function, Row, Row, optional=True).fields
        return
    with pytest.raises(Refused) as refused:
        program_of(function, Row, Row, optional=True)
    assert why == str(refused.value)


def test_a_file_that_python_warns_about_is_read_in_silence() -> None:
    with pytest.warns(SyntaxWarning):
        function = function_of("def drawn(row):\n    return row\n\nodd = 3 is 3\n")
    assert equal_ways(function, frame_of(2)).by_columns


# --- names around the function ---


def test_a_constant_is_read_anew_for_each_batch() -> None:
    function = function_of("def drawn(row):\n    return row if row.i < BOUND else None\n", BOUND=3)
    spec, rows = spec_of(function, Row, Row), frame_of(3, i=[1, 5, 9])
    found = []
    for bound in (3, 7, 2.5, "a", None, 10**30, math.nan):
        function.__globals__["BOUND"] = bound
        columns, loop = both_ways(spec, rows)
        assert loop.result == columns.result
        found.append((columns.by_columns, columns.why))
    now = "line 2: BOUND is now of type "
    assert [(True, ""), (True, ""), (False, now + "float"), (False, now + "str")] == found[:4]
    assert [(False, now + "NoneType"), (False, "line 2: an int of more than 64 bits")] == found[4:6]


@pytest.mark.parametrize(
    ("expression", "name", "other"),
    [
        ("abs(row.i)", "abs", lambda value: 7),
        ("math.floor(row.x)", "math", functools),
        ("row.i if row.c is Colour.RED else 0", "Colour", enum.Enum("Colour", {"RED": "red"})),
        ("row.i if row.s in NAMES else 0", "NAMES", ("ab", 3)),
        ("row.i if row.s in NAMES else 0", "NAMES", {"ab": 3}),
    ],
)
def test_a_name_that_is_bound_to_another_thing_sends_batches_to_the_loop(
    expression: str, name: str, other: Any
) -> None:
    function = returning(expression, "i")
    spec, rows = spec_of(function, Row, Row), frame_of(2, i=[-1, 2])
    assert both_ways(spec, rows)[0].by_columns
    function.__globals__[name] = other
    columns, loop = both_ways(spec, rows)
    assert loop.result == columns.result
    assert not columns.by_columns


def test_the_class_that_is_made_and_the_code_that_runs_must_stay() -> None:
    text = "def drawn(row):\n    return Wide(at=row.at, tags=row.tags)\n"
    function, rows = function_of(text), frame_of(2)
    spec = spec_of(function, Row, Wide)
    assert both_ways(spec, rows)[0].by_columns
    function.__globals__["Wide"] = functools.partial(Wide, i=9)
    columns, loop = both_ways(spec, rows)
    assert loop.result == columns.result
    assert "Wide is not what it was" == columns.why
    function.__globals__["Wide"] = Wide
    function.__code__ = function_of(text.replace("at)", "at, i=8)")).__code__
    columns, loop = both_ways(spec, rows)
    assert loop.result == columns.result
    assert "its code is not what it was" == columns.why


def test_names_of_a_function_around_it_are_seen() -> None:
    limit = 3

    def drawn(row: Row) -> Row | None:
        return row.replace(i=limit) if row.i > limit else None

    def lacks(row: Row) -> Row | None:
        return row.replace(i=unset)

    if limit < 0:
        unset = 1
    spec, rows = spec_of(drawn, Row, Row), frame_of(3, i=[1, 4, 5])
    first = both_ways(spec, rows)
    limit = 4
    second = both_ways(spec, rows)
    for columns, loop in (first, second):
        assert loop.result == columns.result
        assert columns.by_columns
    assert first[0].columns != second[0].columns
    with pytest.raises(Refused, match="uses unset is not defined"):
        spec_of(lacks, Row, Row)


class Limits(hw.Settings):
    low: float = 1.0
    name: str = "ab"
    many: list[int] = hw.Field(default=[])


def test_settings_are_constants() -> None:
    def drawn(row: Row, limits: Limits) -> Row | None:
        if row.x < limits.low or row.s != limits.name:
            return None
        return row.replace(x=row.x / limits.low)

    def lists(row: Row, limits: Limits) -> Row | None:
        return row if row.i in limits.many else None

    limits = Limits(low=3)
    spec = spec_of(drawn, Row, Row, settings=("limits", limits))
    rows = frame_of(4, x=[3.5, 2.0, 4.1, 5.0], s=["ab", "ab", "ab", "b"])
    columns, loop = both_ways(spec, rows, settings=limits)
    assert loop.result == columns.result
    assert (True, 2) == (columns.by_columns, len(columns.columns[0][2]))
    limits.low = 0  # not a float any more: pydantic does not check what is assigned
    columns, loop = both_ways(spec, rows, settings=limits)
    assert loop.result == columns.result
    assert columns.why.endswith("the setting low is now of type int")
    with pytest.raises(Refused, match="reads limits.many, which is no plain number or text"):
        spec_of(lists, Row, Row, settings=("limits", limits))
