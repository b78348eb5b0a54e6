"""CIGRE low-voltage distribution benchmark."""

from __future__ import annotations

from powergrid.networks.network import Network
from powergrid.networks.published import published
from powergrid.plugins.registries import register_network

SOURCE = (
    "CIGRE Task Force C6.04.02, Benchmark systems for network integration of renewable and distributed "
    "energy resources, CIGRE Technical Brochure 575, 2014, as shipped with pandapower"
)


@register_network("cigre_lv")
def cigre_lv(*, source_v_pu: float | None = None, load_scale: float = 1.0) -> Network:
    """CIGRE low-voltage distribution benchmark, 20/0.4 kV: residential, industrial and commercial feeder, 0.69 MW.

    Three feeders behind a transformer each.

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

    net = pandapower.networks.create_cigre_network_lv()
    return published(net, "cigre_lv", source=SOURCE, source_v_pu=source_v_pu, load_scale=load_scale, upside_down=True)
