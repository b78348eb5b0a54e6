"""The family of arrays that stands for plain Python devices in the step: it passes on what their objects answer."""

from __future__ import annotations

from collections import namedtuple
from functools import cache
from typing import Any

from powergrid.agents.device_agent import DeviceAgent, Energy
from powergrid.core.backend import Namespace
from powergrid.core.types import Array, Injection

OUTPUTS = ("p_mw", "q_mvar", "cost", "safety")
"""What every plain device answers, before its readings."""


class Told(DeviceAgent):
    """Kernels of a family that injects, pays and shows what it is told."""

    money_names = ("cost",)
    violation_names = ("safety",)

    @staticmethod
    def step(
        xp: Namespace, params: Any, state: Any, command: Any, exogenous: Any, dt_h: float
    ) -> tuple[Any, Injection]:
        """The command is the state."""
        return command, Injection(command.p_mw, command.q_mvar)

    @staticmethod
    def money(
        xp: Namespace, params: Any, state: Any, injection: Injection, exogenous: Any, dt_h: float
    ) -> tuple[Array, ...]:
        """``cost`` [$/h] over the tick [$]."""
        return (state.cost * dt_h,)

    @staticmethod
    def violation(
        xp: Namespace, params: Any, state: Any, injection: Injection, exogenous: Any, dt_h: float
    ) -> tuple[Array, ...]:
        """``safety`` [$/h] over the tick [$]."""
        return (state.safety * dt_h,)

    @staticmethod
    def readings(xp: Namespace, params: Any, state: Any, injection: Injection) -> tuple[Array, ...]:
        """Everything behind power, cost and safety."""
        found: tuple[Array, ...] = state[4:]
        return found

    @staticmethod
    def energy(
        xp: Namespace, params: Any, before: Any, after: Any, injection: Injection, exogenous: Any, dt_h: float
    ) -> Energy:
        """What is drawn is of use: nobody knows more [MWh]."""
        zero = injection.p_mw * 0.0
        return Energy(primary_in=zero, stored=zero, useful_out=-injection.p_mw * dt_h, lost=zero)


@cache
def family_of(readings: int, series: int, money: str = "cost", violation: str = "safety") -> type[DeviceAgent]:
    """The family of arrays for plain devices with so many readings, and series that are shown beside them."""
    record: Any = namedtuple
    outputs = record("Outputs", (*OUTPUTS, *_numbered("reading", readings)))
    shown = record("Shown", _numbered("series", series))

    def reset(xp: Namespace, params: Any, uniform: Array) -> Any:
        return outputs(*(uniform * 0.0 for _ in outputs._fields))

    kernels = {
        "State": outputs,
        "Command": outputs,
        "Exogenous": shown,
        "reset": staticmethod(reset),
        "money_names": (money,),
        "violation_names": (violation,),
    }
    return type(f"PythonDevice{readings}", (Told,), kernels)


def _numbered(name: str, count: int) -> list[str]:
    return [f"{name}_{i}" for i in range(count)]
