"""The read-only part of an environment: spaces, labels, accounts, the central state and a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from pettingzoo import ParallelEnv

from powergrid.agents.base import Agent
from powergrid.core.errors import nearest
from powergrid.engine.state import Output
from powergrid.envs.labelled import LabelledEnv
from powergrid.worlds.simulation import Simulation
from powergrid.worlds.world import World


class InspectableEnv(LabelledEnv, ParallelEnv):
    """The part of :class:`~powergrid.envs.multi_agent.pettingzoo_env.MultiAgentPowerGridEnv` that only reads."""

    world: World
    observation_spaces: dict[str, Box]
    action_spaces: dict[str, Box]
    state_space: Box
    constraint_names: tuple[str, ...]
    money_names: tuple[str, ...]
    render_mode: str | None
    _output: Output | None
    _simulation: Simulation
    _first_central: np.ndarray
    """Central state where there is no output: after a reset."""

    def observation_space(self, agent: str) -> Box:
        """Observation space of one agent, the same object at each call."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Box:
        """Action space of one agent, the same object at each call."""
        return self.action_spaces[agent]

    def agent(self, id: str) -> Agent:
        """Return the object of an agent: a device, a coordinator or an operator.

        Raises
        ------
        KeyError
            If no agent has this id.
        """
        for agent in self.world.agents:
            if agent.id == id:
                return agent
        raise KeyError(f'no agent "{id}"; {nearest(id, [agent.id for agent in self.world.agents])}')

    def state(self) -> np.ndarray:
        """State for a central critic: everything that any agent observes, once; float32."""
        central = self._first_central if self._output is None else self._output.central
        return self._shapes.state(central)

    def named(self, info: Mapping[str, Any]) -> dict[str, Any]:
        """Return an agent's info with names in place of the columns of ``costs`` and ``money``."""
        return {
            **info,
            "costs": dict(zip(self.constraint_names, np.asarray(info["costs"]).tolist(), strict=True)),
            "money": dict(zip(self.money_names, np.asarray(info["money"]).tolist(), strict=True)),
        }

    @property
    def objectives(self) -> dict[str, tuple[str, ...]]:
        """Accounts whose money and violations the reward of each agent sums: its own, but for what `objective` says."""
        return {id: whose for id, whose in self.world.layout.objectives.items() if id in self.world.layout.actors}

    @property
    def accounts(self) -> dict[str, dict[str, Any]]:
        """Money and priced violations of each account in the last step [$], by name; ``{}`` after a reset.

        Besides the agents there are accounts that no agent owns: devices and coordinators with local policies, and the
        utility where no agent acts. The sum over all accounts is the whole cost of the step. Where the configuration
        has a section ``carbon``, `carbon_kg` are marginal emissions.
        """
        if self._output is None:
            return {}
        rows = zip(self.world.layout.accounts, self._output.money, self._output.costs, strict=True)
        found = {account: self.named({"money": money, "costs": costs}) for account, money, costs in rows}
        carbon_kg = self.carbon_of_tick()
        if carbon_kg is not None:
            for account, kg in zip(found, carbon_kg.tolist(), strict=True):
                found[account]["carbon_kg"] = kg
        return found

    def carbon_of_tick(self) -> np.ndarray | None:
        """Marginal emissions of the last step by account [kg], ``(accounts,)``; ``None`` where they are not counted."""
        return self._carbon_later()()

    def _carbon_later(self) -> Callable[[], np.ndarray | None]:
        raise NotImplementedError

    @property
    def cost_limits(self) -> np.ndarray:
        """Limit of each constraint over an episode and all agents [$]; 0, no violation at all, where none is given.

        A limit of ``voltage`` holds for ``voltage`` and ``shared_voltage`` together, and stands in both places.
        """
        return self.world.limit_row.copy()

    @property
    def output(self) -> Output | None:
        """Full output of the last step, ``None`` after a reset; see :class:`powergrid.engine.state.Output`."""
        return self._output

    def global_state(self) -> dict[str, float]:
        """Value by label of everything that any agent observes."""
        view = self.world.layout.view
        labels = (view.entries[i][1].label(view.entries[i][0]) for i in view.central)
        central = self._first_central if self._output is None else self._output.central
        found = dict(zip(labels, self._shapes.clipped(central).tolist(), strict=True))
        in_python = self._simulation.python_agents
        return found if in_python is None else {**in_python.last_seen(), **found}

    def render(self) -> np.ndarray | None:
        """Picture of the feeder coloured by voltage, ``(height, width, 3)`` uint8, for render mode ``"rgb_array"``.

        ``None`` otherwise: with ``"human"`` each reset and each step prints one line.
        """
        if self.render_mode != "rgb_array":
            return None
        from powergrid.studies.drawing import picture

        flow = None if self._output is None else self._output.flow
        return picture(self.world.network, None if flow is None else flow.v_pu, None if flow is None else flow.loading)
