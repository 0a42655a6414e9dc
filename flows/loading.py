"""Loads a flow: reads signatures, calls Stream functions, checks schemas, makes the graph.

Nothing runs and no row moves. Everything that is wrong is gathered before any of it is raised; an
operator whose input could not be made is passed over, as its own errors would only echo.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from .draft import Draft
from .errors import FlowError, HeadwaterError, Problem
from .event import Event
from .flow import DeadLetter, Declaration, Operator, SideOutput
from .graph import DEAD_LETTER, Edge, Graph, SinkSpec, SourceSpec
from .operators.asynchronous import AsyncFunction
from .operators.columns import BatchFunction, Columns, Step
from .operators.function import RowFunction
from .operators.process import Parameter, Process
from .schema import Schema, differences, schema_of
from .signature import Signature, SignatureError, read_signature
from .stages import fused, placed
from .stream import Keyed, Stream, Windowed

if TYPE_CHECKING:
    from .flow import Flow

__all__ = ["load"]


@dataclass(frozen=True, slots=True)
class _Made:
    """The output of an operator that was loaded."""

    edge: Edge
    schema: Schema
    event: type[Event] | None


class _Wrong(Exception):
    """One thing that is wrong with the operator being loaded."""

    def __init__(self, message: str, parameter: str | None = None) -> None:
        super().__init__(message)
        self.parameter = parameter


def load(flow: Flow) -> Graph:
    """Return the graph of a flow; raises `FlowError` with every problem found."""
    loader = _Loader(flow)
    for declaration in flow.declarations:
        loader.load(declaration)
    if not flow.declarations:
        loader.problems.append(
            Problem(flow.name, "has no operators; decorate functions with @flow.source and so on")
        )
    elif not loader.problems and not any(d.role == "source" for d in flow.declarations):
        loader.problems.append(Problem(flow.name, "has no source; decorate one with @flow.source"))
    if loader.problems:
        raise FlowError(loader.problems)
    loader.add_terminals()
    nodes, problems = placed(tuple(loader.draft.nodes.values()))
    if problems:
        places = {d.name: (d.file, d.line) for d in flow.declarations}
        raise FlowError([_located(problem, places) for problem in problems])
    return Graph(
        flow.name,
        fused(nodes),
        on_error=flow.on_error,
        max_latency=flow.max_latency,
        settings=flow.settings,
    )


def _located(problem: Problem, places: dict[str, tuple[str, int]]) -> Problem:
    file, line = places.get(problem.operator, ("", 0))
    return Problem(problem.operator, problem.message, problem.parameter, file, line)


class _Loader:
    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.draft = Draft()
        self.problems: list[Problem] = [*flow.problems, *flow.unapplied]
        self.made: dict[str, _Made | None] = {}

    def load(self, declaration: Declaration) -> None:
        name = declaration.name
        if self.made.get(name) is not None:
            return  # declared twice, and said so
        self.draft.begin(name, declaration.options.tier)
        self.made[name] = None
        try:
            inputs = self._inputs(declaration)
            if inputs is None:
                return
            signature = read_signature(declaration.function, declaration.scope)
            if declaration.role == "source":
                self.made[name] = self._source(declaration, signature)
            elif declaration.role == "sink":
                self._sink(declaration, signature, inputs)
            else:
                self.made[name] = self._operator(declaration, signature, inputs)
        except (SignatureError, _Wrong) as error:
            self._problem(declaration, str(error), error.parameter, _line(error, declaration))
        except FlowError as error:
            self.problems.extend(error.problems)
        except (HeadwaterError, ValueError) as error:
            self._problem(declaration, str(error), None, _line(error, declaration))

    def _problem(
        self, declaration: Declaration, message: str, parameter: str | None, line: int
    ) -> None:
        self.draft.discard(declaration.name)
        self.problems.append(Problem(declaration.name, message, parameter, declaration.file, line))

    def add_terminals(self) -> None:
        """Print what nothing reads."""
        read = {edge for node in self.draft.nodes.values() for edge in node.inputs}
        for name, made in list(self.made.items()):
            if made is not None and made.edge not in read:
                self.draft.begin(f"{name} (terminal)", None)
                self.draft.add(SinkSpec(None), [made.edge], made.schema, name=f"{name} (terminal)")

    # What an operator reads

    def _inputs(self, declaration: Declaration) -> list[_Made] | None:
        if declaration.role != "source" and not declaration.upstream:
            raise _Wrong("reads nothing; name its upstream: @flow.operator(readings)")
        found: list[_Made] = []
        for upstream in declaration.upstream:
            operator = upstream.operator if isinstance(upstream, SideOutput) else upstream
            if not isinstance(operator, Operator):
                raise _Wrong(_not_an_operator(upstream))
            if operator.flow is not self.flow:
                raise _Wrong(f"reads {operator.name} of another flow, {operator.flow.name}")
            made = self.made.get(operator.name)
            if made is None:
                if any(d.name == operator.name and d.role == "sink" for d in self._declared()):
                    raise _Wrong(f"reads {operator.name}, which is a sink and gives nothing")
                return None  # its own problem has been told
            found.append(self._side(upstream, made) if upstream is not operator else made)
        return found

    def _declared(self) -> list[Declaration]:
        return self.flow.declarations

    def _side(self, side: SideOutput, made: _Made) -> _Made:
        if side.output == "dead":
            return _Made(Edge(made.edge.node, "dead"), DEAD_LETTER, DeadLetter)
        node = self._late_node(made.edge.node)
        reads = self.draft.nodes[node].inputs
        if not reads:
            raise _Wrong(
                f"reads {side.operator.name}.late, but a source has no late rows; "
                f"operators with windows, joins or keyed state have"
            )
        schema = self._schema(reads[0])
        event = next((m.event for m in self.made.values() if m and m.edge == reads[0]), None)
        return _Made(Edge(node, "late"), schema, event)

    def _late_node(self, name: str) -> str:
        """Return the node of an operator whose late rows are meant: its first with a memory."""
        operator = self.draft.nodes[name].operator
        for node in self.draft.nodes.values():
            if node.operator == operator and not isinstance(
                node.spec, Columns | RowFunction | BatchFunction
            ):
                return node.id
        return name

    def _schema(self, edge: Edge) -> Schema:
        return self.draft.nodes[edge.node].schema

    # Sources and sinks

    def _source(self, declaration: Declaration, signature: Signature) -> _Made:
        if declaration.upstream or signature.inputs:
            raise _Wrong(
                "a source reads no stream; make it an operator, or drop the parameter",
                signature.inputs[0] if signature.inputs else None,
            )
        self._only_settings(signature)
        returned = signature.returned
        if returned.event is None or not (returned.kind == "source" or returned.many):
            raise _Wrong(
                "a source returns hw.Source[…] of an event, or yields events (-> Iterator[…])"
            )
        spec = SourceSpec(
            returned.event,
            declaration.function,
            declaration.options.disorder,
            declaration.options.idle,
            generates=returned.kind == "row",
            settings=_settings_parameter(signature),
        )
        schema = schema_of(returned.event)
        if declaration.options.disorder and schema.event_time is None:
            raise _Wrong(
                f"disorder= is about event time, and {returned.event.__name__} has no field of "
                f"type hw.EventTime"
            )
        return _Made(
            self.draft.add(spec, [], schema, name=declaration.name), schema, returned.event
        )

    def _only_settings(self, signature: Signature) -> None:
        for injected in signature.injected:
            if injected.kind != "settings":
                kind = injected.kind.title()
                raise _Wrong(f"hw.{kind} is for operators with key=", injected.name)

    def _sink(self, declaration: Declaration, signature: Signature, inputs: list[_Made]) -> None:
        if signature.kind == "none":
            if signature.returned.kind != "sink":
                raise _Wrong("a sink returns hw.Sink, or takes an input and returns None")
            self._only_settings(signature)
            spec = SinkSpec(declaration.function, _settings_parameter(signature))
            merged = inputs[0]
            if len(inputs) > 1:
                merged = self._union(inputs)
            self.draft.add(spec, [merged.edge], merged.schema, name=declaration.name)
            return
        if signature.returned.kind != "none":
            raise _Wrong("a sink that takes an input returns None")
        self._row(declaration, signature, inputs)

    def _union(self, inputs: Sequence[_Made]) -> _Made:
        streams = [Stream[Any](self.draft, made.edge, made.schema) for made in inputs]
        merged = streams[0].union(*streams[1:])
        return _Made(merged._edge, merged.schema, inputs[0].event)

    # Operators

    def _operator(
        self, declaration: Declaration, signature: Signature, inputs: list[_Made]
    ) -> _Made:
        if signature.kind == "stream":
            return self._stream(declaration, signature, inputs)
        if signature.kind == "row":
            return self._row(declaration, signature, inputs)
        if signature.kind == "none":
            raise _Wrong(
                "takes no input; give it one parameter for each upstream operator, such as "
                "rows: hw.Stream[Reading] or row: Reading"
            )
        return self._frame(declaration, signature, inputs)

    def _stream(self, declaration: Declaration, signature: Signature, inputs: list[_Made]) -> _Made:
        if declaration.options.key is not None:
            raise _Wrong("key= is for functions per row; call rows.key_by(…) on the stream")
        if signature.injected:
            raise _Wrong(
                "a Stream function runs once, at load, and is handed nothing; take the event "
                "class to have state and timers per row",
                signature.injected[0].name,
            )
        self._counted(signature, inputs)
        names = list(signature.inputs) + [signature.inputs[-1]] * len(inputs)
        events = list(signature.events) + [signature.events[-1]] * len(inputs)
        for made, name, event in zip(inputs, names, events, strict=False):
            if event is not None:
                _same(made, event, name)
        streams = [Stream[Any](self.draft, made.edge, made.schema) for made in inputs]
        result = _called(declaration.function, streams)
        if isinstance(result, Keyed | Windowed):
            raise _Wrong(
                f"returns {type(result).__name__}; go on with "
                f"{'.agg(…)' if isinstance(result, Windowed) else '.window(…).agg(…)'}"
            )
        if not isinstance(result, Stream):
            raise _Wrong(f"returns {type(result).__name__}, not a stream; is a `return` missing?")
        return self._conformed(declaration, result, signature.returned.event)

    def _conformed(
        self, declaration: Declaration, stream: Stream[Any], event: type[Event] | None
    ) -> _Made:
        """Give a stream the columns of the event it is declared as, and the operator's name."""
        found = stream.schema
        wanted = found
        if event is not None:
            declared = schema_of(event)
            wrong = differences(found, declared)
            if wrong:
                raise _Wrong(f"returns a stream that is no {event.__name__}: {'; '.join(wrong)}")
            if found.key is not None and not set(found.key) <= set(declared.names):
                gone = ", ".join(sorted(set(found.key) - set(declared.names)))
                raise _Wrong(
                    f"returns an upsert stream by ({', '.join(found.key)}), and "
                    f"{event.__name__} leaves out a part of that key: add {gone} to it"
                )
            wanted = Schema(
                declared.columns,
                declared.event_time,
                declared.site,
                found.key,
                declared.nullable,
                declared.name,
            )
        own = self.draft.nodes[stream._edge.node].operator == declaration.name
        if own and wanted.columns == found.columns and not self.draft.read_within(stream._edge):
            edge = self.draft.rename(stream._edge, declaration.name)
            self.draft.reschema(edge, wanted)
        else:
            columns = tuple(pl.col(name).cast(dtype) for name, dtype in wanted.columns)
            spec = Columns((Step("select", columns),), upsert=found.key is not None)
            edge = self.draft.add(spec, [stream._edge], wanted, name=declaration.name)
        return _Made(edge, wanted, event)

    def _row(self, declaration: Declaration, signature: Signature, inputs: list[_Made]) -> _Made:
        options = declaration.options
        returned = signature.returned
        if returned.kind not in ("row", "none"):
            raise _Wrong("takes an event, so it returns an event, an event or None, or Iterator[…]")
        if returned.kind == "none" and declaration.role != "sink":
            raise _Wrong("returns nothing; return an event, or make it a sink: @flow.sink(…)")
        parameter = signature.inputs[0]
        classes = [self._class_of(made, signature, parameter) for made in inputs]
        edges = [self._narrowed(made, cls) for made, cls in zip(inputs, classes, strict=True)]
        output = returned.event
        schema = Schema(()) if output is None else schema_of(output)
        settings = _settings_parameter(signature)
        stateful = [i for i in signature.injected if i.kind != "settings"]
        keys = options.key
        if stateful or signature.fired:
            self._keyed(declaration, signature, inputs)
        spec: Any
        if keys is not None:
            for made in inputs:
                for key in keys:
                    if key not in made.schema.names:
                        raise _Wrong(
                            f"key {key!r} is no column of its input, which has "
                            f"{', '.join(made.schema.names)}"
                        )
            spec = Process(
                declaration.function,
                tuple(classes),
                output,
                keys,
                tuple(_parameter(i) for i in stateful),
                many=returned.many,
                settings=settings,
                ttl=options.ttl,
                order=options.order,
                timers=options.timers,
            )
        elif signature.asynchronous:
            if len(inputs) > 1:
                raise _Wrong("an async function takes one input")
            spec = AsyncFunction(
                declaration.function,
                classes[0],
                output,
                options.in_flight,
                options.timeout,
                options.retries,
                options.ordered,
                settings=settings,
            )
        else:
            spec = RowFunction(
                declaration.function, tuple(classes), output, returned.many, settings
            )
        if signature.asynchronous and keys is not None:
            raise _Wrong("an async function has no key=; only plain functions keep state")
        edge = self.draft.add(spec, edges, schema, keys=keys, name=declaration.name)
        return _Made(edge, schema, output)

    def _keyed(
        self, declaration: Declaration, signature: Signature, inputs: Sequence[_Made]
    ) -> None:
        stateful = [i for i in signature.injected if i.kind != "settings"]
        if declaration.options.key is None:
            asked = stateful[0] if stateful else None
            raise _Wrong(
                f"asks for hw.{asked.kind.title() if asked else 'Fired'}, which is kept per key; "
                f"say which: @flow.operator(…, key='…')",
                asked.name if asked else signature.inputs[0],
            )
        timers = [i for i in stateful if i.kind == "timer"]
        if timers and not signature.fired:
            parameter = signature.inputs[0]
            event = signature.events[0]
            raise _Wrong(
                f"has a timer but cannot be called when it goes off; annotate "
                f"{parameter}: {event.__name__ if event else '…'} | hw.Fired",
                parameter,
            )
        if signature.fired and not timers:
            raise _Wrong("takes hw.Fired but has no timer; add a parameter timer: hw.Timer")
        if timers and declaration.options.timers == "event":
            for made in inputs:
                if made.schema.event_time is None:
                    raise _Wrong(
                        "a timer goes by event time, and its input has none; give the event a "
                        "field of type hw.EventTime, or set timers='processing'",
                        timers[0].name,
                    )

    def _class_of(self, made: _Made, signature: Signature, parameter: str) -> type[Event]:
        """Return the member of a row function's union that an input's rows are."""
        if made.schema.key is not None:
            raise _Wrong(
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
            raise _Wrong(f"{made.edge.node} does not give {names}: {'; '.join(wrong)}", parameter)
        return max(fitting, key=lambda c: len(schema_of(c).names))

    def _narrowed(self, made: _Made, event: type[Event]) -> Edge:
        """Return the input with exactly the event's columns."""
        wanted = schema_of(event)
        if made.schema.columns == wanted.columns:
            return made.edge
        columns = tuple(pl.col(name).cast(dtype) for name, dtype in wanted.columns)
        return self.draft.add(Columns((Step("select", columns),)), [made.edge], wanted)

    def _frame(self, declaration: Declaration, signature: Signature, inputs: list[_Made]) -> _Made:
        if len(inputs) != 1:
            raise _Wrong("a function on batches takes one input", signature.inputs[0])
        if signature.injected:
            raise _Wrong("a function on batches is handed nothing else", signature.injected[0].name)
        if declaration.options.key is not None:
            raise _Wrong("a function on batches has no key=; its rows are independent")
        if signature.returned.kind != signature.kind:
            raise _Wrong(f"takes a {signature.kind} and must return one")
        made = inputs[0]
        if made.schema.key is not None:
            raise _Wrong("a function on batches takes an append stream", signature.inputs[0])
        call = declaration.function
        if signature.kind == "record_batch":
            call = _on_record_batches(call)
        event = declaration.options.returns
        try:
            empty = call(made.schema.empty())
        except Exception as error:  # whatever the user's function raises on no rows
            text = str(error).split("\n", 1)[0]
            raise _Wrong(f"fails on a batch without rows: {type(error).__name__}: {text}") from None
        if not isinstance(empty, pl.DataFrame):
            raise _Wrong(f"returns {type(empty).__name__}, not {signature.kind}")
        columns = tuple(empty.schema.items())
        kept = made.schema.event_time if made.schema.event_time in empty.columns else None
        site = made.schema.site if made.schema.site in empty.columns else None
        raw = Schema(columns, event_time=kept, site=site)
        edge = self.draft.add(BatchFunction(call), [made.edge], raw)
        return self._conformed(declaration, Stream[Any](self.draft, edge, raw), event)

    def _counted(self, signature: Signature, inputs: Sequence[_Made]) -> None:
        takes, given = len(signature.inputs), len(inputs)
        if takes == given or (signature.variadic and given >= takes):
            return
        raise _Wrong(
            f"takes {takes} stream{'s' * (takes != 1)} ({', '.join(signature.inputs)}) and is "
            f"wired to {given}: {', '.join(made.edge.node for made in inputs)}"
        )


def _same(made: _Made, event: type[Event], parameter: str) -> None:
    wrong = differences(made.schema, schema_of(event))
    if wrong:
        raise _Wrong(
            f"{made.edge.node} does not give {event.__name__}: {'; '.join(wrong)}", parameter
        )


def _line(error: Exception, declaration: Declaration) -> int:
    """Return the line of the user's file at which a problem arose: within the function, if so."""
    raised = error.__cause__ or error
    lines = [
        number
        for frame, number in traceback.walk_tb(raised.__traceback__)
        if frame.f_code.co_filename == declaration.file
    ]
    return lines[-1] if lines else declaration.line


def _called(function: Callable[..., Any], streams: Sequence[Stream[Any]]) -> object:
    try:
        return function(*streams)
    except HeadwaterError:
        raise
    except Exception as error:  # whatever the user's function raises
        text = str(error).split("\n", 1)[0]
        if isinstance(error, AttributeError | ValueError) and _is_ours(error):
            raise _Wrong(text) from error
        raise _Wrong(f"raised {type(error).__name__} at load: {text}") from error


def _is_ours(error: Exception) -> bool:
    """Whether an error was raised by Headwater, about what it was given."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return str(frames[-1].f_globals.get("__name__", "")).startswith("headwater.")


def _not_an_operator(upstream: object) -> str:
    if isinstance(upstream, str):
        return f"reads {upstream!r}; operators are wired by object, not by name: drop the quotes"
    name = getattr(upstream, "__name__", None)
    if name is not None:
        return f"reads {name}, which is not an operator; decorate it with @flow.operator or source"
    found = next(c.__name__ for c in type(upstream).__mro__ if not c.__name__.startswith("_"))
    return f"reads a {found}; name the decorated function itself, without calling it"


def _settings_parameter(signature: Signature) -> str | None:
    return next((i.name for i in signature.injected if i.kind == "settings"), None)


def _parameter(injected: Any) -> Parameter:
    return Parameter(injected.name, injected.kind, injected.fresh or (lambda: None))


def _on_record_batches(call: Callable[..., Any]) -> Callable[[pl.DataFrame], pl.DataFrame]:
    def on_frames(frame: pl.DataFrame) -> pl.DataFrame:
        table = frame.rechunk().to_arrow()
        batches = table.to_batches()
        batch = batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)
        made = pl.from_arrow(call(batch))
        assert isinstance(made, pl.DataFrame)
        return made

    return on_frames
