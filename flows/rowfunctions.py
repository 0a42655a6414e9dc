"""Row functions at load: those that are called with one event at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from .declaration import Declaration
from .draft import Draft
from .event import Event
from .graph import Edge, Spec
from .loaded import Loaded, Wrong
from .operators.asynchronous import AsyncFunction
from .operators.columns import Columns, Step
from .operators.function import RowFunction
from .operators.process import Parameter, Process
from .schema import Schema, conforming, differences, schema_of
from .settings import Settings
from .signature import Signature
from .vectorized.nodes import Refused
from .vectorized.program import Program, program_of

__all__ = ["row_function"]


def row_function(
    draft: Draft, declaration: Declaration, signature: Signature, inputs: list[Loaded]
) -> Loaded:
    """Add a function that is called for each row, and return what it gives.

    Raises `Wrong` for inputs that do not fit it.
    """
    keys = declaration.options.key
    returned = signature.returned
    if returned.kind not in ("row", "none"):
        raise Wrong("takes an event, so it returns an event, an event or None, or Iterator[…]")
    if returned.kind == "none" and declaration.role != "sink":
        raise Wrong("returns nothing; return an event, or make it a sink: @flow.sink(…)")
    parameter = signature.inputs[0]
    classes = [_class_of(made, signature, parameter) for made in inputs]
    edges = [_narrowed(draft, made, cls) for made, cls in zip(inputs, classes, strict=True)]
    output = returned.event
    schema = Schema(()) if output is None else schema_of(output)
    if signature.stateful or signature.fired:
        _check_keyed(declaration, signature, inputs)
    spec = _spec(declaration, signature, inputs, classes)
    if signature.asynchronous and keys is not None:
        raise Wrong("an async function has no key=; only plain functions keep state")
    edge = draft.add(spec, edges, schema, keys=keys, name=declaration.name)
    return Loaded(edge, schema, output)


def _spec(
    declaration: Declaration,
    signature: Signature,
    inputs: Sequence[Loaded],
    classes: Sequence[type[Event]],
) -> Spec:
    options, returned = declaration.options, signature.returned
    output, keys = returned.event, options.key
    optional = returned.optional or output is None
    if keys is not None:
        _check_keys(keys, inputs)
        return Process(
            declaration.function,
            tuple(classes),
            output,
            keys,
            tuple(_parameter(i) for i in signature.stateful),
            many=returned.many,
            optional=optional,
            settings=signature.settings,
            ttl=options.ttl,
            order=options.order,
            timers=options.timers,
        )
    if signature.asynchronous:
        if len(inputs) > 1:
            raise Wrong("an async function takes one input")
        if returned.many:
            raise Wrong(
                "an async function returns one event or None for a row; to give many, have a "
                "plain operator after it take a list apart"
            )
        return AsyncFunction(
            declaration.function,
            classes[0],
            output,
            options.in_flight,
            options.timeout,
            options.retries,
            options.ordered,
            optional=optional,
            settings=signature.settings,
        )
    program, why = _on_columns(declaration, signature, set(classes), optional)
    return RowFunction(
        declaration.function,
        tuple(classes),
        output,
        returned.many,
        optional,
        signature.settings,
        program,
        why,
    )


def _on_columns(
    declaration: Declaration, signature: Signature, classes: set[type[Event]], optional: bool
) -> tuple[Program | None, str]:
    """Return a row function as expressions on columns, or why it is called row by row."""
    returned = signature.returned
    if returned.event is None:
        return None, ""  # a sink, of which the calls are all there is
    if not declaration.options.vectorize:
        return None, "vectorize=False"
    if returned.many:
        return None, "it may give several rows for one"
    if len(classes) != 1:
        return None, "it takes events of several classes"
    given = [injected.fresh for injected in signature.injected if injected.kind == "settings"]
    try:
        program = program_of(
            declaration.function,
            classes.pop(),
            returned.event,
            optional=optional,
            settings=signature.settings,
            settings_class=cast(type[Settings], given[0]) if given else None,
        )
    except Refused as refused:
        return None, str(refused)
    return program, ""


def _check_keys(keys: tuple[str, ...], inputs: Sequence[Loaded]) -> None:
    for key in keys:
        for made in inputs:
            if key not in made.schema.names:
                raise Wrong(
                    f"key {key!r} is no column of its input, which has "
                    f"{', '.join(made.schema.names)}"
                )
        if keys.count(key) > 1:
            raise Wrong(f"the key {key!r} is given twice; name it once")
        found = {made.schema.dtype(key): made.edge.node for made in inputs}
        if len(found) > 1:
            listed = ", ".join(f"{dtype} in {node}" for dtype, node in found.items())
            raise Wrong(f"the key {key!r} has several types: {listed}; cast one before")
        if next(iter(found)).is_nested():
            raise Wrong(f"the key {key!r} is a list or a nested event; a key is a single value")


def _check_keyed(declaration: Declaration, signature: Signature, inputs: Sequence[Loaded]) -> None:
    stateful = signature.stateful
    if declaration.options.key is None:
        asked = stateful[0] if stateful else None
        raise Wrong(
            f"asks for hw.{asked.kind.title() if asked else 'Fired'}, which is kept per key; "
            f"say which: @flow.operator(…, key='…')",
            asked.name if asked else signature.inputs[0],
        )
    timers = [i for i in stateful if i.kind == "timer"]
    if timers and not signature.fired:
        parameter = signature.inputs[0]
        event = signature.events[0]
        raise Wrong(
            f"has a timer but cannot be called when it goes off; annotate "
            f"{parameter}: {event.__name__ if event else '…'} | hw.Fired",
            parameter,
        )
    if signature.fired and not timers:
        raise Wrong("takes hw.Fired but has no timer; add a parameter timer: hw.Timer")
    if timers and declaration.options.timers == "event":
        for made in inputs:
            if made.schema.event_time is None:
                raise Wrong(
                    "a timer goes by event time, and its input has none; give the event a "
                    "field of type hw.EventTime, or set timers='processing'",
                    timers[0].name,
                )


def _class_of(made: Loaded, signature: Signature, parameter: str) -> type[Event]:
    """Return the member of a row function's union that an input's rows are."""
    if made.schema.key is not None:
        raise Wrong(
            f"works row by row, and {made.edge.node} replaces earlier rows (upsert by "
            f"{', '.join(made.schema.key)}); use emit='close', or .changes()",
            parameter,
        )
    classes = [c for c in signature.events if c is not None]
    if made.event in classes:
        return made.event
    fitting = [c for c in classes if not differences(made.schema, schema_of(c))]
    if not fitting:
        wrong = differences(made.schema, schema_of(classes[0]))
        names = " | ".join(c.__name__ for c in classes)
        raise Wrong(f"{made.edge.node} does not give {names}: {'; '.join(wrong)}", parameter)
    return max(fitting, key=lambda c: len(schema_of(c).names))


def _narrowed(draft: Draft, made: Loaded, event: type[Event]) -> Edge:
    """Return the input with exactly the event's columns."""
    wanted = schema_of(event)
    if made.schema.columns == wanted.columns:
        return made.edge
    step = Step("select", conforming(made.schema, wanted))
    return draft.add(Columns((step,)), [made.edge], wanted)


def _parameter(injected: Any) -> Parameter:
    return Parameter(injected.name, injected.kind, injected.fresh or (lambda: None), injected.held)
