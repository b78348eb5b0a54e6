"""The same environment with agents that act in turn: PettingZoo's AEC form, with states to continue from."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

from pettingzoo.utils.conversions import parallel_to_aec_wrapper
from pettingzoo.utils.wrappers import OrderEnforcingWrapper

from powergrid.core.errors import ArgumentError
from powergrid.envs.multi_agent.pettingzoo_env import MultiAgentPowerGridEnv
from powergrid.worlds.snapshot import Snapshot


class AecSnapshot(NamedTuple):
    """State of an AEC environment: that of the parallel environment, and the agent that acts next.

    Attributes
    ----------
    parallel
        State of the parallel environment.
    turn
        Attributes of PettingZoo's conversion: actions collected so far, the agent to act, rewards, infos.
    """

    parallel: Snapshot
    turn: dict[str, Any]


class AecPowerGridEnv(OrderEnforcingWrapper):
    """A parallel environment whose agents act one after the other; all actions take effect with the last one.

    Parameters
    ----------
    env
        The parallel environment.
    """

    def __init__(self, env: MultiAgentPowerGridEnv):
        super().__init__(parallel_to_aec_wrapper(env))
        self._parallel = env
        self._fixed = frozenset(vars(self.env))  # attributes that the conversion sets at a reset are those that change

    def last(self, observe: bool = True) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Observation, reward, ends and info of the agent whose turn it is.

        Raises
        ------
        ArgumentError
            If Tianshou's ``PettingZooEnv`` calls, which passes itself as `observe`, and several agents learn.
        """
        if type(observe).__name__ == "PettingZooEnv" and len(self.possible_agents) > 1:
            raise ArgumentError(
                "Tianshou pays each turn what the environment pays in it, and here a tick pays all agents with the "
                "turn of the last one: the policies of the others would learn from zeros. Use "
                "powergrid.integrations.tianshou.make, whose agents share one policy, or skrl, BenchMARL or TorchRL "
                "for a policy per agent"
            )
        found: tuple[Any, float, bool, bool, dict[str, Any]] = super().last(bool(observe))
        return found

    def get_state(self) -> AecSnapshot:
        """Return the running episode as a value; see :meth:`MultiAgentPowerGridEnv.get_state`."""
        turn = {name: value for name, value in vars(self.env).items() if name not in self._fixed}
        return AecSnapshot(self._parallel.get_state(), copy.deepcopy(turn))

    def set_state(self, state: AecSnapshot) -> None:
        """Continue from a state of this environment or of another one of the same configuration.

        Raises
        ------
        ArgumentError
            If `state` is no state of an AEC environment, or belongs to another configuration.
        """
        if not isinstance(state, AecSnapshot):
            kind = type(state).__name__
            raise ArgumentError(f"{kind} is no state of an AEC environment; pass what its get_state() has returned")
        self._parallel.set_state(state.parallel)
        for name in set(vars(self.env)) - self._fixed:
            delattr(self.env, name)
        self.env.__dict__.update(copy.deepcopy(state.turn))
        self._has_reset = self._has_updated = bool(state.turn)
