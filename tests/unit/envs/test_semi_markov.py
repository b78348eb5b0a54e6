"""From decision to decision: who appears, and the rewards of intervals against sums of the parallel environment's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import powergrid
from powergrid.core.errors import ActionError, ArgumentError

HOUR = 3600
BATTERY = {"type": "ESS", "policy": "learned", "params": {"capacity_mwh": 2.0, "max_p_mw": 0.5}}
IDS = ("ess_1", "ess_2", "ess_3")
BUSES = ("671", "634", "675")


def config(times: list[tuple[int, int]], ticks: int) -> dict[str, Any]:
    """Batteries with an interval and an offset each, in ticks of an hour."""
    agents = [
        {**BATTERY, "id": id, "bus": bus, "interval": interval * HOUR, "offset": offset * HOUR}
        for id, bus, (interval, offset) in zip(IDS, BUSES, times, strict=False)
    ]
    time = {"episode_length": ticks, "time_step": HOUR}
    return {"name": "rates", "network": "ieee13", "agents": agents, "simulation": time}


def chosen(agent: str, tick: int) -> np.ndarray:
    """A number of its own for each agent and tick."""
    return np.random.default_rng([tick, *agent.encode()]).uniform(-1.0, 1.0, 1)


def held(times: list[tuple[int, int]], ticks: int) -> list[dict[str, np.ndarray]]:
    """Actions of all agents in every tick as they hold them."""
    rows = []
    for tick in range(ticks):
        row = {}
        for agent, (interval, offset) in zip(IDS, times, strict=False):
            decided = tick - (tick - offset) % interval
            row[agent] = chosen(agent, decided) if decided >= offset else np.zeros(1)
        rows.append(row)
    return rows


def in_parallel(source: dict[str, Any], actions: list[dict[str, np.ndarray]]) -> tuple[list, np.ndarray, list]:
    """Observations, rewards ``(ticks, A)`` and infos of the parallel environment."""
    env = powergrid.make(source)
    observations, _ = env.reset(seed=4, options={"day": 180})
    seen, rewards, infos = [observations], [], []
    for row in actions:
        observations, reward, *_, info = env.step(row)
        seen.append(observations)
        rewards.append(list(reward.values()))
        infos.append(info)
    return seen, np.array(rewards), infos


def by_decisions(source: dict[str, Any], gamma: float) -> list[tuple[int, dict, dict, dict, dict, dict]]:
    """Tick, observations, rewards, terminations, truncations and infos of each step from decision to decision."""
    env = powergrid.SemiMarkovEnv(powergrid.make(source), gamma=gamma)
    observations, infos = env.reset(seed=4, options={"day": 180})
    found = [(env.env._tick, observations, {}, {}, {}, infos)]
    while env.agents:
        actions = {agent: chosen(agent, env.env._tick) for agent in observations}
        observations, *rest = env.step(actions)
        found.append((env.env._tick, observations, *rest))
    return found


def test_rewards_of_intervals_are_discounted_from_the_decision():
    """Three batteries that decide every 3, 2 and 4 ticks, the last one first at tick 1, for 7 ticks."""
    times, gamma = [(3, 0), (2, 0), (4, 1)], 0.9
    source = config(times, 7)
    seen, r, parallel = in_parallel(source, held(times, 7))
    steps = by_decisions(source, gamma)
    assert [tick for tick, *_ in steps] == [0, 1, 2, 3, 4, 5, 6, 7]
    one, two, three = r.T
    expected = [
        {"ess_1": None, "ess_2": None},
        {"ess_3": (0.0, 0)},  # its first observation
        {"ess_2": (two[0] + gamma * two[1], 2)},
        {"ess_1": (one[0] + gamma * one[1] + gamma**2 * one[2], 3)},
        {"ess_2": (two[2] + gamma * two[3], 2)},
        {"ess_3": (three[0] + three[1] + gamma * three[2] + gamma**2 * three[3] + gamma**3 * three[4], 4)},
        {"ess_1": (one[3] + gamma * one[4] + gamma**2 * one[5], 3), "ess_2": (two[4] + gamma * two[5], 2)},
        {"ess_1": (one[6], 1), "ess_2": (two[6], 1), "ess_3": (three[5] + gamma * three[6], 2)},
    ]
    for (tick, observations, rewards, terminations, truncations, infos), wanted in zip(steps, expected, strict=True):
        assert list(observations) == list(infos) == list(wanted)
        assert all(np.array_equal(observations[agent], seen[tick][agent]) for agent in observations)
        if tick:
            assert list(rewards) == list(wanted)
            assert rewards == pytest.approx({agent: reward for agent, (reward, _) in wanted.items()}, rel=1e-12)
            assert {agent: info["ticks"] for agent, info in infos.items()} == {a: n for a, (_, n) in wanted.items()}
            assert terminations == dict.fromkeys([*wanted, "__all__"], False)
            assert truncations == dict.fromkeys([*wanted, "__all__"], tick == 7)
    money = sum(info["ess_1"]["money"] for info in parallel[3:6])
    assert steps[6][5]["ess_1"]["money"] == pytest.approx(money, rel=1e-12)
    assert steps[6][5]["ess_1"]["costs"] == pytest.approx(sum(info["ess_1"]["costs"] for info in parallel[3:6]))


@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_undiscounted_rewards_sum_to_those_of_the_parallel_environment(data):
    times = []
    for _ in range(data.draw(st.integers(1, 3))):
        interval = data.draw(st.integers(1, 6))
        times.append((interval, data.draw(st.integers(0, interval - 1))))
    ticks = data.draw(st.integers(1, 9))
    source = config(times, ticks)
    agents = [agent["id"] for agent in source["agents"]]
    if all(offset >= ticks for _, offset in times):
        with pytest.raises(ArgumentError, match="no agent decides within an episode"):
            powergrid.SemiMarkovEnv(powergrid.make(source))
        return
    _, rewards, _ = in_parallel(source, held(times, ticks))
    steps = by_decisions(source, 1.0)
    sums = {agent: sum(step[2].get(agent, 0.0) for step in steps) for agent in agents}
    assert sums == pytest.approx(dict(zip(agents, rewards.sum(0), strict=True)), rel=1e-9)
    for agent, (interval, offset) in zip(agents, times, strict=False):
        due = [tick for tick, observations, *_ in steps if agent in observations]
        assert due == sorted({*range(offset, ticks, interval), ticks})


def test_agents_that_decide_in_every_tick_are_those_of_the_parallel_environment():
    source = config([(1, 0)] * 3, 5)
    seen, rewards, _ = in_parallel(source, held([(1, 0)] * 3, 5))
    steps = by_decisions(source, 0.9)
    assert [list(step[2].values()) for step in steps[1:]] == rewards.tolist()
    assert all(list(step[1]) == list(IDS) for step in steps)
    assert all(np.array_equal(step[1][id], first[id]) for step, first in zip(steps, seen, strict=True) for id in IDS)


def test_infos_say_whose_action_counts_next():
    """In the parallel and in the vector environment, over the end of an episode."""
    source = config([(2, 0), (3, 1)], 4)
    env, many = powergrid.make(source), powergrid.make_vec(source, 2)
    _, infos = env.reset(seed=1)
    _, rows = many.reset(seed=1)
    wanted = [(True, False), (False, True), (True, False), (False, False), (False, True)]
    for tick, due_next in enumerate(wanted[:4]):
        assert tuple(info["due_next"] for info in infos.values()) == due_next
        assert [tuple(row) for row in np.array(list(rows["due_next"].values())).T] == [due_next] * 2
        assert env.due_agents == [id for id, due in zip(IDS, due_next, strict=False) if due]
        *_, infos = env.step(dict.fromkeys(IDS[:2], np.zeros(1)))
        *_, rows = many.step(dict.fromkeys(IDS[:2], np.zeros((2, 1))))
        assert tuple(info["due"] for info in infos.values()) == due_next, tick
    assert not any(info["due_next"] for info in infos.values())
    assert env.due_agents == []
    assert [row.tolist() for row in rows["due_next"].values()] == [[True, True], [False, False]]  # of the next episode


def test_agents_that_decide_in_python_do_not_appear():
    source = config([(2, 0), (1, 0), (3, 1)], 5)
    source["agents"][1]["policy"] = "python"
    parallel = powergrid.make(source)
    parallel.agent("ess_2").decide = lambda observation: np.full(1, 0.4)
    env = powergrid.SemiMarkovEnv(parallel)
    observations, _ = env.reset(seed=4, options={"day": 180})
    appear = []
    while env.agents:
        appear.append(list(observations))
        observations, rewards, *_ = env.step({agent: chosen(agent, env.env._tick) for agent in observations})
    assert appear == [["ess_1"], ["ess_3"], ["ess_1"], ["ess_1", "ess_3"]]
    assert list(rewards) == ["ess_1", "ess_3"]


def test_actions_of_agents_that_are_not_due_have_no_effect():
    source = config([(2, 0), (3, 1)], 6)
    plans = []
    for noise in (0.0, 0.9):
        env = powergrid.make(source)
        _, infos = env.reset(seed=1)
        record = []
        while env.agents:
            actions = {a: chosen(a, env._tick) * (1.0 if infos[a]["due_next"] else noise) for a in env.agents}
            observations, rewards, *_, infos = env.step(actions)
            record += [*rewards.values(), *np.concatenate(list(observations.values())).tolist()]
        plans.append(record)
    assert plans[0] == plans[1]


def test_faults_are_named():
    env = powergrid.SemiMarkovEnv(powergrid.make(config([(2, 0), (3, 1)], 4)))
    env.reset(seed=1)
    none = np.zeros(1)
    with pytest.raises(ActionError, match=r'"ess_2", which is not due and holds its last one; .* for: ess_1'):
        env.step({"ess_1": none, "ess_2": none})
    with pytest.raises(ActionError, match='no action for agent "ess_1", which is due'):
        env.step({})
    with pytest.raises(ActionError, match='"ess_7", which does not act here; did you mean "ess_'):
        env.step({"ess_7": none})
    with pytest.raises(ActionError, match='"ess_1" has shape'):
        env.step({"ess_1": np.zeros(2)})
    env.step({"ess_1": none})
    for action in ({"ess_2": none}, {"ess_1": none}):
        env.step(action)
    assert env.env._tick == 4
    with pytest.raises(ActionError, match="the episode is over"):
        env.step({})
    for gamma in (0.0, 1.5, float("nan"), "much"):
        with pytest.raises(ArgumentError, match="gamma"):
            powergrid.SemiMarkovEnv(env.env, gamma=gamma)
    with pytest.raises(ArgumentError, match="SemiMarkovEnv is not a parallel environment"):
        powergrid.SemiMarkovEnv(env)
