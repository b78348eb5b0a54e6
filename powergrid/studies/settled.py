"""Taps at which the relays of a network's voltage regulators come to rest."""

from __future__ import annotations

from typing import Any

import numpy as np

from powergrid.core.errors import NetworkError
from powergrid.core.types import Control
from powergrid.devices.regulator import Regulator
from powergrid.networks.kinds import Kind
from powergrid.networks.regulation import (
    ROUNDS,
    regulator_units,
    relay_settings,
    relays_of,
    steps_taken,
    upstream,
    with_taps,
)
from powergrid.plugins.registries import register_study
from powergrid.powerflow import method as powerflow_method


@register_study("settled")
def settled(network: Kind, *, gang: bool | None = None, method: str = "auto", tol_pu: float = 1e-8) -> Kind:
    """The network with its regulators where their published relays bring them, under its own loads.

    They start from the network's own taps and step upstream first until every relay reads inside its band or stands at
    the end of its range.

    Parameters
    ----------
    network
        A network whose regulators' relay settings are known.
    gang
        Whether the phases of each three-phase regulator move together, led by the relay of its first phase; ``None``
        follows the network's own ``regulators.gang``.
    method, tol_pu
        As in ``network.power_flow``.

    Raises
    ------
    NetworkError
        If a relay's settings are not known, the flow does not converge, or the relays do not come to rest.
    """
    regulators, names = network.regulators, network.branches.name
    if not len(regulators.branch):
        return network
    units = regulator_units(network, gang)
    unit_of, rows = np.empty(len(regulators.branch), int), [unit[0] for unit in units]
    for number, unit in enumerate(units):
        unit_of[list(unit)] = number
    agents = []
    for row in rows:
        name = names[regulators.branch[row]]
        given: dict[str, Any] = relay_settings(network, row)
        if not given:
            raise NetworkError(f'"{network.name}": the relay settings of regulator "{name}" are not known')
        given |= {key: float(getattr(regulators, key)[row]) for key in ("step_pu", "tap_min", "tap_max")}
        agents.append(Regulator(name, name, tap_init=float(regulators.tap[row]), **given))
    params = Regulator.Params(*np.array([agent.params() for agent in agents], float).T)
    relays = relays_of(network, rows, [agent.settings for agent in agents])
    assert relays is not None, "known settings hold a ratio of the potential transformer"
    above = upstream(network)[np.ix_(rows, rows)]
    solver = powerflow_method(method, network)
    plan, load = solver.plan(network, tol_pu=tol_pu), network.node_load()
    state, start = Regulator.reset(np, params, np.zeros(len(rows))), None
    for _ in range(ROUNDS):
        ratio = Regulator.ratio(params, state)
        start = solver.solve(plan, load, Control(tap_ratio=ratio[unit_of]), start)
        if not start.converged:
            raise NetworkError(f'"{network.name}" has no power flow at taps {state.tap.tolist()}')
        reading = relays.read(np, np.asarray(start.v_re, float), np.asarray(start.v_im, float), ratio)
        wanted = Regulator.wanted_steps(np, params, state, reading, np.full(len(rows), np.inf))
        if not wanted.any():
            return with_taps(network, state.tap[unit_of])
        state = Regulator.moved(np, state, steps_taken(np, wanted, np.abs(wanted) @ above))
    raise NetworkError(f'"{network.name}": its regulators do not come to rest; the last taps are {state.tap.tolist()}')


def controlled(network: Kind, control: str, method: str, tol_pu: float) -> Kind:
    """The network as it is (``"fixed"``) or :func:`settled` (``"local"``).

    Raises
    ------
    NetworkError
        If `control` is neither.
    """
    if control == "fixed":
        return network
    if control == "local":
        return settled(network, method=method, tol_pu=tol_pu)
    raise NetworkError(f'network "{network.name}": control must be "fixed" or "local", not "{control}"')
