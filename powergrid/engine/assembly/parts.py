"""What an environment is made of, and the numbering of its measurements and slots while it is assembled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from powergrid.agents.policy import LocalPolicy
from powergrid.coordination.layers import Peers
from powergrid.core.types import Entry
from powergrid.engine.assembly.metering import SOURCE, UNIT, metering, moving_branches
from powergrid.engine.assembly.ownership import Ownership
from powergrid.engine.gather import SumTo
from powergrid.engine.layout import SHARED, Columns, Settings
from powergrid.engine.switching import Outage
from powergrid.networks import terminals
from powergrid.networks.regulation import regulators_at


@dataclass(frozen=True)
class Parts:
    """Everything an environment is made of.

    Attributes
    ----------
    network
        The network's columns.
    agents
        All agents, in configuration order, already linked to their parents.
    vertical
        Vertical protocol object of each coordinator, by id.
    horizontal
        Horizontal protocols with their members.
    policies
        Local policies by name: ``act(xp, layout, params, state, exogenous, noise) -> slots``.
    load_series
        Series of each of the network's own loads.
    outages
        What may fail.
    residual
        Policy that actions from outside correct; ``None`` where actions are commands.
    series
        Values of a series over the year, for plain Python devices; ``None`` where there are none.
    columns
        What the exogenous table holds.
    settings
        Numbers of the environment.
    """

    network: Any
    agents: Sequence[Any]
    vertical: Mapping[str, Any]
    horizontal: Sequence[Peers]
    policies: Mapping[str, Callable[..., Any]]
    load_series: Sequence[str]
    columns: Columns
    settings: Settings
    outages: Sequence[Outage] = ()
    residual: LocalPolicy | None = None
    series: Callable[[str, np.ndarray], np.ndarray] | None = None

    @property
    def devices(self) -> list[Any]:
        """Agents that are devices, family by family; regulators and capacitors in the network's order."""
        found = [agent for agent in self.agents if hasattr(agent, "role")]
        families = list(dict.fromkeys(agent.kernel for agent in found))
        shunts = list(self.network.shunts.name)

        def place(agent: Any) -> tuple[int, int]:
            rows: Sequence[int] = ()
            if agent.role == "tap":
                rows = regulators_at(self.network, agent.bus)
            elif agent.role == "cap" and agent.bus in shunts:
                rows = (shunts.index(agent.bus),)
            return families.index(agent.kernel), rows[0] if rows else 0

        return sorted(found, key=place)


class Meters:
    """Numbering of measurements: metered branches, the source, devices with a meter of their own, and net readings.

    A net reading is what a meter reads less what the meters directly behind it read.
    """

    def __init__(self, parts: Parts, injecting_units: list[str]):
        network, agents = parts.network, {agent.id: agent for agent in parts.devices}
        self._meters = [agent for agent in parts.devices if agent.role == "meter"]
        places = list(dict.fromkeys(agent.bus for agent in self._meters))
        nodes = {id: terminals.device_nodes(network, agents[id]) for id in injecting_units}
        moving = moving_branches(network, parts.devices, parts.outages)
        self.zones = metering(network, places, nodes, moving)
        # whoever pays for energy without a meter that charges is measured where another meter would charge once more
        own = [UNIT + id for id in injecting_units if agents[id].own_bill and self.zones.of_unit[id] >= 0]
        if own:
            places += [place for place in own if place not in places]
            self.zones = metering(network, places, nodes, moving)
        branches = [place for place in places if place != SOURCE and not place.startswith(UNIT)]
        units = [place.removeprefix(UNIT) for place in places if place.startswith(UNIT)]
        self.branches = tuple(terminals.branch_rows(network, place) for place in branches)
        place_of = {unit: place for place, unit in enumerate(injecting_units)}
        self.units = np.array([place_of[unit] for unit in units], dtype=int)
        self.measured = (*branches, "source", *units)
        self.rows = {place: row for row, place in enumerate([*branches, SOURCE, *(UNIT + unit for unit in units)])}
        self.paid = dict(self.rows)
        nested = {places[outer]: [places[i] for i in inner] for outer, inner in self.zones.nested.items()}
        self.net = self._net(nested)
        self.names = (*self.measured, *(f"{place or 'source'}.net" for place in nested))

    def account_of_node(self, ownership: Ownership) -> np.ndarray:
        """Account whose meter measures each node first; :data:`~powergrid.engine.layout.SHARED` where none does."""
        account = {agent.bus: ownership.account(agent) for agent in self._meters}
        accounts = [account.get(place, SHARED) for place in self.zones.places]
        owners: np.ndarray = np.array([*accounts, SHARED], dtype=int)[self.zones.of_node]
        return owners

    def _net(self, nested: Mapping[str, Sequence[str]]) -> SumTo:
        """Sum of the measurements into net readings, which stand behind them."""
        target: list[int] = []
        source: list[int] = []
        weight: list[float] = []
        for k, (place, inside) in enumerate(nested.items()):
            self.paid[place] = len(self.rows) + k
            source += [self.rows[place], *(self.rows[inner] for inner in inside)]
            target += [k] * (len(inside) + 1)
            weight += [1.0] + [-1.0] * len(inside)
        index = (np.array(numbers, dtype=int) for numbers in (target, source))
        return SumTo(next(index), len(nested), np.array(weight), next(index), values=len(self.rows))


class SlotBook:
    """Collects slots while families and markets are numbered."""

    def __init__(self, ownership: Ownership):
        self.ownership = ownership
        self.actions: dict[str, list[tuple[str, Entry]]] = {
            actor: [] for actor in (*ownership.actors, *ownership.python_agents)
        }
        # who decides or "", whether from outside, local policy or "", position in the action
        self.decider: list[tuple[str, bool, str, int]] = []
        self.ranges: list[tuple[float, float]] = []
        self.rest: list[float] = []  # held before the first decision

    def add(self, owner: str, entry: Entry, by: str, policy: str, idle: float | None = None) -> int:
        """Number of a new slot; before the first decision it holds `idle`, or its middle.

        Parameters
        ----------
        owner
            What the slot belongs to.
        by
            Agent that decides, at its own interval; empty for what is decided in every tick.
        policy
            Local policy of who decides, empty where that is an actor.
        """
        position = 0
        if not policy:
            position = len(self.actions[by])
            self.actions[by].append((owner, entry))
        self.decider.append((by, not policy, policy, position))
        self.ranges.append((entry.low, entry.high))
        span = entry.high - entry.low
        rest = 0.0 if idle is None or span <= 0.0 else 2.0 * (idle - entry.low) / span - 1.0
        self.rest.append(min(max(rest, -1.0), 1.0))
        return len(self.decider) - 1

    def constant(self, value: float) -> int:
        """Number of a new slot that nobody fills."""
        self.decider.append(("", False, "", 0))
        self.ranges.append((value, value))
        self.rest.append(0.0)
        return len(self.decider) - 1
