"""Charge point of one electric vehicle, with or without vehicle-to-grid."""

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

_LONGEST_H = 168.0
"""No series looks further ahead [h]."""


class Settings(DeviceSettings):
    """Parameters of a vehicle and its charge point: a home charger of 7.2 kW and a daily commute."""

    p_max_mw: float = Field(0.0072, gt=0, description="largest power of the charge point [MW]")
    capacity_mwh: float = Field(0.060, gt=0, description="usable battery capacity [MWh]")
    eta_charge: float = Field(0.92, gt=0, le=1, description="charging efficiency [1]")
    eta_discharge: float = Field(0.92, gt=0, le=1, description="discharging efficiency [1]")
    soc_min: float = Field(0.1, ge=0, lt=1, description="state of charge that neither trips nor the grid go below [1]")
    soc_max: float = Field(0.95, gt=0, le=1, description="highest state of charge [1]")
    soc_init: float = Field(0.5, ge=0, le=1, description="state of charge at reset [1]")
    arrival_h: float = Field(18.0, ge=0, lt=24, description="hour of the day at which it arrives [h]")
    departure_h: float = Field(7.5, ge=0, lt=24, description="hour of the day at which it leaves [h]")
    arrival_spread_h: float = Field(0.0, ge=0, le=6, description="width of a uniform draw around the arrival [h]")
    trip_mwh: float = Field(0.010, ge=0, description="energy of a day's driving [MWh]")
    soc_target: float = Field(0.8, ge=0, le=1, description="state of charge wanted at departure [1]")
    shortfall_cost_per_mwh: float = Field(200.0, ge=0, description="price of charge missing at departure [$/MWh]")
    public_cost_per_mwh: float = Field(500.0, ge=0, description="price of trip energy charged elsewhere [$/MWh]")
    v2g: bool = Field(False, description="whether it may feed back into the grid")
    wear_cost_per_mwh: float = Field(40.0, ge=0, description="ageing cost of energy fed back [$/MWh]")
    stay_series: str | None = Field(
        None, description="dataset column of the hours until it leaves, 0 while away [h], instead of the clock"
    )
    trip_series: str | None = Field(
        None, description="dataset column of a trip's energy, read when it has left [MWh], instead of trip_mwh"
    )

    @property
    def p_out_max_mw(self) -> float:
        """Largest power fed back [MW]."""
        return self.p_max_mw if self.v2g else 0.0

    @property
    def trip_by_clock_mwh(self) -> float:
        """Energy of a day's driving [MWh], zero where a series gives it."""
        return self.trip_mwh if self.trip_series is None else 0.0

    @property
    def by_stay_series(self) -> float:
        """One where a series takes the place of the clock, else zero."""
        return float(self.stay_series is not None)

    @property
    def by_trip_series(self) -> float:
        """One where a series takes the place of `trip_mwh`, else zero."""
        return float(self.trip_series is not None)

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if not self.soc_min <= self.soc_init <= self.soc_max:
            raise ValueError(f"soc_init {self.soc_init} must lie in [{self.soc_min}, {self.soc_max}]")
        if not self.soc_min <= self.soc_target <= self.soc_max:
            raise ValueError(f"soc_target {self.soc_target} must lie in [{self.soc_min}, {self.soc_max}]")
        away_h = (self.arrival_h - self.departure_h) % 24.0
        if away_h <= self.arrival_spread_h / 2.0 or 24.0 - away_h <= self.arrival_spread_h / 2.0:
            raise ValueError(
                f"arrival_h {self.arrival_h} with arrival_spread_h {self.arrival_spread_h} must stay clear of "
                f"departure_h {self.departure_h}"
            )
        return self


class State(NamedTuple):
    """What the vehicle does.

    Attributes
    ----------
    soc
        State of charge [1].
    here
        Whether it was connected in the last tick (1 or 0).
    stay_h
        Hours until it leaves; 0 while away.
    arrival_h
        Hour at which it arrives in this episode [h].
    driven_mwh, missing_mwh, short_mwh
        In the last tick: energy of a trip from the battery, the rest of the trip, and charge missing at departure.
    """

    soc: Array
    here: Array
    stay_h: Array
    arrival_h: Array
    driven_mwh: Array
    missing_mwh: Array
    short_mwh: Array


class Command(NamedTuple):
    """Wanted injection [MW]; charging is negative."""

    p_mw: Array


class Exogenous(NamedTuple):
    """Hour of the day [h]; where series are named, hours until it leaves [h] and energy of a trip [MWh]."""

    hour: Array
    stay_h: Array = 0.0
    trip_mwh: Array = 0.0


def reset(xp: Namespace, params: Settings, uniform: Array) -> State:
    """Not connected before the first tick; the arrival of this episode is drawn around its usual hour."""
    zero = uniform * 0.0
    arrival_h = params.arrival_h + (uniform - 0.5) * params.arrival_spread_h
    return State(zero + params.soc_init, zero, zero, arrival_h, zero, zero, zero)


def stay(xp: Namespace, params: Settings, arrival_h: Array, exogenous: Exogenous) -> Array:
    """Hours until it leaves; 0 while it is away."""
    since_h = _around(xp, decide_on(xp, inside(xp, exogenous.hour, 0.0, 24.0) - arrival_h))
    whole_h = _around(xp, decide_on(xp, params.departure_h - arrival_h))
    clock_h = xp.maximum(whole_h - since_h, 0.0)
    series_h = decide_on(xp, inside(xp, exogenous.stay_h, 0.0, _LONGEST_H))
    return clock_h + params.by_stay_series * (series_h - clock_h)


def _around(xp: Namespace, hours: Array) -> Array:
    """Hours modulo a day."""
    return hours - 24.0 * xp.floor(hours / 24.0)


def step(
    xp: Namespace, params: Settings, state: State, command: Command, exogenous: Exogenous, dt_h: float
) -> tuple[State, Injection]:
    """Drive when the vehicle has left, else charge or discharge within power, energy window and session.

    The battery is the bucket of :mod:`powergrid.devices.storage`. A day's trip is booked in the tick in which the
    vehicle is first gone. Series may give sessions and trips, see :mod:`powergrid.datasets.ev_sessions`; sessions by
    arrival, departure and energy as in Lee, Li and Low, "ACN-Data: analysis and applications of an open EV charging
    dataset", ACM e-Energy 2019, doi:10.1145/3307772.3328313. 7.2 kW is 30 A at 240 V (SAE J1772, level 2).
    """
    stay_h = stay(xp, params, state.arrival_h, exogenous)
    trip_mwh = params.trip_by_clock_mwh + params.by_trip_series * inside(
        xp, exogenous.trip_mwh, 0.0, params.capacity_mwh
    )
    here = flag(xp, stay_h > 0.0, state.soc)
    leaves = state.here * (1.0 - here)
    held_mwh = state.soc * params.capacity_mwh
    short_mwh = leaves * xp.maximum(params.soc_target - state.soc, 0.0) * params.capacity_mwh
    driven_mwh = leaves * xp.minimum(trip_mwh, xp.maximum(held_mwh - params.soc_min * params.capacity_mwh, 0.0))
    missing_mwh = leaves * trip_mwh - driven_mwh

    above_mwh = xp.maximum(state.soc - params.soc_min, 0.0) * params.capacity_mwh
    below_mwh = xp.maximum(params.soc_max - state.soc, 0.0) * params.capacity_mwh
    most_in_mw, most_out_mw = store_limits(xp, params, params.p_max_mw, above_mwh, below_mwh, dt_h)
    p_mw = inside(xp, command.p_mw, -here * most_in_mw, here * params.v2g * most_out_mw)
    drawn_mw = drawn_from_store(xp, params, p_mw)
    soc = state.soc - (drawn_mw * dt_h + driven_mwh) / params.capacity_mwh
    left_h = xp.maximum(stay_h - dt_h, 0.0)
    after = State(soc, here, left_h, state.arrival_h, driven_mwh, missing_mwh, short_mwh)
    return after, Injection(p_mw, p_mw * 0.0)


def failed(xp: Namespace, params: Settings, state: State, exogenous: Exogenous, dt_h: float) -> State:
    """The vehicle comes, goes and drives, but it is not charged here."""
    return step(xp, params, state, Command(state.soc * 0.0), exogenous, dt_h)[0]


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
    return state.soc * params.capacity_mwh * settlement_per_mwh


def readings(xp: Namespace, params: Settings, state: State, injection: Injection) -> tuple[Array, ...]:
    """State of charge, connection, hours until it leaves (no more than a day), and power."""
    return state.soc, state.here, xp.minimum(state.stay_h, 24.0), injection.p_mw


def rule(xp: Namespace, params: Settings, state: State, exogenous: Exogenous, outlook: Outlook, dt_h: float) -> Command:
    """Charge what is missing to the target when energy is no dearer than on average, or when time runs out."""
    stay_h = stay(xp, params, state.arrival_h, exogenous)
    needed_mwh = xp.maximum(params.soc_target - state.soc, 0.0) * params.capacity_mwh / params.eta_charge
    late = decide_on(xp, needed_mwh / params.p_max_mw + dt_h - stay_h) >= 0.0
    cheap = decide_on(xp, outlook.price_per_mwh - outlook.mean_price_per_mwh) <= 0.0
    wanted_mw = xp.minimum(needed_mwh / dt_h, params.p_max_mw)
    return Command(-wanted_mw * flag(xp, (cheap | late) & (stay_h > 0.0), wanted_mw))


def energy(
    xp: Namespace,
    params: Settings,
    before: State,
    after: State,
    injection: Injection,
    exogenous: Exogenous,
    dt_h: float,
) -> Energy:
    """The battery stores, trips are useful, conversions lose [MWh]."""
    p_mw = injection.p_mw
    return Energy(
        primary_in=p_mw * 0.0,
        stored=(after.soc - before.soc) * params.capacity_mwh,
        useful_out=after.driven_mwh,
        lost=conversion_loss(xp, params, p_mw) * dt_h,
    )


@register_device("EVCharger", aliases=("ev_charger", "EV"))
class EVCharger(DeviceAgent, from_module=True):
    """Charge point with one vehicle that comes and goes every day, drives, and may feed back."""

    ranges = {"p_mw": ("-p_max_mw", "p_out_max_mw")}
    reading_ranges = {
        "soc": (0.0, 1.0),
        "connected": (0.0, 1.0),
        "stay_h": (0.0, 24.0),
        "p_mw": ("-p_max_mw", "p_max_mw"),
    }
    plannable = False
    money_names = ("wear", "public_charging")
    violation_names = ("departure",)

    def series(self) -> dict[str, str]:
        """The clock, and the columns of the settings; without them the other fields do not count."""
        settings = self.settings
        return {"hour": "hour", "stay_h": settings.stay_series or "hour", "trip_mwh": settings.trip_series or "hour"}

    def refill(self) -> Refill:
        """The whole window at full power; when the vehicle is away does not count."""
        settings = self.settings
        window_mwh = (settings.soc_max - settings.soc_min) * settings.capacity_mwh
        return Refill(window_mwh / (settings.p_max_mw * settings.eta_charge), settings.eta_charge)

    def linear(self, exogenous: Exogenous) -> LinearDevice:
        """Its power range: sessions and trips are left out, so that a bound stays one, if a loose one."""
        settings = self.settings
        return LinearDevice(p_min_mw=-settings.p_max_mw, p_max_mw=settings.p_out_max_mw)
