"""Other learning libraries: steps a second of their environments here, against their own wrapper of one environment.

    python bench/integrations.py [--envs 64]

`ieee13_single`, which has one agent, so that the libraries' own wrappers take it. "alone" steps with random actions;
"training" includes the library's PPO with the same minibatches for both. Figures are medians over windows of wall time
with one thread. A library that is not installed is left out with a sentence: make test-integrations installs them in
one of its environments, .venv-integrations and .venv-integrations-held.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from rich.console import Console
from rich.table import Table

import powergrid

PRESET = "ieee13_single"
WINDOWS, SECONDS = 7, 0.3
FORM = {"normalize": True}


def single() -> Any:
    return powergrid.make(PRESET, api="gymnasium", **FORM)


def rate(step: Callable[[np.ndarray], Any], shape: tuple[int, ...]) -> float:
    """Median steps a second of all environments, resets among them."""
    actions = np.random.default_rng(0).uniform(-1.0, 1.0, shape).astype(np.float32)
    return rate_of(lambda: step(actions), shape[0])


def rate_of(call: Callable[[], Any], steps_of_call: int) -> float:
    """Median steps a second of calls that make so many."""
    call()
    begin = time.perf_counter()
    for _ in range(5):
        call()
    calls = max(int(5 * SECONDS / (time.perf_counter() - begin)), 1)
    found = []
    for _ in range(WINDOWS):
        begin = time.perf_counter()
        for _ in range(calls):
            call()
        found.append(calls * steps_of_call / (time.perf_counter() - begin))
    return median(found)


def stable_baselines3(envs: int) -> Iterator[tuple[str, float, float | None]]:
    """Rows of Stable-Baselines3: the environment, its rate alone and while PPO trains."""
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import DummyVecEnv

    from powergrid.integrations.stable_baselines3 import make

    for name, env, length in (
        ("DummyVecEnv of one", DummyVecEnv([single]), 1536),
        (f"make, {envs} environments", make(PRESET, envs, **FORM), 96),
    ):
        env.reset()
        alone = rate(env.step, (env.num_envs, *env.action_space.shape))
        model = PPO("MlpPolicy", env, n_steps=length, batch_size=256, n_epochs=4, seed=0, device="cpu")
        begin = time.perf_counter()
        model.learn(2 * length * env.num_envs)
        yield name, alone, model.num_timesteps / (time.perf_counter() - begin)


def cleanrl(envs: int) -> Iterator[tuple[str, float, float | None]]:
    """Rows of CleanRL, whose scripts step Gymnasium's SyncVectorEnv."""
    from gymnasium.vector import SyncVectorEnv

    one = SyncVectorEnv([single])
    one.reset(seed=0)
    yield "SyncVectorEnv of one", rate(one.step, one.action_space.shape), None
    env = powergrid.make_vec(PRESET, envs, infos="none", **FORM)
    env.reset(seed=0)
    width = env.world.layout.action_size
    yield f"make_vec, {envs} environments", rate(env.step_array, (envs, len(env.possible_agents), width)), None


def skrl(envs: int) -> Iterator[tuple[str, float, float | None]]:
    """Rows of skrl: its own wrapper of one environment, the lanes of all agents, and the agents by name."""
    import torch
    from gymnasium.vector import SyncVectorEnv
    from skrl.agents.torch.ppo import PPO, PPO_CFG
    from skrl.envs.wrappers.torch import wrap_env
    from skrl.memories.torch import RandomMemory
    from skrl.trainers.torch import SequentialTrainer, SequentialTrainerCfg
    from skrl.utils.model_instantiators.torch import deterministic_model, gaussian_model

    from powergrid.integrations.skrl import make, make_shared

    network = [{"name": "net", "input": "OBSERVATIONS", "layers": [64, 64], "activations": "tanh"}]
    for name, env, length in (
        ("wrap_env of one", wrap_env(SyncVectorEnv([single]), "gymnasium", verbose=False), 1536),
        (f"make_shared, {envs} environments", make_shared(PRESET, envs, device="cpu", **FORM), 96),
    ):
        env.reset()
        spaces = {"observation_space": env.observation_space, "action_space": env.action_space}
        alone = rate(
            lambda actions, env=env: env.step(torch.as_tensor(actions)), (env.num_envs, *env.action_space.shape)
        )
        models = {
            "policy": gaussian_model(**spaces, device="cpu", network=network, output="ACTIONS"),
            "value": deterministic_model(**spaces, device="cpu", network=network, output="ONE"),
        }
        cfg = PPO_CFG(rollouts=length, learning_epochs=4, mini_batches=length * env.num_envs // 256)
        cfg.experiment.write_interval = cfg.experiment.checkpoint_interval = 0
        memory = RandomMemory(memory_size=length, num_envs=env.num_envs, device="cpu")
        agent = PPO(models=models, memory=memory, cfg=cfg, device="cpu", **spaces)
        timesteps = SequentialTrainerCfg(
            timesteps=2 * length, headless=True, disable_progressbar=True, close_environment_at_exit=False
        )
        trainer = SequentialTrainer(cfg=timesteps, env=env, agents=agent)
        begin = time.perf_counter()
        trainer.train()
        yield name, alone, 2 * length * env.num_envs / (time.perf_counter() - begin)
    several = make(PRESET, envs, device="cpu", **FORM)
    several.reset()
    (uid,) = several.possible_agents
    step = rate(lambda actions: several.step({uid: torch.as_tensor(actions)}), (envs, *several.action_space(uid).shape))
    yield f"make, {envs} environments", step, None


def benchmarl(envs: int) -> Iterator[tuple[str, float, float | None]]:
    """Rows of BenchMARL, which steps environments of TorchRL in roll-outs; its own tasks wrap one of PettingZoo."""
    from torchrl.envs import PettingZooWrapper

    from powergrid.integrations.benchmarl import make

    ticks = 96
    for name, env, count in (
        ("PettingZooWrapper of one", PettingZooWrapper(powergrid.make(PRESET, **FORM)), 1),
        (f"task, {envs} environments", make(PRESET).get_env_fun(envs, True, seed=0, device="cpu")(), envs),
    ):
        roll_out = partial(env.rollout, ticks, break_when_any_done=False)
        yield name, rate_of(roll_out, ticks * count), None


def rllib(envs: int) -> Iterator[tuple[str, float, float | None]]:
    """Rows of RLlib: a whole sample of random actions, as its learners get it, and PPO with equal minibatches."""
    os.environ.update(RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0")
    import ray
    from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner

    from powergrid.integrations.rllib import config

    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
    own = {"num_envs_per_env_runner": 1, "env_runner_cls": MultiAgentEnvRunner}
    for name, runners in (("MultiAgentEnvRunner of one", own), (f"config, {envs} environments", {})):
        made = config(PRESET, num_envs=envs, **FORM).env_runners(**runners)
        count = made.num_envs_per_env_runner
        made.training(train_batch_size_per_learner=max(1536, 96 * count), minibatch_size=256, num_epochs=4)
        algorithm = made.build_algo()
        sample = partial(algorithm.env_runner.sample, num_timesteps=96 * count, random_actions=True)
        alone = rate_of(sample, 96 * count)
        algorithm.train()
        begin = time.perf_counter()
        steps = algorithm.train()["env_runners"]["num_env_steps_sampled"]
        yield name, alone, steps / (time.perf_counter() - begin)
        algorithm.stop()
    ray.shutdown()


def tianshou(envs: int) -> Iterator[tuple[str, float, float | None]]:
    """Rows of Tianshou, whose collectors begin the next episodes."""
    from tianshou.env import DummyVectorEnv

    from powergrid.integrations.tianshou import make

    for name, env in (
        ("DummyVectorEnv of one", DummyVectorEnv([single])),
        (f"make, {envs} environments", make(PRESET, envs, **FORM)),
    ):
        env.reset()

        def step(actions: np.ndarray, env: Any = env) -> None:
            over = np.flatnonzero(env.step(actions)[3])
            if len(over):
                env.reset(over)

        yield name, rate(step, (len(env), *env.action_space[0].shape)), None


LIBRARIES = {
    "stable_baselines3": stable_baselines3,
    "cleanrl": cleanrl,
    "skrl": skrl,
    "benchmarl": benchmarl,
    "ray": rllib,
    "tianshou": tianshou,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envs", type=int, default=64)
    arguments = parser.parse_args()
    console = Console()
    table = Table(title=f"{PRESET}: environment steps a second")
    for column in ("library", "environment", "alone", "to one", "training", "to one"):
        table.add_column(column, justify="right")
    for library, rows in LIBRARIES.items():
        if library != "cleanrl" and find_spec(library) is None:
            console.print(
                f"{library} is not installed: make test-integrations installs it in an environment of its own"
            )
            continue
        first: list[float | None] = []
        for name, *rates in rows(arguments.envs):
            first = first or rates
            cells = []
            for found, reference in zip(rates, first, strict=True):
                cells += ["", ""] if found is None else [f"{found:,.0f}", f"{found / reference:.1f}"]
            table.add_row(library, name, *cells)
    console.print(table)


if __name__ == "__main__":
    main()
