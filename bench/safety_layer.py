"""What a safety layer does to policies: ``python bench/safety_layer.py [PRESET ...] [--days 10] [--train 0]``.

For days of the test split, each policy without and with the layer: bus-ticks outside the voltage band, the largest
violation, overloaded branch-ticks, money, ticks that the layer has changed, and the time of a step of one day. With
``--train STEPS`` a policy that MAPPO has trained for so many steps is among them.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import powergrid
from powergrid.learn.deciders import SafePolicy, decider
from powergrid.learn.evaluate import play
from powergrid.worlds.simulation import Simulation

PRESETS = ("voltage_control_34", "voltage_control_13")
POLICIES = ("idle", "random", "rule_based")


class Watch:
    """Counts violations of every step of a simulation."""

    def __init__(self) -> None:
        self.step = Simulation.step
        self.clear()

    def clear(self) -> None:
        """Forget what has been seen."""
        self.outside = self.over = self.buses = self.branches = 0
        self.worst = 0.0

    def __call__(self, simulation: Any, state: Any, actions: np.ndarray, *rest: Any) -> Any:
        """The step, and its violations."""
        after, output = self.step(simulation, state, actions, *rest)
        flow, given = output.flow, simulation.layout.settings
        excess = np.maximum(flow.v_pu - given.v_max_pu, given.v_min_pu - flow.v_pu)[flow.energised]
        self.outside += int((excess > 1e-6).sum())
        self.over += int((flow.loading > 100.0001).sum())
        self.buses, self.branches = self.buses + excess.size, self.branches + flow.loading.size
        self.worst = max(self.worst, float(excess.max()))
        return after, output


def main() -> None:
    """Print one line per preset, policy and layer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("presets", nargs="*", default=PRESETS)
    parser.add_argument("--days", type=int, default=None, help="so many days of the test split, evenly spread")
    parser.add_argument("--train", type=int, default=0, help="steps of MAPPO for a learned policy; 0: none")
    given = parser.parse_args()
    watch = Watch()
    Simulation.step = lambda *arguments: watch(*arguments)  # type: ignore[method-assign]
    print(f"{'':>39} outside %  worst pu overload %     $/day changed %  us/step")
    for preset in given.presets:
        env = powergrid.make(preset, backend="numpy")
        days = env.world.days["test"]
        if given.days is not None:
            days = days[np.linspace(0, len(days) - 1, min(given.days, len(days))).astype(int)]
        policies: list[tuple[str, Any]] = [(name, name) for name in POLICIES]
        with tempfile.TemporaryDirectory() as folder:
            if given.train:
                run = powergrid.train(
                    preset, steps=given.train, out=Path(folder) / "run", residual="none", progress=False
                )
                policies.append(("learned", powergrid.load_policy(run)))
        for name, policy in policies:
            for own in (policy, SafePolicy(policy)):
                watch.clear()
                decide = decider(env, own, None, name)
                began = time.process_time()
                outcome = play(env, name, decide, days, seed=0)
                steps = len(days) * outcome.arrays["reward"].shape[1]
                cost = 1e6 * (time.process_time() - began) / steps
                changed = 0.0 if outcome.safety is None else outcome.safety["ticks_changed_per_day"]
                print(
                    f"{preset:>19} {name:>10} {'with' if outcome.safety else 'without':>8}",
                    f"{100.0 * watch.outside / watch.buses:>9.3f} {max(watch.worst, 0.0):>9.4f}",
                    f"{100.0 * watch.over / watch.branches:>10.3f} {outcome.money.sum(-1).mean():>9.2f}",
                    f"{100.0 * changed * len(days) / steps:>9.2f} {cost:>8.0f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
