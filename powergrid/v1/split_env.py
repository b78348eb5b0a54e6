"""A v1 environment with several agents: the net, devices and reward of the old one, shared among them."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete, MultiDiscrete, Space
from gymnasium.spaces import Dict as DictSpace
from pettingzoo import ParallelEnv

from powergrid.core.errors import ConfigError, Issue, nearest
from powergrid.v1.attach import keep_within_limits, total_of, two_dicts
from powergrid.v1.devices import Device
from powergrid.v1.grid_base_env import GridBaseEnv


class SplitGridEnv(ParallelEnv):
    """A :class:`~powergrid.v1.grid_base_env.GridBaseEnv` whose devices several agents control.

    Physics and reward are the old environment's; what version 2 does otherwise is done here too: actions are kept
    within their ranges and batteries within their energy, an episode ends by truncation, every reset forgets the last
    power flow. A reset with a seed draws the day and the states of charge that the old environment draws. An agent
    sees its own devices, the voltages at their buses [pu], the price [100 $/MWh] and the hour as sine and cosine.

    Rewards of agents add up to v1's: each gets its own devices' terms and an equal share of all others, and bears the
    penalty in proportion to its share of the violations.

    Parameters
    ----------
    env
        The environment; a copy of it is used.
    split
        Devices of each agent.
    """

    metadata: dict[str, Any] = {"name": "v1_split", "render_modes": [], "is_parallelizable": True}  # noqa: RUF012
    render_mode = None

    def __init__(self, env: GridBaseEnv, split: Mapping[str, Sequence[str]]):
        self.env = copy.deepcopy(env)
        self.split = {agent: tuple(names) for agent, names in split.items()}
        self.possible_agents = list(self.split)
        self.agents: list[str] = []
        self._spaces = {agent: _space(self._devices(agent)) for agent in self.split}
        self._buses = {agent: self._own_buses(agent) for agent in self.split}
        self._ended = 0
        self.env.reset(seed=0)
        self._views = {
            agent: Box(-np.inf, np.inf, shape=self._view(agent).shape, dtype=np.float32) for agent in self.split
        }

    def _devices(self, agent: str) -> list[Device]:
        return [self.env.devices[name] for name in self.split[agent]]

    def _own_buses(self, agent: str) -> list[int]:
        """Places of the agent's buses in the bus table, each once."""
        found = []
        for name in self.split[agent]:
            table, index = self.env._pp_refs[name]
            frame = self.env.net[table]
            column = next((c for c in ("bus", "lv_bus") if c in frame.columns), None)
            if column is not None:
                found.append(int(self.env.net.bus.index.get_loc(frame.at[index, column])))
        return list(dict.fromkeys(found))

    def observation_space(self, agent: str) -> Space:
        """Observation space of an agent."""
        return self._views[agent]

    def action_space(self, agent: str) -> Space:
        """Action space of an agent, in physical units, in the order of its devices."""
        return self._spaces[agent]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        """Start an episode: on a random day where ``train`` is True, else on the next, with a seed on the first.

        ``options["t"]`` names an hour of the data instead.
        """
        env = self.env
        if seed is not None or env.t + env.episode_length >= env.dataset["load"].size:
            env.t = 0
        env.reset(seed=seed)
        if options is not None and "t" in options:
            env.t = int(options["t"])
        env.net["converged"] = False
        env._apply_dataset_scalers()
        self._ended = env.t + env.episode_length
        self.agents = list(self.possible_agents)
        return {agent: self._view(agent) for agent in self.agents}, {agent: {"t": env.t} for agent in self.agents}

    def step(self, actions: dict[str, Any]) -> tuple[dict, dict, dict, dict, dict]:
        """Command the devices, solve once, and share reward and safety among the agents."""
        env, agents = self.env, self.agents
        for agent in agents:
            self._command(agent, actions[agent])
        env._push_devices_to_net()
        converged = env._solve_pf()
        env._update_device_cost_safety(converged)
        terms, violations = two_dicts(env)
        rewards = self._rewards(terms, violations)
        costs = self._shares({name: float(dev.cost) for name, dev in env.devices.items()})
        env.t += 1
        env._apply_dataset_scalers()
        done = env.t >= self._ended
        infos = {agent: {"t": env.t, "converged": converged, "cost": costs[agent]} for agent in agents}
        views = {agent: self._view(agent) for agent in agents}
        self.agents = [] if done else agents
        over = dict.fromkeys(agents, False), dict.fromkeys(agents, done)
        return views, {agent: rewards[agent] for agent in agents}, *over, infos

    def _command(self, agent: str, action: Any) -> None:
        """Command each device within its range, and batteries within the power that their charge allows."""
        space = self._spaces[agent]
        continuous: Any = action["continuous"] if isinstance(space, DictSpace) else action
        discrete: Any = action["discrete"] if isinstance(space, DictSpace) else action
        c = np.asarray(continuous, np.float32).ravel() if not isinstance(space, Discrete | MultiDiscrete) else None
        d = np.asarray(discrete, np.int32).ravel() if not isinstance(space, Box) else None
        for dev in self._devices(agent):
            if c is not None and dev.action.range is not None:
                n = dev.action.dim_c
                dev.action.c[:], c = c[:n], c[n:]
            if d is not None and dev.action.dim_d:
                dev.action.d[:], d = d[: dev.action.dim_d], d[dev.action.dim_d :]
            keep_within_limits(dev)

    def _rewards(self, terms: dict[str, float], violations: dict[str, float]) -> dict[str, float]:
        cfg = self.env.cfg
        total = total_of(self.env, violations)
        cap = float(cfg.get("max_penalty") or 0.0) or None
        penalty = float(np.clip(total * float(cfg.get("safety_scale", 0.0)), 0.0, cap))
        part = penalty / total if total else 0.0
        own, wrong = self._shares(terms), self._shares(violations)
        scale = float(cfg.get("reward_scale", 1.0))
        return {agent: scale * own[agent] - part * wrong[agent] for agent in self.split}

    def _shares(self, values: dict[str, float]) -> dict[str, float]:
        """Sum of each agent's own values and an equal share of values that belong to no agent."""
        mine = {name for names in self.split.values() for name in names}
        rest = sum(value for name, value in values.items() if name not in mine) / len(self.split)
        return {
            agent: float(rest + sum(values.get(name, 0.0) for name in names)) for agent, names in self.split.items()
        }

    def _view(self, agent: str) -> np.ndarray:
        env, buses = self.env, self._buses[agent]
        seen = env.net["converged"] and len(env.net["res_bus"])
        vm = env.net["res_bus"]["vm_pu"].to_numpy()[buses] if seen else np.ones(len(buses))
        vectors = [dev.state.as_vector() for dev in self._devices(agent)]
        hour = 2 * np.pi * (env.t % 24) / 24
        common = [float(env.dataset["price"][env.t]) / 100.0, np.sin(hour), np.cos(hour)]
        return np.concatenate([*vectors, np.nan_to_num(vm), common]).astype(np.float32)


def _space(devices: list[Device]) -> Space:
    ranges = [dev.action.range for dev in devices if dev.action.dim_c and dev.action.range is not None]
    choices = [dev.action.ncats for dev in devices for _ in range(dev.action.dim_d)]
    spaces: dict[str, Space] = {}
    if ranges:
        low, high = np.concatenate(ranges, axis=1)
        spaces["continuous"] = Box(low, high, dtype=np.float32)
    if choices:
        spaces["discrete"] = MultiDiscrete(choices) if len(choices) > 1 else Discrete(choices[0])
    return next(iter(spaces.values())) if len(spaces) == 1 else DictSpace(spaces)


def to_multi_agent(old_env: Any, split_by: str | Mapping[str, Sequence[str]] = "device") -> SplitGridEnv:
    """Assign the devices of a v1 environment to several agents.

    Parameters
    ----------
    old_env
        A :class:`~powergrid.base_env.GridBaseEnv`, wrapped or not; it is copied, not changed.
    split_by
        ``"device"``: one agent for each device that takes an action, under its name. ``"area"``: one agent for each
        area, that is the word before the bus's own name, such as ``"MG1"``. Or a dictionary of agents with the names
        of their devices; every device with an action belongs to exactly one.

    Returns
    -------
    SplitGridEnv
        A PettingZoo parallel environment. Where no limit is hit, equal actions give the costs of the old environment.

    Raises
    ------
    ConfigError
        If a device is unknown, without an action, missing or given twice; names all such faults.
    """
    env = getattr(old_env, "unwrapped", old_env)
    if not isinstance(env, GridBaseEnv):
        found = type(env).__name__
        raise ConfigError([Issue("old_env", f"is a {found}", "give an instance of powergrid.base_env.GridBaseEnv")])
    acting = [name for name, dev in env.devices.items() if dev.action.dim_c or dev.action.dim_d]
    if isinstance(split_by, Mapping):
        split = {str(agent): list(names) for agent, names in split_by.items()}
    elif split_by == "device":
        split = {name: [name] for name in acting}
    elif split_by == "area":
        split = {}
        for name in acting:
            split.setdefault(_area(env, name), []).append(name)
    else:
        hint = f'{nearest(str(split_by), ("device", "area"))} allowed: "device", "area", or {{agent: [devices]}}'
        raise ConfigError([Issue("split_by", f'"{split_by}" is no way to split', hint)])
    issues = _split_faults(split, acting, list(env.devices))
    if issues:
        raise ConfigError(issues)
    return SplitGridEnv(env, split)


def _area(env: GridBaseEnv, name: str) -> str:
    """The area of a device's bus: the first word of its name where there are more, else the environment's own."""
    table, index = env._pp_refs[name]
    frame = env.net[table]
    if "bus" in frame.columns:
        first, _, rest = str(env.net.bus["name"].loc[frame.at[index, "bus"]]).partition(" Bus ")
        if rest:
            return first
    return env.area or "grid"


def _split_faults(split: Mapping[str, Sequence[str]], acting: list[str], known: list[str]) -> list[Issue]:
    issues, given = [], [name for names in split.values() for name in names]
    for agent, names in split.items():
        for name in names:
            if name not in known:
                issues.append(Issue(f"split_by[{agent!r}]", f'no device is called "{name}"', nearest(name, known)))
            elif name not in acting:
                hint = f"leave it out; its cost is shared equally. Devices with an action: {', '.join(acting)}"
                issues.append(Issue(f"split_by[{agent!r}]", f'"{name}" takes no action', hint))
        if not names:
            issues.append(Issue(f"split_by[{agent!r}]", "has no device", "give it one or leave it out"))
    for name in acting:
        count = given.count(name)
        if count != 1:
            hint = "every device with an action belongs to exactly one agent"
            issues.append(Issue("split_by", f'"{name}" is given {count} times', hint))
    return issues
