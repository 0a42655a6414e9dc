"""What runs the operators of a flow: this thread, or other processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from ..batch import Batch
from ..graph import Edge, Graph
from ..snapshot import Tables
from .options import Options
from .shard import Counts, Shard, Step

__all__ = ["Executor", "Local"]


class Executor(Protocol):
    """Runs the operators of a graph, here or in other processes."""

    def feed(self, edge: Edge, batch: Batch) -> Step:
        """Take what a source or a side output gives."""
        ...

    def tick(self, now: int) -> Step:
        """Processing time is `now` (µs)."""
        ...

    def settle(self) -> Step:
        """Wait until all that was fed has been worked off."""
        ...

    def counts(self) -> dict[str, Counts]:
        """Return what went through each node."""
        ...

    @property
    def ticks(self) -> bool:
        """Whether an operator goes by processing time."""
        ...

    @property
    def workers(self) -> int:
        """Processes beside this one; with any, what a feed gives may come with a later one."""
        ...

    def snapshot(self) -> Mapping[str, Tables]:
        """Return what the operators remember, by node, all that was fed being settled."""
        ...

    def restore(self, tables: Mapping[str, Tables]) -> None:
        """Give fresh operators back what `snapshot` returned, with as many workers."""
        ...

    def close(self) -> None:
        """Let go of processes."""
        ...


class Local:
    """Runs all operators in this thread."""

    def __init__(self, graph: Graph, options: Options) -> None:
        members = [node.id for node in graph.nodes]
        self._shard = Shard(graph, members, seed=options.seed, settings=options.settings)

    def feed(self, edge: Edge, batch: Batch) -> Step:
        return self._shard.feed(edge, batch)

    def tick(self, now: int) -> Step:
        return self._shard.tick(now)

    def settle(self) -> Step:
        return Step()

    def counts(self) -> dict[str, Counts]:
        return self._shard.counted()

    @property
    def ticks(self) -> bool:
        return self._shard.ticks

    @property
    def workers(self) -> int:
        return 0

    def snapshot(self) -> Mapping[str, Tables]:
        return self._shard.snapshot()

    def restore(self, tables: Mapping[str, Tables]) -> None:
        self._shard.restore(tables)

    def close(self) -> None:
        self._shard.close()
