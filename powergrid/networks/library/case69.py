"""69-bus distribution system of Baran and Wu."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import files

import numpy as np

from powergrid.networks.layout import tree_layout
from powergrid.networks.network import Network
from powergrid.networks.tables import BASE_MVA, NO_REGULATORS, NO_SHUNTS, Branches, Buses, Loads
from powergrid.plugins.registries import register_network


@register_network("case69")
def case69(*, source_v_pu: float = 1.0, load_scale: float = 1.0) -> Network:
    """69-bus distribution system of Baran and Wu, 12.66 kV: 3.802 MW and 2.695 Mvar, one third of it at bus 61.

    Bus names count from 1, as published; the lines carry no current ratings.

    Parameters
    ----------
    source_v_pu
        Source voltage [pu].
    load_scale
        Factor on every load [1].

    Notes
    -----
    Source: M. E. Baran and F. F. Wu, "Optimal capacitor placement on radial distribution systems", IEEE Transactions on
    Power Delivery 4(1), 1989, doi:10.1109/61.19265. The known solution: 225.0 kW of losses, 0.9092 pu at bus 65.
    """
    text = files("powergrid.networks").joinpath("data", "case69.json").read_text(encoding="utf-8")
    data = json.loads(text)
    first, second, r_ohm, x_ohm = np.array(data["lines"][1:], float).T  # the first row names the columns
    at, p_kw, q_kvar = np.array(data["loads"][1:], float).T
    count = len(first)
    ohm_base, zero, nan = data["vn_kv"] ** 2 / BASE_MVA, np.zeros(count), np.full(count + 1, np.nan)
    names = tuple(str(bus) for bus in range(1, count + 2))
    ends = [(int(a) - 1, int(b) - 1) for a, b in zip(first, second, strict=True)]
    network = Network(
        name="case69",
        buses=Buses(names, np.full(count + 1, data["vn_kv"]), ("",) * (count + 1), nan, nan),
        branches=Branches(
            name=tuple(f"{names[a]}-{names[b]}" for a, b in ends), kind=("line",) * count,
            from_bus=np.array([a for a, _ in ends]), to_bus=np.array([b for _, b in ends]),
            r_pu=r_ohm / ohm_base, x_pu=x_ohm / ohm_base, g_pu=zero, b_pu=zero, ratio=np.ones(count),
            shift_degree=zero, rating=np.full(count, np.nan), closed=np.ones(count, bool),
        ),
        regulators=NO_REGULATORS,
        loads=Loads(
            tuple(names[int(bus) - 1] for bus in at), at.astype(int) - 1, p_kw * load_scale / 1000,
            q_kvar * load_scale / 1000,
        ),
        shunts=NO_SHUNTS,
        source_bus=0,
        source_v_pu=source_v_pu,
        source_note=data["source"],
    )  # fmt: skip
    x, y = tree_layout(network)
    return replace(network, buses=network.buses._replace(x=x, y=y))
