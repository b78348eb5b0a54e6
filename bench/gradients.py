"""Gradients of a day's cost by actions: against central differences, and what they cost.

    python bench/gradients.py [--points 200] [--presets p2p_microgrids voltage_control_123]

J is the money and the violations of all accounts over a day [$]. In float64, J's derivative by single numbers of the
actions of a random policy is compared with central differences. A point counts as smooth where the differences over
1e-5 and 5e-6 agree to 1e-5 of their size and the slopes to the left and to the right to 1e-3: elsewhere a limit, a
tap, a decision or the zero of a price lies between the two ends, or next to them. Numbers that move nothing are no
points. Then the time of a step forward and backward is divided by that of the step alone, over a day of environments.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

import powergrid
from powergrid.core.backend import jax_float64

DAY, STEP = 40, 1e-5


def day_of(env: Any, count: int | None = None) -> tuple[Any, Any]:
    """A day's cost as a function of all actions, and random actions."""
    key, batch = jax.random.key(3), () if count is None else (count,)
    raw = jnp.broadcast_to(jax.random.key_data(key), (*batch, 2))
    _, begin = env.reset(raw, jnp.full(batch, DAY))
    rng, actions = np.random.default_rng(0), {}
    for group, agents in env.groups.items():
        shape = (env.episode_length, *batch, len(agents), env.action_size[group])
        actions[group] = jnp.asarray(rng.uniform(-0.9, 0.9, shape), env.dtype)

    def cost(actions: Any) -> Any:
        def tick(state: Any, chosen: Any) -> tuple[Any, Any]:
            _, state, _, _, info = env.step(raw, state, chosen)
            return state, info["money"].sum() + info["costs"].sum()

        return jax.lax.scan(tick, begin, actions)[1].sum()

    return cost, actions


def accuracy(preset: str, points: int) -> tuple[int, int, float, float]:
    """Smooth points and points tried, largest relative error at the smooth ones, and the norm of the gradient."""
    with jax_float64():
        env = powergrid.make_functional(preset, dtype="float64", auto_reset=False, tol_pu=1e-11)
        cost, actions = day_of(env)
        value, slope = jax.jit(cost), jax.jit(jax.grad(cost))
        found, rng = jax.tree.map(np.asarray, slope(actions)), np.random.default_rng(1)
        assert all(np.isfinite(part).all() for part in found.values()), "a gradient is not finite"
        here, names, errors, tried = float(value(actions)), list(actions), [], 0
        while len(errors) < points and tried < 20 * points:
            name = names[rng.integers(len(names))]
            at = tuple(rng.integers(0, size) for size in found[name].shape)

            def moved(by: float, name: str = name, at: tuple = at) -> float:
                return float(value({**actions, name: actions[name].at[at].add(by)}))

            tried += 1
            ends = [moved(by) for by in (STEP, -STEP, STEP / 2, -STEP / 2)]
            wide, near = (ends[0] - ends[1]) / (2 * STEP), (ends[2] - ends[3]) / STEP
            right, left = (ends[0] - here) / STEP, (here - ends[1]) / STEP
            size = max(abs(wide), 1e-2)
            if wide == 0.0 or abs(wide - near) > 1e-5 * size or abs(right - left) > 1e-3 * size:
                continue
            errors.append(abs(found[name][at] - wide) / size)
        norm = np.sqrt(sum((part**2).sum() for part in found.values()))
    return len(errors), tried, max(errors, default=np.nan), float(norm)


def seconds(function: Any, given: Any) -> float:
    """Shortest of five runs of a compiled function [s]."""
    jax.block_until_ready(function(given))
    found = []
    for _ in range(5):
        begin = time.perf_counter()
        jax.block_until_ready(function(given))
        found.append(time.perf_counter() - begin)
    return min(found)


def cost_of(preset: str, count: int) -> tuple[float, float]:
    """Microseconds of a step of one environment, forward, and forward and backward, in float32."""
    env = powergrid.make_functional(preset, auto_reset=False)
    cost, actions = day_of(env, count)
    steps = env.episode_length * count
    both = jax.jit(jax.value_and_grad(cost))
    return 1e6 * seconds(jax.jit(cost), actions) / steps, 1e6 * seconds(both, actions) / steps


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=200)
    parser.add_argument("--presets", nargs="+", default=["p2p_microgrids", "voltage_control_123"])
    parser.add_argument("--environments", type=int, default=32)
    given = parser.parse_args()
    table = Table(title="a day's gradient, and a step's time")
    columns = ("preset", "points (tried)", "largest error", "|gradient| $", "forward us", "with backward us", "ratio")
    for column in columns:
        table.add_column(column)
    for preset in given.presets:
        points, tried, error, norm = accuracy(preset, given.points)
        alone, both = cost_of(preset, given.environments)
        figures = (f"{points} ({tried})", f"{error:.1e}", f"{norm:.3g}", f"{alone:.1f}", f"{both:.1f}")
        table.add_row(preset, *figures, f"{both / alone:.2f}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
