"""Runs the flow of an example as the command line does, over a clock that stands still."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from headwater.edge.flowfile import load_flow
from headwater.edge.spread import Spread
from headwater.flows.clock import ManualClock
from headwater.flows.connector import Sink
from headwater.flows.engine.runner import Options, Progress, Runner

__all__ = ["EXAMPLES", "run"]

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(
    file: Path,
    settings: Any = None,
    *,
    batch_rows: int = 65_536,
    workers: int = 1,
    leaf: Sink | None = None,
) -> Progress:
    """Run a flow file until its sources end; a dead letter fails the test."""
    graph = load_flow(str(file)).graph()
    options = Options(batch_rows=batch_rows, settings=settings, leaf=leaf)
    executor = None if workers == 1 else Spread(str(file), workers, options)
    return Runner(graph, ManualClock(), options, _fail, executor).run()


def _fail(letters: pl.DataFrame) -> None:
    pytest.fail(f"dead letters: {letters.head(3).to_dicts()}")
