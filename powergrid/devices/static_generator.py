"""Generation or storage of given power that follows a series and takes no commands."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from pydantic import Field

from powergrid.agents.device_agent import DeviceAgent, DeviceSettings, Energy, LinearDevice, NoColumns, finite
from powergrid.core.backend import Namespace
from powergrid.core.types import CONSTANT_SERIES, Array, Injection
from powergrid.plugins import register_device

_PEAK_PU = 2.0
"""An observation is bounded by twice the power at a series value of 1."""


class Settings(DeviceSettings):
    """Parameters of the unit; all powers are fed in."""

    p_mw: float = Field(
        0.1, description="power at a series value of 1 [MW]; negative where it draws, such as a charger"
    )
    q_mvar: float = Field(0.0, description="reactive power at a series value of 1 [Mvar]")
    series: str = Field(CONSTANT_SERIES, description="dataset column that it follows [pu]; constant: always 1")

    @property
    def p_peak_mw(self) -> float:
        """Largest power that is to be observed [MW]."""
        return _PEAK_PU * abs(self.p_mw) or 1.0


class Exogenous(NamedTuple):
    """Output [pu of `p_mw` and `q_mvar`]."""

    output_pu: Array


def step(
    xp: Namespace, params: Settings, state: NoColumns, command: NoColumns, exogenous: Exogenous, dt_h: float
) -> tuple[NoColumns, Injection]:
    """Feed in ``p = s p_n`` and ``q = s q_n`` at the series value `s`: the static generator of power-flow programs.

    It is a constant power with the sign of generation; IEEE Task Force, "Load representation for dynamic performance
    analysis", IEEE Trans. Power Systems 8(2), 1993, doi:10.1109/59.260837.
    """
    output_pu = finite(xp, exogenous.output_pu)
    return state, Injection(output_pu * params.p_mw, output_pu * params.q_mvar)


def readings(xp: Namespace, params: Settings, state: NoColumns, injection: Injection) -> tuple[Array, ...]:
    """Power fed in."""
    return (injection.p_mw,)


def energy(
    xp: Namespace,
    params: Settings,
    before: NoColumns,
    after: NoColumns,
    injection: Injection,
    exogenous: Exogenous,
    dt_h: float,
) -> Energy:
    """What is fed in comes from outside the account, and what is drawn leaves it [MWh]."""
    zero = injection.p_mw * 0.0
    return Energy(
        primary_in=xp.maximum(injection.p_mw, 0.0) * dt_h,
        stored=zero,
        useful_out=xp.maximum(-injection.p_mw, 0.0) * dt_h,
        lost=zero,
    )


@register_device("StaticGenerator", aliases=("static_generator", "sgen"))
class StaticGenerator(DeviceAgent, from_module=True):
    """Generation or storage of given power, as it comes with an imported network: it follows a series.

    An environment makes one for each static generator of its network, whose series ``network.sgen_series`` names.
    """

    reading_ranges = {"p_mw": ("-p_peak_mw", "p_peak_mw")}
    default_policy = "rule_based"

    def series(self) -> dict[str, str]:
        """The column of the settings."""
        return {"output_pu": self.settings.series}

    def linear(self, exogenous: Exogenous) -> LinearDevice:
        """Power that cannot be chosen."""
        p_mw = self.settings.p_mw * np.asarray(exogenous.output_pu, dtype=float)
        return LinearDevice(p_min_mw=p_mw, p_max_mw=p_mw)
