"""Headwater: stream processing that starts at the edge.

The public names, each loaded from its module when it is first used: this file imports nothing of
ours, so that `import headwater` is quick, and so that a test runner may import it under the name
of the checkout's folder.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headwater import testing
    from headwater.flows.aggregates import Aggregate, approx_quantile
    from headwater.flows.connector import Sink, Source
    from headwater.flows.declaration import DeadLetter, Operator
    from headwater.flows.errors import (
        ConnectorError,
        ExpressionError,
        FlowError,
        HeadwaterError,
        NoRoomError,
        Problem,
        RecordingError,
        RecoveryError,
        RowError,
        SchemaError,
        SettingsError,
        WorkerError,
    )
    from headwater.flows.event import Event, EventTime, Field, Site, Unit, Width, Zone
    from headwater.flows.flow import Flow
    from headwater.flows.keyed import Fired, State, Timer
    from headwater.flows.settings import Settings
    from headwater.flows.stream import Keyed, Stream
    from headwater.flows.windows import count, hopping, session, sliding, tumbling, whole

    __version__: str

# Public name -> the module it lives in. A new name goes here, above and into `__all__`.
_HOMES = {
    "Aggregate": "headwater.flows.aggregates",
    "ConnectorError": "headwater.flows.errors",
    "DeadLetter": "headwater.flows.declaration",
    "Event": "headwater.flows.event",
    "EventTime": "headwater.flows.event",
    "ExpressionError": "headwater.flows.errors",
    "Field": "headwater.flows.event",
    "Fired": "headwater.flows.keyed",
    "Flow": "headwater.flows.flow",
    "FlowError": "headwater.flows.errors",
    "HeadwaterError": "headwater.flows.errors",
    "Keyed": "headwater.flows.stream",
    "NoRoomError": "headwater.flows.errors",
    "Operator": "headwater.flows.declaration",
    "Problem": "headwater.flows.errors",
    "RecordingError": "headwater.flows.errors",
    "RecoveryError": "headwater.flows.errors",
    "RowError": "headwater.flows.errors",
    "SchemaError": "headwater.flows.errors",
    "Settings": "headwater.flows.settings",
    "SettingsError": "headwater.flows.errors",
    "Sink": "headwater.flows.connector",
    "Site": "headwater.flows.event",
    "Source": "headwater.flows.connector",
    "State": "headwater.flows.keyed",
    "Stream": "headwater.flows.stream",
    "Timer": "headwater.flows.keyed",
    "Unit": "headwater.flows.event",
    "Width": "headwater.flows.event",
    "WorkerError": "headwater.flows.errors",
    "Zone": "headwater.flows.event",
    "approx_quantile": "headwater.flows.aggregates",
    "count": "headwater.flows.windows",
    "hopping": "headwater.flows.windows",
    "session": "headwater.flows.windows",
    "sliding": "headwater.flows.windows",
    "testing": "headwater",
    "tumbling": "headwater.flows.windows",
    "whole": "headwater.flows.windows",
}

__all__ = [
    "Aggregate",
    "ConnectorError",
    "DeadLetter",
    "Event",
    "EventTime",
    "ExpressionError",
    "Field",
    "Fired",
    "Flow",
    "FlowError",
    "HeadwaterError",
    "Keyed",
    "NoRoomError",
    "Operator",
    "Problem",
    "RecordingError",
    "RecoveryError",
    "RowError",
    "SchemaError",
    "Settings",
    "SettingsError",
    "Sink",
    "Site",
    "Source",
    "State",
    "Stream",
    "Timer",
    "Unit",
    "Width",
    "WorkerError",
    "Zone",
    "__version__",
    "approx_quantile",
    "count",
    "hopping",
    "session",
    "sliding",
    "testing",
    "tumbling",
    "whole",
]


# Hidden from type checkers, which would take it to mean that every name exists.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name == "__version__":
            value: object = import_module("importlib.metadata").version("headwater")
        elif name == "testing":  # a module itself
            value = import_module("headwater.testing")
        elif name in _HOMES:
            value = getattr(import_module(_HOMES[name]), name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
