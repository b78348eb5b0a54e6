"""Ids of the presets in Gymnasium and PettingZoo."""

from __future__ import annotations

import subprocess
import sys

import gymnasium as gym
import numpy as np
import pettingzoo
import pytest
from gymnasium.utils.env_checker import check_env

from powergrid.config.sources import preset_names
from powergrid.core.when_imported import when_imported
from powergrid.envs.registry import SINGLE, id_of, install
from powergrid.worlds.build import build

registered = pytest.mark.skipif(not hasattr(pettingzoo, "register"), reason="this PettingZoo has no registry")


@pytest.mark.filterwarnings("ignore:lmp_solver")
def test_the_presets_with_one_learning_agent_are_gymnasiums():
    assert [name for name in preset_names() if len(build(name).layout.actors) == 1] == list(SINGLE)


@pytest.mark.filterwarnings("ignore:lmp_solver")
@pytest.mark.parametrize("preset", SINGLE)
def test_gymnasium_makes_one_and_many(preset):
    env = gym.make(id_of(preset), normalize=True, episode_length=4)
    check_env(env.unwrapped, skip_render_check=True)
    seen, _ = env.reset(seed=2)
    many = gym.make_vec(id_of(preset), num_envs=3, normalize=True, episode_length=4)
    assert type(many.unwrapped).__name__ == "SingleAgentVectorEnv"
    assert many.spec.id == id_of(preset)
    assert np.allclose(many.reset(seed=2)[0][0], seen, atol=1e-6)
    slow = gym.make_vec(id_of(preset), num_envs=3, vectorization_mode="sync", normalize=True, episode_length=4)
    slow.reset(seed=2)
    actions = many.action_space.sample()
    for one, two in zip(many.step(actions)[:4], slow.step(actions)[:4], strict=True):
        assert np.allclose(one, two, rtol=1e-6, atol=1e-6)


@registered
def test_pettingzoo_knows_every_preset():
    for registry in (pettingzoo.parallel_registry, pettingzoo.aec_registry):
        assert [name for name in preset_names() if id_of(name) not in registry] == []


@registered
def test_pettingzoo_makes_both_forms():
    env = pettingzoo.make("parallel", "powergrid/two_microgrids_v0", max_cycles=3, pad="role")
    env.reset(seed=0)
    for _ in range(3):
        env.step({agent: env.action_space(agent).sample() for agent in env.agents})
    assert env.agents == []
    assert env.observation_space("microgrid_1") == env.observation_space("microgrid_2")
    turns = pettingzoo.make("aec", "powergrid/two_microgrids-v0")
    turns.reset(seed=0)
    assert turns.agent_selection == "microgrid_1"


@pytest.mark.parametrize(
    "program",
    [
        "import powergrid, sys; assert 'pettingzoo' not in sys.modules; import gymnasium, pettingzoo",
        "import gymnasium, pettingzoo, powergrid",
        "import gymnasium, pettingzoo; gymnasium.make('powergrid:powergrid/ieee13_single-v0')",
    ],
)
def test_ids_are_there_whichever_is_imported_first(program):
    told = "print(gymnasium.spec('powergrid/ieee13_single-v0').id, gymnasium.spec('powergrid/IEEE13-v2').id)"
    done = subprocess.run([sys.executable, "-c", f"{program}; {told}"], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["powergrid/ieee13_single-v0", "powergrid/IEEE13-v2"]


def test_registering_twice_changes_nothing(recwarn):
    before = len(gym.registry)
    install()
    assert len(gym.registry) == before
    assert not recwarn.list


def test_work_waits_for_an_import_and_is_done_once(tmp_path, monkeypatch):
    (tmp_path / "awaited_module.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    done = []

    def work() -> None:
        done.append(sys.modules["awaited_module"].value)

    when_imported("awaited_module", work)
    when_imported("awaited_module", work)
    assert done == []
    import awaited_module  # noqa: F401

    assert done == [1]
    when_imported("awaited_module", work)
    assert done == [1, 1]
    sys.modules.pop("awaited_module")
