"""Observations scaled, padded and numbered: the same numbers in another form, on NumPy, compiled and on JAX."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import powergrid
from powergrid.core.errors import ActionError, ArgumentError, ConfigError, RunError
from powergrid.envs import SixValueEnv

SHORT = {"episode_length": 12}
UNEQUAL = {
    "network": "ieee34",
    "agents": [
        {"id": "ess_1", "type": "ESS", "bus": "830", "params": {"capacity_mwh": 1.0}},
        {"id": "dg_1", "type": "DG", "bus": "848", "params": {"p_max_mw": 0.2}},
        {"id": "dg_2", "type": "DG", "bus": "890", "params": {"p_max_mw": 0.3}},
        {"id": "area_1", "type": "GridCoordinator", "policy": "centralized", "sub_agents": ["ess_1", "dg_1"]},
        {"id": "area_2", "type": "GridCoordinator", "policy": "centralized", "sub_agents": ["dg_2"]},
    ],
}
"""Two controllers of one role, of which the second has no battery, so that its generator comes first."""


def actions_of(env, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {agent: rng.uniform(-1.0, 1.0, env.action_space(agent).shape) for agent in env.possible_agents}


def played(env, ticks: int = 6) -> tuple[list, list]:
    """Observations and rewards under the random policy."""
    seen, rewards = [env.reset(seed=3, options={"day": 180})[0]], []
    for _ in range(ticks):
        observations, reward, *_ = env.step(env.policy_actions("random"))
        seen.append(observations)
        rewards.append(reward)
    return seen, rewards


@pytest.mark.parametrize("preset", ["ieee34_multi", "two_microgrids", "voltage_control_13"])
def test_normalised_observations_are_the_physical_ones_scaled(preset):
    plain, scaled = powergrid.make(preset), powergrid.make(preset, normalize=True)
    (before, paid), (after, again) = played(plain), played(scaled)
    assert paid == again
    for agent in plain.possible_agents:
        assert scaled.observation_labels(agent) == plain.observation_labels(agent)
        scale, space = scaled.observation_scale(agent), scaled.observation_space(agent)
        for one, other in zip(before, after, strict=True):
            assert np.allclose(scale.physical(other[agent]), one[agent], rtol=1e-5, atol=1e-4)
            assert np.allclose(scale.shown(one[agent]), other[agent], rtol=1e-5, atol=1e-4)
            assert space.contains(other[agent])
            assert np.abs(other[agent]).max() < 3.0
        assert (plain.observation_scale(agent).half_span == 1.0).all()
    assert scaled.state_space.contains(scaled.state())
    assert np.abs(scaled.state()).max() < 3.0
    assert scaled.global_state() == pytest.approx(plain.global_state())


def test_sine_and_cosine_remain_and_the_band_becomes_one():
    env = powergrid.make("ieee34_multi", normalize=True)
    labels, scale = env.observation_labels("ess_1"), env.observation_scale("ess_1")
    at = {label: k for k, label in enumerate(labels)}
    assert (scale.middle[at["clock_day_sin [1]"]], scale.half_span[at["clock_day_sin [1]"]]) == (0.0, 1.0)
    settings, voltage = env.world.layout.settings, at["bus_830.v [pu]"]
    middle, half = scale.middle[voltage], scale.half_span[voltage]
    assert (middle - half, middle + half) == pytest.approx((settings.v_min_pu, settings.v_max_pu))
    power = at["ess_1.p [MW]"]
    assert scale.half_span[power] == env.agent("ess_1").observation_entries()[1].high


@pytest.mark.parametrize("form", [{"normalize": True}, {"normalize": True, "pad": "role", "agent_id": True}])
def test_same_form_alone_in_a_batch_and_on_numpy(form):
    env = powergrid.make_vec("two_microgrids", 3, **form, **SHORT)
    single = powergrid.make("two_microgrids", **form, **SHORT)
    numpy = powergrid.make("two_microgrids", backend="numpy", **form, **SHORT)
    seen, _ = env.reset(seed=4)
    firsts = [one.reset(seed=4)[0] for one in (single, numpy)]
    for tick in range(12):
        for agent in env.possible_agents:
            assert env.single_observation_space[agent] == single.observation_space(agent)
            for first in firsts:
                assert np.allclose(seen[agent][0], first[agent], rtol=1e-5, atol=1e-5), (tick, agent)
        actions = actions_of(single, tick)
        seen, _, _, _, infos = env.step({agent: np.tile(row, (3, 1)) for agent, row in actions.items()})
        firsts = [one.step(actions)[0] for one in (single, numpy)]
        if infos.get("_final_obs") is not None:
            seen = infos["final_obs"]
    for agent in env.possible_agents:  # the last observation of the episode
        assert np.allclose(seen[agent][0], firsts[0][agent], rtol=1e-5, atol=1e-5)


def test_same_form_on_jax():
    jax = pytest.importorskip("jax")
    form = {"normalize": True, "pad": "role", "agent_id": True}
    env, single = powergrid.make_functional(UNEQUAL, **form), powergrid.make(UNEQUAL, **form)
    assert env.groups == {"area": ("area_1", "area_2")}
    assert env.observation_labels("area_1") == single.observation_labels("area_1")
    assert env.observation_scale("area_2").middle.tolist() == single.observation_scale("area_2").middle.tolist()
    quick = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    step = jax.jit(env.step, compiler_options=quick)
    seen, state = jax.jit(env.reset, compiler_options=quick)(jax.random.key(3), jax.numpy.asarray(180))
    first, _ = single.reset(seed=3, options={"day": 180})
    actions = actions_of(single, 0)
    for k in range(2):
        for row, agent in enumerate(env.groups["area"]):
            assert np.allclose(seen["area"][row], first[agent], rtol=1e-3, atol=1e-3), (k, agent)
        stacked = {"area": np.stack([actions[agent] for agent in env.groups["area"]])}
        seen, state, reward, _, info = step(None, state, stacked)
        first, paid, *_ = single.step(actions)
        assert np.allclose(reward["area"], list(paid.values()), rtol=1e-3, atol=1e-3)
    assert np.allclose(info["state"], single.state(), rtol=1e-3, atol=1e-3)


def test_agents_of_a_role_have_equal_spaces_and_names():
    env, plain = powergrid.make(UNEQUAL, pad="role"), powergrid.make(UNEQUAL)
    assert env.roles == {"area": ("area_1", "area_2")}
    assert env.observation_space("area_1") == env.observation_space("area_2")
    assert env.action_labels("area_1") == env.action_labels("area_2") == ("generator.p [MW]", "storage.p [MW]")
    labels = env.observation_labels("area_1")
    assert labels == env.observation_labels("area_2")
    assert len(set(labels)) == len(labels)
    assert {"generator.p [MW]", "generator.bus.v [pu]", "storage.soc [1]", "price_per_mwh+1h [$/MWh]"} <= set(labels)
    assert not any("ess_1" in label or "890" in label for label in labels)
    at = {label: k for k, label in enumerate(labels)}
    env.reset(seed=1)
    plain.reset(seed=1)
    given = {"area_1": np.array([0.3, -0.5]), "area_2": np.array([-0.8, 5.0])}  # of which the last is nobody's
    seen, rewards, *_, infos = env.step(given)
    expected, paid, *_ = plain.step({"area_1": np.array([-0.5, 0.3]), "area_2": np.array([-0.8])})
    assert rewards == paid
    assert infos["area_2"]["clipped"] == 0
    mine = dict(zip(plain.observation_labels("area_2"), expected["area_2"].tolist(), strict=True))
    assert seen["area_2"][at["generator.p [MW]"]] == mine["dg_2.p [MW]"]
    assert seen["area_2"][at["generator.bus.v [pu]"]] == mine["bus_890.v [pu]"]
    assert seen["area_2"][at["storage.soc [1]"]] == 0.0
    assert sorted(seen["area_1"].tolist()) == sorted(expected["area_1"].tolist())
    rows = np.array([given["area_1"], given["area_2"]])
    env.reset(seed=1)
    assert env.step_array(rows).reward.tolist() == list(paid.values())


def test_local_policies_act_through_padding():
    env, plain = powergrid.make(UNEQUAL, pad="all"), powergrid.make(UNEQUAL)
    (_, rewards), (_, paid) = played(env), played(plain)
    assert rewards == paid
    assert env.policy_array("random").shape == (2, 2)
    assert env.policy_actions("random")["area_2"][1] == 0.0


@pytest.mark.parametrize("preset", ["voltage_control_13", "iso_three_level"])
def test_all_agents_have_equal_spaces(preset):
    env = powergrid.make(preset, pad="all", agent_id=True, normalize=True)
    agents = env.possible_agents
    assert len({repr(env.observation_space(a)) + repr(env.action_space(a)) for a in agents}) == 1
    seen, _ = env.reset(seed=0)
    for k, agent in enumerate(agents):
        assert seen[agent][-len(agents) :].tolist() == np.eye(len(agents))[k].tolist()
        assert env.observation_space(agent).contains(seen[agent])
        padding = [i for i, label in enumerate(env.observation_labels(agent)) if label.startswith("padding_")]
        assert not seen[agent][padding].any()


def test_numbers_of_agents_within_their_roles_and_among_all():
    within = powergrid.make("ieee34_multi", pad="role", agent_id=True).reset(seed=0)[0]
    among = powergrid.make("ieee34_multi", agent_id=True).reset(seed=0)[0]
    assert within["dg_2"][-2:].tolist() == [0.0, 1.0]
    assert within["pv_1"][-1] == 1.0
    assert among["dg_2"][-5:].tolist() == [0.0, 0.0, 0.0, 1.0, 0.0]


@pytest.mark.parametrize("preset", ["iso_three_level_lmp", "p2p_microgrids", "voltage_control_34"])
def test_names_of_a_role_are_equal_and_each_once(preset):
    env = powergrid.make(preset, pad="role")
    for agents in env.roles.values():
        (labels,) = {env.observation_labels(agent) for agent in agents}
        assert len(set(labels)) == len(labels)
        (labels,) = {env.action_labels(agent) for agent in agents}
        assert len(set(labels)) == len(labels)


def test_copies_keep_the_form():
    env = powergrid.make(UNEQUAL, pad="role", agent_id=True, normalize=True, infos="none")
    env.reset(seed=2)
    actions = actions_of(env, 0)
    vector = powergrid.make_vec(UNEQUAL, 2, pad="role", normalize=True)
    vector.reset(seed=2)
    twins = [copy.deepcopy(env), pickle.loads(pickle.dumps(env))]
    expected = env.step(actions)
    for twin in twins:
        found = twin.step(actions)
        assert found[4] == {"area_1": {}, "area_2": {}}
        for agent in env.possible_agents:
            assert np.array_equal(found[0][agent], expected[0][agent])
    assert pickle.loads(pickle.dumps(vector)).single_observation_space == vector.single_observation_space


def test_empty_infos():
    env = powergrid.make("ieee34_multi", infos="none")
    assert env.reset(seed=0)[1] == {agent: {} for agent in env.possible_agents}
    assert env.step(actions_of(env, 0))[4] == {agent: {} for agent in env.possible_agents}
    vector = powergrid.make_vec("ieee34_multi", 2, infos="none", episode_length=1)
    assert vector.reset(seed=0)[1] == {}
    infos = vector.step({agent: np.tile(row, (2, 1)) for agent, row in actions_of(env, 0).items()})[4]
    assert sorted(infos) == ["_final_obs", "final_obs"]


def test_what_reads_infos_refuses_empty_ones():
    with pytest.raises(ArgumentError, match="infos"):
        powergrid.SemiMarkovEnv(powergrid.make("ieee34_multi", infos="none"))
    with pytest.raises(ConfigError, match="infos"):
        SixValueEnv(powergrid.make("ieee13_single", api="gymnasium", infos="none"))


@pytest.mark.parametrize("make", [powergrid.make, lambda *a, **k: powergrid.make_vec(*a, 2, **k)])
def test_unknown_forms_are_refused_together(make):
    with pytest.raises(ConfigError) as caught:
        make("ieee34_multi", normalize="yes", pad="roles", infos="dict")
    assert [issue.path for issue in caught.value.issues] == ["normalize", "pad", "infos"]
    assert '"role"' in str(caught.value)


@pytest.mark.parametrize("made", [powergrid.make, lambda *args, **keys: powergrid.make_vec(*args, 2, **keys)])
def test_a_function_of_shown_observations_is_evaluated_in_physical_units(made):
    """It plays what a function of an agent's own physical numbers plays that does the same."""
    form = {"normalize": True, "pad": "all", "agent_id": True, **SHORT}
    env, cfg = made(UNEQUAL, **form), {**UNEQUAL, "simulation": SHORT}
    plain = powergrid.make(cfg)
    seen = []

    def shown(observations):
        seen.append(observations)
        # by role: the generator is what both controllers have, so it comes first
        return {agent: np.tile([0.25, -0.5], (len(rows), 1)) for agent, rows in observations.items()}

    def own(observations):
        by_label = {"dg_1.p": 0.25, "dg_2.p": 0.25, "ess_1.p": -0.5}
        rows = {agent: [by_label[label.split()[0]] for label in plain.action_labels(agent)] for agent in observations}
        return {agent: np.tile(row, (len(observations[agent]), 1)) for agent, row in rows.items()}

    policies = {"shown": env.for_evaluation(shown), "own": own}
    result = powergrid.evaluate(cfg, policy=policies, days=[3, 40], show=False)
    assert result["shown"].trajectory_hash == result["own"].trajectory_hash
    env.reset(seed=0)
    numbers = np.concatenate([result["own"].arrays["obs"][:, 0]], axis=-1)
    expected = env._shapes.observation(np, numbers)
    for agent, slice_ in zip(env.possible_agents, env._shapes.slices, strict=True):
        np.testing.assert_array_equal(seen[0][agent], expected[:, slice_])
    assert result["shown"].residual is None
    corrects = made(UNEQUAL, residual="rule_based", **form).for_evaluation(
        lambda observations: {agent: np.zeros((len(rows), 2)) for agent, rows in observations.items()}
    )
    result = powergrid.evaluate(cfg, policy=[{"zero": corrects}, "rule_based"], days=[3, 40], show=False)
    assert result["zero"].residual == "rule_based"
    np.testing.assert_array_equal(result["zero"].objective, result["rule_based"].objective)


def test_a_function_of_shown_observations_that_does_not_fit_is_refused():
    env = powergrid.make(UNEQUAL, pad="all", **SHORT)
    for function, message in (
        (lambda obs: {"area_1": np.zeros((1, 2))}, 'no actions for agent "area_2"'),
        (lambda obs: dict.fromkeys(obs, np.zeros((1, 3))), r"shape \(1, 3\), expected \(1, 2\)"),
        (lambda obs: dict.fromkeys(obs, np.full((1, 2), np.nan)), "is not finite"),
    ):
        with pytest.raises(ActionError, match=message):
            powergrid.evaluate(UNEQUAL, policy={"mine": env.for_evaluation(function)}, days=[3], show=False)
    with pytest.raises(RunError, match="evaluate the configuration that the environment of the policy was made of"):
        powergrid.evaluate("ieee13_single", policy={"mine": env.for_evaluation(dict)}, days=[3], show=False)
