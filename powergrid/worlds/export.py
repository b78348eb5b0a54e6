"""An episode as data: all that an optimiser needs to compute the perfect-foresight optimum of the very same day."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from powergrid.agents.device_agent import LinearDevice
from powergrid.core import random
from powergrid.core.errors import NetworkError
from powergrid.core.types import Injection
from powergrid.engine.layout import Family, Layout
from powergrid.networks.terminals import node_of_place
from powergrid.worlds.seeds import checked_seed
from powergrid.worlds.simulation import Simulation
from powergrid.worlds.world import World


class Feeder(NamedTuple):
    """The network with what stands on it.

    Attributes
    ----------
    network
        The network's columns.
    load_p_mw, load_q_mvar
        The network's own loads by bus [MW, Mvar], ``(ticks, m)``.
    unit_bus
        Bus name of each device.
    """

    network: Any
    load_p_mw: np.ndarray
    load_q_mvar: np.ndarray
    unit_bus: Mapping[str, str]


class Meter(NamedTuple):
    """A meter at which an account pays for energy.

    Attributes
    ----------
    name
        Place of the meter: a branch, ``"source"`` or a device.
    account
        Who pays.
    units
        Devices behind it and behind no meter further on: each device is behind one meter.
    load_mw
        The network's own load that no meter further on reads [MW], ``(ticks,)``.
    retail_per_mwh, feed_in_per_mwh
        Its tariff [$/MWh], ``(ticks,)``.
    market
        Name of the market whose members may trade what this meter reads; ``""`` if there is none.
    """

    name: str
    account: str
    units: tuple[str, ...]
    load_mw: np.ndarray
    retail_per_mwh: np.ndarray
    feed_in_per_mwh: np.ndarray
    market: str


class Prices(NamedTuple):
    """What energy costs.

    Attributes
    ----------
    meters
        All meters at which energy is paid for.
    settlement_per_mwh
        Price of the energy that a device has more or less at the end than at the start [$/MWh], by device; 0 of those
        that hold nothing.
    """

    meters: tuple[Meter, ...]
    settlement_per_mwh: Mapping[str, float]


class Weights(NamedTuple):
    """Limits and prices of violations, and how money and violations become a reward.

    Attributes
    ----------
    v_min_pu, v_max_pu
        Voltage band [pu].
    voltage_per_pu_h, overload_per_percent_h, unserved_per_mwh
        Prices of violations [$/(pu bus h), $/(% h), $/MWh].
    reward_scale, safety_scale, max_penalty
        Factor on money and on priced violations [1/$], and the largest penalty of a tick.
    """

    v_min_pu: float
    v_max_pu: float
    voltage_per_pu_h: float
    overload_per_percent_h: float
    unserved_per_mwh: float
    reward_scale: float
    safety_scale: float
    max_penalty: float


class EpisodeData(NamedTuple):
    """One episode as an optimiser sees it.

    Attributes
    ----------
    dt_h
        Length of a tick [h].
    network
        The network, its own loads, and where devices stand.
    linear
        Linear model of each device that has one; the energy at the start is that of this episode.
    exogenous
        Series by name, ``(ticks,)``.
    initial_state
        State of each device at the start, one NamedTuple of numbers a device.
    prices
        Meters with their tariffs, and the settlement at the end.
    weights
        Limits and prices of violations.
    accounts
        Whoever pays, agents that act first: of what they pay and what violations cost them nothing is left out.
    """

    dt_h: float
    network: Feeder
    linear: Mapping[str, LinearDevice]
    exogenous: Mapping[str, np.ndarray]
    initial_state: Mapping[str, Any]
    prices: Prices
    weights: Weights
    accounts: tuple[str, ...] = ()


def export_episode(env: Any, day: int, seed: int = 0) -> EpisodeData:
    """Data of the episode that ``env.reset(seed=seed, options={"day": day})`` starts.

    Parameters
    ----------
    env
        An environment, or the :class:`~powergrid.worlds.world.World` it is made of.
    day
        Day of the dataset.
    seed
        Seed of the episode; it decides the state of devices that start at random.

    Raises
    ------
    NetworkError
        If branches switch or fail: what a meter reads is then not the balance of what lies behind it.
    """
    world: World = getattr(env, "world", env)
    if world.layout.switching is not None:
        raise NetworkError("the episode has switches or outages, under which meters read no fixed part of the network")
    layout = world.layout
    table, ticks = world.table, layout.settings.episode_length
    rows = table[day * world.ticks_per_day + np.arange(ticks)][:, : len(layout.columns.series)]
    key = random.fold_in(np, random.key_from_seed(np, np.array(checked_seed(seed), dtype=np.uint64)), np.array(0))
    state, *_ = Simulation(world).reset(key, np.array(day, dtype=np.int32))
    initial: dict[str, Any] = {}
    linear: dict[str, LinearDevice] = {}
    settlement: dict[str, float] = {}
    for family, devices in zip(layout.families, state.devices, strict=True):
        for i, unit in enumerate(family.ids):
            initial[unit] = type(devices)(*(float(column[i]) for column in devices))
        if family.kernel.role == "injection":
            linear.update(_linear(world, family, devices, rows))
            settlement.update(dict.fromkeys(family.ids, 0.0))
    for i, at in zip(layout.ledger.settling, layout.ledger.settle_at, strict=True):
        settlement.update(zip(layout.families[i].ids, state.settlement_per_mwh[at].tolist(), strict=True))
    own = rows[:, layout.load_series]
    load_p_mw, load_q_mvar = (own @ table for table in _load_tables(world))
    placed = {unit: family.place[i] for family in _injecting(layout) for i, unit in enumerate(family.ids)}
    names = world.network.buses.name
    return EpisodeData(
        dt_h=layout.settings.dt_h,
        network=Feeder(world.network, load_p_mw, load_q_mvar, {unit: names[bus] for unit, bus in placed.items()}),
        linear=linear,
        exogenous=dict(zip(layout.columns.series, rows.T, strict=True)),
        initial_state=initial,
        prices=Prices(tuple(_meters(world, rows, load_p_mw)), settlement),
        weights=_weights(world),
        accounts=layout.accounts,
    )


def _injecting(layout: Layout) -> list[Family]:
    return [layout.families[i] for i in layout.injecting]


def _linear(world: World, family: Family, devices: Any, rows: np.ndarray) -> dict[str, LinearDevice]:
    """Linear models of one family's units; measurements at the terminal count as nominal."""
    agents = {agent.id: agent for agent in world.agents}
    fields = [
        rows[:, source.place].T if source.kind == "series" else np.ones((family.size, len(rows)))
        for source in family.sources
    ]
    usual = family.kernel.reset(np, family.params, np.full(family.size, 0.5))
    now = family.kernel.Exogenous(*(field[:, 0] for field in fields))
    nothing = Injection(np.zeros(family.size), np.zeros(family.size))
    # models start from the settings' own energy: the energy account knows what this episode's start adds to it
    dt_h = world.layout.settings.dt_h
    more_mwh = family.kernel.energy(np, family.params, usual, devices, nothing, now, dt_h).stored
    found = {}
    for i, unit in enumerate(family.ids):
        model = agents[unit].linear(family.kernel.Exogenous(*(field[i] for field in fields)))
        if model is not None:
            found[unit] = model._replace(e_start_mwh=model.e_start_mwh + float(more_mwh[i]))
    return found


def _meters(world: World, rows: np.ndarray, load_mw: np.ndarray) -> list[Meter]:
    """Every meter at which energy is paid for; members of a market pay for each of their measurements once."""
    layout, metering = world.layout, world.layout.metering
    settling = [layer for layer in layout.layers if layer.protocol.settles_bills]
    members = {int(account): m for m, layer in enumerate(settling) for account in layer.accounts[:-1]}
    place_of = {agent.id: getattr(agent, "bus", "") for agent in world.agents}
    found: dict[tuple[int, str], Meter] = {}
    for family in (family for family in layout.families if family.kernel.role == "meter"):
        for i, unit in enumerate(family.ids):
            place, account = metering.places.index(place_of[unit]), int(family.account[i])
            market = members.get(account)
            retail, feed_in = _tariff(layout, family, i, market)
            found[place, unit if market is None else ""] = Meter(
                name=layout.meters[family.place[i]],
                account=layout.accounts[account],
                units=tuple(unit for unit, first in metering.of_unit.items() if first == place),
                load_mw=load_mw[:, metering.of_node == place].sum(axis=1),
                retail_per_mwh=rows[:, retail],
                feed_in_per_mwh=rows[:, feed_in],
                market="" if market is None else f"market_{market}",
            )
    return list(found.values())


def _tariff(layout: Layout, family: Family, i: int, market: int | None) -> tuple[int, int]:
    """Columns of the retail and the feed-in price at a meter: its own, or those its market settles at."""
    if market is not None:
        trade = [layer for layer in layout.layers if layer.protocol.settles_bills][market]
        member = int(np.flatnonzero(trade.accounts[:-1] == family.account[i])[0])
        return int(trade.retail[member]), int(trade.feed_in[member])
    fields = family.kernel.Exogenous._fields
    retail, feed_in = (family.sources[fields.index(name)] for name in ("retail_per_mwh", "feed_in_per_mwh"))
    return int(retail.place[i]), int(feed_in.place[i])


def _load_tables(world: World) -> tuple[np.ndarray, np.ndarray]:
    """The network's own active and reactive loads by series and row of its buses.

    Loads that follow the voltage count as at the lower end of its band, where they draw least, and loads between two
    phases at the first: a relaxation without voltages then never asks for more than what an episode draws.
    """
    layout = world.layout
    v, parts = layout.settings.v_min_pu, (layout.load_p_mw, layout.load_q_mvar, *layout.load_by_voltage)
    at = node_of_place(world.network)
    tables = []
    for kind in (0, 1):
        drawn = np.sum([part * v**power for power, part in enumerate(parts[kind::2])], axis=0)
        table = np.zeros((len(drawn), len(world.network.buses.name)))
        np.add.at(table.T, at, drawn.T)
        tables.append(table)
    return tables[0], tables[1]


def _weights(world: World) -> Weights:
    given, reward = world.layout.settings, world.reward
    return Weights(
        v_min_pu=given.v_min_pu,
        v_max_pu=given.v_max_pu,
        voltage_per_pu_h=given.voltage_price,
        overload_per_percent_h=given.overload_price,
        unserved_per_mwh=given.unserved_price,
        reward_scale=reward.reward_scale,
        safety_scale=reward.safety_scale,
        max_penalty=reward.max_penalty,
    )
