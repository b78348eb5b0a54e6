"""Generic medium-voltage grid of the Upper Rhine."""

from __future__ import annotations

from powergrid.networks.network import Network
from powergrid.networks.published import published
from powergrid.plugins.registries import register_network

SOURCE = (
    "generic German distribution network made from open data for a study of optimal topology, as shipped "
    "with pandapower: L. Thurner and others, pandapower, IEEE Transactions on Power Systems 33(6), 2018, "
    "doi:10.1109/TPWRS.2018.2829021"
)


@register_network("mv_oberrhein")
def mv_oberrhein(*, source_v_pu: float | None = None, load_scale: float = 1.0) -> Network:
    """Generic medium-voltage grid of the Upper Rhine, 110/20 kV: 179 buses, two substations, rings open, much PV.

    Two sources, so that the two halves may be joined by closing a switch.

    Parameters
    ----------
    source_v_pu
        Voltage of the first source [pu]; by default the published one.
    load_scale
        Factor on every load; generation stays as published [1].

    Notes
    -----
    Source: generic German distribution network made from open data for a study of optimal topology, as shipped
    with pandapower: L. Thurner and others, pandapower, IEEE Transactions on Power Systems 33(6), 2018,
    doi:10.1109/TPWRS.2018.2829021.
    """
    import pandapower.networks

    net = pandapower.networks.mv_oberrhein()
    return published(net, "mv_oberrhein", source=SOURCE, source_v_pu=source_v_pu, load_scale=load_scale)
