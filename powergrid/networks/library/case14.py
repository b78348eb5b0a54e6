"""IEEE 14-bus test case."""

from __future__ import annotations

from powergrid.networks.network import Network
from powergrid.networks.published import published
from powergrid.plugins.registries import register_network

SOURCE = (
    "University of Washington, Power Systems Test Case Archive, 14 bus power flow test case, in the form "
    "of MATPOWER, as shipped with pandapower"
)


@register_network("case14")
def case14(*, source_v_pu: float | None = None, load_scale: float = 1.0) -> Network:
    """IEEE 14-bus test case, 135 kV: 259 MW, a part of the American Midwest as of 1962.

    Four generators hold voltages beside the source; three transformers off their nominal ratio. No branch has a rating.

    Parameters
    ----------
    source_v_pu
        Voltage of the first source [pu]; by default the published one.
    load_scale
        Factor on every load; generation stays as published [1].

    Notes
    -----
    Source: University of Washington, Power Systems Test Case Archive, 14 bus power flow test case, in the form of
    MATPOWER, as shipped with pandapower.
    """
    import pandapower.networks

    net = pandapower.networks.case14()
    return published(net, "case14", source=SOURCE, source_v_pu=source_v_pu, load_scale=load_scale)
