"""30-bus transmission system."""

from __future__ import annotations

from powergrid.networks.network import Network
from powergrid.networks.published import published
from powergrid.plugins.registries import register_network

SOURCE = (
    "O. Alsac and B. Stott, Optimal load flow with steady-state security, IEEE Transactions on Power "
    "Apparatus and Systems 93(3), 1974, doi:10.1109/TPAS.1974.293972, in the form of MATPOWER, as shipped "
    "with pandapower"
)


@register_network("case30")
def case30(*, source_v_pu: float | None = None, load_scale: float = 1.0) -> Network:
    """30-bus transmission system, 135 kV: 189.2 MW, six generators, meshed.

    Five generators hold voltages beside the source. Its line ratings are those of Alsac and Stott.

    Parameters
    ----------
    source_v_pu
        Voltage of the first source [pu]; by default the published one.
    load_scale
        Factor on every load; generation stays as published [1].

    Notes
    -----
    Source: O. Alsac and B. Stott, Optimal load flow with steady-state security, IEEE Transactions on Power
    Apparatus and Systems 93(3), 1974, doi:10.1109/TPAS.1974.293972, in the form of MATPOWER, as shipped with
    pandapower.
    """
    import pandapower.networks

    net = pandapower.networks.case30()
    return published(net, "case30", source=SOURCE, source_v_pu=source_v_pu, load_scale=load_scale)
