"""Every import path, name and signature of version 0.0.2."""

from __future__ import annotations

import inspect
import json
import math
import subprocess
import sys
from importlib import import_module

import numpy as np
import pandapower as pp
import pytest

from powergrid.core.errors import NetworkError

COSTS = (
    "piecewise_linear_cost", "quadratic_cost", "polynomial_cost", "cost_from_curve", "ramping_cost", "switching_cost",
    "tap_change_cost", "energy_cost",
)  # fmt: skip
SAFETY = (
    "s_over_rating", "pf_penalty", "voltage_deviation", "soc_bounds_penalty", "loading_over_pct",
    "rate_of_change_penalty", "SafetySpec", "total_safety",
)  # fmt: skip
DEVICES = ("DG", "RES", "ESS", "Shunt", "Transformer", "Grid")
CODES = ("CF1", "CF12", "CF300", "CF301", "CF302", "CF303", "CF304", *(f"CF60{k}" for k in range(1, 8)))
NAMES = {
    "powergrid": (*DEVICES, "Action", "DeviceState"),
    "powergrid.base_env": ("GridBaseEnv",),
    "powergrid.core.actions": ("Action",),
    "powergrid.core.state": ("DeviceState",),
    "powergrid.devices": ("Device", *DEVICES, "Switch"),
    "powergrid.devices.base": ("Device",),
    "powergrid.devices.generator": ("DG", "RES"),
    "powergrid.devices.storage": ("ESS",),
    "powergrid.devices.compensation": ("Shunt",),
    "powergrid.devices.transformer": ("Transformer",),
    "powergrid.devices.grid": ("Grid",),
    "powergrid.utils": (*COSTS, *SAFETY),
    "powergrid.utils.cost": COSTS,
    "powergrid.utils.safety": SAFETY,
    "powergrid.utils.utils": ("NormalizeActionWrapper", "attach_device_to_net", "pp_get_idx_safe"),
    "powergrid.networks.lines": CODES,
    "powergrid.networks.ieee13": ("IEEE13Bus",),
    "powergrid.networks.ieee34": ("IEEE34Bus",),
    "powergrid.networks.ieee123": ("IEEE123Bus",),
    "powergrid.networks.cigre_lv": ("CIGRE_LV",),
    "powergrid.networks.case34_3ph": ("case34_3ph",),
    "powergrid.networks.case_lvmg": ("case_lvmg",),
    "powergrid.networks.imped2seq": ("imped2seq",),
    "powergrid.envs.single_agent.ieee13_mg": ("IEEE13Env", "read_data"),
    "powergrid.envs.single_agent.ieee34_mg": ("IEEE34Env", "read_data"),
    "powergrid.envs.single_agent.cigre_mv": ("CIGREMVEnv", "read_data"),
    "powergrid.envs.multiagent.base": ("GridEnv", "NetworkedGridEnv"),
    "powergrid.envs.multiagent.ieee34_ieee13": ("MultiAgentMicrogrids", "GridEnv", "NetworkedGridEnv", "read_data"),
}
NO = math.nan
SIGNATURES = {
    "DG": (
        "name bus min_p_mw max_p_mw",
        {"min_q_mvar": NO, "max_q_mvar": NO, "sn_mva": NO, "min_pf": None, "leading": None,
         "cost_curve_coefs": (0.0, 0.0, 0.0), "startup_time": None, "shutdown_time": None, "startup_cost": 0.0,
         "shutdown_cost": 0.0, "type": "fossil", "dt": 1.0},
    ),
    "RES": (
        "name bus sn_mva source",
        {"max_q_mvar": NO, "min_q_mvar": NO, "cost_curve_coefs": (0.0, 0.0, 0.0), "dt": 1.0},
    ),
    "ESS": (
        "name bus min_p_mw max_p_mw capacity",
        {"max_e_mwh": None, "min_e_mwh": 0.0, "init_soc": 0.5, "min_q_mvar": NO, "max_q_mvar": NO, "sn_mva": NO,
         "ch_eff": 0.98, "dsc_eff": 0.98, "cost_curve_coefs": (0.0, 0.0, 0.0), "dt": 1.0},
    ),
    "Shunt": ("name bus q_mvar", {"max_step": 1, "switching_cost": 0.0}),
    "Transformer": ("name", {"sn_mva": None, "tap_max": None, "tap_min": None, "dt": 1.0, "tap_change_cost": 0.0}),
    "Grid": ("name bus sn_mva", {"sell_discount": 1.0, "dt": 1.0}),
}  # fmt: skip
EXAMPLES = {
    "DG": ("g", "Bus 1", 0.0, 1.0), "RES": ("r", "Bus 1", 1.0, "wind"), "ESS": ("b", "Bus 1", -1.0, 1.0, 2.0),
    "Shunt": ("c", "Bus 1", -0.1), "Transformer": ("t",), "Grid": ("m", "Bus 1", 5.0),
}  # fmt: skip


def test_all_names_in_a_fresh_interpreter_the_last_first():
    program = (
        "import json, sys; from importlib import import_module\n"
        "table = json.loads(sys.argv[1])\n"
        "missing = [f'{path}.{name}' for path, names in reversed(table.items())"
        " for module in [import_module(path)] for name in names if not hasattr(module, name)]\n"
        "print(missing)"
    )
    table = json.dumps(NAMES)
    found = subprocess.run([sys.executable, "-c", program, table], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_star_imports_bring_the_devices():
    scope: dict = {}
    exec("from powergrid.devices import *\nfrom powergrid.networks.lines import *", scope)
    assert set(DEVICES) <= scope.keys()
    assert scope["CF601"]["max_i_ka"] == 0.73
    assert scope["CF300"]["r0_ohm_per_km"] == 1.08727498


@pytest.mark.parametrize("module", ["generator", "storage"])
def test_modules_of_both_versions_name_what_they_lack(module):
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = import_module(f"powergrid.devices.{module}").Nonsense


@pytest.mark.parametrize("name", DEVICES)
def test_constructors_and_attributes(name):
    kind = getattr(import_module("powergrid.devices"), name)
    positional, keyword = SIGNATURES[name]
    parameters = inspect.signature(kind).parameters
    assert list(parameters) == [*positional.split(), *keyword]
    for key, default in keyword.items():
        assert parameters[key].kind is inspect.Parameter.KEYWORD_ONLY
        assert str(parameters[key].default) == str(default), key  # NaN is unequal to itself
    device = kind(*EXAMPLES[name])
    for key in (*positional.split(), *keyword, "state", "action", "cost", "safety", "action_callback", "adversarial"):
        if key != "source":  # kept as the type
            assert hasattr(device, key), key
    if name != "Transformer":
        assert isinstance(device.type, str)
    for method in ("set_action_space", "update_state", "update_cost_safety", "reset", "feasible_action"):
        assert callable(getattr(device, method))
    device.reset(rnd=np.random.default_rng(0))


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("quadratic_cost", "P a b c"),
        ("polynomial_cost", "P coeffs"),
        ("piecewise_linear_cost", "P coefs"),
        ("cost_from_curve", "P coefs"),
        ("ramping_cost", "P_prev P_curr up_cost down_cost"),
        ("switching_cost", "changed cost_per_change"),
        ("tap_change_cost", "delta_steps cost_per_step"),
        ("energy_cost", "P_mw price_per_mwh discount"),
        ("s_over_rating", "P Q sn_mva"),
        ("pf_penalty", "P Q min_pf"),
        ("voltage_deviation", "V_pu vmin_pu vmax_pu"),
        ("soc_bounds_penalty", "soc min_soc max_soc"),
        ("loading_over_pct", "loading_pct"),
        ("rate_of_change_penalty", "prev curr limit"),
    ],
)
def test_helpers_take_the_same_arguments(name, parameters):
    assert list(inspect.signature(getattr(import_module("powergrid.utils"), name)).parameters) == parameters.split()


def test_hooks_of_the_base_class():
    base = import_module("powergrid.base_env").GridBaseEnv
    for hook in (
        "_build_net", "_reward_and_safety", "_get_obs", "_solve_pf", "_apply_dataset_scalers", "_push_devices_to_net",
        "_update_device_cost_safety", "_device_action_slices", "_build_action_space", "_build_obs_space", "_set_action",
    ):  # fmt: skip
        assert callable(getattr(base, hook)), hook


def test_phase_to_sequence():
    imped2seq = import_module("powergrid.networks.imped2seq").imped2seq
    own, mutual = 1.3 + 1.4j, 0.2 + 0.5j
    found = imped2seq(np.full((3, 3), mutual) + (own - mutual) * np.eye(3))
    np.testing.assert_allclose(found, np.diag([own + 2 * mutual, own - mutual, own - mutual]), atol=1e-12)


def test_the_unused_networks():
    low_voltage = import_module("powergrid.networks.cigre_lv").CIGRE_LV()
    pp.runpp(low_voltage, numba=False)
    assert (len(low_voltage.bus), len(low_voltage.sgen), len(low_voltage.storage)) == (44, 8, 2)
    assert low_voltage.line["name"].iloc[0] == "Line R1-R2"
    feeder = import_module("powergrid.networks.case34_3ph").case34_3ph()
    loads = feeder.asymmetric_load
    powers = loads[["p_a_mw", "p_b_mw", "p_c_mw"]].to_numpy()
    assert (len(feeder.bus), len(feeder.line), len(loads)) == (35, 30, 25)
    assert powers.sum() == pytest.approx(1.769 - 0.008)  # published, but for the swapped load 846
    loads["scaling"] = 0.5
    pp.runpp_3ph(feeder, numba=False)
    assert feeder.res_bus_3ph[["vm_a_pu", "vm_b_pu", "vm_c_pu"]].to_numpy().min() > 0.8
    with pytest.raises(NetworkError, match="CIGRE_LV"):
        import_module("powergrid.networks.case_lvmg").case_lvmg()
