"""33-bus distribution system of Baran and Wu."""

from __future__ import annotations

from dataclasses import replace

from powergrid.networks.layout import tree_layout
from powergrid.networks.network import Network
from powergrid.plugins.registries import register_network


@register_network("case33bw")
def case33bw(*, source_v_pu: float | None = None, load_scale: float = 1.0) -> Network:
    """33-bus distribution system of Baran and Wu, 12.66 kV: 3.715 MW and 2.300 Mvar, five open ties.

    Bus names count from 0, as in pandapower; the lines carry no current ratings.

    Parameters
    ----------
    source_v_pu
        Source voltage [pu]; by default 1.0.
    load_scale
        Factor on every load [1].

    Returns
    -------
    Network
        The balanced network as published.

    Notes
    -----
    Source: M. E. Baran and F. F. Wu, "Network reconfiguration in distribution systems for loss reduction and load
    balancing", IEEE Transactions on Power Delivery 4(2), 1989, doi:10.1109/61.25627, as shipped with pandapower.
    """
    import pandapower.networks

    network = Network.from_pandapower(pandapower.networks.case33bw(), name="case33bw")
    loads, branches = network.loads, network.branches
    x, y = tree_layout(network)  # pandapower's coordinates cross
    return replace(
        network,
        buses=network.buses._replace(x=x, y=y),
        loads=loads._replace(p_mw=loads.p_mw * load_scale, q_mvar=loads.q_mvar * load_scale),
        # pandapower writes 99999 kA where the publication states no limit.
        branches=branches._replace(rating=branches.rating * float("nan")),
        source_v_pu=network.source_v_pu if source_v_pu is None else source_v_pu,
        source_note="Baran and Wu, IEEE Transactions on Power Delivery 4(2), 1989, doi:10.1109/61.25627",
    )
