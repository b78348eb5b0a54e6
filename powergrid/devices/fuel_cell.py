"""Hydrogen fuel cell."""

from __future__ import annotations

from math import inf
from typing import NamedTuple

import numpy as np
from pydantic import Field, model_validator

from powergrid.agents.device_agent import DeviceAgent, DeviceSettings, Energy, LinearDevice, NoColumns, Outlook
from powergrid.core.backend import Namespace
from powergrid.core.types import Array, Injection
from powergrid.devices._shared import inside
from powergrid.plugins import register_device

LHV_MWH_PER_KG = 0.03333
"""Lower heating value of hydrogen [MWh/kg]."""
_LHV_V = 1.25
"""Voltage of a cell that turned the whole lower heating value into electricity [V]."""
_BLOCKS = 20
"""Blocks of the piecewise cost."""


class Settings(DeviceSettings):
    """Parameters of a fuel cell; voltages are those of a low-temperature cell in its ohmic range."""

    p_max_mw: float = Field(0.2, gt=0, description="largest net power [MW]")
    v_open: float = Field(0.90, gt=0, lt=1.25, description="cell voltage that the straight line begins at [V]")
    v_rated: float = Field(0.65, gt=0, lt=1.25, description="cell voltage at the largest power [V]")
    auxiliary_share: float = Field(0.08, ge=0, lt=1, description="share of the gross power that auxiliaries take [1]")
    ramp_mw_per_h: float | None = Field(None, gt=0, description="largest change of power [MW/h]; free if not given")
    hydrogen_price_per_kg: float = Field(5.0, ge=0, description="price of hydrogen [$/kg]")

    @property
    def drop_v(self) -> float:
        """Voltage lost at rated current [V]."""
        return self.v_open - self.v_rated

    @property
    def ramp_limit_mw_per_h(self) -> float:
        """Largest change of power [MW/h], infinite where none is given."""
        return inf if self.ramp_mw_per_h is None else self.ramp_mw_per_h

    @model_validator(mode="after")
    def _falling(self) -> Settings:
        if not self.v_open / 2.0 < self.v_rated < self.v_open:
            raise ValueError(
                f"v_rated {self.v_rated} must lie between half of v_open {self.v_open}, where power peaks, and v_open"
            )
        return self


class State(NamedTuple):
    """Power [MW] and hydrogen taken [MW of its lower heating value] in the last tick."""

    p_mw: Array = 0.0
    hydrogen_mw: Array = 0.0


class Command(NamedTuple):
    """Wanted power [MW]."""

    p_mw: Array


def hydrogen(xp: Namespace, params: Settings, p_mw: Array) -> Array:
    """Hydrogen for a net power [MW of its lower heating value].

    With the voltage ``V = V_0 - d i`` over the current `i` (1 at rated power), the power is ``i V`` in units of rated
    current, so that ``i = (V_0 - sqrt(V_0^2 - 4 d P)) / (2 d)``; by Faraday's law hydrogen goes with the current, and
    the cell's efficiency is ``V / 1.25`` (Larminie and Dicks, "Fuel Cell Systems Explained", 2nd ed., Wiley 2003,
    chapters 2 and 3; auxiliaries in chapter 4).
    """
    per_unit = p_mw / params.p_max_mw * params.v_rated
    root = xp.sqrt(xp.maximum(params.v_open * params.v_open - 4.0 * params.drop_v * per_unit, 1e-12))
    current = 2.0 * per_unit / (params.v_open + root)
    gross_rated_mw = params.p_max_mw / (1.0 - params.auxiliary_share)
    return gross_rated_mw * _LHV_V / params.v_rated * current


def step(
    xp: Namespace, params: Settings, state: State, command: Command, exogenous: NoColumns, dt_h: float
) -> tuple[State, Injection]:
    """Follow the command within ``0 <= p <= p_max`` and the ramp; :func:`hydrogen` says what it takes."""
    ramp_mw = params.ramp_limit_mw_per_h * dt_h
    lowest = xp.maximum(state.p_mw - ramp_mw, 0.0)
    highest = xp.minimum(state.p_mw + ramp_mw, params.p_max_mw)
    p_mw = inside(xp, command.p_mw, lowest, highest)
    return State(p_mw, hydrogen(xp, params, p_mw)), Injection(p_mw, p_mw * 0.0)


def failed(xp: Namespace, params: Settings, state: State, exogenous: NoColumns, dt_h: float) -> State:
    """Down at once, whatever its ramp."""
    return State(state.p_mw * 0.0, state.hydrogen_mw * 0.0)


def marginal_cost(xp: Namespace, params: Settings, p_mw: Array) -> Array:
    """Cost of one more MWh at power `p_mw` [$/MWh]: the price of hydrogen over the efficiency of the next MWh."""
    per_unit = p_mw / params.p_max_mw * params.v_rated
    root = xp.sqrt(xp.maximum(params.v_open * params.v_open - 4.0 * params.drop_v * per_unit, 1e-12))
    per_mwh = _LHV_V / root / (1.0 - params.auxiliary_share)
    return params.hydrogen_price_per_kg / LHV_MWH_PER_KG * per_mwh


def money(
    xp: Namespace, params: Settings, state: State, injection: Injection, exogenous: NoColumns, dt_h: float
) -> tuple[Array, ...]:
    """Hydrogen [$]."""
    return (params.hydrogen_price_per_kg / LHV_MWH_PER_KG * state.hydrogen_mw * dt_h,)


def readings(xp: Namespace, params: Settings, state: State, injection: Injection) -> tuple[Array, ...]:
    """Power."""
    return (injection.p_mw,)


def rule(xp: Namespace, params: Settings, state: State, exogenous: NoColumns, outlook: Outlook, dt_h: float) -> Command:
    """The power at which the marginal cost equals the price: retail up to the net load, feed-in beyond it."""
    sells = _output_at(xp, params, outlook.feed_in_per_mwh)
    buys_not = _output_at(xp, params, outlook.retail_per_mwh)
    return Command(xp.minimum(xp.maximum(outlook.net_load_mw, sells), buys_not))


def _output_at(xp: Namespace, params: Settings, price_per_mwh: Array) -> Array:
    """Inverse of :func:`marginal_cost`, within the limits [MW]."""
    fuel_per_mwh = params.hydrogen_price_per_kg / LHV_MWH_PER_KG * _LHV_V / (1.0 - params.auxiliary_share)
    root = fuel_per_mwh / xp.maximum(price_per_mwh, 1e-9)
    per_unit = (params.v_open * params.v_open - root * root) / (4.0 * params.drop_v)
    return xp.minimum(xp.maximum(per_unit / params.v_rated, 0.0), 1.0) * params.p_max_mw


def energy(
    xp: Namespace,
    params: Settings,
    before: State,
    after: State,
    injection: Injection,
    exogenous: NoColumns,
    dt_h: float,
) -> Energy:
    """Hydrogen comes in; what does not become electricity is heat that is lost [MWh]."""
    zero = injection.p_mw * 0.0
    gross_mw = injection.p_mw / (1.0 - params.auxiliary_share)
    cell_loss_mw = after.hydrogen_mw - gross_mw
    lost_mw = cell_loss_mw + params.auxiliary_share * gross_mw
    return Energy(primary_in=after.hydrogen_mw * dt_h, stored=zero, useful_out=zero, lost=lost_mw * dt_h)


@register_device("FuelCell", aliases=("fuel_cell",))
class FuelCell(DeviceAgent, from_module=True):
    """Fuel cell on bought hydrogen, more efficient at part load, with an optional ramp."""

    ranges = {"p_mw": (0.0, "p_max_mw")}
    reading_ranges = {"p_mw": (0.0, "p_max_mw")}
    money_names = ("hydrogen",)

    def linear(self, exogenous: NoColumns) -> LinearDevice:
        """Limits, ramp and blocks at the marginal cost of their lower end, nowhere above the true cost."""
        row = self.params()
        width = row.p_max_mw / _BLOCKS
        costs = tuple(float(marginal_cost(np, row, k * width)) for k in range(_BLOCKS))
        return LinearDevice(
            p_min_mw=0.0,
            p_max_mw=row.p_max_mw,
            ramp_mw_per_h=row.ramp_limit_mw_per_h,
            cost_mw=(width,) * _BLOCKS,
            cost_per_mwh=costs,
        )
