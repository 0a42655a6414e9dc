"""Arguments and options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "AtOption",
    "DeadOption",
    "FlowArgument",
    "FromOption",
    "LiveOption",
    "PartitionOption",
    "RecordingArgument",
    "ReplaceOption",
    "ReportOption",
    "SeedOption",
    "SetOption",
    "ToOption",
    "TracebackOption",
    "WorkersOption",
]

FlowArgument = Annotated[
    str,
    typer.Argument(
        metavar="FLOW",
        help="path/to/flow.py, flow.py:attribute if it has several flows, or module:attribute.",
        show_default=False,
    ),
]
ReportOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write what was measured, as JSON.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Set a field of the flow's settings."),
]
DeadOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Append dead letters to this file.",
        show_default="NAME-OF-FLOW.dead.jsonl",
    ),
]
TracebackOption = Annotated[
    bool, typer.Option("--traceback", help="Show the traceback of an error.")
]
WorkersOption = Annotated[
    int, typer.Option(min=1, max=1024, help="Processes for operators with a key.")
]
SeedOption = Annotated[int, typer.Option(help="Seed of all that is random.")]
LiveOption = Annotated[
    bool, typer.Option("--live/--no-live", help="Show a live table on a terminal.")
]

# Of recordings

RecordingArgument = Annotated[
    Path,
    typer.Argument(metavar="RECORDING", help="The folder that `record` wrote.", show_default=False),
]
AtOption = Annotated[
    list[str] | None, typer.Option("--at", metavar="OPERATOR", help="A stream of the recording.")
]
FromOption = Annotated[
    str | None, typer.Option("--from", metavar="TIME", help="Only rows of this time and later.")
]
ToOption = Annotated[
    str | None, typer.Option("--to", metavar="TIME", help="Only rows before this time.")
]
PartitionOption = Annotated[
    list[str] | None,
    typer.Option("--partition", metavar="NAME", help="Only these partitions; * stands for any."),
]
ReplaceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--replace",
        metavar="OPERATOR=RECORDING",
        help="Take the stream of an operator from another recording.",
    ),
]
