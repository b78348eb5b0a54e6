"""Graph policies: one set of weights on any feeder, whose agents hear each other over a few buses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy_battery

import powergrid
from powergrid.core.errors import ArgumentError, ConfigError, RunError
from powergrid.learn import imitation
from powergrid.learn.actors.feeder import VOLTAGES, feeder_of
from powergrid.learn.actors.graph import Graph
from powergrid.learn.callbacks import Callback

PLANT = {"kind": "solar", "p_max_mw": 0.4, "sn_mva": 0.5}
STORE = {"capacity_mwh": 0.5, "max_p_mw": 0.2, "sn_mva": 0.25}
SMALL = {"network": "graph", "num_envs": 4, "rollout": 4, "hidden": (16, 16), "minibatches": 2, "progress": False}


def feeder(base: str, **places: Any) -> dict[str, Any]:
    """A learned plant or battery at each bus, such as ``pv_1=671``, for two hours."""
    kinds = {"pv": ("RES", PLANT), "ess": ("ESS", STORE)}
    agents = []
    for id, place in places.items():
        kind, params = kinds[id.split("_")[0]]
        bus, phases = (place, None) if isinstance(place, int) else place
        agents.append({"id": id, "type": kind, "bus": bus, "params": params, "policy": "learned"})
        if phases:
            agents[-1]["phases"] = phases
    phases = {"phases": "three"} if any(isinstance(place, tuple) for place in places.values()) else {}
    network = {"base": base, "load_series": "load_p_pu:res_2", **phases}
    return {"name": base, "network": network, "agents": agents, "simulation": {"episode_length": 8, "time_step": 900}}


IN_A_ROW = feeder("ieee34", pv_1=806, pv_2=816, pv_3=832, ess_1=834)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return powergrid.train(IN_A_ROW, steps=48, out=tmp_path_factory.mktemp("graph") / "run", **SMALL)


def first_seen(source: Any) -> tuple[Any, dict[str, np.ndarray]]:
    env = powergrid.make(source, backend="numpy")
    observations, _ = env.reset(seed=1)
    return env, observations


def test_all_weights_learn_and_act_alike_on_numpy_and_jax(run: Path) -> None:
    policy = powergrid.load_policy(run)
    env = powergrid.make_functional(IN_A_ROW)
    network = Graph(feeder_of(env.world, env.groups), env.groups, 2)
    before = network.init(np.random.default_rng(0), (16, 16), 0.0)
    moved = jax.tree.map(lambda old, new: bool((old != new).mean() > 0.3), before, policy._actor)
    assert all(jax.tree.leaves(moved)), moved

    rng = np.random.default_rng(0)
    seen = {group: rng.normal(size=(3, len(own), policy.sizes(own[0])[0])) for group, own in env.groups.items()}
    seen = {group: rows.astype(np.float32) for group, rows in seen.items()}
    inputs = jax.jit(lambda rows: network.inputs(jnp, policy._norms, rows))(seen)
    means = jax.jit(lambda rows: network.means(jnp, policy._actor, rows))(inputs)
    for group, chosen in policy.actions(seen, {})[0].items():
        np.testing.assert_allclose(chosen, np.clip(means[group], -1, 1), rtol=1e-4, atol=1e-5)
        assert np.ptp(chosen) > 1e-6


def test_renumbered_buses_and_agents_leave_actions_unchanged(run: Path) -> None:
    policy = powergrid.load_policy(run)
    turned = {**IN_A_ROW, "agents": IN_A_ROW["agents"][::-1]}
    env, seen = first_seen(IN_A_ROW)
    other, again = first_seen(turned)
    assert other.possible_agents != env.possible_agents
    here, there = policy.on(env), policy.on(other)
    assert here.network.feeder.buses != there.network.feeder.buses
    acted, anew = here.act(seen, deterministic=True), there.act(again, deterministic=True)
    for agent in env.possible_agents:
        np.testing.assert_allclose(seen[agent], again[agent])
        np.testing.assert_allclose(acted[agent], anew[agent], atol=1e-6)


@pytest.mark.parametrize("rounds", [0, 1, 2])
def test_an_agent_hears_as_many_buses_away_as_there_are_rounds(rounds: int) -> None:
    env = powergrid.make_functional(IN_A_ROW)
    network = Graph(feeder_of(env.world, env.groups), env.groups, rounds)
    assert network.feeder.buses == ("806", "816", "832", "834")
    assert {(sender, receiver) for sender, receiver in network.feeder.links.tolist()} == {
        (0, 1), (1, 0), (1, 2), (2, 1), (2, 3), (3, 2),
    }  # fmt: skip
    actor = network.init(np.random.default_rng(0), (16, 16), None)
    rng = np.random.default_rng(1)
    inputs = {group: rng.normal(size=(1, len(own), network.input_size[group])) for group, own in env.groups.items()}
    changed = {group: rows.copy() for group, rows in inputs.items()}
    changed["pv"][:, 0] += 1.0  # what the plant at bus 806 observes
    one, other = (network.means(np, actor, rows) for rows in (inputs, changed))
    moved = [float(np.abs(one["pv"] - other["pv"])[0, row].max()) for row in range(3)]
    moved.append(float(np.abs(one["ess"] - other["ess"]).max()))
    assert [distance > 1e-9 for distance in moved] == [hops <= rounds for hops in range(4)]


def test_a_run_acts_on_other_feeders(run: Path, tmp_path: Path) -> None:
    larger = feeder("ieee123", **{f"pv_{k}": bus for k, bus in enumerate((13, 18, 35, 54, 67), 1)}, ess_1=60)
    found = powergrid.evaluate(run, on=larger, days=[3, 8], show=False)
    assert found.name == "ieee123"
    chosen = found["learned"].arrays["actions"]
    assert chosen.shape[2] == 6
    assert np.ptp(chosen, axis=2).max() > 1e-6
    written = json.loads((run / "on_ieee123" / "evaluation.json").read_text())
    assert list(written["policies"]) == ["learned", "rule_based"]
    assert not (run / "evaluation.json").exists()
    again = powergrid.evaluate(larger, policy=[str(run)], days=[3, 8], show=False)
    assert again.outcomes[0].trajectory_hash == found["learned"].trajectory_hash


def test_plants_on_any_phases_have_one_role() -> None:
    source = feeder("ieee13", pv_1=(671, None), pv_2=(611, "c"), pv_3=(646, "bc"), ess_1=(675, None))
    env = powergrid.make_functional(source)
    found = feeder_of(env.world, env.groups)
    assert [role.name for role in found.roles] == ["Renewable", "Storage"]
    plant = found.roles[0]
    assert plant.features[-3:] == VOLTAGES
    assert plant.actions == ("p_share", "q")
    assert not any(sign in name for name in plant.features for sign in ("pv_1", "bus_", ":"))
    assert len(env.groups) == 4

    network = Graph(found, env.groups, 1)
    obs = {
        group: np.full((len(own), env.observation_size[group]), 0.5, np.float32) for group, own in env.groups.items()
    }
    at = env.observation_size["pv"] - 3
    obs["pv"][:, at:] = [0.9, 1.0, 1.1]
    norms = network.statistics(False)
    features = network.inputs(np, norms, obs)["pv"][0]
    np.testing.assert_allclose(features[-3:], [1.0, 0.9, 1.1], rtol=1e-5)
    assert features[plant.features.index("p")] == pytest.approx(0.5 / 0.5)  # MW by the plant's 0.5 Mvar


def test_resumed_runs_have_the_bits_of_uninterrupted_ones(run: Path, tmp_path: Path) -> None:
    class Stop(Callback):
        def log(self, run: Any, row: Any) -> None:
            if run.update == 2:
                run.stop("enough")

    powergrid.train(IN_A_ROW, steps=48, out=tmp_path, callbacks=[Stop()], **SMALL)
    meta = json.loads((tmp_path / "meta.json").read_text())
    assert (meta["settings"]["network"], meta["settings"]["rounds"]) == ("graph", 2)
    assert np.load(tmp_path / "checkpoint.npz")["step"] == 32
    powergrid.train(IN_A_ROW, out=tmp_path, resume=True, progress=False)
    one, other = (dict(np.load(folder / "checkpoint.npz")) for folder in (run, tmp_path))
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[key], other[key]) for key in one if key.startswith(("actor/", "network/")))
    assert "network/roles/Renewable/features" in one


@pytest.mark.slow
def test_a_run_on_another_feeder_begins_with_the_weights(run: Path, tmp_path: Path) -> None:
    larger = feeder("ieee123", **{f"pv_{k}": bus for k, bus in enumerate((13, 18, 35, 54, 67), 1)}, ess_1=60)
    second = powergrid.train(
        larger, steps=1, out=tmp_path / "second", init_from=run, **SMALL
    )  # the first only measures
    there, here = (dict(np.load(folder / "checkpoint.npz")) for folder in (run, second))
    actors = [key for key in there if key.startswith("actor/")]
    assert actors
    for key in actors:
        np.testing.assert_array_equal(there[key], here[key])
    with pytest.raises(ConfigError, match=r"(?s)rounds/round_2/bias is not there.*take hidden, rounds"):
        powergrid.train(larger, steps=1, out=tmp_path / "third", init_from=run, rounds=3, **SMALL)
    with pytest.raises(ConfigError, match=r"(?s)network graph, here dense.*network=graph fits"):
        powergrid.train(larger, steps=1, out=tmp_path / "third", init_from=run, **{**SMALL, "network": "dense"})
    other = {**larger, "agents": [*larger["agents"], {"id": "dg_1", "type": "DG", "bus": 13, "policy": "learned"}]}
    with pytest.raises(ConfigError, match=r"that run has Renewable, Storage"):
        powergrid.train(other, steps=1, out=tmp_path / "third", init_from=run, **SMALL)
    assert not (tmp_path / "third").exists()


@pytest.mark.slow
@pytest.mark.parametrize("network", ["graph", "gru"])
@pytest.mark.parametrize("algorithm", ["ippo", "ppo_lagrangian", "cpo", "apg"])
def test_every_algorithm_trains_every_network(network: str, algorithm: str, tmp_path: Path) -> None:
    limited = {**IN_A_ROW, "training": {"cost_limits": {"voltage": 1.0}}}
    source = IN_A_ROW if algorithm == "ippo" else limited
    settings = {**SMALL, "network": network}
    if algorithm == "apg":
        del settings["rollout"]
    updates = 2
    steps = updates * 4 * (8 if algorithm == "apg" else 4)
    folder = powergrid.train(source, algo=algorithm, steps=steps, out=tmp_path / "run", **settings)
    arrays = dict(np.load(folder / "checkpoint.npz"))
    heads = [array for key, array in arrays.items() if key.startswith("actor/") and key.endswith("head/dense_1/bias")]
    assert heads
    assert all(np.abs(head).max() > 0.0 for head in heads)  # they begin at 0
    actions = powergrid.load_policy(folder).act(first_seen(source)[1], deterministic=True)
    assert all(np.isfinite(own).all() for own in actions.values())


@pytest.mark.slow
def test_a_graph_policy_that_imitates_rules_follows_them_on_another_feeder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"DAYS": 16, "ROUNDS": 2, "STEPS": 800, "ROWS": 128}.items():
        monkeypatch.setattr(imitation, name, value)
    folder = powergrid.train(
        "voltage_control_34", steps=1, out=tmp_path / "run", network="graph", imitate="rule_based", num_envs=2,
        rollout=2, minibatches=1, hidden=(16, 16), progress=False,
    )  # fmt: skip
    found = powergrid.evaluate(folder, on="voltage_control_123", days=[3, 100], show=False, bound=False)
    plants = slice(0, 10)
    learned, rule = (found[name].arrays["actions"][:, :, plants, 0] for name in ("learned", "rule_based"))
    assert np.abs(np.clip(learned, -1, 1) - rule).mean() < 0.1
    with pytest.raises(ConfigError, match=r"(?s)network gru imitate nobody"):
        powergrid.train("voltage_control_34", steps=1, out=tmp_path / "gru", network="gru", imitate="rule_based")


def test_what_does_not_fit_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r'agent "ess_1" has the role Storage with other entries.*more here, none there'):
        powergrid.evaluate(run, on=_with(IN_A_ROW, "ess_1", observability="full"), days=[3], show=False)
    other = {**IN_A_ROW, "agents": [*IN_A_ROW["agents"], {"id": "dg_1", "type": "DG", "bus": 840, "policy": "learned"}]}
    with pytest.raises(RunError, match=r'agent "dg_1" has the role \w+, the run has trained Renewable, Storage'):
        powergrid.evaluate(run, on=other, days=[3], show=False)
    found = powergrid.evaluate(run, on=other, others="rule_based", days=[3], show=False)
    np.testing.assert_array_equal(
        found["learned"].arrays["actions"][:, 0, 4], found["rule_based"].arrays["actions"][:, 0, 4]
    )
    assert (found["learned"].arrays["actions"][:, :, :4] != found["rule_based"].arrays["actions"][:, :, :4]).any()
    with pytest.raises(ArgumentError, match="give the run's folder"):
        powergrid.evaluate("ieee34_multi", on="ieee34_multi")
    with pytest.raises(ArgumentError, match="network=dense"):
        powergrid.load_policy(run).agent_layers("pv_1")


def _with(source: dict[str, Any], id: str, **keys: Any) -> dict[str, Any]:
    return {**source, "agents": [{**agent, **keys} if agent["id"] == id else agent for agent in source["agents"]]}


def test_settings_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    for settings, message in (
        ({"network": "grahp"}, "graph"),
        ({"network": "dense", "rounds": 3}, "belongs to network graph"),
        ({"network": "graph", "share_actors": False}, "share_actors"),
        ({"network": "graph", "hidden": ()}, "hidden"),
        ({"network": "graph", "chunk": 4}, "belongs to network gru"),
        ({"network": "gru", "chunk": 5}, "must divide the 96 ticks"),
    ):
        with pytest.raises(ConfigError, match=message):
            powergrid.train(IN_A_ROW, steps=1, out=tmp_path / "run", progress=False, **settings)
    with pytest.raises(ConfigError, match="needs the feeder"):
        powergrid.train(toy_battery.ToyBattery(), steps=1, out=tmp_path / "run", network="graph", progress=False)
    assert not (tmp_path / "run").exists()
    with pytest.raises(ConfigError, match="could be frozen"):
        powergrid.train(IN_A_ROW, steps=1, out=tmp_path / "run", freeze="pv", **SMALL)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("network/links", np.array([[0, 9]])),
        ("network/feeder/pv/pick", np.full((3, 2), 999)),
        ("network/roles/Storage/features", np.array(["soc"])),
        ("network/kind", np.array("tree")),
        ("actor/rounds/round_0/gate", np.zeros((3, 16), np.float32)),
        ("actor/roles/Storage/head/dense_1/kernel", np.zeros((16, 5), np.float32)),
    ],
)
def test_a_damaged_checkpoint_is_refused(run: Path, tmp_path: Path, key: str, value: np.ndarray) -> None:
    arrays = dict(np.load(run / "checkpoint.npz"))
    assert key in arrays
    np.savez(tmp_path / "checkpoint.npz", **{**arrays, key: value})
    with pytest.raises(RunError, match="no usable actors"):
        powergrid.load_policy(tmp_path / "checkpoint.npz")
    del arrays[key]
    if key != "network/kind":
        np.savez(tmp_path / "checkpoint.npz", **arrays)
        with pytest.raises(RunError, match=r"lacks|no usable actors"):
            powergrid.load_policy(tmp_path / "checkpoint.npz")
