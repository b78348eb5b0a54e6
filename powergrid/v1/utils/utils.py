"""v1's ``powergrid.utils.utils``: the action wrapper and the attach rules."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from gymnasium.spaces import Dict as DictSpace

from powergrid.v1.attach import SubclassError, attach_device_to_net, pp_get_idx_safe

__all__ = ["NormalizeActionWrapper", "attach_device_to_net", "pp_get_idx_safe"]


class NormalizeActionWrapper(gym.Wrapper):
    """Continuous actions in [-1, 1], mapped by ``low + (x + 1) / 2 (high - low)``; discrete ones pass.

    Parameters
    ----------
    env
        An environment whose action space is a Box, or a Dict with a Box called ``"continuous"``.

    Raises
    ------
    TypeError
        If it has another action space.
    """

    def __init__(self, env: gym.Env):
        super().__init__(env)
        space = env.action_space
        box = space.spaces.get("continuous") if isinstance(space, DictSpace) else space
        if not isinstance(box, Box):
            raise TypeError(
                f"NormalizeActionWrapper needs a Box, or a Dict with a Box called 'continuous', not {space}; an "
                "environment with discrete actions only needs no wrapper"
            )
        self._low, self._high = box.low, box.high
        unit = Box(-1.0, 1.0, shape=box.shape, dtype=np.float32)
        self.action_space = DictSpace({**space.spaces, "continuous": unit}) if isinstance(space, DictSpace) else unit

    def step(self, action: Any) -> Any:
        """Scale the continuous part and step."""
        if isinstance(self.action_space, DictSpace):
            return self.env.step({**action, "continuous": self._scaled(action["continuous"])})
        return self.env.step(self._scaled(action))

    def _scaled(self, x: Any) -> np.ndarray:
        share = 0.5 * (np.asarray(x, np.float32) + 1.0)
        if share.ndim and share.shape[-1] not in (1, self._low.size):
            raise SubclassError(
                f"the continuous part of an action has {share.shape[-1]} numbers, {self.env} asks for {self._low.size}"
            )
        return np.asarray(self._low + share * (self._high - self._low))
