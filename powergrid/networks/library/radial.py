"""Made-up radial feeders of any size, for studies of scaling."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from powergrid.core.errors import NetworkError
from powergrid.networks.layout import radial_layout
from powergrid.networks.network import Network
from powergrid.networks.tables import BASE_MVA, NO_REGULATORS, NO_SHUNTS, Branches, Buses, Loads
from powergrid.plugins.registries import register_network

VN_KV = 12.47
BUSES_A_FEEDER = 150
MOST_BUSES = 100_000

# Overhead conductors, smallest first: resistance at 50 degree Celsius [ohm/mile], geometric mean radius [ft], current
# limit [A] (W. H. Kersting, "Distribution System Modeling and Analysis", CRC Press, appendix A: ACSR 4, 1/0, 4/0,
# 336,400 and 556,500 circular mil).
R_OHM_PER_MILE = np.array([2.57, 1.12, 0.592, 0.306, 0.1859])
GMR_FT = np.array([0.00437, 0.00446, 0.00814, 0.0244, 0.0313])
LIMIT_A = np.array([140.0, 230.0, 340.0, 530.0, 730.0])
SPACING_FT = 4.5  # geometric mean distance of the phases
MILE_KM = 1.609344
RESERVE = 1.6  # margin of a conductor's rating over its current
MAX_STRETCH = 6.0
"""Longest that a feeder's spans are stretched to reach its voltage drop: 6 times 50 to 250 m."""


class _Tree(NamedTuple):
    """Feeders grown bus by bus; bus 0 is the substation and each bus comes after the one that feeds it.

    Attributes
    ----------
    parent
        Feeding bus of buses 1, 2 ..., ``(n - 1,)``.
    feeder
        Feeder of these buses.
    """

    parent: np.ndarray
    feeder: np.ndarray


@register_network("radial")
def radial(*, n: int = 1000, seed: int = 0, source_v_pu: float = 1.03, load_scale: float = 1.0) -> Network:
    """Made-up radial feeders of any size at 12.47 kV: trunks with laterals, tapering conductors, household loads.

    Feeders of about 150 buses leave one substation, each a trunk whose laterals turn off to both sides. Conductors
    follow the load behind them; the feeders' lengths are such that at base load the end of each lies 3 to 6 % of
    voltage below the substation, less in feeders of a few buses, whose lines stay below 1.5 km. Coordinates are a
    drawing's, not a map's. The same `n` and `seed` give the same network on every machine.

    Parameters
    ----------
    n
        Buses, the source included, 2 to 100,000; time and memory grow in proportion.
    seed
        Which network of this size.
    source_v_pu
        Voltage at the substation [pu].
    load_scale
        Factor on every load [1].

    Raises
    ------
    NetworkError
        If `n` is out of range.

    Notes
    -----
    Source: generated; conductor data from W. H. Kersting, "Distribution System Modeling and Analysis", CRC Press.
    """
    if not 2 <= n <= MOST_BUSES:
        raise NetworkError(f'network "radial": n must lie between 2 and {MOST_BUSES}, not {n}')
    rng = np.random.Generator(np.random.PCG64([seed, n]))
    tree = _grow(n, rng)
    p_mw, q_mvar = _loads(n, rng)
    behind = _behind(tree.parent, p_mw + 1j * q_mvar)
    size = _conductor(np.abs(behind))
    length_km = rng.uniform(0.05, 0.25, n - 1)
    z_per_km = (R_OHM_PER_MILE + 0.12134j * np.log(SPACING_FT / GMR_FT))[size] / MILE_KM / VN_KV**2 * BASE_MVA
    length_km *= _to_drop(tree, (np.conj(z_per_km * length_km) * behind).real, rng)[tree.feeder]
    network = _network(tree, z_per_km * length_km, LIMIT_A[size] / 1000, p_mw, q_mvar, source_v_pu, load_scale, seed)
    x, y = radial_layout(network)
    return replace(network, buses=network.buses._replace(x=x, y=y))


def _grow(n: int, rng: np.random.Generator) -> _Tree:
    """Buses one after the other: on the trunk, at the tip of a lateral, or as a new lateral."""
    feeders = max(1, round((n - 1) / BUSES_A_FEEDER))
    weight = rng.uniform(0.8, 1.2, feeders)
    share = np.diff(np.concatenate([[0], np.round(np.cumsum(weight) / weight.sum() * (n - 1)).astype(int)]))
    choice, pick = rng.random(n - 1), rng.random(n - 1)
    parent = np.zeros(n - 1, int)
    bus = 1
    for count in share.tolist():
        trunk, tips = [0], list[int]()  # of each lateral the bus at its end
        for _ in range(count):
            k = bus - 1
            if len(trunk) == 1 or choice[k] < 0.25:
                parent[k] = trunk[-1]
                trunk.append(bus)
            elif not tips or choice[k] < 0.4:
                parent[k] = trunk[1 + int(pick[k] * (len(trunk) - 1))]
                tips.append(bus)
            else:
                place = int(pick[k] * len(tips))
                parent[k], tips[place] = tips[place], bus
            bus += 1
    return _Tree(parent, np.repeat(np.arange(feeders), share))


def _loads(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Four buses of five carry a load, 40 kW in the median at a power factor of 0.9 to 0.98."""
    p_mw = np.where(rng.random(n - 1) < 0.8, 0.040 * np.exp(rng.normal(0.0, 0.5, n - 1)), 0.0)
    p_mw[-1] = max(p_mw[-1], 0.040)  # never a network without any load
    return p_mw, p_mw * np.tan(np.arccos(rng.uniform(0.9, 0.98, n - 1)))


def _behind(parent: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Power through the line to each bus without losses: its own and that of everything behind it."""
    total = np.concatenate([[0.0], s])
    for k in range(len(parent), 0, -1):
        total[parent[k - 1]] += total[k]
    return total[1:]


def _conductor(s_mva: np.ndarray) -> np.ndarray:
    """Smallest conductor that carries each power with reserve, the largest where none does."""
    needed_a = RESERVE * 1000 * s_mva / (np.sqrt(3.0) * VN_KV)
    chosen: np.ndarray = np.minimum(np.searchsorted(LIMIT_A, needed_a), len(LIMIT_A) - 1)
    return chosen


def _to_drop(tree: _Tree, drop: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Factor on each feeder's lengths that brings its largest voltage drop (linearised) to 3 to 6 %.

    The factor ends at the longest spans, even where the voltage then drops less.
    """
    below = np.zeros(len(drop) + 1)
    for k, parent in enumerate(tree.parent, start=1):
        below[k] = below[parent] + drop[k - 1]
    feeders = int(tree.feeder[-1]) + 1
    largest = np.zeros(feeders)
    np.maximum.at(largest, tree.feeder, below[1:])
    return np.minimum(rng.uniform(0.03, 0.06, feeders) / np.maximum(largest, 1e-12), MAX_STRETCH)


def _network(
    tree: _Tree, z_pu: np.ndarray, rating_ka: np.ndarray, p_mw: np.ndarray, q_mvar: np.ndarray,
    source_v_pu: float, load_scale: float, seed: int,
) -> Network:  # fmt: skip
    n, zero = len(z_pu) + 1, np.zeros(len(z_pu))
    loaded = np.flatnonzero(p_mw)
    names = ("source", *(f"b{k}" for k in range(1, n)))
    return Network(
        name="radial",
        buses=Buses(names, np.full(n, VN_KV), ("",) * n, np.full(n, np.nan), np.full(n, np.nan)),
        branches=Branches(
            name=tuple(f"{names[a]}-{names[k]}" for k, a in enumerate(tree.parent, start=1)), kind=("line",) * (n - 1),
            from_bus=tree.parent, to_bus=np.arange(1, n), r_pu=z_pu.real.copy(), x_pu=z_pu.imag.copy(), g_pu=zero,
            b_pu=zero, ratio=np.ones(n - 1), shift_degree=zero, rating=rating_ka, closed=np.ones(n - 1, bool),
        ),
        regulators=NO_REGULATORS,
        loads=Loads(
            tuple(names[k + 1] for k in loaded), loaded + 1, p_mw[loaded] * load_scale, q_mvar[loaded] * load_scale
        ),
        shunts=NO_SHUNTS,
        source_bus=0,
        source_v_pu=source_v_pu,
        source_note=f"generated, n={n}, seed={seed}; conductors: Kersting, Distribution System Modeling and Analysis",
    )  # fmt: skip
