"""Version 1's training script, PPO of Stable-Baselines3 on ``IEEE13Env``, as it was written then.

    python bench/v1_training.py [steps]

Nothing in it knows of version 2 but the data: without v1's data file the embedded year serves. Prints how long the
training took and what an episode earned in its first and its last quarter; needs ``pip install "powergrid-marl[sb3]"``.
"""

from __future__ import annotations

import sys
import time
from importlib.util import find_spec

from powergrid.envs.single_agent.ieee13_mg import IEEE13Env
from powergrid.utils.utils import NormalizeActionWrapper

STEPS = 4096
"""Steps of the training where the command line names none."""


def main(steps: int) -> None:
    """Train and print."""
    if find_spec("stable_baselines3") is None:
        print('stable-baselines3 is not installed; pip install "powergrid-marl[sb3]" brings it')
        return
    from stable_baselines3 import PPO

    env = NormalizeActionWrapper(IEEE13Env({"train": True, "safety_scale": 100.0, "max_penalty": 10000.0}))
    model = PPO("MlpPolicy", env, n_steps=1024, batch_size=64, learning_rate=3e-4, seed=0, device="cpu")
    begin = time.perf_counter()
    model.learn(steps)
    seconds = time.perf_counter() - begin
    rewards = model.get_env().envs[0].get_episode_rewards()
    quarter = max(len(rewards) // 4, 1)
    first, last = (sum(part) / len(part) for part in (rewards[:quarter], rewards[-quarter:]))
    print(f"{model.num_timesteps} steps in {seconds:.0f} s, {model.num_timesteps / seconds:.0f} steps/s")
    print(f"reward of an episode: {first:.0f} in the first quarter, {last:.0f} in the last")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else STEPS)
