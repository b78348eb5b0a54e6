"""Networks that pandapower ships, with the options that every network of the library has."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from powergrid.networks.compose_tables import scaled
from powergrid.networks.layout import apart, radial_layout
from powergrid.networks.network import Network
from powergrid.networks.pandapower_options import PandapowerNet

NO_LIMIT_MVA = 9000.0
"""pandapower writes ratings of this size and more where a publication states none [MVA]."""


def published(
    pp_net: PandapowerNet,
    name: str,
    *,
    source: str,
    source_v_pu: float | None,
    load_scale: float,
    tree: bool = False,
    upside_down: bool = False,
) -> Network:
    """Convert a shipped net.

    Parameters
    ----------
    pp_net
        The pandapower net.
    name
        Registered name.
    source
        Where its figures were published.
    source_v_pu
        Voltage of the first source [pu]; ``None`` keeps the published one.
    load_scale
        Factor on every load; generation stays as published [1].
    tree
        True draws it as a tree around its source instead of at the shipped coordinates.
    upside_down
        True turns the shipped coordinates over, so that the source stands above.
    """
    network = scaled(Network.from_pandapower(pp_net, name=name), load=load_scale)
    branches, buses = network.branches, network.buses
    line = np.array([kind == "line" for kind in branches.kind], bool)
    mva = branches.rating * np.where(line, np.sqrt(3.0) * buses.vn_kv[branches.from_bus], 1.0)
    if tree:
        x, y = radial_layout(network)
    else:
        x, y = apart(network, buses.x, -buses.y if upside_down else buses.y)
    buses = buses._replace(x=x, y=y)
    return replace(
        network,
        buses=buses,
        branches=branches._replace(rating=np.where(mva > NO_LIMIT_MVA, np.nan, branches.rating)),
        source_v_pu=network.source_v_pu if source_v_pu is None else source_v_pu,
        source_note=source,
    )
