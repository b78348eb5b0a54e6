"""Training leaves out ticks in which an agent is absent, and a death ends its returns."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import powergrid
from powergrid.learn.algorithms.ippo import ippo
from powergrid.learn.groups import ByGroup
from powergrid.learn.learner_state import Rollout, Tally
from powergrid.learn.networks import merge, running

QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
TICKS, COUNT = 6, 4
BATTERY = {"id": "ess_1", "type": "ESS", "bus": "671", "params": {"capacity_mwh": 1.0, "max_p_mw": 0.2}}
CONFIG = {
    "name": "lives",
    "network": "ieee13",
    "agents": [{**BATTERY, "failures": {}}, *({**BATTERY, "id": f"ess_{k}", "presence": {}} for k in (2, 3))],
}


def rolled_out(env: Any) -> tuple[Rollout, Any, Any]:
    """Numbers at random: agent 1 leaves after some ticks, agent 2 joins late, and all go on after the last tick."""
    rng = np.random.default_rng(0)
    [group] = env.groups

    def drawn(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    batch, agents = (TICKS, COUNT), 3
    ticks = np.broadcast_to(np.arange(TICKS)[:, None], batch)
    alive = np.stack([ticks >= 0, ticks < 3 + np.arange(COUNT) % 2, ticks >= 2], -1)
    left = alive & ~np.concatenate([alive[1:], alive[-1:]])
    rollout = Rollout(
        obs=ByGroup([group], [drawn(*batch, agents, env.observation_size[group])]),
        central=drawn(*batch, env.state_size),
        action=ByGroup([group], [drawn(*batch, agents, env.action_size[group])]),
        reward=np.where(alive, drawn(*batch, agents), np.float32(0.0)),
        due=alive.copy(),
        done=np.zeros(batch, bool),
        terminated=np.zeros(batch, bool),
        final_value=np.zeros((*batch, agents), np.float32),
        finished=Tally(*(np.zeros(batch, np.float32) for _ in Tally._fields)),
        alive=alive,
        left=left,
    )
    last = ByGroup([group], [drawn(COUNT, agents, env.observation_size[group])])
    return rollout, last, drawn(COUNT, env.state_size)


@pytest.mark.parametrize("shared", [False, True])
def test_what_is_learned_does_not_depend_on_what_the_absent_see_or_do(shared: bool) -> None:
    env = powergrid.make_functional(CONFIG)
    made = ippo(env, 10**6, {"num_envs": COUNT, "rollout": TICKS, "hidden": (4,), "share_actors": shared, "epochs": 2,
                             "roll_out": "jax", "minibatches": 2})  # fmt: skip
    learn = jax.jit(made._learned, compiler_options=QUICK)
    rollout, last, central = rolled_out(env)
    learner = made.fresh(0)._replace(updates=np.int32(1))
    plain = learn(learner, rollout, last, central)
    away = ~rollout.alive[..., None]
    changed = rollout._replace(
        obs=rollout.obs.map(lambda part: np.where(away, np.float32(9.0), part)),
        action=rollout.action.map(lambda part: np.where(away, np.float32(-3.0), part)),
        reward=np.where(rollout.alive, rollout.reward, np.float32(7.0)),
    )
    after = learn(learner, changed, last, central)
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(plain), jax.tree.leaves(after), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=jax.tree_util.keystr(path))
    count = np.asarray(plain[0].value_norm.count).tolist()
    assert count == rollout.alive.sum((0, 1)).tolist()
    seen = changed._replace(alive=np.ones_like(rollout.alive), due=np.ones_like(rollout.due))
    weights = [jax.tree.leaves(learned[0].actor) for learned in (after, learn(learner, seen, last, central))]
    assert any((a != b).any() for a, b in zip(*weights, strict=True))


def test_statistics_of_some_samples_are_those_of_these_alone() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.normal(3.0, 2.0, (50, 3)) for _ in range(2)]
    masks = [rng.random((50, 3)) < 0.5 for _ in range(2)]
    masks[0][:, 2] = False
    stats = running((3,), (3,))
    for part, mask in zip(parts, masks, strict=True):
        stats = merge(np, stats, part, where=mask)
    samples, some = np.concatenate(parts), np.concatenate(masks)
    assert stats.count.tolist() == some.sum(0).tolist()
    for k in range(3):
        own = samples[some[:, k], k]
        assert (stats.mean[k], stats.var[k]) == pytest.approx((own.mean(), own.var()), rel=1e-5)
