"""Programs written for version 1: their imports, their subclasses, and what they get wrong."""

from __future__ import annotations

import math
from collections import OrderedDict
from importlib import import_module

import numpy as np
import pandapower as pp
import pytest
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from gymnasium.utils.env_checker import check_env
from powergrid.envs.multiagent.base import GridEnv, NetworkedGridEnv
from powergrid.envs.single_agent.ieee13_mg import IEEE13Env
from powergrid.networks.ieee13 import IEEE13Bus
from powergrid.utils import SafetySpec, total_safety, voltage_deviation
from powergrid.utils.utils import NormalizeActionWrapper

import powergrid
from powergrid.base_env import GridBaseEnv
from powergrid.core.errors import PowerGridError
from powergrid.devices import DG, ESS, RES, Grid, Shunt, Switch, Transformer


class Village(GridBaseEnv):
    """A subclass as v1's README teaches it: pandapower code and nothing else."""

    extra: tuple = ()

    def _build_net(self):
        self.area = "V"
        net = pp.create_empty_network()
        first, second = (pp.create_bus(net, vn_kv=10.0, name=f"V Bus {k}") for k in "12")
        pp.create_ext_grid(net, first)
        pp.create_line(net, first, second, 5.0, "NAYY 4x150 SE", name="V Line")
        pp.create_load(net, second, p_mw=0.5, q_mvar=0.1, name="V Load")
        third = pp.create_bus(net, vn_kv=10.0, name="V Bus 3")
        pp.create_switch(net, second, third, et="b", name="V Tie")
        self.net = net
        devices = [ESS("B", "Bus 2", -0.2, 0.2, 1.0), RES("S", "Bus 2", 0.3, "solar"), Grid("G", "Bus 1", 5.0)]
        self.devices = OrderedDict((dev.name, dev) for dev in [*devices, *self.extra])
        hours = np.arange(48)
        self.dataset = {
            "load": 0.5 + 0.3 * np.sin(hours),
            "solar": np.clip(np.sin(hours / 4), 0, 1),
            "wind": np.zeros(48),
            "price": 40.0 + hours,
        }

    def _reward_and_safety(self):
        rows = pp.get_element_index(self.net, "bus", self.area, False)
        vm = self.net.res_bus.loc[rows].vm_pu.values
        return {"all": -sum(dev.cost for dev in self.devices.values())}, {"vm": float(np.abs(vm - 1).sum())}


def build(*extra):
    return type("Own", (Village,), {"extra": extra})({"train": True, "safety_scale": 1.0})


def test_the_top_level_names():
    for name in ("DG", "RES", "ESS", "Shunt", "Transformer", "Grid", "Action", "DeviceState"):
        assert getattr(powergrid, name).__module__.startswith("powergrid.v1")
    assert import_module("powergrid.utils.cost") is import_module("powergrid.v1.utils.cost")
    assert import_module("powergrid.networks.lines").CF601["max_i_ka"] == 0.73


def test_an_own_subclass_runs_as_with_runpp():
    rewards = []
    for power_flow in ("auto", "runpp"):
        env = Village({"safety_scale": 1.0, "power_flow": power_flow})
        env.reset(seed=1)
        rewards.append([env.step(np.array([0.1 * (-1) ** k], np.float32))[1] for k in range(6)])
    np.testing.assert_allclose(rewards[0], rewards[1], rtol=1e-10)
    check_env(build(), skip_render_check=True)


def test_an_edit_of_the_net_in_mid_episode_counts():
    env = Village({"power_flow": "auto"})
    env.reset(seed=1)
    env.step(np.zeros(1, np.float32))
    pp.create_load(env.net, 1, p_mw=0.2, name="late")
    env.step(np.zeros(1, np.float32))
    assert env.net.res_load.p_mw.iloc[-1] == 0.2
    assert env.net.res_ext_grid.p_mw[0] == pytest.approx(env.devices["G"].state.P)


@pytest.mark.parametrize(
    ("extra", "space"),
    [
        ((Shunt("C", "Bus 2", -0.05, max_step=3),), Discrete(4)),
        ((Shunt("C", "Bus 2", -0.05), Switch("Tie")), MultiDiscrete([2, 2])),
        ((DG("D", "Bus 2", 0, 0.1, startup_time=1, shutdown_time=0),), Discrete(2)),
    ],
)
def test_discrete_actions(extra, space):
    env = build(*extra)
    assert env.action_space["discrete"] == space
    assert isinstance(env.action_space["continuous"], Box)
    env.reset(seed=0)
    q = []
    for choice in (0, 1):
        discrete = np.full(len(extra), choice)
        obs, *_ = env.step({"continuous": np.zeros(env.action_space["continuous"].shape), "discrete": discrete})
        q.append(env.net.res_ext_grid.q_mvar[0])
        assert obs.shape == env.observation_space.shape
    if isinstance(extra[0], Shunt):
        assert q[1] < q[0]  # the capacitor feeds in
    if isinstance(extra[-1], Switch):
        assert bool(env.net.switch.closed[0])


def test_the_wrapper_scales_the_continuous_part():
    env = NormalizeActionWrapper(build())
    env.reset(seed=0)
    env.step(np.array([-1.0], np.float32))
    assert pytest.approx(-0.2) == env.unwrapped.devices["B"].state.P
    with pytest.raises(TypeError, match="discrete actions only"):
        NormalizeActionWrapper(type("D", (IEEE13Env,), {"action_space": Discrete(2), "__init__": lambda self: None})())


def test_unit_commitment():
    dg = DG("g", "b", 0.0, 10.0, startup_time=1, shutdown_time=1, startup_cost=5.0, shutdown_cost=3.0)
    dg.reset()
    seen = []
    for command in (0, 0, 1, 1, 1):
        dg.action.c[:] = 0.0
        dg.action.d[:] = command
        dg.update_state()
        dg.update_cost_safety()
        seen.append((dg.state.on, dg.state.shutting, dg.state.starting, dg.cost))
    assert seen == [(1, 1, 0, 0.0), (0, 0, 0, 3.0), (0, 0, 1, 0.0), (1, 0, 0, 5.0), (1, 0, 0, 0.0)]
    assert dg.state.as_vector().tolist() == pytest.approx([0, 0, 0, 1, 0, 0])


def test_safety_terms():
    assert total_safety(spec=SafetySpec(), P=3, Q=4, sn_mva=4, min_pf=0.8, soc=1.1, loading_pct=150) == pytest.approx(
        0.25 + 0.2 + 0.1 + 0.5
    )
    assert voltage_deviation(0.9) == pytest.approx(0.05 / 0.95)
    assert voltage_deviation(1.1) == pytest.approx(0.05 / 0.45)
    dg = DG("g", "b", 0.0, 10.0, sn_mva=10.0, min_pf=0.95)
    dg.action.c[:] = 8.0, 6.0
    dg.update_state()
    dg.update_cost_safety()
    assert dg.safety == pytest.approx(0.15)
    wind = RES("w", "b", 1.0, "wind", max_q_mvar=2.0, min_q_mvar=-2.0)
    wind.update_state(scaling=1.0)
    wind.action.c[:] = 1.5
    wind.update_state()
    wind.update_cost_safety()
    assert wind.safety == pytest.approx(math.hypot(1.0, 1.5) - 1.0)


def test_what_a_transformer_does_to_the_taps_and_the_switch_that_mends_it():
    class Tapped(Village):
        def _build_net(self):
            super()._build_net()
            self.area, self.net = "MG1", IEEE13Bus("MG1")
            self.net.trafo.loc[0, "tap_pos"] = 2
            self.devices = OrderedDict(D=DG("D", "Bus 675", 0, 1), S=Transformer("Substation"))

        def _reward_and_safety(self):
            return {}, {}

    for fix, tap in (((), 0), (("taps",), 2)):
        env = Tapped({"fix": fix})
        env.reset()
        env.step(np.zeros(1, np.float32))
        assert env.net.trafo.tap_pos[0] == tap
    with pytest.raises(PowerGridError, match='did you mean "taps"'):
        Tapped({"fix": ("tabs",)})


def test_a_tap_written_for_pandapower_2_changes_the_ratio():
    class Stepped(Village):
        def _build_net(self):
            super()._build_net()
            low = pp.create_bus(self.net, vn_kv=0.4, name="V Low")
            pp.create_transformer_from_parameters(
                self.net, 1, low, sn_mva=1.0, vn_hv_kv=10.0, vn_lv_kv=0.4, vkr_percent=1.0, vk_percent=4.0, pfe_kw=0.0,
                i0_percent=0.0, tap_side="lv", tap_neutral=0, tap_min=-2, tap_max=2, tap_step_percent=2.5, tap_pos=2,
                name="V T",
            )  # fmt: skip

    env = Stepped({})
    env.reset(seed=0)
    env.step(np.zeros(1, np.float32))
    vm = env.net.res_bus.vm_pu
    assert vm.iloc[-1] == pytest.approx(1.05 * vm[1])


def test_stale_results_and_the_switch_that_mends_them():
    for fix, stale in (((), True), (("stale_results",), False)):
        env = IEEE13Env({"fix": fix})
        assert (env.reset(seed=0)[0][14:27] == 1).all()
        env.step(np.zeros(5, np.float32))
        assert (env.reset(seed=0)[0][14:27] != 1).any() == stale


def test_limits_and_time_limits_and_the_switches_that_mend_them():
    for fix, power, soc, ends in (((), 9.0, 9.3, (True, False)), (("limits", "time_limit"), 0.2, 1.0, (False, True))):
        env = Village({"fix": fix, "episode_length": 4})
        env.reset(seed=0)
        env.devices["B"].state.soc = 0.48
        first = env.step(np.array([9.0], np.float32))
        assert pytest.approx(power) == env.devices["B"].state.P
        assert first[2:4] == (False, False)
        for _ in range(3):
            last = env.step(np.array([0.2], np.float32))
        assert min(env.devices["B"].soc, 9.3) == pytest.approx(soc, abs=0.1)
        assert last[2:4] == ends


def broken(**changes):
    def build_net(self):
        Village._build_net(self)
        for name, value in changes.items():
            setattr(self, name, value)

    return type("Broken", (Village,), {"_build_net": build_net})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"net": None}, "must set self.net to a pandapower net"),
        ({"area": None}, "must set self.area"),
        ({"devices": [1]}, "must set self.devices to a dict"),
        ({"dataset": {"load": np.ones(48)}}, "missing: solar, wind, price"),
        (
            {"dataset": {name: np.ones(0) for name in ("load", "solar", "wind", "price")}},
            "of 0 values; it takes at least 1",
        ),
        ({"devices": {"S": RES("S", "Bus 2", 0.3, "solar")}}, "no device of Broken takes an action"),
        ({"devices": {"B": ESS("B", "Bus 22", -1, 1, 1)}}, 'did you mean "V Bus 2"'),
        ({"devices": {"T": Transformer("T")}}, 'no trafo "V T"'),
    ],
)
def test_what_a_subclass_forgets_is_said(changes, sentence):
    with pytest.raises(PowerGridError, match=sentence):
        broken(**changes)({})


@pytest.mark.parametrize("result", [{"a": 1.0}, ({"a": 1.0}, 0.0), None])
def test_two_dicts_are_asked_for(result):
    env = type("Odd", (Village,), {"_reward_and_safety": lambda self: result})({})
    env.reset()
    with pytest.raises(PowerGridError, match=r"must return two dicts, rewards and violations"):
        env.step(np.zeros(1, np.float32))


def test_rewards_are_numbers():
    env = type("Odd", (Village,), {"_reward_and_safety": lambda self: ({"a": 1.0, "b": "much"}, {})})({})
    env.reset()
    with pytest.raises(PowerGridError, match=r"must return numbers by name; it returned {'b': 'much'}"):
        env.step(np.zeros(1, np.float32))


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"load_scale": "much"}, r"env_config\[\"load_scale\"\] must be a number, not 'much'"),
        ({"safety_scale": None}, "must be a number, not None"),
        ({"load_scale": float("nan")}, "must be finite, not nan"),
        ({"fix": 3}, "must be a name or several, not 3; known: taps"),
        ({"fix": "tap"}, "no defect is called 'tap'; did you mean \"taps\""),
        ({"base_power": 0, "episode_length": -3, "fix": ["stale"]}, "(?s)is -3;.*must not be 0.*called 'stale'"),
        ({"train": True, "episode_length": 9000}, "takes at least 18000 for"),
    ],
)
def test_configurations_that_do_not_do(config, sentence):
    with pytest.raises(PowerGridError, match=sentence):
        Village(config)
    assert Village({"max_penalty": None, "episode_length": None}).episode_length == 24


@pytest.mark.parametrize("action", [None, "full", {"continuous": [0.0]}])
def test_an_action_that_is_no_array(action):
    env = Village({})
    env.reset()
    with pytest.raises(PowerGridError, match=r"is no array of numbers; env\.action_space is Box"):
        env.step(action)


@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore:Matrix is exactly singular")
def test_an_action_that_is_not_finite_goes_on_as_in_v1_and_is_told_once():
    env = IEEE13Env({})
    env.reset(seed=0)
    with pytest.warns(UserWarning, match=r"IEEE13Env\.step: the action .* is not finite"):
        *_, info = env.step(np.full(5, np.nan))
    assert not info["converged"]
    assert np.isfinite(env.reset(seed=0)[0]).all()
    observation, *_, info = env.step(np.zeros(5))
    assert info["converged"]
    assert np.isfinite(observation).all()


def test_an_action_that_lacks_numbers():
    env = IEEE13Env({})
    env.reset()
    with pytest.raises(PowerGridError, match=r"has 3 continuous numbers where ESS1 \(1\), DG1 \(2\), DG2 \(2\) need 5"):
        env.step(np.zeros(3, np.float32))
    with pytest.raises(PowerGridError, match="has 3 numbers, <IEEE13Env instance> asks for 5"):
        NormalizeActionWrapper(env).step(np.zeros(3))
    mixed = build(Switch("Tie"))
    mixed.reset()
    for action, sentence in (
        ({"continuous": [0.0]}, r"0 discrete numbers where Tie \(1\) need 1"),
        (np.zeros(2), "asks for a dict with continuous and discrete"),
    ):
        with pytest.raises(PowerGridError, match=sentence):
            mixed.step(action)


def test_a_comma_too_many():
    with pytest.raises(PowerGridError, match=r"must be a dict, not a tuple; a comma"):
        Village(({"train": True},))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_several_microgrids_are_checked_too():
    def build_net(self):
        self.net = IEEE13Bus("A")
        agent = GridEnv(self.net)
        agent.add_storage(ESS("B", "Bus 645", -0.4, 0.4, 2.0))
        agent.add_dataset({key: np.full(48, 0.5) for key in ("load", "solar", "wind", "price")})
        self._flow = None
        self._solve_pf()
        self.agents = {"A": agent}  # and no possible_agents
        self.data_size, self.total_days = 48, 2

    parts = {"_build_net": build_net, "_reward_and_safety": lambda self: {"A": 1.0}}
    env = type("Odd", (NetworkedGridEnv,), parts)({})
    env.reset(seed=0)
    with pytest.raises(PowerGridError, match=r"Odd._reward_and_safety\(\) must return two dicts.*returned dict"):
        env.step({"A": np.zeros(1)})
    with pytest.raises(PowerGridError, match=r"must set self\.net to a pandapower net and self\.possible_agents"):
        type("Empty", (NetworkedGridEnv,), {**parts, "_build_net": lambda self: None})({})
