"""Flow files: loads a flow from ``path/to/flow.py``, ``flow.py:attribute`` or ``module:attribute``.

A file is loaded as a module under a name that its path alone decides, so that a worker process
that loads it again finds the parent's classes under the same name. Its folder comes first on
`sys.path`, as with ``python flow.py``.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Final

from ..flows.errors import HeadwaterError
from ..flows.flow import Flow
from .shadowing import shadowed
from .traces import FlowFileError, shown, told

__all__ = ["FlowFileError", "flows_of", "forget", "load_flow", "module_of"]

_LOADED_FROM: Final = "__headwater_version__"


@dataclass(frozen=True, slots=True)
class _Reference:
    """Where a flow is: a file or a module, and the attribute if one is named."""

    where: str
    attribute: str | None
    is_file: bool


def load_flow(reference: str) -> Flow:
    """Return the flow that a reference names.

    Raises `FlowFileError` if there is no such file, it fails when it is run, or it does not
    define exactly one flow and the reference does not say which.
    """
    parsed = _parsed(reference)
    found = flows_of(reference)
    if parsed.attribute is not None:
        if parsed.attribute in found:
            return found[parsed.attribute]
        known = f"; it has {', '.join(found)}" if found else ", nor any other"
        raise FlowFileError(f"{parsed.where}: has no flow called {parsed.attribute!r}{known}")
    if not found:
        raise FlowFileError(
            f"{parsed.where}: defines no flow; write flow = hw.Flow('name') and decorate functions"
        )
    different = {id(flow) for flow in found.values()}
    if len(different) > 1:
        names = list(found)
        raise FlowFileError(
            f"{parsed.where}: has {len(different)} flows, {', '.join(names)}; say which: "
            f"{parsed.where}:{names[0]}"
        )
    return next(iter(found.values()))


def flows_of(reference: str) -> dict[str, Flow]:
    """Return every flow of a file or module, by the name it is bound to; raises `FlowFileError`."""
    parsed = _parsed(reference)
    module = module_of(Path(parsed.where)) if parsed.is_file else _imported(parsed.where)
    return {name: value for name, value in vars(module).items() if isinstance(value, Flow)}


def forget(reference: str) -> None:
    """Have a flow loaded anew the next time, as in a new process, with the modules beside it.

    What is installed stays as it is.
    """
    parsed = _parsed(reference)
    folder = Path(parsed.where).absolute().parent if parsed.is_file else Path.cwd()
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None) or ""
        installed = "site-packages" in file or file.startswith(sys.base_prefix)
        ours = name.partition(".")[0] in ("headwater", "__main__")
        if file and not installed and not ours and Path(file).absolute().is_relative_to(folder):
            del sys.modules[name]


def module_of(path: Path) -> ModuleType:
    """Run a flow file as a module, once for each version of it; raises `FlowFileError`."""
    path = path.absolute()
    _check_is_file(path)
    hidden = shadowed(path)
    if hidden is not None:
        raise FlowFileError(f"{shown(path)}: {hidden}")
    name = _module_name(path)
    status = path.stat()
    version = (status.st_mtime_ns, status.st_size)
    known = sys.modules.get(name)
    if known is not None and getattr(known, _LOADED_FROM, None) == version:
        return known
    folder = str(path.parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    setattr(module, _LOADED_FROM, version)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # the user's file runs here
        sys.modules.pop(name, None)
        raise told(error, path) from error
    return module


def _module_name(path: Path) -> str:
    stem = "".join(c if c.isalnum() else "_" for c in path.stem)
    return f"headwater_flow_{stem}_{hashlib.sha256(os.fsencode(path)).hexdigest()[:12]}"


def _parsed(reference: str) -> _Reference:
    where, colon, attribute = reference.rpartition(":")
    if not colon or os.sep in attribute:
        where, attribute = reference, ""
    is_file = where.endswith(".py") or os.sep in where or Path(where).exists()
    return _Reference(where, attribute or None, is_file)


def _check_is_file(path: Path) -> None:
    if path.is_dir():
        inside = sorted(path.glob("*.py"))
        hint = f", such as {shown(inside[0])}" if inside else ""
        raise FlowFileError(f"{shown(path)}: is a folder; name the file of the flow{hint}")
    if not path.exists():
        close = path.with_name(f"{path.name}.py")
        hint = f"; did you mean {shown(close)}?" if close.exists() else ""
        raise FlowFileError(f"{shown(path)}: there is no such file{hint}")


def _imported(name: str) -> ModuleType:
    """Import a module as ``python -m`` would find it: from the working directory, then others."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise FlowFileError(
                f"{name}: there is no such module, nor a file {name}.py; give a path such as "
                f"path/to/flow.py, or module:attribute"
            ) from None
        raise told(error, None) from error
    except HeadwaterError as error:
        raise told(error, None) from error
    except (Exception, SystemExit) as error:  # the user's module runs here
        raise told(error, None) from error
