"""Switch: opens and closes a branch of the network."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import AliasChoices, Field

from powergrid.agents.device_agent import DeviceAgent, DeviceSettings, NoColumns, Outlook, decide_on, finite, flag
from powergrid.core.backend import Namespace
from powergrid.core.types import Array, Injection
from powergrid.plugins import register_device


class Settings(DeviceSettings):
    """Parameters of a switch; the branch that it opens is the network's."""

    closed_init: bool | None = Field(None, description="whether it is closed at reset; omitted: as in the network")
    move_cost: float = Field(
        0.0,
        ge=0,
        validation_alias=AliasChoices("move_cost", "switching_cost"),
        description="wear cost of one operation [$]",
    )

    @property
    def closed_at_reset(self) -> float:
        """One where it is closed at reset, as it is where nothing else is said, else zero."""
        return float(self.closed_init is not False)


class State(NamedTuple):
    """Whether the switch is closed (1 or 0), and operations in the last tick."""

    closed: Array = "closed_at_reset"
    moves: Array = 0.0


class Command(NamedTuple):
    """Whether to close (above 0.5)."""

    closed: Array = "closed_at_reset"


def step(
    xp: Namespace, params: Settings, state: State, command: Command, exogenous: NoColumns, dt_h: float
) -> tuple[State, Injection]:
    """Stand as commanded from this tick on; the power flow sees the branch open or closed, nothing is injected here."""
    zero = state.closed * 0.0
    closed = flag(xp, decide_on(xp, finite(xp, command.closed)) > 0.5, zero)
    return State(closed, xp.abs(closed - state.closed)), Injection(zero, zero)


def money(
    xp: Namespace, params: Settings, state: State, injection: Injection, exogenous: NoColumns, dt_h: float
) -> tuple[Array, ...]:
    """Wear of the operations [$]."""
    return (params.move_cost * state.moves,)


def readings(xp: Namespace, params: Settings, state: State, injection: Injection) -> tuple[Array, ...]:
    """Whether it is closed."""
    return (state.closed,)


def rule(xp: Namespace, params: Settings, state: State, exogenous: NoColumns, outlook: Outlook, dt_h: float) -> Command:
    """Stay as it is."""
    return Command(state.closed + 0.0)


@register_device("Switch", aliases=("switch", "breaker"))
class Switch(DeviceAgent, from_module=True):
    """Opens and closes a branch, a switch or a line; `bus` names the branch."""

    role = "switch"
    held = "a branch is open or closed: derivatives are those in the topology that holds"
    ranges = {"closed": (0.0, 1.0)}
    reading_ranges = {"closed": (0.0, 1.0)}
    default_policy = "learned"
    money_names = ("switching",)
