"""v1's 34-bus feeder."""

from __future__ import annotations

from typing import Any

from powergrid.v1.networks.tables import build


def IEEE34Bus(name: str = "") -> Any:
    """IEEE 34 bus feeder as v1 had it: 1.608 MW, regulators at taps 12 and 16, both capacitors off.

    It differs from the published feeder: loads 826, 860 and 846 are smaller, and the line to 838 begins at 860 instead
    of 862.

    Parameters
    ----------
    name
        Prefix of the element names.

    Returns
    -------
    pandapowerNet
        The net at nominal load.
    """
    return build("ieee34", name)
