"""Without the library of an integration, a sentence names the extra that brings it."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "extra"),
    [("stable_baselines3", "sb3"), ("skrl", "skrl"), ("benchmarl", "benchmarl"), ("tianshou", "tianshou")],
)
def test_a_missing_library_names_its_extra(module, extra):
    code = (
        f"import sys; sys.modules['{module}'] = None\n"
        "from powergrid.core.errors import MissingExtraError\n"
        f"try:\n    import powergrid.integrations.{module}\nexcept MissingExtraError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith(f"pip install 'powergrid-marl[{extra}]'")
    assert f"powergrid.integrations.{module} needs" in done.stdout
