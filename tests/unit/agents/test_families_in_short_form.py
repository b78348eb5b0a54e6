"""What the short form derives: columns, resets, entries, idle commands, and the kernels that say nothing."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

from powergrid.agents.device_agent import DeviceAgent, DeviceSettings, Injection
from powergrid.core.types import Array, Entry


class Settings(DeviceSettings):
    p_max_mw: float = 0.4
    q_max_mvar: float = 0.0
    hours: float = 3.0
    held: bool = True
    series: str = "price_per_mwh"
    rating_mva: float | None = None

    @property
    def capacity_mwh(self) -> float:
        return self.hours * self.p_max_mw

    @property
    def label(self) -> str:
        return f"{self.hours:g} h"


class State(NamedTuple):
    stored_mwh: Array = "capacity_mwh"
    drawn_mw: Array = "-p_max_mw"
    ticks: Array = 2.0


class Command(NamedTuple):
    p_mw: Array = "p_max_mw"
    q_mvar: Array = 0.0
    share: Array = 1.0


def step(
    xp: Any, params: Settings, state: State, command: Command, exogenous: Any, dt_h: float
) -> tuple[State, Injection]:
    return state, Injection(command.p_mw, command.q_mvar)


def money(
    xp: Any, params: Settings, state: State, injection: Injection, exogenous: Any, dt_h: float
) -> tuple[Array, ...]:
    return (injection.p_mw * params.hours,)


class Typed(DeviceAgent, from_module=True):
    ranges = {"p_mw": ("-p_max_mw", "p_max_mw"), "q_mvar": ("-q_max_mvar", "q_max_mvar"), "stored_mwh": (0.0, 9.0)}
    money_names = ("use",)


def test_columns_are_the_numbers_among_settings_and_annotated_properties() -> None:
    unit = Typed("unit", "1", hours=2.0)
    assert unit.params()._asdict() == {
        "p_max_mw": 0.4, "q_max_mvar": 0.0, "hours": 2.0, "held": 1.0, "capacity_mwh": 0.8
    }  # fmt: skip


def test_types_and_kernels_of_the_module_belong_to_the_family() -> None:
    unit = Typed("unit", "1")
    assert (unit.Settings, unit.State, unit.Command) == (Settings, State, Command)
    assert unit.step is step
    assert Typed.money is money
    assert DeviceAgent.step is not step


def test_defaults_of_the_state_are_numbers_or_names_of_columns() -> None:
    unit = Typed("unit", "1", hours=2.0)
    columns = unit.Params(*(np.full(3, value) for value in unit.params()))
    state = unit.reset(np, columns, np.full((2, 3), 0.7))
    for found, value in zip(state, (0.8, -0.4, 2.0), strict=True):
        np.testing.assert_array_equal(found, np.full((2, 3), value))


def test_bounds_and_idle_values_are_numbers_or_names_of_settings() -> None:
    assert Typed("unit", "1").action_entries() == {"p_mw": Entry("p", "MW", -0.4, 0.4)}  # no reactive power to choose
    rated = Typed("unit", "1", q_max_mvar=0.1)
    assert rated.action_entries()["q_mvar"] == Entry("q", "Mvar", -0.1, 0.1)
    assert rated.idle() == Command(0.4, 0.0, 1.0)
    assert rated.observation_entries()[0] == Entry("stored", "MWh", 0.0, 9.0)


def test_a_bound_that_names_no_setting_is_refused_with_the_class() -> None:
    with pytest.raises(TypeError, match='Wrong: the range of "p_mw" names "p_most_mw", which Settings has not'):

        class Wrong(DeviceAgent, from_module=True):
            ranges = {"p_mw": (0.0, "p_most_mw")}


def test_what_commands_nothing_and_injects_nothing_needs_neither_rule_nor_energy() -> None:
    class Counter(DeviceAgent):
        role = "meter"
        State = {"ticks": 0.0}
        ranges = {"ticks": (0.0, 9.0)}

        def step(xp, params, state, command, exogenous, dt_h):
            return state, Injection(state.ticks * 0.0, state.ticks * 0.0)

    state, power = Counter.State(np.ones(2)), Injection(np.zeros(2), np.zeros(2))
    assert Counter.rule(np, (), state, (), None, 1.0) == ()
    for column in Counter.energy(np, (), state, state, power, (), 1.0):
        np.testing.assert_array_equal(column, np.zeros(2))
    with pytest.raises(NotImplementedError):
        Typed.rule(np, (), state, (), None, 1.0)


def test_a_subclass_with_settings_and_a_state_of_its_own_has_their_columns() -> None:
    class More(Settings):
        extra_mw: float = 0.25

    class Held(NamedTuple):
        held_mw: Array = "extra_mw"

    class Wider(Typed):
        Settings, State = More, Held

    unit = Wider("unit", "1")
    assert unit.params().extra_mw == 0.25
    assert unit.reset(np, unit.params(), 0.5) == Held(0.25)
