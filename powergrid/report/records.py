"""Record of a day as named arrays, for plots, tables and notebooks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from powergrid.agents.base import Agent
from powergrid.core import random
from powergrid.core.errors import RunError
from powergrid.core.files import write_whole
from powergrid.core.npz import ArchiveError, read_npz
from powergrid.engine.layout import Family, Layout
from powergrid.engine.state import Output, State
from powergrid.worlds.export import HasWorld
from powergrid.worlds.residual import with_residual
from powergrid.worlds.simulation import Simulation
from powergrid.worlds.world import World


class Names(NamedTuple):
    """Names of the columns of a :class:`DayRecord`, as arrays of text.

    Attributes
    ----------
    accounts, units, storage, buses, branches, meters, series
        Accounts, injecting units, units with a state of charge, buses, branches, measurements and exogenous series.
    money, costs
        Names of the two ledgers.
    unit_kind, unit_account
        Technology (``"storage"``, ``"generator"``, ``"solar"``, ``"wind"``, ``"load"`` ...) and account of each unit;
        ``""`` without an account.
    storage_account
        Account of each unit with a state of charge.
    """

    accounts: np.ndarray
    units: np.ndarray
    unit_kind: np.ndarray
    unit_account: np.ndarray
    storage: np.ndarray
    storage_account: np.ndarray
    money: np.ndarray
    costs: np.ndarray
    buses: np.ndarray
    branches: np.ndarray
    meters: np.ndarray
    series: np.ndarray


class DayRecord(NamedTuple):
    """One episode from its first to its last tick: ``T`` ticks, powers are means over their tick.

    A record of several days has them as a leading axis of every array but `names` and `dt_h`.

    Attributes
    ----------
    names
        Names of the columns.
    dt_h
        Length of a tick [h], ``()``.
    actions
        In [-1, 1], ``(T, A, k_max)``.
    p_mw, q_mvar
        Injection of every unit into the grid [MW, Mvar], ``(T, units)``.
    soc
        State of charge [1] at reset and after each tick, ``(T + 1, storage)``.
    load_mw
        The network's own load of each account and, last, of no account [MW], consumption positive,
        ``(T, accounts + 1)``.
    measured_mw
        Metered branches, source and metered devices [MW], import positive, ``(T, meters)``.
    metered_mw
        Sum of each account's own meters [MW], import positive; NaN for an account without a meter, ``(T, accounts)``.
    money, costs
        Costs [$] and priced violations [$], ``(T, accounts, names)``.
    transfers
        Money received from peers and utility [$], the utility last, ``(T, accounts + 1)``.
    p2p_bought_mwh, p2p_price_per_mwh, p2p_limit_per_mwh
        Energy bought from peers [MWh] (negative: sold), clearing price and own limit price [$/MWh]; NaN for accounts
        without such a market, ``(T, accounts)``. The price is 0 without trades.
    v_pu
        Voltage of every bus [pu], the last solved one where the flow diverged, ``(T, buses)``.
    loading
        Loading of every branch [%], ``(T, branches)``.
    loss_mw
        Losses of the network [MW], ``(T,)``.
    converged
        Whether the power flow converged, ``(T,)``.
    alive
        False for ticks after physics ended the episode, ``(T,)``.
    series
        Exogenous series, ``(T, series)``.
    """

    names: Names
    dt_h: np.ndarray
    actions: np.ndarray
    p_mw: np.ndarray
    q_mvar: np.ndarray
    soc: np.ndarray
    load_mw: np.ndarray
    measured_mw: np.ndarray
    metered_mw: np.ndarray
    money: np.ndarray
    costs: np.ndarray
    transfers: np.ndarray
    p2p_bought_mwh: np.ndarray
    p2p_price_per_mwh: np.ndarray
    p2p_limit_per_mwh: np.ndarray
    v_pu: np.ndarray
    loading: np.ndarray
    loss_mw: np.ndarray
    converged: np.ndarray
    alive: np.ndarray
    series: np.ndarray

    @property
    def hours(self) -> np.ndarray:
        """Edges of the ticks in hours since the start, ``(T + 1,)``."""
        return np.arange(self.series.shape[-2] + 1) * float(self.dt_h)

    def day(self, row: int) -> DayRecord:
        """One of several days."""
        return DayRecord(self.names, self.dt_h, *(table[row] for table in self[2:]))


Policy = str | np.ndarray | Callable[[np.ndarray], np.ndarray]
"""Name of a local policy, actions ``(days, T, A, k_max)``, or a function from observations ``(days, N)`` to
actions ``(days, A, k_max)``; the numbers of one agent are ``env.observation_slices[agent]`` of the `N`."""


def record_day(env: HasWorld, policy: Policy, *, day: int, seed: int = 0) -> DayRecord:
    """Run one day and record everything.

    The episode is that of ``env.reset(seed=seed, options={"day": day})``. `env` itself does not change.

    Parameters
    ----------
    env
        An environment of :func:`powergrid.make`.
    policy
        Name of a local policy, actions ``(T, A, k_max)``, or a function from observations ``(N,)`` to actions
        ``(A, k_max)``; the numbers of one agent are ``env.observation_slices[agent]`` of the `N`.
    day
        Day of the dataset.
    seed
        Seed of forecast errors and initial states.
    """
    of_days: Policy
    if isinstance(policy, str):
        of_days = policy
    elif callable(policy):
        function = policy
        of_days = lambda observation: np.asarray(function(observation[0]))[None]  # noqa: E731
    else:
        of_days = np.asarray(policy)[None]
    return record_days(env.world, of_days, days=[day], seeds=[seed]).day(0)


def record_days(world: World, policy: Policy, *, days: Sequence[int], seeds: Sequence[int]) -> DayRecord:
    """Record several days together, each with its own seed; see :func:`record_day`.

    Raises
    ------
    RunError
        If given actions do not fit the environment.
    """
    if isinstance(policy, str):
        world = with_residual(world, None)
    simulation, layout = Simulation(world), world.layout
    keys = random.key_from_seed(np, np.array(seeds, dtype=np.uint64))
    key = random.fold_in(np, keys, np.zeros(len(days), np.int32))
    state, observation, *_ = simulation.reset(key, np.asarray(days, np.int32))
    decide = _decider(simulation, policy, len(days))
    account_meters = _AccountMeters(layout)
    soc, rows = [_soc(layout, state)], []
    alive = np.ones(len(days), bool)
    for tick in range(layout.settings.episode_length):
        actions = decide(tick, state, observation.astype(np.float32))
        now = simulation.exogenous(state).now
        state, output = simulation.step(state, actions)
        rows.append(_row(layout, account_meters, actions, now, state, output, alive))
        soc.append(_soc(layout, state))
        observation, alive = output.observation, alive & ~output.done
    tables = {name: np.stack([row[name] for row in rows], 1) for name in rows[0]}
    return DayRecord(names=names_of(world), dt_h=np.array(layout.settings.dt_h), soc=np.stack(soc, 1), **tables)


def _decider(simulation: Simulation, policy: Policy, days: int) -> Callable[[int, State, np.ndarray], np.ndarray]:
    if isinstance(policy, str):
        from powergrid.plugins.registries import POLICIES

        rule = POLICIES.get(policy)
        # float32, as a recorded trajectory holds them: a replay then repeats the same numbers
        return lambda tick, state, observation: simulation.decide(state, rule).astype(np.float32)
    if callable(policy):
        function = policy
        return lambda tick, state, observation: np.asarray(function(observation), np.float32)
    layout = simulation.layout
    actions = np.asarray(policy, np.float32)
    wanted = (days, layout.settings.episode_length, len(layout.actors), layout.action_size)
    if actions.shape != wanted:
        raise RunError(
            f"actions of shape {actions.shape} do not fit the configuration, which needs {wanted}: days, ticks, agents "
            "and numbers per agent; evaluate the run again"
        )
    return lambda tick, state, observation: actions[:, tick]


class _AccountMeters:
    """Sum of the meters of each account."""

    def __init__(self, layout: Layout):
        count = len(layout.accounts)
        self.place, self.account = np.zeros(0, int), np.zeros(0, int)
        for family in layout.families:
            if family.kernel.role == "meter":
                owned = family.account >= 0
                self.place = np.append(self.place, family.paid[owned])
                self.account = np.append(self.account, family.account[owned])
        self.onto = (self.account[:, None] == np.arange(count)).astype(float)

    def __call__(self, measured_mw: np.ndarray) -> np.ndarray:
        total: np.ndarray = measured_mw[..., self.place] @ self.onto
        return np.where(self.onto.any(0), total, np.nan)


def _row(
    layout: Layout,
    account_meters: _AccountMeters,
    actions: np.ndarray,
    now: np.ndarray,
    state: State,
    output: Output,
    alive: np.ndarray,
) -> dict[str, np.ndarray]:
    """Results of one tick, days first."""
    bought, price, limit = _trades(layout, state, len(alive))
    live = alive[:, None, None]
    return {
        "actions": actions,
        "p_mw": output.p_mw,
        "q_mvar": output.q_mvar,
        "load_mw": now[..., layout.grid.load_series] @ layout.ledger.load_to_account,
        "measured_mw": output.measured_mw,
        "metered_mw": account_meters(output.measured_mw),
        "money": np.where(live, output.money, 0.0),
        "costs": np.where(live, output.costs, 0.0),
        "transfers": np.where(alive[:, None], output.transfers, 0.0),
        "p2p_bought_mwh": bought,
        "p2p_price_per_mwh": price,
        "p2p_limit_per_mwh": limit,
        "v_pu": np.sqrt(state.v_re**2 + state.v_im**2),
        "loading": output.flow.loading,
        "loss_mw": output.flow.loss_mw,
        "converged": output.flow.converged,
        "alive": alive,
        "series": now[..., : len(layout.columns.series)],
    }


def _soc(layout: Layout, state: State) -> np.ndarray:
    columns = [device.soc for device in state.devices if "soc" in getattr(device, "_fields", ())]
    return np.concatenate(columns, -1) if columns else np.zeros((*state.tick.shape, 0))


def _trades(layout: Layout, state: State, days: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Energy bought, price and limit of each account in the markets of its peers."""
    bought, price, limit = (np.full((days, len(layout.accounts)), np.nan) for _ in range(3))
    for layer, own in zip(layout.coordination.layers, state.layers, strict=True):
        channels = zip(layer.added.channels, layer.channels, strict=True)
        trades = layer.protocol.trades(own, {channel.name: state.signals[:, at] for channel, at in channels})
        if trades is not None:
            members = layer.accounts[:-1]
            bought[:, members], price[:, members], limit[:, members] = trades
    return bought, price, limit


def names_of(world: World) -> Names:
    """Names of all columns in a record of this world."""
    layout, network = world.layout, world.network
    agents = {agent.id: agent for agent in world.agents}
    families = [layout.families[i] for i in layout.injecting]
    stores = [family for family in layout.families if "soc" in getattr(_state_type(family), "_fields", ())]
    return Names(
        accounts=_text(layout.accounts),
        units=_text(layout.units),
        unit_kind=_text([technology(agents[id]) for family in families for id in family.ids]),
        unit_account=_owners(layout, families),
        storage=_text([id for family in stores for id in family.ids]),
        storage_account=_owners(layout, stores),
        money=_text(layout.ledger.money_names),
        costs=_text(layout.ledger.cost_names),
        buses=_text(network.buses.name),
        branches=_text(network.branches.name),
        meters=_text(layout.meters.names),
        series=_text(layout.columns.series),
    )


_BY_CLASS = {"SolarPlant": "solar", "WindTurbine": "wind"}


def technology(agent: Agent) -> str:
    """``"solar"`` or ``"wind"`` according to settings or device class, else the class name in lower case."""
    kind, name = getattr(getattr(agent, "settings", None), "kind", None), type(agent).__name__
    return kind if kind in ("solar", "wind") else _BY_CLASS.get(name, name.lower())


def _state_type(family: Family) -> Any:
    return family.kernel.reset(np, family.params, np.zeros(family.size))


def _owners(layout: Layout, families: Sequence[Family]) -> np.ndarray:
    return _text([layout.accounts[i] if i >= 0 else "" for family in families for i in family.account])


def _text(names: Sequence[str]) -> np.ndarray:
    return np.array(list(names), dtype=np.str_)


def save_record(path: str | Path, record: DayRecord) -> None:
    """Write a record as ``.npz``, completely or not at all, with names under ``names/<field>`` and without pickles.

    Raises
    ------
    RunError
        If the file cannot be written.
    """
    arrays = {f"names/{field}": value for field, value in record.names._asdict().items()}
    arrays.update({field: getattr(record, field) for field in DayRecord._fields[1:]})
    write_whole(Path(path), lambda file: np.savez_compressed(file, **arrays))


def load_record(path: str | Path) -> DayRecord:
    """Read a file of :func:`save_record`.

    Raises
    ------
    RunError
        If the file is missing or is no record.
    """
    try:
        fields = [*(f"names/{field}" for field in Names._fields), *DayRecord._fields[1:]]
        stored = read_npz(path, fields)
    except FileNotFoundError as error:
        raise RunError(f"{path}: there is no such record") from error
    except (ArchiveError, OSError) as error:
        raise RunError(f"{path}: this is not a record of a day ({error})") from error
    names = Names(*(stored[field] for field in fields[: len(Names._fields)]))
    return DayRecord(names, *(stored[field] for field in fields[len(Names._fields) :]))
