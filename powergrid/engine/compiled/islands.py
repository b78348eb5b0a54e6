"""Islands that carry themselves, between the compiled halves of a step.

The environments with such an island in this tick go through :mod:`powergrid.engine.island_droop`, which shares what the
island needs among its units, as a small batch of their own; their flows are solved by compiled code, with inverters
that follow their voltage by :mod:`powergrid.engine.regulation`. Every environment is computed by itself there too,
hence to the same bits in any batch.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from powergrid.core.types import Array, Flow, Injection, NodeLoad
from powergrid.engine import island_droop, regulation
from powergrid.engine.compiled.arguments import FLOW, TickArguments
from powergrid.engine.compiled.flow import RowFlow
from powergrid.engine.compiled.rows import by_lanes, picked, put_back, repeat_last
from powergrid.engine.compiled.tables import Fields, Widths
from powergrid.engine.compiled.topology_tables import ROW, TOPOLOGY
from powergrid.engine.inverters import Following
from powergrid.engine.layout import Layout, Params
from powergrid.engine.local_policies import share_of
from powergrid.engine.regulation import Start
from powergrid.engine.state import State
from powergrid.engine.tick import Tick


class IslandDroop:
    """Brings the islands of a batch to rest, after the devices have run and before the flow is solved.

    Parameters
    ----------
    layout, params
        Whose islands.
    flow
        The power flow.
    fields, widths
        Where each field of each family's state lies, and the numbers of columns, as the floor plan has them.
    """

    def __init__(self, layout: Layout, params: Params, flow: RowFlow, fields: Fields, widths: Widths):
        assert layout.grid.islands is not None
        self._layout, self._params, self._flow, self._fields = layout, params, flow, fields
        self._islands = layout.grid.islands
        self._slots, self._units, self._held = widths.slots, widths.units, widths.states + widths.slots
        self._buses, self._injecting = widths.buses, len(layout.units)
        self._signals = slice(widths.signals_from, widths.signals_from + widths.signals)
        self._holds: Array = np.any(self._islands.island >= 0, axis=1)
        inject = layout.grid.inject
        entries = zip(inject.source.tolist(), inject.target.tolist(), inject.weights.tolist(), strict=True)
        moving = set(self._islands.unit.tolist())
        if layout.policies.inverters is not None:
            moving |= set(layout.policies.inverters.unit.tolist())
        self._feeds = [entry for entry in entries if entry[0] in moving]

    def settle(self, given: TickArguments, lanes: int, run: Callable[[TickArguments], None]) -> None:
        """Let units that form grids deliver what their islands need, note the frequency, and let islands collapse.

        Parameters
        ----------
        given
            Arguments of a tick whose devices have run; tables of whole batches.
        lanes
            Environments side by side in its tables of lanes.
        run
            Runs parts of a tick with other arguments.
        """
        topology = given.clock[:, TOPOLOGY]
        who = np.flatnonzero(self._holds[topology])
        frequency_hz = np.empty((0, self._injecting))
        if len(who):
            frequency_hz = self._carry(given, lanes, who, run)
        nominal = np.zeros((len(topology), self._islands.fallen.shape[1]))
        hertz = self._islands.frequency(np, topology, nominal)
        hertz[who] = frequency_hz
        everywhere, number = np.arange(len(topology)), self._islands.number(np, topology).astype(float)
        put_back(given.delivered, lanes, everywhere, self._slots + 2 * self._units, hertz)
        put_back(given.delivered, lanes, everywhere, self._slots + 3 * self._units, number)
        for table in (given.after, given.delivered):
            repeat_last(table, lanes, len(topology))

    def _carry(self, given: TickArguments, lanes: int, who: Array, run: Callable[[TickArguments], None]) -> Array:
        """The same for the environments `who`; their frequency at every unit [Hz]."""
        layout, m, at = self._layout, self._buses, self._flow.inputs
        before, after, made = (picked(table, lanes, who) for table in (given.before, given.after, given.delivered))
        clock, inputs = given.clock[who], given.inputs[who]
        topology = clock[:, TOPOLOGY].copy()
        v_re, v_im = before[:, self._held : self._held + m], before[:, self._held + m : self._held + 2 * m]
        held, devices = self._states(before), self._states(after)
        injections = self._injections(made)
        state = cast(State, SimpleNamespace(devices=held, signals=before[:, self._signals]))  # all that is read
        tick = Tick(
            np, layout, self._params, state, given.table[clock[:, ROW]], np.sqrt(v_re * v_re + v_im * v_im),
            physical=made[:, : self._slots],
        )  # fmt: skip
        alone = self._alone(given, lanes, who, clock)

        def solve(delivered: list[Injection], begin: Start) -> Flow:
            rows = self._rows(inputs, injections, delivered)
            rows[:, at.start_re : at.start_im], rows[:, at.start_im :] = begin.v_re, begin.v_im
            some = alone._replace(
                inputs=rows, after=alone.after.copy(), ratio=alone.ratio.copy(), wanted=np.zeros_like(alone.ratio)
            )
            run(some)
            return self._flow.flow(some.out, some.iterations, topology)

        following = layout.policies.inverters is not None
        signals = after[:, self._signals]
        solves = self._at_rest(tick, devices, injections, signals, topology, inputs) if following else solve
        start = Start(v_re, v_im)
        shift_pu = self._islands.shift_pu(np, signals)
        devices, delivered, collapsed, start, frequency_hz = island_droop.carry(
            tick, self._islands, topology, devices, injections, shift_pu, start, solves
        )
        devices, delivered = tick.all_with_voltage(collapsed, devices, delivered)
        rows = self._rows(inputs, injections, delivered)
        rows[:, at.start_re : at.start_im], rows[:, at.start_im :] = start.v_re, start.v_im
        rows[:, at.load_p - 1] = given.clock[who, TOPOLOGY] = collapsed
        given.inputs[who] = rows
        for i in layout.injecting:
            for place, values in zip(self._fields[i], devices[i], strict=True):
                after[:, place] = values
        put_back(given.after, lanes, who, 0, after)
        for k, part in enumerate(Injection._fields):
            powers = np.concatenate([getattr(delivered[i], part) for i in layout.injecting], axis=1)
            put_back(given.delivered, lanes, who, self._slots + k * self._units, powers)
        return np.asarray(frequency_hz)

    def _at_rest(
        self,
        tick: Tick,
        devices: tuple[Any, ...],
        injections: list[Injection],
        signals: Array,
        topology: Array,
        inputs: Array,
    ) -> Callable[[list[Injection], Start], Flow]:
        """Solves flows with the inverters that follow their voltage at rest, as the reference does."""
        slots, inverters = self._layout.slots, self._layout.policies.inverters
        dt_h = self._layout.settings.dt_h

        def load(delivered: list[Injection]) -> NodeLoad:
            return self._flow.load(self._rows(inputs, injections, delivered))

        shares = share_of(np, slots, np.arange(slots.size), tick.physical)
        offered_mw, shift = inverters.offered(tick), inverters.shifted(np, signals)
        following = Following(tick, inverters, shares, injections, offered_mw, shift, topology, load)

        def solve(delivered: list[Injection], begin: Start) -> Flow:
            own = following._replace(injections=delivered)
            return regulation.solve(tick, devices, load(delivered), begin, dt_h, topology, own)[0]

        return solve

    def _states(self, rows: Array) -> tuple[Any, ...]:
        """States by family."""
        families = zip(self._layout.families, self._fields, strict=True)
        return tuple(family.kernel.State(*[rows[:, place] for place in places]) for family, places in families)

    def _injections(self, made: Array) -> list[Injection]:
        """What the families inject."""
        none = Injection(made[:, :0], made[:, :0])
        found = [none] * len(self._layout.families)
        first = self._slots
        for i in self._layout.injecting:
            last = first + self._layout.families[i].size
            found[i] = Injection(made[:, first:last], made[:, first + self._units : last + self._units])
            first = last
        return found

    def _rows(self, inputs: Array, before: list[Injection], after: list[Injection]) -> Array:
        """Inputs of the flow with other injections than before."""
        rows, at = inputs.copy(), self._flow.inputs
        for part, first in zip(Injection._fields, (at.load_p, at.load_q), strict=True):
            old, new = (
                np.concatenate([getattr(given[i], part) for i in self._layout.injecting], axis=1)
                for given in (before, after)
            )
            moved = new - old
            for unit, place, share in self._feeds:
                rows[:, first + place] -= moved[:, unit] * share
        return rows

    def _alone(self, given: TickArguments, lanes: int, who: Array, clock: Array) -> TickArguments:
        """Arguments that solve the flows of the environments `who`, with regulators as they are before the flow."""
        after, ratio = (by_lanes(picked(table, lanes, who), lanes) for table in (given.after, given.ratio))
        return given._replace(
            begin_with=FLOW, end_with=FLOW, retries=False, clock=clock, after=after, ratio=ratio,
            out=np.empty((len(who), given.out.shape[1])), iterations=np.empty(len(who), np.int64),
            busy=np.empty(len(who), bool),
        )  # fmt: skip
