"""Classes whose values a snapshot keeps: how their names are written, and values taken apart.

These are dataclasses, events, pydantic models, NamedTuples and Enums. A value is made anew by
filling in what it had; neither its constructor nor a validator runs.
"""

from __future__ import annotations

import dataclasses
import enum
import sys
import types
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, Final, Protocol, get_args, get_origin, get_type_hints

import pydantic

from .event import Event

__all__ = ["ClassNames", "Record", "record_of"]

_HEAP_TYPE: Final = 1 << 9
"""The flag of a class that Python code has made; others hold more than their attributes."""


class Record(Protocol):
    """How the values of one class are taken apart and made anew."""

    def state(self, value: Any) -> Any:
        """Return what makes up a value; raises TypeError if that is not all of it."""
        ...

    def made(self, state: Any) -> Any:
        """Return the value; raises TypeError or LookupError for what is no state of one."""
        ...


class ClassNames:
    """Names of classes, ``module:Name``, or ``:Name`` for those of the module `home`.

    Those that occur in the type `kind` are found wherever they were defined, others at the top of
    modules that are loaded, or within classes there.
    """

    __slots__ = ("_declared", "_home", "_names")

    def __init__(self, kind: Any = None, home: str | None = None) -> None:
        self._home = home
        self._names: dict[type, str] = {}
        self._declared = {self._spelled(cls): cls for cls in _classes_in(kind, set())}

    def name_of(self, cls: type) -> str:
        """Return the name by which `class_of` finds a class; raises TypeError if none does."""
        name = self._names.get(cls)
        if name is None:
            name = self._spelled(cls)
            if self.class_of(name) is not cls:
                raise TypeError(f"{cls.__qualname__} is not at the top of the module it is in")
            self._names[cls] = name
        return name

    def class_of(self, name: str) -> type | None:
        """Return the class of a name, or None; imports nothing and runs nothing."""
        if name in self._declared:
            return self._declared[name]
        module, _, path = name.partition(":")
        found: Any = sys.modules.get(module or self._home or "")
        for part in path.split("."):
            if not isinstance(found, types.ModuleType | type):
                return None
            found = vars(found).get(part)
        return found if isinstance(found, type) else None

    def _spelled(self, cls: type) -> str:
        module = "" if cls.__module__ == self._home else cls.__module__
        return f"{module}:{cls.__qualname__}"


def _classes_in(kind: Any, seen: set[Any]) -> Iterator[type]:
    """Yield the classes with records in a type, and in those of their fields."""
    if get_args(kind) or get_origin(kind) is not None:
        for part in (get_origin(kind), *get_args(kind)):
            yield from _classes_in(part, seen)
        return
    if not isinstance(kind, type) or kind in seen:
        return
    seen.add(kind)
    if record_of(kind) is not None:
        yield kind
        for hint in _hints(kind):
            yield from _classes_in(hint, seen)


def _hints(cls: type) -> Iterable[Any]:
    if issubclass(cls, Event):
        return cls.__event_fields__.values()
    if issubclass(cls, pydantic.BaseModel):
        return [field.annotation for field in cls.model_fields.values()]
    try:
        return get_type_hints(cls).values()
    except (NameError, TypeError, AttributeError):  # names that are there for type checkers alone
        return []


@cache
def record_of(cls: type) -> Record | None:
    """Return how values of a class are taken apart, or None if it is none of those kept."""
    if hasattr(cls, "__del__"):
        return None
    if issubclass(cls, enum.Enum):
        return _Members(cls)
    if issubclass(cls, tuple):
        named = cls.__mro__[1:] == (tuple, object) and hasattr(cls, "_fields")
        return _Named(cls) if named else None
    if any(not base.__flags__ & _HEAP_TYPE for base in cls.__mro__[:-1]):
        return None
    if dataclasses.is_dataclass(cls) or issubclass(cls, Event | pydantic.BaseModel):
        return _Attributes(cls)
    return None


class _Members:
    """An Enum: the name of its member; of flags without one, the value."""

    __slots__ = ("_cls",)

    def __init__(self, cls: type[enum.Enum]) -> None:
        self._cls = cls

    def state(self, value: enum.Enum) -> Any:
        return value.name if self._cls.__members__.get(value.name) is value else value.value

    def made(self, state: Any) -> Any:
        if isinstance(state, str):
            return self._cls.__members__[state]
        if not issubclass(self._cls, enum.Flag):
            raise LookupError(f"{state!r} is no member of {self._cls.__qualname__}")
        return self._cls(state)


class _Named:
    """A NamedTuple: its fields by name."""

    __slots__ = ("_cls", "_defaults", "_fields")

    def __init__(self, cls: Any) -> None:
        self._cls = cls
        self._fields: tuple[str, ...] = cls._fields
        self._defaults: Mapping[str, Any] = cls._field_defaults

    def state(self, value: Any) -> dict[str, Any]:
        return dict(zip(self._fields, value, strict=True))

    def made(self, state: dict[str, Any]) -> Any:
        gone = state.keys() - set(self._fields)
        if gone:
            raise LookupError(f"{self._cls.__qualname__} has no {', '.join(sorted(gone))} any more")
        found = {**self._defaults, **state}
        return tuple.__new__(self._cls, [found[name] for name in self._fields])


class _Attributes:
    """A class of attributes: what stands in its slots and in the dict of its instances."""

    __slots__ = ("_cls", "_fields", "_slots")

    def __init__(self, cls: type) -> None:
        self._cls = cls
        if issubclass(cls, Event):
            _ = cls.__event_fields__  # makes its fields known to `dataclasses`
        self._fields: dict[str, Any] = {}
        if dataclasses.is_dataclass(cls):
            self._fields = {field.name: field for field in dataclasses.fields(cls)}
        self._slots: dict[str, Any] = {}
        for base in reversed(cls.__mro__):
            for name, found in vars(base).items():
                if isinstance(found, types.MemberDescriptorType):
                    self._slots[name] = found

    def state(self, value: Any) -> dict[str, Any]:
        found = dict(getattr(value, "__dict__", ()))
        for name, slot in self._slots.items():
            try:
                found[name] = slot.__get__(value)
            except AttributeError:
                continue  # it was never set
        unset = self._fields.keys() - found.keys()
        if unset:
            raise TypeError(f"its field {min(unset)} is not set")
        return found

    def made(self, state: dict[str, Any]) -> Any:
        value: Any = object.__new__(self._cls)
        attributes = getattr(value, "__dict__", None)
        for name, field in self._fields.items():
            if name not in state:
                state[name] = self._default(field)
        for name, part in state.items():
            slot = self._slots.get(name)
            if slot is not None:
                slot.__set__(value, part)
            elif attributes is not None:
                attributes[name] = part
            else:
                raise LookupError(f"{self._cls.__qualname__} has no field {name} any more")
        return value

    def _default(self, field: dataclasses.Field[Any]) -> Any:
        if field.default is not dataclasses.MISSING:
            return field.default
        if field.default_factory is not dataclasses.MISSING:
            return field.default_factory()
        raise LookupError(
            f"{self._cls.__qualname__} has a new field {field.name}; give it a default"
        )
