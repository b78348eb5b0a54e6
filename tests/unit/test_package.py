"""The package as a whole: light to import, complete in what it names."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

import powergrid

ROOT = Path(__file__).resolve().parents[2]
HEAVY = (
    "gymnasium", "highspy", "jax", "jaxlib", "llvmlite", "matplotlib", "networkx", "numba", "numpy", "optax",
    "pandapower", "pandas", "pettingzoo", "pydantic", "rich", "ruamel", "scipy", "tensorboard", "torch", "typer",
)  # fmt: skip
"""Libraries whose import a person would notice; bench/startup.py measures how long the package's own takes."""


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout.strip()


def test_importing_the_package_loads_nothing_heavy():
    loaded = run(f"import powergrid, sys; print([name for name in {HEAVY} if name in sys.modules])")
    assert loaded == "[]"


def test_an_environment_on_numpy_needs_no_jax():
    code = (
        "import sys; sys.modules['jax'] = None\n"
        "import powergrid; env = powergrid.make('two_microgrids'); env.reset(seed=0)\n"
        "print(len(env.step({a: env.action_space(a).sample() for a in env.agents})[1]))"
    )
    assert run(code) == "2"


@pytest.mark.parametrize("name", powergrid.__all__)
def test_public_names_exist(name):
    assert getattr(powergrid, name) is not None
    assert name in dir(powergrid)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'mak'"):
        powergrid.mak  # noqa: B018


def test_version_is_that_of_the_distribution():
    assert powergrid.__version__ == version("powergrid-marl")


def test_the_demo_extra_brings_what_training_and_reports_need():
    with open(ROOT / "pyproject.toml", "rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    assert extras["demo"] == ["powergrid-marl[rl,plot]"]
    for name, extra in (("jax", "rl"), ("optax", "rl"), ("matplotlib", "plot")):
        assert any(requirement.startswith(name) for requirement in extras[extra])
