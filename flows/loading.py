"""Loads a flow: reads signatures, calls Stream functions, checks schemas, makes the graph.

Nothing runs and no row moves. Everything that is wrong is gathered before any of it is raised; an
operator whose input could not be made is passed over, as its own errors would only echo.
"""

from __future__ import annotations

import traceback
from typing import Any, Final, get_args

from .declaration import DeadLetter, Declaration, Declared, Operator, Options, SideOutput
from .draft import Draft
from .endpoints import sink_function, source_function
from .errors import FlowError, HeadwaterError, Problem
from .graph import DEAD_LETTER, Edge, Graph, OnError, SinkSpec, Tier
from .loaded import Loaded, Wrong
from .operators.columns import BatchFunction, Columns
from .operators.function import RowFunction
from .rowfunctions import row_function
from .settings import Settings
from .signature import Signature, SignatureError, read_signature
from .stages import fused, placed
from .streamfunctions import batch_function, stream_function

__all__ = ["load"]

_CHOICES: Final[dict[str, tuple[Any, ...]]] = {
    "tier": (None, *get_args(Tier)),
    "order": ("event", "arrival"),
    "timers": ("event", "processing"),
}
_UNSET: Final = Options()


def load(flow: Declared) -> Graph:
    """Return the graph of a flow; raises `FlowError` with every problem found."""
    loader = _Loader(flow)
    for declaration in flow.declarations:
        loader.load(declaration)
    if flow.on_error not in get_args(OnError):
        listed = " or ".join(repr(choice) for choice in get_args(OnError))
        loader.problems.append(Problem(flow.name, f"on_error={flow.on_error!r} is not {listed}"))
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
    def __init__(self, flow: Declared) -> None:
        self.flow = flow
        self.draft = Draft()
        self.problems: list[Problem] = [*flow.problems]
        self.made: dict[str, Loaded | None] = {}

    def load(self, declaration: Declaration) -> None:
        name = declaration.name
        if self.made.get(name) is not None:
            return  # declared twice, and said so
        self.draft.begin(name, declaration.options.tier, declaration.scope)
        self.made[name] = None
        try:
            inputs = self._inputs(declaration)
            if inputs is None:
                return
            _check_options(declaration.options)
            signature = read_signature(declaration.function, declaration.scope)
            _check_settings(signature, self.flow.settings)
            _check_heeded(declaration.options, signature)
            if declaration.role == "source":
                self.made[name] = source_function(self.draft, declaration, signature)
            elif declaration.role == "sink":
                sink_function(self.draft, declaration, signature, inputs)
            else:
                self.made[name] = _operator(self.draft, declaration, signature, inputs)
        except (SignatureError, Wrong) as error:
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

    def _inputs(self, declaration: Declaration) -> list[Loaded] | None:
        if declaration.role != "source" and not declaration.upstream:
            raise Wrong("reads nothing; name its upstream: @flow.operator(readings)")
        found: list[Loaded] = []
        for upstream in declaration.upstream:
            operator = upstream.operator if isinstance(upstream, SideOutput) else upstream
            if not isinstance(operator, Operator):
                raise Wrong(_not_an_operator(upstream))
            if operator.flow is not self.flow.owner:
                raise Wrong(f"reads {operator.name} of another flow, {operator.flow.name}")
            made = self.made.get(operator.name)
            if made is None:
                if any((d.name, d.role) == (operator.name, "sink") for d in self.flow.declarations):
                    raise Wrong(f"reads {operator.name}, which is a sink and gives nothing")
                return None  # its own problem has been told
            found.append(self._side(upstream, made) if upstream is not operator else made)
        return found

    def _side(self, side: SideOutput, made: Loaded) -> Loaded:
        if side.output == "dead":
            return Loaded(Edge(made.edge.node, "dead"), DEAD_LETTER, DeadLetter)
        node = self._late_node(made.edge.node)
        reads = self.draft.nodes[node].inputs
        if not reads:
            raise Wrong(
                f"reads {side.operator.name}.late, but a source has no late rows; "
                f"operators with windows, joins or keyed state have"
            )
        schema = self.draft.nodes[reads[0].node].schema
        event = next((m.event for m in self.made.values() if m and m.edge == reads[0]), None)
        return Loaded(Edge(node, "late"), schema, event)

    def _late_node(self, name: str) -> str:
        """Return the node of an operator whose late rows are meant: its first with a memory."""
        operator = self.draft.nodes[name].operator
        for node in self.draft.nodes.values():
            if node.operator == operator and not isinstance(
                node.spec, Columns | RowFunction | BatchFunction
            ):
                return node.id
        return name


def _operator(
    draft: Draft, declaration: Declaration, signature: Signature, inputs: list[Loaded]
) -> Loaded:
    if signature.kind == "stream":
        return stream_function(draft, declaration, signature, inputs)
    if signature.kind == "row":
        return row_function(draft, declaration, signature, inputs)
    if signature.kind == "none":
        raise Wrong(
            "takes no input; give it one parameter for each upstream operator, such as "
            "rows: hw.Stream[Reading] or row: Reading"
        )
    return batch_function(draft, declaration, signature, inputs)


def _check_options(options: Options) -> None:
    """Raise `Wrong` for an option's value that is none of those it can have."""
    if options.wrong:
        raise Wrong("; ".join(f"{name}= {message}" for name, message in options.wrong.items()))
    for name, allowed in _CHOICES.items():
        given = getattr(options, name)
        if given not in allowed:
            listed = ", ".join(repr(choice) for choice in allowed if choice is not None)
            raise Wrong(f"{name}={given!r} is none of {listed}")
    if options.in_flight < 1 or options.retries < 0:
        raise Wrong("in_flight= is at least 1, and retries= is not negative")


def _check_heeded(options: Options, signature: Signature) -> None:
    """Raise `Wrong` for an option that functions of this kind do not heed."""
    kept = {"ttl": options.ttl, "order": options.order, "timers": options.timers}
    awaited = {
        "in_flight": options.in_flight,
        "timeout": options.timeout,
        "retries": options.retries,
        "ordered": options.ordered,
    }
    kinds = (
        (bool(signature.stateful), kept, "functions with hw.State or hw.Timer"),
        (signature.asynchronous, awaited, "async functions"),
        (
            signature.kind in ("frame", "record_batch"),
            {"returns": options.returns},
            "functions on batches; annotate what others return",
        ),
    )
    for heeded, given, whom in kinds:
        changed = [name for name, value in given.items() if value != getattr(_UNSET, name)]
        if changed and not heeded:
            raise Wrong(f"{'=, '.join(changed)}= is for {whom}")


def _check_settings(signature: Signature, given: type[Settings] | None) -> None:
    asked = [injected for injected in signature.injected if injected.kind == "settings"]
    for injected in asked:
        wanted = injected.fresh
        if given is None:
            raise Wrong(
                f"asks for settings, and the flow has none; write hw.Flow(…, settings="
                f"{getattr(wanted, '__name__', '…')})",
                injected.name,
            )
        if isinstance(wanted, type) and not issubclass(given, wanted):
            raise Wrong(
                f"asks for {wanted.__name__}, and the flow's settings are {given.__name__}",
                injected.name,
            )
    if len(asked) > 1:
        raise Wrong("asks for the settings twice; one parameter takes them", asked[1].name)


def _line(error: Exception, declaration: Declaration) -> int:
    """Return the line of the user's file at which a problem arose: within the function, if so."""
    raised = error.__cause__ or error
    lines = [
        number
        for frame, number in traceback.walk_tb(raised.__traceback__)
        if frame.f_code.co_filename == declaration.file
    ]
    return lines[-1] if lines else declaration.line


def _not_an_operator(upstream: object) -> str:
    if isinstance(upstream, str):
        return f"reads {upstream!r}; operators are wired by object, not by name: drop the quotes"
    name = getattr(upstream, "__name__", None)
    if name is not None:
        return f"reads {name}, which is not an operator; decorate it with @flow.operator or source"
    found = next(c.__name__ for c in type(upstream).__mro__ if not c.__name__.startswith("_"))
    return f"reads a {found}; name the decorated function itself, without calling it"
