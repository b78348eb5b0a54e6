"""Who acts in which tick, and what holds in between."""

from __future__ import annotations

import numpy as np
import pytest
import small_worlds
from small_worlds import DG, ESS, METER, PV, operator

HOUR = 3600


def follow(env, ticks: int) -> tuple[list[dict[str, bool]], np.ndarray]:
    """Who was due, and the injections, while every action grows by a tenth a tick from -0.5."""
    env.reset(seed=1, options={"day": 180})
    due, powers = [], []
    for tick in range(ticks):
        wanted = -0.5 + 0.1 * tick
        *_, infos = env.step({agent: np.full(env.action_space(agent).shape, wanted) for agent in env.agents})
        due.append({agent: info["due"] for agent, info in infos.items()})
        powers.append(env.output.p_mw)
    return due, np.array(powers)


def test_every_agent_acts_in_every_tick_by_default():
    due, powers = follow(small_worlds.make(ESS, DG, PV), 4)
    assert all(all(row.values()) for row in due)
    assert powers[:, 1] == pytest.approx(0.4 * (np.arange(4) * 0.1 + 0.5) / 2.0)


def test_agents_hold_their_action_between_decisions():
    env = small_worlds.make({**ESS, "interval": 3 * HOUR}, {**DG, "interval": 2 * HOUR}, PV)
    due, powers = follow(env, 7)
    assert [row["ess_1"] for row in due] == [True, False, False, True, False, False, True]
    assert [row["dg_1"] for row in due] == [True, False] * 3 + [True]
    assert all(row["pv_1"] for row in due)
    decided = np.array([0, 0, 2, 2, 4, 4, 6])
    assert powers[:, 1] == pytest.approx(0.4 * (decided * 0.1 + 0.5) / 2.0)
    assert powers[0, 0] == powers[1, 0] == pytest.approx(-0.125)


def test_nobody_decides_before_its_offset_and_devices_idle_until_then():
    env = small_worlds.make(
        {**ESS, "interval": 2 * HOUR, "offset": 3 * HOUR}, {**DG, "interval": 4 * HOUR, "offset": HOUR}, PV
    )
    due, powers = follow(env, 7)
    assert [row["ess_1"] for row in due] == [False, False, False, True, False, True, False]
    assert [row["dg_1"] for row in due] == [False, True, False, False, False, True, False]
    assert not powers[:3, 0].any()  # a battery rests, a generator stays at its lowest power
    assert powers[0, 1] == 0.0
    assert powers[1:5, 1] == pytest.approx(0.4 * 0.6 / 2.0)


def test_a_coordinator_holds_the_commands_of_all_its_devices():
    env = small_worlds.make(ESS, DG, PV, METER, operator(interval=2 * HOUR))
    due, powers = follow(env, 4)
    assert [row["operator_1"] for row in due] == [True, False, True, False]
    assert powers[0, 1] == powers[1, 1] != powers[2, 1] == powers[3, 1]


def test_actions_are_mapped_to_physical_limits_and_clipped():
    env = small_worlds.make(ESS, DG, PV)
    for value, power, count in ((-1.0, 0.0, 0), (0.0, 0.2, 0), (1.0, 0.4, 0), (7.0, 0.4, 1), (-7.0, 0.0, 1)):
        env.reset(seed=1, options={"day": 180})
        *_, infos = env.step({"ess_1": np.zeros(1), "dg_1": np.array([value]), "pv_1": np.ones(1)})
        assert env.output.p_mw[1] == pytest.approx(power)
        assert (infos["dg_1"]["clipped"], infos["ess_1"]["clipped"]) == (count, 0)


def test_local_policies_fill_what_nobody_acts_for():
    env = small_worlds.make(ESS, {**DG, "policy": "rule_based"}, {**PV, "policy": "mppt"}, METER, operator())
    env.reset(seed=1, options={"day": 180})
    for _ in range(8):
        expected = env.policy_actions("rule_based")
        before = env._state
        env.step(expected)
        now = env.world.table[int(before.row)]
        available = now[env.world.layout.columns.column("pv_pu:south")]
        output = dict(zip(env.world.layout.units, env.output.p_mw, strict=True))
        assert output["pv_1"] == pytest.approx(0.6 * available)
        columns = env.world.layout.columns
        retail, feed_in = now[columns.column("retail_per_mwh")], now[columns.column("feed_in_per_mwh")]
        net_mw = now[columns.column("load_p_pu:com_1")] * env.world.network.loads.p_mw.sum() - 0.6 * available
        sells, buys_not = (np.clip((price - 45.0) / 80.0, 0.0, 0.4) for price in (feed_in, retail))
        assert output["dg_1"] == pytest.approx(np.clip(net_mw, sells, buys_not))


def test_the_random_policy_is_seeded_and_uniform():
    env = small_worlds.make(ESS, DG, {**PV, "policy": "random"})
    env.reset(seed=5)
    first = env.policy_array("random")
    assert (first == env.policy_array("random")).all()
    drawn = []
    for seed in range(300):
        env.reset(seed=seed, options={"day": 10})
        drawn.append(env.policy_array("random")[:, 0])
    drawn = np.array(drawn)
    assert np.abs(drawn.mean(0)).max() < 5.0 / np.sqrt(3 * 300)
    assert drawn.std(0) == pytest.approx(np.full(2, 1.0 / np.sqrt(3.0)), abs=0.1)
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.25
