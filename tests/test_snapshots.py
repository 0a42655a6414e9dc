"""Operators that are made anew from their snapshots go on as if nothing had happened."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from typing import Any

import pytest

from headwater.edge.flowfile import load_flow
from headwater.flows import operators
from headwater.flows.batch import Logic
from headwater.flows.clock import ManualClock
from headwater.flows.engine.runner import Executor, Options, Runner

from .harness import Kept
from .restarting import Restarting

EVERYTHING = str(Path(__file__).parent / "flows_for_tests" / "everything.py")


def ran(folder: Path, seed: int | None, batch_rows: int) -> tuple[dict[str, bytes], list[Any]]:
    """Run the flow with an operator of every kind; return its files and what was buried."""
    folder.mkdir()
    graph = load_flow(EVERYTHING).graph()
    options = Options(
        batch_rows=batch_rows, leaf=Kept(), settings=graph.settings(out=folder, rows=2000)
    )
    executor: Executor | None = None
    if seed is not None:
        executor = Restarting(graph, options, seed)
    buried: list[dict[str, Any]] = []
    Runner(
        graph, ManualClock(), options, lambda frame: buried.extend(frame.to_dicts()), executor
    ).run()
    assert not isinstance(executor, Restarting) or executor.restarts > 3
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}, buried


@pytest.mark.parametrize("seed", range(3))
def test_every_operator_gives_the_same_bytes_when_it_is_made_anew(
    tmp_path: Path, seed: int
) -> None:
    expected, buried = ran(tmp_path / "whole", None, 100)
    found, letters = ran(tmp_path / "restarted", seed, 100)
    for name, data in expected.items():
        assert data == found[name], name
    assert buried == letters


def test_what_changes_from_call_to_call_is_in_a_snapshot() -> None:
    """A logic that keeps anything and has no snapshot of its own would lose it silently."""
    for module in pkgutil.iter_modules(operators.__path__):
        importlib.import_module(f"{operators.__name__}.{module.name}")
    silent = {
        kind.__name__
        for kind in _kinds(Logic)
        if kind.receive is not Logic.receive and kind.snapshot is Logic.snapshot
    }
    assert STATELESS == silent


def _kinds(kind: type[Logic]) -> list[type[Logic]]:
    return [kind, *(found for each in kind.__subclasses__() for found in _kinds(each))]


STATELESS = {"_AsyncLogic", "_ChangesLogic", "_RowFunctionLogic", "_RowWise"}
"""Those that remember nothing between two calls."""
