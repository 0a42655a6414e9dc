"""What windows keep of the rows of a key, for the twin of `_windowing`, which says what each is.

An accumulator takes the value of a row (None for null) and its place in the order of rows, merges
with one of later rows, and gives a result that may be null. What it holds goes, by the names that
`windowentries` says, into an entry that is written down, and is taken back from there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

__all__ = ["WindowPart", "accumulator", "gives_real"]

Kind = Literal["len", "count", "sum", "mean", "min", "max", "var", "std", "first", "last"]


class WindowPart(NamedTuple):
    """One aggregate of a column (None for `len`).

    The column is int64 or a type of that form, or float64 where `real`; for `count` it is of any
    type. `ddof` is for var and std, `skip_nulls` for first and last.
    """

    kind: Kind
    column: str | None = None
    real: bool = False
    ddof: int = 1
    skip_nulls: bool = False


def gives_real(part: WindowPart) -> bool:
    """Whether a part gives float64, not int64."""
    return part.kind not in ("len", "count") and part.real


def accumulator(part: WindowPart) -> Any:
    """Return the state of a part before the first row."""
    match part.kind:
        case "len" | "count":
            return _Count(part)
        case "sum" | "mean":
            return _Total(part, 0.0 if part.real else 0)
        case "min" | "max":
            return _Extreme(part)
        case "var" | "std":
            return _Moments(part)
        case _:
            return _End(part)


@dataclass(slots=True)
class _Count:
    part: WindowPart
    count: int = 0

    def add(self, value: Any, order: int) -> None:
        self.count += value is not None or self.part.kind == "len"

    def merge(self, other: _Count) -> None:
        self.count += other.count

    def copy(self) -> _Count:
        return _Count(self.part, self.count)

    def result(self, rows: int) -> int:
        return self.count

    def held(self) -> dict[str, Any]:
        return {} if self.part.kind == "len" else {"count": self.count}

    def take_back(self, held: Mapping[str, Any], rows: int) -> None:
        self.count = rows if self.part.kind == "len" else held["count"]


@dataclass(slots=True)
class _Total:
    part: WindowPart
    total: Any
    count: int = 0

    def add(self, value: Any, order: int) -> None:
        if value is not None:
            self._plus(value)
            self.count += 1

    def merge(self, other: _Total) -> None:
        self._plus(other.total)
        self.count += other.count

    def _plus(self, value: Any) -> None:
        self.total += value
        if not self.part.real:
            self.total = (self.total + 2**63) % 2**64 - 2**63

    def copy(self) -> _Total:
        return _Total(self.part, self.total, self.count)

    def result(self, rows: int) -> Any:
        if self.part.kind == "sum":
            return self.total
        return self.total / self.count if self.count else None

    def held(self) -> dict[str, Any]:
        return {"sum": self.total, "count": self.count}

    def take_back(self, held: Mapping[str, Any], rows: int) -> None:
        self.total, self.count = held["sum"], held.get("count", 0)


@dataclass(slots=True)
class _Extreme:
    part: WindowPart
    best: Any = None
    count: int = 0

    def add(self, value: Any, order: int) -> None:
        if value is not None:
            self._keep(value)
            self.count += 1

    def merge(self, other: _Extreme) -> None:
        if other.best is not None:
            self._keep(other.best)
            self.count += other.count

    def _keep(self, value: Any) -> None:
        old = self.best
        better = value <= old if self.part.kind == "min" and old is not None else True
        if self.part.kind == "max" and old is not None:
            better = value >= old
        if better or old != old:
            self.best = value

    def copy(self) -> _Extreme:
        return _Extreme(self.part, self.best, self.count)

    def result(self, rows: int) -> Any:
        return self.best

    def held(self) -> dict[str, Any]:
        return {self.part.kind: self.best, "count": self.count}

    def take_back(self, held: Mapping[str, Any], rows: int) -> None:
        self.best, self.count = held[self.part.kind], held["count"]


@dataclass(slots=True)
class _Moments:
    part: WindowPart
    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, value: float | None, order: int) -> None:
        if value is not None:
            self.count += 1
            delta = value - self.mean
            self.mean += delta / self.count
            self.squares += delta * (value - self.mean)

    def merge(self, other: _Moments) -> None:
        if not self.count:
            self.count, self.mean, self.squares = other.count, other.mean, other.squares
        elif other.count:
            some, more = float(self.count), float(other.count)
            delta = other.mean - self.mean
            self.mean += delta * (more / (some + more))
            self.squares += other.squares + delta * delta * (some * more / (some + more))
            self.count += other.count

    def copy(self) -> _Moments:
        return _Moments(self.part, self.count, self.mean, self.squares)

    def result(self, rows: int) -> float | None:
        if self.count <= self.part.ddof:
            return None
        variance = self.squares / (self.count - self.part.ddof)
        return math.sqrt(variance) if self.part.kind == "std" else variance

    def held(self) -> dict[str, Any]:
        return {"count": self.count, "mean": self.mean, "squares": self.squares}

    def take_back(self, held: Mapping[str, Any], rows: int) -> None:
        self.count, self.mean, self.squares = held["count"], held["mean"], held["squares"]


@dataclass(slots=True)
class _End:
    part: WindowPart
    end: tuple[int, Any] | None = None
    """Time and value of the row that is the first or the last."""

    def add(self, value: Any, order: int) -> None:
        if value is not None or not self.part.skip_nulls:
            self._take((order, value))

    def merge(self, other: _End) -> None:
        if other.end is not None:
            self._take(other.end)

    def _take(self, found: tuple[int, Any]) -> None:
        if self.end is None:
            self.end = found
            return
        new, old = self._place(found), self._place(self.end)
        if new > old if self.part.kind == "last" else new < old:
            self.end = found

    def _place(self, end: tuple[int, Any]) -> tuple[Any, ...]:
        time, value = end
        if value is None:
            return time, False
        if not self.part.real:
            return time, True, value
        nan = value != value
        return time, True, nan, 0.0 if nan else value, math.copysign(1.0, 0.0 if nan else value)

    def copy(self) -> _End:
        return _End(self.part, self.end)

    def result(self, rows: int) -> Any:
        return None if self.end is None else self.end[1]

    def held(self) -> dict[str, Any]:
        time, value = (None, None) if self.end is None else self.end
        return {f"{self._name}_time": time, self._name: value}

    def take_back(self, held: Mapping[str, Any], rows: int) -> None:
        time = held[f"{self._name}_time"]
        self.end = None if time is None else (time, held[self._name])

    @property
    def _name(self) -> str:
        return f"{self.part.kind}_some" if self.part.skip_nulls else self.part.kind
