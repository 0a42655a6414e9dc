"""A run between two steps: all that is needed to go on from there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..snapshot import Tables

__all__ = ["ChannelImage", "Image"]


@dataclass(frozen=True, slots=True)
class ChannelImage:
    """Where a partition stands; `number` is the one that the run's records know it by."""

    number: int
    source: str
    """The source's operator."""
    partition: str
    offset: int | None
    """The last one that was read, None before the first."""
    items: int
    """How many rows and dead letters were read."""
    ended: bool
    idle: bool


@dataclass(frozen=True, slots=True)
class Image:
    """A run between two steps.

    `step` is the number of the next record; `now` the time of the last (µs). Of each operator, by
    its node, there are the tables that it remembers and the signature that tells whether another
    version of it can take them. `sinks` are positions of writers, by node; `finished` says that
    every source has ended and that the sinks are to be completed.
    """

    step: int
    now: int
    flow: bytes
    owners: Mapping[str, str] = field(default_factory=dict)
    """The operator that each node belongs to."""
    channels: tuple[ChannelImage, ...] = ()
    intakes: Mapping[str, Tables] = field(default_factory=dict)
    operators: Mapping[str, Tables] = field(default_factory=dict)
    signatures: Mapping[str, str] = field(default_factory=dict)
    sinks: Mapping[str, bytes | None] = field(default_factory=dict)
    letters: bytes | None = None
    """Where the dead letters that nothing reads stand."""
    written: Mapping[str, int] = field(default_factory=dict)
    counts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    dead: int = 0
    finished: bool = False
    workers: int = 0
    """Processes beside the first that operators were spread over."""
