"""Graph policies on feeders that they were not trained on: one policy, three feeders, against rules and idleness.

    python bench/transfer.py [--preset voltage_control_34] [--on voltage_control_13 voltage_control_123]
                             [--algo mappo] [--steps 2e5] [--seeds 1] [--rounds 2 0] [--imitate volt_var]
                             [--residual none] [--set hidden=[32,64]] [--out DIR]

Policies are trained on one preset, where they imitate a rule first, or correct one with ``--residual``, and play the
test days of all. Beside them, agents whose role was not trained (regulators of `voltage_control_13`) are played by the
local policy `volt_var`, or by the policy that is corrected. Each row has the mean cost J of a day, over days and seeds,
and what the policy saves against the better one of the rules, day by day, with the 95 % interval of the mean; below the
table stands what agents of each kind save. Runs that are in ``--out`` are not trained again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import powergrid
from powergrid.core.statistics import mean_interval

RULES = ("rule_based", "volt_var")
OTHERS = "volt_var"
NONE = "none"
MAPPO = {"num_envs": 64, "critic_updates": 4}


def trained(
    preset: str,
    algorithm: str,
    rounds: int,
    imitate: str,
    residual: str,
    seed: int,
    steps: int,
    settings: dict[str, Any],
    folder: Path,
) -> Path:
    """A run, trained unless it is there."""
    if not (folder / "seconds.txt").exists():
        begin = time.perf_counter()
        powergrid.train(
            preset,
            algo=algorithm,
            network="graph",
            rounds=rounds,
            imitate=imitate if residual == NONE else NONE,
            residual=residual,
            seed=seed,
            steps=steps,
            out=folder,
            progress=False,
            **settings,
        )
        (folder / "seconds.txt").write_text(f"{time.perf_counter() - begin:.1f}")
    return folder


def idle(preset: str) -> Any:
    """A policy that sets the middle of all ranges."""
    env = powergrid.make(preset)
    sizes = {agent: env.action_space(agent).shape[0] for agent in env.possible_agents}
    return lambda seen: {agent: np.zeros((len(rows), sizes[agent]), np.float32) for agent, rows in seen.items()}


def by_kind(preset: str, found: Any, name: str, against: str) -> str:
    """What agents of each kind save against another policy [$/day]; the kind is the id before its number."""
    paid = [
        sum(found[policy].arrays[part].sum((1, 3)).mean(0) for part in ("money", "costs")) for policy in (against, name)
    ]
    totals: dict[str, float] = {}
    for agent, saved in zip(powergrid.make(preset).possible_agents, paid[0] - paid[1], strict=True):
        kind = agent.rsplit("_", 1)[0]
        totals[kind] = totals.get(kind, 0.0) + float(saved)
    return ", ".join(f"{kind} {saved:+.2f}" for kind, saved in totals.items())


def main() -> None:
    """Train, play and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="voltage_control_34")
    parser.add_argument("--algo", default="mappo")
    parser.add_argument("--on", nargs="+", default=["voltage_control_13", "voltage_control_123"])
    parser.add_argument("--steps", type=float, default=2e5)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rounds", type=int, nargs="+", default=[2, 0])
    parser.add_argument("--imitate", default="volt_var", help="policy that is imitated first, or none")
    parser.add_argument("--residual", default=NONE, help="policy that actions correct, which is then not imitated")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a hyperparameter")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    settings: dict[str, Any] = {"hidden": [32, 64]} | (MAPPO if given.algo == "mappo" else {})
    settings |= {name: json.loads(value) for name, value in (part.split("=") for part in given.set)}
    out, console = given.out or Path(tempfile.mkdtemp(prefix="transfer-")), Console()
    runs: dict[str, dict[str, str]] = {}
    for rounds in given.rounds:
        name = f"graph, {rounds} rounds"
        for seed in range(given.seeds):
            folder = out / f"rounds-{rounds}-seed-{seed}"
            trained(
                given.preset,
                given.algo,
                rounds,
                given.imitate,
                given.residual,
                seed,
                int(given.steps),
                settings,
                folder,
            )
            runs.setdefault(name, {})[f"{name} {seed}"] = str(folder)
    kinds: list[str] = []
    title = f"trained on {given.preset}, {int(given.steps):,} steps, {given.seeds} seeds; test days, $/day"
    table = Table(title=title)
    for column in ("feeder", "policy", "J", "violations", "saves against the better rule", "95 % interval"):
        table.add_column(column, justify="left" if column in ("feeder", "policy") else "right")
    for preset in (given.preset, *given.on):
        policies: dict[str, Any] = {name: name for name in RULES} | {"idle": idle(preset)}
        for folders in runs.values():
            policies |= {name: powergrid.load_policy(folder) for name, folder in folders.items()}
        others = OTHERS if given.residual == NONE else given.residual
        found = powergrid.evaluate(preset, policy=policies, others=others, days="test", show=False, bound=False)
        best = min(RULES, key=lambda name: found[name].objective.mean())
        rows = {name: [name] for name in (*RULES, "idle")} | {name: list(folders) for name, folders in runs.items()}
        for name, members in rows.items():
            objective = np.mean([found[member].objective for member in members], axis=0)
            violations = np.mean([found[member].costs.sum(1).mean() for member in members])
            mean, low, high = mean_interval(found[best].objective - objective)
            saved = ("", "") if name == best else (f"{mean:+,.2f}", f"{low:+,.2f} to {high:+,.2f}")
            table.add_row(preset, name, f"{objective.mean():,.2f}", f"{violations:,.2f}", *saved)
        table.add_section()
        kinds += [f"{preset}, {name}: {by_kind(preset, found, name, best)}" for own in runs.values() for name in own]
    console.print(table)
    console.print("saved by agents of each kind:", *kinds, sep="\n")
    seconds = [float((Path(folder) / "seconds.txt").read_text()) for own in runs.values() for folder in own.values()]
    console.print(f"training {np.mean(seconds):.0f} s a run")


if __name__ == "__main__":
    main()
