"""Actors with a memory: what they learn that others cannot, and where the memory begins, passes on and ends."""

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
from powergrid.learn import policy
from powergrid.learn.actors.gru import Gru
from powergrid.learn.callbacks import Callback
from powergrid.learn.groups import ByGroup
from powergrid.report.files import read_metrics

SHOWN, PAYS = 0, 6
SMALL = {"num_envs": 32, "rollout": 24, "minibatches": 4, "hidden": (16, 16), "learning_rate": 3e-3, "progress": False}
STEPS = 32 * 24


class Cue(toy_battery.ToyBattery):
    """Batteries that are told in the first hour whether the price of the later hours is 1 or -1, and nothing else."""

    def price(self, state: Any, ahead: float = 0.0) -> Any:
        return jnp.where(state.tick >= PAYS, jnp.sign(state.phase - jnp.pi), 0.0)

    def observe(self, state: Any) -> dict[str, Any]:
        cue = jnp.where(state.tick == SHOWN, jnp.sign(state.phase - jnp.pi), 0.0)
        rows = jnp.stack([cue, cue * 0.0, state.tick / toy_battery.HOURS, cue * 0.0], -1).astype(jnp.float32)
        batch = rows.shape[:-1]
        return {
            group: jnp.broadcast_to(rows[..., None, :], (*batch, len(members), 4))
            for group, members in self.groups.items()
        }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One uninterrupted run of three updates, whose roll-outs end within episodes."""
    folder = tmp_path_factory.mktemp("gru") / "run"
    return powergrid.train(Cue(), steps=3 * 32 * 20, out=folder, network="gru", **{**SMALL, "rollout": 20})


def earned(folder: Path) -> float:
    """Reward of an episode in the last updates."""
    return float(np.mean([row["episode_reward"] for row in read_metrics(folder)[-5:]]))


@pytest.mark.slow
def test_a_memory_learns_what_needs_one(tmp_path: Path) -> None:
    found = {}
    for network in ("dense", "gru"):
        out = tmp_path / network
        settings = {**SMALL, "network": network, "log_std": -1.0, "discount": 1.0}
        powergrid.train(Cue(), steps=80 * STEPS, out=out, **settings)
        found[network] = earned(out)
    assert found["dense"] < 0.2
    assert found["gru"] > 0.7  # who remembers earns 1


def network(agents: int = 2, shared: bool = True) -> tuple[Gru, Any]:
    found = Gru({"a": tuple(f"a_{k}" for k in range(agents))}, {"a": 3}, {"a": 2}, shared=shared, width=5)
    return found, found.init(np.random.default_rng(0), (5, 7), 0.0)


@pytest.mark.parametrize("shared", [True, False])
def test_a_roll_out_in_chunks_has_the_actions_of_one_tick_after_the_other(shared: bool) -> None:
    gru, actor = network(shared=shared)
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(8, 3, 2, 3)).astype(np.float32)  # ticks, environments, agents
    begins = np.zeros((8, 3), bool)
    begins[[2, 4, 5], [0, 1, 2]] = True
    memory, one_by_one, kept = {"a": rng.normal(size=(3, 2, 5)).astype(np.float32)}, [], []
    for tick in range(8):
        memory = {"a": np.where(begins[tick][:, None, None], 0.0, memory["a"]).astype(np.float32)}
        kept.append(memory["a"])
        chosen, memory = gru.acted(np, actor, {"a": inputs[tick]}, memory)
        one_by_one.append(chosen["a"])
    for every in (8, 4, 2):
        seen = policy.Seen(ByGroup(["a"], [inputs]), {"a": np.stack(kept[::every])}, begins)
        whole = policy.mean_actions(gru, actor, seen)["a"]
        np.testing.assert_allclose(whole, np.stack(one_by_one), rtol=1e-4, atol=1e-6)
    assert np.ptp(one_by_one) > 1e-3


def test_gradients_pass_back_through_a_chunk_and_stop_where_an_episode_begins() -> None:
    gru, actor = network()
    inputs = np.random.default_rng(1).normal(size=(6, 2, 2, 3)).astype(np.float32)
    begins = np.zeros((6, 2), bool)
    begins[3, 1] = True

    def slope(every: int) -> np.ndarray:
        memory = {"a": jnp.zeros((6 // every, 2, 2, 5))}

        def last(rows: Any) -> Any:
            return policy.mean_actions(gru, actor, policy.Seen(ByGroup(["a"], [rows]), memory, begins))["a"][-1].sum()

        return np.abs(jax.grad(last)(inputs)).sum((2, 3))

    whole, half = slope(6), slope(3)
    assert (whole[:, 0] > 0.0).all()
    assert (whole[:3, 1] == 0.0).all()
    assert (whole[3:, 1] > 0.0).all()
    assert (half[:3] == 0.0).all()
    assert (half[3:] > 0.0).all()


def test_resumed_runs_have_the_bits_of_uninterrupted_ones(run: Path, tmp_path: Path) -> None:
    class Stop(Callback):
        def log(self, run: Any, row: Any) -> None:
            if run.update == 1:
                run.stop("enough")

    settings = {**SMALL, "rollout": 20, "network": "gru"}
    powergrid.train(Cue(), steps=3 * 32 * 20, out=tmp_path, callbacks=[Stop()], **settings)
    half = dict(np.load(tmp_path / "checkpoint.npz"))
    assert np.abs(half["memory/battery"]).max() > 0.0  # within an episode
    powergrid.train(Cue(), out=tmp_path, resume=True, progress=False)
    one, other = (dict(np.load(folder / "checkpoint.npz")) for folder in (run, tmp_path))
    assert one.keys() == other.keys()
    assert [key for key in one if not np.array_equal(one[key], other[key])] == []


def test_acting_keeps_the_memory_between_calls_until_reset(run: Path) -> None:
    actor = powergrid.load_policy(run)
    assert isinstance(actor.network, Gru)
    rng = np.random.default_rng(0)
    days = [{agent: rng.normal(size=4).astype(np.float32) for agent in actor.agents} for _ in range(3)]
    first = [actor.act(seen, deterministic=True) for seen in days]
    later = actor.act(days[0], deterministic=True)
    assert (later["battery_0"] != first[0]["battery_0"]).any()
    actor.reset()
    state = actor.initial_state()
    for seen, before in zip(days, first, strict=True):
        again = actor.act(seen, deterministic=True)
        apart, state = actor.act(seen, state, deterministic=True)
        for agent in actor.agents:
            np.testing.assert_array_equal(again[agent], before[agent])
            np.testing.assert_array_equal(apart[agent], before[agent])
    many = {agent: np.stack([rows, rows]) for agent, rows in days[0].items()}
    with pytest.raises(ArgumentError, match=r"reset\(\)"):
        actor.act(many)
    actor.reset()
    both = actor.act(many, deterministic=True)
    np.testing.assert_allclose(both["battery_0"][1], first[0]["battery_0"], rtol=1e-5)


STORES = {
    "name": "stores",
    "network": {"base": "ieee13"},
    "agents": [
        {
            "id": f"ess_{k}",
            "type": "ESS",
            "bus": bus,
            "params": {"capacity_mwh": 0.5, "max_p_mw": 0.2},
            "policy": "learned",
        }
        for k, bus in enumerate((671, 675), 1)
    ],
    "simulation": {"episode_length": 24, "time_step": 3600},
}


def test_training_on_the_compiled_step_and_evaluation_remember(tmp_path: Path) -> None:
    small = {"num_envs": 4, "rollout": 8, "minibatches": 2, "hidden": (8, 8), "chunk": 4, "progress": False}
    folder = powergrid.train(STORES, steps=64, out=tmp_path / "run", network="gru", **small)
    found = powergrid.evaluate(folder, policy="learned", days=[3, 8], show=False, bound=False).outcomes[0]
    actor, env = powergrid.load_policy(folder), powergrid.make(STORES, backend="numpy")
    view = env.world.layout.view
    for tick in range(3):
        seen = {
            agent: found.arrays["obs"][:, tick, own]
            for agent, own in zip(env.possible_agents, view.slices, strict=True)
        }
        for row, own in enumerate(actor.act(seen, deterministic=True).values()):
            np.testing.assert_allclose(found.arrays["actions"][:, tick, row, : own.shape[-1]], own, atol=1e-6)
    with pytest.raises(ConfigError, match=r"(?s)network gru, here dense.*network=gru"):
        powergrid.train(STORES, steps=32, out=tmp_path / "other", init_from=folder, progress=False)
    assert json.loads((folder / "meta.json").read_text())["settings"]["chunk"] == 4

    arrays = dict(np.load(folder / "checkpoint.npz"))
    key = next(key for key in arrays if key.endswith("memory/dense_0/kernel") and key.startswith("actor/"))
    np.savez(tmp_path / "checkpoint.npz", **{**arrays, key: arrays[key][:, :-1]})
    with pytest.raises(RunError, match="no usable actors"):
        powergrid.load_policy(tmp_path / "checkpoint.npz")
