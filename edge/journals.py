"""``headwater journal``: look into a journal, check it, remove what is no longer needed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from ..connectors.journalfiles import FileStorage
from ..connectors.journalkeys import Keys, key_from, public_key_from
from ..connectors.journalreader import JournalReader, Record, Written
from ..connectors.journaltrim import mended, trimmed_before
from ..connectors.journalverify import Report, verify
from ..flows.errors import HeadwaterError
from ..flows.journal.entry import NO_WATERMARK, Entry
from ..flows.journal.envelope import Keyring
from ..flows.journal.records import Gap, Tombstone

__all__ = ["app"]

FAILED: Final = 1
KEY: Final = "HEADWATER_JOURNAL_KEY"

app = typer.Typer(
    name="journal",
    help="Look into journals, check them, and trim them.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Folder = Annotated[
    Path, typer.Argument(metavar="DIR", help="The folder of the journal.", show_default=False)
]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help=f"The key of an encrypted journal; else from {KEY}.",
        show_default=False,
    ),
]


@app.command()
def ls(folder: Folder, key_file: KeyFile = None) -> None:
    """List the segments of a journal, and how far its readers are."""
    with _failing():
        storage = _storage(folder)
        report = verify(storage, _keyring(key_file))
        for segment in report.segments:
            last = segment.following - 1
            span = f"{segment.first}-{last}" if segment.entries else "-"
            state = "sealed" if segment.sealed else "open"
            typer.echo(
                f"{segment.file}  epoch {segment.epoch}  entries {span}  rows {segment.rows}  "
                f"{segment.size} bytes  {state}"
            )
        from ..connectors.journalnotes import readers

        for reader in readers(storage).values():
            typer.echo(f"reader {reader.name}  applied {reader.applied}  durable {reader.durable}")
        _remarks(report)


@app.command()
def cat(
    folder: Folder,
    first: Annotated[int | None, typer.Option("--from", metavar="N", help="Begin here.")] = None,
    last: Annotated[int | None, typer.Option("--to", metavar="N", help="End here.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object an entry, with its rows.")
    ] = False,
    key_file: KeyFile = None,
) -> None:
    """Print the entries of a journal."""
    with _failing():
        storage, keyring = _storage(folder), _keyring(key_file)
        start = _first(storage) if first is None else first
        reader = JournalReader(storage, start, keyring=keyring)
        while records := reader.read():
            for record in records:
                if last is not None and _sequence(record) > last:
                    return
                typer.echo(json.dumps(_object(record), default=str) if as_json else _line(record))


@app.command("verify")
def check(
    folder: Folder,
    public_key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The Ed25519 key that the head has to be signed with."),
    ] = None,
    key_file: KeyFile = None,
) -> None:
    """Check every byte of a journal; exit with 1 and a line for each damage if there is any."""
    with _failing():
        public = public_key_from(public_key) if public_key else None
        report = verify(_storage(folder), _keyring(key_file), public)
    for damage in report.damages:
        typer.echo(str(damage))
    _remarks(report)
    if report.damages:
        raise typer.Exit(FAILED)
    entries = sum(segment.entries for segment in report.segments)
    chain = ", chained" if report.chained else ""
    signed = f", signed up to {report.signed - 1}" if report.signed is not None else ""
    typer.echo(f"sound: {entries} entries in {len(report.segments)} segments{chain}{signed}")


@app.command()
def trim(
    folder: Folder,
    before: Annotated[
        int | None,
        typer.Option(metavar="N", help="Remove segments of entries before N, whoever needs them."),
    ] = None,
    damaged: Annotated[
        bool,
        typer.Option("--damaged", help="Go on without what is damaged; its entries become gaps."),
    ] = False,
    key_file: KeyFile = None,
) -> None:
    """Remove what every reader holds durably; nothing may write the journal meanwhile."""
    with _failing():
        storage, keyring = _storage(folder), _keyring(key_file)
        if damaged:
            for line in mended(storage, keyring):
                typer.echo(line)
        count = trimmed_before(storage, before, keyring)
    typer.echo(f"{count} segment{'' if count == 1 else 's'} removed")


@app.command()
def export(
    folder: Folder,
    file: Annotated[
        Path, typer.Argument(metavar="FILE.parquet", help="The file.", show_default=False)
    ],
    at: Annotated[
        str | None, typer.Option(metavar="OPERATOR", help="The stream, if there are several.")
    ] = None,
) -> None:
    """Write a stream of a recording as Parquet, with when and where each row came."""
    from ..connectors.recordings import Recording, export_parquet

    with _failing():
        recording = Recording(folder)
        rows = export_parquet(recording, recording.stream(at), file)
    typer.echo(f"{rows:,} row{'' if rows == 1 else 's'} in {file}")


def _storage(folder: Path) -> FileStorage:
    if not folder.is_dir():
        raise HeadwaterError(f"{folder}: is no folder of a journal")
    storage = FileStorage(folder)
    if not any(name.endswith(".seg") for name in storage.names()):
        raise HeadwaterError(f"{folder}: holds no journal")
    return storage


def _keyring(file: Path | None) -> Keyring | None:
    text = file.read_text("ascii") if file else os.environ.get(KEY)
    return Keys([key_from(text)]) if text else None


def _first(storage: FileStorage) -> int:
    from ..connectors.journalnotes import floor

    return floor(storage).first


def _remarks(report: Report) -> None:
    """What is no damage, and still worth knowing."""
    if report.cut:
        cut = report.cut
        typer.echo(
            f"{cut.file} at byte {cut.offset}: torn ({cut.reason}); the next writer cuts off "
            f"{cut.size} bytes that were never synced"
        )
    for file in report.unsealed:
        typer.echo(f"{file}: ended without a seal, as when a writer dies or its disk fails")
    if report.dropped:
        typer.echo(f"{report.dropped} entries were dropped by a policy")
    for gap in report.gaps:
        typer.echo(f"entries {gap.first} to {gap.last} were given up as damaged: {gap.reason}")


def _sequence(record: Record) -> int:
    if isinstance(record, Gap):
        return record.first
    return record.entry.sequence


def _line(record: Record) -> str:
    if isinstance(record, Gap):
        return f"{record.first}-{record.last}  lost to damage: {record.reason}"
    entry = record.entry
    step = entry.step
    parts = [f"{entry.sequence}", f"epoch {entry.epoch}", step.kind.name.lower()]
    if isinstance(record, Tombstone):
        parts.append(f"dropped ({record.policy})")
    parts.append(f"rows {entry.rows}")
    if step.ranges:
        ranges = (f"{r.channel}:{r.first}-{r.last}" for r in step.ranges)
        parts.append(f"inputs {' '.join(ranges)}")
    if step.ended:
        parts.append(f"ended {' '.join(map(str, step.ended))}")
    if step.watermark != NO_WATERMARK:
        parts.append(f"watermark {step.watermark}")
    if step.continues:
        parts.append(f"continues epoch {step.continues.epoch}")
    return "  ".join(parts)


def _object(record: Record) -> dict[str, Any]:
    if isinstance(record, Gap):
        return {"lost": [record.first, record.last], "reason": record.reason}
    found = _header(record.entry)
    if isinstance(record, Written):
        batch = record.batch()
        return {**found, "rows": batch.to_pylist() if batch is not None else []}
    return {**found, "dropped": record.policy, "count": record.entry.rows}


def _header(entry: Entry) -> dict[str, Any]:
    step = entry.step
    ranges = [[r.channel, r.first, r.last, r.skip, r.cut] for r in step.ranges]
    return {
        "sequence": entry.sequence,
        "epoch": entry.epoch,
        "kind": step.kind.name.lower(),
        "inputs": ranges,
        "watermark": None if step.watermark == NO_WATERMARK else step.watermark,
        "clock": step.clock,
        "timers": len(step.timers),
    }


@contextmanager
def _failing() -> Iterator[None]:
    """End with a line when the journal cannot be used."""
    try:
        yield
    except HeadwaterError as error:
        typer.echo(" ".join(str(error).split()), err=True)
        raise typer.Exit(FAILED) from error
    except OSError as error:
        typer.echo(f"{error.filename or 'the journal'}: {error.strerror}", err=True)
        raise typer.Exit(FAILED) from error
