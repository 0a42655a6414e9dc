"""Key columns, value by value: what the plain Python twins of `hashing` and `partitioning` read.

A column is any object that exports Arrow: a polars Series, a pyarrow Array or ChunkedArray. Its
values are read by what they are, whatever their layout:

    integer, boolean                       int
    date, time, timestamp, duration        int, in the unit of the column
    float                                  float
    decimal of up to 128 bits              (number, scale): number * 10**-scale
    string, binary, also of fixed size     bytes, those of a string in UTF-8
    null                                   None
    dictionary, extension type             what it stands for
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeAlias

import pyarrow as pa
import pyarrow.types as kinds

__all__ = ["Value", "arrays_of", "is_text", "values_of"]

Value: TypeAlias = "int | float | bytes | tuple[int, int] | None"
_Reader: TypeAlias = "Callable[[int], Value]"
"""The value of a row; raises IndexError if it lies outside the data of the column."""

_INLINE: Final = 12
"""The most bytes that a view holds itself."""
_PLAIN: Final = (
    kinds.is_null,
    kinds.is_boolean,
    kinds.is_integer,
    kinds.is_floating,
    kinds.is_fixed_size_binary,
)
_TEXT: Final = (
    kinds.is_null,
    kinds.is_string,
    kinds.is_large_string,
    kinds.is_string_view,
    kinds.is_binary,
    kinds.is_large_binary,
    kinds.is_binary_view,
    kinds.is_fixed_size_binary,
)


def arrays_of(columns: object) -> list[pa.Array]:
    """The key columns of a hash.

    Raises TypeError if `columns` is one column or holds what is none, ValueError if there is
    none, if their lengths differ or if one has several chunks or buffers too short for its length.
    """
    if _is_column(columns) or not isinstance(columns, Iterable):
        raise TypeError(f"columns is a sequence of columns, not {type(columns).__name__}")
    found = [_array_of(column) for column in columns]
    if not found:
        raise ValueError("a key needs at least one column")
    lengths = {len(column) for column in found}
    if len(lengths) > 1:
        raise ValueError(f"key columns differ in length: {sorted(lengths)}")
    return found


def is_text(kind: pa.DataType) -> bool:
    """Whether the values of a column of type `kind` are bytes, or all null."""
    if isinstance(kind, pa.BaseExtensionType):
        return is_text(kind.storage_type)
    if kinds.is_dictionary(kind):
        return is_text(kind.value_type)
    return any(holds(kind) for holds in _TEXT)


def values_of(array: pa.Array) -> Iterator[Value]:
    """The value of each row.

    Raises TypeError for nested types, ValueError for a row whose value lies outside the data.
    """
    value = _reader(array)
    for row in range(len(array)):
        try:
            found = value(row)
        except IndexError:
            raise ValueError(f"row {row}: its value lies outside the data of the column") from None
        yield found


def _is_column(source: object) -> bool:
    """Whether `source` exports Arrow."""
    return hasattr(source, "__arrow_c_array__") or hasattr(source, "__arrow_c_stream__")


def _array_of(source: object) -> pa.Array:
    if isinstance(source, pa.Array):
        source.validate()
        return source
    if not _is_column(source):
        raise TypeError(f"a column is a polars or Arrow column, not {type(source).__name__}")
    try:
        column = source if isinstance(source, pa.ChunkedArray) else pa.chunked_array(source)
    except pa.ArrowInvalid as error:
        raise TypeError(f"a column that Arrow does not know cannot be a key: {error}") from error
    column.validate()
    if column.num_chunks > 1:
        raise ValueError("there are several chunks; make them one with rechunk()")
    return column.chunk(0) if column.num_chunks else pa.array([], column.type)


def _reader(array: pa.Array) -> _Reader:
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return _reader(array.storage)
    if kinds.is_dictionary(kind):
        if kinds.is_dictionary(kind.value_type):
            raise TypeError("a dictionary of dictionaries cannot be a key")
        return _standing(array)
    if kinds.is_string_view(kind) or kinds.is_binary_view(kind):
        return _valid(array, _view(array))
    if kinds.is_large_string(kind) or kinds.is_large_binary(kind):
        return _valid(array, _between(array, "q"))
    if kinds.is_string(kind) or kinds.is_binary(kind):
        return _valid(array, _between(array, "i"))
    if kinds.is_decimal(kind) and kind.bit_width <= 128:
        return _valid(array, _scaled(array))
    if kinds.is_temporal(kind) and not kinds.is_interval(kind):
        array = array.view(pa.int32() if kind.bit_width == 32 else pa.int64())
    elif kinds.is_float16(kind):
        array = array.cast(pa.float32())
    elif not any(holds(kind) for holds in _PLAIN):
        raise TypeError(f"a column of type {kind} cannot be a key")
    values: list[Value] = array.to_pylist()
    return values.__getitem__


def _valid(array: pa.Array, value: _Reader) -> _Reader:
    if not array.null_count:
        return value
    valid: list[bool] = array.is_valid().to_pylist()
    return lambda row: value(row) if valid[row] else None


def _standing(array: pa.Array) -> _Reader:
    indices: list[int | None] = array.indices.to_pylist()
    value, size = _reader(array.dictionary), len(array.dictionary)

    def read(row: int) -> Value:
        index = indices[row]
        if index is None:
            return None
        if not 0 <= index < size:
            raise IndexError(index)
        return value(index)

    return read


def _view(array: pa.Array) -> _Reader:
    _, views, *blocks = (None if b is None else memoryview(b).cast("B") for b in array.buffers())
    start = array.offset

    def read(row: int) -> Value:
        assert views is not None
        view = views[16 * (start + row) : 16 * (start + row + 1)]
        size, _, block, begin = view.cast("i")
        if 0 <= size <= _INLINE:
            return bytes(view[4 : 4 + size])
        if size < 0 or not 0 <= block < len(blocks) or begin < 0:
            raise IndexError(row)
        return _cut(blocks[block], begin, begin + size)

    return read


def _between(array: pa.Array, code: str) -> _Reader:
    _, offsets, data = array.buffers()
    if not len(array):
        return lambda row: None
    places = memoryview(offsets).cast("B").cast(code)  # type: ignore[call-overload]
    start = array.offset
    end = places[start + len(array)]
    block = None if data is None else memoryview(data).cast("B")[:end]
    return lambda row: _cut(block, places[start + row], places[start + row + 1])


def _cut(block: memoryview | None, begin: int, end: int) -> bytes:
    if not 0 <= begin <= end <= (0 if block is None else len(block)):
        raise IndexError(begin)
    return b"" if block is None else bytes(block[begin:end])


def _scaled(array: pa.Array) -> _Reader:
    width, scale, start = array.type.bit_width // 8, array.type.scale, array.offset
    data = array.buffers()[1]

    def read(row: int) -> Value:
        number = memoryview(data)[width * (start + row) : width * (start + row + 1)]
        return int.from_bytes(number, "little", signed=True), scale

    return read
