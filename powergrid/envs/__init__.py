"""Environments: adaptors between a world and the interfaces of learning libraries."""

from importlib import import_module
from typing import Any

from powergrid.envs.factory import make, make_functional, make_vec

_HOME = {  # these load PettingZoo
    "HierarchicalGridEnv": "hierarchical",
    "MultiAgentPowerGridEnv": "multi_agent.pettingzoo_env",
    "PowerGridEnv": "multi_agent.pettingzoo_env",
    "SemiMarkovEnv": "multi_agent.semi_markov_env",
    "SixValueEnv": "single_agent.six_value_env",
}
__all__ = [
    "HierarchicalGridEnv",
    "MultiAgentPowerGridEnv",
    "PowerGridEnv",
    "SemiMarkovEnv",
    "SixValueEnv",
    "make",
    "make_functional",
    "make_vec",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
