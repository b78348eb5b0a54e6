"""Battery storage (ESS)."""

from __future__ import annotations

from math import exp
from typing import Any, NamedTuple

import numpy as np
from pydantic import AliasChoices, Field, model_validator

from powergrid.agents.device_agent import (
    DeviceAgent,
    DeviceSettings,
    Energy,
    LinearDevice,
    NoColumns,
    Outlook,
    Refill,
    decide_on,
    flag,
)
from powergrid.core.backend import Namespace
from powergrid.core.cycles import rainflow
from powergrid.core.types import Array, Injection
from powergrid.devices._shared import Rated, conversion_loss, drawn_from_store, inside, reactive, store_limits
from powergrid.plugins import register_device

_SOC_STRESS = 1.04
"""Growth of calendar ageing with the state of charge [1]."""
_HOURS_PER_YEAR = 8766.0
_HALF_STEP = 5e-7
"""What :func:`decide_on` rounds away [$/MWh], so that equal prices are neither dearer nor cheaper."""


class Settings(Rated, DeviceSettings):
    """Parameters of a battery."""

    capacity_mwh: float = Field(
        1.0,
        gt=0,
        validation_alias=AliasChoices("capacity_mwh", "capacity"),
        description="energy capacity [MWh]",
    )
    max_p_mw: float = Field(0.5, gt=0, description="largest charging and discharging power at the terminal [MW]")
    sn_mva: float | None = Field(
        None, gt=0, description="inverter rating [MVA]; given, the battery may also exchange reactive power"
    )
    eta_charge: float = Field(0.95, gt=0, le=1, description="charging efficiency [1]")
    eta_discharge: float = Field(0.95, gt=0, le=1, description="discharging efficiency [1]")
    soc_min: float = Field(0.1, ge=0, lt=1, description="lowest state of charge [1]")
    soc_max: float = Field(0.9, gt=0, le=1, description="highest state of charge [1]")
    soc_init: float = Field(0.5, ge=0, le=1, description="state of charge at reset [1]")
    soc_init_spread: float = Field(0.0, ge=0, le=1, description="width of a uniform draw around soc_init at reset [1]")
    self_discharge_per_h: float = Field(0.0, ge=0, lt=1, description="share of the stored energy lost per hour [1/h]")
    wear_cost_per_mwh: float = Field(2.0, ge=0, description="ageing cost of energy moved in either direction [$/MWh]")
    replacement_cost_per_mwh: float = Field(
        0.0, ge=0, description="price of new capacity [$/MWh]; given, life lost by half-cycles and by time is charged"
    )
    cycle_life: float = Field(1908.0, gt=0, description="cycles of full depth until the end of life [1]")
    depth_exponent: float = Field(2.03, ge=1, le=5, description="exponent of the life lost over cycle depth [1]")
    calendar_life_y: float = Field(
        10.0, gt=0, description="years until the end of life at rest, half full, 25 degC [y]"
    )
    cell_temp_c: float = Field(25.0, ge=-30, le=60, description="temperature of the cells [degC], for ageing only")
    grid_forming: bool = Field(False, description="whether it can hold the voltage of an island; needs sn_mva")
    droop_percent: float = Field(
        5.0, gt=0, le=100, description="fall of an island's frequency at rated power [% of nominal], if grid_forming"
    )

    @property
    def rating_mva(self) -> float:
        """Rating of the inverter [MVA]: `sn_mva`, or `max_p_mw` where no reactive power is offered."""
        return self.sn_mva or self.max_p_mw

    @property
    def idle_life_per_h(self) -> float:
        """Share of life that an hour half full takes at the cells' temperature [1/h]."""
        return temperature_stress(self.cell_temp_c) / (self.calendar_life_y * _HOURS_PER_YEAR)

    @property
    def cycle_cost_per_mwh(self) -> float:
        """Cost by energy moved of the life that cycles through the whole window take [$/MWh]."""
        window = self.soc_max - self.soc_min
        cycle = window**self.depth_exponent / self.cycle_life
        return self.replacement_cost_per_mwh * cycle / (2.0 * window)

    @model_validator(mode="after")
    def _window(self) -> Settings:
        if not self.soc_min < self.soc_max:
            raise ValueError(f"soc_min {self.soc_min} must be below soc_max {self.soc_max}")
        if not self.soc_min <= self.soc_init <= self.soc_max:
            raise ValueError(f"soc_init {self.soc_init} must lie in [{self.soc_min}, {self.soc_max}]")
        if self.sn_mva is not None and self.sn_mva < self.max_p_mw:
            raise ValueError(f"sn_mva {self.sn_mva} must not be below max_p_mw {self.max_p_mw}")
        if self.grid_forming and self.sn_mva is None:
            raise ValueError("grid_forming needs sn_mva: a unit that holds a voltage delivers reactive power")
        return self


class State(NamedTuple):
    """State of charge [1]."""

    soc: Array


class AgeingState(NamedTuple):
    """State of charge now and where it last turned [1], and share of life lost in the last tick [1]."""

    soc: Array
    turn_soc: Array
    life_lost: Array


class Command(NamedTuple):
    """Wanted injection [MW, Mvar]; discharging is positive."""

    p_mw: Array
    q_mvar: Array


class Life(NamedTuple):
    """Share of a battery's life [1] that cycles and time have taken; at 1 together it is to be replaced."""

    by_cycles: float
    by_time: float


def temperature_stress(cell_temp_c: float) -> float:
    """How much faster than at 25 degC time takes life [1]; the source of :func:`aged` gives the formula."""
    kelvin = cell_temp_c + 273.0
    return exp(6.93e-2 * (kelvin - 298.0) * 298.0 / kelvin)


def reset(xp: Namespace, params: Settings, uniform: Array) -> State:
    """Draw the state of charge around its initial value, inside the window."""
    drawn = params.soc_init + (uniform - 0.5) * params.soc_init_spread
    return State(xp.minimum(xp.maximum(drawn, params.soc_min), params.soc_max))


def reset_ageing(xp: Namespace, params: Settings, uniform: Array) -> AgeingState:
    """The same, at the beginning of a half-cycle."""
    (soc,) = reset(xp, params, uniform)
    return AgeingState(soc, soc, soc * 0.0)


def step(
    xp: Namespace, params: Settings, state: State, command: Command, exogenous: NoColumns, dt_h: float
) -> tuple[State, Injection]:
    """Clip the command to power, energy window and inverter rating, then move the energy.

    ``E' = E (1 - sigma dt) - (max(p, 0) / eta_d + min(p, 0) eta_c) dt`` and ``p^2 + q^2 <= S^2``: the usual bucket
    model with constant efficiencies, e.g. Rosewater et al., "Battery energy storage models for optimal control", IEEE
    Access 7 (2019), doi:10.1109/ACCESS.2019.2957698.
    """
    soc = state.soc * (1.0 - params.self_discharge_per_h * dt_h)
    above_mwh = xp.maximum(soc - params.soc_min, 0.0) * params.capacity_mwh
    below_mwh = xp.maximum(params.soc_max - soc, 0.0) * params.capacity_mwh
    most_in_mw, most_out_mw = store_limits(xp, params, params.max_p_mw, above_mwh, below_mwh, dt_h)
    p_mw = inside(xp, command.p_mw, -most_in_mw, most_out_mw)
    drawn_mw = drawn_from_store(xp, params, p_mw)
    soc = soc - drawn_mw * dt_h / params.capacity_mwh
    q_mvar = reactive(xp, params.rating_mva, params.q_share, p_mw, command.q_mvar)
    return State(soc), Injection(p_mw, q_mvar)


def step_ageing(
    xp: Namespace, params: Settings, state: AgeingState, command: Command, exogenous: NoColumns, dt_h: float
) -> tuple[AgeingState, Injection]:
    """The same, and the life that it takes."""
    (soc,), injection = step(xp, params, State(state.soc), command, exogenous, dt_h)
    return AgeingState(soc, *aged(xp, params, state, soc, dt_h)), injection


def failed_ageing(
    xp: Namespace, params: Settings, state: AgeingState, exogenous: NoColumns, dt_h: float
) -> AgeingState:
    """The state of charge stands still; time takes life."""
    return AgeingState(state.soc, *aged(xp, params, state, state.soc, dt_h))


def aged(xp: Namespace, params: Settings, state: AgeingState, soc: Array, dt_h: float) -> tuple[Array, Array]:
    """Where the state of charge last turned [1], and the share of life [1] that a tick takes.

    A half-cycle of depth `d` takes ``d^k / (2 N)`` of life, booked as it deepens; a half-cycle ends where the state of
    charge turns, whereas :func:`powergrid.rainflow` sees the whole trajectory. Time takes ``exp(1.04 (soc - 0.5))``
    times what an hour half full does. ``N = 1 / 5.24e-4``, ``k = 2.03`` and ten years as in Xu, Zhao, Zheng, Litvinov
    and Kirschen, "Factoring the cycle aging cost of batteries participating in electricity markets", IEEE Trans. Power
    Systems 33(2), 2018, doi:10.1109/TPWRS.2017.2733339; stress by state of charge and temperature as in Xu, Oudalov,
    Ulbig, Andersson and Kirschen, "Modeling of lithium-ion battery degradation for cell life assessment", IEEE Trans.
    Smart Grid 9(2), 2018, doi:10.1109/TSG.2016.2578950.
    """
    turns = decide_on(xp, soc - state.soc) * (state.soc - state.turn_soc) < 0.0
    turn_soc = xp.where(turns, state.soc, state.turn_soc)
    before, after = xp.abs(state.soc - turn_soc), xp.abs(soc - turn_soc)
    deeper = xp.maximum(after**params.depth_exponent - before**params.depth_exponent, 0.0)
    rested = params.idle_life_per_h * xp.exp(_SOC_STRESS * (soc - 0.5)) * dt_h
    return turn_soc, 0.5 * deeper / params.cycle_life + rested


def money(
    xp: Namespace, params: Settings, state: State, injection: Injection, exogenous: NoColumns, dt_h: float
) -> tuple[Array, ...]:
    """Ageing as a price on throughput [$]."""
    return (params.wear_cost_per_mwh * xp.abs(injection.p_mw) * dt_h,)


def money_ageing(
    xp: Namespace, params: Settings, state: AgeingState, injection: Injection, exogenous: NoColumns, dt_h: float
) -> tuple[Array, ...]:
    """The same, and new capacity for the life lost [$]."""
    moved = params.wear_cost_per_mwh * xp.abs(injection.p_mw) * dt_h
    return (moved + params.replacement_cost_per_mwh * params.capacity_mwh * state.life_lost,)


def worth(xp: Namespace, params: Settings, state: State, settlement_per_mwh: Array) -> Array:
    """Stored energy at the settlement price [$]: energy missing at the end is bought back, energy left is credited."""
    return state.soc * params.capacity_mwh * settlement_per_mwh


def readings(xp: Namespace, params: Settings, state: State, injection: Injection) -> tuple[Array, ...]:
    """State of charge and last power."""
    return state.soc, injection.p_mw


def stiffness_mw(xp: Namespace, params: Settings, state: State) -> Array:
    """Rated power over droop [MW/pu], whatever the state of charge: what is missing then shows in the delivery."""
    return 100.0 * params.grid_forming * params.max_p_mw / params.droop_percent + state.soc * 0.0


def rule(xp: Namespace, params: Settings, state: State, exogenous: NoColumns, outlook: Outlook, dt_h: float) -> Command:
    """Buy in the cheapest hours before dear ones, sell in the dearest before cheap ones, with the refill price in mind.

    An hour is dear if energy bought now pays when it is sold then, with losses and wear, and cheap if energy sold now
    can be bought back then at a profit; as many of them count as a full battery lasts. It charges for dear hours that
    the stored energy does not last for, or where energy costs less than what is left at the end is settled at. It
    discharges where energy brings more than that. Where the site imports, energy is worth its retail price, as far as
    it imports; else the feed-in price.
    """
    wear, most = params.wear_cost_per_mwh + params.cycle_cost_per_mwh, params.max_p_mw
    load_mw, retail, feed_in = outlook.net_load_mw, outlook.retail_per_mwh, outlook.feed_in_per_mwh
    value, cost = xp.where(load_mw > 0.0, retail, feed_in), xp.where(load_mw < 0.0, feed_in, retail)
    stored, back = (cost + wear) / params.eta_charge, (value - wear) * params.eta_discharge  # by energy stored
    held_mwh = xp.maximum(state.soc - params.soc_min, 0.0) * params.capacity_mwh
    room_mwh = xp.maximum(params.soc_max - state.soc, 0.0) * params.capacity_mwh
    full_mwh = (params.soc_max - params.soc_min) * params.capacity_mwh
    lasts_h = decide_on(xp, held_mwh * params.eta_discharge / most)
    full_h = decide_on(xp, full_mwh * params.eta_discharge / most)
    fills_h = decide_on(xp, room_mwh / (params.eta_charge * most))

    # market prices above which an hour is dear or brings more than now, and below which it is cheap or costs less
    dear_above = _sold_at(xp, outlook, stored / params.eta_discharge + wear)
    dearer_above = _sold_at(xp, outlook, value)
    price = xp.maximum(outlook.price_per_mwh, 0.0)
    cheap_below = back * params.eta_charge - wear - (retail - price) - _HALF_STEP
    cheaper_below = cost - (retail - price) - _HALF_STEP
    dear_h = cheap_h = cheaper_h = dearer_h = cheaper_before_dear_h = value * 0.0
    for price_ahead in outlook.price_ahead_per_mwh:
        price = xp.maximum(price_ahead, 0.0)
        dear = price > dear_above
        cheaper_before_dear_h = xp.where(dear, cheaper_h, cheaper_before_dear_h)
        dear_h, cheap_h = dear_h + dear, cheap_h + (price < cheap_below)
        cheaper_h = cheaper_h + ((price < cheaper_below) & (dear_h < full_h))
        dearer_h = dearer_h + ((price > dearer_above) & (cheap_h < full_h))

    left = decide_on(xp, outlook.settlement_per_mwh - stored) > 0.0
    charge = flag(xp, (cheaper_before_dear_h < fills_h) & ((dear_h > lasts_h) | left), value)
    kept = decide_on(xp, outlook.settlement_per_mwh - back) >= 0.0
    discharge = flag(xp, dearer_h < lasts_h, value) * (1.0 - flag(xp, kept, value))
    sold_mw = xp.where(decide_on(xp, feed_in - value) >= 0.0, most, xp.minimum(most, load_mw))
    bought_mw = xp.where(decide_on(xp, cost - retail) >= 0.0, most, xp.minimum(most, -load_mw))
    p_mw = discharge * sold_mw - (1.0 - discharge) * charge * bought_mw
    return Command(p_mw, p_mw * 0.0)


def _sold_at(xp: Namespace, outlook: Outlook, brings_per_mwh: Array) -> Array:
    """Market price at which energy will bring more than that [$/MWh], under the tariff of now.

    It brings feed-in where nothing else is behind the meter that could use it, else it saves retail.
    """
    brings_per_mwh = brings_per_mwh + _HALF_STEP
    price = xp.maximum(outlook.price_per_mwh, 0.0)
    share = xp.where(price > 0.0, outlook.feed_in_per_mwh / xp.maximum(price, 1e-9), 0.0)
    alone = decide_on(xp, outlook.net_load_mw) == 0.0
    saved_at = brings_per_mwh - (outlook.retail_per_mwh - price)
    return xp.where(alone, brings_per_mwh / xp.maximum(share, 1e-12), saved_at)


def energy(
    xp: Namespace,
    params: Settings,
    before: State,
    after: State,
    injection: Injection,
    exogenous: NoColumns,
    dt_h: float,
) -> Energy:
    """Stored energy, and losses of both conversions and of self-discharge [MWh]."""
    p_mw = injection.p_mw
    standing_loss = before.soc * params.capacity_mwh * params.self_discharge_per_h
    zero = p_mw * 0.0
    return Energy(
        primary_in=zero,
        stored=(after.soc - before.soc) * params.capacity_mwh,
        useful_out=zero,
        lost=(conversion_loss(xp, params, p_mw) + standing_loss) * dt_h,
    )


@register_device("Storage", aliases=("ESS", "storage", "battery"))
class Storage(DeviceAgent, from_module=True):
    """Battery with an energy window, efficiencies both ways, an optional reactive range, and ageing by use and time."""

    ranges = {"p_mw": ("-max_p_mw", "max_p_mw"), "q_mvar": ("-q_max_mvar", "q_max_mvar")}
    reading_ranges = {"soc": (0.0, 1.0), "p_mw": ("-max_p_mw", "max_p_mw")}
    money_names = ("wear",)

    @property
    def kernel(self) -> Any:
        """Kernels that count half-cycles where life has a price; others do without these costly powers."""
        ages = type(self) is Storage and self.settings.replacement_cost_per_mwh > 0.0
        return AgeingStorage if ages else type(self)

    def life_lost(self, soc: Any, dt_h: float) -> Life:
        """Share of life that a finished trajectory has taken, its cycles counted by rainflow.

        Parameters
        ----------
        soc
            State of charge at the ends of the ticks, and before the first [1], ``(ticks + 1,)``.
        dt_h
            Length of a tick [h].

        Raises
        ------
        ValueError
            If `soc` is not a row of finite numbers.
        """
        row, cycles = self.params(), rainflow(soc)
        by_cycles = np.sum(cycles.weight * cycles.depth**row.depth_exponent) / row.cycle_life
        stress = np.exp(_SOC_STRESS * (np.asarray(soc, dtype=float)[1:] - 0.5))
        return Life(float(by_cycles), float(row.idle_life_per_h * dt_h * np.sum(stress)))

    def forming_mva(self) -> float:
        """Its inverter's rating, if it forms grids."""
        return self.settings.sn_mva if self.settings.grid_forming else 0.0

    def firm_mw(self) -> float:
        """Zero: it can always stop to charge, and discharge only what it holds."""
        return 0.0

    def refill(self) -> Refill:
        """The whole window at full power."""
        settings = self.settings
        window_mwh = (settings.soc_max - settings.soc_min) * settings.capacity_mwh
        return Refill(window_mwh / (settings.max_p_mw * settings.eta_charge), settings.eta_charge)

    def linear(self, exogenous: NoColumns) -> LinearDevice:
        """Energy window, efficiencies and throughput cost."""
        settings = self.settings
        return LinearDevice(
            p_min_mw=-settings.max_p_mw,
            p_max_mw=settings.max_p_mw,
            e_min_mwh=settings.soc_min * settings.capacity_mwh,
            e_max_mwh=settings.soc_max * settings.capacity_mwh,
            e_start_mwh=settings.soc_init * settings.capacity_mwh,
            eta_in=settings.eta_charge,
            eta_out=settings.eta_discharge,
            decay_per_h=settings.self_discharge_per_h,
            throughput_cost_per_mwh=settings.wear_cost_per_mwh,
        )


class AgeingStorage(Storage):
    """Kernels of batteries whose life has a price."""

    State = AgeingState
    reset, step, failed = staticmethod(reset_ageing), staticmethod(step_ageing), staticmethod(failed_ageing)
    money = staticmethod(money_ageing)
