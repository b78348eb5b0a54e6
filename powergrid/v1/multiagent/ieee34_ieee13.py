"""Three microgrids, each a 13-bus feeder, on a 34-bus feeder."""

from __future__ import annotations

from typing import Any

from powergrid.v1.datasets import read_data
from powergrid.v1.devices import DG, ESS
from powergrid.v1.multiagent.base import GridEnv, NetworkedGridEnv
from powergrid.v1.networks.ieee13 import IEEE13Bus
from powergrid.v1.networks.ieee34 import IEEE34Bus

LOAD_SCALE, BASE_POWER = 0.2, 3
MICROGRIDS: dict[str, tuple[str, dict[str, Any]]] = {
    "MG1": ("DSO Bus 822", {"max_p_mw": 0.66, "sn_mva": 1.0, "cost_curve_coefs": [100, 72.4, 0.5011]}),
    "MG2": ("DSO Bus 848", {"max_p_mw": 0.60, "cost_curve_coefs": [100, 51.6, 0.4615]}),
    "MG3": ("DSO Bus 856", {"max_p_mw": 0.50, "cost_curve_coefs": [100, 51.6, 0.4615]}),
}
"""Where each is connected, and its generator."""


class MultiAgentMicrogrids(NetworkedGridEnv):
    """Three microgrids with a battery, a generator, and sun and wind that are generators to be commanded.

    The operator's own loads stand still at a fifth of nominal, for it is no agent. The reward knows no price of energy,
    so the cheapest policy stops all generators.

    Parameters
    ----------
    env_config
        As for :class:`~powergrid.v1.multiagent.base.NetworkedGridEnv`; ``data`` names a v1 data file.
    """

    def __init__(self, env_config: dict[str, Any] | None = None):
        super().__init__(env_config)
        self.max_episode_steps = 24
        self.data_size = self.dso.dataset["price"].size
        self.total_days = self.data_size // self.max_episode_steps

    def _build_net(self) -> None:
        data = read_data("train", "AVA", "NP15", "0096WD_7_N001", source=self.env_config.get("data"))
        self.dso = GridEnv(IEEE34Bus("DSO"), load_scale=LOAD_SCALE, base_power=BASE_POWER)
        self.dso.add_dataset(data)
        net, agents = self.dso.net, {}
        for name, (bus, generator) in MICROGRIDS.items():
            agent = GridEnv(IEEE13Bus(name), load_scale=LOAD_SCALE, base_power=BASE_POWER)
            battery = ESS("ESS1", "Bus 645", -0.5, 0.5, 2.0, max_e_mwh=2.0, min_e_mwh=0.2)
            generators = [
                DG("DG1", "Bus 675", 0.0, **generator),
                DG("PV1", "Bus 652", 0.0, 0.1, type="solar"),
                DG("WT1", "Bus 645", 0.0, 0.1, type="wind"),
            ]
            agent.add_storage(battery)
            agent.add_sgen(generators)
            agent.add_dataset(data)
            net = agent.add_to(net, bus)
            agents[name] = agent
        self.net, self.possible_agents = net, agents
        self._solve_pf()

    def _reward_and_safety(self) -> tuple[dict[str, float], dict[str, float]]:
        """Minus cost, less ``penalty`` times safety; -200 and 20 where the flow did not converge."""
        if self.net["converged"]:
            rewards = {name: -agent.cost for name, agent in self.agent_envs.items()}
            safety = {name: agent.safety for name, agent in self.agent_envs.items()}
        else:
            rewards, safety = dict.fromkeys(self.agent_envs, -200.0), dict.fromkeys(self.agent_envs, 20.0)
        penalty = self.env_config.get("penalty")
        if penalty:
            rewards = {name: reward - safety[name] * penalty for name, reward in rewards.items()}
        return rewards, safety
