"""Sources and sinks at load: where a flow begins and ends."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from .declaration import Declaration
from .draft import Draft
from .graph import SinkSpec, SourceSpec
from .loaded import Loaded, Wrong
from .rowfunctions import row_function
from .schema import schema_of
from .signature import Signature
from .stream import Stream

__all__ = ["sink_function", "source_function"]


def source_function(draft: Draft, declaration: Declaration, signature: Signature) -> Loaded:
    """Add a source, and return what it gives. Raises `Wrong` for one that is not to be read."""
    if declaration.upstream or signature.inputs:
        raise Wrong(
            "a source reads no stream; make it an operator, or drop the parameter",
            signature.inputs[0] if signature.inputs else None,
        )
    _only_settings(signature)
    returned = signature.returned
    if signature.asynchronous:
        raise Wrong("a source is no async function; return a hw.Source, or yield from plain code")
    if returned.event is None or not (returned.kind == "source" or returned.many):
        raise Wrong("a source returns hw.Source[…] of an event, or yields events (-> Iterator[…])")
    yields = inspect.isgeneratorfunction(declaration.function)
    if yields and returned.kind == "source":
        raise Wrong(
            f"yields events, so it is no function that returns a hw.Source; annotate it "
            f"-> Iterator[{returned.event.__name__}]"
        )
    spec = SourceSpec(
        returned.event,
        declaration.function,
        declaration.options.disorder,
        declaration.options.idle,
        generates=returned.kind == "row",
        settings=signature.settings,
    )
    schema = schema_of(returned.event)
    if declaration.options.disorder and schema.event_time is None:
        raise Wrong(
            f"disorder= is about event time, and {returned.event.__name__} has no field of "
            f"type hw.EventTime"
        )
    return Loaded(draft.add(spec, [], schema, name=declaration.name), schema, returned.event)


def sink_function(
    draft: Draft, declaration: Declaration, signature: Signature, inputs: list[Loaded]
) -> None:
    """Add a sink, or a function that takes rows and gives none. Raises `Wrong` for any other."""
    if signature.kind == "none":
        if signature.returned.kind != "sink":
            raise Wrong("a sink returns hw.Sink, or takes an input and returns None")
        _only_settings(signature)
        spec = SinkSpec(declaration.function, signature.settings)
        merged = inputs[0]
        if len(inputs) > 1:
            merged = _union(draft, inputs)
        draft.add(spec, [merged.edge], merged.schema, name=declaration.name)
        return
    if signature.returned.kind != "none":
        raise Wrong("a sink that takes an input returns None")
    if signature.kind != "row":
        raise Wrong(
            "is the input of a sink; a sink takes rows one by one (row: Reading), or takes "
            "nothing and returns a hw.Sink, which is given them in batches",
            signature.inputs[0],
        )
    row_function(draft, declaration, signature, inputs)


def _union(draft: Draft, inputs: Sequence[Loaded]) -> Loaded:
    streams = [Stream[Any](draft, made.edge, made.schema) for made in inputs]
    merged = streams[0].union(*streams[1:])
    return Loaded(merged._edge, merged.schema, inputs[0].event)


def _only_settings(signature: Signature) -> None:
    for injected in signature.injected:
        if injected.kind != "settings":
            kind = injected.kind.title()
            raise Wrong(f"hw.{kind} is for operators with key=", injected.name)
