"""Events: slotted classes whose fields are columns.

    class Reading(Event):
        at: EventTime
        store: Site
        celsius: float = Field(ge=-90)

Constructing one checks no values (0.06 µs); `pydantic.TypeAdapter(Reading)` checks everything.
Events are values: they compare and hash by their fields, and assigning to a field raises.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import keyword
import re
import sys
import types
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Self,
    TypeAlias,
    dataclass_transform,
    get_origin,
    get_type_hints,
)

from pydantic import Field, TypeAdapter
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from ..ext import install_constructor, install_replace
from .errors import SchemaError
from .marks import EventTimeMark, SiteMark, Unit, Width, Zone, marked
from .memo import once_per_class
from .validation import checked_type

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

__all__ = [
    "Event",
    "EventMeta",
    "EventTime",
    "Field",
    "Site",
    "Unit",
    "Width",
    "Zone",
    "adapter_of",
]

EventTime: TypeAlias = Annotated[datetime, EventTimeMark()]
"""The time of an event: an aware datetime, kept as µs UTC."""

Site: TypeAlias = Annotated[str, SiteMark()]
"""The name of the site an event belongs to."""

_RESERVED = frozenset({"json_schema", "replace"})
_CLASS_VARIABLE = re.compile(r"\s*(\w+\s*\.\s*)?ClassVar\b")


class _Missing:
    def __repr__(self) -> str:
        return "<made anew>"


_MISSING = _Missing()


def _own_annotations(owner: str, namespace: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, annotation in namespace.get("__annotations__", {}).items():
        if isinstance(annotation, str):
            class_variable = _CLASS_VARIABLE.match(annotation) is not None
        else:
            class_variable = "ClassVar" in str(get_origin(annotation) or annotation)
        if class_variable:
            continue
        if name in _RESERVED or name.startswith("_"):
            raise SchemaError(f"{owner}.{name}: an event field cannot have this name; rename it")
        if not name.isidentifier() or keyword.iskeyword(name):
            raise SchemaError(f"{owner}.{name}: a field's name is a Python identifier; rename it")
        found[name] = annotation
    return found


def _check_default(owner: str, name: str, default: object) -> None:
    if isinstance(default, dataclasses.Field):
        raise SchemaError(f"{owner}.{name}: use hw.Field(...), not dataclasses.field(...)")
    if isinstance(default, FieldInfo):
        alias = default.alias or name
        if not alias.isidentifier() or keyword.iskeyword(alias) or alias.startswith("_"):
            raise SchemaError(
                f"{owner}.{name}: alias {alias!r} cannot name a parameter; use validation_alias="
            )
        if default.default_factory_takes_validated_data:
            raise SchemaError(f"{owner}.{name}: a default_factory takes no argument")
        default = None if default.default is PydanticUndefined else default.default
    if type(default).__hash__ is None:
        kind = type(default).__name__
        raise SchemaError(
            f"{owner}.{name}: a {kind} as default would be shared by all events; "
            f"write hw.Field(default_factory=...)"
        )


def _check_body(owner: str, namespace: Mapping[str, Any]) -> None:
    for name in ("__init__", "__new__", "__post_init__", "__slots__"):
        if name in namespace:
            raise SchemaError(
                f"{owner} defines {name}, which Headwater generates; "
                f"put checks into a pydantic.field_validator"
            )


def _parameter(name: str, default: object) -> str:
    """What `__init__` calls a field: its `alias`, as type checkers understand the word."""
    return default.alias or name if isinstance(default, FieldInfo) else name


def _signature(name: str, scope: dict[str, Any], declared: object) -> tuple[str, str]:
    """The parameter of a field in the generated `__init__`, and the value it stores."""
    given = _parameter(name, declared)
    default, factory = _default(declared)
    if factory is not None:
        scope[f"_make_{name}"] = factory
        return f"{given}=_missing", f"_make_{name}() if {given} is _missing else {given}"
    if default is PydanticUndefined:
        return given, given
    scope[f"_default_{name}"] = default
    return f"{given}=_default_{name}", given


def _default(declared: object) -> tuple[Any, Any]:
    """The default of a field, PydanticUndefined if it has none, and the factory of one, or None."""
    default, factory = declared, None
    if isinstance(declared, FieldInfo):
        default, factory = declared.default, declared.default_factory
    return PydanticUndefined if default is Ellipsis else default, factory


def _speed_construction(cls: EventMeta) -> None:
    """Let calls of `cls` do what its `__init__` does without running it, where that can be."""
    declared = {n: cls.__event_defaults__.get(n, PydanticUndefined) for n in cls.__event_names__}
    found = {name: _default(one) for name, one in declared.items()}
    install_constructor(
        cls,
        {name: _parameter(name, one) for name, one in declared.items()},
        {name: value for name, (value, _) in found.items() if value is not PydanticUndefined},
        {name: factory for name, (_, factory) in found.items() if factory is not None},
    )


def _write_methods(cls: EventMeta) -> None:
    """Give `cls` an `__init__`, `__eq__` and `__hash__` written out for its fields."""
    scope: dict[str, Any] = {"_missing": _MISSING}
    parameters, stores = [], []
    names, defaults = cls.__event_names__, cls.__event_defaults__
    for name in names:
        scope[f"_set_{name}"] = inspect.getattr_static(cls, name).__set__
        parameter, value = _signature(name, scope, defaults.get(name, PydanticUndefined))
        parameters.append(parameter)
        stores.append(f"    _set_{name}(_self, {value})")
    keywords = f", *, {', '.join(parameters)}" if names else ""
    same = " and ".join(f"_self.{name} == _other.{name}" for name in names) or "True"
    values = "".join(f"_self.{name}, " for name in names)
    source = "\n".join(
        [
            f"def __init__(_self{keywords}):",
            *(stores or ["    pass"]),
            "def __eq__(_self, _other):",
            "    if _other.__class__ is not _self.__class__:",
            "        return NotImplemented",
            f"    return {same}",
            "def __hash__(_self):",
            f"    return hash(({values}))",
        ]
    )
    exec(source, scope)
    for method in ("__init__", "__eq__", "__hash__"):
        if method not in cls.__dict__:
            function = scope[method]
            function.__qualname__ = f"{cls.__qualname__}.{method}"
            function.__module__ = cls.__module__
            type.__setattr__(cls, method, function)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(Field,))
class EventMeta(type):
    """Makes an event class of a class body. Raises SchemaError for a body that cannot be one."""

    __event_own__: dict[str, Any]
    __event_names__: tuple[str, ...]
    __event_defaults__: dict[str, Any]
    __event_frame__: types.FrameType | None
    __event_validated__: bool
    __event_memo__: dict[Any, Any]

    def __new__(
        mcls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any
    ) -> EventMeta:
        """Generate slots and methods; annotations that do not resolve yet are resolved later."""
        if any(isinstance(base, EventMeta) for base in bases):
            _check_body(name, namespace)
        own = _own_annotations(name, namespace)
        defaults = {key: namespace.pop(key) for key in own if key in namespace}
        for key, default in defaults.items():
            _check_default(name, key, default)
        inherited = {key for base in bases for key in getattr(base, "__event_names__", ())}
        namespace["__slots__"] = tuple(key for key in own if key not in inherited)
        cls = super().__new__(mcls, name, bases, namespace, **options)
        names: dict[str, None] = {}
        merged: dict[str, Any] = {}
        for base in _events_above(cls):
            names.update(dict.fromkeys(base.__event_own__))
            merged = {k: v for k, v in merged.items() if k not in base.__event_own__}
            merged |= {k: v for k, v in base.__event_defaults__.items() if k in base.__event_own__}
        cls.__event_own__ = own
        cls.__event_names__ = tuple(names | dict.fromkeys(own))
        cls.__event_defaults__ = {k: v for k, v in merged.items() if k not in own} | defaults
        cls.__event_frame__ = sys._getframe(1)
        cls.__event_validated__ = _has_validators(cls)
        cls.__event_memo__ = {}
        _write_methods(cls)
        _speed_construction(cls)
        with contextlib.suppress(_Unresolved):
            _resolve(cls)
        return cls

    @property
    def __event_fields__(cls) -> Mapping[str, Any]:
        """Each field's annotation, resolved. Raises SchemaError for a name that is not there."""
        return _resolve(cls)


def _has_validators(cls: type) -> bool:
    """Whether pydantic checks more than the fields' types: validators, or a configuration."""
    return hasattr(cls, "__pydantic_config__") or any(
        hasattr(value, "decorator_info") for base in cls.__mro__ for value in vars(base).values()
    )


def _events_above(cls: type) -> list[EventMeta]:
    """The event classes above `cls`, the most distant first."""
    return [base for base in reversed(cls.__mro__[1:]) if isinstance(base, EventMeta)]


class _Unresolved(SchemaError):
    """A name in an annotation that does not exist, or does not exist yet."""


def _scope(frame: types.FrameType | None) -> dict[str, Any]:
    """The names seen from a class body: its function's, and those of class bodies around it."""
    chain: list[Mapping[str, Any]] = []
    while frame is not None and frame.f_code.co_name != "<module>":
        chain.append(frame.f_locals)
        if frame.f_code.co_flags & inspect.CO_OPTIMIZED:
            break
        frame = frame.f_back
    found: dict[str, Any] = {}
    for names in reversed(chain):
        found.update(names)
    return found


def _evaluate(cls: type, name: str, annotation: object, scope: dict[str, Any]) -> Any:
    module = sys.modules.get(cls.__module__)
    holder = types.SimpleNamespace(__annotations__={name: annotation})
    names = {**scope, cls.__name__: cls}
    try:
        hints = get_type_hints(holder, vars(module) if module else {}, names, include_extras=True)
    except NameError as error:
        raise _Unresolved(
            f"{cls.__name__}.{name}: the name '{error.name}' in its annotation is not defined "
            f"where the class is written; import or define it there. If it is imported under "
            f"`if TYPE_CHECKING:`, move the import out of it (ruff keeps it out with "
            f'lint.flake8-type-checking.runtime-evaluated-base-classes = ["headwater.Event"])'
        ) from None
    except (SyntaxError, TypeError, AttributeError) as error:
        raise SchemaError(
            f"{cls.__name__}.{name}: {annotation!r} is not a usable annotation ({error}); "
            f"write a type such as `float` or `str | None`"
        ) from error
    return hints[name]


def _check_marks(cls: type, resolved: Mapping[str, Any]) -> None:
    marks = ((EventTimeMark, "EventTime", "datetime"), (SiteMark, "Site", "str"))
    for mark, spelled, plain in marks:
        names = [name for name, annotation in resolved.items() if marked(annotation, mark)]
        if len(names) > 1:
            raise SchemaError(
                f"{cls.__name__} has {len(names)} fields of type {spelled}: "
                f"{' and '.join(names)}; keep one, and give the other the type {plain}"
            )
        for name in names:
            hint = resolved[name]
            if get_origin(hint) is not Annotated or get_origin(hint.__origin__) is not None:
                raise SchemaError(
                    f"{cls.__name__}.{name}: {spelled} cannot be optional; every event has one"
                )


def _resolve(cls: EventMeta) -> dict[str, Any]:
    known: dict[str, Any] | None = cls.__event_memo__.get("fields")
    if known is not None:
        return known
    resolved: dict[str, Any] = {}
    for base in _events_above(cls):
        above = _resolve(base)
        resolved.update({name: above[name] for name in base.__event_own__})
    scope = _scope(cls.__event_frame__)
    for name, annotation in cls.__event_own__.items():
        hint = _evaluate(cls, name, annotation, scope)
        for note in getattr(hint, "__metadata__", ()):
            if isinstance(note, FieldInfo) and not note.is_required():
                raise SchemaError(
                    f"{cls.__name__}.{name}: give the default by assignment, "
                    f"`{name}: ... = hw.Field(default=...)`, not inside Annotated"
                )
        resolved[name] = hint
    _check_marks(cls, resolved)
    cls.__event_memo__["fields"], cls.__event_frame__ = resolved, None
    type.__setattr__(cls, "__dataclass_fields__", _dataclass_fields(cls, resolved))
    return resolved


def _dataclass_fields(cls: EventMeta, resolved: Mapping[str, Any]) -> dict[str, Any]:
    """Standard dataclass fields, by which pydantic and `dataclasses.asdict` know the class."""
    fields = []
    for name, annotation in resolved.items():
        default = cls.__event_defaults__.get(name, PydanticUndefined)
        factory: Any = dataclasses.MISSING
        hint = checked_type(annotation)
        if isinstance(default, FieldInfo):
            hint = Annotated[hint, default]
            factory = default.default_factory or factory
            default = default.default
        if default is PydanticUndefined or default is Ellipsis:
            default = dataclasses.MISSING
        field: Any = dataclasses.field(default=default, kw_only=True)
        field.default_factory = factory
        fields.append((name, hint, field))
    twin = dataclasses.make_dataclass(cls.__name__, fields, init=False, repr=False, eq=False)
    found: dict[str, Any] = vars(twin)["__dataclass_fields__"]
    return found


class Event(metaclass=EventMeta):
    """The class that events derive from; its annotated fields are the columns of a stream."""

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed. Raises TypeError for a name that is no field."""
        values = {name: getattr(self, name) for name in type(self).__event_names__}
        for name in changes.keys() - values.keys():
            raise TypeError(f"{type(self).__name__}.replace() got an unexpected field '{name}'")
        copy: Self = _restore(type(self), values | changes)
        return copy

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """The JSON schema of this event, as pydantic writes it."""
        return adapter_of(cls).json_schema()

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in type(self).__event_names__)
        return f"{type(self).__qualname__}({values})"

    def __setattr__(self, name: str, value: object) -> None:
        kind = type(self).__name__
        if name not in type(self).__event_names__:
            raise AttributeError(f"{kind} has no field '{name}'")
        raise AttributeError(f"{kind} is a value; make a changed copy with .replace({name}=...)")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is a value; its fields cannot be deleted")

    def __reduce__(self) -> tuple[Callable[..., Self], tuple[type[Self], dict[str, Any]]]:
        return _restore, (
            type(self),
            {name: getattr(self, name) for name in type(self).__event_names__},
        )

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        _resolve(cls)
        return handler(source)


install_replace(Event)


def _restore(cls: type[Event], values: dict[str, Any]) -> Any:
    defaults = cls.__event_defaults__
    return cls(**{_parameter(name, defaults.get(name)): value for name, value in values.items()})


@once_per_class
def adapter_of(cls: type[Event]) -> TypeAdapter[Any]:
    """The pydantic adapter that checks values of this event, made once."""
    return TypeAdapter(cls)
