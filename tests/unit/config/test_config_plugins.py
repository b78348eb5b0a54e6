"""Plugin folders: what works is loaded, what does not is named."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

import powergrid
from powergrid.core.errors import ConfigError
from powergrid.plugins import PluginError, load_plugins
from powergrid.plugins.registries import DEVICES

HVAC = """
from powergrid.agents import DeviceAgent
from powergrid.plugins import register_device
from . import _figures

@register_device("{name}")
class HVACAgent(DeviceAgent):
    def __init__(self, temp_range=(18, 26), thermal_mass=1.0, **kwargs):
        super().__init__(**kwargs)
        if temp_range[0] >= temp_range[1]:
            raise ValueError(f"temp_range {{temp_range}} is empty")
        self.temp_range, self.thermal_mass, self.start = temp_range, thermal_mass, _figures.START_C
"""


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "my_devices"
    place.mkdir()
    (place / "_figures.py").write_text("START_C = 22.0\n")
    return place


def test_broken_files_are_named_and_the_others_loaded(folder):
    (folder / "a_broken.py").write_text("x = 1\nraise RuntimeError('no luck')\n")
    (folder / "b_syntax.py").write_text("def f(:\n")
    (folder / "c_exit.py").write_text("import sys; sys.exit(3)\n")
    (folder / "d_good.py").write_text(HVAC.format(name="PluginGood"))
    with pytest.raises(PluginError) as caught:
        load_plugins(folder)
    assert set(caught.value.broken) == {"a_broken.py", "b_syntax.py", "c_exit.py"}
    assert "RuntimeError: no luck (line 2)" in caught.value.broken["a_broken.py"]
    assert caught.value.loaded == ("d_good.py",)
    assert DEVICES.get("PluginGood")(id="h", bus="1").start == 22.0


def test_loading_twice_keeps_the_class_and_a_change_renews_it(folder):
    file = folder / "hvac.py"
    file.write_text(HVAC.format(name="PluginTwice"))
    assert load_plugins(folder) == ("hvac.py",)
    first = DEVICES.get("PluginTwice")
    load_plugins(folder)
    assert DEVICES.get("PluginTwice") is first
    file.write_text(HVAC.format(name="PluginTwice") + "    thermal_unit = 'kWh/K'\n")
    import os

    os.utime(file, (1, 1))
    load_plugins(folder)
    assert DEVICES.get("PluginTwice").thermal_unit == "kWh/K"


def test_a_plugin_cannot_take_a_name_that_ships_with_the_package(folder):
    (folder / "thief.py").write_text(HVAC.format(name="ESS"))
    with pytest.raises(PluginError, match='"ESS" is already registered') as caught:
        load_plugins(folder)
    assert "thief.py" in caught.value.broken


def test_there_must_be_a_folder(tmp_path):
    with pytest.raises(PluginError, match="no such folder"):
        load_plugins(tmp_path / "nowhere")


def config_text(name: str, params: str) -> str:
    agents = f"agents: [{{id: hvac_1, type: {name}, bus: 671, params: {params}}}]"
    return f"network: ieee13\nplugins: [my_devices]\n{agents}\n"


def test_configurations_load_their_plugins_and_check_their_parameters(folder, tmp_path):
    (folder / "hvac.py").write_text(HVAC.format(name="PluginConfigured"))
    file = tmp_path / "case.yaml"
    file.write_text(config_text("PluginConfigured", "{temp_range: [20, 24]}"))
    assert powergrid.load_config(file).config.agents[0].params == {"temp_range": [20, 24]}
    file.write_text(config_text("PluginConfigured", "{temp_rang: [20, 24]}"))
    with pytest.raises(ConfigError) as caught:
        powergrid.load_config(file)
    (issue,) = caught.value.issues
    assert (issue.path, issue.line) == ("agents[0].params.temp_rang", 3)
    assert 'did you mean "temp_range"' in issue.hint
    file.write_text(config_text("PluginConfigured", "{temp_range: [25, 24]}"))
    with pytest.raises(ConfigError, match=r"temp_range \[25, 24\] is empty"):
        powergrid.load_config(file)


def test_a_broken_plugin_is_an_issue_beside_the_others(folder, tmp_path):
    (folder / "broken.py").write_text("raise RuntimeError('no luck')\n")
    (folder / "hvac.py").write_text(HVAC.format(name="PluginBeside"))
    file = tmp_path / "case.yaml"
    file.write_text(config_text("PluginBeside", "{}").replace("671", "999"))
    with pytest.raises(ConfigError) as caught:
        powergrid.load_config(file)
    assert [issue.path for issue in caught.value.issues] == ["plugins[0]", "agents[0].bus"]
    assert "broken.py: RuntimeError: no luck" in caught.value.issues[0].message


def test_another_process_reads_the_plugins_again(folder, tmp_path):
    (folder / "hvac.py").write_text(HVAC.format(name="PluginElsewhere"))
    file = tmp_path / "case.yaml"
    file.write_text(config_text("PluginElsewhere", "{}"))
    packed = tmp_path / "resolved.pickle"
    packed.write_bytes(pickle.dumps(powergrid.load_config(file)))
    script = (
        "import pickle, sys; r = pickle.load(open(sys.argv[1], 'rb'));"
        "from powergrid.plugins.registries import DEVICES; print(DEVICES.get(r.config.agents[0].type).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", script, packed], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "HVACAgent"
