"""Units of an environment by family: which slots decide them, which columns they read and whom they are billed to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from powergrid.coordination.channels import Replacements
from powergrid.core.errors import NetworkError, nearest
from powergrid.core.types import Entry
from powergrid.engine.assembly.ownership import Ownership
from powergrid.engine.assembly.parts import Meters, Parts, SlotBook
from powergrid.engine.layout import Family, Source
from powergrid.engine.python.devices import PythonDevices, Surroundings
from powergrid.networks import terminals
from powergrid.networks.regulation import regulators_at

PYTHON = "plain Python devices"
"""Who decides slots that plain Python devices fill."""
DISPATCHED = "a protocol above"
"""Who decides slots that a protocol keeps to itself."""


def families_of(
    parts: Parts, ownership: Ownership, meters: Meters, book: SlotBook, prices: Replacements
) -> list[Family]:
    """Columns of every device type, one family a kernel.

    Parameters
    ----------
    prices
        Signals that replace the market price.
    """
    found = []
    devices, tariff_of = parts.devices, Tariffs(parts, ownership, meters)
    for kernel in dict.fromkeys(agent.kernel for agent in devices):
        units = [agent for agent in devices if agent.kernel is kernel]
        rows = [agent.params() for agent in units]
        params = kernel.Params(*(np.array(column, dtype=float) for column in zip(*rows, strict=True)))
        plain = units[0].facts is not None
        slot, free, idle = (_answer_slots if plain else _command_slots)(kernel, units, ownership, book)
        account = [ownership.account(agent) for agent in units]
        tariff = [tariff_of.device(agent) for agent in units]
        price = [_price_columns(parts, agent, prices) for agent in units]
        found.append(
            Family(
                kernel=kernel,
                ids=tuple(agent.id for agent in units),
                params=params,
                place=np.array([_place(parts.network, meters, agent) for agent in units], dtype=int),
                account=np.array(account, dtype=int),
                sources=_sources(parts, meters, kernel, units),
                slot=slot,
                free=free,
                idle=idle,
                price=np.array([seen for seen, _ in price], dtype=int),
                retail=np.array([retail for retail, _ in tariff], dtype=int),
                feed_in=np.array([feed_in for _, feed_in in tariff], dtype=int),
                base=np.array([base for _, base in price], dtype=int),
            )
        )
    return found


def _command_slots(
    kernel: Any, units: Sequence[Any], ownership: Ownership, book: SlotBook
) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray | None, ...]]:
    """Slots of every command field, which of them are free, and the constants of fields that nobody chooses."""
    fields = kernel.Command._fields
    slot = np.zeros((len(units), len(fields)), dtype=int)
    free = np.zeros(slot.shape, dtype=bool)
    idle: list[np.ndarray | None] = []
    entries = [agent.action_entries() for agent in units]
    for j, name in enumerate(fields):
        constants = np.array([getattr(agent.idle(), name) for agent in units], dtype=float)
        free[:, j] = [name in entry for entry in entries]
        idle.append(None if free[:, j].any() else constants)
        if not free[:, j].any():
            continue
        for i, agent in enumerate(units):
            if free[i, j]:
                by = ("", DISPATCHED) if name in ownership.commanded(agent) else ownership.decider(agent)
                slot[i, j] = book.add(agent.id, entries[i][name], *by, constants[i])
            else:
                slot[i, j] = book.constant(constants[i])
    return slot, free, tuple(idle)


def _answer_slots(
    kernel: Any, units: Sequence[Any], ownership: Ownership, book: SlotBook
) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray | None, ...]]:
    """Slots for the answers of plain Python devices, which nobody else may choose."""
    fields = kernel.Command._fields
    entry = Entry("answer", "1", -1.0, 1.0)  # a slot that is its own physical value
    slot = np.array([[book.add(agent.id, entry, "", PYTHON) for _ in fields] for agent in units], dtype=int)
    return slot, np.zeros(slot.shape, dtype=bool), (None,) * len(fields)


def python_devices(
    parts: Parts, ownership: Ownership, book: SlotBook, families: Sequence[Family]
) -> PythonDevices | None:
    """The plain Python devices with slots for their actions; ``None`` where there are none."""
    by_id = {agent.id: agent for agent in parts.devices}
    numbered = [(family, row, id) for family in families for row, id in enumerate(family.ids)]
    found = [(n, *item, by_id[item[2]]) for n, item in enumerate(numbered) if by_id[item[2]].facts is not None]
    if not found or parts.series is None:
        return None
    actions = [
        [
            book.add(agent.id, entry, *ownership.decider(agent), idle)
            for entry, idle in zip(agent.action_entries().values(), agent.action.idle().tolist(), strict=True)
        ]
        for *_, agent in found
    ]
    retail = [family.tariff(parts.columns.price)[0][row] for _, family, row, *_ in found]
    around = Surroundings(
        place=np.array([family.place[row] for _, family, row, *_ in found], dtype=int),
        seen=np.array([family.price[row] for _, family, row, *_ in found], dtype=int),
        base=np.array([family.base[row] for _, family, row, *_ in found], dtype=int),
        paid=np.array([at if agent.own_bill else -1 for at, (*_, agent) in zip(retail, found, strict=True)], dtype=int),
        draw=np.array([number for number, *_ in found], dtype=int),
    )
    return PythonDevices(
        [agent for *_, agent in found],
        actions,
        [family.slot[row] for _, family, row, *_ in found],
        around,
        book.constant(0.0),
        parts.settings.episode_length,
        parts.series,
    )


def _place(network: Any, meters: Meters, agent: Any) -> int:
    if agent.role == "meter":
        return meters.rows[agent.bus]
    if agent.role == "injection":
        return terminals.device_nodes(network, agent)[0]
    if agent.role == "tap":
        return regulator_rows(network, agent)[0]
    if agent.role == "switch":
        return switched_rows(network, agent)[0]
    names = [name for name, free in zip(network.shunts.name, network.shunts.switchable, strict=True) if free]
    if agent.bus not in names:
        raise NetworkError(f'agent "{agent.id}": no switchable shunt "{agent.bus}"; {nearest(agent.bus, names)}')
    return names.index(agent.bus)


def switched_rows(network: Any, agent: Any) -> tuple[int, ...]:
    """Rows of ``network.branches`` that a switch opens and closes."""
    rows = terminals.branch_rows(network, agent.bus)
    if not rows:
        raise NetworkError(f'agent "{agent.id}": no branch "{agent.bus}"; {nearest(agent.bus, network.branches.name)}')
    return rows


def regulator_rows(network: Any, agent: Any) -> tuple[int, ...]:
    """Rows of ``network.regulators`` that a device moves."""
    rows = regulators_at(network, agent.bus)
    if not rows:
        names = [network.branches.name[i] for i in network.regulators.branch]
        raise NetworkError(f'agent "{agent.id}": no regulator "{agent.bus}"; {nearest(agent.bus, names)}')
    return rows


def leading_row(network: Any, agent: Any, rows: Sequence[int]) -> int:
    """Row whose phase the relay of a device reads: the one that it names, else the first."""
    if agent.phases is None or not network.is_three_phase:
        return rows[0]
    here = {network.buses.phase[network.branches.to_bus[network.regulators.branch[row]]]: row for row in rows}
    if agent.phases not in here:
        raise NetworkError(
            f'agent "{agent.id}": regulator "{agent.bus}" has no phase {agent.phases} to read; '
            f"{terminals.has_phases(''.join(here))}"
        )
    return here[agent.phases]


def unit_of_rows(driven: Sequence[Sequence[int]]) -> np.ndarray | None:
    """Unit that moves each regulator; ``None`` where every unit moves one."""
    if all(len(rows) == 1 for rows in driven):
        return None
    unit_of = np.empty(sum(map(len, driven)), dtype=int)
    for unit, rows in enumerate(driven):
        unit_of[list(rows)] = unit
    return unit_of


def _sources(parts: Parts, meters: Meters, kernel: Any, units: Sequence[Any]) -> tuple[Source, ...]:
    found = []
    for name in kernel.Exogenous._fields:
        if name in ("p_branch_mw", "p_net_mw"):
            rows = meters.rows if name == "p_branch_mw" else meters.paid
            found.append(Source("p_branch_mw", np.array([rows[agent.bus] for agent in units], dtype=int)))
        elif name == "v_pu":
            at = [terminals.device_nodes(parts.network, agent)[0] for agent in units]
            found.append(Source(name, np.array(at, dtype=int)))
        else:
            index = [parts.columns.column(agent.series()[name]) for agent in units]
            found.append(Source("series", np.array(index, dtype=int)))
    return tuple(found)


class Tariffs:
    """Tariff columns, retail and feed-in, at the meters of devices and accounts."""

    def __init__(self, parts: Parts, ownership: Ownership, meters: Meters):
        self._columns, self._account, self._metering = parts.columns, ownership.account, meters.zones
        devices = [agent for agent in parts.devices if agent.role == "meter"]
        self._at = {agent.bus: agent for agent in devices}
        self._first = {ownership.account(agent): agent for agent in reversed(devices)}

    def device(self, agent: Any) -> tuple[int, int]:
        """Of the meter that measures a unit first; else of its account's first meter, or those of the document."""
        place = self._metering.of_unit.get(agent.id, -1)
        if place >= 0:
            return self._of(self._at.get(self._metering.places[place]))
        return self.account(self._account(agent))

    def account(self, account: int) -> tuple[int, int]:
        """Of an account's first meter."""
        return self._of(self._first.get(account))

    def _of(self, meter: Any) -> tuple[int, int]:
        series = meter.series() if meter else {}
        names = (series.get(name, name) for name in ("retail_per_mwh", "feed_in_per_mwh"))
        retail, feed_in = (self._columns.column(name) for name in names)
        return retail, feed_in


def _price_columns(parts: Parts, agent: Any, prices: Replacements) -> tuple[int, int]:
    """Columns of the price a unit sees and of the one that its tariff contains, among the row and the signals after."""
    heard, market = prices.heard_by(agent), int(parts.columns.price)
    if heard < 0:
        return market, market
    seen = int(parts.columns.width) + heard
    return seen, seen if prices.replaces_tariff(agent) else market
