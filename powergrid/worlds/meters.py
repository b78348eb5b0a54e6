"""Meters that a configuration does not name: every unit of energy passes exactly one meter that charges for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from powergrid.agents.base import Agent
from powergrid.agents.device_agent import DeviceAgent
from powergrid.agents.grid_agent import GridAgent
from powergrid.config.schema import TariffConfig
from powergrid.core.errors import ConfigError, Issue
from powergrid.devices.grid_connection import GridConnection
from powergrid.engine.assembly.metering import UNIT, Metering, metering, moving_branches
from powergrid.engine.assembly.ownership import Ownership
from powergrid.engine.switching import Outage
from powergrid.networks import terminals
from powergrid.networks.kinds import AnyNetwork


def add_meters(
    tariff: TariffConfig,
    network: AnyNetwork,
    agents: Sequence[Agent],
    ownership: Ownership,
    outages: Sequence[Outage] = (),
    file: str = "",
) -> list[Agent]:
    """Make meters at the connection of each area, and at each device that no meter of its own account measures first.

    Meters without a tariff of their own get `tariff`. Plain Python devices that pay `electricity_price` themselves need
    no meter, and generation of the network needs none. The new meters have their parents, but are not in `agents`.

    Parameters
    ----------
    tariff
        Tariff of the configuration.
    network
        The network.
    agents
        All agents, meters of the configuration among them.
    ownership
        Which account pays at a meter.
    outages
        Branches that may fail.
    file
        Name of the tariff in a file that stands for `tariff`; empty for none.

    Returns
    -------
    list[Agent]
        The new meters.

    Raises
    ------
    NetworkError
        If a metered branch does not separate what lies behind it from the source.
    ConfigError
        If a meter has a tariff, and a market on the network settles its energy.
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
        reading = metering(network, [meter.bus for meter in meters], nodes, moving)
        return reading, {meter.bus: ownership.payer(meter) for meter in meters}

    reading, payer = measured()
    for area in [agent for agent in agents if isinstance(agent, GridAgent) and agent.area]:
        place = f"{area.area}.pcc"
        rows = terminals.branch_rows(network, place)
        around = reading.of_node[network.branches.to_bus[rows[0]]] if rows else -1
        if place not in payer and (around < 0 or payer[reading.places[around]] != ownership.payer(area)):
            meters.append(_meter(area, place))
    reading, payer = measured()
    for unit in units:
        first = reading.of_unit[unit.id]
        if first >= 0 and reading.places[first] == UNIT + unit.id:
            continue
        if first >= 0 and payer[reading.places[first]] == ownership.payer(unit):
            continue
        if unit.pays_for_energy():
            unit.own_bill = True
        else:
            meters.append(_meter(unit, UNIT + unit.id))
    _settle(meters, tariff, ownership, file)
    return list(meters[configured:])


def _meter(owner: Agent, place: str) -> GridConnection:
    meter = GridConnection(f"{owner.id}.meter", place)
    owner.adopt([meter])
    return meter


def _settle(meters: Iterable[GridConnection], tariff: TariffConfig, ownership: Ownership, file: str) -> None:
    """Set the tariff of meters that have none of their own.

    Who trades on the network pays its prices alone: the market price of the data stands for those that are not known
    yet, such as the price at which stored energy is settled.
    """
    for meter in meters:
        if ownership.payer(meter) not in ownership.on_network and file and not meter.has_tariff:
            meter.take_file(file)
        elif ownership.payer(meter) not in ownership.on_network:
            meter.take_tariff(tariff.feed_in_share, tariff.retail_adder)
        elif meter.has_tariff:
            message = f'the tariff of meter "{meter.id}" has no effect: a market on the network settles its energy'
            raise ConfigError([Issue("agents", message, "leave the tariff out")])
        else:
            meter.take_tariff(1.0, 0.0)
