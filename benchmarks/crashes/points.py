"""Places in what a run does to its files at which it can be killed.

    python -m benchmarks.crashes.points "before append" 3 run flow.py --state …

runs the command line and sends itself SIGKILL right before it appends to the journal for the third
time.
"""

from __future__ import annotations

import functools
import os
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from headwater.connectors import journal
from headwater.edge.command import app

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["POINTS"]

_PLACES: Final = {
    "append": ("append", r".*\.seg"),
    "sync": ("sync", r".*\.seg"),
    "segment roll": ("rename", r".*\.seg\.new"),
    "image write": ("append", r".*\.image\.new"),
    "image sync": ("sync", r".*\.image\.new"),
    "image rename": ("rename", r".*\.image\.new"),
    "trim": ("remove", r".*\.seg"),
    "acknowledgement": ("rename", r".*\.reader\.new"),
}
_SEGMENT: Final = 2000
POINTS: Final = tuple(f"{when} {what}" for what in _PLACES for when in ("before", "after"))
"""What may be given for the place; also "within append", with a part of the bytes written."""


class _Killing(journal.FileStorage):
    """Files of a journal that end the process at the right moment."""

    point = ""
    left = 0

    def create(self, name: str) -> None:
        self._at("before", "create", name)
        super().create(name)
        self._at("after", "create", name)

    def append(self, name: str, buffers: Sequence[Buffer]) -> None:
        self._at("before", "append", name)
        if self.point == "within append" and name.endswith(".seg") and self._due():
            whole = b"".join(buffers)
            super().append(name, [whole[: len(whole) // 2]])
            _die()
        super().append(name, buffers)
        self._at("after", "append", name)

    def sync(self, name: str) -> None:
        self._at("before", "sync", name)
        super().sync(name)
        self._at("after", "sync", name)

    def rename(self, old: str, new: str) -> None:
        self._at("before", "rename", old)
        super().rename(old, new)
        self._at("after", "rename", old)

    def remove(self, name: str) -> None:
        self._at("before", "remove", name)
        super().remove(name)
        self._at("after", "remove", name)

    def _at(self, when: str, operation: str, name: str) -> None:
        chosen, _, what = self.point.partition(" ")
        if chosen != when or what not in _PLACES:
            return
        wanted, files = _PLACES[what]
        if wanted == operation and re.fullmatch(files, name) and self._due():
            _die()

    @classmethod
    def _due(cls) -> bool:
        cls.left -= 1
        return cls.left == 0


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(arguments: Sequence[str]) -> None:
    """Run the command line, to be killed on the way."""
    _Killing.point, _Killing.left = arguments[0], int(arguments[1])
    patched: Any = journal
    patched.FileStorage = _Killing
    # Small segments, so that there are many beginnings and trims.
    patched.JournalSettings = functools.partial(journal.JournalSettings, segment_bytes=_SEGMENT)
    app(list(arguments[2:]))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main(sys.argv[1:])
