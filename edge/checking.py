"""Checks flow files without running them: every problem, each with its place."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..flows.errors import FlowError, Problem
from ..flows.flow import Flow
from ..flows.graph import Graph, SinkSpec, SourceSpec
from .flowfile import FlowFileError, flows_of, load_flow
from .traces import one_line, shown, user_place

__all__ = ["Finding", "check", "flow_files", "spoken"]

_DEFINES_FLOW: Final = re.compile(r"^\s*(?:\w+\s*=\s*)?(?:\w+\.)*Flow\(", re.MULTILINE)
_SKIPPED: Final = frozenset({"__pycache__", "build", "node_modules", "site-packages"})


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found in one flow, or in a file that cannot be loaded."""

    flow: str
    problems: tuple[str, ...] = ()
    """What is wrong, a line each, with its place."""
    warnings: tuple[str, ...] = ()
    """What is legal and doubtful."""


def check(path: str) -> Iterator[Finding]:
    """Check the flows of a file, a module, or every file of a folder that defines a flow.

    Problems are told in the findings; nothing that a user's file does is raised.
    """
    folder = Path(path)
    if not folder.is_dir():
        yield from _checked(path)
        return
    files = flow_files(folder)
    if not files:
        problem = f"{shown(folder)}: no file in this folder defines a flow (hw.Flow('name'))"
        yield Finding(path, (problem,))
    for file in files:
        yield from _checked(str(file))


def flow_files(folder: Path) -> list[Path]:
    """Return the Python files below a folder that define a flow, in order."""
    found = []
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).parts
        if any(part in _SKIPPED or part.startswith(".") for part in parts):
            continue
        text = path.read_text("utf-8", "replace")
        if "headwater" in text and _DEFINES_FLOW.search(text):
            found.append(path)
    return found


def spoken(problem: Problem) -> str:
    """Return a problem as ``file:line: operator(parameter): message``."""
    place = f"{shown(problem.file)}:{problem.line}: " if problem.file and problem.line else ""
    name = problem.operator
    if problem.parameter:
        name += f"({problem.parameter})"
    return f"{place}{name}: {problem.message}"


def _checked(reference: str) -> Iterator[Finding]:
    with _apart():
        try:
            flows = _flows(reference)
        except FlowFileError as error:
            yield Finding(shown(reference), (str(error),))
            return
        for flow in flows:
            yield _finding(flow, reference)


def _flows(reference: str) -> Sequence[Flow]:
    named = reference.rpartition(":")[2]
    if ":" in reference and named.isidentifier():
        return (load_flow(reference),)
    found = list({id(flow): flow for flow in flows_of(reference).values()}.values())
    return found or (load_flow(reference),)  # which says what is missing


def _finding(flow: Flow, reference: str) -> Finding:
    try:
        graph = flow.graph()
    except FlowError as error:
        return Finding(flow.name, tuple(_placed(p, reference) for p in error.problems))
    except Exception as error:  # functions of the user are called to load the flow
        where = user_place(error, None)
        place = f"{shown(where[0])}:{where[1]}" if where else shown(reference)
        return Finding(flow.name, (f"{place}: {flow.name}: cannot be loaded: {one_line(error)}",))
    return Finding(flow.name, warnings=tuple(_warnings(flow, graph, reference)))


def _placed(problem: Problem, reference: str) -> str:
    text = spoken(problem)
    return text if problem.file and problem.line else f"{shown(reference)}: {text}"


def _warnings(flow: Flow, graph: Graph, reference: str) -> Iterator[str]:
    places = {d.name: f"{shown(d.file)}:{d.line}" for d in flow.declarations}

    def told(operator: str, message: str) -> str:
        return f"{places.get(operator, shown(reference))}: warning: {operator}: {message}"

    sited = any(node.schema.site is not None for node in graph.sources())
    keyed = {
        node.operator: ", ".join(node.keys)
        for node in graph.nodes
        if node.keys and not isinstance(node.spec, SinkSpec | SourceSpec)
    }
    if keyed and not sited:
        operator, keys = next(iter(keyed.items()))
        others = f" (as do {', '.join(list(keyed)[1:])})" if len(keyed) > 1 else ""
        yield told(
            operator,
            f"works by ({keys}) and no event of the flow has a hw.Site field, so it runs in the "
            f"cloud{others}; mark the field that names the site to let it run at the edge",
        )
    for node in graph.nodes:
        for note in node.notes:
            yield told(node.operator, note)
    for node in graph.nodes:
        if isinstance(node.spec, SinkSpec) and node.spec.make is None:
            read = graph.node(node.inputs[0].node).operator
            yield told(read, "nothing reads it, so its rows are printed; add a @flow.sink")


@contextmanager
def _apart() -> Iterator[None]:
    """Forget what loading a file put on the path, and its neighbours that it imported."""
    path, modules = list(sys.path), set(sys.modules)
    try:
        yield
    finally:
        added = [folder for folder in sys.path if folder not in path]
        sys.path[:] = path
        for name in set(sys.modules) - modules:
            file = getattr(sys.modules[name], "__file__", None) or ""
            if file and str(Path(file).parent) in added:
                del sys.modules[name]
