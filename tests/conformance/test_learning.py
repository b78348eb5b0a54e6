"""What learning promises on every preset: agents are never taken for one another, whatever they are called."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from ruamel.yaml import YAML

import powergrid
from powergrid.config.sources import preset_names
from powergrid.core.errors import ConfigError
from powergrid.envs.factory import for_training
from powergrid.learn.algorithms.ippo import ippo
from powergrid.learn.algorithms.mappo import PolicyGradient, mappo
from powergrid.learn.jax_roll_out import JaxRollOut

QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
SMALL = {"num_envs": 2, "rollout": 3, "epochs": 2, "minibatches": 1, "hidden": (8,)}
IN_THE_QUICK_RUN = {"two_microgrids"}
ON_THE_CPU = {"iso_case30"}
"""Presets whose power flow JAX does not solve."""
RENAMED = {"ess_1": "zeta_2", "ess_2": "zeta_1", "dg_1": "mid_1", "dg_2": "mid_2", "pv_1": "alpha_1"}
"""Swaps two names, and gives groups whose alphabetical order is the reverse of their order."""

presets = [
    pytest.param(name, marks=() if name in IN_THE_QUICK_RUN else pytest.mark.slow) for name in sorted(preset_names())
]


def quickly(learner: PolicyGradient) -> PolicyGradient:
    """The learner, compiled with less effort: each part runs a few times only."""
    if isinstance(learner.roll_out, JaxRollOut):
        learner.roll_out._collect = jax.jit(learner.roll_out._collected, compiler_options=QUICK)
    learner._learn = jax.jit(learner._learned, compiler_options=QUICK)
    return learner


@pytest.mark.parametrize("kind", ["jax", "compiled"])
@pytest.mark.parametrize("preset", presets)
def test_nothing_has_changed_before_anything_is_learned(preset, kind):
    """The first update's step size is 0: every probability ratio is 1, for central critics and local ones."""
    env = for_training(preset)
    given = {**SMALL, "roll_out": kind}
    if kind == "jax" and preset in ON_THE_CPU:
        with pytest.raises(ConfigError, match="runs on the CPU only"):
            mappo(env, 10**6, given)
        return
    central, local = (quickly(algorithm(env, 10**6, given)) for algorithm in (mappo, ippo))
    state = central.init(0)
    lanes, rollout = central.roll_out.collect(state.learner, state.lanes)
    for learner, learned in ((central, state.learner), (local, local.init(0).learner)):
        after, metrics = learner._learn(learned, rollout, lanes.obs, lanes.central)
        assert float(metrics["learning_rate"]) == 0.0
        assert float(metrics["approx_kl"]) < 1e-6
        assert float(metrics["clip_share"]) == 0.0
        assert int(after.updates) == 1


def renamed(preset: str, names: dict[str, str]) -> dict:
    content = YAML(typ="safe").load(powergrid.load_config(preset).to_yaml())
    for agent in content["agents"]:
        agent["id"] = names[agent["id"]]
    return content


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", [mappo, ippo])
def test_other_names_permute_the_results(algorithm):
    """Two runs under the same keys, the second under other names: the same curve, the same weights in each place."""
    found = []
    for source in ("ieee34_multi", renamed("ieee34_multi", RENAMED)):
        env = powergrid.make_functional(source)
        learner = quickly(algorithm(env, 100, {**SMALL, "roll_out": "jax"}))
        state, curve = learner.init(3), []
        for _ in range(3):
            state, metrics = learner.update(state)
            curve.append([float(value) for value in metrics.values()])
        found.append((env, state, curve))
    (env, state, curve), (other, other_state, other_curve) = found
    assert [[RENAMED[agent] for agent in members] for members in env.groups.values()] == [
        list(members) for members in other.groups.values()
    ]
    np.testing.assert_allclose(curve, other_curve, rtol=1e-6, equal_nan=True)
    for one, two in zip(state.actor.parts, other_state.actor.parts, strict=True):
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)
