"""Switched capacitor (or reactor) bank of the network."""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import AliasChoices, Field, model_validator

from powergrid.agents.device_agent import DeviceAgent, DeviceSettings, Outlook, decide_on, finite, flag
from powergrid.core.backend import Namespace
from powergrid.core.types import Array, Injection
from powergrid.plugins import register_device


class Settings(DeviceSettings):
    """Parameters of a switched bank; its size is the network's."""

    control: Literal["manual", "load", "fixed"] = Field(
        "load", description="who switches: commands (manual), a load series (load) or nobody (fixed)"
    )
    on_init: bool = Field(True, description="whether it is connected at reset")
    series: str = Field("load_p_pu", description="dataset column that load control reads [pu]")
    load_on_pu: float = Field(0.6, ge=0, description="load control connects above this series value [pu]")
    load_off_pu: float = Field(0.5, ge=0, description="load control disconnects below this series value [pu]")
    move_cost: float = Field(
        0.0,
        ge=0,
        validation_alias=AliasChoices("move_cost", "switching_cost"),
        description="wear cost of one switching [$]",
    )

    @property
    def manual(self) -> float:
        """One where commands switch, else zero."""
        return float(self.control == "manual")

    @property
    def by_load(self) -> float:
        """One where load control switches, else zero."""
        return float(self.control == "load")

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if not self.load_off_pu < self.load_on_pu:
            raise ValueError(f"load_off_pu {self.load_off_pu} must be below load_on_pu {self.load_on_pu}")
        return self


class State(NamedTuple):
    """Whether the bank is connected (1 or 0), and switchings in the last tick."""

    on: Array = "on_init"
    moves: Array = 0.0


class Command(NamedTuple):
    """Whether to connect (above 0.5); only under manual control."""

    on: Array = "on_init"


class Exogenous(NamedTuple):
    """Series that load control reads [pu]."""

    load_pu: Array


def step(
    xp: Namespace, params: Settings, state: State, command: Command, exogenous: Exogenous, dt_h: float
) -> tuple[State, Injection]:
    """Switch by command, or by the load with a dead band between its two thresholds.

    The bank's reactive power is that of the network's shunt, which the power flow connects; nothing is injected here.
    """
    zero = state.on * 0.0
    by_load = _load_control(xp, params, state, exogenous)
    by_command = flag(xp, decide_on(xp, finite(xp, command.on)) > 0.5, zero)
    on = xp.where(params.manual > 0.5, by_command, xp.where(params.by_load > 0.5, by_load, state.on))
    return State(on, xp.abs(on - state.on)), Injection(zero, zero)


def _load_control(xp: Namespace, params: Settings, state: State, exogenous: Exogenous) -> Array:
    """Connected above one threshold, not below the other, as before in between."""
    load_pu, zero = decide_on(xp, exogenous.load_pu), state.on * 0.0
    below = load_pu < decide_on(xp, params.load_off_pu)
    return xp.where(load_pu > decide_on(xp, params.load_on_pu), zero + 1.0, xp.where(below, zero, state.on))


def money(
    xp: Namespace, params: Settings, state: State, injection: Injection, exogenous: Exogenous, dt_h: float
) -> tuple[Array, ...]:
    """Wear of the switchings [$]."""
    return (params.move_cost * state.moves,)


def readings(xp: Namespace, params: Settings, state: State, injection: Injection) -> tuple[Array, ...]:
    """Whether it is connected."""
    return (state.on,)


def rule(xp: Namespace, params: Settings, state: State, exogenous: Exogenous, outlook: Outlook, dt_h: float) -> Command:
    """What load control would do, also where commands switch."""
    return Command(_load_control(xp, params, state, exogenous))


@register_device("Capacitor", aliases=("Shunt", "capacitor"))
class Capacitor(DeviceAgent, from_module=True):
    """Switch of one of the network's shunts; `bus` names the shunt."""

    role = "cap"
    held = "a bank is switched on or off: derivatives are those with the banks as they stand"
    ranges = {"on": (0.0, "manual")}
    reading_ranges = {"on": (0.0, 1.0)}
    default_policy = "rule_based"
    money_names = ("switching",)

    def series(self) -> dict[str, str]:
        """The column of the settings."""
        return {"load_pu": self.settings.series}
