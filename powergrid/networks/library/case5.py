"""PJM 5-bus system."""

from __future__ import annotations

from powergrid.networks.network import Network
from powergrid.networks.published import published
from powergrid.plugins.registries import register_network

SOURCE = (
    "F. Li and R. Bo, Small test systems for power system economic studies, IEEE PES General Meeting "
    "2010, doi:10.1109/PES.2010.5589973, as shipped with pandapower"
)


@register_network("case5")
def case5(*, source_v_pu: float | None = None, load_scale: float = 1.0) -> Network:
    """PJM 5-bus system, 230 kV: 1000 MW, four generator buses, one ring.

    Small enough to follow an auction or an optimal power flow by hand. Two lines carry ratings.

    Parameters
    ----------
    source_v_pu
        Voltage of the first source [pu]; by default the published one.
    load_scale
        Factor on every load; generation stays as published [1].

    Notes
    -----
    Source: F. Li and R. Bo, Small test systems for power system economic studies, IEEE PES General Meeting
    2010, doi:10.1109/PES.2010.5589973, as shipped with pandapower.
    """
    import pandapower.networks

    net = pandapower.networks.case5()
    return published(net, "case5", source=SOURCE, source_v_pu=source_v_pu, load_scale=load_scale)
