"""CIGRE medium-voltage distribution benchmark."""

from __future__ import annotations

from powergrid.networks.network import Network
from powergrid.networks.published import published
from powergrid.plugins.registries import register_network

SOURCE = (
    "CIGRE Task Force C6.04.02, Benchmark systems for network integration of renewable and distributed "
    "energy resources, CIGRE Technical Brochure 575, 2014, as shipped with pandapower"
)


@register_network("cigre_mv")
def cigre_mv(*, source_v_pu: float | None = None, load_scale: float = 1.0) -> Network:
    """CIGRE medium-voltage distribution benchmark, 110/20 kV: 44.7 MW on two feeders, ties open.

    European feeders, cable and overhead; the switches of line ends stay as open switches beside extra buses.

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

    net = pandapower.networks.create_cigre_network_mv()
    return published(net, "cigre_mv", source=SOURCE, source_v_pu=source_v_pu, load_scale=load_scale)
