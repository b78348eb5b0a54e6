"""Evaluation on real presets: the days played side by side are the days that the environment plays one by one."""

import json
from typing import NamedTuple

import numpy as np
import pytest

import powergrid
from powergrid.core.errors import RunError, UnknownNameError
from powergrid.learn import checkpoint
from powergrid.learn.checkpoint import load_actor
from powergrid.learn.evaluate import episode_seed, evaluate, mean_interval
from powergrid.learn.networks import Running, stack

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
    env, actor = powergrid.make(run / "config.yaml"), load_actor(run)
    for row, day in enumerate(evaluation.days):
        obs, _ = env.reset(seed=episode_seed(0, day), options={"day": day})
        money = cost = violated = 0.0
        while env.agents:
            actions = actor(obs) if policy == "learned" else env.policy_actions(policy)
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
