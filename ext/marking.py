"""The watermark that each row of a partition carries: the plain Python twin of `_marking`."""

from __future__ import annotations

from array import array
from itertools import accumulate

import polars as pl
import pyarrow as pa

__all__ = ["watermarks"]


def watermarks(times: pl.Series, newest: int, disorder: int) -> tuple[pa.Array, int]:
    """The watermark just before each row (int64, µs), and the newest time after all of them.

    `times` are event times in µs (a datetime or int64 column in one piece, without nulls),
    `newest` the newest before the first of them. A watermark is the newest time so far minus
    `disorder` (µs). Raises ValueError for several chunks or nulls, TypeError for another type.
    """
    timed = isinstance(times.dtype, pl.Datetime) and times.dtype.time_unit == "us"
    if times.dtype != pl.Int64 and not timed:
        raise TypeError(f"times are int64 or timestamps in µs, not {times.dtype}")
    if times.n_chunks() > 1:
        raise ValueError("there are several chunks; make them one with rechunk()")
    if times.null_count():
        raise ValueError(f"times hold {times.null_count()} nulls")
    reached = array("q", accumulate(times.to_physical().to_list(), max, initial=newest))
    newest = reached.pop()
    marks = array("q", (time - disorder for time in reached))
    return pa.Array.from_buffers(pa.int64(), len(marks), [None, pa.py_buffer(marks)]), newest
