"""What makes a run durable: a log of its steps, and images of it now and then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

import polars as pl

from .image import Image
from .record import Record

__all__ = ["RunLog"]


class RunLog(Protocol):
    """The log of one run; whoever has it open is the only one.

    A record is committed when its loss is excluded, by whatever was agreed; only then may what it
    gave be seen outside. An image holds all records before its step.
    """

    @property
    def image(self) -> Image | None:
        """The newest image that was found, None in a run that begins."""
        ...

    def records(self, schemas: Mapping[int, pl.Schema]) -> Iterator[Record]:
        """Yield the records after the image that was found; `schemas` as for `record_of`."""
        ...

    @property
    def following(self) -> int:
        """The number of the next record."""
        ...

    @property
    def committed(self) -> int:
        """The number after the last record that is committed."""
        ...

    def append(self, record: Record) -> None:
        """Append a record."""
        ...

    def sync(self) -> None:
        """Commit all that was appended."""
        ...

    def due(self, now: int) -> bool:
        """Do what time asks for (µs); return whether an image is due."""
        ...

    def save(self, image: Image, *, needed: bool) -> None:
        """Keep an image; what it makes superfluous may go.

        If there is no room, a `needed` one is waited for; the run goes on without any other.
        """
        ...

    def wait(self) -> None:
        """Wait a moment for room; raises `HeadwaterError` if the run is not to wait any more."""
        ...

    def close(self) -> None:
        """End, with all that was appended durable."""
        ...
