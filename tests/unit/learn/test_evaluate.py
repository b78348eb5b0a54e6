"""Evaluation on real presets: the days played side by side are the days that the environment plays one by one."""

import json
from typing import NamedTuple

import numpy as np
import pytest

import powergrid
from powergrid.core.errors import ActionError, ArgumentError, RunError, UnknownNameError
from powergrid.learn import checkpoint
from powergrid.learn.evaluate import episode_seed, evaluate, mean_interval
from powergrid.learn.networks import Running, stack
from powergrid.learn.trained_policy import load_policy

PRESET = "two_microgrids"
WIDTH = powergrid.make(PRESET).observation_space("microgrid_1").shape[0]


class Policies(NamedTuple):
    actor: dict
    obs_norm: dict


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder whose actors are random networks."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "config.yaml").write_text(powergrid.load_config(PRESET).to_yaml(folder))
    layers = stack(np.random.default_rng(0), (WIDTH, 16, 2), last_gain=1.0, agents=2)
    norm = Running(np.zeros(WIDTH, np.float32), np.full(WIDTH, 100.0, np.float32), np.float32(1))
    state = Policies({"microgrid": layers}, {"microgrid": norm})
    checkpoint.save(folder, state, groups={"microgrid": ("microgrid_1", "microgrid_2")}, step=0)
    return folder


@pytest.fixture(scope="module")
def evaluation(run):
    return evaluate(run, policy=["learned", "rule_based"], days=[10, 3, 200], show=False)


@pytest.mark.parametrize("policy", ["learned", "rule_based"])
def test_days_are_those_of_the_environment(run, evaluation, policy):
    env, actor = powergrid.make(run / "config.yaml"), load_policy(run)
    for row, day in enumerate(evaluation.days):
        obs, _ = env.reset(seed=episode_seed(0, day), options={"day": day})
        money = cost = violated = 0.0
        while env.agents:
            actions = actor.act(obs, deterministic=True) if policy == "learned" else env.policy_actions(policy)
            obs, _, _, _, info = env.step(actions)
            tick_cost = sum(entry["cost"] for entry in info.values())
            money += sum(entry["money"].sum() for entry in info.values())
            cost, violated = cost + tick_cost, violated + (tick_cost > 0)
        outcome = evaluation[policy]
        assert outcome.money[row].sum() == pytest.approx(money, rel=1e-6)
        assert outcome.costs[row].sum() == pytest.approx(cost, rel=1e-6, abs=1e-9)
        assert outcome.violated_ticks[row] == violated


def test_results_are_written(run, evaluation):
    content = json.loads((run / "evaluation.json").read_text())
    learned = content["policies"]["learned"]
    assert content["days"] == [10, 3, 200]
    assert learned["by_day"]["money"] == evaluation["learned"].money.sum(-1).tolist()
    objective = learned["objective_per_day"]
    assert objective["low_95"] <= objective["mean"] <= objective["high_95"]
    saving = content["policies"]["rule_based"]["saving_of_learned_per_day"]["mean"]
    assert saving == pytest.approx((evaluation["rule_based"].objective - evaluation["learned"].objective).mean())
    with np.load(run / "trajectories" / "3.npz") as day:
        assert day["actions"].shape == (96, 2, 2)
        assert day["obs"].shape == (97, 2 * WIDTH)
        assert day["money"].sum() == pytest.approx(evaluation["learned"].money[1].sum(), rel=1e-4)
    with np.load(run / "trajectories" / "rule_based" / "3.npz") as day:
        assert day["money"].sum() == pytest.approx(evaluation["rule_based"].money[1].sum(), rel=1e-4)


def test_the_hash_depends_on_days_seed_and_policy_only(run, evaluation):
    def hashed(**changes):
        given = {"policy": "learned", "days": [10, 3, 200], "show": False, **changes}
        return evaluate(run, **given).outcomes[0].trajectory_hash

    first = evaluation["learned"].trajectory_hash
    assert hashed() == first
    assert len({first, hashed(days=[10, 3]), hashed(seed=1), hashed(policy="rule_based")}) == 4


def test_a_table_is_printed(run, capsys):
    evaluate(run, policy="rule_based", days=[10, 3])
    text = capsys.readouterr().out
    assert "rule_based" in text
    assert "2 days" in text


def test_wrong_requests_are_refused(run, tmp_path):
    with pytest.raises(RunError, match="needs a run"):
        evaluate(PRESET, policy="learned", days=[1])
    with pytest.raises(RunError, match="no run"):
        evaluate(tmp_path, days=[1])
    with pytest.raises(RunError, match="do not fit"):
        evaluate("p2p_microgrids", policy=str(run), days=[1])
    with pytest.raises(UnknownNameError, match='did you mean "rule_based"'):
        evaluate(PRESET, policy="rule_base", days=[1])


def test_the_interval_covers_the_mean_of_a_known_sample():
    values = np.random.default_rng(3).normal(5.0, 2.0, 100)
    mean, low, high = mean_interval(values)
    assert mean == values.mean()
    half = 1.96 * values.std() / 10.0
    assert low == pytest.approx(mean - half, abs=0.1)
    assert high == pytest.approx(mean + half, abs=0.1)


def test_the_bound_lies_below_every_day_and_is_kept(run, tmp_path):
    result = evaluate(
        run, policy=["rule_based", "random"], days=[10, 200], bound=True, out=tmp_path / "out", show=False
    )
    assert result.bound is not None
    for outcome in result.outcomes:
        assert (outcome.money.sum(-1) > result.bound).all()
    kept = json.loads((tmp_path / "out" / "evaluation.json").read_text())["policies"]["lower_bound"]
    assert kept["by_day"]["money"] == result.bound.tolist()
    assert "lower bound" in [str(cell) for cell in result.table().columns[0].cells]


def test_no_bound_where_somebody_else_pays_a_part():
    """A coordinator that acts by rule pays for its own microgrid: the bound of all is not the learning agent's."""
    config = powergrid.load_config(PRESET).config.model_dump(exclude_none=True)
    for agent in config["agents"]:
        if agent["id"] in ("microgrid_2", "ess_2", "dg_2"):
            agent["policy"] = "rule_based"
    result = evaluate(config, policy="rule_based", days=[10], bound=True, show=False)
    assert result.bound is None


def test_a_loaded_policy_acts_in_one_environment_and_on_many_days(run):
    policy, rng = powergrid.load_policy(run), np.random.default_rng(3)
    days = {agent: rng.normal(0.0, 5.0, (4, 3, WIDTH)) for agent in ("microgrid_2", "microgrid_1")}
    together = policy.act(days, deterministic=True)
    assert list(together) == ["microgrid_2", "microgrid_1"]
    for agent, seen in days.items():
        assert together[agent].shape == (4, 3, 2)
        alone = policy.act({agent: seen[2, 1]}, deterministic=True)
        np.testing.assert_allclose(alone[agent], together[agent][2, 1], rtol=1e-5, atol=1e-6)
    state = policy.initial_state(4, 3)
    actions, following = policy.act(days, state, deterministic=True)
    assert following == state
    np.testing.assert_array_equal(actions["microgrid_1"], together["microgrid_1"])


def test_what_a_loaded_policy_cannot_act_on_is_refused(run):
    policy = powergrid.load_policy(run)
    with pytest.raises(ArgumentError, match=r'agent "microgrid_3"; did you mean "microgrid_'):
        policy.act({"microgrid_3": np.zeros(WIDTH)}, deterministic=True)
    with pytest.raises(ArgumentError, match=rf'"microgrid_1" has shape \(3,\), its policy takes \(\*batch, {WIDTH}\)'):
        policy.act({"microgrid_1": np.zeros(3)}, deterministic=True)
    with pytest.raises(ArgumentError, match="different batch axes"):
        policy.act({"microgrid_1": np.zeros(WIDTH), "microgrid_2": np.zeros((2, WIDTH))}, deterministic=True)
    with pytest.raises(ArgumentError, match="deterministic=True"):  # this run has no spread to draw with
        policy.act({"microgrid_1": np.zeros(WIDTH)})


@pytest.mark.parametrize("wanted", [["mine", "rule_based"], ["rule_based", "mine"]])
def test_a_function_is_evaluated_beside_other_policies(run, evaluation, wanted):
    """A function that plays the run's own actors costs what they cost, day by day."""
    policy, shapes = powergrid.load_policy(run), []

    def mine(observations):
        shapes.append({agent: rows.shape for agent, rows in observations.items()})
        return policy.act(observations, deterministic=True)

    given = [{"mine": mine} if name == "mine" else name for name in wanted]
    result = powergrid.evaluate(run / "config.yaml", policy=given, days=[10, 3, 200], show=False)
    assert [outcome.policy for outcome in result.outcomes] == wanted
    assert shapes == [{"microgrid_1": (3, WIDTH), "microgrid_2": (3, WIDTH)}] * 96
    np.testing.assert_allclose(result["mine"].objective, evaluation["learned"].objective, rtol=1e-9)
    np.testing.assert_array_equal(result["rule_based"].objective, evaluation["rule_based"].objective)
    loaded = powergrid.evaluate(PRESET, policy={"a": policy, "b": str(run)}, days=[10, 3, 200], show=False)
    for name in "ab":
        np.testing.assert_array_equal(loaded[name].objective, evaluation["learned"].objective)


def test_agents_without_an_action_follow_others():
    """By the argument or by the function's own attribute; a function without actions is the rule."""
    some = lambda observations: {"microgrid_1": np.ones((1, 2))}  # noqa: E731
    none = lambda observations: {}  # noqa: E731
    none.others = "rule_based"
    given = [{"some": some, "none": none}, "rule_based"]
    first, second, rule = powergrid.evaluate(PRESET, policy=given, days=[3], others="idle", show=False).outcomes
    assert second.trajectory_hash == rule.trajectory_hash
    idle = powergrid.evaluate(PRESET, policy="idle", days=[3], show=False)["idle"].arrays["actions"]
    assert (first.arrays["actions"][:, :, 0] == 1.0).all()
    np.testing.assert_array_equal(first.arrays["actions"][:, :, 1], idle[:, :, 1])


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda obs: None, 'policy "mine" returned NoneType; a mapping'),
        (lambda obs: {"microgrid_1": np.zeros((1, 2))}, 'no action of agent "microgrid_2"'),
        (lambda obs: {"microgrid1": 0}, 'unknown agent "microgrid1"; did you mean "microgrid_1"'),
        (lambda obs: dict.fromkeys(obs, np.zeros(2)), r"has shape \(2,\), expected \(1, 2\): all 1 days"),
        (lambda obs: dict.fromkeys(obs, "full"), "no array of numbers"),
        (lambda obs: dict.fromkeys(obs, np.full((1, 2), np.nan)), "not finite in tick 0"),
    ],
)
def test_a_function_with_wrong_actions_is_told_so(function, message):
    with pytest.raises((ActionError, RunError), match=message):
        powergrid.evaluate(PRESET, policy={"mine": function}, days=[3], show=False)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"mine": 3}, 'policy "mine" is 3; it must be a function'),
        ({"../x": lambda obs: obs}, "is no name of a policy"),
        (["random", {"random": lambda obs: obs}], 'policy "random" is given twice'),
        ((lambda obs: obs), "has no name; write policy="),
        ([lambda obs: obs], "has no name; write policy="),
        ([], "names no policy"),
    ],
)
def test_policies_without_a_usable_name_are_refused(policy, message):
    with pytest.raises(ArgumentError, match=message):
        powergrid.evaluate(PRESET, policy=policy, days=[3], show=False)
