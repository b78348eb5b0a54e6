"""``GridBaseEnv``: a pandapower net and devices as a Gymnasium environment, as in version 1."""

from __future__ import annotations

import abc
import warnings
from collections import OrderedDict
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiDiscrete, Space
from gymnasium.spaces import Dict as DictSpace

from powergrid.v1.attach import (
    AreaRows,
    Columns,
    SubclassError,
    attach_device_to_net,
    checked_config,
    keep_within_limits,
    total_of,
    two_dicts,
    write_rows,
)
from powergrid.v1.devices import DG, ESS, RES, Device, Grid, Shunt, Switch, Transformer
from powergrid.v1.pandapower_names import name_tap_changers, restore_toolbox_names
from powergrid.v1.power_flow import TablePowerFlow

restore_toolbox_names()

FIXES = {
    "taps": "transformers without tap limits leave the net's own tap alone",
    "stale_results": "a reset forgets the last power flow, so that its observation shows 1 pu, 0 degree and 0 %",
    "area": "an area's name must be the whole prefix of a name",
    "limits": "actions are kept within their ranges, batteries within their energy",
    "time_limit": "an episode ends by truncation, for nothing ends in the grid",
}
"""Defects of v1 that the configuration key ``fix`` corrects."""
SERIES = ("load", "solar", "wind", "price")


class GridBaseEnv(gym.Env, metaclass=abc.ABCMeta):
    """One agent that commands the devices of a pandapower net.

    A subclass writes ``_build_net()``, which sets ``net``, ``area`` (prefix of all names), ``devices`` (ordered name ->
    device) and ``dataset`` (arrays ``load``, ``solar``, ``wind``, ``price``), and ``_reward_and_safety()``, which
    returns two dictionaries. It may replace ``_get_obs()``.

    Parameters
    ----------
    env_config
        ``train`` (True chooses the split ``"train"``, which is also the default, and, only if it is given, random
        days), ``episode_length`` (24 steps), ``base_power`` (divides loads in the observation), ``load_scale``
        (multiplies the load series), ``reward_scale``, ``safety_scale`` (0: no penalty), ``max_penalty`` (0: no cap),
        and two keys that v1 had not: ``power_flow`` (see :class:`~powergrid.v1.power_flow.TablePowerFlow`) and ``fix``
        (names of :data:`FIXES`).

    Raises
    ------
    SubclassError
        If the subclass does not set what it must, no device takes an action, or the configuration is no dictionary.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - Gymnasium's own declaration
    net: Any
    area: Any
    devices: Any
    dataset: Any

    def __init__(self, env_config: dict[str, Any] | None = None):
        super().__init__()
        self.cfg = checked_config(self, env_config, FIXES)
        self.base_power = float(self.cfg.get("base_power", 1.0))
        self.load_scale = float(self.cfg.get("load_scale", 1.0))
        self.train = "train" if self.cfg.get("train", True) else "test"
        self.net = self.area = self.dataset = None
        self.devices = OrderedDict()
        self.episode_length = int(self.cfg.get("episode_length") or 24)
        self.t = 0
        fixes = self.cfg.get("fix", ())
        self._fixes = frozenset([fixes] if isinstance(fixes, str) else fixes)
        self._area_rows = AreaRows(exact="area" in self._fixes)
        self._flow: TablePowerFlow | None = None
        self._warned = False
        self._build_net()
        self._check_build()
        name_tap_changers(self.net)
        self._pp_refs: dict[str, tuple[str, int]] = {}
        for name, dev in self.devices.items():
            dev.reset(rnd=self.np_random)
            self._pp_refs[name] = attach_device_to_net(self.net, self.area, dev)
        self.action_space = self._build_action_space()
        self.observation_space = self._build_obs_space()

    @abc.abstractmethod
    def _build_net(self) -> None:
        """Set ``net``, ``area``, ``devices`` and ``dataset``."""

    @abc.abstractmethod
    def _reward_and_safety(self) -> tuple[dict[str, float], dict[str, float]]:
        """Named rewards and named violations of the step."""

    def _check_build(self) -> None:
        """Raise an error about what the subclass lacks."""
        who = f"{type(self).__name__}._build_net()"
        if self.net is None or not hasattr(self.net, "bus"):
            raise SubclassError(f"{who} must set self.net to a pandapower net; it set {type(self.net).__name__}")
        if not isinstance(self.area, str):
            raise SubclassError(f'{who} must set self.area to the prefix of the names in the net, "" for none')
        if not isinstance(self.devices, dict) or not all(isinstance(dev, Device) for dev in self.devices.values()):
            raise SubclassError(f"{who} must set self.devices to a dict of name -> powergrid.devices object")
        missing = [key for key in SERIES if self.dataset is None or key not in self.dataset]
        if missing:
            raise SubclassError(
                f"{who} must set self.dataset to a dict with the arrays {', '.join(SERIES)}; missing: "
                f"{', '.join(missing)}"
            )
        hours, needed = len(self.dataset["load"]), 2 * self.episode_length if self.cfg.get("train", False) else 1
        if hours < needed:
            drawn = f' for "train" draws an episode of {self.episode_length}, never the last' if needed > 1 else ""
            raise SubclassError(f"{who} set a dataset of {hours} values; it takes at least {needed}{drawn}")

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Start an episode: on a random day where ``train`` is True, else where the last one ended.

        The tables still hold the last power flow, so the observation shows its voltages and loadings.
        """
        super().reset(seed=seed)
        if self.cfg.get("train", False):
            days = self.dataset["load"].size // self.episode_length - 1
            self.t = int(self.np_random.integers(days)) * self.episode_length
        for dev in self.devices.values():
            dev.reset(rnd=self.np_random)
        if "stale_results" in self._fixes:
            self.net["converged"] = False
        self._apply_dataset_scalers()
        return self._get_obs(), {"t": self.t}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Command the devices, solve, compute reward and safety, and observe the data of the next step."""
        self._set_action(action)
        self._push_devices_to_net()
        converged = self._solve_pf()
        self._update_device_cost_safety(converged)
        terms, violations = two_dicts(self)
        reward = total_of(self, terms) * float(self.cfg.get("reward_scale", 1.0))
        penalty = total_of(self, violations) * float(self.cfg.get("safety_scale", 0.0))
        reward -= np.clip(penalty, 0.0, float(self.cfg.get("max_penalty") or 0.0) or None)
        self.t += 1
        self._apply_dataset_scalers()
        info = {"t": self.t, "converged": converged}
        over = self.t % self.episode_length == 0
        ends = (False, over) if "time_limit" in self._fixes else (over, False)
        return self._get_obs(), float(reward), *ends, info

    def _solve_pf(self) -> bool:
        if self._flow is None or self._flow.net is not self.net:
            self._flow = TablePowerFlow(self.net, self.cfg.get("power_flow", "auto"))
        return self._flow.solve()

    def _apply_dataset_scalers(self) -> None:
        """Loads, renewable power and price of index ``t``."""
        load, solar, wind, price = (float(self.dataset[key][self.t]) for key in SERIES)
        rows = self._area_rows(self.net, "load", self.area)
        if len(rows):
            write_rows(self.net["load"], "scaling", rows, load * self.load_scale)
        for dev in self.devices.values():
            if isinstance(dev, RES):
                dev.update_state(scaling=solar if dev.type == "solar" else wind)
            elif isinstance(dev, Grid):
                dev.update_state(price=price)

    def _push_devices_to_net(self) -> None:
        columns = Columns(self.net)
        for name, dev in self.devices.items():
            table, index = self._pp_refs[name]
            dev.update_state()
            state = dev.state
            if isinstance(dev, DG):
                columns.set(table, index, p_mw=state.P, q_mvar=state.Q, in_service=bool(state.on))
            elif isinstance(dev, RES):
                columns.set(table, index, p_mw=state.P, q_mvar=state.Q)
            elif isinstance(dev, ESS):
                columns.set(table, index, p_mw=state.P, q_mvar=state.Q, soc_percent=dev.soc * 100.0)
                columns.set(table, index, in_service=bool(state.on))
            elif isinstance(dev, Shunt):
                columns.set(table, index, step=dev.step)
            elif isinstance(dev, Transformer) and not ("taps" in self._fixes and state.tap_min is None):
                columns.set(table, index, tap_pos=int(state.tap_position or 0))
            elif isinstance(dev, Switch):
                columns.set(table, index, closed=bool(state.closed))
        columns.write()

    def _update_device_cost_safety(self, converged: bool) -> None:
        for name, dev in self.devices.items():
            if isinstance(dev, Transformer):
                loading = self.net["res_trafo"].at[self._pp_refs[name][1], "loading_percent"] if converged else 0.0
                dev.update_cost_safety(loading_percentage=loading)
                continue
            if isinstance(dev, Grid):
                p_mw, q_mvar = self.net["res_ext_grid"].to_numpy()[0]
                dev.update_state(P=p_mw, Q=q_mvar)
            dev.update_cost_safety()

    def _device_action_slices(self) -> tuple[Any, Any, Any, list[tuple[Device, int, int]]]:
        """Lowest and highest continuous values, numbers of choices, and each device's share of both."""
        devices = list(self.devices.values())
        ranges = [dev.action.range for dev in devices if dev.action.dim_c and dev.action.range is not None]
        low, high = np.concatenate(ranges, axis=1).astype(np.float32) if ranges else (None, None)
        choices = [dev.action.ncats for dev in devices for _ in range(dev.action.dim_d)]
        slices = [(dev, dev.action.dim_c, dev.action.dim_d) for dev in devices]
        return low, high, np.array(choices, np.int64) if choices else None, slices

    def _build_action_space(self) -> Space:
        low, high, choices, _ = self._device_action_slices()
        spaces: dict[str, Space] = {}
        if low is not None:
            spaces["continuous"] = Box(low, high, dtype=np.float32)
        if choices is not None:
            spaces["discrete"] = Discrete(int(choices[0])) if len(choices) == 1 else MultiDiscrete(choices)
        if not spaces:
            raise SubclassError(
                f"no device of {type(self).__name__} takes an action; add a DG, an ESS, a Shunt, a Switch or a "
                "Transformer with tap limits to self.devices"
            )
        return next(iter(spaces.values())) if len(spaces) == 1 else DictSpace(spaces)

    def _build_obs_space(self) -> Space:
        return Box(-np.inf, np.inf, shape=self._get_obs().shape, dtype=np.float32)

    def _set_action(self, action: Any) -> None:
        """Split an action among the devices: continuous parts in device order, then discrete ones in device order."""
        continuous: Any = ()
        discrete: Any = ()
        if isinstance(self.action_space, DictSpace):
            if not isinstance(action, dict):
                raise SubclassError(f"{type(self).__name__}.step asks for a dict with continuous and discrete parts")
            continuous, discrete = action.get("continuous", ()), action.get("discrete", ())
        elif isinstance(self.action_space, Box):
            continuous = action
        else:
            discrete = action
        c, d = self._numbers(continuous, np.float32), self._numbers(discrete, np.int32)
        self._check_size(c.size, d.size)
        for dev in self.devices.values():
            n_c, n_d = dev.action.dim_c, dev.action.dim_d
            dev.action.c[:], c = c[:n_c], c[n_c:]
            dev.action.d[:], d = d[:n_d], d[n_d:]
            if "limits" in self._fixes:
                keep_within_limits(dev)

    def _numbers(self, part: Any, dtype: Any) -> np.ndarray:
        """A part of an action as a flat array; NaN and infinity are accepted as in v1, with one warning."""
        try:
            if part is None:
                raise TypeError("NumPy takes None for NaN")
            found = np.asarray(part, dtype).ravel()
        except (TypeError, ValueError, OverflowError) as error:
            raise SubclassError(
                f"{type(self).__name__}.step: {part!r} is no array of numbers; env.action_space is {self.action_space}"
            ) from error
        if not self._warned and not np.isfinite(found).all():
            self._warned = True
            warnings.warn(
                f"{type(self).__name__}.step: the action {part} is not finite; as in version 1 the power flow does not "
                "converge, and states of charge stay undefined until the next reset",
                stacklevel=4,
            )
        return found

    def _check_size(self, n_continuous: int, n_discrete: int) -> None:
        """Raise an error about the numbers that an action lacks; as in v1, surplus numbers have no effect."""
        parts = {"continuous": (n_continuous, "dim_c"), "discrete": (n_discrete, "dim_d")}
        for part, (given, length) in parts.items():
            needed = sum(getattr(dev.action, length) for dev in self.devices.values())
            if given < needed:
                wanted = [f"{name} ({n})" for name, dev in self.devices.items() if (n := getattr(dev.action, length))]
                raise SubclassError(
                    f"{type(self).__name__}.step: the action has {given} {part} numbers where {', '.join(wanted)} need "
                    f"{needed}; env.action_space is {self.action_space}"
                )

    def _get_obs(self) -> np.ndarray:
        """Device vectors, all voltages [pu] and angles [degree], loads [MW, Mvar] / base_power, line loadings [1]."""
        net = self.net
        if net["converged"] and len(net["res_bus"]):
            vm, va = net["res_bus"]["vm_pu"].to_numpy(), net["res_bus"]["va_degree"].to_numpy()
            loading = net["res_line"]["loading_percent"].to_numpy().astype(np.float32)
        else:
            vm, va = np.ones(len(net["bus"])), np.zeros(len(net["bus"]))
            loading = np.zeros(len(net["line"]), np.float32)
        load = net["load"]
        drawn = np.stack([load["p_mw"].to_numpy(float), load["q_mvar"].to_numpy(float)], axis=1)
        drawn = (drawn * load["scaling"].to_numpy(float)[:, None]).ravel() / self.base_power
        vectors = [dev.state.as_vector() for dev in self.devices.values()]
        return np.concatenate([*vectors, vm, va, drawn, loading / 100.0]).astype(np.float32)
