"""Arrow arrays as checked views of bytes: what the folding kernels read, compiled or not.

Buffer sizes are checked here, so that a kernel that stays within `start .. start + length` cannot
read past a buffer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import pyarrow as pa

Form = Literal["int", "float"]

EMPTY: Final = memoryview(b"")


@dataclass(frozen=True, slots=True)
class Column:
    """A column as views of bytes.

    `start` is the position of the first row in `validity` (bits, least significant first; None:
    no row is null) and in `values` (8 bytes each: int64 or float64).
    """

    form: Form
    start: int
    length: int
    validity: memoryview | None
    values: memoryview

    def words(self, code: Literal["q", "d"]) -> memoryview[Any]:
        """The 8-byte values of the rows, read as `code` of `struct`."""
        end = (self.start + self.length) * 8
        return self.values[self.start * 8 : end].cast(code)


def column_of(array: pa.Array) -> Column:
    """An int64 or float64 array in its form.

    Raises ValueError (as `pyarrow.ArrowInvalid`) if its buffers are too short for its length.
    """
    array.validate()
    validity, values = array.buffers()
    return Column(
        form="float" if pa.types.is_float64(array.type) else "int",
        start=array.offset,
        length=len(array),
        validity=view_of(validity) if array.null_count and validity is not None else None,
        values=view_of(values),
    )


def is_set(bits: memoryview | None, position: int) -> bool:
    """Whether the bit at `position`, least significant first, is 1; it is where there are none."""
    return bits is None or bool(bits[position >> 3] >> (position & 7) & 1)


def view_of(buffer: pa.Buffer | None) -> memoryview:
    """The bytes of an Arrow buffer; none of a missing one."""
    return EMPTY if buffer is None else memoryview(buffer).cast("B")
