"""The training script of CleanRL's kind: it runs as its page says, and what it learns is no worse than the rule."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pages import code_blocks

torch = pytest.importorskip("torch", reason="needs PyTorch: make test-integrations")

PROGRAMS = Path(sys.executable).parent


def run(script: str, folder: Path) -> str:
    """Run shell commands with this interpreter and its programs first in the path; what they print."""
    path = f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        script, shell=True, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow  # a minute; make test-integrations runs it
def test_few_steps_of_other_settings(tmp_path):
    """Commands in place of corrections, agents of different kinds, and weights that load."""
    few = "--total-steps 1000 --num-envs 4 --num-steps 24 --hidden 16 --update-epochs 1 --anneal-lr false"
    shown = run(
        f'powergrid new cleanrl mine.py && python mine.py --source two_microgrids {few} --residual "" --weights w.pt',
        tmp_path,
    )
    assert "2 agents in 4 environments: 8 lanes, 5 updates of 192 steps" in shown
    saved = torch.load(tmp_path / "w.pt")
    assert saved["args"]["residual"] == ""
    assert all(torch.isfinite(part).all() for part in saved["weights"].values())
    again = run(f'python mine.py --source two_microgrids {few} --residual "" --weights v.pt', tmp_path)
    assert again.splitlines()[-3:-1] == shown.splitlines()[-3:-1]  # equal seeds
    assert re.search(r"^J \[\$/day\]: learned ", again, re.MULTILINE)


@pytest.mark.slow
def test_the_page_trains_a_policy_that_costs_no_more_than_the_rule(tmp_path):
    """About two minutes, on the validation days."""
    (script,) = code_blocks("cleanrl.md", "shell")
    shown = run(script, tmp_path)
    costs = re.search(r"J \[\$/day\]: learned ([\d.]+), rule_based ([\d.]+), random ([\d.]+)", shown)
    assert costs, shown
    learned, rule, random = map(float, costs.groups())
    assert learned < rule < random
    assert (tmp_path / "weights.pt").exists()
