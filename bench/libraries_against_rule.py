"""Learning libraries against the rule: the scripts of their pages as they stand, on the test days of `p2p_microgrids`.

    python bench/libraries_against_rule.py [--libraries skrl rllib ...]

Each script in docs/howto trains for at most three minutes on two idle cores and evaluates its policy beside the rule
and random actions. It runs in a process of its own. Columns are the processor time of that process and its children,
the mean cost J of a day, and what the policy saves against the rule day by day with the 95 % interval of the mean. A
library that is not installed is left out with a sentence: make test-integrations installs them in one of its
environments, .venv-integrations and .venv-integrations-held.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.table import Table

HOWTO = Path(__file__).parents[1] / "docs" / "howto"
MODULES = {
    "stable-baselines3": "stable_baselines3",
    "cleanrl": "torch",
    "skrl": "skrl",
    "tianshou": "tianshou",
    "benchmarl": "benchmarl",
    "rllib": "ray.rllib",
}
"""Module of each library by the name of its page."""
CLEANRL = """
import runpy, subprocess, sys
import powergrid
kept, evaluate = [], powergrid.evaluate
def noted(*positional, **named):
    kept.append(evaluate(*positional, **named))
    return kept[-1]
powergrid.evaluate = noted
subprocess.run(["powergrid", "new", "cleanrl"], check=True)
sys.argv = ["cleanrl_ppo.py", "--days", "test"]
runpy.run_path("cleanrl_ppo.py", run_name="__main__")
(result,) = kept
"""
ENDING = """
import json, os
own = {one.policy: one.objective.mean() for one in result.outcomes}
first = result.outcomes[0].policy
with open(os.environ["RESULT"], "w") as file:
    json.dump({"costs": own, "saved": result.saving(first, "rule_based")}, file)
"""


def script(library: str) -> str:
    """The script of a page."""
    if library == "cleanrl":
        return CLEANRL
    text = (HOWTO / f"{library}.md").read_text(encoding="utf-8")
    return "\n".join(re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))


def trained(library: str) -> tuple[dict, float, float]:
    """What a script's evaluation says, and its processor time and wall time [s]."""
    with tempfile.TemporaryDirectory() as folder:
        place, found = Path(folder) / "page.py", Path(folder) / "result.json"
        place.write_text(script(library) + ENDING)
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        environment = {**os.environ, "RESULT": str(found), "PATH": path}
        subprocess.run([sys.executable, str(place)], cwd=folder, env=environment, check=True, stdout=sys.stderr)
        wall, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return json.loads(found.read_text()), used, wall


def main() -> None:
    """Train, evaluate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--libraries", nargs="+", choices=list(MODULES), default=list(MODULES))
    console = Console(width=110)
    table = Table(title="p2p_microgrids, test days")
    for column in ("library", "processor [s]", "wall [s]", "J [$/day]", "J of the rule", "random", "saved", "95 %"):
        table.add_column(column, justify="right")
    for library in parser.parse_args().libraries:
        try:
            there = find_spec(MODULES[library]) is not None
        except ModuleNotFoundError:
            there = False
        if not there:
            console.print(f"{library} is not installed: make test-integrations installs it")
            continue
        result, used, wall = trained(library)
        costs = dict(result["costs"])
        rule, random = costs.pop("rule_based"), costs.pop("random")
        own = next(iter(costs.values()))
        saved, low, high = result["saved"]
        numbers = (f"{used:.0f}", f"{wall:.0f}", *(f"{cost:,.1f}" for cost in (own, rule, random)))
        table.add_row(library, *numbers, f"{saved:+.1f}", f"{low:+.1f} to {high:+.1f}")
        console.print(f"{library}: {own:,.1f}, the rule {rule:,.1f}")
    console.print(table)


if __name__ == "__main__":
    main()
