"""Networks and random scenarios that the power-flow tests share."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from powergrid.core.types import Control, NodeLoad
from powergrid.networks import Branches, Buses, Loads, Network, Regulators, Shunts, compose, network, scaled

PCC = {"sn_mva": 1.0, "vk_percent": 5.75, "vkr_percent": 0.75}


def odd_network() -> Network:
    """Everything at once: a loop, charging, a phase shift, shunts, a regulator at the source, fused buses.

    Buses 0 (source) and 1 are one node, and so are 5 and 6. The regulator 1-2 has the source at its from end, the
    regulator 7-3 its to end in the loop 3-4-5-3.
    """
    names = tuple(f"b{k}" for k in range(9))
    rows = (  # kind, from, to, r, x, g, b, ratio, shift, rating, closed
        ("switch", 0, 1, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, np.nan, True),
        ("regulator", 1, 2, 0.0, 1e-4, 0.0, 0.0, 1 / 1.03, 0.0, 10.0, True),
        ("line", 2, 7, 0.004, 0.006, 1e-4, 4e-3, 1.0, 0.0, 0.4, True),
        ("regulator", 7, 3, 0.0, 1e-4, 0.0, 0.0, 1 / 0.98, 0.0, 10.0, True),
        ("line", 3, 4, 0.005, 0.007, 0.0, 6e-3, 1.0, 0.0, 0.3, True),
        ("line", 4, 5, 0.006, 0.006, 0.0, 2e-3, 1.0, 0.0, 0.3, True),
        ("line", 5, 3, 0.009, 0.004, 0.0, 0.0, 1.0, 0.0, np.nan, True),
        ("switch", 5, 6, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, np.nan, True),
        ("transformer", 6, 8, 0.01, 0.05, 2e-3, -8e-3, 0.975, 30.0, 1.5, True),
        ("line", 2, 5, 0.01, 0.01, 0.0, 0.0, 1.0, 0.0, 0.3, False),
        ("switch", 8, 4, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, np.nan, False),
    )
    kind, f, t, r, x, g, b, ratio, shift, rating, closed = zip(*rows, strict=True)
    return Network(
        name="odd",
        buses=Buses(names, np.array([12.47] * 8 + [0.48]), ("",) * 9, np.full(9, np.nan), np.full(9, np.nan)),
        branches=Branches(
            tuple(f"{k}_{a}_{c}" for k, a, c in zip(kind, f, t, strict=True)), kind, np.array(f), np.array(t),
            *(np.array(column, float) for column in (r, x, g, b, ratio, shift, rating)), np.array(closed),
        ),
        regulators=Regulators(
            np.array([1, 3]), np.zeros(2), np.full(2, 0.00625), np.full(2, -16.0), np.full(2, 16.0),
            *np.full((8, 2), np.nan),
        ),
        loads=Loads(
            ("at source", "a", "c", "d"), np.array([1, 4, 6, 8]), np.array([0.2, 0.9, 0.5, 0.4]),
            np.array([0.1, 0.3, 0.2, 0.1]),
        ),
        shunts=Shunts(
            ("reactor", "bank", "filter"), np.array([4, 5, 1]), np.array([0.01, 0.0, 0.02]),
            np.array([0.1, -0.4, -0.3]), np.array([False, True, True]),
        ),
        source_bus=0,
        source_v_pu=1.01,
    )  # fmt: skip


def microgrids() -> Network:
    """Three 13-bus microgrids on the 34-bus feeder at half its load: 78 buses, five regulators."""
    grid = scaled(network("ieee34"), load=0.5)
    for k, at in enumerate(("808", "830", "834"), start=1):
        grid = compose(grid, network("ieee13"), at, name=f"mg{k}", transformer=PCC, load_scale=0.2)
    return replace(grid, name="microgrids", source_v_pu=1.04)


BUILDERS = {
    "odd": odd_network,
    "microgrids": microgrids,
    **{name: (lambda name=name: network(name)) for name in ("case33bw", "ieee13", "ieee34", "ieee123")},
}


@pytest.fixture(scope="module", params=BUILDERS)
def grid(request: pytest.FixtureRequest) -> Network:
    """Every network in turn."""
    return BUILDERS[request.param]()


def own_load(grid: Network) -> NodeLoad:
    """The network's own loads by bus."""
    m = len(grid.buses.name)
    return NodeLoad(*(np.bincount(grid.loads.bus, power, m) for power in (grid.loads.p_mw, grid.loads.q_mvar)))


def scenarios(grid: Network, batch: tuple[int, ...], seed: int = 0, *, by_voltage: bool = False) -> tuple:
    """Random loads (a few of them generation), taps, shunts and source voltages; spread the load over ZIP if asked."""
    rng, own = np.random.default_rng(seed), own_load(grid)
    m, k = len(own.p_mw), len(grid.regulators.branch)
    factor = rng.uniform(-0.2, 1.0, (2, *batch, m))
    load = NodeLoad(own.p_mw * factor[0] + 0.001, own.q_mvar * factor[1])
    if by_voltage:
        share = rng.uniform(0.1, 0.4, (4, *batch, m))
        share[..., :2] = 0.0  # at its source, pandapower takes every load as constant power
        p, q = load.p_mw, load.q_mvar
        load = NodeLoad(
            p * (1 - share[0] - share[1]), q * (1 - share[2] - share[3]), p * share[0], q * share[2], p * share[1],
            q * share[3],
        )  # fmt: skip
    control = Control(
        tap_ratio=1 / grid.branches.ratio[grid.regulators.branch] * rng.uniform(0.97, 1.03, (*batch, k)),
        cap_on=rng.integers(0, 2, (*batch, int(np.sum(grid.shunts.switchable)))).astype(float),
        v_source_pu=rng.uniform(0.99, 1.05, batch),
    )
    return load, control


def pick(given: NodeLoad | Control, index: int) -> NodeLoad | Control:
    """One scenario of a batch."""
    return type(given)(*(None if value is None else value[index] for value in given))
