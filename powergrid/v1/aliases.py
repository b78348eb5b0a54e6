"""The old import paths: ``import powergrid.utils.utils`` and the like find the modules of :mod:`powergrid.v1`.

``powergrid`` puts one finder before the others. It answers for the names below and nothing else, costs a dictionary
look-up, and imports nothing until a v1 program asks.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

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
"""Old module below ``powergrid`` -> module below ``powergrid.v1``."""


class _AliasLoader(Loader):
    """Hands over a module that bears another name."""

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
    """Finds the modules of v1 under their old names."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Spec of an old name, None for every other."""
        package, _, name = fullname.partition(".")
        new = MODULES.get(name) if package == "powergrid" else None
        if new is None:
            return None
        return ModuleSpec(fullname, _AliasLoader(f"powergrid.v1.{new}"))


def install() -> None:
    """Put the finder first, once."""
    if not any(isinstance(finder, AliasFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, AliasFinder())
