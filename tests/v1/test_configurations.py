"""Configurations that no recorded run covers, against a second reckoning in plain pandapower."""

from __future__ import annotations

import copy
from collections import OrderedDict

import numpy as np
import pandapower as pp
import pytest
from gymnasium.spaces import Dict as DictSpace
from gymnasium.spaces import Discrete, MultiDiscrete
from powergrid.envs.multiagent.base import GridEnv
from powergrid.envs.multiagent.ieee34_ieee13 import MultiAgentMicrogrids
from powergrid.envs.single_agent.ieee13_mg import IEEE13Env
from powergrid.networks.ieee13 import IEEE13Bus
from powergrid.utils.utils import NormalizeActionWrapper

from powergrid.devices import DG, ESS

HOURS = 24 * 12


def series(seed):
    rng = np.random.default_rng(seed)

    def draw(low, high):
        return rng.uniform(low, high, HOURS).astype(np.float32)

    return {
        "load": {"AVA": draw(-0.3, 1)},
        "solar": {"NP15": draw(0, 1)},
        "wind": {"NP15": draw(0, 1)},
        "price": {"0096WD_7_N001": draw(-40, 120)},
    }


DATA = {"train": series(1), "test": series(2)}


class Reckoning:
    """``IEEE13Env`` step by step from its description: one runpp, then formulas."""

    def __init__(self, config, soc):
        self.config, self.soc = config, soc
        split = DATA["train" if config.get("train", True) else "test"]
        self.load, self.solar, self.wind, self.price = (next(iter(areas.values())) for areas in split.values())
        self.net = IEEE13Bus("MG1")
        place = {name: index for index, name in self.net.bus["name"].items()}
        for bus in ("675", "611", "652", "645"):
            pp.create_sgen(self.net, place[f"MG1 Bus {bus}"], p_mw=0.0)
        pp.create_storage(self.net, place["MG1 Bus 645"], p_mw=0.0, max_e_mwh=3.0)

    def step(self, action, t):
        """Reward terms, safety terms and reward of the step with the data of index t."""
        charge, p1, q1, p2, q2 = (float(value) for value in action)
        self.soc += (charge * 0.98 if charge >= 0 else charge / 0.98) / 3.0
        net = self.net
        net.load["scaling"] = float(self.load[t]) * self.config.get("load_scale", 1.0)
        net.sgen["p_mw"] = [p1, p2, 0.5 * float(self.solar[t]), 0.5 * float(self.wind[t])]
        net.sgen["q_mvar"] = [q1, q2, 0.0, 0.0]
        net.storage["p_mw"] = charge
        net.trafo["tap_pos"] = 0
        pp.runpp(net, numba=False)
        bought, price = float(net.res_ext_grid.p_mw[0]), float(self.price[t])
        terms = {
            "DG1": -(100 * p1**2 + 51.6 * p1 + 0.4615),
            "DG2": -(100 * p2**2 + 72.4 * p2 + 0.5011),
            "Grid": -bought * price * (1.0 if bought > 0 else 0.9),
        }
        vm, loading = net.res_bus.vm_pu.to_numpy(), net.res_line.loading_percent.to_numpy()
        violations = {
            "ESS1": max(0.0, 0.1 - self.soc, self.soc - 0.9),
            "DG1": rating_and_factor(p1, q1, 0.5),
            "DG2": rating_and_factor(p2, q2, 0.625),
            "overvoltage": np.clip(vm - 1.05, 0, None).sum(),
            "undervoltage": np.clip(0.95 - vm, 0, None).sum(),
            "overloading": np.clip(loading - 100, 0, None).sum() / 100,
        }
        for number, name in enumerate(("Substation", "Transformer 1")):
            violations[name] = max(0.0, net.res_trafo.loading_percent[number] / 100 - 1)
        penalty = max(0.0, self.config.get("safety_scale", 0.0) * sum(violations.values()))
        penalty = min(penalty, self.config.get("max_penalty", 0.0) or np.inf)
        return terms, violations, self.config.get("reward_scale", 1.0) * sum(terms.values()) - penalty

    def observation(self, t):
        """What is seen after a step, with the data of index t already."""
        net, scale = self.net, float(self.load[t]) * self.config.get("load_scale", 1.0)
        drawn = net.load[["p_mw", "q_mvar"]].to_numpy().ravel() * scale / self.config.get("base_power", 1.0)
        devices = [self.soc, 0, 1, 0, 0, 0, 1, 0, 0, 0.5 * self.solar[t], 0.5 * self.wind[t], self.price[t] / 100]
        results = (net.res_bus.vm_pu, net.res_bus.va_degree, drawn, net.res_line.loading_percent / 100)
        return np.concatenate([devices, net.res_trafo.loading_percent / 100, *results])


def rating_and_factor(p_mw, q_mvar, sn_mva):
    s_mva = np.hypot(p_mw, q_mvar)
    return max(0.0, s_mva / sn_mva - 1) + (max(0.0, 0.8 - abs(p_mw) / s_mva) if s_mva > 1e-9 else 0.0)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"train": False},
        {"train": False, "load_scale": 1.8, "safety_scale": 30.0},
        {"train": True, "safety_scale": 1e4, "max_penalty": 5.0, "base_power": 3.0},
        {"train": True, "reward_scale": 0.01, "safety_scale": 2.0, "episode_length": 7},
    ],
)
def test_a_configuration(config):
    env = IEEE13Env({**config, "data": DATA})
    length = config.get("episode_length", 24)
    rng = np.random.default_rng(7)
    for seed in (3, None):
        _, info = env.reset(seed=seed)
        t = info["t"]
        if config.get("train"):
            assert t % length == 0
            assert t // length < HOURS // length - 1  # never the last day
        else:
            assert t == (0 if seed is not None else 9)
        reckoning = Reckoning(config, env.devices["ESS1"].state.soc)
        assert 0.1 <= reckoning.soc <= 0.9
        for _ in range(9):
            action = rng.uniform([-0.8, 0, -0.5, 0, -0.5], [0.8, 0.6, 0.5, 0.6, 0.5]).astype(np.float32)
            obs, reward, terminated, truncated, info = env.step(action)
            terms, violations, wanted = reckoning.step(action, t)
            t += 1
            assert reward == pytest.approx(wanted, rel=1e-8, abs=1e-8)
            assert {name: value for name, value in env.reward.items() if value} == pytest.approx(
                {name: value for name, value in terms.items() if value}, rel=1e-8, abs=1e-8
            )
            assert {name: value for name, value in env.safety.items() if value} == pytest.approx(
                {name: value for name, value in violations.items() if value}, rel=1e-7, abs=1e-9
            )
            np.testing.assert_allclose(obs, reckoning.observation(t), rtol=1e-6, atol=1e-6)
            assert (terminated, truncated, info) == (t % length == 0, False, {"t": t, "converged": True})


def test_a_device_of_each_kind(everything):
    env = everything({})
    assert isinstance(env.action_space, DictSpace)
    assert env.action_space["discrete"] == MultiDiscrete([2, 33, 3])
    np.testing.assert_allclose(env.action_space["continuous"].high, [0.4, 0.3, 0.4, 0.2])
    obs, _ = env.reset(seed=0)
    # Unit: P, Q, off, on, shutting, starting; battery: charge; wind: P alone; tap one-hot and loading; step; price
    assert obs.size == 6 + 1 + 1 + 34 + 3 + 1 + 36 + 36 + 50 + 32
    charge = env.devices["Battery"].state.soc
    obs, reward, *_ = env.step({"continuous": [0.2, -0.2, 0.3, 0.15], "discrete": [0, 20, 2]})
    net = env.net
    assert env.devices["Unit"].state.on == 0
    assert not net.sgen.in_service[0]
    assert env.devices["Unit"].cost == pytest.approx(2.0 * 0.5)
    assert env.devices["Battery"].state.soc == pytest.approx(charge - 0.2 / 0.8 * 0.5)
    assert env.devices["Battery"].cost == pytest.approx(2.0 * 0.5)  # on the line from (-0.3, 3) to (0, 0)
    assert net.storage.loc[0, ["p_mw", "q_mvar"]].tolist() == pytest.approx([-0.2, 0.3])
    assert net.sgen.q_mvar[1] == pytest.approx(0.15)
    assert (net.trafo.tap_pos[0], net.shunt.step.iloc[-1]) == (4, 2)
    assert env.devices["Regulator 1"].cost == pytest.approx(0.5 * 20)
    assert env.devices["Bank"].cost == 1.5
    reference = copy.deepcopy(net)
    pp.runpp(reference, numba=False)
    np.testing.assert_allclose(net.res_bus, reference.res_bus, rtol=1e-8, atol=1e-8)
    bought = float(reference.res_ext_grid.p_mw[0])  # at price 0 in the first hour
    assert bought > 0
    assert reward == pytest.approx(-(1.0 + 1.0 + 10.0 + 1.5))
    assert obs[:8].tolist() == pytest.approx([0.2, 0, 1, 0, 0, 0, env.devices["Battery"].state.soc, 0.2 / HOURS])
    for command, on, cost in ((1, 0, 0.0), (1, 1, 4.0), (1, 1, 0.0)):  # the second command crosses the start-up time
        env.step({"continuous": [0.0, 0.0, 0.0, 0.0], "discrete": [command, 20, 2]})
        assert (env.devices["Unit"].state.on, env.devices["Unit"].cost) == (on, cost)
    assert env.devices["Regulator 1"].cost == 0.0


def test_the_wrapper_scales_a_dict_and_passes_its_discrete_part(everything):
    env, other = NormalizeActionWrapper(everything({})), everything({})
    assert env.action_space["discrete"] == other.action_space["discrete"]
    env.reset(seed=1)
    other.reset(seed=1)
    unit = np.array([-1.0, 1.0, 0.5, 0.0], np.float32)
    low, high = other.action_space["continuous"].low, other.action_space["continuous"].high
    commands = np.array([1, 3, 1])
    first = env.step({"continuous": unit, "discrete": commands})
    second = other.step({"continuous": low + (unit + 1) / 2 * (high - low), "discrete": commands})
    np.testing.assert_allclose(first[0], second[0], rtol=1e-6)
    assert first[1] == pytest.approx(second[1])


def test_taps_alone_are_a_discrete_space(everything):
    class Taps(everything):
        def _build_net(self):
            super()._build_net()
            names = ["Regulator 1"] if self.cfg.get("one") else ["Regulator 1", "Bank"]
            self.devices = OrderedDict((name, self.devices[name]) for name in names)

    for config, space, action in (({"one": True}, Discrete(33), 7), ({}, MultiDiscrete([33, 3]), np.array([7, 1]))):
        env = Taps(config)
        assert env.action_space == space
        env.reset(seed=0)
        env.step(action)
        assert env.net.trafo.tap_pos[0] == -9
        with pytest.raises(TypeError, match="discrete actions only"):
            NormalizeActionWrapper(env)


@pytest.mark.parametrize(
    "config", [{}, {"train": False, "penalty": 4.0}, {"train": True, "penalty": 2, "share_reward": True, "seed": 5}]
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_microgrids(config):
    env = MultiAgentMicrogrids({**config, "data": DATA})
    obs, _ = env.reset(seed=None if "seed" in config else 2)
    training = config.get("train", True)
    start = env._t
    assert start % 24 == 0 if training else start == 0
    charges = {name: agent.storage["ESS1"].state.soc for name, agent in env.agent_envs.items()}
    assert training or set(charges.values()) == {0.5}  # the test mode never resets its agents
    rng = np.random.default_rng(0)
    for k in range(3):
        actions = {name: env.action_space(name).sample() * rng.uniform() for name in env.agents}
        obs, rewards, over, cut, infos = env.step(actions)
        reference = copy.deepcopy(env.net)
        pp.runpp(reference, numba=False)
        load = DATA["train"]["load"]["AVA"][start + k]  # the train split always
        costs, violations = {}, {}
        for name, action in actions.items():
            charge, p = float(action[0]), float(action[1])
            charges[name] += (charge * 0.98 if charge >= 0 else charge / 0.98) / 2.0
            a, b, c = (100, 72.4, 0.5011) if name == "MG1" else (100, 51.6, 0.4615)
            costs[name] = a * p**2 + b * p + c
            mine = [str(bus).startswith(name) for bus in reference.bus["name"]]
            lines = [str(line).startswith(name) for line in reference.line["name"]]
            loads = [str(row).startswith(name) for row in reference.load["name"]]
            vm = reference.res_bus.vm_pu.to_numpy()[mine]
            outside = np.clip(vm - 1.05, 0, None).sum() + np.clip(0.95 - vm, 0, None).sum()
            above = np.clip(reference.res_line.loading_percent.to_numpy()[lines] - 100, 0, None).sum() / 100
            overload = max(0.0, np.hypot(p, action[2]) - 1.0) if name == "MG1" else 0.0
            left = max(0.0, 0.1 - charges[name], charges[name] - 1.0)
            violations[name] = outside + above + overload + left
            drawn = reference.load[["p_mw", "q_mvar"]].to_numpy()[loads].ravel() * load * 0.2 / 3
            np.testing.assert_allclose(obs[name], [charges[name], *drawn], rtol=1e-6)
            assert infos[name]["safety"] == pytest.approx(violations[name], rel=1e-7, abs=1e-9)
            assert over[name] is cut[name] is False
        wanted = {name: -costs[name] - config.get("penalty", 0) * violations[name] for name in costs}
        if config.get("share_reward"):
            wanted = dict.fromkeys(wanted, np.mean(list(wanted.values())))
        assert rewards == pytest.approx(wanted, rel=1e-8)
        dso = [str(row).startswith("DSO") for row in reference.load["name"]]
        assert (reference.load["scaling"].to_numpy()[dso] == 0.2).all()  # the operator's loads stand still


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_microgrids_that_do_not_converge():
    env = MultiAgentMicrogrids({"penalty": 10, "data": DATA})
    env.reset(seed=0)
    actions = {name: np.zeros(env.action_space(name).shape, np.float32) for name in env.agents}
    actions["MG1"][0] = 60.0
    _, rewards, _, _, infos = env.step(actions)
    assert rewards == dict.fromkeys(actions, -400.0)
    assert infos["MG2"] == {"safety": 20.0, "converged": False}
    assert env.step({name: 0 * action for name, action in actions.items()})[4]["MG1"]["converged"]


def test_an_agent_with_a_grid_of_actions_and_one_with_both_parts():
    agent = GridEnv(IEEE13Bus("A"), discrete_action=True, discrete_action_cats=5)
    agent.add_storage(ESS("B", "Bus 645", -0.4, 0.4, 2.0))
    agent.add_sgen(DG("D", "Bus 675", 0.0, 0.3, sn_mva=0.5))
    agent.add_dataset({key: np.full(3, 0.5) for key in ("load", "solar", "wind", "price")})
    assert agent._combined_action_space() == MultiDiscrete([5, 5, 5])
    agent.step(agent.net, np.array([0, 4, 2]), 0)
    assert agent.net.storage.p_mw[0] == pytest.approx(-0.4)
    assert agent.net.sgen.loc[0, ["p_mw", "q_mvar"]].tolist() == pytest.approx([0.3, 0.0])
    both = GridEnv(IEEE13Bus("C"))
    both.add_storage(ESS("B", "Bus 645", -0.4, 0.4, 2.0))
    both.add_sgen([DG("U", "Bus 675", 0.0, 0.3, startup_time=0), DG("D", "Bus 611", 0.0, 0.2)])
    both.add_dataset(agent.dataset)
    space = both._combined_action_space()
    assert (space["continuous"].shape, space["discrete"]) == ((3,), MultiDiscrete([2]))
    both.step(both.net, {"continuous": np.array([0.1, 0.2, 0.15]), "discrete": np.array([0])}, 1)
    assert both.net.sgen[["p_mw", "in_service"]].to_numpy().tolist() == [
        [pytest.approx(0.2), False], [pytest.approx(0.15), True],
    ]  # fmt: skip
