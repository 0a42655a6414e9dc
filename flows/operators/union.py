"""Several streams as one, in canonical order."""

from __future__ import annotations

from dataclasses import dataclass

from ..batch import Batch, Logic, Output
from ..graph import Place
from ..merge import Merge
from ..snapshot import Tables

__all__ = ["Union"]


@dataclass(frozen=True, slots=True)
class Union:
    """Rows of all inputs, merged by watermark and then by input."""

    inputs: int

    @property
    def title(self) -> str:
        return f"union of {self.inputs}"

    def build(self, place: Place) -> Logic:
        return _UnionLogic(Merge(self.inputs, in_order=place.timed))


class _UnionLogic(Logic):
    __slots__ = ("_merge",)

    def __init__(self, merge: Merge) -> None:
        self._merge = merge

    def receive(self, port: int, batch: Batch) -> Output:
        return Output([self._merge.receive(port, batch)])

    def snapshot(self) -> Tables:
        return self._merge.snapshot()

    def restore(self, tables: Tables) -> None:
        self._merge.restore(tables)
