"""Plugins of installed distributions: found by entry points, in a process of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import hvac
import pytest

import powergrid
from powergrid.core.errors import ConfigError
from powergrid.plugins import load_plugins
from powergrid.plugins.registries import DEVICES

PACKAGE = """
from typing import Any, NamedTuple

from powergrid.agents.policy import LocalPolicy
from powergrid.agents.protocol import Action, Added, VerticalProtocol
from powergrid.datasets import load

class Orders(NamedTuple):
    price: Any

class Price(VerticalProtocol):
    '''A price.'''
    Orders = Orders
    def entries(self, members):
        return Added(actions=(Action("price", "$/MWh", 0.0, 100.0),))

def village(*, load_scale=1.0):
    '''A village.'''
    import powergrid
    return powergrid.network("ieee13", load_scale=load_scale)

def year(start=None, end=None, cache_dir=None, download=False):
    '''A year.'''
    return load("embedded_2022", start, end)

class Calm(LocalPolicy):
    '''Rest.'''
    usual = orders = "middle"
"""

ENTRY_POINTS = """
[powergrid.devices]
HVAC = grid_plugins.devices:HVACAgent
Missing = grid_plugins.nowhere:Thing
Broken = grid_plugins.broken:Thing
ESS = grid_plugins.devices:HVACAgent

[powergrid.protocols]
dist_price = grid_plugins:Price

[powergrid.networks]
dist_village = grid_plugins:village

[powergrid.datasets]
dist_year = grid_plugins:year

[powergrid.policies]
dist_calm = grid_plugins:Calm
"""

SCRIPT = """
import sys
import numpy as np
import powergrid
from powergrid.plugins.registries import DEVICES

assert not any(name.startswith("grid_plugins") for name in sys.modules)
operator = {"id": "operator_1", "type": "GridCoordinator", "policy": "learned", "sub_agents": ["hvac_1", "ess_1"]}
config = {
    "network": "dist_village",
    "datasets": "dist_year",
    "agents": [
        {"id": "hvac_1", "type": "HVAC", "bus": "671"},
        {"id": "ess_1", "type": "ESS", "bus": "671", "policy": "dist_calm", "params": {"capacity_mwh": 1.0}},
        {**operator, "protocol": "dist_price"},
    ],
}
env = powergrid.make(config, backend="numpy")
env.reset(seed=0)
env.step({"hvac_1": np.array([1.0]), "operator_1": np.array([0.0])})
print(env.action_labels("operator_1"), env.agent("hvac_1").temperature > 0.0, type(env.agent("ess_1")).__name__)
for name, reason in sorted(DEVICES.broken.items()):
    print(name, "|", reason)
for name in ("Broken", "Missin"):
    try:
        powergrid.make({**config, "agents": [{"id": "x", "type": name, "bus": "671"}]})
    except powergrid.ConfigError as error:
        print(error.issues[0])
"""


@pytest.fixture
def site(tmp_path) -> Path:
    """A folder as an installer leaves it: a package and its dist-info."""
    package, info = tmp_path / "site" / "grid_plugins", tmp_path / "site" / "grid_plugins-1.2.dist-info"
    package.mkdir(parents=True)
    info.mkdir()
    (package / "__init__.py").write_text(PACKAGE)
    (package / "devices.py").write_text(hvac.HVAC)
    (package / "broken.py").write_text("import sys\nsys.exit('no luck')\n")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: grid-plugins\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    (info / "RECORD").write_text("")
    return package.parent


def test_installed_plugins_of_every_kind_work_and_broken_ones_are_named(site):
    root = Path(powergrid.__file__).parents[1]
    found = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = [{str(site)!r}, {str(root)!r}]\n{SCRIPT}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    first, *rest = found.stdout.splitlines()
    assert first == "('operator_1.price [$/MWh]',) True Storage"
    text = "\n".join(rest)
    assert "Broken | SystemExit: no luck (grid_plugins.broken:Thing of grid-plugins)" in text
    assert "Missing | ModuleNotFoundError: No module named 'grid_plugins.nowhere'" in text
    assert "ESS | the name is taken by powergrid.devices.storage.Storage" in text
    assert 'agents[0].type: the plugin for device type "Broken" cannot be used: SystemExit: no luck' in text
    assert 'unknown device type "Missin"' in text


def test_only_the_folder_that_was_named_is_read(tmp_path):
    place = hvac.folder(tmp_path)
    (place / "below").mkdir()
    (place / "below" / "other.py").write_text("raise RuntimeError('read by nobody')\n")
    (tmp_path / "beside.py").write_text("raise RuntimeError('read by nobody')\n")
    assert load_plugins(place) == ("hvac.py",)


def test_two_folders_may_share_a_name_but_not_in_one_configuration(tmp_path):
    first, second = (hvac.folder(tmp_path / name) for name in ("a", "b") if not (tmp_path / name).mkdir())
    load_plugins(first)
    mine = DEVICES.get("HVAC")
    one, other = powergrid.load_config(hvac.config(first)), powergrid.load_config(hvac.config(second))
    assert DEVICES.get("HVAC") is not mine
    assert type(powergrid.make(one).agent("hvac_1")) is mine
    assert type(powergrid.make(other).agent("hvac_1")) is not mine
    both = {**hvac.config(first), "plugins": [str(first), str(second)]}
    with pytest.raises(ConfigError, match=r'device type "HVAC" is registered by .*a.my_devices and by'):
        powergrid.load_config(both)
