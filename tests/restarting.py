"""Runs flows whose operators are thrown away in the middle and made anew from their snapshots."""

from __future__ import annotations

import io
import random
from collections.abc import Callable

import polars as pl

from headwater.flows.batch import Batch
from headwater.flows.engine.executor import Local
from headwater.flows.engine.options import Options
from headwater.flows.engine.shard import Shard, Step
from headwater.flows.graph import Edge, Graph
from headwater.flows.snapshot import Tables

__all__ = ["Restarting", "through_bytes"]


def through_bytes(tables: Tables) -> Tables:
    """Return tables as another process finds them: written as Arrow IPC and read again."""
    found: Tables = {}
    for name, table in tables.items():
        written = io.BytesIO()
        table.write_ipc_stream(written)
        written.seek(0)
        found[name] = pl.read_ipc_stream(written)
        assert table.schema == found[name].schema, name
    return found


class Restarting(Local):
    """Runs all operators in this thread; before some of the feeds, in a shard made anew.

    `seed` says before which. A snapshot must stay as it is while the shard it was taken of goes
    on, so that the state is taken one or more feeds before it is used, and these are fed again.
    """

    def __init__(self, graph: Graph, options: Options, seed: int, share: float = 0.2) -> None:
        super().__init__(graph, options)
        self._fresh: Callable[[], Shard] = lambda: Local(graph, options)._shard
        self._random = random.Random(seed)
        self._share = share
        self._taken = self._shard.snapshot()
        self._since: list[tuple[Edge, Batch] | int] = []
        self.restarts = 0

    def feed(self, edge: Edge, batch: Batch) -> Step:
        self._perhaps_restart()
        self._since.append((edge, batch))
        return self._shard.feed(edge, batch)

    def tick(self, now: int) -> Step:
        self._since.append(now)
        return self._shard.tick(now)

    def _perhaps_restart(self) -> None:
        if self._random.random() < self._share:
            self._taken, self._since = self._shard.snapshot(), []
        elif self._random.random() < self._share:
            self.restarts += 1
            self._shard.close()
            self._shard = self._fresh()
            self._shard.restore({name: through_bytes(t) for name, t in self._taken.items()})
            for fed in self._since:
                if isinstance(fed, int):
                    self._shard.tick(fed)
                else:
                    self._shard.feed(*fed)
