"""Files as sinks: the contract, round trips, upsert tables and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from headwater.connectors import files
from headwater.connectors.conformance import (
    check_sink,
    drain,
    sample_rows,
    sink_context,
)
from headwater.connectors.encoders import CsvEncoding
from headwater.connectors.filesink import FileSink
from headwater.flows.connector import DELETED, Sink
from headwater.flows.errors import ConnectorError
from headwater.flows.event import Event, EventTime, Site
from headwater.flows.schema import schema_of


class Reading(Event):
    at: EventTime
    store: Site
    celsius: float
    n: int | None
    note: str | None


class Pair(Event):
    a: int
    b: str


def pairs(count: int) -> pl.DataFrame:
    columns = {"a": list(range(count)), "b": [f"row {n}" for n in range(count)]}
    return pl.DataFrame(columns, schema={"a": pl.Int64, "b": pl.String})


SINKS = {
    "csv": (files.to_csv, files.csv),
    "jsonl": (files.to_json_lines, files.json_lines),
    "parquet": (files.to_parquet, files.parquet),
    "arrow": (files.to_ipc, files.ipc),
}


class Place:
    """A fresh path for every sink."""

    def __init__(self, folder: Path, suffix: str) -> None:
        self._folder, self._suffix, self._count = folder, suffix, 0

    def next(self) -> Path:
        self._count += 1
        return self.path

    @property
    def path(self) -> Path:
        return self._folder / f"{self._count}.{self._suffix}"

    def content(self) -> bytes | None:
        return self.path.read_bytes() if self.path.exists() else None


@pytest.mark.parametrize("suffix", [*SINKS, "csv.gz", "jsonl.gz"])
def test_sink_conforms(tmp_path: Path, suffix: str) -> None:
    place = Place(tmp_path, suffix)
    make, back = SINKS[suffix.removesuffix(".gz")]
    check_sink(lambda: make(place.next()), place.content, Reading)

    def rows() -> pl.DataFrame | None:
        if not place.path.exists():
            return None
        found = drain(back(place.path), str(place.path), Reading)
        assert () == found.dead
        return found.rows

    check_sink(lambda: make(place.next()), rows, Reading)
    assert [] == list(tmp_path.glob(".*"))


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "ndjson", "parquet", "arrow", "csv.gz"])
def test_table_conforms(tmp_path: Path, suffix: str) -> None:
    place = Place(tmp_path, suffix)
    assert files.to_table(place.next()).upsert
    check_sink(lambda: files.to_table(place.next()), place.content, Reading)


def test_table_keeps_the_last_row_of_each_key(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    writer = files.to_table(path).open(sink_context(schema_of(Pair).with_key("a")))
    for a, b, gone in [
        (2, "x", False),
        (1, "y", False),
        (2, "z", False),
        (3, "q", False),
        (3, "q", True),
    ]:
        writer.write(pl.DataFrame({"a": [a], "b": [b], DELETED: [gone]}))
    writer.close()
    assert path.read_text() == "a,b\n1,y\n2,z\n"
    with pytest.raises(ValueError, match=r"use one of \.csv"):
        files.to_table("x.txt")


def test_groups_do_not_depend_on_writes(tmp_path: Path) -> None:
    rows = pairs(150_000)
    contents = []
    for n, size in enumerate((150_000, 65_536, 999)):
        for make in (files.to_parquet, files.to_ipc):
            writer = make(tmp_path / f"{n}").open(sink_context(Pair))
            for start in range(0, len(rows), size):
                writer.write(rows.slice(start, size))
            writer.close()
            contents.append((tmp_path / f"{n}").read_bytes())
    assert contents[0] == contents[2] == contents[4]
    assert contents[1] == contents[3] == contents[5]
    with pa.ipc.open_file(tmp_path / "0") as file:
        assert [65_536, 65_536, 18_928] == [
            file.get_batch(n).num_rows for n in range(file.num_record_batches)
        ]


def test_text_sink(tmp_path: Path) -> None:
    place = Place(tmp_path, "txt")
    check_sink(lambda: files.to_text(place.next(), "note"), place.content, Reading)
    check_sink(lambda: files.to_text(place.next()), place.content, Pair)
    with pytest.raises(ConnectorError, match="say which column"):
        files.to_text(place.next()).open(sink_context(Reading))
    assert [] == list(tmp_path.glob(".*"))


def test_a_stale_partial_file_is_replaced_and_the_old_file_kept_until_close(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("old")
    (tmp_path / ".x.csv.partial").write_text("from a crash" * 1000)
    writer = files.to_csv(path).open(sink_context(Pair))
    writer.write(pairs(1))
    assert path.read_text() == "old"
    writer.close()
    writer.abort()
    assert path.read_text() == "a,b\n0,row 0\n"


def test_sinks_refuse_what_they_cannot_hold(tmp_path: Path) -> None:
    class Blob(Event):
        data: bytes

    with pytest.raises(ConnectorError, match=r"data.*Parquet"):
        files.to_csv(tmp_path / "x").open(sink_context(Blob))
    with pytest.raises(ConnectorError, match=r"data.*Parquet"):
        files.to_json_lines(tmp_path / "x").open(sink_context(Blob))
    with pytest.raises(ConnectorError, match="create it first"):
        files.to_csv(tmp_path / "none" / "x").open(sink_context(Pair))
    with pytest.raises(ConnectorError, match="is a folder"):
        files.to_csv(tmp_path).open(sink_context(Pair))
    assert [] == list(tmp_path.iterdir())


def test_descriptions_do_no_io_and_are_values() -> None:
    assert files.csv("nowhere/*.csv") == files.csv("nowhere/*.csv")
    assert FileSink("x.csv", CsvEncoding()) == files.to_csv("x.csv")
    assert isinstance(files.to_csv("x.csv"), Sink)
    assert not files.to_csv("x.csv").upsert


def test_samples_are_the_same_for_the_same_seed() -> None:
    schema = schema_of(Reading)
    assert sample_rows(schema, 50).equals(sample_rows(schema, 50))
    assert datetime(2024, 2, 1, tzinfo=UTC) < sample_rows(schema, 50)["at"].min()  # type: ignore[operator]


def test_two_sinks_do_not_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    context = sink_context(Pair)
    first = files.to_csv(path).open(context)
    with pytest.raises(ConnectorError, match=r"x\.csv: another sink or another run"):
        files.to_csv(path).open(context)
    first.write(pairs(3))
    first.close()
    again = files.to_csv(path).open(context)
    again.write(pairs(2))
    assert 4 == len(path.read_text().splitlines())
    again.close()
    assert 3 == len(path.read_text().splitlines())
