"""Microgrids on a utility feeder."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from powergrid.core.errors import NetworkError
from powergrid.networks.compose import compose
from powergrid.networks.compose_tables import scaled
from powergrid.networks.network import Network
from powergrid.networks.tables import RELAY_V
from powergrid.plugins.registries import register_network

PLACES = ("808", "830", "834", "816", "854", "860")
"""Buses of the utility feeder in the order in which microgrids take them, the first three in three regulator zones."""

PCC = {"sn_mva": 1.0, "vk_percent": 5.75, "vkr_percent": 0.75}
"""Each microgrid's transformer [MVA, %]."""

FEEDER_PU, MICROGRID_PU = 1.02, 1.0
"""Voltages that the regulators of the feeder and of the microgrids hold [pu]."""


@register_network("microgrid_park")
def microgrid_park(*, microgrids: int = 3, source_v_pu: float = 1.04, load_scale: float = 1.0) -> Network:
    """IEEE 34 feeder at half its load with IEEE 13 feeders as microgrids ``mg1``, ``mg2`` ..., each behind 1 MVA.

    A microgrid draws a fifth of its feeder's published load, 0.69 MW, and has a fifth of its capacitors. Three of them
    draw more than the whole published feeder, whose 50 km of thin conductor would sag to 0.88 pu; so the trunk
    from the substation to the microgrids has one more circuit for every two of them. The regulators stand where a relay
    that holds 1.02 pu on the feeder and 1.00 pu in the microgrids brings them at this load.

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
    places = PLACES[:microgrids]
    feeder = network("ieee34", source_v_pu=source_v_pu, taps="neutral")
    park = _with_circuits(scaled(feeder, load=0.5), places, 1 + (microgrids + 1) // 2)
    guest = scaled(network("ieee13", taps="neutral"), shunt=0.2)
    for k, at in enumerate(places, start=1):
        park = compose(park, guest, at, name=f"mg{k}", transformer=PCC, load_scale=0.2)
    park = replace(scaled(park, load=load_scale), name="microgrid_park", source_note="IEEE 34 and 13 node test feeders")
    return _with_plain_relays(park).settled()


def _with_circuits(feeder: Network, places: tuple[str, ...], circuits: int) -> Network:
    """The feeder with parallel circuits in every line between its source and the places."""
    branches = feeder.branches
    into = dict(zip(branches.to_bus.tolist(), range(len(branches.name)), strict=True))
    trunk = set()
    for place in places:
        bus = feeder.bus(place)
        while bus in into:
            trunk.add(into[bus])
            bus = int(branches.from_bus[into[bus]])
    number = np.ones(len(branches.name))
    number[[k for k in trunk if branches.kind[k] == "line"]] = circuits
    return replace(
        feeder,
        branches=branches._replace(
            r_pu=branches.r_pu / number,
            x_pu=branches.x_pu / number,
            g_pu=branches.g_pu * number,
            b_pu=branches.b_pu * number,
            rating=branches.rating * number,
        ),
    )


def _with_plain_relays(park: Network) -> Network:
    """The park with relays that hold the voltage at the regulator, for the line drops are not the published ones."""
    own, branches = park.regulators, park.branches
    in_microgrid = np.array([bool(park.buses.area[bus]) for bus in branches.to_bus[own.branch]])
    zeros = np.zeros(len(own.branch))
    target_v = np.where(in_microgrid, MICROGRID_PU, FEEDER_PU) * RELAY_V
    ratio = park.buses.vn_kv[branches.to_bus[own.branch]] * 1000 / np.sqrt(3.0) / RELAY_V
    return replace(
        park,
        regulators=own._replace(r_v=zeros, x_v=zeros, v_set_v=target_v, bandwidth_v=zeros + 2.0, pt_ratio=ratio),
    )
