"""A planned market: columns, rows and sensitivities that do not change between clearings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache
from typing import NamedTuple, TypeVar

import numpy as np

from powergrid.core.types import Array

Tables = TypeVar("Tables", "DcFlow", "RadialFlow", "Plan")
"""Tables that can be had in another type of numbers."""


class Linear(NamedTuple):
    """Network equations as linear functions of the net injections `p` of all buses [MW].

    Attributes
    ----------
    balance
        Share of an injection that reaches the market, 1 less marginal losses, ``(*batch, m)``.
    balance_constant
        Right side of ``sum of balance * p = constant`` [MW], ``(*batch,)``.
    flow
        Change of each limited branch's flow [MW/MW], ``(*batch, f, m)``.
    flow_constant
        Flow without any injection [MW], ``(*batch, f)``.
    flow_limit
        Largest flow either way [MW], ``(*batch, f)``.
    voltage
        Change of each limited voltage [pu/MW], ``(*batch, w, m)``.
    voltage_constant
        Voltage without any injection [pu], ``(*batch, w)``.
    unserved_balance, unserved_flow, unserved_voltage
        The same as `balance`, `flow` and `voltage` for demand that is not served, which takes its reactive power along.
    """

    balance: Array
    balance_constant: Array
    flow: Array
    flow_constant: Array
    flow_limit: Array
    voltage: Array
    voltage_constant: Array
    unserved_balance: Array
    unserved_flow: Array
    unserved_voltage: Array


@dataclass(frozen=True, eq=False)
class DcFlow:
    """Flows without losses.

    Attributes
    ----------
    factor
        Power transfer distribution factors: change of each branch's flow with an injection at each bus that the source
        takes out [1], ``(b, m)``; zero for open branches and switches.
    constant
        Flow without any injection, from phase shifts [MW], ``(b,)``.
    """

    factor: np.ndarray
    constant: np.ndarray


@dataclass(frozen=True, eq=False)
class RadialFlow:
    """Tree of a radial feeder. Its nodes are numbered so that branch `i` feeds node `i`; the source has no number.

    Attributes
    ----------
    node
        Node of each bus, -1 for those of the source, ``(m,)``.
    branch
        Branch that feeds each node, ``(k,)``.
    forward
        Whether its from bus is the one nearer to the source, ``(k,)``.
    below
        1 where a node lies behind a branch, itself included, ``(k, k)``.
    parent
        1 at the node that feeds each node, ``(k, k)``; a row of zeros where it is the source.
    r_pu, x_pu
        Series impedance of each branch [pu], ``(k,)``.
    g_pu, b_pu
        Shunt admittance at each node, line charging included [pu], ``(k + 1,)``, the source last.
    gain
        Voltage gain of each branch's ideal ratio, from its from bus to its to bus [1], ``(k,)``.
    regulator
        Node that each regulator feeds, ``(regulators,)``.
    cap_node
        Node of each switchable shunt, -1 at the source, ``(c,)``.
    cap_g_pu, cap_b_pu
        Its admittance [pu], ``(c,)``.
    source_v_pu
        Voltage of the source [pu].
    """

    node: np.ndarray
    branch: np.ndarray
    forward: np.ndarray
    below: np.ndarray
    parent: np.ndarray
    r_pu: np.ndarray
    x_pu: np.ndarray
    g_pu: np.ndarray
    b_pu: np.ndarray
    gain: np.ndarray
    regulator: np.ndarray
    cap_node: np.ndarray
    cap_g_pu: np.ndarray
    cap_b_pu: np.ndarray
    source_v_pu: float


@dataclass(frozen=True, eq=False)
class Plan:
    """A market on a network, made by :func:`powergrid.markets.plan`; all arrays are NumPy's and never change.

    Attributes
    ----------
    network
        Name of the network.
    model, method
        As in :func:`powergrid.markets.plan`.
    buses, branches
        Names, in the order of the network.
    offer_bus, bid_bus
        Bus of each block, ``(o,)`` and ``(d,)``.
    participants
        Names of the participants.
    offer_participant, bid_participant
        Participant of each block, ``(o,)`` and ``(d,)``.
    reserve_participant
        Participant of each reserve offer, ``(s,)``.
    load_bus
        Buses that may have a load, ``(l,)``.
    load_mw, load_mvar
        The network's own load at every bus [MW, Mvar], ``(m,)``.
    shunt_mw
        What shunts draw at 1 pu [MW], ``(m,)``, in ``dc``; ``lindistflow`` has them in its tree.
    reference
        Weight of each bus in the reference of the price split, ``(m,)``; ``None`` for the load.
    limited_branch
        Branches with a limit, ``(f,)``.
    limit_mva
        Their limits [MVA], ``(f,)``.
    limited_bus
        Buses with voltage limits, ``(w,)``.
    v_min_pu, v_max_pu
        Voltage limits [pu], ``(w,)``.
    voltage_scale
        Power that changes each of these voltages by 1 pu in the network without load [MW/pu], ``(w,)``.
    lost_load_per_mwh, curtailment_per_mwh, limit_per_mwh, reserve_shortage_per_mwh
        Prices of what clearing cannot avoid [$/MWh].
    dc, radial
        The network's equations; ``None`` for those of another model.
    """

    network: str
    model: str
    method: str
    buses: tuple[str, ...]
    branches: tuple[str, ...]
    offer_bus: np.ndarray
    bid_bus: np.ndarray
    participants: tuple[str, ...]
    offer_participant: np.ndarray
    bid_participant: np.ndarray
    reserve_participant: np.ndarray
    load_bus: np.ndarray
    load_mw: np.ndarray
    load_mvar: np.ndarray
    shunt_mw: np.ndarray
    reference: np.ndarray | None
    limited_branch: np.ndarray
    limit_mva: np.ndarray
    limited_bus: np.ndarray
    v_min_pu: np.ndarray
    v_max_pu: np.ndarray
    voltage_scale: np.ndarray
    lost_load_per_mwh: float
    curtailment_per_mwh: float
    limit_per_mwh: float
    reserve_shortage_per_mwh: float
    dc: DcFlow | None = None
    radial: RadialFlow | None = None

    @property
    def balance_per_mwh(self) -> float:
        """Price at which the balance is not met, above that of all limits of a feeder together [$/MWh]."""
        return 100.0 * max(self.lost_load_per_mwh, self.limit_per_mwh)

    @cached_property
    def incidence(self) -> np.ndarray:
        """Injection of each column at each bus, ``(m, n)``: offers, bids, unserved demand, reserve."""
        incidence = np.zeros((self.n_bus, self.n_column), self.load_mw.dtype)
        at = np.concatenate([self.offer_bus, self.bid_bus, self.load_bus])
        sign = np.repeat([1.0, -1.0, 1.0], [self.n_offer, self.n_bid, self.n_load])
        incidence[at, np.arange(len(at))] = sign
        return incidence

    @cached_property
    def unserved(self) -> np.ndarray:
        """The part of `incidence` that belongs to unserved demand, ``(m, n)``."""
        unserved, first = np.zeros_like(self.incidence), self.n_offer + self.n_bid
        columns = slice(first, first + self.n_load)
        unserved[:, columns] = self.incidence[:, columns]
        return unserved

    def _owner(self, participant: np.ndarray) -> np.ndarray:
        owner: np.ndarray = participant[:, None] == np.arange(len(self.participants))
        return owner.astype(self.load_mw.dtype)

    @cached_property
    def owner_of_offer(self) -> np.ndarray:
        """1 where an offered block belongs to a participant, ``(o, participants)``."""
        return self._owner(self.offer_participant)

    @cached_property
    def owner_of_bid(self) -> np.ndarray:
        """1 where a block that is bid for belongs to a participant, ``(d, participants)``."""
        return self._owner(self.bid_participant)

    @cached_property
    def owner_of_reserve(self) -> np.ndarray:
        """1 where a reserve offer belongs to a participant, ``(s, participants)``."""
        return self._owner(self.reserve_participant)

    @cached_property
    def offers_of_reserve(self) -> np.ndarray:
        """1 where an offered block belongs to the participant of a reserve offer, ``(o, s)``."""
        same: np.ndarray = self.offer_participant[:, None] == self.reserve_participant
        return same.astype(self.load_mw.dtype)

    @cached_property
    def reserve_rows(self) -> np.ndarray:
        """Rows of the program for reserve, ``(1 + s, n)``: the requirement, then the capacity of each participant."""
        rows, s = np.zeros((1 + self.n_reserve, self.n_column), self.load_mw.dtype), self.n_reserve
        rows[:, self.n_column - s :] = np.concatenate([np.ones((1, s)), np.eye(s)])
        rows[1:, : self.n_offer] = self.offers_of_reserve.T
        return rows

    def as_type(self, dtype: object) -> Plan:
        """The plan with its columns of numbers in another type; itself where they are of it already."""
        wanted = np.dtype(dtype)  # type: ignore[call-overload]
        return self if self.load_mw.dtype == wanted else _converted(self, wanted.name)

    @property
    def n_bus(self) -> int:
        """Number of buses."""
        return len(self.buses)

    @property
    def n_offer(self) -> int:
        """Number of offered blocks."""
        return len(self.offer_bus)

    @property
    def n_bid(self) -> int:
        """Number of blocks that are bid for."""
        return len(self.bid_bus)

    @property
    def n_load(self) -> int:
        """Number of buses that may have a load."""
        return len(self.load_bus)

    @property
    def n_reserve(self) -> int:
        """Number of reserve offers."""
        return len(self.reserve_participant)

    @property
    def n_column(self) -> int:
        """Number of columns of the program."""
        return self.n_offer + self.n_bid + self.n_load + self.n_reserve


@lru_cache(maxsize=32)
def _converted(plan: Plan, dtype: str) -> Plan:
    made = _cast(plan, dtype)
    dc = None if plan.dc is None else _cast(plan.dc, dtype)
    radial = None if plan.radial is None else _cast(plan.radial, dtype)
    return replace(made, dc=dc, radial=radial)


def _cast(tables: Tables, dtype: str) -> Tables:
    """A dataclass with its arrays of floats in another type."""
    columns: dict[str, object] = {column.name: getattr(tables, column.name) for column in fields(tables)}
    for name, values in columns.items():
        if isinstance(values, np.ndarray) and values.dtype.kind == "f":
            columns[name] = values.astype(dtype)
    make: Callable[..., Tables] = type(tables)
    return make(**columns)
