"""PowerGrid: multi-agent reinforcement learning on real power systems.

Public names are imported when first asked for, so that ``import powergrid`` stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "make": "powergrid.envs",
    "make_vec": "powergrid.envs",
    "make_functional": "powergrid.envs",
    "SemiMarkovEnv": "powergrid.envs",
    "train": "powergrid.learn.train",
    "evaluate": "powergrid.learn.evaluate",
    "load_policy": "powergrid.learn.trained_policy",
    "SafePolicy": "powergrid.learn.deciders",
    "network": "powergrid.networks",
    "Network": "powergrid.networks",
    "rainflow": "powergrid.core.cycles",
    "load_config": "powergrid.config",
    "json_schema": "powergrid.config",
    "load_plugins": "powergrid.plugins",
    "register_device": "powergrid.plugins",
    "register_network": "powergrid.plugins",
    "register_dataset": "powergrid.plugins",
    "register_policy": "powergrid.plugins",
    "register_protocol": "powergrid.plugins",
    "register_algorithm": "powergrid.plugins",
    "register_benchmark": "powergrid.plugins",
    "PowerGridError": "powergrid.core.errors",
    "ConfigError": "powergrid.core.errors",
}
# Programs written for version 1 keep their names and import paths, and Gymnasium gets the ids of its environments.
_HOME |= import_module("powergrid.v1.aliases").install()
import_module("powergrid.envs.registry").install()  # ids of the presets for Gymnasium and PettingZoo
__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("powergrid-marl")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
