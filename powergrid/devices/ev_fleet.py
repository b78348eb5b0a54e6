"""Fleet of electric vehicles behind one connection, as a battery that shrinks and grows."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import Field, model_validator

from powergrid.agents.device_agent import (
    DeviceAgent,
    DeviceSettings,
    Energy,
    LinearDevice,
    Outlook,
    Refill,
    decide_on,
    flag,
)
from powergrid.core.backend import Namespace
from powergrid.core.types import Array, Injection
from powergrid.devices._shared import conversion_loss, drawn_from_store, inside, store_limits
from powergrid.plugins import register_device

_NO_VEHICLE = 1e-9
"""A share of the fleet no larger than this counts as no vehicle [1]."""


class Settings(DeviceSettings):
    """Parameters of a fleet; figures per vehicle are those of :mod:`powergrid.devices.ev_charger`."""

    vehicles: float = Field(50.0, gt=0, description="number of vehicles")
    p_each_mw: float = Field(0.0072, gt=0, description="largest power of a vehicle [MW]")
    capacity_each_mwh: float = Field(0.060, gt=0, description="usable battery capacity of a vehicle [MWh]")
    eta_charge: float = Field(0.92, gt=0, le=1, description="charging efficiency [1]")
    eta_discharge: float = Field(0.92, gt=0, le=1, description="discharging efficiency [1]")
    soc_min: float = Field(0.1, ge=0, lt=1, description="state of charge that neither trips nor the grid go below [1]")
    soc_max: float = Field(0.95, gt=0, le=1, description="highest state of charge [1]")
    soc_init: float = Field(0.5, ge=0, le=1, description="state of charge at reset [1]")
    away_share: float = Field(0.8, ge=0, lt=1, description="largest share of the fleet that is away [1]")
    departure_h: float = Field(7.5, gt=0, lt=24, description="hour at which half of those have left [h]")
    arrival_h: float = Field(17.5, gt=0, lt=24, description="hour at which half of those are back [h]")
    spread_h: float = Field(3.0, gt=0, le=6, description="time over which they leave, and come back, evenly [h]")
    trip_each_mwh: float = Field(0.010, ge=0, description="energy of a vehicle's trip [MWh]")
    soc_target: float = Field(0.7, ge=0, le=1, description="mean state of charge wanted of those that leave [1]")
    shortfall_cost_per_mwh: float = Field(200.0, ge=0, description="price of charge missing at departure [$/MWh]")
    public_cost_per_mwh: float = Field(500.0, ge=0, description="price of trip energy charged elsewhere [$/MWh]")
    v2g: bool = Field(False, description="whether the fleet may feed back into the grid")
    wear_cost_per_mwh: float = Field(40.0, ge=0, description="ageing cost of energy fed back [$/MWh]")

    @property
    def p_all_mw(self) -> float:
        """Largest power of the whole fleet [MW]."""
        return self.vehicles * self.p_each_mw

    @property
    def p_out_max_mw(self) -> float:
        """Largest power fed back [MW]."""
        return self.p_all_mw if self.v2g else 0.0

    @property
    def capacity_mwh(self) -> float:
        """Usable battery capacity of the whole fleet [MWh]."""
        return self.vehicles * self.capacity_each_mwh

    @property
    def stored_init_mwh(self) -> float:
        """Energy in all batteries at reset [MWh]."""
        return self.soc_init * self.capacity_mwh

    @property
    def trip_mwh(self) -> float:
        """Energy of the trips of the whole fleet [MWh]."""
        return self.vehicles * self.trip_each_mwh

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if not self.soc_min <= self.soc_init <= self.soc_max:
            raise ValueError(f"soc_init {self.soc_init} must lie in [{self.soc_min}, {self.soc_max}]")
        half = self.spread_h / 2.0
        if not half <= self.departure_h <= self.arrival_h - self.spread_h <= 24.0 - 1.5 * self.spread_h:
            raise ValueError(
                f"departure_h {self.departure_h} and arrival_h {self.arrival_h} must be at least spread_h "
                f"{self.spread_h} apart and {half} away from midnight"
            )
        return self


class State(NamedTuple):
    """What the fleet does.

    Attributes
    ----------
    share
        Share of the fleet that is connected [1].
    here_mwh, away_mwh
        Energy in the batteries that are connected, and in those that are away.
    driven_mwh, missing_mwh, short_mwh
        In the last tick: energy of trips from the batteries, the rest of these trips, and charge missing at departure.
    """

    share: Array = 1.0
    here_mwh: Array = "stored_init_mwh"
    away_mwh: Array = 0.0
    driven_mwh: Array = 0.0
    missing_mwh: Array = 0.0
    short_mwh: Array = 0.0


class Command(NamedTuple):
    """Wanted injection [MW]; charging is negative."""

    p_mw: Array


class Exogenous(NamedTuple):
    """Hour of the day [h]."""

    hour: Array


def connected(xp: Namespace, params: Settings, hour: Array) -> Array:
    """Share of the fleet that is connected at an hour of the day [1]."""
    h = inside(xp, hour, 0.0, 24.0)
    left = inside(xp, (h - params.departure_h) / params.spread_h + 0.5, 0.0, 1.0)
    back = inside(xp, (h - params.arrival_h) / params.spread_h + 0.5, 0.0, 1.0)
    return 1.0 - params.away_share * (left - back)


def step(
    xp: Namespace, params: Settings, state: State, command: Command, exogenous: Exogenous, dt_h: float
) -> tuple[State, Injection]:
    """Let vehicles come and go, then charge or discharge those that are connected.

    All connected batteries have one state of charge, so whoever leaves takes a share of the energy along, and whoever
    returns brings a share of that away, less a trip: the virtual battery of e.g. Xu, Callaway, Hu and Song,
    "Hierarchical coordination of heterogeneous flexible loads", IEEE Trans. Power Systems, 2016, with power and energy
    limits in proportion to those connected.
    """
    share = connected(xp, params, exogenous.hour)
    gone, back = xp.maximum(state.share - share, 0.0), xp.maximum(share - state.share, 0.0)
    taken_mwh = state.here_mwh * gone / xp.maximum(state.share, _NO_VEHICLE)
    brought_mwh = state.away_mwh * xp.minimum(back / xp.maximum(1.0 - state.share, _NO_VEHICLE), 1.0)
    short_mwh = xp.maximum(params.soc_target * params.capacity_mwh * gone - taken_mwh, 0.0)
    reserve_mwh = params.soc_min * params.capacity_mwh * back
    driven_mwh = xp.minimum(params.trip_mwh * back, xp.maximum(brought_mwh - reserve_mwh, 0.0))
    missing_mwh = params.trip_mwh * back - driven_mwh
    here_mwh = state.here_mwh - taken_mwh + brought_mwh - driven_mwh
    away_mwh = state.away_mwh + taken_mwh - brought_mwh

    above_mwh = xp.maximum(here_mwh - params.soc_min * params.capacity_mwh * share, 0.0)
    below_mwh = xp.maximum(params.soc_max * params.capacity_mwh * share - here_mwh, 0.0)
    most_in_mw, most_out_mw = store_limits(xp, params, params.p_all_mw * share, above_mwh, below_mwh, dt_h)
    p_mw = inside(xp, command.p_mw, -most_in_mw, params.v2g * most_out_mw)
    drawn_mw = drawn_from_store(xp, params, p_mw)
    after = State(share, here_mwh - drawn_mw * dt_h, away_mwh, driven_mwh, missing_mwh, short_mwh)
    return after, Injection(p_mw, p_mw * 0.0)


def failed(xp: Namespace, params: Settings, state: State, exogenous: Exogenous, dt_h: float) -> State:
    """Vehicles come, go and drive, but they are not charged here."""
    return step(xp, params, state, Command(state.here_mwh * 0.0), exogenous, dt_h)[0]


def money(
    xp: Namespace, params: Settings, state: State, injection: Injection, exogenous: Exogenous, dt_h: float
) -> tuple[Array, ...]:
    """Ageing by energy fed back, and charging elsewhere [$]."""
    wear = params.wear_cost_per_mwh * xp.maximum(injection.p_mw, 0.0) * dt_h
    return wear, params.public_cost_per_mwh * state.missing_mwh


def violation(
    xp: Namespace, params: Settings, state: State, injection: Injection, exogenous: Exogenous, dt_h: float
) -> tuple[Array, ...]:
    """Charge missing at departure [$]."""
    return (params.shortfall_cost_per_mwh * state.short_mwh,)


def worth(xp: Namespace, params: Settings, state: State, settlement_per_mwh: Array) -> Array:
    """Stored energy at the settlement price [$]."""
    return (state.here_mwh + state.away_mwh) * settlement_per_mwh


def readings(xp: Namespace, params: Settings, state: State, injection: Injection) -> tuple[Array, ...]:
    """State of charge and share of those connected, and power."""
    soc = state.here_mwh / (params.capacity_mwh * xp.maximum(state.share, _NO_VEHICLE))
    return soc, state.share, injection.p_mw


def rule(xp: Namespace, params: Settings, state: State, exogenous: Exogenous, outlook: Outlook, dt_h: float) -> Command:
    """Charge to the target when energy is no dearer than on average, and in the hours before departures."""
    missing_mwh = xp.maximum(params.soc_target * params.capacity_mwh * state.share - state.here_mwh, 0.0)
    ahead_h = params.departure_h - 0.5 * params.spread_h - exogenous.hour
    needed_h = missing_mwh / (params.eta_charge * params.p_all_mw * xp.maximum(state.share, _NO_VEHICLE))
    late = (decide_on(xp, ahead_h + params.spread_h) > 0.0) & (decide_on(xp, ahead_h - needed_h - dt_h) <= 0.0)
    cheap = decide_on(xp, outlook.price_per_mwh - outlook.mean_price_per_mwh) <= 0.0
    return Command(-flag(xp, cheap | late, missing_mwh) * missing_mwh / (params.eta_charge * dt_h))


def energy(
    xp: Namespace,
    params: Settings,
    before: State,
    after: State,
    injection: Injection,
    exogenous: Exogenous,
    dt_h: float,
) -> Energy:
    """All batteries store, trips are useful, conversions lose [MWh]."""
    p_mw = injection.p_mw
    return Energy(
        primary_in=p_mw * 0.0,
        stored=after.here_mwh + after.away_mwh - before.here_mwh - before.away_mwh,
        useful_out=after.driven_mwh,
        lost=conversion_loss(xp, params, p_mw) * dt_h,
    )


@register_device("EVFleet", aliases=("ev_fleet",))
class EVFleet(DeviceAgent, from_module=True):
    """Many vehicles that leave in the morning and return in the evening, charged as one."""

    ranges = {"p_mw": ("-p_all_mw", "p_out_max_mw")}
    reading_ranges = {"soc": (0.0, 1.0), "connected": (0.0, 1.0), "p_mw": ("-p_all_mw", "p_all_mw")}
    plannable = False
    money_names = ("wear", "public_charging")
    violation_names = ("departure",)

    def refill(self) -> Refill:
        """The whole window of all vehicles at full power; that some are away does not count."""
        row = self.params()
        window_mwh = (row.soc_max - row.soc_min) * row.capacity_mwh
        return Refill(window_mwh / (row.p_all_mw * row.eta_charge), row.eta_charge)

    def linear(self, exogenous: Exogenous) -> LinearDevice:
        """Its power range: sessions and trips are left out, so that a bound stays one, if a loose one."""
        settings = self.settings
        return LinearDevice(p_min_mw=-settings.p_all_mw, p_max_mw=settings.p_out_max_mw)
