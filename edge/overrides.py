"""A flow's settings from its environment and ``--set name=value``."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from ..flows.errors import SettingsError
from ..flows.settings import Settings

__all__ = ["settings_of"]


def settings_of(cls: type[Settings] | None, pairs: Sequence[str]) -> Settings | None:
    """Return the settings of a flow, or None if it has none.

    A pair is ``name=value``, with dots in the name for what is nested; a value that is a JSON
    list or object is taken as such. Raises `SettingsError`, a line for each thing that is wrong.
    """
    if cls is None:
        if pairs:
            raise SettingsError(
                f"--set {pairs[0]}: the flow has no settings; give it a class: "
                f"hw.Flow('name', settings=Limits)"
            )
        return None
    given: dict[str, Any] = {}
    wrong = [text for pair in pairs if (text := _put(given, cls, pair)) is not None]
    if wrong:
        raise SettingsError("\n".join(wrong))
    try:
        return cls(**given)
    except ValidationError as error:
        prefix = cls.model_config.get("env_prefix", "")
        lines = (_explained(found, prefix) for found in error.errors())
        raise SettingsError("\n".join(lines)) from None


def _put(given: dict[str, Any], cls: type[BaseModel], pair: str) -> str | None:
    """Put one pair into the nested values; return what is wrong with it."""
    name, equals, text = pair.partition("=")
    if not equals:
        return f"--set {pair}: write it as name=value"
    parts = name.split(".")
    model: type[BaseModel] | None = cls
    for depth, part in enumerate(parts):
        if model is None:
            return f"--set {name}: {'.'.join(parts[:depth])} has no fields of its own"
        if part not in model.model_fields:
            return f"--set {name}: {_unknown(part, model)}"
        held: Any = model.model_fields[part].annotation
        model = held if isinstance(held, type) and issubclass(held, BaseModel) else None
    for part in parts[:-1]:
        inner = given.setdefault(part, {})
        if not isinstance(inner, dict):
            return f"--set {name}: {part} was set as a whole before"
        given = inner
    given[parts[-1]] = _value(text)
    return None


def _unknown(name: str, model: type[BaseModel]) -> str:
    fields = list(model.model_fields)
    close = difflib.get_close_matches(name, fields, 1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    listed = ", ".join(fields) or "none"
    return f"unknown setting {name!r}; {hint}the fields of {model.__name__} are {listed}"


def _value(text: str) -> Any:
    if text[:1] not in ("[", "{"):
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _explained(found: Any, prefix: str) -> str:
    name = ".".join(str(part) for part in found["loc"])
    ways = f"--set {name}=…"
    if len(found["loc"]) == 1:
        ways += f" or the environment variable {prefix}{name.upper()}"
    if found["type"] == "missing":
        return f"settings: {name} has no value; give one with {ways}"
    value = f", found {found['input']!r}" if not isinstance(found["input"], dict) else ""
    return f"settings: {name}: {found['msg']}{value}; set it with {ways}"
