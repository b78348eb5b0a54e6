"""CIGRE high-voltage transmission benchmark."""

from __future__ import annotations

from powergrid.networks.network import Network
from powergrid.networks.published import published
from powergrid.plugins.registries import register_network

SOURCE = (
    "CIGRE Task Force C6.04.02, Benchmark systems for network integration of renewable and distributed "
    "energy resources, CIGRE Technical Brochure 575, 2014, as shipped with pandapower"
)


@register_network("cigre_hv")
def cigre_hv(*, source_v_pu: float | None = None, load_scale: float = 1.0) -> Network:
    """CIGRE high-voltage transmission benchmark, 22 to 380 kV: 1474 MW, three generators beside the source.

    European transmission network with two long 220 kV rings and one 380 kV line.

    Parameters
    ----------
    source_v_pu
        Voltage of the first source [pu]; by default the published one.
    load_scale
        Factor on every load; generation stays as published [1].

    Notes
    -----
    Source: CIGRE Task Force C6.04.02, Benchmark systems for network integration of renewable and distributed
    energy resources, CIGRE Technical Brochure 575, 2014, as shipped with pandapower.
    """
    import pandapower.networks

    net = pandapower.networks.create_cigre_network_hv()
    return published(net, "cigre_hv", source=SOURCE, source_v_pu=source_v_pu, load_scale=load_scale)
