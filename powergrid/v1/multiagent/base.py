"""``GridEnv``, one microgrid, and ``NetworkedGridEnv``, several of them in one net."""

from __future__ import annotations

import sys
import warnings
from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete, MultiDiscrete, Space
from gymnasium.spaces import Dict as DictSpace
from gymnasium.spaces.utils import flatten, flatten_space
from gymnasium.utils import seeding
from pettingzoo import ParallelEnv

from powergrid.v1.attach import AreaRows, Columns, SubclassError, checked_config, two_dicts, write_rows
from powergrid.v1.devices import RES, Device
from powergrid.v1.pandapower_names import name_tap_changers, restore_toolbox_names
from powergrid.v1.power_flow import TablePowerFlow

restore_toolbox_names()


class GridEnv:
    """One agent: a net, its devices, its data.

    Parameters
    ----------
    net
        Named pandapower net; all its elements bear the name as prefix.
    **kwargs
        ``base_power`` (1, divides loads in the observation), ``load_scale`` (1, multiplies the load series),
        ``discrete_action`` (False) with ``discrete_action_cats`` (points of each continuous axis).
    """

    def __init__(self, net: Any, **kwargs: Any):
        self.net = net
        name_tap_changers(net)
        self.name = net.name
        self.kwargs = kwargs
        self.sgen: dict[str, Any] = {}
        self.storage: dict[str, Any] = {}
        self.base_power = kwargs.get("base_power", 1)
        self.load_scale = kwargs.get("load_scale", 1)
        self.cost = self.safety = 0.0
        self.dataset: dict[str, np.ndarray] = {}
        self._rows = AreaRows()
        self._index: dict[str, tuple[int, int]] = {}
        self.load_rescaling(net, self.load_scale)

    def add_dataset(self, dataset: dict[str, np.ndarray]) -> None:
        """Use these series: ``load``, ``solar``, ``wind``, ``price``."""
        self.dataset = dataset

    def add_to(self, ext_net: Any, bus_name: str) -> Any:
        """Merge into another net at its bus `bus_name`, which disappears: the own external grid's bus takes its place.

        Returns
        -------
        pandapowerNet
            The merged net.
        """
        from pandapower.toolbox import fuse_buses, get_element_index, merge_nets

        self.net.ext_grid["in_service"] = False
        net, moved = merge_nets(ext_net, self.net, validate=False, return_net2_reindex_lookup=True)
        own = moved["bus"][self.net.ext_grid["bus"].to_numpy()[0]]
        fuse_buses(net, own, get_element_index(net, "bus", bus_name))
        return net

    def add_sgen(self, sgens: Any) -> None:
        """Add generators, each as a static generator ``"<name> <device>"`` at the bus ``"<name> <bus>"``."""
        import pandapower as pp

        for dev in sgens if isinstance(sgens, Iterable) else [sgens]:
            pp.create_sgen(self.net, self._bus(dev), p_mw=dev.state.P, **self._element(dev, len(self.sgen)))
            self.sgen[dev.name] = dev

    def add_storage(self, storages: Any) -> None:
        """Add batteries, in the same way."""
        import pandapower as pp

        for dev in storages if isinstance(storages, Iterable) else [storages]:
            energy = {"max_e_mwh": dev.max_e_mwh, "min_e_mwh": dev.min_e_mwh, "soc_percent": dev.state.soc}
            element = self._element(dev, len(self.storage))
            pp.create_storage(self.net, self._bus(dev), p_mw=dev.state.P, **energy, **element)
            self.storage[dev.name] = dev

    def _element(self, dev: Any, index: int) -> dict[str, Any]:
        limits = ("sn_mva", "max_p_mw", "min_p_mw", "max_q_mvar", "min_q_mvar")
        return {"name": f"{self.name} {dev.name}", "index": index, **{key: getattr(dev, key) for key in limits}}

    def _bus(self, dev: Any) -> int:
        names = self.net.bus["name"]
        found = self.net.bus.index[(names == f"{self.name} {dev.bus}").to_numpy(bool)]
        if not len(found):
            raise SubclassError(f'device "{dev.name}": the net has no bus "{self.name} {dev.bus}"')
        return int(found[0])

    def load_rescaling(self, net: Any, scale: float) -> None:
        """Multiply the scaling of the own loads."""
        rows = self._rows(net, "load", self.name)
        write_rows(net["load"], "scaling", rows, net["load"]["scaling"].loc[rows].to_numpy() * scale)

    @property
    def devices(self) -> list[Device]:
        """Batteries, then generators: the order of actions and observations."""
        return [*self.storage.values(), *self.sgen.values()]

    def step(self, net: Any, action: Any, t: int) -> None:
        """Take an action and the data of index `t`."""
        self._set_action(action)
        self._update_state(net, t)

    def reset(self, net: Any, t: int) -> None:
        """Draw the states of charge from NumPy's global generator, then repeat the last action with the data of `t`."""
        for ess in self.storage.values():
            ess.reset()
        self._update_state(net, t)

    def _update_state(self, net: Any, t: int) -> None:
        rows = self._rows(net, "load", self.name)
        write_rows(net["load"], "scaling", rows, float(self.dataset["load"][t]) * self.load_scale)
        columns = Columns(net)
        for name, ess in self.storage.items():
            ess.update_state()
            state = ess.state
            values = {"p_mw": state.P, "q_mvar": state.Q, "soc_percent": state.soc, "in_service": bool(state.on)}
            columns.set("storage", self._element_row(net, "storage", name), **values)
        for name, dg in self.sgen.items():
            if isinstance(dg, RES):
                dg.update_state(scaling=float(self.dataset["solar" if dg.type == "solar" else "wind"][t]))
            else:
                dg.update_state()
            values = {"p_mw": dg.state.P, "q_mvar": dg.state.Q, "in_service": bool(dg.state.on)}
            columns.set("sgen", self._element_row(net, "sgen", name), **values)
        columns.write()

    def _element_row(self, net: Any, table: str, device: str) -> int:
        """Row of a device's element; merging nets moves rows."""
        key = f"{table} {device}"
        held = self._index.get(key)
        if held is None or held[0] != id(net):
            from pandapower.toolbox import get_element_index

            held = id(net), int(get_element_index(net, table, f"{self.name} {device}"))
            self._index[key] = held
        return held[1]

    def _update_cost_safety(self, net: Any) -> None:
        """Sum the devices' costs and safeties; add the violations at the own buses and lines."""
        self.cost = self.safety = 0.0
        for dev in self.devices:
            dev.update_cost_safety()
            self.cost += dev.cost
            self.safety += dev.safety
        if net["converged"]:
            vm = net["res_bus"]["vm_pu"].to_numpy()[self._rows.places(net, "bus", self.name)]
            loading = net["res_line"]["loading_percent"].to_numpy()[self._rows.places(net, "line", self.name)]
            overloading = np.maximum(loading - 100.0, 0.0).sum() * 0.01
            voltage = np.maximum(vm - 1.05, 0.0).sum() + np.maximum(0.95 - vm, 0.0).sum()
            self.safety += float(overloading + voltage)

    def _get_obs(self, net: Any) -> np.ndarray:
        """Device vectors and what the own loads drew [MW, Mvar] / base_power."""
        drawn = net["res_load"].to_numpy()[self._rows.places(net, "load", self.name)].ravel() / self.base_power
        return np.concatenate([*(dev.state.as_vector() for dev in self.devices), drawn]).astype(np.float32)

    def _set_action(self, action: Any) -> None:
        """Give every device its share of a flat vector or, where both parts meet, of the Dict."""
        cats = int(self.kwargs.get("discrete_action_cats") or 0)
        mixed = isinstance(action, dict)
        first = np.asarray(action["continuous"] if mixed else action)
        second = np.atleast_1d(action["discrete"]) if mixed else None
        for dev in self.devices:
            n = dev.action.c.size
            if n and self.kwargs.get("discrete_action"):
                low, high = dev.action.range  # type: ignore[misc]  # a continuous action has a range
                points = np.linspace(low, high, cats)
                dev.action.c[:] = points[np.asarray(first[:n], int), np.arange(n)]
            else:
                dev.action.c[:] = first[:n]
            first, n = first[n:], dev.action.d.size
            if second is None:
                dev.action.d[:], first = first[:n], first[n:]
            else:
                dev.action.d[:], second = second[:n], second[n:]

    def _get_action_space(self) -> dict[str, Space]:
        """Action space of each device that has one; a Dict where it has both parts."""
        spaces: dict[str, Space] = {}
        cats = int(self.kwargs.get("discrete_action_cats") or 0)
        for dev in self.devices:
            own: dict[str, Space] = {}
            if dev.action.c.size and dev.action.range is not None:
                low, high = dev.action.range
                if not self.kwargs.get("discrete_action"):
                    own["continuous"] = Box(low, high, dtype=np.float32)
                else:
                    own["continuous"] = Discrete(cats) if low.size == 1 else MultiDiscrete([cats] * low.size)
            if dev.action.d.size:
                own["discrete"] = Discrete(dev.action.ncats)
            if own:
                spaces[dev.name] = next(iter(own.values())) if len(own) == 1 else DictSpace(own)
        return spaces

    def _combined_action_space(self) -> Space:
        """One flat space; where continuous and discrete parts meet, a Dict of both (v1 failed there)."""
        boxes: list[Box] = []
        choices: list[int] = []
        for found in self._get_action_space().values():
            for space in found.values() if isinstance(found, DictSpace) else (found,):
                if isinstance(space, Box):
                    boxes.append(space)
                elif isinstance(space, Discrete):
                    choices.append(int(space.n))
                elif isinstance(space, MultiDiscrete):
                    choices += [int(n) for n in space.nvec]
        if not boxes:
            return MultiDiscrete(choices) if choices else Discrete(1)
        low, high = (np.concatenate([getattr(box, end) for box in boxes]) for end in ("low", "high"))
        box = Box(low, high, dtype=np.float32)
        return DictSpace({"continuous": box, "discrete": MultiDiscrete(choices)}) if choices else box

    def _get_observation_space(self, net: Any) -> Box:
        return Box(-np.inf, np.inf, shape=self._get_obs(net).shape, dtype=np.float32)


class NetworkedGridEnv(ParallelEnv):
    """Several microgrids in one net, one power flow a step, as a PettingZoo parallel environment.

    A subclass writes ``_build_net()``, which sets ``net`` and ``possible_agents`` (name -> :class:`GridEnv`), and
    ``_reward_and_safety()``; after the constructor it sets ``max_episode_steps``, ``data_size`` and ``total_days``.

    Parameters
    ----------
    env_config
        ``train`` (True: every reset draws a day), ``penalty``, ``share_reward``, ``share_policy``, ``seed``, and
        ``power_flow`` as for :class:`~powergrid.v1.grid_base_env.GridBaseEnv`; ``type`` is not used.

    Warns
    -----
    DeprecationWarning
        Always: :func:`powergrid.make` builds the environments of version 2.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - PettingZoo's own declaration
    net: Any
    possible_agents: Any
    max_episode_steps: int = 24
    data_size: int
    total_days: int

    def __init__(self, env_config: dict[str, Any] | None = None):
        _warn_deprecated(type(self).__name__)
        self.env_config = checked_config(self, env_config)
        self.train = self.env_config.get("train", True)
        self.type = self.env_config.get("type", "AC")
        self.np_random, _ = seeding.np_random(self.env_config.get("seed"))
        self._flow: TablePowerFlow | None = None
        self._build_net()
        self.agent_envs = self.possible_agent_envs = self._built_agents()
        self.possible_agents = list(self.agent_envs)
        self.agents: list[str] = list(self.possible_agents)
        self._init_space()

    @abstractmethod
    def _build_net(self) -> None:
        """Set ``net`` and ``possible_agents``."""

    def _built_agents(self) -> dict[str, GridEnv]:
        """What ``_build_net`` set; some programs set ``agents`` alone."""
        found = getattr(self, "possible_agents", None) or getattr(self, "agents", None)
        if not isinstance(found, dict) or getattr(self, "net", None) is None:
            raise SubclassError(
                f"{type(self).__name__}._build_net() must set self.net to a pandapower net and self.possible_agents to "
                "a dict of name -> GridEnv"
            )
        return found

    @abstractmethod
    def _reward_and_safety(self) -> tuple[dict[str, float], dict[str, float]]:
        """Reward and safety of each agent."""

    @property
    def actionable_agents(self) -> dict[str, GridEnv]:
        """Agents with something to command."""
        return {
            name: agent
            for name, agent in self.agent_envs.items()
            if any(dev.action.c.size or dev.action.d.size for dev in agent.devices)
        }

    def observation_space(self, agent: str) -> Space:
        """Observation space of an agent."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Space:
        """Action space of an agent."""
        return self.action_spaces[agent]

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[dict, dict]:
        """Draw a day and reset the agents where ``train`` is set; else go on, counting days only."""
        if seed is not None:
            self.np_random, _ = seeding.np_random(seed)
        self.agents = list(self.possible_agents)
        if self.train:
            self._day = int(self.np_random.integers(self.total_days - 1)) if self.total_days > 1 else 0
            self._t = self._day * self.max_episode_steps
            for agent in self.agent_envs.values():
                agent.reset(self.net, self._t)
        elif hasattr(self, "_t"):
            self._day += 1
        else:
            self._t = self._day = 0
        converged = self._solve_pf()
        return self._get_obs(self.agents), {name: {"converged": converged} for name in self.agents}

    def step(self, action_n: dict[str, Any]) -> tuple[dict, dict, dict, dict, dict]:
        """Command all agents, solve once, settle."""
        alive = list(self.agents)
        commanded = self.actionable_agents
        for name, action in action_n.items():
            if name in commanded:
                own = action[name] if self.env_config.get("share_policy") else action
                commanded[name].step(self.net, own, self._t)
        converged = self._solve_pf()
        for agent in self.agent_envs.values():
            agent._update_cost_safety(self.net)
        rewards, safety = two_dicts(self)
        if self.env_config.get("share_reward"):
            shared = float(np.mean(list(rewards.values()))) if rewards else 0.0
            rewards = dict.fromkeys(self.agent_envs, shared)
        self._t = self._t + 1 if self._t < self.data_size else 0
        done = self._t % self.max_episode_steps == 0
        infos = {name: {"safety": safety.get(name, 0.0), "converged": converged} for name in alive}
        self.agents = [] if done else alive
        return self._get_obs(alive), rewards, dict.fromkeys(alive, done), dict.fromkeys(alive, done), infos

    def _solve_pf(self) -> bool:
        if self._flow is None or self._flow.net is not self.net:
            self._flow = TablePowerFlow(self.net, self.env_config.get("power_flow", "auto"))
        return self._flow.solve()

    def _get_obs(self, agents: list[str]) -> dict[str, np.ndarray]:
        found = {name: self.agent_envs[name]._get_obs(self.net) for name in agents}
        if not self.env_config.get("share_policy"):
            return found
        shared = {}
        for agent in agents:
            masked = {name: obs if name == agent else np.zeros_like(obs) for name, obs in found.items()}
            shared[agent] = np.asarray(flatten(self._shared_ob_space, masked), np.float32)
        return shared

    def _init_space(self) -> None:
        """Spaces of the agents; with ``share_policy`` all have the spaces of all."""
        actions = {name: agent._combined_action_space() for name, agent in self.agent_envs.items()}
        observations: dict[str, Space] = {
            name: agent._get_observation_space(self.net) for name, agent in self.agent_envs.items()
        }
        if self.env_config.get("share_policy"):
            self._shared_ob_space = DictSpace(observations)
            flat = flatten_space(self._shared_ob_space)
            everything = DictSpace(actions)
            actions = dict.fromkeys(self.agent_envs, everything)
            observations = {name: Box(-np.inf, np.inf, flat.shape, np.float32) for name in self.agent_envs}
        self.action_spaces = actions
        self.observation_spaces = observations


def _warn_deprecated(name: str) -> None:
    """Point at the first caller outside the package, however many subclasses lie between."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("powergrid."):
        frame, level = frame.f_back, level + 1
    warnings.warn(
        f"{name} is a NetworkedGridEnv of version 1; use powergrid.make(...), which builds "
        'powergrid.envs.multi_agent.MultiAgentPowerGridEnv from a preset or YAML file ("p2p_microgrids" has three '
        "microgrids on a feeder)",
        DeprecationWarning,
        stacklevel=level,
    )
