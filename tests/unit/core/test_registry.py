"""Registries whose modules need a library that is not there."""

from __future__ import annotations

import subprocess
import sys

import pytest

from powergrid.core.registry import Registry

WITHOUT_JAX = """
import sys
sys.modules["jax"] = None  # as where JAX is not installed
import powergrid
for preset in ("ieee13_single", "iso_three_level", "ieee13_single"):
    print(powergrid.load_config(preset).config.training.algorithm)
"""


def test_a_missing_library_is_met_by_every_caller(tmp_path, monkeypatch):
    package = tmp_path / "needs_a_library"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "one.py").write_text("import there_is_no_such_library\n")
    monkeypatch.syspath_prepend(tmp_path)
    registry = Registry("thing", "needs_a_library", "needs_a_library")
    for _ in range(2):
        with pytest.raises(ImportError, match="there_is_no_such_library"):
            registry.names()


def test_presets_that_name_an_algorithm_load_without_jax():
    done = subprocess.run([sys.executable, "-c", WITHOUT_JAX], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["apg", "apg", "apg"]
