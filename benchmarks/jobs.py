"""Each job made ready for each of its engines, in the process that measures it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

import headwater as hw
from headwater.connectors import files

from . import pipelines, rivals
from .inmemory import Frame, Sums, Totals
from .sensors import Form, loaded, path_of

__all__ = ["PREPARE", "Inputs", "Work"]

Result = dict[str, float]


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a job works on: so many rows, and the folders of its input and output files."""

    rows: int
    data: Path
    out: Path

    def file(self, form: Form) -> Path:
        """Return the file of the rows."""
        return path_of(self.data, form, self.rows)

    def frame(self) -> pl.DataFrame:
        """Return the rows in memory."""
        return loaded(self.data, self.rows)


@dataclass(frozen=True, slots=True)
class Work:
    """A job made ready: `run` is timed, `result` says afterwards what came out."""

    run: Callable[[], None]
    result: Callable[[], Result]


Prepare = Callable[[Inputs], Work]


def _flow(
    make: Callable[[hw.Source[Any], hw.Sink], hw.Flow],
    source: Callable[[Inputs], hw.Source[Any]],
    columns: tuple[str, ...],
) -> Prepare:
    """A flow whose rows are summed up by the sink."""

    def prepare(inputs: Inputs) -> Work:
        totals = Totals(columns)
        flow = make(source(inputs), Sums(totals))
        flow.graph()
        return Work(lambda: pipelines.run(flow), totals.result)

    return prepare


def _frame(
    query: Callable[[pl.LazyFrame], pl.DataFrame],
    rows: Callable[[Inputs], pl.LazyFrame],
    columns: tuple[str, ...],
) -> Prepare:
    """A polars query whose rows are summed up."""

    def prepare(inputs: Inputs) -> Work:
        totals = Totals(columns)
        lazy = rows(inputs)
        return Work(lambda: totals.add(query(lazy)), totals.result)

    return prepare


def _in_memory(inputs: Inputs) -> hw.Source[Any]:
    return Frame(inputs.frame())


def _lazy(inputs: Inputs) -> pl.LazyFrame:
    return inputs.frame().lazy()


def _from_parquet(inputs: Inputs) -> hw.Source[Any]:
    return files.parquet(inputs.file("parquet"))


def _scanned(inputs: Inputs) -> pl.LazyFrame:
    return pl.scan_parquet(inputs.file("parquet"))


def _file_totals(path: Path) -> Result:
    totals = Totals(_F)
    totals.add(pl.read_ndjson(path))
    return totals.result()


def _json_flow(
    make: Callable[[hw.Source[Any], hw.Sink], hw.Flow],
) -> Prepare:
    def prepare(inputs: Inputs) -> Work:
        target = inputs.out / "headwater.jsonl"
        source = files.json_lines(inputs.file("jsonl"))
        flow = make(source, files.to_json_lines(target))
        flow.graph()
        return Work(lambda: pipelines.run(flow), lambda: _file_totals(target))

    return prepare


def _json_polars(inputs: Inputs) -> Work:
    target = inputs.out / "polars.jsonl"

    def run() -> None:
        rows = pl.read_ndjson(inputs.file("jsonl"), schema=rivals.TEXT_SCHEMA).lazy()
        at = pl.from_epoch("ts", "ms").dt.replace_time_zone("UTC")
        rivals.warm(rows.with_columns(at)).write_ndjson(target)

    return Work(run, lambda: _file_totals(target))


def _json_python(inputs: Inputs) -> Work:
    target = inputs.out / "python.jsonl"
    source = inputs.file("jsonl")
    return Work(lambda: rivals.json_lines_by_python(source, target), lambda: _file_totals(target))


def _python_loop(inputs: Inputs) -> Work:
    rows = rivals.as_dicts(inputs.frame())
    made: list[dict[str, object]] = []
    totals = Totals(_F)

    def result() -> Result:
        totals.add(pl.DataFrame({"f": [row["f"] for row in made]}))
        return totals.result()

    return Work(lambda: made.extend(rivals.dicts_with_f(rows)), result)


_F: Final = ("f",)
_WINDOW: Final = ("n", "mean", "peak")

PREPARE: Final[dict[tuple[str, str], Prepare]] = {
    ("A-memory", "headwater"): _flow(pipelines.warm_by_columns, _in_memory, _F),
    ("A-memory", "polars"): _frame(rivals.warm, _lazy, _F),
    ("A-parquet", "headwater"): _flow(pipelines.warm_by_columns, _from_parquet, _F),
    ("A-parquet", "polars"): _frame(rivals.warm, _scanned, _F),
    ("B", "headwater"): _flow(pipelines.windowed, _in_memory, _WINDOW),
    ("B", "polars"): _frame(rivals.windowed, _lazy, _WINDOW),
    ("C-rows", "headwater"): _json_flow(pipelines.warm_by_row),
    ("C-rows", "polars"): _json_polars,
    ("C-rows", "python"): _json_python,
    ("C-columns", "headwater"): _json_flow(pipelines.warm_by_columns),
    ("C-columns", "polars"): _json_polars,
    ("D", "headwater"): _flow(pipelines.fahrenheit, _in_memory, _F),
    ("D", "polars"): _frame(rivals.mapped, _lazy, _F),
    ("D", "python"): _python_loop,
}
"""How a job (see `catalogue`) is made ready for an engine."""
