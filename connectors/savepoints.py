"""Savepoints: the image that a run was stopped with, kept under a name to begin other runs from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Final

from ..flows.engine.image import Image
from ..flows.errors import RecoveryError
from ..flows.journal.entry import StepKind
from ..flows.journal.naming import NEW, segments_in
from ..flows.journal.storage import Storage
from .images import images_in, load_image, save_image
from .journalfiles import FileStorage
from .journalreader import JournalReader, Written

__all__ = ["begin_from", "check_begun", "keep_savepoint"]

_FOLDER: Final = "savepoints"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_ORIGIN: Final = "origin"
"""The file that says which savepoint a run began from."""


def keep_savepoint(folder: Path, name: str) -> Path:
    """Keep the image that the run in `folder` was stopped with; return the savepoint's folder.

    Raises `LockedError` while the run goes on, and `RecoveryError` if it has ended, was not stopped
    in good order, or has such a savepoint already.
    """
    if not _NAME.fullmatch(name):
        raise RecoveryError(f"{name!r} is no name for a savepoint: use letters, digits and -_.")
    with _told(folder):
        if not folder.is_dir():
            raise RecoveryError(f"{folder} holds no run; it is made by `headwater run --state`")
        storage = FileStorage(folder)
        storage.lock()
        try:
            image = _final(storage, folder)
            kept = FileStorage(folder / _FOLDER / name, create=True)
            if images_in(kept):
                raise RecoveryError(f"{folder} has a savepoint {name!r} already; take another name")
            save_image(kept, image)
            FileStorage(folder / _FOLDER).sync_directory()
            storage.sync_directory()
        finally:
            storage.unlock()
    return folder / _FOLDER / name


def _final(storage: Storage, folder: Path) -> Image:
    """Return the newest image of a run, if no step came after it."""
    steps = images_in(storage)
    if not steps:
        raise RecoveryError(f"{folder} holds no run; it is made by `headwater run --state`")
    image = load_image(storage, steps[0])
    if image.finished:
        raise RecoveryError(f"the run in {folder} has ended: there is nothing to go on with")
    reader = JournalReader(storage, image.step, committed=lambda: 1 << 62)
    for record in reader.read():
        if not isinstance(record, Written) or record.entry.step.kind is not StepKind.OPEN:
            raise RecoveryError(
                f"the run in {folder} has no image of where it stopped, as it was cut off or had "
                f"no room: start it again, and stop it again"
            )
    return image


def begin_from(savepoint: Path, folder: Path, *, new_sinks: bool) -> None:
    """Have the run in `folder`, which is made, begin where a savepoint was taken.

    Sinks and dead letters go on where they stood as well, unless they are to be `new_sinks`. Does
    nothing if the run has begun from it before. Raises `RecoveryError` if `folder` holds another
    run, or `savepoint` is none, and `LockedError`.
    """
    with _told(savepoint):
        source = FileStorage(savepoint)
        steps = images_in(source) if savepoint.is_dir() else []
        if not steps or segments_in(source.names()):
            raise RecoveryError(
                f"{savepoint} is no savepoint; `headwater flow stop --savepoint` keeps one, in "
                f"the folder {_FOLDER} of the run"
            )
        image = load_image(source, steps[0])
        content = bytes(source.map(f"{steps[0]:020d}.image"))
        origin = f"{blake2b(content, digest_size=16).hexdigest()} {new_sinks:d}\n".encode()
    if new_sinks:
        image = replace(image, sinks={}, letters=None, written={})
    with _told(folder):
        storage = FileStorage(folder, create=True)
        storage.lock()
        try:
            _lay(storage, folder, origin, replace(image, step=0))
        finally:
            storage.unlock()


def _lay(storage: Storage, folder: Path, origin: bytes, image: Image) -> None:
    names = storage.names()
    if _ORIGIN in names:
        if bytes(storage.read(_ORIGIN, 0)) != origin:
            raise RecoveryError(f"{folder} holds a run that began from another savepoint")
    elif images_in(storage) or segments_in(names):
        raise RecoveryError(f"{folder} holds a run already; without --from, it goes on where it is")
    else:
        new = _ORIGIN + NEW
        if new in names:
            storage.remove(new)
        storage.create(new)
        storage.append(new, [origin])
        storage.sync(new)
        storage.rename(new, _ORIGIN)
        storage.sync_directory()
    if not images_in(storage):
        save_image(storage, image)


def check_begun(folder: Path) -> None:
    """Raise `RecoveryError` for a run that died before it had what it was to begin from."""
    if (folder / _ORIGIN).exists() and not images_in(FileStorage(folder)):
        raise RecoveryError(
            f"the run in {folder} was to begin from a savepoint; say so with --from"
        )


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RecoveryError(f"{folder}: {error.strerror or error}") from error
