"""From a network and the places of its participants to a planned market."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from powergrid.core.errors import ArgumentError, NetworkError, NetworkWarning, unknown_name
from powergrid.markets.dc import distribution_factors
from powergrid.markets.model import DcFlow, Plan, RadialFlow
from powergrid.markets.radial import tree, voltage_scale
from powergrid.networks.kinds import AnyNetwork
from powergrid.networks.network import Network
from powergrid.powerflow.compile import Compiled, compile_network

MODELS = ("dc", "lindistflow", "copper_plate")
"""``dc``: meshed transmission networks. ``lindistflow``: radial feeders with losses and voltage limits.
``copper_plate``: one price everywhere."""
METHODS = ("highs", "ipm")
"""``highs``: the simplex method of HiGHS, one environment at a time. ``ipm``: an interior-point method for batches, on
NumPy and JAX."""
R_OVER_X = 0.5
"""Median ratio of resistance to reactance above which the flows of ``dc`` are doubtful."""


def plan(
    network: AnyNetwork,
    *,
    model: str = "dc",
    method: str = "highs",
    offer_bus: Sequence[str | int],
    bid_bus: Sequence[str | int] = (),
    offer_participant: Sequence[str] | None = None,
    bid_participant: Sequence[str] | None = None,
    reserve_participant: Sequence[str] = (),
    load_bus: Sequence[str | int] | None = None,
    monitored: Sequence[str | int] | None = None,
    limit_percent: float = 100.0,
    voltage_bus: Sequence[str | int] | None = None,
    v_min_pu: float = 0.95,
    v_max_pu: float = 1.05,
    reference: str | Sequence[float] = "load",
    lost_load_per_mwh: float = 10_000.0,
    curtailment_per_mwh: float = 0.0,
    limit_per_mwh: float = 20_000.0,
    reserve_shortage_per_mwh: float = 1_000.0,
) -> Plan:
    """Plan a market: check network and places, and compute what does not change between clearings.

    Fixed demand, given at each clearing, is served before all else; what cannot be served is priced. Generators and
    sources of the network feed in what offers at their buses are cleared for, not their published power. Static
    generators are negative load. Loads have constant power, whatever the voltage.

    Parameters
    ----------
    network
        A balanced network.
    model
        One of :data:`MODELS`. In ``dc`` a limit is one of active power; losses, reactive power and voltages are not
        modelled. In ``lindistflow`` participants have no reactive power.
    method
        One of :data:`METHODS`, for :func:`powergrid.markets.clear`.
    offer_bus, bid_bus
        Bus of each block that is offered or bid for, by name or index.
    offer_participant, bid_participant
        Participant of each block; by default every block is a participant of its own, ``offer_0`` and so on.
    reserve_participant
        Participants that may offer reserve, out of what their offers hold and energy does not take.
    load_bus
        Buses that may have a fixed load; by default those of the network's own loads and static generators.
    monitored
        Branches that are held to their ratings; by default all with a rating. Fewer make a smaller program.
    limit_percent
        Loading at which a branch is full [%].
    voltage_bus
        Buses held to the voltage limits, ``lindistflow`` only; by default all but the source.
    v_min_pu, v_max_pu
        Voltage limits [pu].
    reference
        Where price components other than energy are zero: ``"load"``, the load-weighted mean of the buses, the name of
        a bus, or one weight per bus.
    lost_load_per_mwh
        Price of fixed demand that is not served [$/MWh].
    curtailment_per_mwh
        Price of negative load that is not taken [$/MWh].
    limit_per_mwh
        Price at which a limit is exceeded where blocks and fixed demand cannot respect it, or only at a higher price
        [$/MWh]; a pu of voltage costs as much as the power that moves it by one pu. It bounds the price of a limit, and
        where many voltages are out of reach, bus prices become multiples of it.
    reserve_shortage_per_mwh
        Price of reserve that is required and not offered [$/MWh].

    Returns
    -------
    Plan

    Raises
    ------
    NetworkError
        If the model cannot represent the network, with the elements in the way; if a bus or branch does not exist.
    ArgumentError
        If participants, prices, limits or weights do not fit.
    UnknownNameError
        If there is no such model or method.

    Warns
    -----
    NetworkWarning
        If ``dc`` is planned on a network whose median R/X is above :data:`R_OVER_X`.
    """
    for kind, name, names in (("market model", model, MODELS), ("clearing method", method, METHODS)):
        if name not in names:
            raise unknown_name(kind, name, names)
    if network.is_three_phase:
        raise NetworkError(
            f'market on "{network.name}": the network has three phases, prices are those of balanced networks; '
            'build it with phases="balanced"'
        )
    _check_voltages(v_min_pu, v_max_pu)
    positive = {
        "limit_percent": limit_percent,
        "lost_load_per_mwh": lost_load_per_mwh,
        "limit_per_mwh": limit_per_mwh,
        "reserve_shortage_per_mwh": reserve_shortage_per_mwh,
    }
    _check_prices(positive, curtailment_per_mwh)
    compiled = compile_network(network, generators=True)
    _refuse_sources(network)
    dc, radial = _equations(network, compiled, model)
    limited, limit_mva = _limits(network, compiled, () if model == "copper_plate" else monitored, limit_percent)
    watched = _voltages(network, compiled, model, voltage_bus)
    members = _participants(offer_bus, bid_bus, offer_participant, bid_participant, reserve_participant)
    load = network.node_load()
    p_mw, q_mvar = (
        sum((np.asarray(part) for part in parts if part is not None), np.zeros(compiled.n_bus))
        for parts in ((load.p_mw, load.p_i_mw, load.p_z_mw), (load.q_mvar, load.q_i_mvar, load.q_z_mvar))
    )
    own = np.unique(np.concatenate([network.loads.bus, network.static_generators.bus]).astype(int))
    return Plan(
        network=network.name,
        model=model,
        method=method,
        buses=tuple(network.buses.name),
        branches=tuple(network.branches.name),
        offer_bus=_buses(network, offer_bus),
        bid_bus=_buses(network, bid_bus),
        participants=members.names,
        offer_participant=members.offer,
        bid_participant=members.bid,
        reserve_participant=members.reserve,
        load_bus=own if load_bus is None else np.unique(_buses(network, load_bus)),
        load_mw=p_mw,
        load_mvar=q_mvar,
        shunt_mw=compiled.shunt.real + np.bincount(compiled.cap_bus, compiled.cap.real, compiled.n_bus),
        reference=_reference(network, reference),
        limited_branch=limited,
        limit_mva=limit_mva,
        limited_bus=watched,
        v_min_pu=np.full(len(watched), float(v_min_pu)),
        v_max_pu=np.full(len(watched), float(v_max_pu)),
        voltage_scale=np.zeros(0) if radial is None else voltage_scale(radial, watched),
        lost_load_per_mwh=float(lost_load_per_mwh),
        curtailment_per_mwh=float(curtailment_per_mwh),
        limit_per_mwh=float(limit_per_mwh),
        reserve_shortage_per_mwh=float(reserve_shortage_per_mwh),
        dc=dc,
        radial=radial,
    )


class _Members(NamedTuple):
    """Names of participants, and which of them each block and each reserve offer belongs to."""

    names: tuple[str, ...]
    offer: np.ndarray
    bid: np.ndarray
    reserve: np.ndarray


def _check_voltages(v_min_pu: float, v_max_pu: float) -> None:
    if not 0.0 < v_min_pu < v_max_pu < np.inf:
        raise ArgumentError(f"v_min_pu = {v_min_pu}, v_max_pu = {v_max_pu}; give 0 < v_min_pu < v_max_pu")


def _check_prices(positive: Mapping[str, float], curtailment_per_mwh: float) -> None:
    """Raise on limits and prices that no clearing could use."""
    for name, value in positive.items():
        if not 0.0 < value < np.inf:
            raise ArgumentError(f"{name} = {value}; give a finite number above 0")
    most = max(positive["lost_load_per_mwh"], positive["limit_per_mwh"])
    if not abs(curtailment_per_mwh) < most:
        raise ArgumentError(f"curtailment_per_mwh = {curtailment_per_mwh}; give a number below {most:g}")


def _refuse_sources(network: Network) -> None:
    if network.sources.name:
        names = ", ".join(f'"{name}"' for name in network.sources.name)
        raise NetworkError(
            f'market on "{network.name}": the angles that the further sources {names} hold are not modelled; '
            "leave them out of the network and place offers at their buses"
        )


def _equations(network: Network, compiled: Compiled, model: str) -> tuple[DcFlow | None, RadialFlow | None]:
    """Equations of the model, with a warning where they are doubtful."""
    if model == "lindistflow":
        return None, tree(network, compiled)
    x_pu = np.abs(np.asarray(network.branches.x_pu, float)[compiled.live])
    ratio = np.asarray(network.branches.r_pu, float)[compiled.live] / np.maximum(x_pu, 1e-12)
    if model == "dc" and len(ratio) and np.median(ratio) > R_OVER_X:
        warnings.warn(
            f'market on "{network.name}": the median R/X is {np.median(ratio):.2f}, and the dc model leaves '
            f"resistances out, which is a fair approximation up to {R_OVER_X:g}; take "
            'model="lindistflow" for a radial feeder',
            NetworkWarning,
            stacklevel=3,
        )
    return distribution_factors(network, compiled), None


def _limits(
    network: Network, compiled: Compiled, monitored: Sequence[str | int] | None, limit_percent: float
) -> tuple[np.ndarray, np.ndarray]:
    """Branches with a limit, and the limits [MVA]: the smaller of both ends'."""
    rated = compiled.live & compiled.is_rated
    if monitored is None:
        rows = np.flatnonzero(rated)
    else:
        rows = np.unique([_branch(network, branch) for branch in monitored]).astype(np.int64)
        for row in rows[~rated[rows]]:
            state = "no rating" if compiled.live[row] else "no flow of its own, for it is open or a switch"
            raise NetworkError(
                f'market on "{network.name}": monitored branch "{compiled.branch_name[row]}" has {state}; monitor '
                "rated lines and transformers"
            )
    percent = np.maximum(compiled.percent_from[rows], compiled.percent_to[rows])
    return rows, limit_percent / percent


def _voltages(network: Network, compiled: Compiled, model: str, voltage_bus: Sequence[str | int] | None) -> np.ndarray:
    """Buses with voltage limits, one of each node."""
    if model != "lindistflow":
        if voltage_bus is not None:
            raise ArgumentError(f'voltage_bus is given, but model="{model}" has no voltages; take "lindistflow"')
        return np.zeros(0, np.int64)
    buses = np.arange(compiled.n_bus) if voltage_bus is None else _buses(network, voltage_bus)
    buses = buses[compiled.node[buses] < compiled.n_node]
    _, first = np.unique(compiled.node[buses], return_index=True)
    return np.sort(buses[first])


def _participants(
    offer_bus: Sequence[str | int],
    bid_bus: Sequence[str | int],
    offer_participant: Sequence[str] | None,
    bid_participant: Sequence[str] | None,
    reserve_participant: Sequence[str],
) -> _Members:
    """Number the participants in the order in which they are named."""
    if not len(offer_bus) and not len(bid_bus):
        raise ArgumentError("neither offer_bus nor bid_bus names a bus; a market needs at least one block")
    owners = []
    for kind, buses, given in (("offer", offer_bus, offer_participant), ("bid", bid_bus, bid_participant)):
        names = [f"{kind}_{i}" for i in range(len(buses))] if given is None else list(given)
        if len(names) != len(buses):
            raise ArgumentError(f"{kind}_participant names {len(names)} participants for {len(buses)} blocks")
        owners.append(names)
    number = {name: i for i, name in enumerate(dict.fromkeys(owners[0] + owners[1]))}
    for i, name in enumerate(reserve_participant):
        if name not in owners[0]:
            raise unknown_name("participant with offers, in reserve_participant", str(name), owners[0])
        if name in reserve_participant[:i]:
            raise ArgumentError(f'reserve_participant names "{name}" twice; each has one reserve offer')
    columns = [np.array([number[name] for name in names], np.int64) for names in (*owners, reserve_participant)]
    return _Members(tuple(number), *columns)


def _reference(network: Network, reference: str | Sequence[float]) -> np.ndarray | None:
    """Weights of the reference that sum to 1; ``None`` for the load."""
    m = len(network.buses.name)
    if isinstance(reference, str):
        if reference == "load":
            return None
        weights = np.zeros(m)
        weights[network.bus(reference)] = 1.0
        return weights
    weights = np.asarray(reference, float)
    if weights.shape != (m,) or not np.all(np.isfinite(weights)) or np.any(weights < 0) or weights.sum() <= 0:
        raise ArgumentError(
            f'reference has shape {weights.shape}; give "load", the name of a bus, or {m} weights that are not '
            "negative and not all zero"
        )
    shares: np.ndarray = weights / weights.sum()
    return shares


def _buses(network: Network, buses: Sequence[str | int]) -> np.ndarray:
    """Indices of buses by name or index."""
    if isinstance(buses, str):
        raise ArgumentError(f'buses = "{buses}"; give a sequence of buses, such as ["{buses}"]')
    return np.array([_place(network.bus, bus, network.buses.name, network.name, "bus") for bus in buses], np.int64)


def _branch(network: Network, branch: str | int) -> int:
    return _place(network.branch, branch, network.branches.name, network.name, "branch")


def _place(look_up: Callable[[str], int], place: str | int, names: Sequence[str], network: str, what: str) -> int:
    """Index of a bus or branch."""
    if isinstance(place, str):
        return look_up(place)
    if isinstance(place, (int, np.integer)) and not isinstance(place, bool) and 0 <= place < len(names):
        return int(place)
    raise NetworkError(
        f'network "{network}" has no {what} {place!r}; give a name, or an index from 0 to {len(names) - 1}'
    )
