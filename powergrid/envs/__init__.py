"""Environments: adaptors between a world and the interfaces of learning libraries."""

from typing import Any

from powergrid.envs.factory import make, make_functional, make_vec

__all__ = ["SemiMarkovEnv", "make", "make_functional", "make_vec"]


def __getattr__(name: str) -> Any:
    if name == "SemiMarkovEnv":  # loads PettingZoo
        from powergrid.envs.multi_agent.semi_markov_env import SemiMarkovEnv

        return SemiMarkovEnv
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
