"""Agents that join and leave: who acts, what goes on without them, and what PettingZoo demands."""

from __future__ import annotations

import copy
import functools
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pettingzoo.test import api_test, parallel_api_test

import powergrid
from powergrid.core import random
from powergrid.core.errors import ActionError, ArgumentError, ConfigError
from powergrid.engine.switching import NEVER

TICK = 900.0
STAY = {"joins": 2 * TICK, "leaves": 5 * TICK}


def battery(k: int, **keys: Any) -> dict[str, Any]:
    return {"id": f"ess_{k}", "type": "ESS", "bus": "671", "params": {"capacity_mwh": 1.0, "max_p_mw": 0.2}, **keys}


def world(*agents: dict[str, Any], ticks: int = 8, **keys: Any) -> dict[str, Any]:
    simulation = {"episode_length": ticks}
    return {"name": "lives", "network": "ieee13", "agents": list(agents), "simulation": simulation, **keys}


THREE = world(battery(1), battery(2, presence=STAY), battery(3, presence={"leaves": 3 * TICK}))


def make(config: dict[str, Any] = THREE, **keys: Any) -> Any:
    return powergrid.make(config, backend="numpy", **keys)


def same(env: Any, action: float = 0.5) -> dict[str, np.ndarray]:
    return {agent: np.full(env.action_space(agent).shape, action, np.float32) for agent in env.agents}


def play(env: Any, action: float = 0.5, **options: Any) -> list[tuple[Any, ...]]:
    env.reset(seed=0, options={"day": 30, **options})
    seen = []
    while env.agents:
        seen.append((list(env.agents), *env.step(same(env, action)), env.output, env._state))
    return seen


def test_agents_are_those_that_are_there() -> None:
    steps = play(make())
    first, second, third = "ess_1", "ess_2", "ess_3"
    assert [set(acting) for acting, *_ in steps] == [{first, third}] * 2 + [{first, second, third}] + [
        {first, second}
    ] * 2 + [{first}] * 3
    observed = [set(observations) for _, observations, *_ in steps]
    assert observed[1] == {first, second, third}  # whoever joins has its first observation and no reward yet
    assert steps[1][2][second] == 0.0
    died = {agent: [tick for tick, step in enumerate(steps) if step[3].get(agent)] for agent in (first, second, third)}
    assert died == {first: [], second: [4], third: [2]}
    assert all(set(step[1]) == set(step[2]) == set(step[3]) == set(step[4]) == set(step[5]) for step in steps)
    assert all(steps[-1][4].values())


def test_what_an_absent_agent_decides_for_exchanges_nothing_and_stands_still() -> None:
    steps = play(make())
    powers = np.array([output.p_mw for *_, output, _ in steps])
    assert (powers[:, 0] > 0.0).all()
    assert np.flatnonzero(powers[:, 1]).tolist() == [2, 3, 4]
    assert np.flatnonzero(powers[:, 2]).tolist() == [0, 1, 2]
    charge = np.array([state.devices[0].soc for *_, state in steps])
    assert np.ptp(charge[4:, 1]) == 0.0 == np.ptp(charge[:2, 1])


@pytest.mark.filterwarnings("ignore:Agents have different:UserWarning", "ignore:Observations are:UserWarning")
def test_pettingzoo_accepts_it() -> None:
    parallel_api_test(make(), num_cycles=40)
    api_test(make(api="aec"), num_cycles=40)


def test_turns_end_with_the_agent() -> None:
    env = make(api="aec")
    env.reset(seed=0)
    turns: dict[str, list[bool]] = {}
    for agent in env.agent_iter():
        _, _, terminated, truncated, _ = env.last()
        turns.setdefault(agent, []).append(terminated)
        env.step(None if terminated or truncated else env.action_space(agent).sample())
    assert {agent: len(own) for agent, own in turns.items()} == {"ess_1": 9, "ess_2": 4, "ess_3": 4}
    assert turns["ess_2"] == turns["ess_3"] == [False, False, False, True]


def test_actions_are_of_those_that_are_there() -> None:
    env = make()
    env.reset(seed=0)
    assert set(env.policy_actions("random")) == {"ess_1", "ess_3"} == set(env.due_agents)
    with pytest.raises(ActionError, match="ess_2"):
        env.step({**same(env), "ess_2": np.zeros(1)})
    env.step_array(np.zeros((3, 1)))
    assert env.agents == ["ess_1", "ess_3"]


def test_a_schedule_says_who_is_there() -> None:
    """It stands for all agents of the episode: those that it does not list stay throughout."""
    steps = play(make(), presence=[{"agent": "ess_3", "joins": TICK, "leaves": 2 * TICK}])
    assert [acting for acting, *_ in steps[:3]] == [["ess_1", "ess_2"], ["ess_1", "ess_2", "ess_3"], ["ess_1", "ess_2"]]
    vector = powergrid.make_vec(THREE, 2, backend="numpy")
    infos = vector.reset(seed=0, options={"presence": [[], [{"agent": "ess_2", "joins": TICK}]]})[1]
    assert {agent: there.tolist() for agent, there in infos["alive"].items()} == {
        "ess_1": [True, True],
        "ess_2": [True, False],
        "ess_3": [True, True],
    }


def test_a_batch_says_who_is_there_and_who_left() -> None:
    vector, alone = powergrid.make_vec(THREE, 2, backend="numpy"), make()
    infos = vector.reset(seed=0)[1]
    alone.reset(seed=0)
    alive, left = [infos["alive"]], []
    while alone.agents:
        rewards = alone.step(same(alone))[1]
        actions = {agent: np.full((2, 1), 0.5) for agent in vector.possible_agents}
        seen, together, _, _, infos = vector.step(actions)
        for agent in vector.possible_agents:  # of environment 0, which has the same seed
            assert together[agent][0] == pytest.approx(rewards.get(agent, 0.0))
            assert seen[agent][0].any() == infos["alive"][agent][0]
        alive.append(infos["alive"])
        left.append(infos["left"])
    there = {agent: [bool(row[agent][0]) for row in alive] for agent in vector.possible_agents}
    assert there["ess_2"] == [False, False, True, True, True, False, False, False, False]  # the next episode begins
    gone = {agent: [tick for tick, row in enumerate(left) if row[agent][0]] for agent in vector.possible_agents}
    assert gone == {"ess_1": [], "ess_2": [4], "ess_3": [2]}


def test_an_episode_continues_from_a_state() -> None:
    env = make()
    env.reset(seed=0)
    for _ in range(3):
        env.step(same(env))
    twin = copy.deepcopy(env)
    assert twin.agents == env.agents == ["ess_1", "ess_2"]
    while env.agents:
        one, two = env.step(same(env)), twin.step(same(twin))
        assert one[1:4] == two[1:4]
        assert env.agents == twin.agents


def test_an_interval_ends_with_its_agent() -> None:
    """ess_3 holds an action for two ticks and leaves in the middle of the second time."""
    config = {**THREE, "agents": [battery(1), battery(3, presence={"leaves": 3 * TICK}, interval=1800)]}
    env, plain = powergrid.SemiMarkovEnv(make(config)), make(config)
    env.reset(seed=0)
    steps = []
    while env.agents:
        steps.append(env.step({agent: np.full(1, 0.5) for agent in env.due_agents}))
    plain.reset(seed=0)
    rewards = []
    while plain.agents:
        rewards.append(plain.step(same(plain))[1].get("ess_3", 0.0))
    ends = [(tick, step[1]["ess_3"], step[2]["ess_3"], step[4]["ess_3"]["ticks"]) for tick, step in enumerate(steps)
            if "ess_3" in step[1]]  # fmt: skip
    assert ends == [(1, pytest.approx(sum(rewards[:2])), False, 2), (2, pytest.approx(rewards[2]), True, 1)]
    assert not any(rewards[3:])


def coordinated(**boss: Any) -> dict[str, Any]:
    """A coordinator of a battery and of a plant with a rule of its own, beside a battery that stays."""
    sun = {"id": "pv_1", "type": "RES", "bus": "680", "policy": "mppt", "params": {"p_max_mw": 0.1}}
    above = {"id": "mg_1", "type": "GridCoordinator", "sub_agents": ["ess_2", "pv_1"], **boss}
    large = {"capacity_mwh": 10.0, "max_p_mw": 0.2}
    return world(battery(1), battery(2, params=large), sun, above, simulation={"episode_length": 4, "time_step": 21600})


def test_devices_that_decide_for_themselves_go_on() -> None:
    env = make(coordinated(policy="centralized", presence={"leaves": 2 * 21600.0}))
    assert env.possible_agents == ["ess_1", "mg_1"]
    steps = play(env)
    powers = np.array([output.p_mw for *_, output, _ in steps])
    units = [unit for family in env.world.layout.families for unit in family.ids]
    sun = powers[:, units.index("pv_1")]
    assert np.flatnonzero(powers[:, units.index("ess_2")]).tolist() == [0, 1]
    assert sun[2] > 0.0  # at noon
    assert steps[1][3] == {"ess_1": False, "mg_1": True}


def seen(env: Any, step: tuple[Any, ...], agent: str, label: str) -> float:
    """One number of an agent's observation after a step of `play`."""
    return float(step[1][agent][env.observation_labels(agent).index(label)])


def test_the_price_that_an_agent_sent_last_stays() -> None:
    """Before it joins there is the price with which an agent starts that has not decided yet."""
    config = coordinated(policy="learned", protocol={"type": "price_signal"}, presence={})
    env = make(config)
    stay = [{"agent": "mg_1", "joins": 21600.0, "leaves": 2 * 21600.0}]
    steps = play(env, presence=stay)
    prices = [seen(env, step, "ess_2", "mg_1.signal_price [$/MWh]") for step in steps]
    assert prices == pytest.approx([100.0, 150.0, 150.0, 150.0])


def test_whoever_is_absent_sends_no_message() -> None:
    """What it sent before arrives all the same."""
    config = {**THREE, "messages": {"width": 1, "topology": "neighbours", "delay": 900}}
    env = make(config)
    env.reset(seed=0)
    age = env.observation_labels("ess_1").index("ess_1.msg_age_from_ess_2 [s]")
    ages = []
    while env.agents:
        ages.append(env.step(same(env))[0]["ess_1"][age])
    assert ages == [86400.0] * 3 + [1800.0] * 3 + [2700.0, 3600.0]


def test_whoever_is_absent_does_not_trade() -> None:
    """A generator sells to one battery, then to two, then to none."""
    env = _traders()
    stay = [{"agent": "ess_2", "joins": 2 * TICK}, {"agent": "dg_1", "leaves": 4 * TICK}]
    env.reset(seed=0, options={"day": 30, "presence": stay})
    paid = []
    while env.agents:
        env.step({agent: np.array([0.6, -1.0] if agent == "dg_1" else [-0.6, 1.0]) for agent in env.agents})
        paid.append(env.output.money[:3, env.money_names.index("p2p")].tolist())
    one, two, nothing = [1.4274, 0.0, -1.4274], [1.4274, 1.4274, -2.8548], [0.0, 0.0, 0.0]
    np.testing.assert_allclose(paid, [one] * 2 + [two] * 2 + [nothing] * 4, atol=1e-3)


def test_a_capacitor_stays_as_its_agent_left_it() -> None:
    """An agent without a device that injects."""
    bank = {"id": "cap_1", "type": "Capacitor", "bus": "675", "policy": "learned", "params": {"control": "manual"}}
    env = make(world(battery(1), {**bank, "presence": {"joins": TICK, "leaves": 3 * TICK}}))
    steps = play(env, action=-1.0)
    assert [len(step[0]) for step in steps] == [1, 2, 2] + [1] * 5
    assert [float(step[-1].devices[1].on[0]) for step in steps] == [1.0] + [0.0] * 7


def test_lifetimes_are_exponential() -> None:
    """Means and shares over many episodes; whoever joins late lives as long."""
    config = world(
        battery(1), battery(2, presence={"joins": [0, 24 * TICK], "lifetime_h": 2.0}), battery(3, presence={}), ticks=96
    )
    drawn = make(config).world.absences(np, random.key_from_seed(np, np.arange(20_000, dtype=np.uint64)))
    joins, leaves = drawn.joins[:, 0], drawn.leaves[:, 0]
    assert np.bincount(joins).tolist() == pytest.approx([20_000 / 25] * 25, rel=0.15)
    lasts = 1.0 - np.exp(-0.25 / 2.0 * np.arange(1, 41))  # probability to have left after so many ticks
    measured = [((leaves - joins) <= k).mean() for k in range(1, 41)]
    np.testing.assert_allclose(measured, lasts, atol=0.015)
    assert (leaves > joins).all()
    assert ((leaves < 96) | (leaves == NEVER)).all()
    assert (drawn.joins[:, 1] == 0).all()
    assert (drawn.leaves[:, 1] == NEVER).all()


SCHEDULES = [
    ({"agent": "ess_4", "joins": 0.0}, 'there is no agent "ess_4"; did you mean "ess_'),
    ({"agent": "ess_1", "joins": 0.0}, 'agent "ess_1" is never absent in this configuration.*give it presence: {}'),
    ({"agent": "ess_2", "joins": 8 * TICK}, r'\["joins"\] 7200 s lies outside the episode, from 0 to 6300 s'),
    ({"agent": "ess_2", "leaves": -1.0}, "lies outside the episode"),
    ({"agent": "ess_2", "leaves": float("nan")}, "must be a number of seconds, found nan"),
    ({"agent": "ess_2", "joins": 2 * TICK, "leaves": 2 * TICK}, "must be at least a tick of 900 s after 1800 s"),
    ({"agent": "ess_2", "dies": 1.0}, 'unknown key "dies"'),
    ({"joins": 1.0}, 'lacks "agent"'),
    ("ess_2", "must be a mapping"),
]


@pytest.mark.parametrize(("entry", "message"), SCHEDULES)
def test_faults_of_a_schedule_are_refused(entry: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        make().reset(options={"presence": [entry]})


def test_nobody_returns() -> None:
    twice = [{"agent": "ess_2", "leaves": TICK}, {"agent": "ess_2", "joins": 2 * TICK}]
    with pytest.raises(ArgumentError, match="one that has left does not return"):
        make().reset(options={"presence": twice})


FAULTS = [
    ({"presence": {"joins": -1.0}}, "must be two times in order, from 0 on"),
    ({"presence": {"joins": [1800.0, 900.0]}}, "must be two times in order"),
    ({"presence": {"lifetime_h": 0.0}}, "presence.lifetime_h"),
    ({"presence": {"lifetime_h": -2.0}}, "presence.lifetime_h"),
    ({"presence": {"leave": 900.0}}, 'did you mean "leaves"'),
    ({"presence": {"leaves": 0.0}}, "leaves 0 must be after joins 0"),
    ({"presence": {"leaves": 7200.0}}, "leaves 7200 s lies outside the ticks of the episode, 7200 s"),
    ({"presence": {"joins": 900.0, "leaves": 1000.0}}, "less than the time step of 900 s after it joins at 900 s"),
    (
        {"presence": {}, "type": "GridCoordinator", "sub_agents": ["ess_1"]},
        '"ess_2" has a presence, but decides nothing',
    ),
]


@pytest.mark.parametrize(("keys", "message"), FAULTS)
def test_faults_of_a_configuration_are_refused(keys: dict[str, Any], message: str) -> None:
    agent = {**battery(2), **keys}
    if "sub_agents" in keys:
        del agent["bus"], agent["params"]
    with pytest.raises(ConfigError, match=message):
        make(world(battery(1), agent))


def test_nobody_leaves_a_tap_that_moves() -> None:
    tap = {"id": "reg_1", "type": "Regulator", "bus": "650-RG60", "policy": "learned", "presence": {}}
    with pytest.raises(ConfigError, match='nobody would stop the steps of "reg_1"'):
        make(world(battery(1), {**tap, "params": {"local_control": False}}))


def test_somebody_stays() -> None:
    with pytest.raises(ConfigError, match="all agents that act may be absent: ess_1, ess_2"):
        make(world(battery(1, presence={}), battery(2, presence={})))


def test_members_of_a_mean_stay() -> None:
    mean = [{"type": "consensus", "members": ["ess_1", "ess_2"]}]
    with pytest.raises(ConfigError, match='consensus: "ess_2" may be absent'):
        make(world(battery(1), battery(2, presence={}), protocols=mean))


def test_the_example_runs() -> None:
    env = make("configs/agents_join_and_leave.yaml")
    env.reset(seed=0)
    assert env.agents == ["ess_1", "dg_1", "dg_2"]
    env.step(same(env))


def times(agent: str) -> st.SearchStrategy[dict[str, Any]]:
    """Stays of one agent."""
    first, last = st.integers(0, 7), st.integers(1, 7)
    return st.builds(
        lambda joins, ticks: (
            {"agent": agent, "joins": joins * TICK} | ({"leaves": (joins + ticks) * TICK} if joins + ticks < 8 else {})
        ),
        first,
        last,
    )


@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(["ess_2", "dg_1"]), unique=True).flatmap(lambda ids: st.tuples(*map(times, ids))),
       st.integers(0, 2**32))  # fmt: skip
def test_no_schedule_makes_a_number_nan(stays: tuple[dict[str, Any], ...], seed: int) -> None:
    env = _traders()
    observations, _ = env.reset(seed=seed, options={"presence": list(stays)})
    rng = np.random.default_rng(seed)
    numbers = [*observations.values()]
    while env.agents:
        actions = {agent: rng.uniform(-1.0, 1.0, env.action_space(agent).shape) for agent in env.agents}
        observations, rewards, *_ = env.step(actions)
        numbers += [*observations.values(), np.array(list(rewards.values())), env.output.p_mw, env.output.money]
        numbers += [np.asarray(part, float).ravel() for layer in env._state.layers for part in layer]
    assert np.isfinite(np.concatenate([np.ravel(part) for part in numbers])).all()


@functools.cache
def _traders() -> Any:
    generator = {"id": "dg_1", "type": "DG", "bus": "675", "params": {"p_max_mw": 0.3}, "presence": {}}
    trade = [{"type": "p2p_trading", "members": ["dg_1", "ess_1", "ess_2"]}]
    return make(world(battery(1), battery(2, presence={}), generator, protocols=trade))
