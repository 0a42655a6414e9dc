"""What the fields of an event are called outside."""

from __future__ import annotations

from typing import Any

from pydantic.fields import FieldInfo

from .event import Event

__all__ = ["outer_names"]


def outer_names(cls: type[Event]) -> dict[str, str] | None:
    """The key or column of each field, by its alias; None if pydantic has to look."""
    names = {}
    for name, annotation in cls.__event_fields__.items():
        default = cls.__event_defaults__.get(name)
        notes = (*getattr(annotation, "__metadata__", ()), default)
        alias: Any = None
        for note in notes:
            if isinstance(note, FieldInfo):
                alias = note.validation_alias or note.alias or alias
        if alias is not None and not isinstance(alias, str):
            return None
        names[name] = alias or name
    return names
