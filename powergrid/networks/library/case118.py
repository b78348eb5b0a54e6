"""IEEE 118-bus transmission system."""

from __future__ import annotations

from powergrid.networks.network import Network
from powergrid.networks.published import published
from powergrid.plugins.registries import register_network

SOURCE = (
    "IEEE 118-bus test case, University of Washington Power Systems Test Case Archive, 1993, in the form "
    "of MATPOWER, as shipped with pandapower"
)


@register_network("case118")
def case118(*, source_v_pu: float | None = None, load_scale: float = 1.0) -> Network:
    """IEEE 118-bus transmission system, 138 and 345 kV: 4242 MW, 53 generators at set voltages beside the source.

    Several generators stand at their reactive limit in the base case.

    Parameters
    ----------
    source_v_pu
        Voltage of the first source [pu]; by default the published one.
    load_scale
        Factor on every load; generation stays as published [1].

    Notes
    -----
    Source: IEEE 118-bus test case, University of Washington Power Systems Test Case Archive, 1993, in the form
    of MATPOWER, as shipped with pandapower.
    """
    import pandapower.networks

    net = pandapower.networks.case118()
    return published(net, "case118", source=SOURCE, source_v_pu=source_v_pu, load_scale=load_scale)
