"""What plants that follow sun, wind or water share: they deliver a share of what nature offers, behind a converter."""

from __future__ import annotations

from typing import Any, NamedTuple

from powergrid.agents.device_agent import DeviceAgent, Energy, Outlook
from powergrid.core.backend import Namespace
from powergrid.core.types import Array, Injection
from powergrid.devices._shared import Rated, inside, reactive


class Offered(Rated):
    """What follows in `Settings` from ``p_max_mw``, ``sn_mva`` and ``curtailable``."""

    @property
    def rating_mva(self: Any) -> float:
        """Rating [MVA]: ``sn_mva``, or the largest power where no reactive power is offered."""
        return float(self.sn_mva or self.p_max_mw)

    @property
    def share_min(self: Any) -> float:
        """Smallest share of the available power that a command may ask for [1]."""
        return 0.0 if self.curtailable else 1.0

    @property
    def p_share_max(self: Any) -> float:
        """One where the unit may be curtailed, else zero."""
        return float(self.curtailable)


class State(NamedTuple):
    """Power that nature offered in the last tick [MW]."""

    available_mw: Array = 0.0


class Command(NamedTuple):
    """Wanted share of the available power [1] and wanted reactive power [Mvar]."""

    p_share: Array = 1.0
    q_mvar: Array = 0.0


def deliver(
    xp: Namespace, params: Any, available_mw: Array, command: Command, share_min: Array | float = 0.0
) -> Injection:
    """A share of what is offered, and reactive power within ``p^2 + q^2 <= S^2``."""
    p_mw = available_mw * inside(xp, command.p_share, share_min, 1.0)
    return Injection(p_mw, reactive(xp, params.rating_mva, params.q_share, p_mw, command.q_mvar))


def failed(xp: Namespace, params: Any, state: State, exogenous: Any, dt_h: float) -> State:
    """Nothing that it could deliver."""
    return State(state.available_mw * 0.0)


def readings(xp: Namespace, params: Any, state: Any, injection: Injection) -> tuple[Array, ...]:
    """Delivered and available power."""
    return injection.p_mw, state.available_mw


def rule(xp: Namespace, params: Any, state: Any, exogenous: Any, outlook: Outlook, dt_h: float) -> Command:
    """Everything that is available, at unity power factor: it costs nothing and the tariff is never negative."""
    zero = outlook.price_per_mwh * 0.0
    return Command(zero + 1.0, zero)


def energy(
    xp: Namespace, params: Any, before: State, after: State, injection: Injection, exogenous: Any, dt_h: float
) -> Energy:
    """Offered energy comes in, curtailed energy is lost [MWh]."""
    zero = injection.p_mw * 0.0
    return Energy(
        primary_in=after.available_mw * dt_h,
        stored=zero,
        useful_out=zero,
        lost=(after.available_mw - injection.p_mw) * dt_h,
    )


class Plant(DeviceAgent):
    """A plant that delivers a share of what nature offers, where it may be curtailed, and reactive power."""

    default_policy = "mppt"
    ranges = {"p_share": (0.0, "p_share_max"), "q_mvar": ("-q_max_mvar", "q_max_mvar")}
    reading_ranges = {"p_mw": (0.0, "p_max_mw"), "p_available_mw": (0.0, "p_max_mw")}
    State, Command = State, Command
    failed, readings = staticmethod(failed), staticmethod(readings)
    rule, energy = staticmethod(rule), staticmethod(energy)
