"""The connector of examples/own_connector.py, held against the conformance suite."""

from __future__ import annotations

import importlib.util
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pytest

from headwater.connectors.conformance import check_sink, check_source, drain, sink_context
from headwater.flows.errors import ConnectorError
from headwater.flows.event import Event, EventTime, Site
from headwater.flows.schema import schema_of

EXAMPLE = Path(__file__).parent.parent / "examples" / "own_connector.py"


class Order(Event):
    at: EventTime
    store: Site
    amount: float | None
    items: int


class Row(Event):
    n: int
    what: str


@pytest.fixture(scope="module")
def own() -> ModuleType:
    spec = importlib.util.spec_from_file_location("own_connector", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["own_connector"] = module
    spec.loader.exec_module(module)
    return module


def filled(path: Path, rows: Sequence[tuple[Any, ...]]) -> Path:
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE rows (n, what, more)")
        database.executemany("INSERT INTO rows VALUES (?, ?, 1)", rows)
        database.commit()
    return path


def test_the_source_conforms(own: ModuleType, tmp_path: Path) -> None:
    rows = [(n, f"row {n}") if n % 5 else ("none", None) for n in range(30)]
    path = filled(tmp_path / "shop.db", rows)
    good = [row for row in rows if row[0] != "none"]
    expected = pl.DataFrame(good, schema={"n": pl.Int64, "what": pl.String}, orient="row")
    check_source(own.table(path, "rows"), Row, expected)
    check_source(own.table(filled(tmp_path / "empty.db", []), "rows"), Row, expected.clear())


def test_the_sink_conforms(own: ModuleType, tmp_path: Path) -> None:
    count = 0

    def place() -> Path:
        return tmp_path / f"{count}.db"

    def make() -> Any:
        nonlocal count
        count += 1
        return own.to_table(place(), "orders")

    def read_back() -> pl.DataFrame | None:
        with closing(sqlite3.connect(place())) as database:
            if not database.execute("SELECT 1 FROM sqlite_schema").fetchall():
                return None
        source = own.table(place(), "orders")
        found = drain(source, source.partitions()[0], Order)
        assert () == found.dead
        return found.rows

    check_sink(make, read_back, Order)


def test_errors_name_the_file(own: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ConnectorError, match="no such file"):
        drain(own.table(tmp_path / "none.db", "rows"), "", Row)
    path = filled(tmp_path / "shop.db", [])
    with pytest.raises(ConnectorError, match=r"shop\.db: no such table: other"):
        drain(own.table(path, "other"), "", Row)


def test_deletes_take_the_key(own: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    context = sink_context(schema_of(Row).with_key("n"))
    writer = own.to_table(path, "rows").open(context)
    writer.write(pl.DataFrame({"n": [1, 2, 1], "what": ["a", "b", "c"], "_deleted": [False] * 3}))
    writer.write(pl.DataFrame({"n": [2], "what": ["b"], "_deleted": [True]}))
    writer.close()
    with closing(sqlite3.connect(path)) as database:
        assert [(1, "c")] == database.execute("SELECT * FROM rows").fetchall()
