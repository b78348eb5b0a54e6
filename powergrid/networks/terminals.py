"""Terminals of devices and meters in balanced and three-phase networks."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from powergrid.core.errors import NetworkError, nearest
from powergrid.networks.kinds import AnyNetwork


class Connected(Protocol):
    """A device's place in the network."""

    @property
    def id(self) -> str: ...
    @property
    def bus(self) -> str | None: ...
    @property
    def phases(self) -> str | None: ...


def node_of_place(network: AnyNetwork) -> np.ndarray:
    """Row of ``network.buses`` of every place that a load may have."""
    return network.places if network.is_three_phase else np.arange(len(network.buses.name))


def bus_names(network: AnyNetwork) -> tuple[str, ...]:
    """Names of the buses, each once."""
    return tuple(dict.fromkeys(network.buses.bus)) if network.is_three_phase else tuple(network.buses.name)


def device_nodes(network: AnyNetwork, agent: Connected) -> tuple[int, ...]:
    """Rows of ``network.buses`` that an injecting device is connected to, one per phase.

    Raises
    ------
    NetworkError
        If there is no such bus, or the bus lacks one of the device's phases.
    """
    names = bus_names(network)
    if agent.bus not in names:
        raise NetworkError(f'agent "{agent.id}": no bus "{agent.bus}"; {nearest(str(agent.bus), names)}')
    if not network.is_three_phase:
        return (names.index(agent.bus),)
    here = network.phases_of(agent.bus)
    for phase in agent.phases or "":
        if phase not in here:
            raise NetworkError(f'agent "{agent.id}": bus "{agent.bus}" has no phase {phase}; {has_phases(here)}')
    return tuple(network.bus(f"{agent.bus}.{phase}") for phase in sorted(agent.phases or here))


def has_phases(phases: str) -> str:
    """``"it has a and c"``."""
    return f"it has {' and '.join(phases)}"


def branch_rows(network: AnyNetwork, place: str) -> tuple[int, ...]:
    """Rows of ``network.branches`` that a meter adds up: a branch, or all phases of an element."""
    if network.is_three_phase:
        return network.rows(place)
    names = network.branches.name
    return (names.index(place),) if place in names else ()
