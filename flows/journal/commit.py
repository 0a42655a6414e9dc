"""Group commit: what is committed, and when to sync."""

from __future__ import annotations

from collections import deque
from typing import Final, Generic, TypeVar

from .records import SyncPolicy

__all__ = ["GroupCommit"]

Held = TypeVar("Held")

_MICROS: Final = 1000


class GroupCommit(Generic[Held]):
    """Says which entries are committed, when a sync is due, and what has to be written anew.

    An entry is committed when it is synced (`always`), or when it is appended (`interval`,
    `never`). One sync commits all that was appended before it. Until it is synced an entry is held,
    to be written anew if the sync fails; not with `never`, which would hold everything.
    """

    __slots__ = (
        "_held",
        "_held_bytes",
        "_interval",
        "_limit",
        "_since",
        "_sync",
        "appended",
        "synced",
    )

    def __init__(self, sync: SyncPolicy, interval_ms: int, limit: int, following: int) -> None:
        self._sync, self._interval, self._limit = sync, interval_ms * _MICROS, limit
        self._held: deque[tuple[int, Held]] = deque()
        self._held_bytes = 0
        self._since: int | None = None
        self.appended = following
        """The sequence after the last one appended."""
        self.synced = following
        """The sequence after the last one synced."""

    @property
    def committed(self) -> int:
        """The sequence after the last one committed."""
        return self.synced if self._sync == "always" else self.appended

    @property
    def pending(self) -> bool:
        """Whether anything was appended since the last sync."""
        return self.appended > self.synced

    def append(self, held: Held, size: int, now: int) -> int:
        """Take note of an entry of so many bytes, appended at `now` (µs); return its sequence."""
        sequence = self.appended
        self.appended += 1
        if self._since is None:
            self._since = now
        self._held.append((sequence, held))
        self._held_bytes += size
        if self._sync == "never":
            self._held.clear()
        return sequence

    def due(self, now: int) -> bool:
        """Whether it is time to sync: the interval is over, or as much is held as may be."""
        if self._sync == "never" or self._since is None:
            return False
        late = self._sync == "interval" and now - self._since >= self._interval
        return late or self._held_bytes >= self._limit

    def sync_done(self) -> None:
        """All that was appended is durable."""
        self.synced = self.appended
        self._held.clear()
        self._held_bytes, self._since = 0, None

    def unsynced(self) -> list[Held] | None:
        """What has to be written anew after a failed sync; None if not all of it is held."""
        if self.pending and (not self._held or self._held[0][0] > self.synced):
            return None
        return [held for _, held in self._held]
