"""Images of a run in files: the newest that is whole is the one to go on from.

An image is a file ``STEP.image`` of frames: the first says in JSON what is in it, the others hold
a table each as an Arrow IPC stream. It is written under another name, made durable, and renamed.
"""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import polars as pl

from ..ext import Ending, encode_frame, scan_frames
from ..flows.engine.image import ChannelImage, Image
from ..flows.journal.errors import FormatError
from ..flows.journal.naming import NEW
from ..flows.journal.storage import Storage
from ..flows.snapshot import Tables

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["images_in", "load_image", "remove_image", "save_image"]

_FORMAT: Final = 1
_NAME: Final = re.compile(r"(\d{20})\.image", re.ASCII)
_PLAIN: Final = (
    "owners", "step", "now", "signatures", "written", "counts", "dead", "finished", "workers",
)  # fmt: skip


def images_in(storage: Storage) -> list[int]:
    """Return the steps of the images that are there, the newest first."""
    found = (_NAME.fullmatch(name) for name in storage.names())
    return sorted((int(match[1]) for match in found if match), reverse=True)


def save_image(storage: Storage, image: Image) -> None:
    """Write an image durably; raises `OSError`, and then nothing of it takes room.

    Only if the folder could not be synced, it may be there.
    """
    name = _file(image.step)
    tables = list(_tables(image))
    told = {field: getattr(image, field) for field in _PLAIN}
    told["format"] = _FORMAT
    told["flow"] = image.flow.hex()
    told["channels"] = [asdict(channel) for channel in image.channels]
    told["sinks"] = {name: _text(position) for name, position in image.sinks.items()}
    told["letters"] = _text(image.letters)
    told["tables"] = [place for place, _ in tables]
    frames: list[Buffer] = encode_frame(b"", json.dumps(told).encode())
    for _, table in tables:
        written = io.BytesIO()
        table.write_ipc_stream(written)
        frames += encode_frame(b"", written.getbuffer())
    new = name + NEW
    if new in storage.names():
        storage.remove(new)
    storage.create(new)
    try:
        storage.append(new, frames)
        storage.sync(new)
        storage.rename(new, name)
    except OSError:
        with suppress(OSError):  # on a full disk, half an image is what keeps it full
            storage.remove(new)
        raise
    storage.sync_directory()


def load_image(storage: Storage, step: int) -> Image:
    """Read an image; raises `FormatError` if it is not whole, or of a newer version."""
    data = memoryview(storage.map(_file(step)))
    found = scan_frames(data)
    if found.ending is not Ending.END or not found.frames:
        raise FormatError(f"{_file(step)} is not whole")
    bodies = [data[frame.body] for frame in found.frames]
    try:
        told = json.loads(bytes(bodies[0]))
        if told["format"] > _FORMAT:
            raise FormatError(f"{_file(step)} is of a newer version of Headwater")
        places = told["tables"]
        if len(places) != len(bodies) - 1:
            raise FormatError(f"{_file(step)} is not whole")
        kept: dict[str, dict[str, Tables]] = {"operators": {}, "intakes": {}}
        for (kind, owner, name), body in zip(places, bodies[1:], strict=True):
            kept[kind].setdefault(owner, {})[name] = pl.read_ipc_stream(io.BytesIO(body))
        return Image(
            flow=bytes.fromhex(told["flow"]),
            channels=tuple(ChannelImage(**channel) for channel in told["channels"]),
            sinks={name: _bytes(position) for name, position in told["sinks"].items()},
            letters=_bytes(told["letters"]),
            operators=kept["operators"],
            intakes=kept["intakes"],
            **{field: told[field] for field in _PLAIN},
        )
    except (KeyError, ValueError, TypeError, pl.exceptions.PolarsError) as error:
        raise FormatError(f"{_file(step)} does not hold what it should: {error!r}") from error


def remove_image(storage: Storage, step: int) -> None:
    """Remove an image, if it is there; raises `OSError`."""
    if _file(step) in storage.names():
        storage.remove(_file(step))


def _tables(image: Image) -> Iterator[tuple[tuple[str, str, str], pl.DataFrame]]:
    for kind, owners in (("operators", image.operators), ("intakes", image.intakes)):
        for owner, tables in owners.items():
            for name, table in tables.items():
                yield (kind, owner, name), table


def _file(step: int) -> str:
    return f"{step:020d}.image"


def _text(position: bytes | None) -> str | None:
    return None if position is None else base64.b64encode(position).decode("ascii")


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)
