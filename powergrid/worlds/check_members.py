"""What only an assembled world shows: whether the members of protocols and of policies that plan fit them."""

from __future__ import annotations

import warnings

import numpy as np

from powergrid.config.resolve import ResolvedConfig
from powergrid.core import random
from powergrid.worlds.build import build
from powergrid.worlds.simulation import Simulation


def check_members(resolved: ResolvedConfig) -> None:
    """Assemble the world, and start the policies that decide in Python.

    Raises
    ------
    ConfigError
        If a protocol refuses its members.
    AgentError
        If a policy that decides in Python has nothing to decide.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they appear when the environment is made
        world = build(resolved)
        if world.layout.python_agents:
            Simulation(world).reset(random.key_from_seed(np, np.array(0)), np.array(0, np.int32))
