"""Microgrids on a utility feeder."""

from __future__ import annotations

from dataclasses import replace

from powergrid.core.errors import NetworkError
from powergrid.networks.compose import compose, scaled
from powergrid.networks.network import Network
from powergrid.networks.regulation import settled
from powergrid.plugins.registries import register_network

PLACES = ("808", "830", "834", "816", "854", "860")
"""Buses of the utility feeder in the order in which microgrids take them, the first three in three regulator zones."""

PCC = {"sn_mva": 1.0, "vk_percent": 5.75, "vkr_percent": 0.75}
"""Each microgrid's transformer [MVA, %]."""


@register_network("microgrid_park")
def microgrid_park(*, microgrids: int = 3, source_v_pu: float = 1.04, load_scale: float = 1.0) -> Network:
    """IEEE 34 feeder with IEEE 13 feeders as microgrids ``mg1``, ``mg2`` ..., each behind a transformer of 1 MVA.

    The utility's own load is a quarter of the published one, the microgrids together draw 45 % of one published IEEE 13
    feeder (at most 15 % each): as much as the feeder carries without any generation. The regulators stand where their
    published relays bring them under these loads.

    Parameters
    ----------
    microgrids
        How many, 1 to 6.
    source_v_pu
        Voltage of the utility's source [pu].
    load_scale
        Factor on every load [1].

    Raises
    ------
    NetworkError
        If there is no place for so many microgrids.

    Notes
    -----
    Source: composed of the IEEE PES 34 and 13 node test feeders; see :func:`ieee34` and :func:`ieee13`.
    """
    from powergrid.networks import network

    if not 1 <= microgrids <= len(PLACES):
        raise NetworkError(f"microgrid_park holds 1 to {len(PLACES)} microgrids, not {microgrids}")
    park = scaled(network("ieee34", source_v_pu=source_v_pu), load=0.25)
    for k, at in enumerate(PLACES[:microgrids], start=1):
        share = 0.45 / max(microgrids, 3)
        park = compose(park, network("ieee13"), at, name=f"mg{k}", transformer=PCC, load_scale=share)
    park = settled(scaled(park, load=load_scale))
    return replace(park, name="microgrid_park", source_note="IEEE 34 and 13 node test feeders")
