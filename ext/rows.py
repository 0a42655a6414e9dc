"""What the folding kernels demand of their arguments, checked before anything is changed."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import pyarrow as pa

from .columns import EMPTY, column_of, is_set, view_of

Code = Literal["q", "d"]
Floats: TypeAlias = "array[float]"


@dataclass(frozen=True, slots=True)
class Rows:
    """Slots and values of the rows to fold, as views of bytes of exactly `length` rows.

    `code` says what the values are: "q" int64, "d" float64. Row i is null if bit `start + i` of
    `validity` is 0.
    """

    length: int
    slots: memoryview
    values: memoryview
    code: Code
    start: int
    validity: memoryview | None

    def is_valid(self, row: int) -> bool:
        """Whether `row` (from 0) is not null."""
        return is_set(self.validity, self.start + row)

    def places(self) -> memoryview[int]:
        """The slots as numbers."""
        return self.slots.cast("q")

    def items(self) -> memoryview[Any]:
        """The values as numbers, int or float by `code`."""
        return self.values.cast(self.code)


def numbers(slots: pa.Array, values: pa.Array) -> Rows:
    """Rows of int64 or float64 values; raises TypeError for any other type."""
    length, places = _slots(slots)
    if not isinstance(values, pa.Array):
        raise TypeError(f"values is a pyarrow.Array, not {type(values).__name__}")
    if not (pa.types.is_int64(values.type) or pa.types.is_float64(values.type)):
        raise TypeError(f"values are int64 or float64, not {values.type}")
    column = column_of(values)
    _same_length(length, column.length)
    code: Code = "q" if column.form == "int" else "d"
    return Rows(
        length=length,
        slots=places,
        values=column.words(code).cast("B"),
        code=code,
        start=column.start,
        validity=column.validity,
    )


def presence(slots: pa.Array, values: pa.Array | None) -> Rows:
    """Rows of which it matters only whether their value, of any type, is null."""
    length, places = _slots(slots)
    start, validity = 0, None
    if values is not None:
        if not isinstance(values, pa.Array):
            raise TypeError(f"values is a pyarrow.Array or None, not {type(values).__name__}")
        values.validate()
        _same_length(length, len(values))
        if values.null_count:
            bits = values.is_valid()
            start, validity = bits.offset, view_of(bits.buffers()[1])
    return Rows(length=length, slots=places, values=EMPTY, code="q", start=start, validity=validity)


def check_state(rows: Rows, lowest: int, highest: int, **states: tuple[object, str]) -> None:
    """Hold the states of a fold (name -> array, typecode) against its rows.

    `lowest` and `highest` are the bounds of the slots. Raises TypeError for another kind of
    array, IndexError for a slot that a state does not have.
    """
    for name, (state, code) in states.items():
        _check_array(name, state, code)
    if not rows.length:
        return
    for name, (state, _) in states.items():
        assert isinstance(state, array)
        if lowest < 0 or highest >= len(state):
            slot = lowest if lowest < 0 else highest
            raise IndexError(f"slot {slot} is outside {name}, which has {len(state)} slots")


def check_running(rows: Rows, code: str, *running: object) -> None:
    """Hold the arrays for running values (None: not wanted) against the rows.

    Raises TypeError for another kind of array, ValueError if one is not as long as the rows.
    """
    for target in running:
        if target is None:
            continue
        _check_array("running", target, code)
        assert isinstance(target, array)
        if len(target) != rows.length:
            raise ValueError(f"running holds {len(target)} rows, slots {rows.length}")


def pair(running: tuple[Floats, Floats] | None) -> tuple[Floats | None, Floats | None]:
    """The two arrays of `running`, or twice None; raises TypeError for anything else."""
    if running is None:
        return None, None
    if not isinstance(running, tuple) or len(running) != 2 or None in running:
        raise TypeError("running is a pair of array.array('d')")
    return running


def _check_array(name: str, state: object, code: str) -> None:
    if not isinstance(state, array):
        raise TypeError(f"{name} is an array.array({code!r}), not {type(state).__name__}")
    if state.typecode != code:
        raise TypeError(f"{name} must be an array.array({code!r}), not {state.typecode!r}")


def _slots(slots: pa.Array) -> tuple[int, memoryview]:
    if not isinstance(slots, pa.Array):
        raise TypeError(f"slots is a pyarrow.Array, not {type(slots).__name__}")
    if not pa.types.is_int64(slots.type):
        raise TypeError(f"slots are int64, not {slots.type}")
    if slots.null_count:
        raise ValueError(f"slots hold {slots.null_count} nulls")
    column = column_of(slots)
    return column.length, column.words("q").cast("B")


def _same_length(slots: int, values: int) -> None:
    if slots != values:
        raise ValueError(f"there are {slots} slots, but {values} values")
