"""A flow drawn as a tree for the terminal."""

from __future__ import annotations

import io
from typing import Final

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from .drawing import Box, Drawing, Region

__all__ = ["print_tree", "tree_text"]

_WIDTH: Final = 160
"""Letters of a line where there is no terminal to say."""


def print_tree(drawing: Drawing) -> None:
    """Print the tree to stdout, in colour on a terminal."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH
    console.print(_tree(drawing))


def tree_text(drawing: Drawing) -> str:
    """Return the tree as plain text."""
    out = io.StringIO()
    Console(file=out, width=_WIDTH, highlight=False, color_system=None).print(_tree(drawing))
    return out.getvalue()


def _tree(drawing: Drawing) -> Tree:
    root = Tree(Text(drawing.flow, style="bold"))
    for tier in drawing.tiers():
        branch = root.add(Text(tier, style="bold cyan"))
        for region in drawing.regions:
            if region.tier == tier:
                stage = branch.add(_stage(region))
                for box_id in region.boxes:
                    _operator(stage, drawing, drawing.box(box_id))
    return root


def _stage(region: Region) -> Text:
    keys = "" if region.keys is None else f" by ({', '.join(region.keys)})"
    return Text.assemble("stage ", (region.name, "bold"), keys)


def _operator(stage: Tree, drawing: Drawing, box: Box) -> None:
    branch = stage.add(Text.assemble((box.name, "bold green"), "  ", " → ".join(box.titles)))
    reads = [
        drawing.box(arrow.start).name + (f".{arrow.label}" if arrow.label else "")
        for arrow in drawing.arrows
        if arrow.end == box.id and (arrow.label or drawing.box(arrow.start).name != box.name)
    ]
    if reads:
        branch.add(Text(f"reads {', '.join(dict.fromkeys(reads))}", style="dim"))
    if box.kind != "sink" and box.schema.columns:
        branch.add(Text(str(box.schema), style="dim"))
    for note in box.notes:
        branch.add(Text(f"note: {note}", style="yellow"))
