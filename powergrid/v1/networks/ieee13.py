"""v1's 13-bus feeder."""

from __future__ import annotations

from typing import Any

from powergrid.v1.networks.tables import build


def IEEE13Bus(name: str = "") -> Any:
    """IEEE 13 bus feeder as v1 had it: 3.899 MW, behind a 5 MVA transformer at 24.9 kV.

    It differs from the published feeder: load 692 repeats that of 675, 671 has 1115 instead of 1155 kW, the distributed
    load 632-671 and both capacitors are missing, a transformer replaces the regulator and the line 650-632.

    Parameters
    ----------
    name
        Prefix of the element names.

    Returns
    -------
    pandapowerNet
        The net at nominal load.
    """
    return build("ieee13", name)
