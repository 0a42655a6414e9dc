"""The errors of a journal.

JournalError             everything below
├── FormatError          bytes are not what the format says, or of a newer version
├── DamageError          a journal is damaged; holds every Damage found
├── LossError            entries that were promised are gone; says which
├── FullError            there is no room, and the policy is to wait: try again
├── LockedError          another writer has the journal
├── EpochError           a writer or reader belongs to another epoch
├── SealedError          the journal has ended and names its successors
└── KeyMissingError      the journal is encrypted, and the key is not there
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import HeadwaterError

__all__ = [
    "Damage",
    "DamageError",
    "EpochError",
    "FormatError",
    "FullError",
    "JournalError",
    "KeyMissingError",
    "LockedError",
    "LossError",
    "SealedError",
]


class JournalError(HeadwaterError):
    """A journal cannot be read or written as asked."""


class FormatError(JournalError):
    """Bytes are not what the format says, or are of a newer version."""


class LossError(JournalError):
    """Entries `first` to `last` were promised to somebody and are gone."""

    def __init__(self, text: str, first: int, last: int) -> None:
        super().__init__(text)
        self.first, self.last = first, last


class FullError(JournalError):
    """There is no room; nothing was appended, and the same append may be tried again."""


class LockedError(JournalError):
    """Another writer has the journal."""


class EpochError(JournalError):
    """A writer has an older epoch than the journal, or a reader went further than its history."""


class SealedError(JournalError):
    """The journal has ended; `successors` go on where it ends."""

    def __init__(self, text: str, successors: Sequence[str]) -> None:
        super().__init__(text)
        self.successors = tuple(successors)


class KeyMissingError(JournalError):
    """The journal is encrypted, and the key, or what uses it, is not there."""


@dataclass(frozen=True, slots=True)
class Damage:
    """One place where a journal is not as it was written.

    `first` and `last` are the sequences that it costs; None if it costs none, or (`last` alone)
    if nothing tells how many.
    """

    file: str
    offset: int
    reason: str
    first: int | None = None
    last: int | None = None

    def __str__(self) -> str:
        return f"{self.file} at byte {self.offset}: {self.reason}; {self.cost}"

    @property
    def cost(self) -> str:
        """What is lost by it, in words."""
        if self.first is None:
            return "no entry is lost"
        if self.last is None:
            return f"lost: entries from {self.first} on"
        if self.first == self.last:
            return f"lost: entry {self.first}"
        return f"lost: entries {self.first} to {self.last}"


class DamageError(JournalError):
    """A journal is damaged where nothing may be cut off: `damages` says where and what it costs."""

    def __init__(self, damages: Sequence[Damage]) -> None:
        self.damages = tuple(damages)
        places = "; ".join(map(str, self.damages))
        super().__init__(
            f"the journal is damaged: {places}; `headwater journal trim --damaged` goes on without"
        )
