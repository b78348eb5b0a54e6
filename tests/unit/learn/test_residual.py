"""Actions that correct a local policy: zeros follow it, ones move it, in every form of the step and in training."""

from __future__ import annotations

import json

import numpy as np
import pytest

import powergrid
from powergrid.core.errors import ArgumentError, ConfigError

BATTERY = {"capacity_mwh": 0.5, "max_p_mw": 0.1}
HOME = {
    "name": "home",
    "network": {"base": "case33bw", "load_series": "load_p_pu:res_1"},
    "agents": [
        {
            "id": "ess",
            "type": "ESS",
            "bus": "18",
            "params": {"capacity_mwh": 0.5, "max_p_mw": 0.1},
            "policy": "learned",
        },
        {
            "id": "dg",
            "type": "DG",
            "bus": "25",
            "params": {"p_max_mw": 0.2, "marginal_cost_per_mwh": 60},
            "policy": "learned",
            "interval": 7200,
        },
    ],
    "simulation": {"time_step": 3600, "episode_length": 24},
}
SHARED = {
    **HOME,
    "name": "shared",
    "agents": [
        {"id": "a", "type": "GridCoordinator", "policy": "learned", "protocol": "setpoint", "sub_agents": ["ess"]},
        {"id": "b", "type": "GridCoordinator", "policy": "learned", "protocol": "setpoint", "sub_agents": ["dg"]},
        {**HOME["agents"][0]},
        {key: value for key, value in HOME["agents"][1].items() if key != "interval"},
    ],
    "protocols": [{"type": "p2p_trading", "members": ["a", "b"]}],
}
MICROGRIDS = {"home": HOME, "shared": SHARED}


def played(env, choose, ticks=24):
    """Rewards of an episode's agents, ``(ticks, A)``."""
    env.reset(seed=5)
    rows = []
    for _ in range(ticks):
        rows.append(list(env.step(choose(env))[1].values()))
    return np.array(rows)


def zeros(env):
    return {agent: np.zeros(env.action_space(agent).shape, np.float32) for agent in env.agents}


def rule(env):
    return env.policy_actions("rule_based")


@pytest.mark.parametrize("name", MICROGRIDS)
@pytest.mark.parametrize("backend", ["numpy", "fused"])
def test_zero_actions_follow_the_policy_they_correct(name, backend):
    by_rule = played(powergrid.make(MICROGRIDS[name]), rule)
    corrected = played(powergrid.make(MICROGRIDS[name], residual="rule_based", backend=backend), zeros)
    # the rule's own actions pass through float32 on their way into the step
    np.testing.assert_allclose(corrected, by_rule, rtol=1e-5, atol=1e-6)
    assert np.abs(by_rule).sum() > 1.0


@pytest.mark.parametrize("name", MICROGRIDS)
def test_the_compiled_step_corrects_alike(name):
    numpy, fused = (powergrid.make(MICROGRIDS[name], residual="rule_based", backend=b) for b in ("numpy", "fused"))
    forms = []
    for env in (numpy, fused):
        rng = np.random.default_rng(1)
        forms.append(played(env, lambda env: {agent: drawn(env, agent, rng) for agent in env.agents}))  # noqa: B023
    np.testing.assert_allclose(forms[1], forms[0], rtol=1e-9, atol=1e-9)
    assert not np.allclose(forms[0], played(numpy, zeros))


def drawn(env, agent, rng):
    return rng.uniform(-1, 1, env.action_space(agent).shape).astype(np.float32)


def test_one_moves_a_command_by_the_whole_range():
    env = powergrid.make(HOME, residual="rule_based")
    place = env.world.layout.units.index("ess")
    for way, power_mw in ((1.0, 0.1), (-1.0, -0.1)):  # discharge and charge in full, whatever the rule wants
        env.reset(seed=5)
        env.step({agent: np.full_like(action, way) for agent, action in zeros(env).items()})
        assert env.output.p_mw[place] == pytest.approx(power_mw)


def test_between_decisions_a_corrected_command_is_held():
    env = powergrid.make(HOME, residual="rule_based")
    env.reset(seed=5)
    place, powers = env.world.layout.units.index("dg"), []
    for tick in range(6):
        env.step({**zeros(env), "dg": np.full(env.action_space("dg").shape, 0.5 * (-1) ** tick, np.float32)})
        powers.append(float(env.output.p_mw[place]))
    assert powers[1::2] == powers[::2]  # what comes in the hours between moves nothing
    assert min(powers) > 0.0


def test_a_corrected_environment_refuses_commands_of_other_policies():
    env = powergrid.make(HOME, residual="rule_based")
    env.reset(seed=5)
    assert not any(action.any() for action in env.policy_actions("rule_based").values())
    with pytest.raises(ArgumentError, match=r"correct rule_based here, and those of idle are commands.*residual=None"):
        env.policy_actions("idle")


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ("rule_bassed", "rule_based"),
        ("random", "it draws random numbers"),
        ("volt_var", "within the power flow"),
        ("mpc", "decides in Python"),
    ],
)
@pytest.mark.parametrize("section", [(), ("training",)])
def test_policies_that_cannot_be_corrected_are_refused(policy, says, section):
    faulty = {**HOME, "residual": policy} if not section else {**HOME, "training": {"residual": policy}}
    with pytest.raises(ConfigError, match=says):
        powergrid.load_config(faulty)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    pytest.importorskip("optax")
    from powergrid.learn.train import train

    folder = tmp_path_factory.mktemp("runs") / "home"
    return train(HOME, algo="mappo", steps=24 * 8 * 6, num_envs=8, out=folder, residual="rule_based", progress=False)


def test_a_run_begins_with_the_policy_and_keeps_the_best(run):
    curve = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    evaluation = powergrid.evaluate(run, policy=("learned", "rule_based", "idle"), days="validation", show=False)
    by_rule = powergrid.evaluate(HOME, policy=("rule_based", "idle"), days="validation", show=False)
    for policy in ("rule_based", "idle"):  # policies that are commands are played as commands
        np.testing.assert_array_equal(evaluation[policy].objective, by_rule[policy].objective)
    least = min(row["kept_objective"] for row in curve if "kept_objective" in row)
    best = min(least, float(by_rule["rule_based"].objective.mean()))
    assert evaluation["learned"].objective.mean() == pytest.approx(best, rel=1e-6)
    assert json.loads((run / "meta.json").read_text())["keep"] == "best"
    assert powergrid.load_policy(run).residual == "rule_based"


def test_a_report_replays_corrections_and_commands(run, tmp_path):
    from powergrid.report.run import load_run

    powergrid.evaluate(run, policy=("learned", "rule_based"), days=[3, 40], show=False, out=tmp_path / "out")
    for policy in load_run(tmp_path / "out").policies:
        assert policy.replay_error < 1e-4


def test_runs_with_and_without_commands_are_compared_in_their_own_terms(run):
    by_command = powergrid.evaluate(HOME, policy={"mine": str(run), "rule_based": "rule_based"}, days=[3], show=False)
    of_run = powergrid.evaluate(run, days=[3], show=False)
    np.testing.assert_array_equal(by_command["mine"].objective, of_run["learned"].objective)


def test_a_run_goes_on_and_still_keeps_the_best(run, tmp_path):
    import shutil

    from powergrid.learn.train import train

    copy = tmp_path / "home"
    shutil.copytree(run, copy)
    before = powergrid.evaluate(copy, days="validation", show=False)["learned"].objective.mean()
    train(HOME, steps=24 * 8 * 8, out=copy, resume=True, residual="rule_based", progress=False)
    after = powergrid.evaluate(copy, days="validation", show=False)["learned"].objective.mean()
    assert after <= before + 1e-9


def test_weights_of_a_run_whose_actions_mean_something_else_are_refused(run, tmp_path):
    from powergrid.learn.train import train

    given = {"algo": "mappo", "steps": 24 * 8, "num_envs": 8, "out": tmp_path / "next", "progress": False}
    with pytest.raises(
        ConfigError, match=r"(?s)that run correct rule_based, those here are commands.*residual=rule_based"
    ):
        train(HOME, init_from=run, **given)
    with pytest.raises(ConfigError, match="not both"):
        train(HOME, residual="rule_based", imitate="idle", **given)
    with pytest.raises(ConfigError, match="mpc") as told:
        train(HOME, residual="mpc", **given)
    assert len(told.value.issues) == 1


def test_what_moves_commands_refuses_corrections(run):
    from powergrid.learn.deciders import SafePolicy
    from powergrid.learn.realtime import evaluate_realtime

    with pytest.raises(ArgumentError, match="residual"):
        powergrid.evaluate(run, policy={"safe": SafePolicy("learned")}, days=[3], show=False)
    pytest.importorskip("simpy")
    with pytest.raises(ArgumentError, match="train it without residual"):
        evaluate_realtime(run, policy="learned", delays={"action_delay": 60.0}, days=[3], show=False)


def test_the_configuration_says_what_a_run_corrects(tmp_path):
    """The argument goes before the training section; a run's own configuration makes the same run again."""
    from powergrid.learn.train import train

    written = {**HOME, "training": {"residual": "rule_based"}}
    small = {"algo": "mappo", "steps": 24, "num_envs": 1, "minibatches": 1, "progress": False}
    found = {}
    for name, residual in {"written": None, "none": "none", "idle": "idle"}.items():
        run = train(written, out=tmp_path / name, residual=residual, **small)
        found[name] = powergrid.load_policy(run).residual
        again = train(run / "config.yaml", out=tmp_path / f"{name}_again", **small)
        assert powergrid.load_policy(again).residual == found[name]
    assert found == {"written": "rule_based", "none": None, "idle": "idle"}
    assert powergrid.make(written).world.resolved.config.residual is None


def test_units_with_a_curve_of_their_own_are_refused():
    """Under the rule they follow it within the power flow: an action of zero would not be the rule."""
    statcom = {"id": "svc", "type": "Statcom", "bus": "20", "params": {"sn_mva": 0.2}, "policy": "learned"}
    agents = [*HOME["agents"], statcom]
    with pytest.raises(ConfigError, match='"svc" follows a curve of its own within the power flow'):
        powergrid.make({**HOME, "agents": agents, "residual": "rule_based"})
    by_rule = {**statcom, "policy": "rule_based"}
    powergrid.make({**HOME, "agents": [*HOME["agents"], by_rule], "residual": "rule_based"})
