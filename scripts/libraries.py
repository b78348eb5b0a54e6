"""Table of learning libraries with the versions that `make test-integrations` has installed.

    python scripts/libraries.py [--write]

Reads versions from `.venv-integrations` and `.venv-integrations-held`, and fails where one of the libraries is absent,
whose tests would be skipped there. ``--write`` puts the table into `docs/howto/libraries.md`.
"""

from __future__ import annotations

import argparse
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "howto" / "libraries.md"
NEWEST, HELD = ".venv-integrations", ".venv-integrations-held"
BEGIN, END = "<!-- written by scripts/libraries.py -->\n", "<!-- end -->\n"


class Library(NamedTuple):
    """A learning library: its packages, the environment it is tested in, and what it gets."""

    name: str
    page: str
    packages: tuple[str, ...]
    place: str
    extra: str
    gets: str


LANES = "a batch whose lanes are all agents: one shared policy"
LIBRARIES = (
    Library("Stable-Baselines3", "stable-baselines3", ("stable-baselines3", "sb3-contrib"), NEWEST, "sb3", LANES),
    Library("CleanRL", "cleanrl", ("torch",), NEWEST, "sb3", "a training script of one file over the batch"),
    Library("skrl", "skrl", ("skrl",), NEWEST, "skrl", "a batch by agent with a central state, or " + LANES[8:]),
    Library("Tianshou", "tianshou", ("tianshou",), NEWEST, "tianshou", LANES),
    Library("BenchMARL", "benchmarl", ("benchmarl", "torchrl"), NEWEST, "benchmarl", "tasks: a batch by role"),
    Library("TorchRL", "torchrl", ("torchrl", "tensordict"), HELD, "torchrl", "a batch by role with a central state"),
    Library(
        "RLlib", "rllib", ("ray",), HELD, "rllib", "batched runners and `MultiAgentEnv`: policies by role or agent"
    ),
    Library("JaxMARL", "jaxmarl", ("jaxmarl",), HELD, "jaxmarl", "pure functions by agent, compiled by JAX"),
    Library("gymnax", "gymnax", ("gymnax",), HELD, "gymnax", "pure functions for one agent, compiled by JAX"),
)


def installed(place: str) -> dict[str, str]:
    """Versions by package of one environment."""
    folders = [str(folder) for folder in (ROOT / place).glob("lib/python*/site-packages")]
    return {found.name.lower().replace("_", "-"): found.version for found in distributions(path=folders)}


def table() -> str:
    """Rows of all libraries.

    Raises
    ------
    SystemExit
        If a library is absent.
    """
    known = {place: installed(place) for place in (NEWEST, HELD)}
    absent = [f"{name} in {own.place}" for own in LIBRARIES for name in own.packages if name not in known[own.place]]
    if absent:
        sys.exit(f"not installed, so that its tests were skipped: {', '.join(absent)}; run make test-integrations")
    rows = [
        f"| [{own.name}]({own.page}.md) | `{own.extra}` | "
        + ", ".join(f"{name} {known[own.place][name].partition('+')[0]}" for name in own.packages)
        + f" | {known[own.place]['gymnasium']} | {own.gets} |"
        for own in LIBRARIES
    ]
    head = "| library | extra | tested with | Gymnasium | what it gets |", "| --- | --- | --- | --- | --- |"
    return "\n".join([*head, *rows]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    rows = table()
    if not parser.parse_args().write:
        print(rows, end="")
        return
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(before + BEGIN + rows + END + rest.partition(END)[2], encoding="utf-8")


if __name__ == "__main__":
    main()
