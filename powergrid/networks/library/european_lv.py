"""IEEE European low-voltage test feeder."""

from __future__ import annotations

from powergrid.networks.network import Network
from powergrid.networks.published import published
from powergrid.plugins.registries import register_network

SOURCE = (
    "IEEE PES Distribution System Analysis Subcommittee, European Low Voltage Test Feeder, 2015, as "
    "shipped with pandapower"
)


@register_network("european_lv")
def european_lv(*, source_v_pu: float | None = None, load_scale: float = 1.0) -> Network:
    """IEEE European low-voltage test feeder, 11/0.416 kV: 906 buses, 55 houses at their evening peak.

    The balanced equivalent of minute 566: every house's load, of one phase, counts as spread over three.

    Parameters
    ----------
    source_v_pu
        Voltage of the first source [pu]; by default the published one.
    load_scale
        Factor on every load, static generators among them [1].

    Notes
    -----
    Source: IEEE PES Distribution System Analysis Subcommittee, European Low Voltage Test Feeder, 2015, as shipped
    with pandapower.
    """
    import pandapower.networks

    net = pandapower.networks.ieee_european_lv_asymmetric()
    return published(net, "european_lv", source=SOURCE, source_v_pu=source_v_pu, load_scale=load_scale)
