"""Random row functions as source text, and random rows for them: for comparing two ways to run."""

from __future__ import annotations

import enum
import linecache
import math
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import count
from random import Random
from typing import Annotated, Any, Literal

import polars as pl

import headwater as hw
from headwater.flows.batch import ORIGIN, WATERMARK
from headwater.flows.schema import schema_of

__all__ = ["Colour", "Grammar", "Row", "Wide", "function_of", "rows_of"]


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Row(hw.Event):
    at: hw.EventTime
    i: int
    j: int
    small: Annotated[int, hw.Width(8)]
    oi: int | None
    x: float
    y: float
    ox: float | None
    s: str
    u: str
    os: str | None
    b: bool
    ob: bool | None
    c: Colour
    oc: Colour | None
    lit: Literal["p", "q"]
    due: datetime | None
    day: date
    span: timedelta
    tags: list[str]


class Wide(hw.Event):
    """What functions give; its defaults are left out at times."""

    at: hw.EventTime
    i: int = 3
    oi: int | None = None
    small: Annotated[int, hw.Width(8)] = -1
    x: float = 2
    ox: float | None = None
    s: str = "none"
    os: str | None = hw.Field(default=None, alias="name")
    b: bool = True
    ob: bool | None = None
    c: Colour = Colour.RED
    oc: Colour | None = None
    lit: Literal["p", "q"] = "p"
    due: datetime | None = None
    tags: list[str] = hw.Field(default_factory=list)


LIMIT = 7
FACTOR = 0.1
WORD = "ab"
NAMES = frozenset({"ab", "a", "", "é", "zz"})
NUMBERS = (1, 7, -3, 2**53, 5)
NAMESPACE: dict[str, Any] = {
    "math": math, "Row": Row, "Wide": Wide, "Colour": Colour, "LIMIT": LIMIT, "FACTOR": FACTOR,
    "WORD": WORD, "NAMES": NAMES, "NUMBERS": NUMBERS,
}  # fmt: skip

_INTS = [
    "0",
    "1",
    "-1",
    "2",
    "7",
    "-3",
    "10",
    "100",
    "2147483648",
    "9007199254740992",
    "9007199254740993",
    "2**62",
]
_FLOATS = ["0.0", "-0.0", "1.0", "9.0", "5.0", "-2.5", "0.1", "32.5", "1e308", "1e-300", "1e400"]
_TEXTS = ["''", "'a'", "'ab'", "'b'", "'é'", "'😀'", "' a '", "'İ'", "'x.y$1'"]
_NUMBERS = [0, 1, -1, 2, 3, 5, 7, -3, 10, 100, -128, 127]
_WILD = [2**31, 2**53, 2**53 + 1, -(2**53) - 1, 2**62, 2**63 - 1, -(2**63), 10**12]
_REALS = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    2.5,
    -2.5,
    0.5,
    3.0,
    1e-9,
    33.3,
    -40.0,
    2.675,
    1e15,
    0.1,
    20.35,
    0.125,
]
_ODD = [math.nan, math.inf, -math.inf, 5e-324, 1.7e308, -1.7e308, 2.0**53, 2.0**63, 1e300]
_WORDS = ["", "a", "ab", "abab", "b", "A", "aB", " a ", "x.y$1", "zz", "5", "-7", "2.5"]
_FOREIGN = ["é", "ß", "İ", "😀", "\u2003a\u2003", "\x1ca\x1c", "a\x00b", "ﬁ", "ά", "ǆ"]


class Grammar:
    """Draws expressions of a type as text."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.known: dict[str, list[str]] = {"int": [], "float": [], "str": [], "bool": []}
        """Variables that are set, by type."""

    def pick(self, choices: Sequence[Any]) -> Any:
        return choices[self.random.randrange(len(choices))]

    def chance(self, share: float) -> bool:
        return self.random.randrange(1000) < share * 1000

    def expression(self, kind: str, depth: int) -> str:
        if self.known[kind] and self.chance(0.25):
            return str(self.pick(self.known[kind]))
        if depth <= 0 or self.chance(0.2):
            return self.leaf(kind)
        if self.chance(0.1):
            test, one, other = (self.expression(k, depth - 1) for k in ("bool", kind, kind))
            return f"({one} if {test} else {other})"
        if self.chance(0.06):
            one, other = self.expression(kind, depth - 1), self.expression(kind, depth - 1)
            return f"({one} {self.pick(['and', 'or'])} {other})"
        forms: Callable[[int], str] = getattr(self, f"_{kind}")
        return forms(depth - 1)

    def leaf(self, kind: str) -> str:
        leaves = {
            "int": ["row.i", "row.j", "row.small", "row.oi", "LIMIT", *_INTS],
            "float": ["row.x", "row.y", "row.ox", "row.x", "FACTOR", *_FLOATS],
            "str": ["row.s", "row.u", "row.os", "row.lit", "row.s", "WORD", *_TEXTS],
            "bool": ["row.b", "row.ob", "row.b", "True", "False"],
        }[kind]
        fields = 5 if kind != "bool" else 3
        return str(self.pick(leaves[:fields] if self.chance(0.6) else leaves))

    def _number(self, depth: int) -> str:
        kind = self.pick(["int", "float", "float", "int", "bool"])
        return self.expression(kind, depth)

    def _int(self, depth: int) -> str:
        one, other = self.expression("int", depth), self.expression("int", depth)
        number = self.expression(self.pick(["float", "int"]), depth)
        return str(
            self.pick(
                [
                    f"({one} {self.pick(['+', '-', '*', '+', '-'])} {other})",
                    f"({one} {self.pick(['//', '%'])} {self.pick([other, '7', '-3', '2'])})",
                    f"-{one}",
                    f"abs({one})",
                    f"({one} ** {self.pick(['1', '2', '3'])})",
                    f"{self.pick(['max', 'min'])}({one}, {other})",
                    f"len({self.expression('str', depth)})",
                    f"{self.pick(['int', 'round', 'math.floor', 'math.ceil'])}({number})",
                    f"({one} + {self.expression('bool', depth)})",
                    f"{self.expression('str', depth)}.{self.pick(['count', 'find'])}('a')",
                    f"int({self.expression('str', depth)})",
                    f"round({one}, {self.pick(['1', '-1', 'None'])})",
                    self.pick(["row.at.hour", "row.day.year", "row.due.month", "row.at.second"]),
                ]
            )
        )

    def _float(self, depth: int) -> str:
        one, other = self.expression("float", depth), self._number(depth)
        if self.chance(0.3):
            one, other = other, one
        operator = self.pick(["+", "-", "*", "/", "/", "*"])
        return str(
            self.pick(
                [
                    f"({one} {operator} {other})",
                    f"({one} {operator} {self.leaf('float')})",
                    f"({self.expression('int', depth)} / {self.expression('int', depth)})",
                    f"-{self.expression('float', depth)}",
                    f"abs({self.expression('float', depth)})",
                    f"{self.pick(['max', 'min'])}({one}, {other})",
                    f"float({self._number(depth)})",
                    f"math.{self.pick(['sqrt', 'fabs', 'exp', 'log', 'sin'])}({one})",
                    f"({one} {self.pick(['//', '%'])} {other})",
                    f"({self.expression('float', depth)} ** {self.pick(['2', '0.5', '-1'])})",
                    f"round({one}, {self.pick(['1', '2', '3', '0', '-2', '20'])})",
                    f"round({self.expression('float', depth)}, 2)",
                    f"float({self.expression('str', depth)})",
                ]
            )
        )

    def _str(self, depth: int) -> str:
        one, other = self.expression("str", depth), self.expression("str", depth)
        text = self.pick(_TEXTS)
        return str(
            self.pick(
                [
                    f"({one} + {other})",
                    self.formatted(one, self.expression(self.pick(["int", "float"]), depth)),
                    f"{one}.{self.pick(['title()', 'swapcase()', 'capitalize()', 'zfill(3)'])}",
                    f"{one}[{self.pick(['0', '-1', ':2', '1:', '::-1', '1:3'])}]",
                    f"str({self.expression('int', depth)})",
                    f"{one}.{self.pick(['lower', 'upper', 'strip', 'lstrip', 'rstrip'])}()",
                    f"{one}.{self.pick(['strip', 'lstrip', 'removeprefix'])}({text})",
                    f"{one}.{self.pick(['rstrip', 'removesuffix'])}({text})",
                    f"{one}.replace({text}, {self.pick(_TEXTS)})",
                ]
            )
        )

    def _bool(self, depth: int) -> str:
        number, other = self._number(depth), self._number(depth)
        one, two = self.expression("str", depth), self.expression("str", depth)
        operator = self.pick(["<", "<=", ">", ">=", "==", "!="])
        either = self.pick(["and", "or"])
        condition = self.expression("bool", depth)
        field = self.pick(["row.oi", "row.ox", "row.os", "row.ob", "row.oc", "row.due", "row.x"])
        return str(
            self.pick(
                [
                    f"({number} {operator} {other})",
                    f"({number} {operator} {other})",
                    f"({one} {operator} {two})",
                    f"({number} < {other} {self.pick(['<', '<=', '!='])} {self._number(depth)})",
                    f"({condition} {either} {self.expression('bool', depth)})",
                    f"(not {self.pick([condition, number, one])})",
                    f"((None if {condition} else {one}) {self.pick(['==', '!='])} {two})",
                    f"({field} is {self.pick(['', 'not '])}None)",
                    f"(row.oc {self.pick(['==', '!=', 'is'])} Colour.RED)",
                    f"(row.c {self.pick(['in', 'not in'])} (Colour.RED, None))",
                    f"(row.c {self.pick(['==', 'is'])} {self.pick(['row.oc', 'Colour.BLUE'])})",
                    f"({self.expression('str', depth)} in {self.pick(['NAMES', '(WORD, None)'])})",
                    f"({self.expression('int', depth)} {self.pick(['in', 'not in'])} NUMBERS)",
                    f"({number} in (1, 2.5, None, True, 'a'))",
                    f"({self.pick(_TEXTS)} in {one})",
                    f"{one}.{self.pick(['startswith', 'endswith'])}({self.pick(_TEXTS)})",
                    f"math.{self.pick(['isnan', 'isinf', 'isfinite'])}({number})",
                    f"bool({self.pick([number, one])})",
                    f"{one}.{self.pick(['isdigit', 'isalpha', 'isspace', 'isupper'])}()",
                    f"(row.c.value {operator} {one})",
                    f"(row.due {self.pick(['<', '==', '!=', '>='])} row.at)",
                ]
            )
        )

    def formatted(self, one: str, number: str) -> str:
        if 'f"' in one + number:
            return f"str({number})"
        return f'f"<{{{one}}}|{{{number}{self.pick(["", ":.2f", ":08.3f", "!r"])}}}>"'

    # Statements

    def event(self, depth: int) -> str:
        wide = self.chance(0.6)
        names = {"i": "int", "oi": "int", "x": "float", "ox": "float", "s": "str", "b": "bool"}
        names |= {"os": "str", "ob": "bool", "small": "int"}
        chosen = [name for name in names if self.chance(0.35)]
        given = {name: self.expression(names[name], depth) for name in chosen}
        for name in chosen:
            if names[name] == "float" and self.chance(0.2):
                given[name] = self.expression("int", depth)
            if name.startswith("o") and self.chance(0.15):
                given[name] = "None"
        if "small" in given and self.chance(0.8):
            given["small"] = f"({given['small']}) % 100"
        if self.chance(0.3):
            given["c"] = self.pick(["Colour.RED", "row.c", "row.oc", "row.oc or Colour.BLUE"])
        if self.chance(0.3):
            given["lit"] = self.pick(["'p'", "row.lit", "'q' if row.b else row.lit", "row.s"])
        if not wide:
            return f"row.replace({', '.join(f'{k}={v}' for k, v in given.items())})"
        given["at"] = "row.at"
        given["tags"] = "row.tags"
        if self.chance(0.5):
            given["due"] = self.pick(["row.due", "row.at", "None", "row.at if row.b else row.due"])
        if "os" in given:
            given["name"] = given.pop("os")
        return f"Wide({', '.join(f'{k}={v}' for k, v in given.items())})"

    def body(self, indent: str, budget: int, wide: bool) -> list[str]:
        """Return statements of which the last returns."""
        lines: list[str] = []
        for _ in range(self.random.randrange(budget + 1)):
            lines += self.statement(indent, budget - 1, wide)
        return [*lines, f"{indent}return {self.result(wide)}"]

    def result(self, wide: bool) -> str:
        if self.chance(0.05):
            return "None"
        while True:
            made = self.event(2)
            if made.startswith("Wide") == wide:
                break
        if self.chance(0.15):
            return f"{made} if {self.expression('bool', 2)} else None"
        return "row" if not wide and self.chance(0.2) else made

    def statement(self, indent: str, budget: int, wide: bool) -> list[str]:
        if self.chance(0.3):
            kept = {kind: list(names) for kind, names in self.known.items()}
            inner = [f"{indent}    return None"]
            if self.chance(0.4):
                inner = self.body(f"{indent}    ", max(budget - 1, 0), wide)
            elif self.chance(0.15):
                inner = [f"{indent}    raise ValueError('no')"]
            self.known = kept
            return [f"{indent}if {self.expression('bool', 3)}:", *inner]
        if self.chance(0.3):
            kind = self.pick(list(self.known))
            name = self.pick(["p", "q"]) + kind
            test = self.expression("bool", 2)
            one, other = self.expression(kind, 2), self.expression(kind, 2)
            if name not in self.known[kind]:
                self.known[kind].append(name)
            lines = [f"{indent}if {test}:", f"{indent}    {name} = {one}"]
            lines += [
                f"{indent}elif {self.expression('bool', 1)}:",
                f"{indent}    {name} = {other}",
            ]
            if name not in self.known[kind]:
                return lines
            return [*lines, f"{indent}else:", f"{indent}    {name} = {self.leaf(kind)}"]
        kind = self.pick(list(self.known))
        name = self.pick(["p", "q"]) + kind
        text = self.expression(kind, 3)
        if name in self.known[kind] and kind in ("int", "float") and self.chance(0.3):
            return [f"{indent}{name} {self.pick(['+', '-', '*'])}= {text}"]
        if name not in self.known[kind]:
            self.known[kind].append(name)
        return [f"{indent}{name} = {text}"]

    def function(self) -> tuple[str, type[hw.Event]]:
        """Return a whole function as text, and the event that it gives."""
        wide = self.chance(0.6)
        lines = ["def drawn(row):", *self.body("    ", 2, wide)]
        return "\n".join(lines) + "\n", Wide if wide else Row


_NUMBER = count()


def function_of(text: str, **names: Any) -> Callable[..., Any]:
    """Return the function `drawn` that a text defines, with its source where Python looks."""
    file = f"<drawn {next(_NUMBER)}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    namespace = {**NAMESPACE, **names}
    exec(compile(text, file, "exec", dont_inherit=True), namespace)
    function: Callable[..., Any] = namespace["drawn"]
    return function


def rows_of(random: Random, height: int, wild: float = 0.1, nulls: float = 0.1) -> pl.DataFrame:
    """Draw rows as they are within the engine; a share of the values is wild."""

    def draw(usual: Sequence[Any], odd: Sequence[Any], optional: bool = False) -> list[Any]:
        strange, missing = random.random() < wild * 2, random.random() < 0.5
        return [
            None
            if (optional or random.random() < 0.004) and missing and random.random() < nulls
            else odd[random.randrange(len(odd))]
            if strange and random.random() < wild
            else usual[random.randrange(len(usual))]
            for _ in range(height)
        ]

    start = datetime(2026, 1, 1, tzinfo=UTC)
    times = [start + timedelta(hours=hour) for hour in range(20)]
    smalls = [0, 1, -1, 5, 127, -128]
    columns: dict[str, list[Any]] = {
        "at": [times[random.randrange(20)] for _ in range(height)],
        "i": draw(_NUMBERS, _WILD),
        "j": draw(_NUMBERS, _WILD),
        "small": draw(smalls, smalls),
        "oi": draw(_NUMBERS, _WILD, True),
        "x": draw(_REALS, _ODD),
        "y": draw(_REALS, _ODD),
        "ox": draw(_REALS, _ODD, True),
        "s": draw(_WORDS, _FOREIGN),
        "u": draw(_WORDS, _FOREIGN),
        "os": draw(_WORDS, _FOREIGN, True),
        "b": draw([True, False], [True]),
        "ob": draw([True, False], [True], True),
        "c": draw(["red", "blue"], ["red"]),
        "oc": draw(["red", "blue"], ["blue"], True),
        "lit": draw(["p", "q"], ["p"] * 20 + ["r"]),
        "due": draw(times, times, True),
        "day": [date(2026, 1, 1)] * height,
        "span": [timedelta(1)] * height,
        "tags": [["a"] * random.randrange(3) for _ in range(height)],
    }
    frame = pl.DataFrame(columns, schema=schema_of(Row).polars())
    hidden = pl.Series(range(height), dtype=pl.Int64)
    return frame.with_columns(hidden.alias(WATERMARK), hidden.alias(ORIGIN))
