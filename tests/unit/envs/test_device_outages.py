"""Devices that fail and return: what they exchange, what they keep, who is asked, and what is known of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import powergrid
from powergrid.core.errors import ArgumentError, ConfigError, NetworkError

HOUR = 3600.0


def device(name: str, kind: str, bus: str = "671", policy: str = "learned", **params: Any) -> dict[str, Any]:
    return {"id": name, "type": kind, "bus": bus, "policy": policy, "failures": {}, "params": params}


def battery(name: str = "ess_1", **params: Any) -> dict[str, Any]:
    return device(name, "ESS", **{"capacity_mwh": 1.0, "max_p_mw": 0.2} | params)


def world(*agents: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return {"name": "outages", "network": "ieee13", "agents": list(agents), **keys}


def make(*agents: dict[str, Any], ticks: int = 12, **keys: Any) -> Any:
    return powergrid.make(world(*agents, **keys), backend="numpy", episode_length=ticks)


def outage(name: str = "ess_1", start: float = HOUR, duration: float = HOUR) -> dict[str, Any]:
    return {"device": name, "start": start, "duration": duration}


def play(env: Any, outages: list[dict[str, Any]], action: float = 1.0, ticks: int = 12) -> list[Any]:
    """States, outputs and infos of an episode in which everybody does the same."""
    env.reset(seed=0, options={"day": 30, "device_outages": outages})
    seen = []
    for _ in range(ticks):
        step = env.step({agent: np.full(env.action_space(agent).shape, action) for agent in env.agents})
        seen.append((env._state, env.output, *step))
    return seen


def test_a_failed_device_exchanges_nothing_and_keeps_its_state() -> None:
    env = make(battery())
    soc = [float(state.devices[0].soc[0]) for state, *_ in play(env, [outage()], 0.2)]
    power = [output.p_mw[0] for _, output, *_ in play(env, [outage()], 0.2)]
    assert np.flatnonzero(np.array(power) == 0.0).tolist() == [4, 5, 6, 7]
    assert np.ptp(soc[3:8]) == 0.0
    assert soc[8] < soc[7]


def test_its_agent_stays_and_its_actions_are_ignored() -> None:
    env = make(battery(), battery("ess_2", max_p_mw=0.1))
    runs = [play(env, [outage()], action, 8) for action in (1.0, -1.0)]
    label = env.observation_labels("ess_1").index("ess_1.failed [1]")
    for tick in range(8):
        (_, _, seen, rewards, ends, _, infos), out = runs[0][tick][:7], 4 <= tick < 8
        assert set(rewards) == {"ess_1", "ess_2"}
        assert not any(ends.values())
        assert np.isfinite(rewards["ess_1"])
        assert infos["ess_1"]["due"] == infos["ess_1"]["available"] == (not out)
        following = 3 <= tick < 7
        assert infos["ess_1"]["due_next"] == (not following)
        assert infos["ess_1"]["in_service"].tolist() == [not following]
        assert seen["ess_1"][label] == float(following)
        assert infos["ess_2"]["due_next"]
    held = [[state.slots[0] for state, *_ in run] for run in runs]
    assert held[0][3:] == [1.0] * 5
    assert held[1][3:] == [-1.0] * 5  # what was decided before the outage


def test_a_failed_generator_is_off_and_starts_again() -> None:
    params = {"p_min_mw": 0.1, "p_max_mw": 0.4, "start_cost": 30.0, "no_load_cost_per_h": 8.0, "min_down_h": 1.5}
    env = make(device("dg_1", "DG", **params))
    seen = play(env, [outage("dg_1")])
    money = [env.named(infos["dg_1"])["money"] for *_, infos in seen]
    power = [round(float(output.p_mw[0]), 9) for _, output, *_ in seen]
    assert power == [0.4] * 4 + [0.0] * 6 + [0.4] * 2  # its shortest time off begins with the failure
    assert [entry["fuel"] for entry in money][4:10] == [0.0] * 6
    assert [entry["start"] for entry in money] == [0.0] * 10 + [30.0, 0.0]
    assert sum(entry["start"] + entry["settlement"] for entry in money) == pytest.approx(30.0)


@pytest.mark.parametrize(
    ("kind", "params", "name"),
    [("FuelCell", {"p_max_mw": 0.1}, "hydrogen"), ("Biomass", {"p_max_mw": 0.2}, "fuel"), ("DG", {}, "fuel")],
)
def test_what_stands_still_burns_no_fuel(kind: str, params: dict[str, Any], name: str) -> None:
    env = make(device("unit", kind, **params))
    paid = [env.named(infos["unit"])["money"][name] for *_, infos in play(env, [outage("unit")], 1.0, 6)]
    assert paid[3] > 0.0
    assert paid[4:] == [0.0, 0.0]


def test_what_a_failed_load_does_not_serve_is_paid_for() -> None:
    env = make(battery(), device("load_1", "Load", policy="rule_based", p_mw=0.1, curtailment_cost_per_mwh=500.0))
    demand = float(play(env, [outage("load_1")], 0.0, 6)[-1][0].devices[1].demand_mw[0])
    assert demand > 0.01
    assert env.accounts["load_1"]["money"]["curtailment"] == pytest.approx(500.0 * demand * 0.25)


def test_rates_give_the_share_of_time_out() -> None:
    given = {"mtbf_h": 6.0, "mttr_h": 2.0}
    env = make(battery() | {"failures": given}, battery("ess_2") | {"failures": {"mtbf_h": 200.0, "mttr_h": 1.0}})
    from powergrid.core import random

    episodes, ticks = 4000, 12
    keys = random.key_from_seed(np, np.arange(episodes))
    absences, availability = env.world.absences(np, keys), env.world.layout.availability
    out = np.stack([availability.out(np, np.full(episodes, tick), absences) for tick in range(ticks)])
    share = out.mean(axis=1)
    assert share[:, 0] == pytest.approx(np.full(ticks, 2.0 / 8.0), abs=4.0 * np.sqrt(0.25 * 0.75 / episodes))
    assert share[:, 1].mean() == pytest.approx(1.0 / 201.0, abs=0.002)
    # a Markov chain that is read every quarter of an hour: lambda / s (1 - exp(-s dt))
    fails = (out[1:, :, 0] & ~out[:-1, :, 0]).sum() / (~out[:-1, :, 0]).sum()
    rate = 1.0 / 6.0 + 1.0 / 2.0
    assert fails == pytest.approx((1.0 / 6.0) / rate * (1.0 - np.exp(-0.25 * rate)), rel=0.05)
    assert len(np.unique(absences.begin[:, 0, 0])) > 5
    assert np.array_equal(absences.begin, env.world.absences(np, keys).begin)


def test_a_schedule_replaces_outages_by_rates() -> None:
    env = make(battery() | {"failures": {"mtbf_h": 0.5, "mttr_h": 0.5}})
    assert not any(output.p_mw[0] == 0.0 for _, output, *_ in play(env, [], 0.2))
    env.reset(seed=0)
    assert (env._state.absences.begin < 12).any()


def test_an_episode_continues_from_a_state_in_an_outage() -> None:
    source = world(battery() | {"failures": {"mtbf_h": 1.0, "mttr_h": 1.0}})
    env = powergrid.make(source, backend="numpy", episode_length=12)
    twin = powergrid.make(source, backend="numpy", episode_length=12)
    play(env, [outage()], 0.2, 5)
    twin.set_state(env.get_state())
    for _ in range(7):
        steps = [one.step({"ess_1": np.array([0.2])}) for one in (env, twin)]
        assert np.array_equal(steps[0][0]["ess_1"], steps[1][0]["ess_1"])
        assert steps[0][4]["ess_1"]["due_next"] == steps[1][4]["ess_1"]["due_next"]


def test_environments_of_a_batch_have_schedules_of_their_own() -> None:
    env = powergrid.make_vec(world(battery()), 3, backend="numpy", episode_length=6)
    _, infos = env.reset(seed=0, options={"device_outages": [[], [outage(start=0.0)], [outage(start=900.0)]]})
    assert infos["due_next"]["ess_1"].tolist() == [True, False, True]
    *_, infos = env.step({"ess_1": np.ones((3, 1))})
    assert infos["available"]["ess_1"].tolist() == [True, False, True]
    assert infos["in_service"]["ess_1"].tolist() == [[True], [False], [False]]


def test_only_agents_whose_devices_work_are_asked() -> None:
    env = powergrid.SemiMarkovEnv(make(battery(), battery("ess_2")))
    observations, _ = env.reset(seed=0, options={"device_outages": [outage(start=900.0)]})
    assert set(observations) == {"ess_1", "ess_2"}
    asked = []
    while env.agents:
        observations, *_, infos = env.step({agent: np.zeros(1) for agent in env.due_agents})
        asked.append(set(observations))
    assert asked[:5] == [{"ess_2"}] * 4 + [{"ess_1", "ess_2"}]
    assert infos["ess_1"]["ticks"] == 1


def microgrid(policy: Any, **dg: Any) -> dict[str, Any]:
    """A battery, a generator by rule and a plant behind the meter of the whole feeder."""
    below = [
        battery(),
        device("dg_1", "DG", policy="rule_based" if policy == "centralized" else "learned", p_max_mw=5.0, **dg),
        device("pv_1", "RES", policy="mppt", p_max=0.6),
        {"id": "meter", "type": "GridConnection"},
    ]
    ids = [agent["id"] for agent in below]
    return world(*below, {"id": "mg_1", "type": "GridCoordinator", "policy": policy, "sub_agents": ids})


@pytest.mark.parametrize("out", [False, True])
def test_rules_see_what_the_sun_would_offer_to_plants_that_work(out: bool) -> None:
    env = powergrid.make(microgrid("centralized", marginal_cost_per_mwh=100.0), backend="numpy", episode_length=56)
    labels = env.observation_labels("mg_1")
    observations, _ = env.reset(seed=0, options={"day": 150, "device_outages": [outage("pv_1", 0.0, 1e6)] * out})
    for _ in range(50):
        seen = observations["mg_1"]
        observations, *_ = env.step({"mg_1": np.zeros(1)})
    load, net_load, pv = (
        float(seen[labels.index(f"{name} [MW]")]) for name in ("mg_1.load", "mg_1.net_load", "pv_1.p")
    )
    assert net_load == pytest.approx(load - (0.0 if out else 0.393), abs=0.01)
    assert env.output.p_mw[1] == pytest.approx(net_load, rel=1e-5)  # the generator follows the net load
    assert (pv == 0.0) == out


def test_plans_leave_out_what_does_not_work() -> None:
    """A battery is worth filling with the generator's energy, which else is sold, but not with bought energy."""
    between = {"type": "mpc", "params": {"terminal_price_per_mwh": 80.0}}  # feed-in is 55, retail 107 $/MWh
    env = powergrid.make(microgrid(between, marginal_cost_per_mwh=1.0), backend="numpy", episode_length=4)
    powers = []
    for outages in ([], [outage("dg_1", 0.0, 2 * HOUR)]):
        env.reset(seed=0, options={"day": 150, "device_outages": outages})
        env.step({})
        powers.append(env.output.p_mw[:2].round(6).tolist())
    assert powers == [[-0.2, 5.0], [0.0, 0.0]]  # it charges, or waits for dearer ticks to discharge


def test_a_member_of_a_market_does_not_ask_for_the_cost_of_what_stands_still() -> None:
    members = [
        {"id": f"mg_{k}", "type": "GridCoordinator", "policy": "rule_based", "sub_agents": [f"dg_{k}", f"grid_{k}"]}
        for k in (1, 2)
    ]
    units = [
        device(f"dg_{k}", "DG", bus, "rule_based", p_max_mw=0.3, p_min_mw=0.1) for k, bus in ((1, "671"), (2, "680"))
    ]
    meters = [{"id": f"grid_{k}", "type": "GridConnection", "bus": f"unit:dg_{k}"} for k in (1, 2)]
    trade = [{"type": "p2p_trading", "members": ["mg_1", "mg_2"]}]
    env = powergrid.make(world(*members, *units, *meters, protocols=trade), backend="numpy", episode_length=4)
    limits = []
    for outages in ([], [outage("dg_1", 0.0, HOUR)]):
        env.reset(seed=0, options={"day": 150, "device_outages": outages})
        env.step({})
        limits.append(env._state.layers[0].limit_per_mwh.tolist())
    assert limits[1][0] < limits[0][0]
    assert limits[1][1] == limits[0][1]


SCHEDULES = [
    ({"device": "ess_2", "start": 0.0, "duration": 1.0}, 'there is no device "ess_2"; did you mean "ess_1"'),
    ({"device": "pv_1", "start": 0.0, "duration": 1.0}, "never out of service in this configuration"),
    ({"device": "ess_1", "start": 12 * 900.0, "duration": 1.0}, r'\["start"\] 10800 s lies outside the episode'),
    ({"device": "ess_1", "start": -1.0, "duration": 1.0}, "lies outside the episode, from 0 to 9900 s"),
    ({"device": "ess_1", "start": 0.0, "duration": 0.0}, "must be above 0"),
    ({"device": "ess_1", "start": float("nan"), "duration": 1.0}, "must be a number of seconds, found nan"),
    ({"device": "ess_1", "start": "1 h", "duration": 1.0}, "must be a number of seconds, found '1 h'"),
    ({"device": "ess_1", "begin": 0.0, "duration": 1.0}, 'unknown key "begin"'),
    ({"device": "ess_1", "start": 0.0}, 'lacks "duration"'),
    ("ess_1", "must be a mapping"),
]


@pytest.mark.parametrize(("entry", "message"), SCHEDULES)
def test_faults_of_a_schedule_are_refused(entry: Any, message: str) -> None:
    env = make(battery(), {"id": "pv_1", "type": "RES", "bus": "680", "policy": "mppt"})
    with pytest.raises(ArgumentError, match=message):
        env.reset(options={"device_outages": [entry]})


def test_a_schedule_has_a_list_and_room() -> None:
    env = make(battery())
    with pytest.raises(ArgumentError, match='"device_outages" must be a list, found'):
        env.reset(options={"device_outages": {"device": "ess_1"}})
    with pytest.raises(ArgumentError, match="more than 8 outages"):
        env.reset(options={"device_outages": [outage(start=900.0 * k, duration=1.0) for k in range(9)]})
    with pytest.raises(ArgumentError, match="no device may here"):
        make({**battery(), "failures": None}).reset(options={"device_outages": [outage()]})
    vector = powergrid.make_vec(world(battery()), 3, backend="numpy")
    with pytest.raises(ArgumentError, match="2 lists for 3 environments"):
        vector.reset(options={"device_outages": [[], []]})


FAULTS = [
    ({"failures": {"mtbf_h": -1.0, "mttr_h": 1.0}}, r"failures.mtbf_h"),
    ({"failures": {"mtbf_h": 100.0}}, "mtbf_h and mttr_h belong together"),
    ({"failures": {"mtbf_h": 100.0, "mttr_h": 0.0}}, r"failures.mttr_h"),
    ({"failures": {"mtbf": 100.0, "mttr_h": 1.0}}, 'did you mean "mtbf_h"'),
    ({"failures": {"mtbf_h": 1e-6, "mttr_h": 1e-6}}, "may fail more than 256 times"),
    ({"type": "Regulator", "bus": "650-632", "params": {}, "failures": {}}, "outages of a Regulator are not modelled"),
    ({"type": "GridCoordinator", "bus": None, "params": {}, "failures": {}}, "only devices fail"),
]


@pytest.mark.parametrize(("keys", "message"), FAULTS)
def test_faults_of_a_configuration_are_refused(keys: dict[str, Any], message: str) -> None:
    agent = {key: value for key, value in {**battery(), **keys}.items() if value is not None}
    with pytest.raises(ConfigError, match=message):
        powergrid.make(world(agent, battery("ess_2")), backend="numpy", episode_length=2000)


@pytest.mark.parametrize("form", ["exchange", "consensus"])
def test_a_cooperative_dispatch_goes_on_without_what_does_not_work(form: str) -> None:
    """The units that work serve the target between them."""
    alike = {"p_max_mw": 0.3, "p_min_mw": 0.0, "marginal_cost_slope_per_mw2h": 50.0}
    units = [device(f"dg_{k}", "DG", "671", "rule_based", **alike) for k in (1, 2, 3)]
    names = [unit["id"] for unit in units]
    cooperate = {"type": "admm", "members": names, "params": {"form": form, "target_mw": 0.4, "rounds_per_tick": 200}}
    if form == "consensus":
        cooperate["topology"] = "neighbours"
    env = make(*units, battery(), protocols=[cooperate])
    powers = np.array([output.p_mw[:3] for _, output, *_ in play(env, [outage("dg_2")], 0.0)])
    np.testing.assert_allclose(powers[:4], 0.4 / 3, atol=1e-3)
    np.testing.assert_allclose(powers[4:8], np.broadcast_to([0.2, 0.0, 0.2], (4, 3)), atol=1e-3)
    np.testing.assert_allclose(powers[8:], 0.4 / 3, atol=1e-3)


def test_no_bound_is_claimed_where_devices_fail() -> None:
    with pytest.raises(NetworkError, match=r"join and leave \(ess_1\)"):
        make(battery()).export_episode(30)


@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.builds(
            outage,
            st.sampled_from(["ess_1", "dg_1", "pv_1", "heat_1"]),
            st.floats(0.0, 11.4 * 900.0),
            st.floats(1e-3, 1e5),
        ),
        max_size=8,
    ),
    st.integers(0, 2**32 - 1),
)
def test_no_schedule_makes_a_number_nan(outages: list[dict[str, Any]], seed: int) -> None:
    env = _ANY
    rng = np.random.default_rng(seed)
    observations, _ = env.reset(seed=seed, options={"device_outages": outages})
    for _ in range(12):
        assert all(np.isfinite(seen).all() for seen in observations.values())
        actions = {agent: rng.uniform(-1.0, 1.0, env.action_space(agent).shape) for agent in env.agents}
        observations, rewards, _, _, infos = env.step(actions)
        assert np.isfinite(list(rewards.values())).all()
        assert np.isfinite(infos["dg_1"]["money"]).all()
        assert np.isfinite(env.state()).all()
        out = env._state.signals[env.world.layout.availability.column :]
        failed = env.world.layout.availability.out(np, env._state.tick - 1, env._state.absences)
        assert np.array_equal(env.output.p_mw[failed], np.zeros(failed.sum()))
        assert set(np.unique(out)) <= {0.0, 1.0}


_ANY = make(
    battery(),
    device("dg_1", "DG", p_max_mw=0.3, commitment=True, start_cost=10.0),
    device("pv_1", "RES", p_max=0.3),
    device("heat_1", "HeatPump", policy="rule_based"),
)
