"""An episode as data for an optimiser, which can compute the perfect-foresight optimum of the same day from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from powergrid.agents.device_agent import LinearDevice
from powergrid.core import random
from powergrid.core.errors import NetworkError
from powergrid.engine.layout import Family, Layout
from powergrid.networks.kinds import AnyNetwork
from powergrid.planning.dispatch import Meter as Meter
from powergrid.worlds.billing import load_tables, meter_places
from powergrid.worlds.linear import linear_models
from powergrid.worlds.seeds import checked_seed
from powergrid.worlds.simulation import Simulation
from powergrid.worlds.world import World


class Feeder(NamedTuple):
    """The network, its loads and the buses of the devices.

    Attributes
    ----------
    network
        The network's columns.
    load_p_mw, load_q_mvar
        The network's own loads by bus [MW, Mvar], ``(ticks, m)``.
    unit_bus
        Bus name of each device.
    """

    network: AnyNetwork
    load_p_mw: np.ndarray
    load_q_mvar: np.ndarray
    unit_bus: Mapping[str, str]


class Prices(NamedTuple):
    """Prices of energy.

    Attributes
    ----------
    meters
        All meters at which accounts pay for energy.
    settlement_per_mwh
        Price of the difference between the energy that a device stores at the end and at the start [$/MWh], by device;
        0 for devices without a store.
    """

    meters: tuple[Meter, ...]
    settlement_per_mwh: Mapping[str, float]


class Weights(NamedTuple):
    """Limits and prices of violations, and the weights of money and violations in the reward.

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
    """One episode as data for an optimiser.

    Attributes
    ----------
    dt_h
        Length of a tick [h].
    network
        The network, its own loads, and the buses of the devices.
    linear
        Linear model of each device that has one, with the energy at the start of this episode.
    exogenous
        Series by name, ``(ticks,)``.
    initial_state
        State of each device at the start, one NamedTuple of numbers per device.
    prices
        Meters with their tariffs, and the settlement at the end.
    weights
        Limits and prices of violations.
    accounts
        All accounts, those of acting agents first. Together they pay all money and all violations of the episode.
    """

    dt_h: float
    network: Feeder
    linear: Mapping[str, LinearDevice]
    exogenous: Mapping[str, np.ndarray]
    initial_state: Mapping[str, Any]
    prices: Prices
    weights: Weights
    accounts: tuple[str, ...] = ()


class HasWorld(Protocol):
    """An environment of any kind."""

    world: World


def export_episode(env: HasWorld | World, day: int, seed: int = 0) -> EpisodeData:
    """Data of the episode that ``env.reset(seed=seed, options={"day": day})`` starts.

    Parameters
    ----------
    env
        An environment, or its :class:`~powergrid.worlds.world.World`.
    day
        Day of the dataset.
    seed
        Seed of the episode; it determines the states of devices that start at random.

    Raises
    ------
    NetworkError
        If the network has switches or outages: a meter then measures no fixed part of the network. If devices fail
        or agents join and leave: linear models know nothing of it. If a market on the network makes the prices.
    """
    world = env if isinstance(env, World) else env.world
    if world.layout.availability is not None:
        absent = ", ".join(dict.fromkeys([*world.layout.availability.units, *world.layout.availability.agents]))
        raise NetworkError(
            f"the episode has devices that fail or agents that join and leave ({absent}), of which linear models know "
            "nothing"
        )
    if world.layout.grid.switching is not None:
        raise NetworkError(
            "the episode has switches or outages, with which a meter measures no fixed part of the network"
        )
    layout = world.layout
    if any(layer.market is not None for layer in layout.coordination.layers):
        raise NetworkError(
            "a market on the network makes the prices of the episode: they follow from what everybody offers, and no "
            "meter has a tariff"
        )
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
            linear.update(linear_models(world, family, devices, rows))
            settlement.update(dict.fromkeys(family.ids, 0.0))
    for i, at in zip(layout.ledger.settling, layout.ledger.settle_at, strict=True):
        settlement.update(zip(layout.families[i].ids, state.settlement_per_mwh[at].tolist(), strict=True))
    own = rows[:, layout.grid.load_series]
    load_p_mw, load_q_mvar = (own @ table for table in load_tables(world))
    placed = {unit: family.place[i] for family in _injecting(layout) for i, unit in enumerate(family.ids)}
    names = world.network.buses.name
    return EpisodeData(
        dt_h=layout.settings.dt_h,
        network=Feeder(world.network, load_p_mw, load_q_mvar, {unit: names[bus] for unit, bus in placed.items()}),
        linear=linear,
        exogenous=dict(zip(layout.columns.series, rows.T, strict=True)),
        initial_state=initial,
        prices=Prices(tuple(place.meter(rows) for place in meter_places(world)), settlement),
        weights=_weights(world),
        accounts=layout.accounts,
    )


def _injecting(layout: Layout) -> list[Family]:
    return [layout.families[i] for i in layout.injecting]


def _weights(world: World) -> Weights:
    settings, reward = world.layout.settings, world.reward
    return Weights(
        v_min_pu=settings.v_min_pu,
        v_max_pu=settings.v_max_pu,
        voltage_per_pu_h=settings.voltage_price,
        overload_per_percent_h=settings.overload_price,
        unserved_per_mwh=settings.unserved_price,
        reward_scale=reward.reward_scale,
        safety_scale=reward.safety_scale,
        max_penalty=reward.max_penalty,
    )
