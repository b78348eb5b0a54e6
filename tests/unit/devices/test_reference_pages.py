"""The reference pages of the device types: complete for every type, and their YAML is what the package reads."""

import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from ruamel.yaml import YAML

from powergrid.plugins.registries import DEVICES

DOCS = Path(__file__).parents[3] / "docs"
OWN = [name for name in DEVICES.names() if DEVICES.get(name).__module__.startswith("powergrid.")]


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(str(DOCS))
    import device_pages

    monkeypatch.setattr(device_pages, "FOLDER", tmp_path)
    yield device_pages
    for name in ("device_pages", "device_plots"):
        sys.modules.pop(name, None)


def test_every_type_has_a_characteristic(pages: ModuleType) -> None:
    import device_plots

    missing = set(OWN) - set(device_plots.CURVES)
    assert missing == {"Switch", "StaticGenerator"}  # open or closed; delivers what its series says


@pytest.mark.parametrize("name", [name for name in OWN if name not in ("Switch", "StaticGenerator")])
def test_every_characteristic_has_finite_curves(pages: ModuleType, name: str) -> None:
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    pages.device_plots.CURVES[name](axes)
    assert axes.lines
    assert all(np.isfinite(np.asarray(line.get_ydata(), dtype=float)).all() for line in axes.lines)


@pytest.mark.parametrize("name", OWN)
def test_page_is_complete(pages: ModuleType, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(pages.device_plots, "picture", lambda *given: True)
    text = pages.page(name)
    for section in ("Physics", "Money", "Parameters", "Commands and observations", "In a configuration"):
        assert f"\n## {section}\n" in text
    for key in DEVICES.get(name).Settings.model_fields:
        assert f"| `{key}` |" in text
    assert not re.search(r":(func|mod|class):", text)
    agent = YAML(typ="safe").load(re.search(r"```yaml\n(.*?)```", text, re.S).group(1))["agents"][0]
    unit = DEVICES.get(agent["type"])(agent["id"], agent.get("bus", ""), policy=agent["policy"], **agent["params"])
    assert unit.params() == DEVICES.get(name)("unit").params()


@pytest.mark.parametrize(("name", "wide"), [("HeatPump", True), ("Statcom", False)])
def test_pictures_are_drawn(pages: ModuleType, tmp_path: Path, name: str, wide: bool) -> None:
    image = pytest.importorskip("PIL.Image")
    assert pages.device_plots.picture(name, tmp_path / "picture.png")
    with image.open(tmp_path / "picture.png") as picture:
        assert (picture.width > 2 * picture.height) == wide
        assert len(np.unique(np.asarray(picture.convert("L")))) > 8  # not blank
    assert not pages.device_plots.picture("Switch", tmp_path / "none.png")
