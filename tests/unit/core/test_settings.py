"""Settings refuse truth values for numbers, and numbers beyond physical sense, wherever they stand."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from pydantic import Field, ValidationError

from powergrid.agents.device_agent import DeviceSettings
from powergrid.core.settings import options_model
from powergrid.plugins.registries import DEVICES, NETWORKS, PROTOCOLS


class Made(DeviceSettings):
    p_max_mw: float = Field(1.0, gt=0)
    efficiency: float = Field(0.5, gt=0, le=1)
    stirling_efficiency: float = Field(0.5, ge=0.01, le=1)
    largest_mwh: float = Field(1.0, ge=0, le=1e12)
    count: int = 3
    both: tuple[float, float] = (0.0, 1.0)
    by_name: dict[str, float] = Field(default_factory=dict)
    version: Literal[1] = 1
    on: bool = True
    label: str = ""
    either: float | None = None


def said(**given):
    with pytest.raises(ValidationError) as caught:
        Made(**given)
    return [(error["loc"][0], error["msg"]) for error in caught.value.errors()]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("p_max_mw", True),
        ("p_max_mw", np.bool_(True)),
        ("count", False),
        ("both", [0.0, True]),
        ("by_name", {"x": False}),
        ("version", True),
        ("either", True),
    ],
)
def test_truth_values_are_no_numbers(name, value):
    ((place, message),) = said(**{name: value})
    assert place == name
    assert message.endswith("number, not true or false")


@pytest.mark.parametrize(
    ("name", "value", "low", "high"),
    [
        ("p_max_mw", 1e20, "0", "100,000 MW"),
        ("p_max_mw", "1e20", "0", "100,000 MW"),
        ("p_max_mw", np.float64(1e20), "0", "100,000 MW"),
        ("efficiency", 0.05, "0.1", "1"),
        ("count", 10**400, "-1e+12", "1e+12"),
        ("both", [0.0, 1e13], "-1e+12", "1e+12"),
    ],
)
def test_numbers_beyond_sense_are_refused_with_the_range(name, value, low, high):
    ((place, message),) = said(**{name: value})
    assert (place, message) == (name, f"Input should be between {low} and {high}; check its unit")


def test_what_has_bounds_of_its_own_keeps_them():
    made = Made(stirling_efficiency=0.05, largest_mwh=1e11, on=False, label="1e99", p_max_mw="0.5")
    assert (made.stirling_efficiency, made.largest_mwh, made.p_max_mw) == (0.05, 1e11, 0.5)
    ((place, message),) = said(stirling_efficiency=0.001)
    assert (place, message) == ("stirling_efficiency", "Input should be greater than or equal to 0.01")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "nan"])
def test_numbers_are_finite(value):
    ((_, message),) = said(p_max_mw=value)
    assert "finite" in message


@pytest.mark.parametrize("registry", [DEVICES, PROTOCOLS], ids=["devices", "protocols"])
def test_defaults_lie_in_the_ranges(registry):
    kinds = [registry.get(name) for name in registry.names()]
    for kind in [kind for kind in kinds if kind.__module__.startswith("powergrid.")]:  # other tests register more
        settings = kind.Settings
        given = settings().model_dump(exclude_none=True)
        assert settings.model_validate(given).model_dump(exclude_none=True) == given


def test_options_of_every_network_are_settings():
    builders = [NETWORKS.get(name) for name in NETWORKS.names()]
    own = [builder for builder in builders if builder.__module__.startswith("powergrid.")]  # other tests register more
    assert len(own) >= 17
    for builder in own:
        model = options_model(builder)
        with pytest.raises(ValidationError) as caught:
            model.model_validate({"load_scale": True, "nonsense": 1})
        assert {error["loc"][0] for error in caught.value.errors()} == {"load_scale", "nonsense"}


def test_the_json_schema_has_the_ranges():
    found = Made.model_json_schema()["properties"]
    assert (found["p_max_mw"]["exclusiveMinimum"], found["p_max_mw"]["maximum"]) == (0, 1e5)
    assert (found["efficiency"]["minimum"], found["efficiency"]["maximum"]) == (0.1, 1)
    assert found["either"]["anyOf"][0] == {"type": "number", "minimum": -1e12, "maximum": 1e12}
