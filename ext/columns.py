"""Arrow arrays as checked views of bytes: what the kernels read, compiled or not.

A column takes one of three forms, whatever its Arrow type was: int64 values, float64 values, or
int64 offsets into bytes. Buffer sizes are checked here, so that a kernel that stays within
`start .. start + length` cannot read past a buffer; the offsets of the third form are the
kernel's to check.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import pyarrow as pa
import pyarrow.compute as pc

Form = Literal["int", "float", "bytes"]

EMPTY: Final = memoryview(b"")

_INT: Final = (pa.int64(),)
_INT_BY_WAY_OF_INT32: Final = (pa.int32(), pa.int64())
_FLOAT: Final = (pa.float64(),)
_BYTES: Final = (pa.large_binary(),)
_TEXT: Final = (pa.large_string(), pa.large_binary())

# Arrow type id -> the form, and the casts that lead to it.
_ROUTES: Final[dict[int, tuple[Form, tuple[pa.DataType, ...]]]] = {
    **{
        kind.id: ("int", _INT)
        for kind in (
            pa.null(),
            pa.bool_(),
            pa.int8(),
            pa.int16(),
            pa.int32(),
            pa.int64(),
            pa.uint8(),
            pa.uint16(),
            pa.uint32(),
            pa.uint64(),
            pa.date64(),
            pa.time64("us"),
            pa.timestamp("us"),
            pa.duration("us"),
        )
    },
    **{kind.id: ("int", _INT_BY_WAY_OF_INT32) for kind in (pa.date32(), pa.time32("s"))},
    **{kind.id: ("float", _FLOAT) for kind in (pa.float16(), pa.float32(), pa.float64())},
    **{
        kind.id: ("bytes", _BYTES)
        for kind in (
            pa.binary(),
            pa.large_binary(),
            pa.binary_view(),
            pa.binary(1),
            pa.string(),
            pa.large_string(),
            pa.string_view(),
        )
    },
    **{
        kind.id: ("bytes", _TEXT)
        for kind in (
            pa.decimal32(5, 2),
            pa.decimal64(5, 2),
            pa.decimal128(5, 2),
            pa.decimal256(5, 2),
        )
    },
}
_DICTIONARY: Final = pa.dictionary(pa.int32(), pa.string()).id
# Their values lie where views or indices point to, which only a full check follows.
_POINTING: Final = frozenset({_DICTIONARY, pa.string_view().id, pa.binary_view().id})


@dataclass(frozen=True, slots=True)
class Column:
    """A column as views of bytes.

    `start` is the position of the first row in `validity` (bits, least significant first; None:
    no row is null) and in `values` (8 bytes each: int64, float64, or int64 offsets, of which
    there is one more than rows). `data` holds the bytes that offsets point into.
    """

    form: Form
    start: int
    length: int
    validity: memoryview | None
    values: memoryview
    data: memoryview

    def is_valid(self, row: int) -> bool:
        """Whether `row` (from 0) is not null."""
        return is_set(self.validity, self.start + row)

    def words(self, code: Literal["q", "d", "Q"], extra: int = 0) -> memoryview[Any]:
        """The 8-byte values of the rows (and `extra` more), read as `code` of `struct`."""
        end = (self.start + self.length + extra) * 8
        return self.values[self.start * 8 : end].cast(code)


def column_of(array: pa.Array) -> Column:
    """`array` in its form.

    Raises TypeError for what is no `pyarrow.Array` or has a nested type, ValueError (also as
    `pyarrow.ArrowInvalid`) for an array whose buffers are too short for its length, or whose views
    or indices point outside.
    """
    if not isinstance(array, pa.Array):
        raise TypeError(f"a column is a pyarrow.Array, not {type(array).__name__}")
    form, array = _formed(array)
    buffers = array.buffers()
    validity = buffers[0] if array.null_count else None
    return Column(
        form=form,
        start=array.offset,
        length=len(array),
        validity=None if validity is None else view_of(validity),
        values=view_of(buffers[1]),
        data=view_of(buffers[2]) if form == "bytes" else EMPTY,
    )


def is_set(bits: memoryview | None, position: int) -> bool:
    """Whether the bit at `position`, least significant first, is 1; it is where there are none."""
    return bits is None or bool(bits[position >> 3] >> (position & 7) & 1)


def view_of(buffer: pa.Buffer | None) -> memoryview:
    """The bytes of an Arrow buffer; none of a missing one."""
    return EMPTY if buffer is None else memoryview(buffer).cast("B")


def _formed(array: pa.Array) -> tuple[Form, pa.Array]:
    """`array`, checked, without extension types and dictionaries, cast to its form."""
    try:
        array.validate(full=array.type.id in _POINTING)
    except pa.ArrowIndexError as error:
        raise ValueError(str(error)) from error
    if isinstance(array, pa.ExtensionArray):
        return _formed(array.storage)
    if array.type.id == _DICTIONARY:
        form, values = _formed(array.dictionary)
        return form, values.take(array.indices)
    route = _ROUTES.get(array.type.id)
    if route is None:
        raise TypeError(f"a column of type {array.type} cannot be hashed or folded")
    form, casts = route
    for kind in casts:
        if not array.type.equals(kind):
            array = pc.cast(array, kind, safe=False)
    return form, array


def columns_of(columns: object) -> list[Column]:
    """The key columns of a hash, all of one length.

    Raises TypeError if `columns` is one array or holds what is none, ValueError if there is none
    or their lengths differ.
    """
    if isinstance(columns, pa.Array | pa.ChunkedArray) or not hasattr(columns, "__iter__"):
        raise TypeError(f"columns is a sequence of pyarrow.Array, not {type(columns).__name__}")
    found = [column_of(array) for array in columns]
    if not found:
        raise ValueError("a hash needs at least one column")
    lengths = {column.length for column in found}
    if len(lengths) > 1:
        raise ValueError(f"key columns differ in length: {sorted(lengths)}")
    return found


def checked_groups(groups: int) -> int:
    """`groups` if it is a number of key groups; raises ValueError if not in 1 .. 2**31 - 1."""
    if not 1 <= groups < 1 << 31:
        raise ValueError(f"groups must be in 1 .. 2**31 - 1, not {groups}")
    return groups
