"""What a writer begins with, what it holds, and what it tells of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import pyarrow as pa

from ..flows.journal.entry import Entry
from ..flows.journal.records import Floor, Reader
from ..flows.journal.retention import Extent

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Held", "Signing", "Start", "Statistics"]


class Signing(Protocol):
    """Signs heads."""

    @property
    def public(self) -> bytes:
        """The public key: 32 bytes."""
        ...

    def sign(self, data: bytes) -> bytes:
        """The signature: 64 bytes."""
        ...


class Held(NamedTuple):
    """An entry that may have to be written anew."""

    entry: Entry
    body: Buffer
    schema: pa.Schema | None


class Start(NamedTuple):
    """Where a writer begins: what recovery found.

    `following` is the sequence after what is known to be durable, and `chain` the chain's value
    there; the first segment begins with `redo`, which stands in the one before, and may not be.
    """

    following: int
    number: int
    chain: bytes
    redo: tuple[Held, ...]
    extents: tuple[Extent, ...]
    sizes: dict[str, int]
    readers: dict[str, Reader]
    floor: Floor


@dataclass(frozen=True, slots=True)
class Statistics:
    """What a writer has done since it was opened.

    `full` is whether the last append found no room, and `blocked` how many did; `dropped` and
    `dropped_rows` are what policies took, `overdue` bytes what they could not take for age.
    """

    committed: int
    following: int
    entries: int
    bytes: int
    syncs: int
    failed_syncs: int
    segments: int
    total_bytes: int
    full: bool
    blocked: int
    dropped: int
    dropped_rows: int
    dropped_bytes: int
    trimmed: int
