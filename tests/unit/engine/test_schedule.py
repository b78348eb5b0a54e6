"""Who acts in which tick, and what holds in between."""

from __future__ import annotations

import numpy as np
import pytest
import small_worlds
from small_worlds import DG, ESS, METER, PV, operator

import powergrid
from powergrid.core.backend import jax_float64

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
        {**ESS, "interval": 4 * HOUR, "offset": 3 * HOUR}, {**DG, "interval": 4 * HOUR, "offset": HOUR}, PV
    )
    due, powers = follow(env, 7)
    assert [row["ess_1"] for row in due] == [False, False, False, True, False, False, False]
    assert [row["dg_1"] for row in due] == [False, True, False, False, False, True, False]
    assert not powers[:3, 0].any()  # a battery rests, a generator stays at its lowest power
    assert powers[0, 1] == 0.0
    assert powers[1:5, 1] == pytest.approx(0.4 * 0.6 / 2.0)


def test_levels_have_intervals_and_agents_may_have_their_own():
    """Battery and coordinator by level, the generator by itself."""
    system = {"id": "iso_1", "type": "SystemAgent", "policy": "learned", "protocol": "price_signal"}
    grid = operator(protocol="price_signal", sub_agents=["ess_1", "dg_1"])
    agents = (ESS, {**DG, "interval": HOUR}, METER, grid, {**system, "sub_agents": ["operator_1"]})
    intervals = {"device": 2 * HOUR, "grid": 3 * HOUR, "system": 4 * HOUR}
    time = {"episode_length": 8, "time_step": HOUR, "intervals": intervals}
    due, _ = follow(small_worlds.make(*agents, simulation=time), 6)
    ticks = {id: [tick for tick, row in enumerate(due) if row[id]] for id in due[0]}
    assert ticks == {"ess_1": [0, 2, 4], "dg_1": [0, 1, 2, 3, 4, 5], "operator_1": [0, 3], "iso_1": [0, 4]}


def test_intervals_of_one_tick_change_no_bit():
    plain = follow(small_worlds.make(ESS, DG, PV), 6)
    time = {"episode_length": 8, "time_step": HOUR, "intervals": {"device": HOUR, "grid": HOUR, "system": HOUR}}
    timed = follow(small_worlds.make(ESS, DG, PV, simulation=time), 6)
    assert timed[0] == plain[0]
    assert timed[1].tobytes() == plain[1].tobytes()


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


LARGE = {"type": "ESS", "params": {"capacity_mwh": 50.0}}
RANDOM = [
    {**LARGE, "id": "ess_1", "bus": "671", "policy": "random", "interval": 4 * HOUR},
    {**DG, "policy": "random", "interval": 3 * HOUR, "offset": HOUR},
    {**LARGE, "id": "ess_2", "bus": "634", "policy": "learned", "interval": 2 * HOUR, "offset": HOUR},
]


@pytest.mark.parametrize("form", ["numpy", "fused", "vector", "jax"])
def test_local_policies_hold_between_their_decisions(form):
    """On every form: a random policy decides anew when its agent is due, and not before its offset."""
    config = {
        "name": "held",
        "network": "ieee13",
        "agents": RANDOM,
        "simulation": {"time_step": HOUR, "episode_length": 12},
    }
    powers, due = _powers(config, form, 9)
    changes = powers[1:] != powers[:-1]
    at = dict(zip(("ess_1", DG["id"], "ess_2"), changes.T, strict=True))
    assert np.flatnonzero(at["ess_1"]).tolist() == [3, 7]  # decided in ticks 0, 4 and 8
    assert np.flatnonzero(at[DG["id"]]).tolist() == [0, 3, 6]  # in ticks 1, 4 and 7
    assert powers[0, 2] == 0.0
    assert np.flatnonzero(at["ess_2"]).tolist() == [0, 2, 4, 6]
    assert due == [False, True] * 4 + [False]


def _powers(config, form: str, ticks: int) -> tuple[np.ndarray, list[bool]]:
    """Injections of the units in the order of the configuration, and whether the learned battery was due."""
    wanted = np.linspace(-0.8, 0.8, ticks)
    powers, due = [], []
    if form in ("numpy", "fused"):
        env = powergrid.make(config, backend=form)
        env.reset(seed=3, options={"day": 180})
        for value in wanted:
            *_, infos = env.step({"ess_2": np.array([value])})
            powers.append(env.output.p_mw)
            due.append(infos["ess_2"]["due"])
    elif form == "vector":
        env = powergrid.make_vec(config, 40)
        env.reset(seed=3, options={"day": 180})
        block, layout = env._blocks[0], env.world.layout
        slots = [family.slot[row, 0] for family in layout.families for row in range(family.size) if family.free.any()]
        for value in wanted:
            step = env.step_array(np.full((40, 1, 1), value))
            powers.append(layout.slots.physical(block.state.slots)[5, slots])
            due.append(bool(step.due[5, 0]))
    else:
        import jax

        with jax_float64():
            env = powergrid.make_functional(config, dtype="float64")
            step = jax.jit(env.step)
            key = jax.random.key_data(jax.random.key(3))
            _, state = env.reset(key, jax.numpy.asarray(180))
            group = next(iter(env.groups))
            for value in wanted:
                _, state, _, _, info = step(key, state, {group: jax.numpy.full((1, 1), value)})
                powers.append(np.asarray(info["output"].p_mw))
                due.append(bool(info["due"][group][0]))
    order = [env.world.layout.units.index(agent["id"]) for agent in RANDOM]
    return np.array(powers)[:, order], due


def test_a_coordinator_with_nothing_to_set_acts_beside_others_that_hold():
    """Its actions have no columns; commands of the other coordinator's device come from that one's policy."""
    agents = [
        {"id": "statcom", "type": "Statcom", "bus": "671"},
        {"id": "empty", "type": "GridCoordinator", "sub_agents": [], "policy": "learned", "protocol": "incentive"},
        {"id": "idle", "type": "GridCoordinator", "sub_agents": ["statcom"], "policy": "idle"},
    ]
    given = {"network": "ieee13", "agents": agents, "simulation": {"episode_length": 4, "time_step": 900}}
    rewards = []
    for backend in ("numpy", "fused"):
        env = powergrid.make(given, backend=backend)
        env.reset(seed=0)
        assert env.action_space("empty").shape == (0,)
        rewards.append([env.step({"empty": np.zeros(0, np.float32)})[1]["empty"] for _ in range(4)])
    np.testing.assert_allclose(*rewards, atol=1e-9)
    many = powergrid.make_vec(given, 2)
    many.reset(seed=0)
    assert np.isfinite(many.step_array(np.zeros((2, 1, 0), np.float32)).reward).all()
