"""The jobs by name: what they do, their input files, their engines and what each is handed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

__all__ = ["CATALOGUE", "Contender", "Entry", "chosen"]

Kind = Literal["timed", "latency", "startup", "overhead", "memory", "kernels", "durable"]


@dataclass(frozen=True, slots=True)
class Contender:
    """An engine in a job: what it is handed, at most how many rows, how near its results come.

    A slow engine gets the first rows only; rows per second are compared.
    """

    engine: str
    handed: str
    most: int | None = None
    tolerance: float = 1e-9
    forms: tuple[str, ...] = ("sensors.parquet",)
    """Its files, as fleet and format."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A job: its engines (Headwater first), at most how many rows, and of how many streams."""

    name: str
    title: str
    contenders: tuple[Contender, ...]
    most: int | None = None
    streams: int = 1
    kind: Kind = "timed"
    rate: int = field(default=0)
    """Rows per second that come, where latency is measured."""


_C: Final = Contender
_FRAME: Final = "columns in memory"
_DICTS: Final = "ready dicts"
_LISTS: Final = "ready dicts, in lists of 1024"
_MESSAGES: Final = "ready dicts, as messages with key and time"
_EVENTS: Final = "ready dicts, as events with key and time"
_CSV: Final = "a CSV file"
_LINES: Final = "a JSON Lines file"
_BYTES: Final = "ready bytes, a message each"
_JSONL: Final = ("sensors.jsonl",)
_OWN: Final = _C("headwater", _FRAME)
_POLARS: Final = _C("polars", f"{_FRAME}, all at once")


def _by_row(name: str, title: str, own: int | None) -> Entry:
    return Entry(
        name,
        title,
        (
            _C("headwater", _FRAME, own),
            _C("polars", f"{_FRAME}, all at once; map_elements", 500_000),
            _C("python", _DICTS, 500_000),
            _C("bytewax", _LISTS, 500_000),
            _C("quix", _MESSAGES, 500_000),
            _C("pathway", _CSV, 500_000, forms=("sensors.csv",)),
            _C("faust", _DICTS, 200_000),
        ),
    )


def _windowed(name: str, title: str, fleet: str, slow: int) -> Entry:
    parquet, csv = (f"{fleet}.parquet",), (f"{fleet}.csv",)
    return Entry(
        name,
        title,
        (
            _C("headwater", _FRAME, forms=parquet),
            _C("polars", f"{_FRAME}, all at once", forms=parquet),
            _C("python", _DICTS, 500_000, forms=parquet),
            _C("bytewax-still", f"{_LISTS}; clock held still", slow, forms=parquet),
            _C("quix", _MESSAGES, slow, forms=parquet),
            _C("pathway", _CSV, 2 * slow, forms=csv),
            _C("faust", _EVENTS, slow, forms=parquet),
        ),
    )


_ENTRIES: Final = (
    Entry(
        "A",
        "filter, add, drop a column; count and sum",
        (
            _OWN,
            _POLARS,
            _C("python", _DICTS, 500_000),
            _C("bytewax", _LISTS, 500_000),
            _C("bytewax-arrow", "ready Arrow batches, as large as Headwater's"),
            _C("quix", _MESSAGES, 500_000),
            _C("pathway", _CSV, 500_000, forms=("sensors.csv",)),
            _C("faust", _DICTS, 200_000),
        ),
    ),
    Entry(
        "A-parquet",
        "the same, from Parquet",
        (_C("headwater", "a Parquet file"), _C("polars", "a Parquet file, all at once")),
    ),
    Entry(
        "B",
        "10 s windows by device, 2 s of disorder: count, mean, max",
        (
            _OWN,
            _POLARS,
            _C("python", _DICTS, 500_000),
            # Its clock runs on while it works, which makes rows late if the machine is slow.
            _C("bytewax", _LISTS, 200_000, tolerance=0.01),
            _C("bytewax-still", f"{_LISTS}; clock held still", 200_000),
            _C("quix", _MESSAGES, 200_000),
            _C("pathway", _CSV, 500_000, forms=("sensors.csv",)),
            _C("faust", _EVENTS, 200_000),
        ),
    ),
    Entry(
        "C",
        "JSON in, a Python function filters and adds a field, JSON out",
        (
            _C("headwater", f"{_LINES}; writes one", forms=_JSONL),
            _C("polars", f"{_LINES}, all at once; writes one; no Python function", forms=_JSONL),
            _C("python", f"{_BYTES}; orjson", 500_000, forms=_JSONL),
            _C("bytewax", f"{_BYTES}, in lists of 1024; orjson", 500_000, forms=_JSONL),
            _C("quix", f"{_BYTES}; its JSON serializers", 200_000, forms=_JSONL),
            _C("pathway", f"{_LINES}; writes one", 500_000, forms=_JSONL),
            _C("faust", f"{_BYTES}; orjson", 200_000, forms=_JSONL),
        ),
        1_000_000,
    ),
    Entry(
        "C-columns",
        "JSON in and out, by columns; times are times",
        (
            _C("headwater", f"{_LINES}; writes one", forms=_JSONL),
            _C("polars", f"{_LINES}, all at once; writes one", forms=_JSONL),
        ),
        1_000_000,
    ),
    _by_row("D-vector", "a Python function adds a field; arithmetic alone", None),
    _by_row(
        "D-python", "a Python function adds a field; a dict and a regular expression", 1_000_000
    ),
    _windowed("E", "60 s windows every 10 s by device", "sensors", 50_000),
    Entry(
        "F",
        "interval join by device, right within 5 s after left",
        (
            _C("headwater", _FRAME, forms=("left.parquet", "right.parquet")),
            _C("polars", f"{_FRAME}, all at once", forms=("left.parquet", "right.parquet")),
            _C("pathway", "two CSV files", 200_000, forms=("left.csv", "right.csv")),
            _C(
                "quix",
                f"{_MESSAGES}, in order of time",
                50_000,
                forms=("left.parquet", "right.parquet"),
            ),
        ),
        1_000_000,
        streams=2,
    ),
    _windowed("G", "B with 1 million devices", "keys", 50_000),
    Entry("latency-1k", "latency at 1,000 rows/s", (_OWN,), kind="latency", rate=1_000),
    Entry("latency-10k", "latency at 10,000 rows/s", (_OWN,), kind="latency", rate=10_000),
    Entry("latency-100k", "latency at 100,000 rows/s", (_OWN,), kind="latency", rate=100_000),
    Entry(
        "import",
        "time to import",
        tuple(_C(name, "") for name in ("headwater", "bytewax", "quix", "pathway", "faust")),
        kind="startup",
    ),
    Entry("idle", "memory with nothing to do", (_C("headwater", ""),), kind="startup"),
    Entry("kernels", "kernels beside the best library", (_C("headwater", ""),), kind="kernels"),
    Entry("overhead", "the engine's own cost", (_C("headwater", ""),), kind="overhead"),
    Entry(
        "memory-csv",
        "B from CSV, peak memory",
        (_C("headwater", _CSV, forms=("sensors.csv",)),),
        kind="memory",
    ),
    Entry(
        "memory-parquet",
        "likewise from Parquet",
        (_C("headwater", "a Parquet file"),),
        kind="memory",
    ),
    Entry(
        "journal",
        "A and B with a journal, and an append to it",
        (_C("headwater", _FRAME),),
        kind="durable",
    ),
    Entry(
        "restart",
        "a run that was killed until it is where it was",
        (_C("headwater", _LINES),),
        kind="durable",
    ),
)
CATALOGUE: Final = {entry.name: entry for entry in _ENTRIES}


def chosen(names: Sequence[str]) -> tuple[Entry, ...]:
    """Return the jobs whose names begin so, all without a name; raises ValueError for none."""
    if not names:
        return _ENTRIES
    for name in names:
        if not any(_is_meant(name, entry) for entry in _ENTRIES):
            raise ValueError(f"there is no job {name!r}; the jobs are {', '.join(CATALOGUE)}")
    return tuple(e for e in _ENTRIES if any(_is_meant(name, e) for name in names))


def _is_meant(name: str, entry: Entry) -> bool:
    return name in (entry.name, entry.name.partition("-")[0])
