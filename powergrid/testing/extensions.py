"""Examiners of networks, datasets, policies and protocols."""

from __future__ import annotations

from typing import Any

import numpy as np

from powergrid.core import random
from powergrid.core.backend import jax_float64, jax_numpy
from powergrid.core.errors import PowerGridError
from powergrid.datasets import Dataset
from powergrid.engine.layout import params_of
from powergrid.engine.state import Exogenous
from powergrid.networks import Network, UnbalancedNetwork, network
from powergrid.plugins.registries import DATASETS, POLICIES, PROTOCOLS
from powergrid.worlds.build import build
from powergrid.worlds.simulation import Simulation
from powergrid.worlds.world import World

_BATTERY: dict[str, Any] = {"type": "ESS", "bus": "671", "params": {"capacity_mwh": 1.0, "max_p_mw": 0.25}}
_GENERATOR: dict[str, Any] = {"type": "DG", "bus": "675", "params": {"p_max_mw": 0.4, "marginal_cost_per_mwh": 60.0}}
_TICKS = 8


def check_network(name: str, *, v_min_pu: float = 0.8, v_max_pu: float = 1.2, **options: Any) -> None:
    """Examine a registered network: it is built, has loads, solves, balances, and its voltages lie in a band.

    Parameters
    ----------
    name
        Registered name.
    v_min_pu, v_max_pu
        Band that every bus must lie in [pu].
    **options
        Options of the network.

    Raises
    ------
    AssertionError
        With a sentence that names the network and what is wrong.
    """
    try:
        made = network(name, **options)
        _claim(name, isinstance(made, (Network, UnbalancedNetwork)), f"it gives {type(made).__name__}, not a Network")
        flow = made.power_flow()
    except AssertionError:
        raise
    except Exception as error:  # whatever a stranger's function raises
        raise AssertionError(f"{name}: it cannot be built and solved: {type(error).__name__}: {error}") from error
    _claim(name, flow.converged, "its power flow has no solution; `powergrid explain` says where")
    v_pu = flow.bus["v_pu"].to_numpy()
    worst = int(np.argmax(np.maximum(v_min_pu - v_pu, v_pu - v_max_pu)))
    inside = v_min_pu <= v_pu[worst] <= v_max_pu
    bus = flow.bus["bus"].iloc[worst]
    _claim(name, inside, f'bus "{bus}" is at {v_pu[worst]:.4f} pu, outside [{v_min_pu}, {v_max_pu}]')


def check_dataset(name: str) -> None:
    """Examine a registered dataset: whole days of finite numbers, a price, days to train and to test on.

    Raises
    ------
    AssertionError
        With a sentence that names the dataset, the series and what is wrong.
    """
    try:
        found = DATASETS.get(name)(start=None, end=None, cache_dir=None, download=False)
        _claim(name, isinstance(found, Dataset), f"it gives {type(found).__name__}, not a Dataset")
        columns, table = found.table(900)
    except AssertionError:
        raise
    except Exception as error:  # whatever a stranger's function raises
        raise AssertionError(f"{name}: it cannot be read: {type(error).__name__}: {error}") from error
    for column, values in zip(columns, table.T, strict=True):
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            day, tick = divmod(int(bad[0]), 96)
            raise AssertionError(f'{name}: series "{column}" is {values[bad[0]]} at day {day}, tick {tick}')
    _claim(name, found.sites("price_per_mwh"), f"it has no price_per_mwh; its series are {', '.join(columns)}")
    for split in ("train", "test"):
        _claim(name, len(found.split(split)), f'it has no day in the split "{split}"; it should cover whole weeks')


def check_policy(name: str) -> None:
    """Examine a registered local policy with a battery and a generator: alone, in a batch and on JAX.

    Its slots must be finite and of the right shape, one environment of a batch must be as it would be alone, and JAX
    must give the same to 1e-6.

    Raises
    ------
    AssertionError
        With a sentence that names the policy and what is wrong.
    """
    act = POLICIES.get(name)
    agents = [{"id": "battery_1", **_BATTERY}, {"id": "generator_1", **_GENERATOR}]
    world = _world(agents)
    days = np.arange(4, dtype=np.int32) * 50
    keys = random.key_from_seed(np, np.arange(4))
    batch = _slots(name, act, world, keys, days)
    _claim(name, batch.shape == (4, world.layout.slots.size), f"its slots have shape {batch.shape} in a batch of 4")
    _claim(name, np.isfinite(batch).all(), "its slots are not finite")
    alone = _slots(name, act, world, keys[2], days[2])
    _claim(name, np.allclose(alone, batch[2], atol=1e-12), "one environment of a batch is not what it is alone")
    with jax_float64():
        traced = np.asarray(_slots(name, act, world, keys, days, jax_numpy()))
    gap = np.abs(traced - batch).max()
    _claim(name, gap <= 1e-6, f"JAX and NumPy differ by {gap:.3g}")


def check_protocol(name: str, **params: Any) -> None:
    """Examine a registered protocol: its entries are bounded, and an environment with it runs.

    Raises
    ------
    AssertionError
        With a sentence that names the protocol and what is wrong.
    """
    kind = PROTOCOLS.get(name)
    try:
        protocol = kind(**params)
    except Exception as error:  # whatever a stranger's constructor raises
        raise AssertionError(f"{name}: it cannot be made: {type(error).__name__}: {error}") from error
    what = getattr(protocol, "kind", None)
    _claim(name, what in ("vertical", "horizontal"), f"its kind is {what!r}, not vertical or horizontal")
    for entry in (*protocol.action_entries(), *protocol.observation_entries()):
        bounded = np.isfinite([entry.low, entry.high]).all() and entry.low < entry.high
        _claim(name, bounded, f'entry "{entry.name}" needs finite bounds low < high, has [{entry.low}, {entry.high}]')
    operator: dict[str, Any] = {
        "id": "operator_1",
        "type": "GridCoordinator",
        "policy": "learned",
        "sub_agents": ["battery_1"],
    }
    agents = [{"id": "battery_1", **_BATTERY, "policy": "rule_based"}, operator]
    sections: dict[str, Any] = {"protocols": [{"type": name, "params": params}]}
    if what == "vertical":
        operator["protocol"], sections = {"type": name, "params": params}, {}
    try:
        simulation = Simulation(_world(agents, **sections))
        state, *_ = simulation.reset(random.key_from_seed(np, np.array(0)), np.array(0, np.int32))
        layout = simulation.layout
        for _ in range(_TICKS):
            state, output = simulation.step(state, np.zeros((len(layout.actors), layout.action_size)))
    except Exception as error:  # whatever a stranger's kernels raise
        raise AssertionError(f"{name}: an environment with it fails: {type(error).__name__}: {error}") from error
    _claim(name, np.isfinite(output.money).all(), "its money is not finite")
    gap = float(np.abs(output.transfers.sum(-1)).max())
    _claim(name, gap <= 1e-9, f"its transfers do not sum to zero over all accounts: {gap:.3g} $")


def _world(agents: list[dict[str, Any]], **sections: Any) -> World:
    given = {"episode_length": _TICKS, "time_step": 3600}
    return build({"name": "examined", "network": "ieee13", "agents": agents, "simulation": given, **sections})


def _slots(name: str, act: Any, world: World, key: Any, day: Any, xp: Any = np) -> Any:
    """What a policy decides in the first tick."""
    simulation = Simulation(world)
    state, *_ = simulation.reset(key, day)
    table, row = world.table, state.row
    rows = Exogenous(xp.asarray(table[row]), xp.asarray(table[row + 1]))
    noise = world.noise(np, key, state.tick, np.float64)._replace(
        policy=world.policy_noise(np, key, state.tick, np.float64)
    )
    try:
        return act(
            xp, world.layout, params_of(world.layout, xp), state._replace(slots=xp.asarray(state.slots)), rows, noise
        )
    except PowerGridError:
        raise
    except Exception as error:  # whatever a stranger's policy raises
        where = "NumPy" if xp is np else "JAX"
        raise AssertionError(f"{name}: it fails on {where}: {type(error).__name__}: {error}") from error


def _claim(name: str, holds: Any, sentence: str) -> None:
    if not holds:
        raise AssertionError(f"{name}: {sentence}")
