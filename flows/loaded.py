"""What loading an operator comes to: its output, or what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass

from .event import Event
from .graph import Edge
from .schema import Schema

__all__ = ["Loaded", "Wrong"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """The output of an operator that was loaded."""

    edge: Edge
    schema: Schema
    event: type[Event] | None


class Wrong(Exception):
    """One thing that is wrong with the operator being loaded."""

    def __init__(self, message: str, parameter: str | None = None) -> None:
        super().__init__(message)
        self.parameter = parameter
