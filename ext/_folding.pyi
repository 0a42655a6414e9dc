from array import array

import pyarrow as pa

def fold_count(
    slots: pa.Array,
    values: pa.Array | None,
    counts: array[int],
    running: array[int] | None = None,
) -> None: ...
def fold_sum(
    slots: pa.Array,
    values: pa.Array,
    sums: array[int] | array[float],
    running: array[int] | array[float] | None = None,
) -> None: ...
def fold_min(
    slots: pa.Array,
    values: pa.Array,
    best: array[int] | array[float],
    seen: array[int],
    running: array[int] | array[float] | None = None,
) -> None: ...
def fold_max(
    slots: pa.Array,
    values: pa.Array,
    best: array[int] | array[float],
    seen: array[int],
    running: array[int] | array[float] | None = None,
) -> None: ...
def fold_moments(
    slots: pa.Array,
    values: pa.Array,
    counts: array[int],
    means: array[float],
    squares: array[float],
    running: tuple[array[float], array[float]] | None = None,
) -> None: ...
