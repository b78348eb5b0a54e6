"""What plants that follow sun, wind or water share: they deliver a share of what nature offers, behind a converter."""

from __future__ import annotations

from typing import Any, NamedTuple

from powergrid.agents.device_agent import Energy, Outlook
from powergrid.core.types import Array, Entry, Injection
from powergrid.devices._shared import inside, reactive


class State(NamedTuple):
    """Power that nature offered in the last tick [MW]."""

    available_mw: Array


class Command(NamedTuple):
    """Wanted share of the available power [1] and wanted reactive power [Mvar]."""

    p_share: Array
    q_mvar: Array


def reset(xp: Any, params: Any, uniform: Array) -> State:
    """Nothing has been offered yet."""
    return State(uniform * 0.0)


def deliver(xp: Any, params: Any, available_mw: Array, command: Command, share_min: Array | float = 0.0) -> Injection:
    """A share of what is offered, and reactive power within ``p^2 + q^2 <= S^2``."""
    p_mw = available_mw * inside(xp, command.p_share, share_min, 1.0)
    return Injection(p_mw, reactive(xp, params.sn_mva, params.q_share, p_mw, command.q_mvar))


def readings(xp: Any, params: Any, state: Any, injection: Injection) -> tuple[Array, ...]:
    """Delivered and available power."""
    return injection.p_mw, state.available_mw


def rule(xp: Any, params: Any, state: Any, exogenous: Any, outlook: Outlook, dt_h: float) -> Command:
    """Everything that is available, at unity power factor: it costs nothing and the tariff is never negative."""
    zero = outlook.price_per_mwh * 0.0
    return Command(zero + 1.0, zero)


def energy(
    xp: Any, params: Any, before: State, after: State, injection: Injection, exogenous: Any, dt_h: float
) -> Energy:
    """Offered energy comes in, curtailed energy is lost [MWh]."""
    zero = injection.p_mw * 0.0
    return Energy(
        primary_in=after.available_mw * dt_h,
        stored=zero,
        useful_out=zero,
        lost=(after.available_mw - injection.p_mw) * dt_h,
    )


def action_entries(curtailable: bool, sn_mva: float | None) -> dict[str, Entry]:
    """Share of the available power if curtailable, reactive power if the converter is rated for it."""
    entries = {"p_share": Entry("p_share", "1", 0.0, 1.0)} if curtailable else {}
    if sn_mva is not None:
        entries["q_mvar"] = Entry("q", "Mvar", -sn_mva, sn_mva)
    return entries


def observation_entries(limit_mw: float) -> tuple[Entry, ...]:
    """Delivered and available power."""
    return Entry("p", "MW", 0.0, limit_mw), Entry("p_available", "MW", 0.0, limit_mw)
