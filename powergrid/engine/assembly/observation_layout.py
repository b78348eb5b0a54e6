"""Which features each agent sees, decided once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from powergrid.coordination.channels import Column
from powergrid.core.types import CONSTANT_SERIES, Entry
from powergrid.engine import observations
from powergrid.engine.assembly.neighbours import neighbours
from powergrid.engine.assembly.ownership import Ownership
from powergrid.engine.assembly.parts import Meters
from powergrid.engine.blocks import Blocks, FeatureColumns
from powergrid.engine.layout import Family, Ledger
from powergrid.engine.view import View
from powergrid.networks import terminals

_CLOCK = "clock_"


class _Book:
    """Features in their order, found again by owner."""

    def __init__(self, entries: Sequence[tuple[str, Entry]]):
        self.entries = entries
        self._by_owner: dict[str, list[int]] = {}
        for i, (owner, _) in enumerate(entries):
            self._by_owner.setdefault(owner, []).append(i)
        self._series = {entries[i][1].name: i for i in self._by_owner.get("", [])}

    def of(self, owner: str) -> list[int]:
        """Features of an owner."""
        return self._by_owner.get(owner, [])

    def series(self, name: str, ahead_hours: int = 0) -> list[int]:
        """A series now, and its forecasts where it has any."""
        names = [name, *(f"{name}+{hour}h" for hour in range(1, ahead_hours + 1))]
        return [self._series[n] for n in names if n in self._series]


def view(
    parts: Any,
    ownership: Ownership,
    meters: Meters,
    families: Sequence[Family],
    signals: Sequence[Column],
    ledger: Ledger,
    forming: Sequence[str] = (),
) -> View:
    """Make the view: all features, and each actor's choice.

    Units in `forming` see their frequency.
    """
    entries = _entries(parts, ownership, meters, families, signals, ledger, forming)
    book = _Book([entry for block in entries for entry in block])
    concerned = _Series(parts, meters.account_of_node(ownership), families, ledger)
    agents = {agent.id: agent for agent in parts.agents}
    below: dict[str, list[Entry]] = defaultdict(list)  # what everybody below its owner receives
    for column in signals:
        below[column.owner] += [column.entry] if column.below else []
    observers = (*ownership.actors, *ownership.python_agents)
    first = len(book.entries) - len(signals)
    from_peers = {first + i for i, column in enumerate(signals) if column.peers}

    everybody = _seen_by_everybody(parts.columns, book)
    meter_names = frozenset(meters.names)

    def received(actor: str) -> list[int]:
        return _once([*everybody, *_own(parts, ownership, book, agents[actor], meter_names, concerned, below)])

    def local(actor: str) -> list[int]:
        return [i for i in received(actor) if i not in from_peers]

    near: Mapping[str, Sequence[str]] = {}
    if any(agents[actor].observability == "neighbours" for actor in observers):
        near = neighbours(parts.network, [agents[actor] for actor in observers])
    choose: Mapping[str, Callable[[str], list[int]]] = {
        "local": local,
        "local+communication": received,
        "neighbours": lambda actor: _once([*received(actor), *(i for other in near[actor] for i in local(other))]),
        "full": lambda _: list(range(len(book.entries))),
    }
    chosen = [choose[agents[actor].observability](actor) for actor in observers]
    index = np.array(list(chain(*chosen)), dtype=int)
    bounds = np.array([(entry.low, entry.high) for _, entry in book.entries], dtype=float).reshape(-1, 2)
    return View(
        entries=tuple(book.entries),
        blocks=Blocks(FeatureColumns(*([len(block)] for block in entries))),
        index=index,
        offsets=np.cumsum([0, *map(len, chosen)]),
        low=bounds[index, 0],
        high=bounds[index, 1],
        central=np.array(sorted({i for features in chosen[: len(ownership.actors)] for i in features}), dtype=int),
    )


def _entries(
    parts: Any,
    ownership: Ownership,
    meters: Meters,
    families: Sequence[Family],
    signals: Sequence[Column],
    ledger: Ledger,
    forming: Sequence[str],
) -> FeatureColumns:
    units = {agent.id: agent for agent in parts.agents}
    exogenous, ahead = observations.exogenous_entries(parts.columns), parts.columns.ahead_start
    branches = meters.measured[: len(meters.branches) + 1]
    buses = parts.network.buses.name
    voltages, powers, reactive = observations.network_entries(buses, branches, meters.measured, meters.names)
    renewable = np.flatnonzero(ledger.renewable_to_account[:, :-1].any(axis=0)).tolist()
    load, net_load = observations.load_entries(ownership.accounts, renewable)
    readings = []
    for family in families:
        rows = [units[id].observation_entries() for id in family.ids]
        for column in range(len(rows[0])):
            readings += [(id, row[column]) for id, row in zip(family.ids, rows, strict=True)]
    return FeatureColumns(
        series=exogenous[:ahead],
        forecast=exogenous[ahead:],
        v_pu=voltages,
        measured_mw=powers,
        q_mvar=reactive,
        load_mw=load,
        net_load_mw=net_load,
        settlement=observations.settlement_entries(parts.columns, ledger),
        device=readings,
        frequency_hz=observations.frequency_entries(forming, parts.network.f_hz),
        signals=[(column.owner, column.entry) for column in signals],
    )


def _seen_by_everybody(columns: Any, book: _Book) -> list[int]:
    """Clock, prices, and other series that everybody observes."""
    clock = [i for name in columns.series if name.startswith(_CLOCK) for i in book.series(name)]
    public = [i for k in columns.public for i in book.series(columns.series[k], columns.ahead_hours)]
    return clock + book.series(columns.series[columns.price], columns.price_hours) + public


def _own(
    parts: Any,
    ownership: Ownership,
    book: _Book,
    agent: Any,
    meters: Collection[str],
    concerned: _Series,
    below: Mapping[str, Sequence[Entry]],
) -> list[int]:
    """Own tariff, own devices with their series and buses, own meter, own load and signals."""
    columns, chosen = parts.columns, []
    devices = [a for a in (agent, *agent.descendants()) if hasattr(a, "role")]
    for name in concerned.own(ownership.account_of(agent.id), devices):
        chosen += book.series(name, columns.ahead_hours)
    for device in devices:
        chosen += book.of(device.id)
        if device.role == "injection":
            names = parts.network.buses.name
            chosen += [
                i for node in terminals.device_nodes(parts.network, device) for i in book.of(f"bus_{names[node]}")
            ]
        elif device.role == "meter":
            chosen += book.of(device.bus) if device.bus in meters else book.of("source") if device.bus == "" else []
            chosen += _meter_buses(parts.network, book, device.bus)
    chosen += book.of(agent.id)
    for ancestor in agent.ancestors():
        chosen += [i for i in book.of(ancestor.id) if book.entries[i][1] in below.get(ancestor.id, ())]
    return chosen


def _once(features: Iterable[int]) -> list[int]:
    """Features in order, each once."""
    return list(dict.fromkeys(features))


class _Series:
    """Which series concern which devices and accounts."""

    def __init__(self, parts: Any, owners: np.ndarray, families: Sequence[Family], ledger: Ledger):
        self._names, self._families = parts.columns.series, families
        self._settle_at = dict(zip(ledger.settling, ledger.settle_at, strict=True))
        self._prices = ledger.settlement_names(parts.columns)
        self._place = {id: (f, row) for f, family in enumerate(families) for row, id in enumerate(family.ids)}
        self._loads = defaultdict(list)
        at = terminals.node_of_place(parts.network)[parts.network.loads.bus]
        for name, bus in zip(parts.load_series, at, strict=True):
            self._loads[owners[bus]].append(self._names[parts.columns.column(name)])
        for device in (device for device in parts.devices if device.of_network):
            names = [name for name in device.series().values() if name != CONSTANT_SERIES]
            owner = owners[terminals.device_nodes(parts.network, device)[0]]
            self._loads[owner] += [self._names[parts.columns.column(name)] for name in names]

    def own(self, account: int, devices: Sequence[Any]) -> Iterable[str]:
        """Series and settlement prices of an account.

        These are tariff and exogenous series of its devices, the series of loads and generation of its area, and
        settlement prices of devices that hold something of worth.
        """
        rows = defaultdict(list)
        for f, row in sorted(self._place[device.id] for device in devices):
            rows[f].append(row)
        for f, mine in rows.items():
            family = self._families[f]
            places = [source.place for source in family.sources if source.kind == "series"]
            for place in (*places, family.retail, family.feed_in):
                yield from (self._names[place[i]] for i in mine)
        yield from self._loads[account]
        for f in self._settle_at:
            yield from (self._prices[self._settle_at[f][i]] for i in rows[f])


def _meter_buses(network: Any, book: _Book, place: str) -> list[int]:
    """Voltage at both ends of a metered branch."""
    branches = list(terminals.branch_rows(network, place))
    ends = np.column_stack([network.branches.from_bus[branches], network.branches.to_bus[branches]]).ravel()
    return [i for bus in ends for i in book.of(f"bus_{network.buses.name[bus]}")]
