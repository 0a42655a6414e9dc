"""Runs the modules of `kernels`, each beside the best library for the same work.

``python -m benchmarks.kernelbench`` prints the names of the modules as JSON, and with a name what
that module measures. The libraries of the peers' environment can be imported where the project's
has none of that name (orjson, msgspec).
"""

from __future__ import annotations

import importlib
import json
import math
import sys
from pathlib import Path
from typing import Any

from .onecore import stay_on_one_core
from .peers import FOLDER

__all__ = ["measured", "names"]


def names() -> list[str]:
    """Return the modules that there are."""
    folder = Path(__file__).parent / "kernels"
    return sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))


def measured(name: str) -> list[dict[str, Any]]:
    """Return what a module measures: both figures, of which more is better, and their ratio.

    A figure is None if no library for the work is installed.
    """
    module = importlib.import_module(f".kernels.{name}", __package__)
    return [
        {
            "kernel": name,
            "what": what,
            "headwater": own,
            "library": library,
            "figure": None if math.isnan(other) else other,
            "ratio": None if math.isnan(other) else own / other,
        }
        for what, own, library, other in module.measure()
    ]


if __name__ == "__main__":
    stay_on_one_core()
    sys.path += map(str, FOLDER.glob("lib/python*/site-packages"))
    print(json.dumps(measured(sys.argv[1]) if len(sys.argv) > 1 else names()))
