"""Generation and storage that come with a network, as units that follow series of their own."""

from __future__ import annotations

from powergrid.agents.base import Agent
from powergrid.config.build_network import static_series
from powergrid.config.schema import EnvironmentConfig
from powergrid.devices.static_generator import StaticGenerator
from powergrid.networks.kinds import AnyNetwork


def static_units(config: EnvironmentConfig, network: AnyNetwork) -> list[Agent]:
    """Make one unit per static generator or storage of the network with power: ``sgen_<name>``, ``storage_<name>``."""
    static = network.static_generators
    taken = {agent.id for agent in config.agents}
    units: list[Agent] = []
    for series, name, kind, bus, p_mw, q_mvar in zip(static_series(config.network, network), *static, strict=True):
        if not (p_mw or q_mvar):
            continue
        id = f"{'sgen' if kind == 'generator' else kind}_{name}"
        while id in taken:
            id += "_"
        unit = StaticGenerator(id, network.buses.name[bus], p_mw=float(p_mw), q_mvar=float(q_mvar), series=series)
        unit.of_network = True
        taken.add(id)
        units.append(unit)
    return units
