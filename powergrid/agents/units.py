"""Units whose active power somebody may choose, as protocols see them while an environment is built."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from powergrid.agents.device_agent import DeviceAgent
from powergrid.core.types import Entry

ACTIVE_POWER = ("p_mw", "p_share", "served_share")
"""Fields of commands that set the active power of a unit."""


class Unit(NamedTuple):
    """One unit of a member whose active power is free, while an environment is built.

    Attributes
    ----------
    p_low_mw, p_high_mw
        Least and most that it can inject [MW].
    burns_fuel
        Whether it has a marginal cost.
    cost_per_mwh, slope_per_mw2h
        Marginal cost at zero power [$/MWh] and its rise [$/MWh per MW]: the line through the marginal cost at the
        ends of its range, never falling.
    id
        Its name.
    bus
        Row of its bus in the network; -1 where it is not known yet.
    field, low, high
        Field of its command that sets the power, one of :data:`ACTIVE_POWER`, and the range of that.
    follows_nature
        Whether sun, wind or water offer its power.
    plannable
        Whether nothing but power and energy limits what it can do, as of
        :attr:`~powergrid.agents.device_agent.DeviceAgent.plannable`.
    eta_in, eta_out
        Efficiencies of charging and discharging [1].
    wear_per_mwh, curtailment_per_mwh
        Cost of energy moved in either direction, and of demand that is not served [$/MWh].
    """

    p_low_mw: float
    p_high_mw: float
    burns_fuel: bool = False
    cost_per_mwh: float = 0.0
    slope_per_mw2h: float = 0.0
    id: str = ""
    bus: int = -1
    field: str = "p_mw"
    low: float = 0.0
    high: float = 0.0
    follows_nature: bool = False
    plannable: bool = True
    eta_in: float = 1.0
    eta_out: float = 1.0
    wear_per_mwh: float = 0.0
    curtailment_per_mwh: float = 0.0


def units_of(device: Any) -> tuple[Unit, ...]:
    """The unit of a device whose active power is free; empty for all others, and for plain Python devices."""
    if getattr(device, "role", "") != "injection" or device.is_python():
        return ()
    entries = device.action_entries()
    return tuple(_unit(device, field, entries[field]) for field in ACTIVE_POWER if field in entries)


def _unit(device: Any, field: str, entry: Entry) -> Unit:
    kind = type(device)
    low, high = (entry.low, entry.high) if field == "p_mw" else _reach(device, field)
    linear = None
    if kind.linear is not DeviceAgent.linear:
        linear = device.linear(device.Exogenous(*(np.zeros(1) for _ in device.Exogenous._fields)))
    cost, slope = _marginal_cost(device, low, high)
    unit = Unit(
        p_low_mw=low,
        p_high_mw=high,
        burns_fuel=kind.marginal_cost is not DeviceAgent.marginal_cost,
        cost_per_mwh=cost,
        slope_per_mw2h=slope,
        id=device.id,
        field=field,
        low=entry.low,
        high=entry.high,
        follows_nature=kind.available is not DeviceAgent.available,
        plannable=device.plannable,
    )
    if linear is None:
        return unit
    return unit._replace(
        eta_in=float(linear.eta_in),
        eta_out=float(linear.eta_out),
        wear_per_mwh=float(linear.throughput_cost_per_mwh),
        curtailment_per_mwh=float(linear.curtailment_cost_per_mwh),
    )


def _reach(device: Any, field: str) -> tuple[float, float]:
    """Bounds of the power that a share of something sets, from what the unit shows of its power [MW]."""
    shown = [entry for entry in device.observation_entries() if entry.unit == "MW"]
    most = max((max(abs(entry.low), abs(entry.high)) for entry in shown), default=0.0)
    return (-most, 0.0) if field == "served_share" else (0.0, most)


def _marginal_cost(device: Any, low: float, high: float) -> tuple[float, float]:
    """The line through the marginal cost at the ends of the range: at zero power, and its rise."""
    if type(device).marginal_cost is DeviceAgent.marginal_cost:
        return 0.0, 0.0
    start = max(low, 0.0)
    first, last = map(float, device.marginal_cost(np, device.params(), np.array([start, high])))
    slope = max(last - first, 0.0) / max(high - start, 1e-9)
    return first - slope * start, slope
