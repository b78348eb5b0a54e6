"""A sweep of runs that learn nothing and take a moment; one is killed at its first update, and one raises an error."""

from __future__ import annotations

from pathlib import Path

PLUGIN = """
import os
import signal
import time
from pathlib import Path
from typing import Literal

import jax.numpy as jnp

from powergrid.learn.algorithms.ippo import ippo
from powergrid.learn.learner import AlgorithmSettings, settings_from
from powergrid.plugins import register_algorithm

HERE = Path(__file__).parent


class Settings(AlgorithmSettings):
    ends: Literal["well", "killed", "raises", "never"] = "well"


class Fragile:
    rollout_s = 0.0

    def __init__(self, env, steps, hyper):
        self.settings = settings_from(Settings, hyper)
        self.own = ippo(env, steps, {"num_envs": 1, "rollout": 6, "minibatches": 1, "hidden": (4,)})
        self.steps_per_update = self.own.steps_per_update
        with open(HERE / "begun.txt", "a") as file:
            file.write(self.settings.ends + "\\n")

    def init(self, seed, *, compile_ahead=False):
        return self.own.init(seed)

    def update(self, state):
        if self.settings.ends == "never":
            time.sleep(600)
        if self.settings.ends == "raises":
            raise RuntimeError("there is no sun today\\nand no wind")
        if self.settings.ends == "killed" and not (HERE / "killed").exists():
            (HERE / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return state, {"nothing": jnp.zeros(())}


register_algorithm("fragile")(Fragile)
"""

BASE = """\
name: small
network: ieee13
agents:
  - {id: ess_1, type: ESS, bus: 671, params: {capacity_mwh: 1.0}, policy: learned}
simulation: {episode_length: 6}
plugins: [plugins]
"""

GRID = """\
base: small.yaml
steps: 12
algorithms: fragile
settings: {ends: [well, killed, raises]}
evaluate: {days: [29, 30]}
"""


def write(folder: Path) -> Path:
    """The files of a sweep; the path of its grid."""
    (folder / "plugins").mkdir(parents=True)
    (folder / "plugins" / "fragile.py").write_text(PLUGIN)
    (folder / "small.yaml").write_text(BASE)
    grid = folder / "grid.yaml"
    grid.write_text(GRID)
    return grid


def begun(folder: Path) -> list[str]:
    """How each run ends that has begun so far, sorted; a run that began twice is there twice."""
    return sorted((folder / "plugins" / "begun.txt").read_text().split())
