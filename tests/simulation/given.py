"""What is on the tapes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from headwater.flows.schema import schema_of

from .ends import Tape
from .flows import Flow, Reading

__all__ = ["tapes_of"]

_ITEMS = 30


def tapes_of(flow: Flow, data: int) -> dict[str, Tape]:
    """Return the tapes of a flow; `data` says which."""
    return {
        name: Tape(_items(random.Random(f"{name} {data}")), schema_of(Reading).polars())
        for name in flow.tapes
    }


def _items(chance: random.Random) -> Sequence[dict[str, Any] | bytes]:
    items: list[dict[str, Any] | bytes] = []
    for n in range(chance.choice((0, _ITEMS, _ITEMS))):
        if chance.random() < 0.07:
            items.append(b"rubbish %d" % n)
            continue
        seconds = n + chance.choice((0, 0, 0, -1, -2, -3, 2)) + 10 * (n > _ITEMS / 2)
        items.append(
            {
                "at": 1_767_225_600_000_000 + 700_000 * seconds,
                "device": chance.choice("abc"),
                "value": chance.randint(-1, 20),
                "id": n,
            }
        )
    return items
