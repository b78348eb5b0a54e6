"""Version 1's training script, run with the library it was written for where that is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "bench" / "v1_training.py"


@pytest.mark.slow
def test_ppo_trains_on_the_wrapped_environment():
    pytest.importorskip("stable_baselines3", reason='needs pip install "powergrid-marl[sb3]"')
    found = subprocess.run([sys.executable, str(SCRIPT), "1024"], capture_output=True, text=True, check=True)
    steps, rewards = found.stdout.splitlines()[-2:]
    assert steps.startswith("1024 steps in ")
    assert rewards.startswith("reward of an episode: -")


def test_without_the_library_the_script_says_what_to_install():
    program = (
        "import importlib.util, runpy, sys\n"
        "importlib.util.find_spec = lambda name: None\n"
        f"sys.argv = ['v1_training.py']\nrunpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert 'pip install "powergrid-marl[sb3]"' in found.stdout
