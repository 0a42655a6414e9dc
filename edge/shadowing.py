"""Files that hide a package: a flow called ``polars.py`` is what `import polars` would find."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Final

__all__ = ["shadowed"]

_OURS: Final = ("headwater", "polars", "pyarrow", "pydantic", "pydantic_settings", "rich", "typer")
"""What every flow needs: no file beside the flow may have these names."""
_OTHERS: Final = ("aiokafka", "aiomqtt", "faust", "kafka", "mqtt", "numpy", "pandas")
"""What connectors and their libraries are called."""


def shadowed(path: Path) -> str | None:
    """Return what is wrong with a flow file's name or its neighbours', or None.

    The folder of a flow is first on `sys.path`, so a file in it that is called like a package is
    imported instead of the package, here or in a worker process.
    """
    stem = path.stem
    if stem in (*_OURS, *_OTHERS) or stem in _imports(path):
        return (
            f"the file is called like the package {stem!r}, and `import {stem}` would find the "
            f"file; rename it, for example to {stem}_flow.py"
        )
    if stem in sys.stdlib_module_names:
        return (
            f"the file is called like Python's own module {stem!r}, and `import {stem}` would "
            f"find the file; rename it, for example to {stem}_flow.py"
        )
    for name in _OURS:
        if path.with_name(f"{name}.py").exists():
            return (
                f"the file {name}.py beside it hides the package {name!r}, which the flow needs; "
                f"rename {name}.py"
            )
    return None


def _imports(path: Path) -> frozenset[str]:
    """Return the top-level packages that a file imports; none if it cannot be parsed."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return frozenset()
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found.add(node.module.partition(".")[0])
    return frozenset(found)
