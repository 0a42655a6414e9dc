"""What a function returns, fitted to the fields of the event that its annotation promises."""

from __future__ import annotations

from ..event import Event
from ..fieldtypes import FieldType, field_types
from .nodes import Check, Made, Node, Refused, Test, Tree, alike, kind_of_field, spelled
from .operations import Operations

__all__ = ["fitted"]


def fitted(make: Operations, tree: Tree, output: type[Event]) -> dict[str, Node]:
    """Return each field of what comes out, as the rows that come out have it.

    Raises `Refused` if nothing comes out, or where every row would be a dead letter.
    """
    types = field_types(output)
    leaves = {id(leaf): _leaf(make, leaf, output) for leaf in _leaves(tree)}
    if not leaves:
        raise Refused("it never returns an event")
    found: dict[str, Node] = {}
    for name in types:
        node = _chosen(make, tree, {leaf: fields[name] for leaf, fields in leaves.items()})
        assert node is not None
        found[name] = node
    return found


def _leaves(tree: Tree) -> list[Made]:
    """Return the events that a tree ends in."""
    if isinstance(tree, Made):
        return [tree]
    if isinstance(tree, Check):
        return _leaves(tree.rest)
    if isinstance(tree, Test):
        return [*_leaves(tree.yes), *_leaves(tree.no)]
    return []


def _leaf(make: Operations, made: Made, output: type[Event]) -> dict[str, Node]:
    if not issubclass(made.event, output):
        raise Refused(f"it returns a {made.event.__name__}, which is no {output.__name__}")
    types = field_types(output)
    return {name: _fit(make, made, name, kept) for name, kept in types.items()}


def _chosen(make: Operations, tree: Tree, leaves: dict[int, Node]) -> Node | None:
    """Return one field of the rows that come out; None where none does."""
    if isinstance(tree, Made):
        return leaves[id(tree)]
    if isinstance(tree, Check):
        return _chosen(make, tree.rest, leaves)
    if isinstance(tree, Test):
        yes, no = (_chosen(make, side, leaves) for side in (tree.yes, tree.no))
        if yes is None or no is None or yes is no:
            return no if yes is None else yes
        return make.select(tree.condition, yes, no, tree.condition.line)
    return None


def _fit(make: Operations, made: Made, name: str, kept: FieldType) -> Node:
    node = made.fields[name]
    line = node.line or made.line or None
    if node.kind == "none":
        if not kept.nullable:
            raise Refused(f"gives None for {name}", line)
        return node
    if kept.kind == "float" and node.kind in ("int", "float", "number"):
        return make.to_float(node, line or 0, "float_or_none")
    wanted = kind_of_field(kept)
    fits = node.kind == wanted
    if wanted is None and node.kept is not None:
        fits = alike(node.kept, kept)
    if not fits:
        alone = node.kept is not None and node.kept.kind == kept.kind
        how = ", which is kept in another way" if alone else ""
        raise Refused(f"gives {spelled(node)} for the {kept.kind} {name}{how}", line)
    return node
