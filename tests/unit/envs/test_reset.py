"""What `reset` and `step` are given and tell: seeds, options, actions, infos, pictures."""

from __future__ import annotations

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from pettingzoo.test import api_test, render_test

import powergrid
from powergrid.core.errors import ActionError, ArgumentError
from powergrid.worlds.seeds import checked_seeds

SMALL = {
    "name": "small",
    "network": "ieee13",
    "agents": [
        {"id": "ess_1", "type": "ESS", "bus": "671", "policy": "learned"},
        {"id": "dg_1", "type": "DG", "bus": "675", "params": {"sn_mva": 1.5}, "policy": "learned"},
    ],
    "simulation": {"time_step": 3600, "episode_length": 6},
}
ALONE = {**SMALL, "agents": SMALL["agents"][:1]}


@pytest.fixture(scope="module")
def env():
    return powergrid.make(SMALL)


def first(env, **reset) -> np.ndarray:
    return np.concatenate(list(env.reset(**reset)[0].values()))


# -- seeds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("api", ["parallel", "aec", "gymnasium"])
def test_environments_that_nobody_seeds_differ_and_can_be_repeated(api):
    envs = [powergrid.make(ALONE, api=api) for _ in range(6)]
    seeds = []
    for env in envs:
        env.reset()
        seeds.append(env.unwrapped.np_random_seed)
    assert len(set(seeds)) == 6
    assert max(seeds) >= 2**32  # all 64 bits
    state = envs[0].unwrapped.get_state()
    again = powergrid.make(ALONE, api=api)
    again.reset(seed=seeds[0])
    found = again.unwrapped.get_state()
    one, other = (part[0] if isinstance(part[0], tuple) else part for part in (state, found))
    assert np.array_equal(one.state.key, other.state.key)


def test_vector_environments_that_nobody_seeds_differ_and_can_be_repeated():
    envs = [powergrid.make_vec(SMALL, 3) for _ in range(3)]
    assert envs[0].np_random_seed is None
    seen = [env.reset()[0]["ess_1"] for env in envs]
    seeds = [env.np_random_seed for env in envs]
    assert len({seed for row in seeds for seed in row}) == 9
    assert not np.array_equal(seen[0], seen[1])
    again = powergrid.make_vec(SMALL, 3)
    np.testing.assert_array_equal(again.reset(seed=list(seeds[1]))[0]["ess_1"], seen[1])
    np.testing.assert_array_equal(again.reset(seed=seeds[2][0])[0]["ess_1"], seen[2])


def test_a_reset_without_a_seed_goes_on_with_the_stream(env):
    env.reset(seed=7)
    days = [env.reset()[1]["ess_1"]["day"] for _ in range(5)]
    env.reset(seed=7)
    assert [env.reset()[1]["ess_1"]["day"] for _ in range(5)] == days
    assert len(set(days)) > 1
    assert env.np_random_seed == 7


def test_all_bits_of_a_seed_count(env):
    five = first(env, seed=5)
    assert np.array_equal(first(env, seed=np.int64(5)), five)
    found = [first(env, seed=seed).tobytes() for seed in (5, 5 + 2**32, 5 + 2**63, 2**64 - 1)]
    assert len(set(found)) == 4
    vector = powergrid.make_vec(SMALL, 2)
    rows = vector.reset(seed=2**32 - 1)[0]
    for i, seed in enumerate((2**32 - 1, 2**32)):
        single = env.reset(seed=seed)[0]
        assert np.allclose(rows["ess_1"][i], single["ess_1"], rtol=1e-6)
    assert checked_seeds(2**64 - 1, 2).tolist() == [2**64 - 1, 0]


@pytest.mark.parametrize("seed", ["a", 1.5, 5.0, -1, 2**64, True, np.array([1, 2]), (), {}])
def test_what_is_no_seed_is_refused(env, seed):
    for made in (env, powergrid.make_vec(SMALL, 3)):
        with pytest.raises(ArgumentError, match=r"whole number from 0|seeds for 3"):
            made.reset(seed=seed)
    with pytest.raises(ArgumentError, match="whole number from 0"):
        powergrid.make(ALONE, api="gymnasium").reset(seed=seed)
    with pytest.raises(ArgumentError, match="whole number from 0"):
        env.export_episode(day=3, seed=seed)


def test_the_generator_of_the_gymnasium_form_follows_gymnasiums_rules():
    env = powergrid.make(ALONE, api="gymnasium")
    env.reset(seed=11)
    assert env.np_random_seed == 11
    expected = gymnasium.utils.seeding.np_random(11)[0].uniform(size=4)
    assert env.np_random.uniform() == expected[0]
    env.reset()  # neither begins anew
    assert env.np_random.uniform() == expected[1]
    assert env.np_random_seed == 11
    fresh = powergrid.make(ALONE, api="gymnasium")
    generator = fresh.np_random  # before any reset
    seed = fresh.np_random_seed
    fresh.reset()
    assert fresh.np_random is generator
    assert fresh.np_random_seed == seed < 2**64
    observation = fresh.reset(seed=seed)[0]
    fresh.np_random = np.random.default_rng(3)
    assert fresh.np_random_seed == -1
    assert fresh.np_random.uniform() == np.random.default_rng(3).uniform()
    assert np.array_equal(powergrid.make(ALONE, api="gymnasium").reset(seed=seed)[0], observation)


def test_the_generator_of_vector_environments_is_not_seeded_anew():
    env = powergrid.make_vec(SMALL, 2)
    generator = env.np_random
    env.reset()
    assert env.np_random is generator
    env.reset(seed=4)
    assert env.np_random.uniform() == gymnasium.utils.seeding.np_random(4)[0].uniform()


# -- options and days ------------------------------------------------------------------------------------------------


def test_unknown_options_are_refused_by_name(env):
    for made in (env, powergrid.make(ALONE, api="gymnasium"), powergrid.make_vec(SMALL, 2)):
        with pytest.raises(ArgumentError, match=r'no option "dya"; did you mean "day"\?'):
            made.reset(seed=0, options={"dya": 3})
        made.reset(options={})
        made.reset(options={"day": np.int64(3)})
    assert env.reset(options={"day": 3})[1]["ess_1"]["day"] == 3


@pytest.mark.parametrize("day", [-1, 365, 1.0, "monday", [1, 2, 3], [[1], [2, 3]]])
def test_what_is_no_day_is_refused(env, day):
    for made in (env, powergrid.make_vec(SMALL, 2)):
        with pytest.raises(ArgumentError, match="not a whole number from 0 to 364"):
            made.reset(options={"day": day})


def test_a_refused_reset_changes_nothing(env):
    env.reset(seed=2)
    kept = env.get_state()
    for wrong in ({"options": {"day": 999}, "seed": 3}, {"seed": -3}, {"options": {"dya": 1}, "seed": 3}):
        with pytest.raises(ArgumentError):
            env.reset(**wrong)
    assert env.np_random_seed == 2
    assert env.get_state().episode == kept.episode


def test_training_false_draws_test_days():
    for source in (SMALL, "ieee34_multi"):
        env, vector = powergrid.make(source, train=False), powergrid.make_vec(source, 8, train=False)
        test = set(env.world.days["test"].tolist())
        assert {env.reset(seed=k)[1][env.agents[0]]["day"] for k in range(8)} <= test
        assert set(vector.reset(seed=0)[1]["day"].tolist()) <= test
    assert set(powergrid.make_functional(SMALL, train=False).days.tolist()) == test
    chosen = powergrid.make(SMALL, train=False, days=[4])  # who names days gets them
    assert chosen.reset(seed=0)[1]["ess_1"]["day"] == 4
    trained = powergrid.make(SMALL)
    assert set(trained.world.days["train"]) >= {trained.reset(seed=k)[1]["ess_1"]["day"] for k in range(8)}


# -- infos -----------------------------------------------------------------------------------------------------------


def test_infos_have_the_same_keys_at_reset_and_step(env):
    _, before = env.reset(seed=0, options={"day": 9})
    _, _, _, _, after = env.step({agent: np.zeros(env.action_space(agent).shape) for agent in env.agents})
    for agent in env.agents:
        assert list(before[agent]) == list(after[agent])
        names, later = env.named(before[agent]), env.named(after[agent])
        assert names["money"].keys() == later["money"].keys() == set(env.money_names)
        assert set(names["costs"].values()) == {0.0} == set(names["money"].values())
        for key, value in before[agent].items():
            assert type(value) is type(after[agent][key])
            assert np.shape(value) == np.shape(after[agent][key])
        assert (names["converged"], names["due"], names["available"], names["day"]) == (True, False, True, 9)


def test_infos_of_vector_environments_have_the_same_keys_at_reset_and_step():
    env = powergrid.make_vec(SMALL, 3)
    _, before = env.reset(seed=0)
    *_, after = env.step({agent: np.zeros(space.shape) for agent, space in env.action_space.spaces.items()})
    assert list(before) == list(after)
    for key, value in before.items():
        if isinstance(value, dict):
            for agent in env.possible_agents:
                assert np.shape(value[agent]) == np.shape(after[key][agent])
                assert np.asarray(value[agent]).dtype == np.asarray(after[key][agent]).dtype
        else:
            assert value.shape == after[key].shape == (3,)
    np.testing.assert_array_equal(before["day"], after["day"])


def test_a_reset_that_has_no_solution_says_so():
    env = powergrid.make({**SMALL, "network": {"base": "ieee13", "load_scale": 40.0}}, backend="numpy")
    assert not env.reset(seed=0)[1]["ess_1"]["converged"]


# -- actions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["numpy", "fused"])
def test_step_array_refuses_what_step_refuses(backend):
    single, vector = powergrid.make(SMALL, backend=backend), powergrid.make_vec(SMALL, 4, backend=backend)
    shape = (2, single.world.layout.action_size)
    assert shape == (2, 2)
    single.reset(seed=0)
    vector.reset(seed=0)
    for env, batch, place in ((single, (), ""), (vector, (4,), " in environment 2")):
        good = np.zeros((*batch, *shape))
        for bad in (np.nan, np.inf):
            wrong = good.copy()
            wrong[(2, 1, 1) if batch else (1, 1)] = bad
            with pytest.raises(ActionError, match=f'agent "dg_1"{place} is not finite: number 1'):
                env.step_array(wrong)
        for wrong in (good[..., :1], np.zeros(3), good[None], np.zeros((*batch, 3, 2))):
            with pytest.raises(ActionError, match=r"actions have shape .* expected"):
                env.step_array(wrong)
        with pytest.raises(ActionError, match="not an array of numbers"):
            env.step_array(np.full(good.shape, "up"))
        with pytest.raises(ActionError, match="not an array of numbers"):
            env.step_array(None)
        padded = good.copy()
        padded[..., 0, 1] = np.nan  # behind the battery's only number
        assert np.isfinite(env.step_array(padded).reward).all()
        assert np.isfinite(env.step_array(good.astype(np.float32)).reward).all()


def test_step_array_stops_where_the_episode_does(env):
    env.reset(seed=0)
    nothing = np.zeros((2, 2))
    for _ in range(6):
        step = env.step_array(nothing)
    assert step.truncated
    assert env.agents == []
    with pytest.raises(ActionError, match="the episode is over"):
        env.step_array(nothing)
    with pytest.raises(ActionError, match="the episode is over"):
        powergrid.make(SMALL).step_array(nothing)


def test_actions_of_unknown_agents_are_refused_by_name(env):
    env.reset(seed=0)
    vector = powergrid.make_vec(SMALL, 2)
    vector.reset(seed=0)
    for made, shape in ((env, ()), (vector, (2,))):
        good = {"ess_1": np.zeros((*shape, 1)), "dg_1": np.zeros((*shape, 2))}
        with pytest.raises(ActionError, match=r'agent "dg_2", which does not act here; did you mean "dg_1"\?'):
            made.step({**good, "dg_2": np.zeros((*shape, 2))})
        with pytest.raises(ActionError, match=r'agent "es_1", which does not act here; did you mean "ess_1"\?'):
            made.step({"es_1": good["ess_1"], "dg_1": good["dg_1"]})
        made.step(good)


# -- rendering, and the examiners of the libraries -------------------------------------------------------------------


def test_human_rendering_prints_a_line_a_tick(capsys):
    env = powergrid.make(SMALL, render_mode="human")
    env.reset(seed=0, options={"day": 3})
    env.step({"ess_1": np.zeros(1), "dg_1": np.zeros(2)})
    assert env.render() is None
    begun, ticked = capsys.readouterr().out.strip().splitlines()
    assert begun == "day 3 00:00 | reset"
    flow = env.output.flow
    assert ticked.startswith(f"day 3 01:00 | v {flow.v_pu.min():.4f} pu at ")
    assert f"source {flow.p_slack_mw:.3f} MW" in ticked


def test_every_advertised_way_of_rendering_works():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        render_test(lambda render_mode: powergrid.make(SMALL, api="aec", render_mode=render_mode))
    with pytest.raises(ValueError, match="human"):
        powergrid.make(SMALL, render_mode="ansi")


def test_agents_in_turn_pass_pettingzoos_examiner():
    api_test(powergrid.make(SMALL, api="aec"), num_cycles=30)


@pytest.mark.parametrize("source", [ALONE, "ieee34_microgrid"])
def test_the_single_agents_form_passes_gymnasiums_examiner(source):
    name = f"PowerGridExamined-v{int(source is ALONE)}"
    gymnasium.register(
        name, entry_point=lambda **keywords: powergrid.make(source, api="gymnasium", episode_length=6, **keywords)
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", message="lmp_solver")  # the example's own
            check_env(gymnasium.make(name, disable_env_checker=True).unwrapped)
    finally:
        gymnasium.registry.pop(name)
