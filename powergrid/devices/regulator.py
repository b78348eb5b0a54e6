"""Step-voltage regulator or on-load tap changer of a branch."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import AliasChoices, Field, model_validator

from powergrid.agents.device_agent import (
    DeviceAgent,
    DeviceSettings,
    NoColumns,
    Outlook,
    decide_on,
    finite,
)
from powergrid.core.backend import Namespace
from powergrid.core.types import Array, Injection
from powergrid.plugins import register_device

_DEAD_PU = 0.1
"""Below this voltage there is nothing to regulate [pu]."""
_LEAST_BAND_STEPS = 1.3
"""Narrowest band [steps]: one step never jumps across it, though load and other regulators respond to a step, too."""
_RELAY_FIELDS = ("pt_ratio", "ct_a", "r_v", "x_v")
"""Settings that belong to the reading, which the engine makes."""
_FAST_TICK_S = 60.0
"""At ticks up to this long a regulator makes one step a tick [s]."""


class Settings(DeviceSettings):
    """Parameters of a regulator; voltages are those its relay reads, over 120 V."""

    step_pu: float = Field(0.00625, gt=0, lt=0.1, description="voltage gain of one step [pu]")
    tap_min: float = Field(-16.0, description="lowest tap [steps]")
    tap_max: float = Field(16.0, description="highest tap [steps]")
    tap_init: float | None = Field(
        None,
        description="tap at reset [steps], which need not be an integer in a balanced equivalent; omitted: that of the "
        "network, or 0 where its relay moves it",
    )
    v_set_pu: float = Field(1.0, gt=0, description="voltage to hold [pu]")
    bandwidth_pu: float = Field(2.0 / 120.0, gt=0, description="whole width of the band around it [pu]")
    delay_s: float = Field(30.0, ge=0, description="time out of band before the first step [s]; 45 where downstream")
    pt_ratio: float | None = Field(
        None, gt=0, description="ratio of its potential transformer [1]; omitted: nominal voltage reads 120 V"
    )
    ct_a: float | None = Field(None, gt=0, description="primary current of its current transformer [A]")
    r_v: float = Field(0.0, description="line-drop compensator: resistive volts at that current [V]")
    x_v: float = Field(0.0, description="line-drop compensator: reactive volts at that current [V]")
    step_time_s: float = Field(5.0, gt=0, description="time of each further step [s]")
    move_cost: float = Field(
        0.0,
        ge=0,
        validation_alias=AliasChoices("move_cost", "tap_change_cost"),
        description="wear cost of one step [$]",
    )
    local_control: bool = Field(True, description="whether its own relay moves it; else commands do")
    max_steps_per_tick: float = Field(4.0, ge=1, description="steps of the largest command [steps]")

    @property
    def first_tap(self) -> float:
        """Tap at reset [steps]; the engine then lets local control come to rest."""
        return self.tap_init or 0.0

    @property
    def half_band_pu(self) -> float:
        """Half the bandwidth [pu], rounded as every relay reading is."""
        return round(0.5 * self.bandwidth_pu, 6)

    @property
    def by_command(self) -> float:
        """One where commands move it, else zero."""
        return float(not self.local_control)

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if self.tap_init is not None and not self.tap_min <= self.tap_init <= self.tap_max:
            raise ValueError(f"tap_init {self.tap_init} must lie in [{self.tap_min}, {self.tap_max}]")
        if self.tap_min >= self.tap_max:
            raise ValueError(f"tap_min {self.tap_min} must be below tap_max {self.tap_max}")
        if self.tap_min * self.step_pu <= -1.0:
            raise ValueError(f"tap_min {self.tap_min} at step_pu {self.step_pu} leaves no voltage at all")
        least = _LEAST_BAND_STEPS * self.step_pu
        if self.bandwidth_pu < least:
            raise ValueError(
                f"bandwidth_pu {self.bandwidth_pu:g} must be {_LEAST_BAND_STEPS} steps ({least:g} pu) or more"
            )
        if (self.r_v or self.x_v) and self.ct_a is None:
            raise ValueError(f"a compensator (r_v {self.r_v:g}, x_v {self.x_v:g}) needs ct_a, in ampere")
        return self


class State(NamedTuple):
    """Tap [steps], and steps moved in this tick, in either direction."""

    tap: Array = "first_tap"
    moves: Array = 0.0


class Command(NamedTuple):
    """Wanted movement in [-1, 1] of `max_steps_per_tick`; only without local control."""

    move: Array


def allowed_moves(xp: Namespace, params: Settings, dt_h: float) -> Array:
    """Steps that fit into a tick [steps]: ``floor((dt - delay) / step time) + 1``, one for ticks of 60 s or less."""
    seconds = dt_h * 3600.0
    fitting = xp.floor(decide_on(xp, (seconds - params.delay_s) / params.step_time_s)) + 1.0
    return xp.where(seconds > _FAST_TICK_S + 1e-6, xp.maximum(fitting, 1.0), params.delay_s * 0.0 + 1.0)


def step(
    xp: Namespace, params: Settings, state: State, command: Command, exogenous: NoColumns, dt_h: float
) -> tuple[State, Injection]:
    """Begin a tick: forget the moves counted so far and, without local control, move as commanded."""
    wish = xp.minimum(xp.maximum(finite(xp, command.move), -1.0), 1.0) * (1.0 - params.local_control)
    most = xp.minimum(params.max_steps_per_tick, allowed_moves(xp, params, dt_h))
    steps = xp.minimum(xp.round(decide_on(xp, xp.abs(wish) * params.max_steps_per_tick)), xp.floor(most))
    zero = state.tap * 0.0
    up = xp.where(wish > 0.0, xp.minimum(steps, _room_up(xp, params, state)), zero)
    down = xp.where(wish < 0.0, xp.minimum(steps, _room_down(xp, params, state)), zero)
    return State(state.tap + up - down, up + down), Injection(zero, zero)


def wanted_steps(xp: Namespace, params: Settings, state: State, v_relay_pu: Array, allowed: Array) -> Array:
    """Steps that each relay wants between two power flows, up positive; zero where it is at rest.

    A relay out of its band wants the steps that bring it just inside by their ideal gain, no more than its range
    and the tick have room for. Load and other regulators answer with a little more, but a band is at least 1.3 steps
    wide, so the voltage does not jump across it. The engine lets a regulator wait while one upstream still moves (that
    has the shorter delay), and makes the reading, with or without line-drop compensation.

    Parameters
    ----------
    v_relay_pu
        What each relay reads, over 120 V [pu], ``(*batch, n)``.
    allowed
        Moves in this tick, from :func:`allowed_moves`.

    Returns
    -------
    Array
        Signed whole steps, ``(*batch, n)``.
    """
    deviation = decide_on(xp, v_relay_pu - params.v_set_pu)
    distance = xp.abs(deviation) - params.half_band_pu
    out = (distance > 0.0) & (v_relay_pu > _DEAD_PU) & (params.local_control > 0.5)
    gain_pu = params.step_pu * xp.maximum(v_relay_pu, _DEAD_PU) / ratio(params, state)
    steps = xp.maximum(-xp.floor(-decide_on(xp, distance / gain_pu)), 1.0)
    low = deviation < 0.0
    room = xp.floor(decide_on(xp, xp.where(low, params.tap_max - state.tap, state.tap - params.tap_min)))
    steps = xp.maximum(xp.minimum(xp.minimum(steps, allowed - state.moves), room), 0.0)
    return xp.where(out, xp.where(low, steps, -steps), 0.0)


def moved(xp: Namespace, state: State, steps: Array) -> State:
    """The state after signed steps, which are counted."""
    return State(state.tap + steps, state.moves + xp.abs(steps))


def ratio(params: Settings, state: State) -> Array:
    """Voltage gain of the ideal ratio [1]: ``1 + step tap``."""
    return 1.0 + params.step_pu * state.tap


def _room_up(xp: Namespace, params: Settings, state: State) -> Array:
    return xp.floor(decide_on(xp, params.tap_max - state.tap))


def _room_down(xp: Namespace, params: Settings, state: State) -> Array:
    return xp.floor(decide_on(xp, state.tap - params.tap_min))


def money(
    xp: Namespace, params: Settings, state: State, injection: Injection, exogenous: NoColumns, dt_h: float
) -> tuple[Array, ...]:
    """Wear of the moves [$]."""
    return (params.move_cost * state.moves,)


def readings(xp: Namespace, params: Settings, state: State, injection: Injection) -> tuple[Array, ...]:
    """Tap."""
    return (state.tap,)


def rule(xp: Namespace, params: Settings, state: State, exogenous: NoColumns, outlook: Outlook, dt_h: float) -> Command:
    """Stay: prices say nothing about a tap, and the relay needs no command."""
    return Command(state.tap * 0.0)


@register_device("Regulator", aliases=("LineRegulator", "regulator", "Transformer", "OLTC"))
class Regulator(DeviceAgent, from_module=True):
    """Regulator branch whose tap is moved by its own relay within each tick or by commands.

    `bus` names the network's regulator branch, such as ``650-RG60``; in a three-phase network that is all its phases
    moving together, read at the phase named by `phases` (the first by default), and ``650-RG60.a`` is one of them.
    """

    role = "tap"
    held = "a tap stands on whole steps: derivatives are those at the taps where its relay or command has brought it"
    ranges = {"move": ("-by_command", "by_command")}
    reading_ranges = {"tap": ("tap_min", "tap_max")}
    default_policy = "rule_based"
    money_names = ("tap",)
    wanted_steps, moved = staticmethod(wanted_steps), staticmethod(moved)
    allowed_moves, ratio = staticmethod(allowed_moves), staticmethod(ratio)
