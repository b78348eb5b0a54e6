"""Meters that a configuration does not name: every unit of energy passes exactly one that charges for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from powergrid.agents.base import Agent
from powergrid.agents.device_agent import DeviceAgent
from powergrid.agents.grid_agent import GridAgent
from powergrid.devices.grid_connection import GridConnection
from powergrid.engine.assembly.metering import UNIT, Metering, metering, moving_branches
from powergrid.engine.assembly.ownership import Ownership
from powergrid.networks import terminals


def add_meters(
    tariff: Any, network: Any, agents: Sequence[Agent], ownership: Ownership, outages: Sequence[Any] = ()
) -> list[Agent]:
    """Meters at the connection of each area, and at each device that no meter of its own account measures first.

    Meters that say nothing of their tariff take the document's, `tariff`. Plain Python devices that pay
    `electricity_price` themselves need none, nor does generation that came with the network. The new meters have their
    parents, but are not among `agents` yet.

    Raises
    ------
    NetworkError
        If a metered branch does not separate what lies behind it from the source.
    """
    units = [
        agent
        for agent in agents
        if isinstance(agent, DeviceAgent) and agent.role == "injection" and not agent.of_network
    ]
    nodes = {unit.id: terminals.device_nodes(network, unit) for unit in units}
    moving = moving_branches(network, agents, outages)
    meters = [agent for agent in agents if isinstance(agent, GridConnection)]
    configured = len(meters)

    def measured() -> tuple[Metering, dict[str, str | None]]:
        found = metering(network, [meter.bus for meter in meters], nodes, moving)
        return found, {meter.bus: ownership.payer(meter) for meter in meters}

    found, payer = measured()
    for area in [agent for agent in agents if isinstance(agent, GridAgent) and agent.area]:
        place = f"{area.area}.pcc"
        rows = terminals.branch_rows(network, place)
        around = found.of_node[network.branches.to_bus[rows[0]]] if rows else -1
        if place not in payer and (around < 0 or payer[found.places[around]] != ownership.payer(area)):
            meters.append(_meter(area, place))
    found, payer = measured()
    for unit in units:
        first = found.of_unit[unit.id]
        if first >= 0 and found.places[first] == UNIT + unit.id:
            continue
        if first >= 0 and payer[found.places[first]] == ownership.payer(unit):
            continue
        if unit.pays_for_energy():
            unit.own_bill = True
        else:
            meters.append(_meter(unit, UNIT + unit.id))
    _settle(meters, tariff)
    return list(meters[configured:])


def _meter(owner: Agent, place: str) -> GridConnection:
    meter = GridConnection(f"{owner.id}.meter", place)
    owner.adopt([meter])
    return meter


def _settle(meters: Iterable[GridConnection], tariff: Any) -> None:
    for meter in meters:
        meter.take_tariff(tariff.feed_in_share, tariff.retail_adder)
