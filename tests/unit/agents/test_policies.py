"""The baseline policies: what they command, that they leave other things alone, and their two backends."""

from __future__ import annotations

import numpy as np
import pytest

import powergrid
from powergrid.agents.curves import CATEGORY_A, droop
from powergrid.agents.curves import curtailed as curve
from powergrid.config.sources import preset_names
from powergrid.engine.step import settled_slots
from powergrid.plugins.registries import POLICIES
from powergrid.worlds.simulation import Simulation

BASELINES = (
    "idle",
    "drain",
    "hoard",
    "all_export",
    "all_import",
    "no_trade",
    "mppt",
    "random",
    "rule_based",
    "volt_var",
    "volt_var_a",
    "volt_watt",
    "volt_var_watt",
)
EVERYTHING = {
    "name": "everything",
    "network": {"base": "ieee13", "load_scale": 0.5},
    "agents": [
        {"id": "ess_1", "type": "ESS", "bus": "671", "params": {"sn_mva": 0.6, "soc_init": 0.4}},
        {
            "id": "dg_1",
            "type": "DG",
            "bus": "675",
            "params": {"p_range": [0.2, 0.6], "sn_mva": 0.8, "commitment": True},
        },
        {"id": "pv_1", "type": "RES", "bus": "680", "params": {"kind": "solar", "sn_mva": 0.7}, "policy": "learned"},
        {
            "id": "load_1",
            "type": "Load",
            "bus": "634",
            "params": {"p_mw": 0.3, "curtailable_share": 0.5},
            "policy": "learned",
        },
        {"id": "grid_1", "type": "Grid"},
        {
            "id": "operator_1",
            "type": "GridCoordinator",
            "policy": "learned",
            "protocol": "setpoint",
            "sub_agents": ["ess_1", "dg_1", "pv_1", "load_1", "grid_1"],
        },
    ],
}


def nature() -> dict:
    """Plants that follow sun, wind and water beside a generator, under one operator."""
    plants = [
        ("WindTurbine", {"p_max_mw": 0.2, "sn_mva": 0.22}),
        ("SolarPlant", {"p_max_mw": 0.2, "sn_mva": 0.25}),
        ("RunOfRiver", {"head_m": 5.0}),
        ("RES", {"p_max_mw": 0.1, "series": "pv_pu:south"}),
    ]
    agents = [{"id": f"plant_{i}", "type": t, "bus": "671", "params": p} for i, (t, p) in enumerate(plants)]
    fuel = {"p_max_mw": 5.0, "marginal_cost_per_mwh": 80.0}
    agents += [
        {"id": "dg", "type": "DG", "bus": "675", "params": fuel, "policy": "learned"},
        {"id": "grid", "type": "Grid"},
    ]
    operator = {**EVERYTHING["agents"][-1], "sub_agents": [agent["id"] for agent in agents]}
    network = {"base": "ieee13", "load_series": "load_p_pu:com_1"}
    return {"name": "nature", "network": network, "agents": [*agents, operator]}


def commands(env, policy: str, day: int = 200) -> dict[str, float]:
    """First action of a day by label, without units."""
    env.reset(seed=0, options={"day": day})
    actions = env.policy_actions(policy)
    return {
        label.split()[0]: float(value)
        for agent in env.possible_agents
        for label, value in zip(env.action_labels(agent), actions[agent], strict=True)
    }


@pytest.fixture(scope="module")
def everything():
    return powergrid.make(EVERYTHING)


@pytest.fixture(scope="module")
def trading():
    return powergrid.make("p2p_microgrids")


REST = {"ess_1.p": 0.0, "ess_1.q": 0.0, "dg_1.p": -1.0, "dg_1.q": 0.0, "pv_1.p_share": 1.0, "pv_1.q": 0.0}
REST |= {"dg_1.commit": 1.0, "load_1.served_share": 1.0}


@pytest.mark.parametrize(
    ("policy", "moved"),
    [
        ("idle", {}),
        ("all_export", {"ess_1.p": 1.0, "dg_1.p": 1.0, "dg_1.commit": 1.0}),
        ("all_import", {"ess_1.p": -1.0, "dg_1.p": -1.0, "dg_1.commit": -1.0, "pv_1.p_share": -1.0}),
    ],
)
def test_commands_of_every_family(everything, policy, moved):
    assert commands(everything, policy) == pytest.approx({**REST, **moved})


@pytest.mark.parametrize(("policy", "power"), [("drain", 1.0), ("hoard", -1.0)])
def test_drain_and_hoard_are_the_rule_but_for_batteries(trading, policy, power):
    rule = commands(trading, "rule_based")
    expected = {name: power if name.startswith("ess") else value for name, value in rule.items()}
    assert commands(trading, policy) == expected


def test_mppt_moves_nothing_but_renewables(trading, everything):
    assert set(commands(trading, "mppt").values()) == {0.0}
    fixed = {"pv_1": {"params": {"curtailable": False}}}  # then it has no slot at all
    agents = [{**agent, **fixed.get(agent["id"], {})} for agent in EVERYTHING["agents"]]
    assert set(commands(powergrid.make({**EVERYTHING, "agents": agents}), "mppt").values()) == {0.0}
    assert [name for name, value in commands(everything, "mppt").items() if value] == ["pv_1.p_share"]


def test_nobody_trades_under_no_trade_and_all_else_is_the_rule(trading):
    rule, alone = commands(trading, "rule_based"), commands(trading, "no_trade")
    limits = [name for name in rule if "limit_price" in name]
    assert len(limits) == 3
    assert {alone[name] for name in limits} <= {-1.0, 1.0}
    assert all(rule[name] == alone[name] for name in rule if name not in limits)
    traded = {"rule_based": 0.0, "no_trade": 0.0}
    for policy in traded:
        trading.reset(seed=0, options={"day": 200})
        while trading.agents:
            trading.step(trading.policy_actions(policy))
            traded[policy] += np.abs(trading.output.money[:, trading.money_names.index("p2p")]).sum()
    assert traded["rule_based"] > 1.0
    assert traded["no_trade"] == 0.0


def test_no_trade_is_the_rule_where_nothing_is_traded(everything):
    assert commands(everything, "no_trade") == commands(everything, "rule_based")


SOURCES = [
    pytest.param(name, marks=() if name in ("iso_three_level", "p2p_microgrids") else pytest.mark.slow)
    for name in preset_names()
]


@pytest.mark.parametrize("source", [*SOURCES, pytest.param(nature(), marks=pytest.mark.slow, id="nature")])
@pytest.mark.filterwarnings("ignore:lmp_solver")
def test_numpy_and_jax_decide_the_same_in_batches(source):
    jax = pytest.importorskip("jax")
    from powergrid.core.backend import jax_float64

    simulation = Simulation(powergrid.make(source).world)
    days = np.array([[18, 60], [200, 300]], dtype=np.int32)
    state, *_ = simulation.reset(np.arange(8, dtype=np.uint32).reshape(2, 2, 2), days)
    seen = []
    simulation.decide(state, lambda xp, layout, params, *given: seen.append((params, *given)) or given[0].slots)
    for policy in (POLICIES.get(name)() for name in BASELINES):
        slots = settled_slots(np, simulation.layout, *seen[0], policy)
        assert slots.shape == state.slots.shape
        assert np.abs(slots).max() <= 1.0
        if simulation.layout.policies.inverters_of(policy) is not None:
            continue  # curves come to rest with the power flow, which whole episodes compare
        with jax_float64():
            given = jax.tree.map(jax.numpy.asarray, seen[0])
            other = jax.jit(lambda *given, act=policy: settled_slots(jax.numpy, simulation.layout, *given, act))(*given)
            assert other.dtype == state.slots.dtype
            assert np.abs(np.asarray(other) - slots).max() <= 1e-12


def test_volt_var_is_a_droop_with_a_dead_band():
    v_pu = np.array([0.85, 0.92, 0.95, 0.98, 1.0, 1.02, 1.05, 1.08, 1.2])
    np.testing.assert_allclose(droop(np, v_pu), [0.44, 0.44, 0.22, 0, 0, 0, -0.22, -0.44, -0.44], atol=1e-12)


def test_rule_counts_sun_wind_and_water_in_the_net_load():
    """A generator whose fuel is dearer than feed-in and cheaper than retail covers what nature leaves of the load."""
    env = powergrid.make(nature())
    env.reset(seed=0, options={"day": 150})
    covered, place = 0, env.action_labels("operator_1").index("dg.p [MW]")
    for tick in range(95):
        now = dict(zip(env.world.layout.columns.series, env.world.table[150 * 96 + tick], strict=False))
        wanted_mw = 2.5 * (float(env.policy_actions("rule_based")["operator_1"][place]) + 1.0)
        env.step(env.policy_actions("rule_based"))
        plants = [device for device in env._state.devices if "available_mw" in device._fields]
        offered_mw = sum(float(device.available_mw.sum()) for device in plants)
        price = max(now["price_per_mwh:lz_north"], 0.0)
        if 0.9 * price < 80.0 < price + 45.0:
            load_mw = now["load_p_pu:com_1"] * env.world.layout.grid.load_p_mw.sum()
            assert wanted_mw == pytest.approx(max(load_mw - offered_mw, 0.0), abs=1e-5), tick
            covered += wanted_mw > 0.0
    assert covered > 10


def test_gentler_volt_var_has_no_dead_band():
    v_pu = np.array([0.85, 0.90, 0.95, 1.0, 1.05, 1.10, 1.2])
    np.testing.assert_allclose(droop(np, v_pu, CATEGORY_A), [0.25, 0.25, 0.125, 0, -0.125, -0.25, -0.25], atol=1e-12)


def test_volt_watt_falls_to_what_is_left():
    v_pu = np.array([0.9, 1.06, 1.07, 1.08, 1.10, 1.2])
    np.testing.assert_allclose(curve(np, v_pu, 0.0), [1, 1, 0.75, 0.5, 0, 0], atol=1e-12)
    np.testing.assert_allclose(curve(np, v_pu, 0.2), [1, 1, 0.8, 0.6, 0.2, 0.2], atol=1e-12)


def test_volt_watt_holds_back_what_generates_where_the_voltage_is_high():
    """A feeder held near 1.08 pu: batteries, generators and the sun give what the curve leaves, loads are served."""
    network = {"base": "ieee13", "load_scale": 0.05, "source_pu": 1.05, "regulators": {"v_set_pu": 1.08}}
    env = powergrid.make({**EVERYTHING, "network": network}, tol_pu=1e-11)
    env.reset(seed=0, options={"day": 180})
    rated = {"ess_1": ("671", -0.5, 0.5, 0.0), "dg_1": ("675", 0.2, 0.6, 0.2), "pv_1": ("680", 0.0, 0.1, 0.0)}
    least, changed, still, sun = 1.0, set(), 0, env.world.layout.columns.column("pv_pu:south")
    for tick in range(96):
        free, held = (env.policy_actions(name)["operator_1"] for name in ("rule_based", "volt_watt"))
        offered = {"pv_1": 0.1 * min(float(env.world.table[180 * 96 + tick][sun]), 1.0)}
        env.step({"operator_1": held})
        if env._state.devices[env.world.layout.taps].moves.any():  # then the commands were for other taps
            continue
        still += 1
        for label, before, after in zip(env.action_labels("operator_1"), free, held, strict=True):
            unit, name = label.split(" ")[0].split(".")
            if unit not in rated or name not in ("p", "p_share"):
                assert after == before, label
                continue
            bus, low, high, left = rated[unit]
            cap = float(curve(np, env.output.flow.v_pu[env.world.network.bus(bus)], min(left / high, 0.2))) * high
            top = offered.get(unit, high)
            most = np.clip(2.0 * (cap - low) / max(top - low, 1e-12) - 1.0, -1.0, 1.0)
            assert after == pytest.approx(min(before, most), abs=1e-5), (label, tick)
            least = min(least, cap / high)
            changed |= {unit} if after < before - 1e-6 else set()
    assert still > 60
    assert least < 0.8
    assert "pv_1" in changed


def test_volt_var_reads_the_phases_of_each_device():
    """Reactive power of every inverter by hand from the voltages that its commands lead to."""
    env = powergrid.make("voltage_control_13")
    env.reset(seed=0, options={"day": 180})
    largest = 0.0
    for _ in range(35):
        env.step(env.policy_actions("random"))
        found, ruled = env.policy_actions("volt_var"), env.policy_actions("rule_based")
        env.step(found)
        v = env.output.flow.v_pu
        assert found["cap_1"] == ruled["cap_1"]
        for agent, bus, phases in (("pv_1", "671", "abc"), ("pv_2", "611", "c"), ("pv_4", "646", "bc")):
            mean = np.mean([v[env.world.network.bus(f"{bus}.{phase}")] for phase in phases])
            assert found[agent][1] == pytest.approx(float(droop(np, mean)), abs=2e-6), agent
            assert found[agent][0] == ruled[agent][0]
            largest = max(largest, abs(found[agent][1]))
    assert largest > 0.1


def test_volt_var_moves_regulators_as_their_relays_would():
    """Far from rest all three phases step towards the band, and after some ticks they stay."""
    env = powergrid.make("voltage_control_13", agents={f"tap_{k}": {"params": {"tap_init": -6}} for k in (1, 2, 3)})
    env.reset(seed=0, options={"day": 180})
    first = env.policy_actions("volt_var")
    assert all(first[f"tap_{k}"] == 1.0 for k in (1, 2, 3))
    for _ in range(6):
        env.step(env.policy_actions("volt_var"))
    taps = env.world.layout.taps
    assert (env._state.devices[taps].tap > 0).all()
    relays, columns = env.world.layout.regulators.relays, env.world.layout.families[taps].params
    ratio = 1 + 0.00625 * env._state.devices[taps].tap
    reading = relays.read(np, env._state.v_re, env._state.v_im, ratio)
    inside = np.abs(reading - columns.v_set_pu) <= columns.half_band_pu
    found = env.policy_actions("volt_var")
    assert inside.any()
    assert all(found[f"tap_{k + 1}"] == 0.0 for k in np.flatnonzero(inside))
