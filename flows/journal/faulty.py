"""A storage in memory whose faults come from a seed: for tests and simulations.

It keeps to the contract of `Storage`, and uses all the freedom that the contract leaves.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from .errors import LockedError

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Crashed", "FaultyStorage", "MortalStorage"]

_SECTOR: Final = 512


class Crashed(BaseException):
    """The machine died inside an operation: call `FaultyStorage.crash`, and begin anew."""


@dataclass(slots=True)
class _File:
    """`durable` is what a crash leaves; `clean` says from where on bytes are taken to be written.

    After a sync that failed, the system takes what was not written for written: `ghosts` are such
    stretches, which no later sync writes.
    """

    current: bytearray
    durable: bytes
    ghosts: list[tuple[int, int]]
    lowest: int


@dataclass(frozen=True, slots=True)
class _NameChange:
    kind: Literal["create", "rename", "remove"]
    name: str
    other: str
    file: _File | None


class FaultyStorage:
    """Files in memory, `capacity` bytes in all; the probabilities are of one operation each.

    A crash, by `crash()` or by the operation number `crash_at` (which raises `Crashed`), keeps
    what was synced. Of an unsynced file it keeps a beginning that is cut at any byte, with
    sectors of it zeroed or not; of unsynced names any; of an unsynced truncation, perhaps.
    """

    def __init__(
        self,
        seed: int,
        *,
        capacity: int = 1 << 40,
        append_errors: float = 0.0,
        sync_errors: float = 0.0,
        crash_at: int | None = None,
    ) -> None:
        self.random = random.Random(seed)
        self.capacity = capacity
        self.append_errors, self.sync_errors = append_errors, sync_errors
        self.crash_at = crash_at
        self.operations = 0
        """How many operations there were that change something."""
        self._names: dict[str, _File] = {}
        self._durable: dict[str, _File] = {}
        self._changes: list[_NameChange] = []
        self._locked = False

    def names(self) -> list[str]:
        return list(self._names)

    def size(self, name: str) -> int:
        return len(self._file(name).current)

    def create(self, name: str) -> None:
        dies = self._step()
        if name in self._names:
            raise FileExistsError(errno.EEXIST, "file exists", name)
        file = _File(bytearray(), b"", [], 0)
        self._names[name] = file
        self._changes.append(_NameChange("create", name, "", file))
        self._die(dies)

    def append(self, name: str, buffers: Sequence[Buffer]) -> None:
        dies = self._step()
        data = b"".join(buffers)
        file = self._file(name)
        room = self.free()
        if dies:
            file.current += data[: min(room, self.random.randint(0, len(data)))]
            raise Crashed
        if self.random.random() < self.append_errors:
            file.current += data[: min(room, self.random.randint(0, len(data)))]
            raise OSError(errno.EIO, "input/output error", name)
        file.current += data[:room]
        if room < len(data):
            raise OSError(errno.ENOSPC, "no space left on device", name)

    def sync(self, name: str) -> None:
        dies = self._step()
        file = self._file(name)
        start = min(file.lowest, len(file.durable), len(file.current))
        if dies:
            if self.random.random() < 0.5:
                self._persist(file)
            raise Crashed
        if self.random.random() < self.sync_errors:
            if start < len(file.current):
                file.ghosts.append((start, len(file.current)))
            raise OSError(errno.EIO, "input/output error", name)
        self._persist(file)

    def read(self, name: str, offset: int, size: int | None = None) -> Buffer:
        end = None if size is None else offset + size
        return bytes(self._file(name).current[offset:end])

    def map(self, name: str) -> Buffer:
        return bytes(self._file(name).current)

    def truncate(self, name: str, size: int) -> None:
        dies = self._step()
        file = self._file(name)
        del file.current[size:]
        file.lowest = min(file.lowest, size)
        file.ghosts = [(a, min(b, size)) for a, b in file.ghosts if a < size]
        self._die(dies)

    def rename(self, old: str, new: str) -> None:
        dies = self._step()
        file = self._file(old)
        del self._names[old]
        self._names[new] = file
        self._changes.append(_NameChange("rename", old, new, file))
        self._die(dies)

    def remove(self, name: str) -> None:
        dies = self._step()
        file = self._file(name)
        del self._names[name]
        self._changes.append(_NameChange("remove", name, "", file))
        self._die(dies)

    def sync_directory(self) -> None:
        dies = self._step()
        if dies:
            if self.random.random() < 0.5:
                self._persist_names()
            raise Crashed
        if self.random.random() < self.sync_errors:
            raise OSError(errno.EIO, "input/output error")
        self._persist_names()

    def free(self) -> int:
        return max(0, self.capacity - sum(len(file.current) for file in self._names.values()))

    def lock(self) -> None:
        if self._locked:
            raise LockedError("another writer has the journal")
        self._locked = True

    def unlock(self) -> None:
        self._locked = False

    def crash(self) -> None:
        """Lose what a crash of the machine may lose; the storage can be used again."""
        names = dict(self._durable)
        for change in self._changes:
            if self.random.random() < 0.5:
                _apply(names, change)
        self._names = names
        self._durable = dict(names)
        self._changes = []
        self._locked = False
        for file in {id(file): file for file in names.values()}.values():
            content = self._survivor(file)
            file.current, file.durable = bytearray(content), content
            file.ghosts, file.lowest = [], len(content)

    def kill(self) -> None:
        """Lose what the death of the process loses: the lock."""
        self._locked = False

    def flip(self, name: str, bit: int) -> None:
        """Change one bit of a file, as a bad disk does."""
        file = self._file(name)
        file.current[bit // 8] ^= 1 << bit % 8
        file.durable = bytes(file.current)

    def _file(self, name: str) -> _File:
        file = self._names.get(name)
        if file is None:
            raise FileNotFoundError(errno.ENOENT, "no such file", name)
        return file

    def _step(self) -> bool:
        """Count an operation; whether the machine dies inside of it."""
        self.operations += 1
        return self.operations == self.crash_at

    def _die(self, dies: bool) -> None:
        if dies:
            raise Crashed

    def _persist(self, file: _File) -> None:
        """Write what is not taken for written; ghosts stay as they are on the disk."""
        content = bytearray(file.current)
        for start, stop in file.ghosts:
            content[start:stop] = bytes(stop - start)
        file.durable, file.lowest = bytes(content), len(content)

    def _persist_names(self) -> None:
        self._durable = dict(self._names)
        self._changes = []

    def _survivor(self, file: _File) -> bytes:
        start = min(file.lowest, len(file.durable))
        if bytes(file.current) == file.durable or self.random.random() < 0.2:
            return file.durable
        content = bytearray(file.current)
        for first, last in file.ghosts:
            content[first:last] = bytes(last - first)
        end = len(content)
        if end > start:
            end = self.random.choice((start, end, self.random.randint(start, end)))
        del content[end:]
        if end > start and self.random.random() < 0.5:
            for sector in range(start, end, _SECTOR):
                if self.random.random() < 0.3:
                    stop = min(end, sector + _SECTOR)
                    content[sector:stop] = bytes(stop - sector)
        return bytes(content)


class MortalStorage(FaultyStorage):
    """Once it died in an operation, every other raises `Crashed`, until `crash` or `kill`."""

    dead = False

    def crash(self) -> None:
        self.dead = False
        super().crash()

    def kill(self) -> None:
        self.dead = False
        super().kill()

    def _step(self) -> bool:
        if self.dead:
            raise Crashed
        self.dead = super()._step()
        return self.dead


def _apply(names: dict[str, _File], change: _NameChange) -> None:
    """Let a change of names survive, whatever happened to those before it."""
    if change.kind == "create":
        assert change.file is not None
        names[change.name] = change.file
    elif change.kind == "remove":
        if names.get(change.name) is change.file:
            del names[change.name]
    else:
        assert change.file is not None
        names.pop(change.name, None)
        names[change.other] = change.file
