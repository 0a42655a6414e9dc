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
    `never`). A sync covers what was appended before it began, and nothing that came meanwhile.
    Until it is synced an entry is held, to be written anew if the sync fails; not with `never`,
    which would hold everything.
    """

    __slots__ = (
        "_before",
        "_bytes",
        "_held",
        "_interval",
        "_limit",
        "_since",
        "_sync",
        "appended",
        "begun",
        "synced",
    )

    def __init__(self, sync: SyncPolicy, interval_ms: int, limit: int, following: int) -> None:
        self._sync, self._interval, self._limit = sync, interval_ms * _MICROS, limit
        self._held: deque[tuple[int, Held]] = deque()
        # Of what no sync covers: since when, and how much; and of what the last one covers.
        self._since: int | None = None
        self._bytes = 0
        self._before: tuple[int | None, int] = (None, 0)
        self.appended = following
        """The sequence after the last one appended."""
        self.begun = following
        """The sequence after the last one that the sync under way, or the last one, covers."""
        self.synced = following
        """The sequence after the last one synced."""

    @property
    def committed(self) -> int:
        """The sequence after the last one committed."""
        return self.synced if self._sync == "always" else self.appended

    @property
    def pending(self) -> bool:
        """Whether anything was appended that is not synced."""
        return self.appended > self.synced

    @property
    def crowded(self) -> bool:
        """Whether as much is held, beside what a sync under way covers, as may be."""
        return self._bytes >= self._limit

    def append(self, held: Held, size: int, now: int) -> int:
        """Take note of an entry of so many bytes, appended at `now` (µs); return its sequence."""
        sequence = self.appended
        self.appended += 1
        if self._since is None:
            self._since = now
        self._bytes += size
        if self._sync != "never":
            self._held.append((sequence, held))
        return sequence

    def due(self, now: int) -> bool:
        """Whether it is time for a sync, or for another if one is under way."""
        if self._sync == "never" or self._since is None:
            return False
        late = self._sync == "interval" and now - self._since >= self._interval
        return late or self.crowded

    def sync_begun(self) -> None:
        """A sync begins now, of all that was appended."""
        self.begun = self.appended
        self._before = self._since, self._bytes
        self._since, self._bytes = None, 0

    def sync_done(self) -> None:
        """What was appended before the sync began is durable."""
        self.synced = self.begun
        while self._held and self._held[0][0] < self.synced:
            self._held.popleft()

    def sync_failed(self) -> None:
        """Nothing is durable that was not before the sync began."""
        since, size = self._before
        self._since = self._since if since is None else since
        self._bytes += size
        self.begun = self.synced

    def unsynced(self) -> list[Held] | None:
        """What has to be written anew after a failed sync; None if not all of it is held."""
        if self.pending and (not self._held or self._held[0][0] > self.synced):
            return None
        return [held for _, held in self._held]
