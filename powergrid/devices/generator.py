"""Dispatchable generation with a fuel cost and, on request, unit commitment (DG)."""

from __future__ import annotations

from math import acos, inf, tan
from typing import Any, Literal, NamedTuple

from pydantic import AliasChoices, Field, model_validator

from powergrid.agents.device_agent import (
    DeviceAgent,
    DeviceSettings,
    Energy,
    LinearDevice,
    NoColumns,
    Outlook,
    decide_on,
    finite,
    flag,
)
from powergrid.core.backend import Namespace
from powergrid.core.types import Array, Injection
from powergrid.devices._shared import Rated, inside
from powergrid.plugins import register_device

OFF, STARTING, ON, STOPPING = 0.0, 1.0, 2.0, 3.0
"""Values of ``State.mode``."""

_BLOCKS = 20
"""Blocks of the piecewise cost; at 20 it lies at most slope * p_max^2 / 3200 [$/h] below the true one."""


_USUAL: dict[str, dict[str, float]] = {
    "diesel": {"p_min_mw": 0.3, "no_load_cost_per_h": 33.0, "start_cost": 30.0},
    "gas_turbine": {"p_min_mw": 0.4, "no_load_cost_per_h": 24.2, "start_cost": 67.0, "ramp_mw_per_h": 4.036},
}
"""Usual values by MW of the highest power: [MW], [$/h], [$], [MW/h]."""
_USUAL_ANY_SIZE: dict[str, dict[str, Any]] = {
    "diesel": {"marginal_cost_per_mwh": 264.0, "efficiency": 0.37, "min_up_h": 0.5, "min_down_h": 0.5},
    "gas_turbine": {
        "marginal_cost_per_mwh": 97.5,
        "efficiency": 0.288,
        "start_up_h": 0.25,
        "min_up_h": 2.2,
        "min_down_h": 2.2,
    },
}


class Settings(Rated, DeviceSettings):
    """Parameters of a generator; ``p_range: [lowest, highest]`` sets both power limits at once.

    A `kind` gives what is not said its usual value, all sizes in proportion to `p_max_mw`; it may be switched off
    (`commitment`).

    A diesel set burns 0.03 l/h for each kilowatt of its rating at no load and 0.24 l/kWh on top, at 1.10 $/l, not below
    30 %. This line lies within 8 % of the usual chart of dealers, "Approximate diesel fuel consumption", which gives
    41.6, 70.0, 99.9 and 135.1 l/h for a set of 500 kW at a quarter, half, three quarters and all of its load
    (hardydiesel.com, bigrentz.com).

    A gas turbine in simple cycle is unit 302_CT_3 of the RTS-GMLC (Barrows et al., "The IEEE Reliability Test System: A
    Proposed 2019 Update", IEEE Trans. Power Systems 35(1), 2020, doi:10.1109/TPWRS.2019.2925557; its table `gen.csv`):
    of 55 MW, not below 22; 15,395 Btu/kWh there, and 8,693, 9,874 and 9,939 Btu for each kilowatt hour more in the
    thirds above; 3.7 MW a minute; 2.2 hours on and off at least; power a quarter of an hour after a hot start. The line
    through its ends lies within 2.1 % of that curve. Its 28.8 % at full power, over the higher heating value, are near
    the 28.5 % of turbines of 2 to 25 MW in the defaults of REopt (NREL). Gas is taken to cost 35 $/MWh; a start costs
    67 $/MW (Lew et al., "The Western Wind and Solar Integration Study Phase 2", NREL/TP-5500-55588, 2013, table 7).
    """

    kind: Literal["any", "diesel", "gas_turbine"] = Field("any", description="what the usual values are taken from")
    p_min_mw: float = Field(0.0, ge=0, description="lowest power while on [MW]")
    p_max_mw: float = Field(0.5, gt=0, description="highest power [MW]")
    sn_mva: float | None = Field(None, gt=0, description="rating [MVA]; given, reactive power is offered")
    min_power_factor: float | None = Field(None, gt=0, le=1, description="lowest power factor, either way [1]")
    ramp_mw_per_h: float | None = Field(
        None, gt=0, description="largest change of power [MW/h]; unlimited if not given"
    )
    no_load_cost_per_h: float = Field(0.0, ge=0, description="cost of each hour on, at any power [$/h]")
    marginal_cost_per_mwh: float = Field(
        50.0,
        ge=0,
        validation_alias=AliasChoices("marginal_cost_per_mwh", "fuel_cost"),
        description="marginal cost at zero power [$/MWh]",
    )
    marginal_cost_slope_per_mw2h: float = Field(0.0, ge=0, description="rise of the marginal cost [$/MWh per MW]")
    efficiency: float = Field(0.38, gt=0, le=1, description="electricity per fuel [1], for the energy account only")
    commitment: bool = Field(False, description="whether the unit may be switched off and on")
    on_init: bool = Field(True, description="whether it is on at reset")
    min_up_h: float = Field(0.0, ge=0, description="shortest time on [h]")
    min_down_h: float = Field(0.0, ge=0, description="shortest time off [h]")
    start_up_h: float = Field(0.0, ge=0, description="time from the start command to power [h]")
    shut_down_h: float = Field(0.0, ge=0, description="time from the end of power to off [h]")
    start_cost: float = Field(0.0, ge=0, description="cost of a start [$]")
    shut_down_cost: float = Field(0.0, ge=0, description="cost of a shut-down [$]")
    grid_forming: bool = Field(False, description="whether it can hold the voltage of an island; needs sn_mva")
    droop_percent: float = Field(
        5.0, gt=0, le=100, description="fall of an island's frequency at rated power [% of nominal], if grid_forming"
    )

    @property
    def rating_mva(self) -> float:
        """Rating [MVA]: `sn_mva`, or the highest power where no reactive power is offered."""
        return self.sn_mva or self.p_max_mw

    @property
    def q_free(self) -> float:
        """One where no power factor limits the reactive power, else zero."""
        return 1.0 if self.min_power_factor is None else 0.0

    @property
    def q_per_p(self) -> float:
        """Largest reactive power per active power where a power factor limits it [1]."""
        return 0.0 if self.min_power_factor is None else tan(acos(self.min_power_factor))

    @property
    def q_max_mvar(self) -> float:
        """Largest reactive power [Mvar]; rating and power factor meet at S sin(phi)."""
        sine = self.q_per_p / (1.0 + self.q_per_p**2) ** 0.5
        most_mvar = self.rating_mva if self.q_free else min(self.rating_mva * sine, self.q_per_p * self.p_max_mw)
        return self.q_share * most_mvar

    @property
    def ramp_limit_mw_per_h(self) -> float:
        """Largest change of power [MW/h], infinite where none is given."""
        return inf if self.ramp_mw_per_h is None else self.ramp_mw_per_h

    @property
    def longest_h(self) -> float:
        """Longest time that any mode must last [h]."""
        return max(self.min_up_h, self.min_down_h, self.start_up_h, self.shut_down_h)

    @property
    def longest_wait_h(self) -> float:
        """Bound of its reading `wait_h` [h], above zero."""
        return self.longest_h or 1.0

    @property
    def p_init_mw(self) -> float:
        """Power at reset [MW]: the lowest where it is on."""
        return self.on_init * self.p_min_mw

    @property
    def mode_init(self) -> float:
        """Mode at reset: on or off, free to change at once."""
        return self.on_init * ON

    @model_validator(mode="before")
    @classmethod
    def _spelled_out(cls, raw: Any) -> Any:
        return _usual(_both_limits(raw)) if isinstance(raw, dict) else raw

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if self.p_min_mw > self.p_max_mw:
            raise ValueError(f"p_min_mw {self.p_min_mw} must not be above p_max_mw {self.p_max_mw}")
        if self.sn_mva is not None and self.sn_mva < self.p_max_mw:
            raise ValueError(f"sn_mva {self.sn_mva} must not be below p_max_mw {self.p_max_mw}")
        if not (self.commitment or self.on_init):
            raise ValueError("on_init: false needs commitment: true, else the unit could never start")
        if self.grid_forming and self.sn_mva is None:
            raise ValueError("grid_forming needs sn_mva: a unit that holds a voltage delivers reactive power")
        return self


def _both_limits(raw: dict[str, Any]) -> dict[str, Any]:
    """Settings with `p_range` written as two limits."""
    if "p_range" not in raw:
        return raw
    both, rest = raw["p_range"], {key: value for key, value in raw.items() if key != "p_range"}
    if {"p_min_mw", "p_max_mw"} & set(rest):
        raise ValueError("give either p_range or p_min_mw and p_max_mw, not both")
    if not isinstance(both, (list, tuple)) or len(both) != 2:
        raise ValueError(f"p_range must be [lowest, highest] in MW, found {both!r}")
    return {**rest, "p_min_mw": both[0], "p_max_mw": both[1]}


def _usual(raw: dict[str, Any]) -> dict[str, Any]:
    """Settings with the usual values of their kind where nothing is said."""
    kind, size = raw.get("kind"), raw.get("p_max_mw", Settings.model_fields["p_max_mw"].default)
    if not isinstance(kind, str) or kind not in _USUAL or not isinstance(size, (int, float)):
        return raw  # what is wrong is said by the fields' own checks
    usual = {name: value * size for name, value in _USUAL[kind].items()} | _USUAL_ANY_SIZE[kind] | {"commitment": True}
    if "fuel_cost" in raw:
        del usual["marginal_cost_per_mwh"]
    return {**usual, **raw}


class State(NamedTuple):
    """Power in the last tick [MW], mode, hours in it, and starts and shut-downs begun in the last tick.

    Modes are 0 off, 1 starting, 2 on, 3 stopping; hours count no further than the longest time any mode must last.
    """

    p_mw: Array = "p_init_mw"
    mode: Array = "mode_init"
    mode_h: Array = "longest_h"
    starts: Array = 0.0
    stops: Array = 0.0


class Command(NamedTuple):
    """Wanted injection [MW, Mvar], and whether to be on (above 0.5)."""

    p_mw: Array = 0.0
    q_mvar: Array = 0.0
    commit: Array = "on_init"


def step(
    xp: Namespace, params: Settings, state: State, command: Command, exogenous: NoColumns, dt_h: float
) -> tuple[State, Injection]:
    """Follow the commitment as its times allow, then the power within limits, ramp and capability.

    Off, starting, on and stopping follow each other with the minimum times of the unit-commitment problem (e.g.
    Morales-Espana, Latorre and Ramos, "Tight and compact MILP formulation for the thermal unit commitment problem",
    IEEE Trans. Power Systems 28(4), 2013, doi:10.1109/TPWRS.2013.2251373). While on, ``p_min <= p <= p_max`` and
    ``|p - p_last| <= r dt``; a unit that has just come on may reach `p_min` at once. A unit with a command to stop goes
    down to `p_min` first and stays there until it may stop. ``p^2 + q^2 <= S^2``, and ``|q| <= p tan(acos(pf))``.
    """
    ramp_mw = params.ramp_limit_mw_per_h * dt_h
    mode, mode_h, starts, stops, leaving = _commit(xp, params, state, command, ramp_mw, dt_h)
    on = flag(xp, mode == ON, state.p_mw)
    wanted = xp.where(leaving, params.p_min_mw, finite(xp, command.p_mw))
    lowest = xp.maximum(params.p_min_mw, state.p_mw - ramp_mw)
    highest = xp.maximum(params.p_min_mw, xp.minimum(params.p_max_mw, state.p_mw + ramp_mw))
    p_mw = on * xp.minimum(xp.maximum(wanted, lowest), highest)
    circle = xp.sqrt(xp.maximum((params.rating_mva - p_mw) * (params.rating_mva + p_mw), 1e-18))
    room = on * params.q_share * xp.minimum(circle, params.q_free * params.rating_mva + params.q_per_p * p_mw)
    q_mvar = inside(xp, command.q_mvar, -room, room)
    return State(p_mw, mode, mode_h, starts, stops), Injection(p_mw, q_mvar)


def _commit(
    xp: Namespace, params: Settings, state: State, command: Command, ramp_mw: Array, dt_h: float
) -> tuple[Array, Array, Array, Array, Array]:
    """Mode of this tick, hours in it at its end, starts, stops, and whether the unit is on but commanded to stop."""
    zero = state.p_mw * 0.0
    wish = (decide_on(xp, finite(xp, command.commit)) > 0.5) | (params.commitment < 0.5)
    ready = (state.mode == STARTING) & _lasted(xp, state.mode_h, params.start_up_h)
    cold = (state.mode == STOPPING) & _lasted(xp, state.mode_h, params.shut_down_h)
    mode = xp.where(ready, zero + ON, xp.where(cold, zero + OFF, state.mode))
    mode_h = xp.where(ready | cold, zero, state.mode_h)

    low_enough = decide_on(xp, state.p_mw - ramp_mw - params.p_min_mw) <= 0.0
    start = (mode == OFF) & wish & _lasted(xp, mode_h, params.min_down_h)
    leaving = (mode == ON) & xp.logical_not(wish)
    stop = leaving & low_enough & _lasted(xp, mode_h, params.min_up_h)
    started = xp.where(params.start_up_h > 0.0, zero + STARTING, zero + ON)
    stopped = xp.where(params.shut_down_h > 0.0, zero + STOPPING, zero + OFF)
    mode = xp.where(start, started, xp.where(stop, stopped, mode))
    mode_h = xp.minimum(xp.where(start | stop, zero, mode_h) + dt_h, params.longest_h)
    return mode, mode_h, flag(xp, start, zero), flag(xp, stop, zero), leaving


def _lasted(xp: Namespace, mode_h: Array, needed_h: Array) -> Array:
    """Whether a mode has lasted long enough."""
    return decide_on(xp, mode_h - needed_h) >= 0.0


def failed(xp: Namespace, params: Settings, state: State, exogenous: NoColumns, dt_h: float) -> State:
    """Off at once, whatever its shortest times: it has to be started again, after its shortest time off."""
    zero = state.p_mw * 0.0
    off_h = xp.where(state.mode == OFF, state.mode_h, zero) + dt_h
    return State(zero, zero + OFF, xp.minimum(off_h, params.longest_h), zero, zero)


def marginal_cost(xp: Namespace, params: Settings, p_mw: Array) -> Array:
    """Cost of one more MWh at power `p_mw` [$/MWh]: ``c_1 + s p``."""
    return params.marginal_cost_per_mwh + params.marginal_cost_slope_per_mw2h * p_mw


def fuel_cost(params: Settings, p_mw: Array) -> Array:
    """Cost of fuel above the no-load cost [$/h]: ``c_1 p + s p^2 / 2``."""
    return (params.marginal_cost_per_mwh + 0.5 * params.marginal_cost_slope_per_mw2h * p_mw) * p_mw


def money(
    xp: Namespace, params: Settings, state: State, injection: Injection, exogenous: NoColumns, dt_h: float
) -> tuple[Array, ...]:
    """Fuel, with the no-load cost of the hours on, and starts with shut-downs [$]."""
    on = flag(xp, state.mode == ON, state.p_mw)
    fuel = (params.no_load_cost_per_h * on + fuel_cost(params, injection.p_mw)) * dt_h
    return fuel, params.start_cost * state.starts + params.shut_down_cost * state.stops


def worth(xp: Namespace, params: Settings, state: State, settlement_per_mwh: Array) -> Array:
    """A committed unit saves its start [$]: one committed at first and not at last pays its restart."""
    return params.start_cost * _committed(xp, state)


def _committed(xp: Namespace, state: State) -> Array:
    return flag(xp, (state.mode == STARTING) | (state.mode == ON), state.p_mw)


def readings(xp: Namespace, params: Settings, state: State, injection: Injection) -> tuple[Array, ...]:
    """Power, status, and hours until the mode may change (on, off) or does change (starting, stopping)."""
    off, starting = flag(xp, state.mode == OFF, state.p_mw), flag(xp, state.mode == STARTING, state.p_mw)
    on, stopping = flag(xp, state.mode == ON, state.p_mw), flag(xp, state.mode == STOPPING, state.p_mw)
    least_h = off * params.min_down_h + starting * params.start_up_h + on * params.min_up_h
    least_h = least_h + stopping * params.shut_down_h
    status = (stopping + 2.0 * starting + 3.0 * on) / 3.0
    return injection.p_mw, status, xp.maximum(least_h - state.mode_h, 0.0)


def stiffness_mw(xp: Namespace, params: Settings, state: State) -> Array:
    """Rated power over droop [MW/pu]; zero unless the unit is on."""
    on = flag(xp, state.mode == ON, state.p_mw)
    return 100.0 * on * params.grid_forming * params.p_max_mw / params.droop_percent


def rule(xp: Namespace, params: Settings, state: State, exogenous: NoColumns, outlook: Outlook, dt_h: float) -> Command:
    """Least-cost output of one unit behind a meter, at unity power factor.

    Power that replaces a purchase is worth the retail price, power that is sold the feed-in price. So the unit follows
    the net load between the outputs at which its marginal cost equals the two. With commitment it starts where the
    gain over its shortest time on pays for start and stop, and stops where waiting that long saves more than a restart.
    """
    sells = _output_at(xp, params, outlook.feed_in_per_mwh)
    buys_not = _output_at(xp, params, outlook.retail_per_mwh)
    p_mw = xp.minimum(xp.maximum(outlook.net_load_mw, sells), buys_not)
    fuel_per_h = params.no_load_cost_per_h + fuel_cost(params, p_mw)
    gain_per_h = _bill(xp, outlook, outlook.net_load_mw) - _bill(xp, outlook, outlook.net_load_mw - p_mw) - fuel_per_h
    threshold = params.start_cost + params.shut_down_cost
    starts = gain_per_h * xp.maximum(params.min_up_h, 1.0) > threshold
    stays = gain_per_h * xp.maximum(params.min_down_h, 1.0) >= -threshold
    commit = xp.where(_committed(xp, state) > 0.5, flag(xp, stays, p_mw), flag(xp, starts, p_mw))
    return Command(p_mw, p_mw * 0.0, commit)


def _output_at(xp: Namespace, params: Settings, price_per_mwh: Array) -> Array:
    """Power at which the marginal cost equals a price, within the limits [MW]."""
    # a flat curve jumps from the lowest to the highest power at its price: a tiny slope does the same
    slope = xp.maximum(params.marginal_cost_slope_per_mw2h, 1e-9)
    wanted = (price_per_mwh - params.marginal_cost_per_mwh) / slope
    return xp.minimum(xp.maximum(wanted, params.p_min_mw), params.p_max_mw)


def _bill(xp: Namespace, outlook: Outlook, import_mw: Array) -> Array:
    """What the tariff charges for an import, or pays for an export [$/h]."""
    return outlook.retail_per_mwh * xp.maximum(import_mw, 0.0) + outlook.feed_in_per_mwh * xp.minimum(import_mw, 0.0)


def energy(
    xp: Namespace,
    params: Settings,
    before: State,
    after: State,
    injection: Injection,
    exogenous: NoColumns,
    dt_h: float,
) -> Energy:
    """Fuel comes in, what does not become electricity is lost [MWh]."""
    zero = injection.p_mw * 0.0
    fuel_mwh = injection.p_mw / params.efficiency * dt_h
    return Energy(primary_in=fuel_mwh, stored=zero, useful_out=zero, lost=fuel_mwh * (1.0 - params.efficiency))


@register_device("Generator", aliases=("DG", "generator"))
class Generator(DeviceAgent, from_module=True):
    """Generator with a quadratic cost curve, a ramp, a capability curve and, on request, unit commitment.

    An hour on at power `p` costs ``no_load + c_1 p + s p^2 / 2``, so that the marginal cost is ``c_1 + s p``.
    """

    ranges = {
        "p_mw": ("p_min_mw", "p_max_mw"),
        "q_mvar": ("-q_max_mvar", "q_max_mvar"),
        "commit": (0.0, "commitment"),
    }
    reading_ranges = {"p_mw": (0.0, "p_max_mw"), "status": (0.0, 1.0), "wait_h": (0.0, "longest_wait_h")}
    money_names = ("fuel", "start")
    on_off = ("commit",)

    def forming_mva(self) -> float:
        """Its rating, if it forms grids."""
        return self.settings.sn_mva if self.settings.grid_forming else 0.0

    def firm_mw(self) -> float | None:
        """Its highest power, unless it ramps or has to be started."""
        slow = self.settings.commitment or self.settings.ramp_mw_per_h is not None
        return None if slow else self.settings.p_max_mw

    def refill(self) -> None:
        """Its worth follows no price of energy."""
        return None

    def linear(self, exogenous: NoColumns) -> LinearDevice:
        """Limits, times and a piecewise cost; with commitment no ramp, because a start may jump to p_min."""
        row = self.params()
        widths, costs = _blocks(row)
        return LinearDevice(
            p_min_mw=0.0 if row.commitment else row.p_min_mw,
            p_max_mw=row.p_max_mw,
            ramp_mw_per_h=inf if row.commitment else row.ramp_limit_mw_per_h,
            start_cost=row.start_cost,
            cost_mw=widths,
            cost_per_mwh=costs,
            no_load_cost_per_h=row.no_load_cost_per_h,
            commitment=bool(row.commitment),
            p_on_min_mw=row.p_min_mw,
            min_up_h=row.min_up_h,
            min_down_h=row.min_down_h,
        )


def _blocks(row: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Widths and marginal costs of tangents to the cost curve at equal steps of power: exact there, below between."""
    if row.marginal_cost_slope_per_mw2h == 0.0:
        return (row.p_max_mw,), (row.marginal_cost_per_mwh,)
    width = row.p_max_mw / _BLOCKS
    at = [k * width for k in range(_BLOCKS + 1)]
    widths = (width / 2, *[width] * (_BLOCKS - 1), width / 2)
    return widths, tuple(row.marginal_cost_per_mwh + row.marginal_cost_slope_per_mw2h * p_mw for p_mw in at)
