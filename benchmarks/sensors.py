"""The readings that every benchmark works on, made from a seed and kept in files.

A fleet of 1000 devices at 20 sites sends 10,000 readings per second of event time; a reading
arrives up to 2 s behind the newest before it. Half of the temperatures lie above 25. Three other
streams are made likewise: `keys` has a million devices, `left` and `right` have 400 readings per
second, so that within 5 s a device has two of each.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import polars as pl
import pyarrow as pa
import pyarrow.parquet

__all__ = ["BLOCK", "DISORDER", "FLEETS", "Form", "blocks", "loaded", "path_of", "written"]

Form = Literal["parquet", "csv", "jsonl"]

BLOCK: Final = 131_072
"""Rows of a Parquet row group, and of what is held in memory while the files are written."""
DISORDER: Final = "2s"

_SITES: Final = 20
_START_MS: Final = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp()) * 1000


@dataclass(frozen=True, slots=True)
class _Fleet:
    """So many devices, whose numbers have so many digits, and readings per second of event time."""

    seed: int
    devices: int
    digits: int
    per_second: int


FLEETS: Final = {
    "sensors": _Fleet(seed=7, devices=1000, digits=4, per_second=10_000),
    "keys": _Fleet(seed=8, devices=1_000_000, digits=7, per_second=10_000),
    "left": _Fleet(seed=9, devices=1000, digits=4, per_second=400),
    "right": _Fleet(seed=10, devices=1000, digits=4, per_second=400),
}


def blocks(rows: int, fleet: str = "sensors") -> Iterator[pl.DataFrame]:
    """Yield the first `rows` readings, `BLOCK` at a time, with `ts` as µs UTC."""
    made = FLEETS[fleet]
    rng = random.Random(made.seed)
    for first in range(0, rows, BLOCK):
        # A whole block is drawn even if less is kept, so that fewer rows are a prefix of more.
        yield _block(made, rng, first).head(rows - first)


def _block(fleet: _Fleet, rng: random.Random, first: int) -> pl.DataFrame:
    names = ("device", "late", "temp", "hum", "status")
    drawn = pl.DataFrame([_drawn(rng, name) for name in names])
    number = pl.int_range(first, first + BLOCK, dtype=pl.Int64)
    share = {name: pl.col(name) / 2**32 for name in names}
    device = pl.col("device") % fleet.devices
    behind = (share["late"] * 2000).cast(pl.Int64)
    return drawn.select(
        ts=(_START_MS + number * 1000 // fleet.per_second - behind)
        .cast(pl.Datetime("ms", "UTC"))
        .cast(_MICROS),
        device=_named("device", device, fleet.digits),
        site=_named("site", device % _SITES, 2),
        temp=(15 + 20 * share["temp"]).round(2),
        hum=(30 + 50 * share["hum"]).round(1),
        status=pl.when(share["status"] < 0.97)
        .then(pl.lit("ok"))
        .when(share["status"] < 0.995)
        .then(pl.lit("warn"))
        .otherwise(pl.lit("fail")),
    )


_MICROS: Final = pl.Datetime("us", "UTC")


def _drawn(rng: random.Random, name: str) -> pl.Series:
    buffer = pa.py_buffer(rng.randbytes(4 * BLOCK))
    return pl.Series(name, pl.from_arrow(pa.Array.from_buffers(pa.uint32(), BLOCK, [None, buffer])))


def _named(kind: str, number: pl.Expr, digits: int) -> pl.Expr:
    return f"{kind}-" + number.cast(pl.String).str.zfill(digits)


def path_of(folder: Path, form: Form, rows: int, fleet: str = "sensors") -> Path:
    """Return where the first `rows` readings are kept."""
    return folder / f"{fleet}-{rows}.{form}"


def written(folder: Path, form: Form, rows: int, fleet: str = "sensors") -> Path:
    """Return the file of the first `rows` readings; write it if it is not there yet."""
    path = path_of(folder, form, rows, fleet)
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        _WRITERS[form](partial, blocks(rows, fleet))
        partial.replace(path)
        os.sync()  # what the system has yet to write would slow down what is measured next
    return path


def _write_parquet(path: Path, made: Iterator[pl.DataFrame]) -> None:
    with pyarrow.parquet.ParquetWriter(path, _ARROW) as writer:
        for block in made:
            writer.write_table(block.to_arrow().cast(_ARROW), row_group_size=BLOCK)


_ARROW: Final = pa.schema(
    [
        ("ts", pa.timestamp("us", "UTC")),
        ("device", pa.string()),
        ("site", pa.string()),
        ("temp", pa.float64()),
        ("hum", pa.float64()),
        ("status", pa.string()),
    ]
)


def _in_ms(block: pl.DataFrame) -> pl.DataFrame:
    return block.with_columns(pl.col("ts").dt.epoch("ms"))


def _write_csv(path: Path, made: Iterator[pl.DataFrame]) -> None:
    with path.open("wb") as out:
        for number, block in enumerate(made):
            _in_ms(block).write_csv(out, include_header=number == 0)


def _write_jsonl(path: Path, made: Iterator[pl.DataFrame]) -> None:
    with path.open("wb") as out:
        for block in made:
            _in_ms(block).write_ndjson(out)


_WRITERS: Final[dict[Form, Callable[[Path, Iterator[pl.DataFrame]], None]]] = {
    "parquet": _write_parquet,
    "csv": _write_csv,
    "jsonl": _write_jsonl,
}


def loaded(folder: Path, rows: int, fleet: str = "sensors") -> pl.DataFrame:
    """Return the first `rows` readings in one piece of memory."""
    return pl.read_parquet(path_of(folder, "parquet", rows, fleet)).rechunk()


def _main() -> None:
    """Write one file: ``python -m benchmarks.sensors FOLDER FORM ROWS [FLEET]``."""
    folder, form, rows, *fleet = sys.argv[1:]
    forms: dict[str, Form] = {"parquet": "parquet", "csv": "csv", "jsonl": "jsonl"}
    print(os.fspath(written(Path(folder), forms[form], int(rows), *fleet)))


if __name__ == "__main__":
    _main()
