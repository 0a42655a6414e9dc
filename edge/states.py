"""``headwater state``: what a durable run remembers, as of its newest image."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from ..connectors.images import images_in, load_image
from ..connectors.journalfiles import FileStorage
from ..flows.engine.image import Image
from ..flows.errors import RecoveryError
from ..flows.graph import Graph

__all__ = ["state_lines"]


def state_lines(
    folder: Path, graph: Graph, operator: str | None, key: Sequence[str]
) -> Iterator[str]:
    """Yield a JSON object for each row that an operator remembers, of one key or of all.

    Without an operator, those that remember something, with their tables. Raises `RecoveryError`
    if there is no image, or no such operator or key.
    """
    image = _newest(folder)
    owners = {image.owners[node] for node in image.operators}
    if operator is None:
        for node, tables in image.operators.items():
            for name, table in tables.items():
                yield f"{image.owners[node]}  {name}  rows {table.height}"
        return
    if operator not in owners:
        raise RecoveryError(
            f"nothing is remembered of {operator}; there is state of {', '.join(sorted(owners))}"
        )
    for node, tables in image.operators.items():
        if image.owners[node] != operator:
            continue
        keys = graph.node(node).keys or ()
        if len(key) > len(keys):
            raise RecoveryError(
                f"{operator} has the key ({', '.join(keys)}); give at most {len(keys)} values"
            )
        for name, table in tables.items():
            yield from _rows(name, table, dict(zip(keys, key, strict=False)))


def _newest(folder: Path) -> Image:
    storage = FileStorage(folder)
    steps = images_in(storage)
    if not steps:
        raise RecoveryError(f"{folder} holds no run; it is made by `headwater run --state`")
    return load_image(storage, steps[0])


def _rows(name: str, table: pl.DataFrame, key: dict[str, str]) -> Iterator[str]:
    if key and not set(key) <= set(table.columns):
        return
    for column, value in key.items():
        table = table.filter(pl.col(column).cast(pl.String) == value)
    for row in table.iter_rows(named=True):
        yield json.dumps({"table": name, **row}, default=str, ensure_ascii=False)
