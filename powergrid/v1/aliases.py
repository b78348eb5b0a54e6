"""The import paths of version 1: ``import powergrid.utils.utils`` and the like load the modules of :mod:`powergrid.v1`.

``powergrid`` puts one finder before the others. The finder serves the names below and nothing else, costs one look-up
in a dictionary, and imports nothing before a program of version 1 does. Modules of version 2 that have the path of a
module of version 1 get its names by a module ``__getattr__``.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from powergrid.v1 import registration

MODULES = {
    "core.actions": "actions",
    "core.state": "state",
    "devices.base": "devices.base",
    "devices.compensation": "devices.compensation",
    "devices.grid": "devices.grid",
    "devices.transformer": "devices.transformer",
    "utils": "utils",
    "utils.cost": "utils.cost",
    "utils.safety": "utils.safety",
    "utils.utils": "utils.utils",
    "networks.lines": "networks.lines",
    "networks.ieee13": "networks.ieee13",
    "networks.ieee34": "networks.ieee34",
    "networks.ieee123": "networks.ieee123",
    "networks.cigre_lv": "networks.cigre_lv",
    "networks.case34_3ph": "networks.case34_3ph",
    "networks.case_lvmg": "networks.case_lvmg",
    "networks.imped2seq": "networks.imped2seq",
    "envs.single_agent.ieee13_mg": "single_agent.ieee13_mg",
    "envs.single_agent.ieee34_mg": "single_agent.ieee34_mg",
    "envs.single_agent.cigre_mv": "single_agent.cigre_mv",
    "envs.single_agent.ieee13_env": "single_agent.ieee13_mg",
    "envs.multiagent": "multiagent",
    "envs.multiagent.base": "multiagent.base",
    "envs.multiagent.ieee34_ieee13": "multiagent.ieee34_ieee13",
}
"""Module of version 1 below ``powergrid`` -> module below ``powergrid.v1``."""

SHARED = {
    "devices": ("DG", "RES", "ESS", "Shunt", "Transformer", "Grid", "Switch", "Device"),
    "devices.generator": ("DG", "RES"),
    "devices.storage": ("ESS",),
}
"""Module below ``powergrid`` that version 2 has too -> its names of version 1, which ``powergrid.v1`` keeps under the
same path."""

TOP_NAMES = ("DG", "RES", "ESS", "Shunt", "Transformer", "Grid", "Action", "DeviceState")
"""Names of version 1 in ``powergrid`` itself."""


class _AliasLoader(Loader):
    """Loads a module under another name."""

    def __init__(self, target: str):
        self.target = target
        self.own_spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self.target)
        self.own_spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has just replaced it by the alias's; reloading and pickling need its own.
        module.__spec__ = self.own_spec


class AliasFinder(MetaPathFinder):
    """Finds the modules of version 1 under their old paths, and adds its names to modules of version 2."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Spec of a module of version 1 or of a shared module, ``None`` for every other."""
        package, _, name = fullname.partition(".")
        if package == "powergrid" and name in SHARED:
            return _with_names(PathFinder.find_spec(fullname, path, target), name)
        new = MODULES.get(name) if package == "powergrid" else None
        if new is None:
            return None
        return ModuleSpec(fullname, _AliasLoader(f"powergrid.v1.{new}"))


def _with_names(spec: ModuleSpec | None, name: str) -> ModuleSpec | None:
    """The spec of a module of version 2, whose loader adds the names of version 1 to it."""
    if spec is None or spec.loader is None:
        return spec
    load = spec.loader.exec_module

    def load_and_add(module: ModuleType) -> None:
        load(module)
        own = getattr(module, "__getattr__", None)

        def version_1(attribute: str) -> Any:
            if attribute in SHARED[name]:
                return getattr(importlib.import_module(f"powergrid.v1.{name}"), attribute)
            if own is not None:
                return own(attribute)
            raise AttributeError(f"module {module.__name__!r} has no attribute {attribute!r}")

        vars(module)["__getattr__"] = version_1
        if hasattr(module, "__path__"):  # of the package, programs of version 1 import *
            vars(module)["__all__"] = list(SHARED[name])

    spec.loader.exec_module = load_and_add  # type: ignore[method-assign]
    return spec


def install() -> dict[str, str]:
    """Put the finder first, once, and register the environments of version 1 with Gymnasium.

    Returns
    -------
    dict[str, str]
        Names of version 1 in ``powergrid`` itself -> the module that has them.
    """
    if not any(isinstance(finder, AliasFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, AliasFinder())
    registration.install()
    return dict.fromkeys(TOP_NAMES, "powergrid.v1.devices")
