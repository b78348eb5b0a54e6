"""Loading a folder of Python files that register devices, protocols and the like."""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
from collections.abc import Mapping
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from powergrid.core.errors import PowerGridError, nearest
from powergrid.core.files import path_fault
from powergrid.core.registry import FOLDER
from powergrid.plugins.registries import ALL, DATASETS, DEVICES, NETWORKS, POLICIES, PROTOCOLS

_REGISTRIES = (DEVICES, PROTOCOLS, POLICIES, NETWORKS, DATASETS)
_read: dict[str, float] = {}
"""Modification time of each file that has been loaded, by module name."""


class PluginError(PowerGridError):
    """Some files of a plugin folder could not be loaded; the others were.

    Attributes
    ----------
    broken
        What went wrong, by file.
    loaded
        Files that were loaded all the same.
    """

    def __init__(self, broken: Mapping[str, str], loaded: tuple[str, ...] = ()):
        self.broken = dict(broken)
        self.loaded = tuple(loaded)
        lines = [f"{len(self.broken)} plugin file(s) could not be loaded:", *(f"  {k}: {v}" for k, v in broken.items())]
        if loaded:
            lines.append(f"loaded: {', '.join(loaded)}")
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.broken, self.loaded)


def load_plugins(folder: str | os.PathLike[str]) -> tuple[str, ...]:
    """Import every Python file of a folder, so that what it registers can be used by name.

    Files run with the rights of the program, so only the folder given is read, not those below it. Files whose names
    begin with an underscore are left to the others, which reach them by ``from . import _helper``. A file that was
    loaded before is skipped unless it has changed. Names that another folder has registered, too, are this folder's
    from now on.

    Parameters
    ----------
    folder
        Folder with ``.py`` files.

    Returns
    -------
    tuple of str
        The files, sorted.

    Raises
    ------
    PluginError
        If the folder does not exist or some file fails; the others are loaded first.
    """
    if fault := path_fault(os.fspath(folder)):
        raise PluginError({str(folder)[:40]: fault})
    place = Path(folder).expanduser().resolve()
    if not place.is_dir():
        raise PluginError({str(folder): "there is no such folder"})
    for registry in _REGISTRIES:
        registry.names()  # built-ins first: a plugin that takes one of their names is the one at fault
    package = _package(place)
    broken: dict[str, str] = {}
    loaded = []
    for file in sorted(place.glob("*.py")):
        if file.name.startswith("_"):
            continue
        try:
            _load(package, file)
        except (
            Exception,
            SystemExit,
        ) as error:  # a plugin may fail in any way and must not disable the others
            broken[file.name] = _reason(error, file)
        else:
            loaded.append(file.name)
    registered(place)
    if broken:
        raise PluginError(broken, tuple(loaded))
    return tuple(loaded)


def load_object(target: str, folder: str | os.PathLike[str]) -> object:
    """What ``"module:name"`` names: an attribute of a file beside `folder`'s others, or of a module on Python's path.

    Parameters
    ----------
    target
        ``"my_module:MyAgent"`` or ``"agents/my_module.py:MyAgent"``.
    folder
        Folder in which files are looked for first. A file that was loaded before is skipped unless it has changed.

    Raises
    ------
    PluginError
        If there is no such module or attribute, or the module fails.
    """
    module, _, name = target.rpartition(":")
    file = module_file(module, folder)
    try:
        if file is None:
            found = importlib.import_module(module)
        elif not file.is_file():
            raise PluginError({target: f"there is no file {file}"})
        else:
            package = _package(file.parent.resolve())
            _load(package, file.resolve())
            found = sys.modules[f"{package}.{file.stem}"]
    except PluginError:
        raise
    except ModuleNotFoundError as error:
        if file is None and error.name is not None and f"{module}.".startswith(f"{error.name}."):
            place = Path(folder).resolve()
            raise PluginError({target: f'there is no module "{module}" in {place} or on the path'}) from error
        raise PluginError({target: _reason(error, file or Path())}) from error
    except (Exception, SystemExit) as error:  # a stranger's file may fail in any way
        raise PluginError({target: _reason(error, file or Path())}) from error
    if not hasattr(found, name):
        own = [key for key, value in vars(found).items() if getattr(value, "__module__", None) == found.__name__]
        hint = nearest(name, own) or f"it defines: {', '.join(own) or 'nothing'}"
        raise PluginError({target: f'{module} has no "{name}"; {hint}'})
    return getattr(found, name)


def module_file(module: str, folder: str | os.PathLike[str]) -> Path | None:
    """File of a module that stands in a folder, or is named by its path; ``None`` for one on Python's path."""
    if module.endswith(".py") or "/" in module or os.sep in module:
        return Path(folder) / Path(module).expanduser()
    beside = Path(folder, *module.split(".")).with_suffix(".py")
    return beside if beside.is_file() else None


def registered(folder: str | os.PathLike[str]) -> dict[str, tuple[str, ...]]:
    """Names that a loaded folder has registered, by kind; they are this folder's from now on."""
    package = _package(Path(folder).expanduser().resolve())
    found = {registry.kind: registry.renew(package) for registry in ALL}
    return {kind: names for kind, names in found.items() if names}


def _package(folder: Path) -> str:
    """Name of a private package that stands for the folder, so that its files may import each other."""
    name = FOLDER + hashlib.sha256(str(folder).encode()).hexdigest()[:12]
    if name not in sys.modules:
        spec = ModuleSpec(name, None, is_package=True)
        module = ModuleType(name)
        module.__spec__, module.__path__ = spec, [str(folder)]
        sys.modules[name] = module
    importlib.invalidate_caches()
    return name


def _load(package: str, file: Path) -> None:
    name = f"{package}.{file.stem}"
    changed = file.stat().st_mtime
    if name in sys.modules and _read.get(name) == changed:
        return
    spec = spec_from_file_location(name, file)
    assert spec is not None, f"{file} ends with .py"
    assert spec.loader is not None, f"{file} ends with .py"
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    _read[name] = changed


def _reason(error: BaseException, file: Path) -> str:
    """Kind and text of an error, with the line of the file it came from."""
    line = error.lineno if isinstance(error, SyntaxError) else None
    trace = error.__traceback__
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename) == file:
            line = trace.tb_lineno
        trace = trace.tb_next
    return f"{type(error).__name__}: {error}" + (f" (line {line})" if line else "")
