"""Low-voltage village of Kerber."""

from __future__ import annotations

import random

from powergrid.networks.network import Network
from powergrid.networks.published import published
from powergrid.plugins.registries import register_network

SOURCE = (
    "G. Kerber, Aufnahmefaehigkeit von Niederspannungsverteilnetzen fuer die Einspeisung aus "
    "Photovoltaikkleinanlagen, dissertation, TU Muenchen, 2011, as shipped with pandapower"
)


@register_network("kerber_village")
def kerber_village(*, source_v_pu: float | None = None, load_scale: float = 1.0) -> Network:
    """Low-voltage village of Kerber, 10/0.4 kV: 57 households of 6 kW on six cable feeders.

    The usual German test grid for PV and heat pumps in the low-voltage network (Dorfnetz). The two
    lengths of its service lines are drawn by lot, here always the same.

    Parameters
    ----------
    source_v_pu
        Voltage of the first source [pu]; by default the published one.
    load_scale
        Factor on every load; generation stays as published [1].

    Notes
    -----
    Source: G. Kerber, Aufnahmefaehigkeit von Niederspannungsverteilnetzen fuer die Einspeisung aus
    Photovoltaikkleinanlagen, dissertation, TU Muenchen, 2011, as shipped with pandapower.
    """
    import pandapower.networks

    drawn_by_others = random.getstate()  # the order in which lines of two lengths follow each other is drawn by lot
    random.seed(0)
    net = pandapower.networks.create_kerber_dorfnetz()
    random.setstate(drawn_by_others)
    return published(net, "kerber_village", source=SOURCE, source_v_pu=source_v_pu, load_scale=load_scale, tree=True)
