"""From a protocol's declaration to a market on the network: its plan, and which unit and which bus belongs to whom."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from powergrid import markets
from powergrid.agents.market import Market
from powergrid.coordination.layers import LayerMarket
from powergrid.core.backend import Namespace
from powergrid.core.errors import ArgumentError, ConfigError, Issue, NetworkError, UnknownNameError
from powergrid.core.types import Array
from powergrid.engine.assembly.ownership import Ownership
from powergrid.engine.assembly.parts import Meters, Parts
from powergrid.engine.layout import Family
from powergrid.networks import terminals


def market_of(
    parts: Parts,
    ownership: Ownership,
    meters: Meters,
    families: Sequence[Family],
    wanted: Market,
    parent: Any,
    members: Sequence[Any],
    governed: Sequence[int],
) -> LayerMarket:
    """The market of a layer.

    Parameters
    ----------
    wanted
        What the protocol declares.
    parent, members
        The agent whose protocol it is, and its members.
    governed
        Slots of the commands of the units that it dispatches.

    Raises
    ------
    ConfigError
        If the network has no such market, if it changes during an episode, or if a unit below a member has an account
        of its own.
    """
    place = "protocol" if parent is None else f'protocol of "{parent.id}"'
    _refuse(place, parts, ownership, members)
    units = [agent for agent in parts.devices if agent.role == "injection"]
    account_of_node = meters.account_of_node(ownership)
    member_of = {ownership.account(agent): k for k, agent in enumerate(members)}
    below = {under.id: k for k, agent in enumerate(members) for under in (agent, *agent.descendants())}
    place_of = {
        int(slot): (i, row) for i, f in enumerate(families) for row, slots in enumerate(f.slot) for slot in slots
    }
    held = [place_of[slot] for slot in governed]
    asked = tuple(sorted({i for i, _ in held}))
    first = dict(zip(asked, np.cumsum([0, *(families[i].size for i in asked)]).tolist(), strict=False))
    dispatched = {families[i].ids[row] for i, row in held}
    return LayerMarket(
        clear=_clearing(place, parts, wanted, units),
        method=wanted.method,
        families=asked,
        unit=np.array([first[i] + row for i, row in held], dtype=int),
        dispatched=np.array([float(unit.id in dispatched) for unit in units]),
        member_of_unit=np.array([below.get(unit.id, -1) for unit in units], dtype=int),
        member_of_bus=np.array([member_of.get(account, -1) for account in account_of_node.tolist()], dtype=int),
        generation_mw=_generation(parts.network),
    )


def _refuse(place: str, parts: Parts, ownership: Ownership, members: Sequence[Any]) -> None:
    """Refuse networks that change, which a plan does not follow, and energy below a member that another pays for."""
    switches = [agent.id for agent in parts.devices if agent.role == "switch"]
    if switches or parts.outages:
        what = f'switch "{switches[0]}"' if switches else "outages"
        message = f"its market is planned on one topology of the network, which {what} may change"
        raise ConfigError([Issue(place, message, "leave the switches and outages out")])
    for agent in members:
        for unit in (under for under in agent.descendants() if getattr(under, "role", "") == "injection"):
            if ownership.account(unit) != ownership.account(agent):
                message = f'"{unit.id}" below its member "{agent.id}" pays for its own energy, which the member sells'
                hint = f'give "{unit.id}" a local policy, "{agent.id}" protocol: setpoint, or make "{unit.id}" a member'
                raise ConfigError([Issue(place, message, hint)])


def _clearing(place: str, parts: Parts, wanted: Market, units: Sequence[Any]) -> Callable[..., Any]:
    """The clearing with its plan, a function of what is to be cleared."""
    network = parts.network
    at = {int(bus) for bus in network.loads.bus} | {
        int(node) for unit in units for node in terminals.device_nodes(network, unit)
    }
    at |= set(np.flatnonzero(_generation(network)).tolist())
    options = {"model": "dc", "load_bus": sorted(at), **wanted.options}
    try:
        plan = markets.plan(
            network, method=wanted.method, offer_bus=wanted.offer_bus, bid_bus=wanted.bid_bus, **options
        )
    except (NetworkError, ArgumentError, UnknownNameError) as error:
        raise ConfigError([Issue(place, str(error))]) from error
    return partial(markets.clear_arrays, plan=plan) if wanted.method == "ipm" else partial(_one_by_one, plan)


def _one_by_one(plan: markets.Plan, xp: Namespace, *, load_mw: Array, **given: Any) -> markets.Clearing:
    """Clear by a method that is not for batches, one environment after the other."""
    return markets.clear(plan, load_mw=load_mw, **given)


def _generation(network: Any) -> np.ndarray:
    """Power that the network's own generators, which hold a voltage, feed in at each bus [MW]."""
    fed = np.zeros(len(network.buses.name))
    held = getattr(network, "generators", None)
    if held is not None:
        np.add.at(fed, np.asarray(held.bus, dtype=int), held.p_mw)
    return fed
