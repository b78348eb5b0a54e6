"""Switch: opens and closes a branch of the network."""

from __future__ import annotations

from typing import Any, NamedTuple

from pydantic import AliasChoices, Field

from powergrid.agents.device_agent import DeviceAgent, DeviceSettings, Energy, Outlook, decide_on, finite, flag
from powergrid.core.types import Array, Entry, Injection
from powergrid.plugins import register_device


class Settings(DeviceSettings):
    """What a person says about a switch; the branch that it opens is the network's."""

    closed_init: bool | None = Field(None, description="whether it is closed at reset; omitted: as in the network")
    move_cost: float = Field(
        0.0,
        ge=0,
        validation_alias=AliasChoices("move_cost", "switching_cost"),
        description="wear cost of one operation [$]",
    )


class Params(NamedTuple):
    """Columns of :class:`Settings`; `closed_init` is 1 or 0."""

    closed_init: Array
    move_cost: Array


class State(NamedTuple):
    """Whether the switch is closed (1 or 0), and operations in the last tick."""

    closed: Array
    moves: Array


class Command(NamedTuple):
    """Whether to close (above 0.5)."""

    closed: Array


class Exogenous(NamedTuple):
    """Nothing."""


def reset(xp: Any, params: Params, uniform: Array) -> State:
    """As the settings say."""
    zero = uniform * 0.0
    return State(zero + params.closed_init, zero)


def step(
    xp: Any, params: Params, state: State, command: Command, exogenous: Exogenous, dt_h: float
) -> tuple[State, Injection]:
    """Stand as commanded from this tick on; the power flow sees the branch open or closed, nothing is injected here."""
    zero = state.closed * 0.0
    closed = flag(xp, decide_on(xp, finite(xp, command.closed)) > 0.5, zero)
    return State(closed, xp.abs(closed - state.closed)), Injection(zero, zero)


def money(
    xp: Any, params: Params, state: State, injection: Injection, exogenous: Exogenous, dt_h: float
) -> tuple[Array, ...]:
    """Wear of the operations [$]."""
    return (params.move_cost * state.moves,)


def readings(xp: Any, params: Params, state: State, injection: Injection) -> tuple[Array, ...]:
    """Whether it is closed."""
    return (state.closed,)


def rule(xp: Any, params: Params, state: State, exogenous: Exogenous, outlook: Outlook, dt_h: float) -> Command:
    """Stay as it is."""
    return Command(state.closed + 0.0)


def energy(
    xp: Any, params: Params, before: State, after: State, injection: Injection, exogenous: Exogenous, dt_h: float
) -> Energy:
    """All zero: an ideal switch."""
    zero = injection.p_mw * 0.0
    return Energy(primary_in=zero, stored=zero, useful_out=zero, lost=zero)


@register_device("Switch", aliases=("switch", "breaker"))
class Switch(DeviceAgent):
    """Opens and closes a branch, a switch or a line; `bus` names the branch."""

    role = "switch"
    default_policy = "learned"
    money_names = ("switching",)
    Settings, Params, State, Command, Exogenous = Settings, Params, State, Command, Exogenous
    reset, step, money, readings = staticmethod(reset), staticmethod(step), staticmethod(money), staticmethod(readings)
    rule, energy = staticmethod(rule), staticmethod(energy)

    def params(self) -> Any:
        """This unit's row."""
        return Params(closed_init=float(self._closed_init()), move_cost=self.settings.move_cost)

    def _closed_init(self) -> bool:
        return self.settings.closed_init is not False

    def observation_entries(self) -> tuple[Entry, ...]:
        """Whether it is closed."""
        return (Entry("closed", "1", 0.0, 1.0),)

    def action_entries(self) -> dict[str, Entry]:
        """Closed above the middle of its range."""
        return {"closed": Entry("closed", "1", 0.0, 1.0)}

    def idle(self) -> Any:
        """As at reset."""
        return Command(float(self._closed_init()))
