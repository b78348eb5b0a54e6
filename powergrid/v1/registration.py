"""Gymnasium ids of the single-agent environments, registered once both packages are imported, in any order.

``...-v1`` are the environments of version 1; ``...-v2`` the same tasks on corrected feeders, without v1's defects.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

IDS = {
    "powergrid/IEEE13-v1": "powergrid.v1.single_agent.ieee13_mg:IEEE13Env",
    "powergrid/IEEE34-v1": "powergrid.v1.single_agent.ieee34_mg:IEEE34Env",
    "powergrid/CIGREMV-v1": "powergrid.v1.single_agent.cigre_mv:CIGREMVEnv",
    "powergrid/IEEE13-v2": "powergrid.v1.single_agent.corrected:CorrectedIEEE13Env",
    "powergrid/IEEE34-v2": "powergrid.v1.single_agent.corrected:CorrectedIEEE34Env",
    "powergrid/CIGREMV-v2": "powergrid.v1.single_agent.corrected:CorrectedCIGREMVEnv",
}
_OWN_IDS = "gymnasium.envs"
"""The module that registers Gymnasium's own environments."""


def register_envs() -> None:
    """Register the ids that are not registered yet."""
    from gymnasium.envs.registration import register, registry

    for name, entry_point in IDS.items():
        if name not in registry:
            register(name, entry_point=entry_point, kwargs={"env_config": {"train": True}})


class _Watch(MetaPathFinder):
    """Registers the ids when Gymnasium is imported, so that ``import powergrid`` need not import it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Spec of ``gymnasium.envs``, whose loader also registers ours; None for every other module."""
        if fullname != _OWN_IDS:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def load_and_register(module: ModuleType) -> None:
            load(module)
            register_envs()

        spec.loader.exec_module = load_and_register  # type: ignore[method-assign]
        return spec


def install() -> None:
    """Register now if Gymnasium is imported, else when it is imported."""
    if _OWN_IDS in sys.modules:
        register_envs()
    elif not any(isinstance(finder, _Watch) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Watch())
