"""A safety layer: the smallest change of the agents' powers that keeps the network inside its limits.

It stands between any policy and the network, as in Dalal, Dvijotham, Vecerik, Hester, Paduraru and Tassa, "Safe
exploration in continuous action spaces", arXiv:1801.08757, 2018, with the network's own sensitivities in place of
learned ones, and with all limits at once: a quadratic program in place of its closed form for one limit.

The step that follows from the policy's actions is computed. Where a voltage or a loading violates its limit, the flow
is linearised by the powers at the units' terminals, and the nearest powers are found whose linearised voltages and
loadings keep all limits less a margin::

    min  sum_u |dS_u|^2 / c_u^2    with  A dS <= b,  and each unit within what it can do in this tick

`dS_u` is the change of active and reactive power of unit u [MW, Mvar] and `c_u` the largest apparent power that its
actions reach in this tick [MVA]. The margin is at most as large as the violation, and at most half of the room of what
holds its limit: a bus that no unit can move, such as one behind a regulator, forbids nothing. Nor does a violated limit
count of which the units together could remove less than a tenth: they would give all for next to nothing. Where the
others cannot hold together, the powers are those that violate them least, in the sum of squares.

Then the actions are searched with which the units deliver these powers. Where a limit is violated in the flow that
follows, that flow is linearised anew, and the best of the flows is kept. Where limits are violated in all of them,
actions on the way to idle units are tried as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from powergrid.core.errors import ArgumentError
from powergrid.core.types import Control, Flow, Injection
from powergrid.engine import local_policies, schedule
from powergrid.engine import step as engine
from powergrid.engine.inverters import Voltages
from powergrid.engine.layout import Layout
from powergrid.engine.state import Exogenous, Noise, State
from powergrid.engine.tick import Tick, tick_of
from powergrid.learn.projection import project

MARGIN_PU = 0.001
"""Distance to the limits to which voltages and loadings are brought [pu]; the limit of a loading is 1 pu."""
ROUNDS = 20
"""Linearisations in a tick at most; one is usual, taps that move with the powers need more."""
_PATIENCE = 3
"""Linearisations in a row that may bring nothing before the search ends."""
OUTSIDE_PU = 1e-6
"""Violation from which a limit counts as violated [pu]."""
_NUDGE = 0.01
"""Power by which the flow is linearised, as a share of the capability at the terminal [1]."""
_LEAST_MVA = 1e-6
"""Range of power below which a slot has nothing to give [MVA]."""
_EVALUATIONS = 40
"""Evaluations of the devices within which the action for a power is found; a few are usual."""
_FOUND = 1e-8
"""Distance to the wanted power at which a search ends, as a share of the unit's capability [1]."""
_WORTH = 0.1
"""Least share of a violation that the units together must be able to remove for it to count [1]."""
_WAY = (0.25, 0.5, 0.75, 1.0)
"""Shares of the way to idle units that are tried where a flow has no solution, or no linearisation helps [1]."""
_CELLS = 4_000_000
"""Voltages of flows that are solved at once for a linearisation."""


class Intervention(NamedTuple):
    """What the layer has done in a tick, by environment ``(batch,)``.

    Attributes
    ----------
    changed
        Whether it has changed the actions.
    outside
        Whether a limit is violated all the same.
    """

    changed: np.ndarray
    outside: np.ndarray


class _Ticks(NamedTuple):
    """What the engine needs of running ticks, one row an environment."""

    state: State
    exogenous: Exogenous
    noise: Noise


class _Probe(NamedTuple):
    """The step that follows from some actions: what all units inject, the flow, and the controls it holds for."""

    power: Injection
    flow: Flow
    control: Control


class _Moves(NamedTuple):
    """The slots that the layer may change: each commands power of a unit, one entry a slot ``(v,)``.

    Attributes
    ----------
    slot, given, actor
        The slot, its place in the flattened actions, and the row of the agent that decides.
    family, row, unit
        The unit: its family, its row in it, and its number among all that inject.
    own
        Number of the unit among those that have an entry.
    rank
        Number of the slot among those of its unit: in this order they are searched, reactive power last.
    axis
        0 for active and 1 for reactive power where a unit has a slot for reactive power of its own; else -1.
    """

    slot: np.ndarray
    given: np.ndarray
    actor: np.ndarray
    family: np.ndarray
    row: np.ndarray
    unit: np.ndarray
    own: np.ndarray
    rank: np.ndarray
    axis: np.ndarray


class _Reach(NamedTuple):
    """What the slots can do from where they stand.

    Attributes
    ----------
    direction
        Change of the unit's active and reactive power with the power of the slot [1], ``(batch, v, 2)``.
    low, high
        Change of power in that direction, down to the lowest and up to the highest [MVA], ``(batch, v)``.
    capability
        Largest apparent power that the actions of the slot's unit reach [MVA], ``(batch, v)``.
    """

    direction: np.ndarray
    low: np.ndarray
    high: np.ndarray
    capability: np.ndarray


@dataclass(frozen=True)
class _Units:
    """How the units answer in running ticks.

    Attributes
    ----------
    tick, topology
        The ticks, and the topology that holds in them; ``None`` where there is only one.
    slots
        What is commanded, ``(batch, K)``.
    due
        Which agents decide, ``(batch, A)``.
    moves
        The slots that may change.
    """

    tick: Tick
    topology: Any
    slots: np.ndarray
    due: np.ndarray
    moves: _Moves

    def power(self, slots: np.ndarray) -> np.ndarray:
        """Active and reactive power of the unit of each slot [MW, Mvar], ``(batch, v, 2)``."""
        layout, moves = self.tick.layout, self.moves
        physical = layout.slots.physical(slots)
        found = np.zeros((len(slots), len(moves.slot), 2))
        for i in np.unique(moves.family).tolist():
            mine, family = moves.family == i, layout.families[i]
            made = self.tick.delivered(i, schedule.command(family, physical))
            for k, part in enumerate(self.tick.with_voltage(i, self.topology, *made)[1]):
                found[:, mine, k] = np.broadcast_to(part, (len(slots), family.size))[:, moves.row[mine]]
        return found

    def reach(self) -> _Reach:
        """What each slot does from one end to the other, the others as they are."""
        moves, here = self.moves, self.power(self.slots)
        ends = np.zeros((2, *here.shape))
        for rank in range(moves.rank.max() + 1):
            mine = moves.rank == rank
            for k, end in enumerate((-1.0, 1.0)):
                ends[k][:, mine] = self.power(_with(self.slots, moves.slot[mine], end))[:, mine]
        chord = ends[1] - ends[0]
        length = np.sqrt((chord * chord).sum(-1))
        along_chord = chord / np.where(length > 0.0, length, 1.0)[..., None]
        direction = np.where(moves.axis[:, None] >= 0, np.eye(2)[np.maximum(moves.axis, 0)], along_chord)
        along = ((ends - here) * direction).sum(-1)
        may = self.due[:, moves.actor] & (length > _LEAST_MVA)
        apparent = np.zeros((moves.own.max() + 1, len(here)))
        np.maximum.at(apparent, moves.own, np.sqrt((ends * ends).sum(-1)).max(0).T)
        return _Reach(
            direction=direction,
            low=np.where(may, np.minimum(along.min(0), 0.0), 0.0),
            high=np.where(may, np.maximum(along.max(0), 0.0), 0.0),
            capability=np.maximum(apparent[moves.own].T, _LEAST_MVA),
        )

    def searched(self, reach: _Reach, move: np.ndarray) -> np.ndarray:
        """Slots with which the units deliver changes of power [MVA], ``(batch, v)``: one rank after the other."""
        moves, slots, close = self.moves, self.slots, _FOUND * reach.capability
        goal = (self.power(slots) * reach.direction).sum(-1) + move
        for rank in range(moves.rank.max() + 1):
            mine = np.flatnonzero(moves.rank == rank)
            moving = np.abs(move[:, mine]) > close[:, mine]
            if moving.any():
                slots = self._delivering(slots, mine, moving, reach.direction[:, mine], goal[:, mine], close[:, mine])
        return slots

    def _delivering(
        self,
        slots: np.ndarray,
        mine: np.ndarray,
        moving: np.ndarray,
        direction: np.ndarray,
        goal: np.ndarray,
        close: np.ndarray,
    ) -> np.ndarray:
        at = self.moves.slot[mine]
        first = slots[:, at]

        def miss(values: np.ndarray) -> np.ndarray:
            power = self.power(_with(slots, at, values))[:, mine]
            missed: np.ndarray = (power * direction).sum(-1) - goal
            return missed

        return _with(slots, at, np.where(moving, _root(miss, first, close), first))


class SafetyLayer:
    """Projects actions onto the voltage and loading limits of a world's network.

    It knows what the engine knows: the loads of the running tick at all buses and the state of every device, as an
    operator with a state estimator does.

    Parameters
    ----------
    world
        What is simulated, ``env.world``.
    margin_pu
        Distance to the limits to which voltages and loadings are brought [pu]; the limit of a loading is 1 pu.
    rounds
        Linearisations in a tick at most.

    Attributes
    ----------
    decisions, changed, outside
        Ticks that were decided, those in which the layer changed an action, and those in which a limit is violated all
        the same; summed over the environments.
    held
        Commands of agents that stay as the policy chooses them, ``device.field``.

    Raises
    ------
    ArgumentError
        If the margin or the rounds are out of range; if agents or devices of the world are plain Python, since they
        cannot be asked twice; if units can form islands; or if no action moves the power of a unit.
    """

    def __init__(self, world: Any, *, margin_pu: float = MARGIN_PU, rounds: int = ROUNDS):
        layout: Layout = world.layout
        self.world, self.layout = world, layout
        self.margin_pu, self.rounds = checked_margin(margin_pu), checked_rounds(rounds)
        name = world.resolved.config.name
        _check_world(layout, name, self.margin_pu)
        self._moves, self.held = _moves(layout)
        if not len(self._moves.slot):
            raise ArgumentError(
                f'"{name}": no action moves the power of a unit, so that a safety layer has nothing to change: orders, '
                "prices, taps, banks, commitment and what a protocol governs stay as the policy chooses them"
            )
        units = np.zeros((len(self._moves.unit), sum(layout.families[i].size for i in layout.injecting)))
        units[np.arange(len(units)), self._moves.unit] = 1.0
        self._terminals, self._terminal = np.unique(layout.grid.inject(np, units), axis=0, return_inverse=True)
        self._terminal = self._terminal.reshape(-1)
        self.decisions = self.changed = self.outside = 0

    def project(self, simulation: Any, state: State, actions: np.ndarray) -> tuple[np.ndarray, Intervention]:
        """The nearest actions whose flow keeps the limits.

        Parameters
        ----------
        simulation
            The simulation that holds the rows of data and the random numbers of the tick.
        state
            State before the tick, with one batch axis.
        actions
            What the policy chooses, ``(batch, A, k_max)`` in [-1, 1].

        Returns
        -------
        actions, intervention
            In the type of those given. Where these keep the limits, they are the same to the bit.
        """
        ticks = _Ticks(state, simulation.exogenous(state), simulation.noise_at(state.tick + 1))
        probe = self._probe(simulation.params, ticks, actions)
        beyond = self._beyond(probe.flow).max(-1)
        unsafe = np.flatnonzero(beyond > 0.0)
        found, changed = actions.copy(), np.zeros(len(actions), bool)
        if len(unsafe):
            given = _rows((ticks, actions, probe), unsafe)
            found[unsafe], beyond[unsafe] = self._projected(simulation.params, *given)
            changed[unsafe] = (found[unsafe] != given[1]).any((1, 2))
        outside = beyond > OUTSIDE_PU
        self.decisions += len(actions)
        self.changed += int(changed.sum())
        self.outside += int(outside.sum())
        return found, Intervention(changed, outside)

    def _projected(
        self, params: Any, ticks: _Ticks, actions: np.ndarray, probe: _Probe
    ) -> tuple[np.ndarray, np.ndarray]:
        """The best actions that were found, and by how much they violate limits at most [pu]."""
        beyond = self._beyond(probe.flow)
        best, least, most = actions.copy(), (beyond**2).sum(-1), beyond.max(-1)
        units = self._units(params, ticks, actions, probe)
        policys_mw, capability = units.power(units.slots), units.reach().capability
        given = ticks, actions
        chosen, busy, in_vain = actions, np.arange(len(actions)), np.zeros(len(actions), int)
        if not probe.flow.converged.all():
            chosen = self._solvable(params, ticks, actions, probe.flow.converged)
        for number in range(self.rounds + 1):
            if number or chosen is not actions:
                probe = self._probe(params, ticks, chosen)
                beyond = self._beyond(probe.flow)
                total, largest = (beyond**2).sum(-1), beyond.max(-1)
                better = total < least[busy]
                in_vain[busy] = np.where(total < 0.99 * least[busy], 0, in_vain[busy] + 1)
                at = busy[better]
                best[at], least[at], most[at] = chosen[better], total[better], largest[better]
                if not number:  # any safe actions that follow are nearer to the policy's
                    least[at] = np.maximum(least[at], OUTSIDE_PU)
                goes_on = np.isfinite(largest) & ((largest > OUTSIDE_PU) | (number == 0))
                open_ = np.flatnonzero(goes_on & (in_vain[busy] < _PATIENCE))
                busy, rest = busy[open_], (ticks, chosen, probe, policys_mw, capability)
                ticks, chosen, probe, policys_mw, capability = _rows(rest, open_)
            if number == self.rounds or not len(busy):
                break
            units = self._units(params, ticks, chosen, probe)
            reach = units.reach()._replace(capability=capability)
            # the distance is that to the policy's powers, wherever the flow is linearised
            gone = ((units.power(units.slots) - policys_mw) * reach.direction).sum(-1) / capability
            a, b = self._half_spaces(units.tick, probe, reach)
            low, high = gone + reach.low / capability, gone + reach.high / capability
            a, b = _within_reach(a, b, reach.low / capability, reach.high / capability)
            z = project(a, b + (a @ gone[..., None])[..., 0], low, high)
            chosen = self._with_slots(chosen, units.slots, units.searched(reach, (z - gone) * capability))
        for share in _WAY:  # where taps that move with the powers mislead every linearisation
            left = np.flatnonzero(most > OUTSIDE_PU)
            if not len(left):
                break
            ticks, tried = _rows(given, left)
            tried = self._towards_idle(tried, share)
            beyond = self._beyond(self._probe(params, ticks, tried).flow)
            total, largest = (beyond**2).sum(-1), beyond.max(-1)
            better = total < least[left]
            at = left[better]
            best[at], least[at], most[at] = tried[better], total[better], largest[better]
        return best, most

    # -- what the engine makes of actions

    def _probe(self, params: Any, ticks: _Ticks, actions: np.ndarray) -> _Probe:
        layout, (state, exogenous, noise) = self.layout, ticks
        after, output = engine.step(np, layout, params, state, actions, exogenous, noise)
        ratio = cap_on = topology = None
        if layout.taps is not None:
            ratio = layout.families[layout.taps].kernel.ratio(params.families[layout.taps], after.devices[layout.taps])
            ratio = ratio if layout.regulators.tap_of is None else ratio[..., layout.regulators.tap_of]
        if layout.caps is not None:
            cap_on = after.devices[layout.caps].on
        if layout.grid.switching is not None:
            topology = layout.grid.switching.topology(np, state.tick, state.outages, after.devices)
        control = Control(tap_ratio=ratio, cap_on=cap_on, topology=topology)
        return _Probe(Injection(output.p_mw, output.q_mvar), output.flow, control)

    def _units(self, params: Any, ticks: _Ticks, actions: np.ndarray, probe: _Probe) -> _Units:
        layout, (state, exogenous, noise) = self.layout, ticks
        tick = tick_of(np, layout, params, state, exogenous.now, noise, layout.policies.choices)
        slots, due = schedule.choose(np, layout, state, actions)
        slots, memory = local_policies.decide(tick, slots)
        commanded = engine.governed(tick, slots, memory)[1]
        return _Units(tick, probe.control.topology, commanded, due, self._moves)

    def _with_slots(self, actions: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Actions with the slots that have moved."""
        moves, flat = self._moves, actions.reshape(len(actions), -1).copy()
        old, new = before[:, moves.slot], after[:, moves.slot]
        flat[:, moves.given] = np.where(old == new, flat[:, moves.given], new)
        return flat.reshape(actions.shape)

    def _solvable(self, params: Any, ticks: _Ticks, actions: np.ndarray, solved: np.ndarray) -> np.ndarray:
        """Actions on the way to idle units whose flow has a solution, where there is nothing to linearise around."""
        chosen = actions
        for share in _WAY:
            chosen = np.where(solved[:, None, None], chosen, self._towards_idle(actions, share))
            solved = solved | self._probe(params, ticks, chosen).flow.converged
            if solved.all():
                break
        return chosen

    def _towards_idle(self, actions: np.ndarray, share: float) -> np.ndarray:
        """Actions a share of the way to those of idle units."""
        moves, flat = self._moves, actions.reshape(len(actions), -1).copy()
        flat[:, moves.given] += share * (self.layout.slots.rest[moves.slot] - flat[:, moves.given])
        return flat.reshape(actions.shape)

    # -- limits and their slopes

    def _room(self, flow: Flow) -> np.ndarray:
        """Room of voltages below the highest and above the lowest, and of loadings [pu], ``(batch, 2 m + b)``.

        Infinite where nothing is energised or solved.
        """
        given, solved = self.layout.settings, flow.converged[:, None]
        alive = flow.energised & solved
        rooms = (
            np.where(alive, given.v_max_pu - flow.v_pu, np.inf),
            np.where(alive, flow.v_pu - given.v_min_pu, np.inf),
            np.where(solved, 1.0 - 0.01 * flow.loading, np.inf),
        )
        return np.concatenate(rooms, axis=1)

    def _beyond(self, flow: Flow) -> np.ndarray:
        """Excess over the limits [pu]; infinite where the flow has no solution."""
        return np.where(flow.converged[:, None], np.maximum(-self._room(flow), 0.0), np.inf)

    def _half_spaces(self, tick: Tick, probe: _Probe, reach: _Reach) -> tuple[np.ndarray, np.ndarray]:
        """Linearised limits less margins: ``a z <= b`` for moves `z` of the slots as shares of the capabilities."""
        room, t = self._room(probe.flow), len(self._terminals)
        counts = np.isfinite(room)
        by_power = self._slopes(tick, probe, reach.capability)
        g_p, g_q = np.moveaxis(reach.direction * reach.capability[..., None], -1, 0)
        by_p, by_q = by_power[..., :t], by_power[..., t:]
        rows = by_p[..., self._terminal] * g_p[:, None] + by_q[..., self._terminal] * g_q[:, None]
        v, loading = np.split(rows, [probe.flow.v_pu.shape[1]], axis=1)
        a = np.concatenate([v, -v, loading], axis=1)
        margin = np.minimum(np.where(room > 0.0, 0.5, 1.0) * np.abs(room), self.margin_pu)
        return np.where(counts[..., None], a, 0.0), np.where(counts, room - margin, 1.0)

    def _slopes(self, tick: Tick, probe: _Probe, capability: np.ndarray) -> np.ndarray:
        """Change of voltages and loadings [pu/MW, pu/Mvar] by both powers at each terminal, ``(batch, m + b, 2 t)``.

        They are differences of flows with taps and banks as they stand: what ``network.sensitivities`` gives at the
        flow of the tick.
        """
        largest = np.zeros((len(self._terminals), len(capability)))
        np.maximum.at(largest, self._terminal, capability.T)
        nudge = _NUDGE * largest.T
        load = engine.node_load(tick, probe.power)
        cells = 2 * nudge.size * probe.flow.v_pu.shape[1]
        pieces = np.array_split(np.arange(len(nudge)), min(len(nudge), -(-cells // _CELLS)))
        parts = [self._slopes_of(_rows(load, who), _rows(probe, who), nudge[who]) for who in pieces]
        return np.concatenate(parts)

    def _slopes_of(self, load: Any, probe: _Probe, nudge: np.ndarray) -> np.ndarray:
        shift = nudge[..., None] * self._terminals
        zero = np.zeros_like(shift)
        shape = (len(nudge), 2 * nudge.shape[1])

        def spread(values: Any) -> Any:
            if values is None:
                return None
            return np.ascontiguousarray(np.broadcast_to(values[:, None], (*shape, *values.shape[1:])))

        spread_load = type(load)(*map(spread, load))
        moved = spread_load._replace(
            p_mw=spread_load.p_mw - np.concatenate([shift, zero], 1),
            q_mvar=spread_load.q_mvar - np.concatenate([zero, shift], 1),
        )
        start = Voltages(spread(probe.flow.v_re), spread(probe.flow.v_im))
        flow = self.layout.grid.solve(moved, Control(*map(spread, probe.control)), start)
        changes = [flow.v_pu - probe.flow.v_pu[:, None], 0.01 * (flow.loading - probe.flow.loading[:, None])]
        slopes = np.concatenate(changes, axis=-1) / np.concatenate([nudge, nudge], 1)[..., None]
        return np.where(flow.converged[..., None], slopes, 0.0).swapaxes(1, 2)


def checked_margin(margin_pu: Any) -> float:
    """A margin [pu] of at least 0 and below 0.5.

    Raises
    ------
    ArgumentError
        If it is something else.
    """
    number = isinstance(margin_pu, int | float | np.number) and not isinstance(margin_pu, bool)
    if not (number and 0.0 <= margin_pu < 0.5):
        raise ArgumentError(f"margin_pu is {margin_pu!r}; a number of at least 0 and below 0.5 [pu] is allowed")
    return float(margin_pu)


def checked_rounds(rounds: Any) -> int:
    """A number of linearisations from 1 to 100.

    Raises
    ------
    ArgumentError
        If it is something else.
    """
    if not isinstance(rounds, int | np.integer) or isinstance(rounds, bool) or not 1 <= rounds <= 100:
        raise ArgumentError(f"rounds is {rounds!r}; a whole number from 1 to 100 is allowed")
    return int(rounds)


def _check_world(layout: Layout, name: str, margin_pu: float) -> None:
    half = 0.5 * (layout.settings.v_max_pu - layout.settings.v_min_pu)
    if margin_pu >= half - 1e-9:
        raise ArgumentError(
            f'"{name}": margin_pu is {margin_pu:g}, which leaves nothing of the band from '
            f"{layout.settings.v_min_pu:g} to {layout.settings.v_max_pu:g} pu; choose less than {half:g}"
        )
    if layout.policies.corrected is not None:
        raise ArgumentError(
            f'"{name}": actions correct a local policy (residual), and a safety layer moves commands; train and play '
            "without residual, or leave the layer out"
        )
    if layout.python_agents or layout.python is not None:
        who = ", ".join(layout.python_agents) or "its devices in plain Python"
        raise ArgumentError(
            f'"{name}": a safety layer computes a step before it is taken, and {who} would decide twice; give these '
            "agents a policy of another kind, or leave the layer out"
        )
    if layout.grid.islands is not None:
        raise ArgumentError(
            f'"{name}": units form the grids of islands, in which power moves frequency and the load is shared by '
            "droop; a safety layer is for networks that the source feeds: set grid_forming to false, or leave it out"
        )


def _moves(layout: Layout) -> tuple[_Moves, tuple[str, ...]]:
    """What a safety layer may change, and what is held as chosen."""
    plan, held = layout.slots, []
    governed = np.concatenate([*(layer.governed for layer in layout.coordination.layers), np.zeros(0, int)])
    mine = (plan.actor >= 0) & (plan.actor < len(layout.actors)) & ~layout.coordination.ordering
    mine[governed.astype(int)] = False
    rows: list[tuple[int, ...]] = []
    first = 0  # of the family's units among all that inject
    for i, family in enumerate(layout.families):
        kernel, fields = family.kernel, family.kernel.Command._fields
        moved = i in layout.injecting
        for unit, id in enumerate(family.ids):
            free = [j for j in range(len(fields)) if family.free[unit, j] and mine[family.slot[unit, j]]]
            steps = [j for j in free if not moved or kernel.held or fields[j] in kernel.on_off]
            held += [f"{id}.{fields[j]}" for j in steps]
            free = sorted(set(free) - set(steps), key=lambda j: fields[j] == "q_mvar")
            reactive = [j for j in free if fields[j] == "q_mvar"]
            for rank, j in enumerate(free):
                slot = int(family.slot[unit, j])
                axis = -1 if not reactive or len(free) == 1 else int(j in reactive)
                place = (slot, int(plan.given[slot]), int(plan.actor[slot]))
                rows.append((*place, i, unit, first + unit, rank, axis))
        first += family.size if moved else 0
    table = np.array(rows, dtype=int).reshape(-1, 8)
    own = np.unique(table[:, 5], return_inverse=True)[1].reshape(-1)
    before, after = np.split(table.T, [6])
    return _Moves(*before, own, *after), tuple(held)  # type: ignore[call-arg]


def _within_reach(a: np.ndarray, b: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The half-spaces without those that moves from `low` to `high` bring next to nothing nearer."""
    most = -(np.maximum(a, 0.0) @ low[..., None] + np.minimum(a, 0.0) @ high[..., None])[..., 0]
    beyond = most < -_WORTH * b
    return np.where(beyond[..., None], 0.0, a), np.where(beyond, 1.0, b)


def _with(slots: np.ndarray, at: np.ndarray, values: Any) -> np.ndarray:
    changed = slots.copy()
    changed[:, at] = values
    return changed


def _rows(tree: Any, who: np.ndarray) -> Any:
    """Rows of every array of a tree of tuples."""
    if tree is None:
        return None
    if isinstance(tree, tuple):
        parts = [_rows(part, who) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
    return tree[who]


def _root(miss: Callable[[np.ndarray], np.ndarray], first: np.ndarray, close: np.ndarray) -> np.ndarray:
    """Where functions of numbers in [-1, 1] are zero, or else nearest to it, by regula falsi (Illinois rule).

    The side of `first` on which a root lies is found from the ends; a function that jumps over zero ends at the jump.
    """
    at_first = miss(first)
    low, high = np.full_like(first, -1.0), np.full_like(first, 1.0)
    at_low, at_high = miss(low), miss(high)
    below = at_low * at_first <= 0.0
    a, f_a = first, at_first
    b, f_b = np.where(below, low, high), np.where(below, at_low, at_high)
    best, least = first, np.abs(at_first)
    for values, found in ((low, at_low), (high, at_high)):
        best, least = np.where(np.abs(found) < least, values, best), np.minimum(np.abs(found), least)
    bracketed = f_a * f_b < 0.0
    for _ in range(_EVALUATIONS):
        if not (bracketed & (least > close) & (np.abs(a - b) > 1e-9)).any():
            break
        gap = np.where(f_b == f_a, 1.0, f_b - f_a)
        middle = np.where(f_b == f_a, 0.5 * (a + b), (a * f_b - b * f_a) / gap)
        middle = np.clip(middle, np.minimum(a, b), np.maximum(a, b))
        found = miss(middle)
        best, least = np.where(np.abs(found) < least, middle, best), np.minimum(np.abs(found), least)
        crosses = found * f_b < 0.0
        a, f_a = np.where(crosses, b, a), np.where(crosses, f_b, 0.5 * f_a)
        b, f_b = middle, found
    return best
