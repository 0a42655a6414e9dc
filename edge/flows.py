"""``headwater flow``: stop a durable run from outside, and keep a savepoint of it."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final

import typer

from ..connectors.journalfiles import holder
from ..flows.errors import RecoveryError
from .endings import FAILED, fail, failing_with, say

__all__ = ["app"]

_LOOK: Final = 0.05
"""Seconds between two looks at whether a run has ended."""

app = typer.Typer(
    name="flow",
    help="Stop durable runs, and keep savepoints of them.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _flow() -> None:
    """Stop durable runs, and keep savepoints of them."""


@app.command()
def stop(
    folder: Annotated[
        Path,
        typer.Option(
            "--state", metavar="FOLDER", help="Where the run is kept.", show_default=False
        ),
    ],
    savepoint: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Keep where it stopped, to begin other runs from."),
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0.0, metavar="SECONDS", help="How long to wait for its end.")
    ] = 60.0,
) -> None:
    """Stop a run with --state as SIGTERM does, and wait until it has ended."""
    with failing_with(FAILED):
        process = _stopped(folder, timeout)
        if process is not None:
            say(f"{folder}: process {process} has stopped")
        elif savepoint is None:
            fail(FAILED, [f"{folder}: no run has it"])
        if savepoint is not None:
            from ..connectors.savepoints import keep_savepoint

            typer.echo(keep_savepoint(folder, savepoint))


def _stopped(folder: Path, timeout: float) -> int | None:
    """Stop the process that has a folder, and return it; None if there is none."""
    process = holder(folder)
    if process is None:
        return None
    if not process:
        raise RecoveryError(f"{folder}: it is not known which process has it; stop that")
    try:
        with suppress(ProcessLookupError):  # it has just ended
            os.kill(process, signal.SIGTERM)
    except PermissionError as error:
        raise RecoveryError(f"{folder}: process {process} is another user's") from error
    until = time.monotonic() + timeout
    while holder(folder) == process:
        if time.monotonic() > until:
            raise RecoveryError(
                f"{folder}: process {process} was told to stop, and has not ended in {timeout:g} s"
            )
        time.sleep(_LOOK)
    return process
