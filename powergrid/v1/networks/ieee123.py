"""v1's 123-bus feeder."""

from __future__ import annotations

from typing import Any

from powergrid.v1.networks.tables import build


def IEEE123Bus(name: str = "") -> Any:
    """IEEE 123 bus feeder as v1 had it: 3.490 MW, with idle generators, storages and capacitors.

    It differs from the published feeder: line 149-1 stands twice, and the ties 54-94 and 51-300 are closed. The net
    itself bears no name.

    Parameters
    ----------
    name
        Prefix of the element names.

    Returns
    -------
    pandapowerNet
        The net at nominal load.
    """
    return build("ieee123", name, named=False)
