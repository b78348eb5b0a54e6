"""The compiled step of one environment or a batch, in float64.

Compiled code runs the whole tick; it stops where plain Python devices answer, where islands carry themselves, and where
a power flow is solved by others. What leaves a step is kept as the tables that compiled code wrote; states and outputs
are named parts of them, made when somebody asks.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from itertools import pairwise
from math import prod
from typing import Any, NamedTuple

import numpy as np

from powergrid.core.types import Array, Flow
from powergrid.engine import step as reference
from powergrid.engine.availability import Absences
from powergrid.engine.choices import ABSTAIN, RULE
from powergrid.engine.compiled import ahead, loops
from powergrid.engine.compiled.arguments import BEGIN, CHOOSE, FINISH, FLOW, TickArguments
from powergrid.engine.compiled.flow import RowFlow
from powergrid.engine.compiled.inverter_tables import units_of
from powergrid.engine.compiled.inverters import Followed
from powergrid.engine.compiled.islands import IslandDroop
from powergrid.engine.compiled.kernels import compile_family
from powergrid.engine.compiled.layer_kernels import Seams, compile_layer
from powergrid.engine.compiled.plan import floor_plan, memories, pack
from powergrid.engine.compiled.rows import by_environment, by_lanes
from powergrid.engine.compiled.rules import Rule, Wanted, compile_act, compile_rule
from powergrid.engine.compiled.tables import Widths
from powergrid.engine.compiled.tick import PIECE
from powergrid.engine.compiled.topology_tables import OUTAGES, ROW, TICK, TOPOLOGY
from powergrid.engine.layout import Layout, params_of
from powergrid.engine.local_policies import Memory
from powergrid.engine.results import Results, blank_results
from powergrid.engine.state import Noise, Output, State
from powergrid.engine.tick import tick_of


class _Scratch(NamedTuple):
    """Tables of one batch size that nobody sees after a step."""

    inputs: Array
    wanted: Array
    ratio: Array
    busy: Array
    untold: tuple[Array, Array]
    lean: tuple[Array, Array, Array, Array]
    followed: Any


class _Code(NamedTuple):
    """The tick for a number of lanes, and the floor plan with the addresses of its kernels."""

    lanes: int
    tick: Any
    ints: Array
    floats: Array


class Carried:
    """State of a batch as tables of lanes.

    It has the attributes of a :class:`powergrid.engine.state.State`, which is made at their first use.

    Attributes
    ----------
    batch
        Batch axes.
    clock
        Tick, exogenous row and outages, see :mod:`powergrid.engine.compiled.topology_tables`.
    rows
        Table of lanes, see ``powergrid.engine.compiled.loops``.
    key, outages, absences
        As in the state, with its batch axes.
    """

    def __init__(self, maker: FusedStep, batch: tuple[int, ...], clock: Array, rows: Array, others: tuple[Any, ...]):
        self._maker, self.batch, self.clock, self.rows = maker, batch, clock, rows
        self.key, self.outages, self.absences = others

    @cached_property
    def state(self) -> State:
        """All parts by name."""
        return self._maker.state_of(self)

    def __getattr__(self, name: str) -> Any:
        if name in State._fields or name == "_replace":
            return getattr(self.state, name)
        raise AttributeError(name)


class StepOutput:
    """Output of a compiled step; has the attributes of :class:`powergrid.engine.state.Output`, made when asked for."""

    def __init__(self, maker: FusedStep, batch: tuple[int, ...], results: Results, tables: tuple[Array, ...]):
        self._maker, self._batch, self.results = maker, batch, results
        self._clock, self._delivered, self._work, self._out, self._iterations, self._topology = tables

    @cached_property
    def output(self) -> Output:
        """All parts by name."""
        return self._maker.output_of(self._batch, self.results, self._clock, self._delivered, self._work, self.flow)

    @cached_property
    def flow(self) -> Flow:
        """The power flow."""
        flow = self._maker.flow_of(self._out, self._iterations, self._topology)
        return Flow(*[_shaped(part, self._batch) for part in flow])

    def __getattr__(self, name: str) -> Any:
        if name in Output._fields or name == "_replace":
            return getattr(self.output, name)
        raise AttributeError(name)


class FusedStep:
    """Compiled twin of :func:`powergrid.engine.step.step`.

    Equal to the reference to 1e-9 over an episode; each environment to the same bits in any batch.

    Parameters
    ----------
    layout
        What to simulate.
    reward
        ``reward_scale``, ``safety_scale`` and ``max_penalty`` of the rewards.
    count
        Number of environments in the batches to come; other numbers work too.

    Raises
    ------
    NotCompilableError
        If a device family's kernels cannot be compiled.
    """

    def __init__(self, layout: Layout, reward: tuple[float, float, float] = (1.0, 1.0, float("inf")), count: int = 1):
        self.layout, self._reward = layout, reward
        self.params = params_of(layout)
        self._flow = RowFlow(layout)
        self._codes: dict[int, _Code] = {}
        self._code(count)
        self._scratch: dict[int, _Scratch] = {}
        w = Widths(*self._widths.tolist())
        self._columns = np.cumsum([w.states, w.slots, w.buses, w.buses, w.prices, w.signals]).tolist()
        self._memories = memories(layout)
        self._carried = self._columns[-1] + sum(sum(widths) for _, widths in self._memories)
        self._delivered = w.slots + 2 * w.units
        self._islands = None
        if layout.grid.islands is not None:
            self._islands = IslandDroop(layout, self.params, self._flow, self._fields, w)
            self._delivered += 2 * w.units  # their frequency, and their island
        self._work = w.measured + w.money + w.costs + w.readings + w.features
        self._slots, self._units = w.slots, w.units
        self._acting = (layout.acting, layout.action_size)
        self._relays = 0 if layout.taps is None else layout.families[layout.taps].size
        self._followers = None if layout.policies.inverters is None else units_of(layout, self._fields)

    def _code(self, count: int) -> _Code:
        """What runs so many environments."""
        lanes = ahead.lanes_of(count)
        if lanes not in self._codes:
            with ahead.first_use(lanes):
                kernels = [
                    compile_family(family, lanes, fails)
                    for family, fails in zip(self.layout.families, self._fails(), strict=True)
                ]
                rules = self._rules(lanes)
                acts, seams = self._acts(lanes), self._seams(lanes)
                ahead.ready(lanes)
            plan, self._fields = floor_plan(self.layout, kernels, rules, acts, seams, self._flow.inputs, self._reward)
            self._widths = plan.widths
            self._codes[lanes] = _Code(lanes, loops.tick(lanes), *pack(plan))
        return self._codes[lanes]

    def _fails(self) -> list[bool]:
        """Whether a unit of each family may be out of service."""
        given = self.layout.availability
        failing = () if given is None else set(given.family.tolist())
        return [i in failing for i in range(len(self.layout.families))]

    def _rules(self, lanes: int) -> list[Rule]:
        """The rules that local policies follow here, compiled."""
        layout, ruled = self.layout, self.layout.policies.choices.ruled
        hours, ordered = layout.columns.price_hours, any(map(any, self._ways()))
        wanted = [Wanted(i in ruled, bool(ruled), ordered) for i in range(len(layout.families))]
        return [compile_rule(family, lanes, hours, own) for family, own in zip(layout.families, wanted, strict=True)]

    def _acts(self, lanes: int) -> list[int]:
        """The kernels of local policies, compiled."""
        acting, hours = self.layout.policies.choices.acting, self.layout.columns.price_hours
        return [compile_act(own.policy, self.layout.families[own.family], lanes, hours) for own in acting]

    def _ways(self) -> list[tuple[str, ...]]:
        """Kernels by which local policies give orders, by layer."""
        names, how = {RULE: "rule", ABSTAIN: "abstain"}, self.layout.policies.choices.how
        absent, found = self.layout.agent_of_slot, []
        for layer in self.layout.coordination.layers:
            slots = np.concatenate([*layer.orders, np.zeros(0, int)]).astype(int)
            used = {name for way, name in names.items() if (how[slots] == way).any()}
            if layer.protocol.abstain is not None and (absent[slots] >= 0).any():
                used.add("abstain")
            found.append(tuple(name for name in names.values() if name in used))
        return found

    def _seams(self, lanes: int) -> list[Seams]:
        """The protocols, compiled."""
        return [
            compile_layer(layer, ways, lanes, first=not (self._clears and len(layer.governed)))
            for layer, ways in zip(self.layout.coordination.layers, self._ways(), strict=True)
        ]

    @cached_property
    def _clears(self) -> bool:
        """Whether a market clears, for which the layers that govern commands run in NumPy before delivery."""
        return any(layer.market is not None for layer in self.layout.coordination.layers)

    @cached_property
    def _commanded(self) -> Array:
        """Slots of all commands that layers govern."""
        governed = [layer.governed for layer in self.layout.coordination.layers]
        return np.unique(np.concatenate(governed)).astype(int)

    def __call__(
        self,
        state: State | Carried,
        actions: Array,
        table: Array,
        first: Array,
        noise: Noise,
        results: Results,
        *,
        keep: bool,
    ) -> tuple[Carried, StepOutput | Callable[[Array, Array], None]]:
        """Advance every environment by one tick.

        Parameters
        ----------
        state
            Where to start, of any origin.
        actions
            ``(*batch, A, k_max)`` in [-1, 1]; numbers outside are clipped and counted.
        table
            Exogenous rows, C-contiguous ``(rows, W)``.
        first
            Row of `table` that holds the first tick of each episode, ``(*batch,)``; the next ones follow.
        noise
            Random numbers of every tick of the episode, ``(*batch, ticks, n)``.
        results
            What to fill, all C-contiguous.
        keep
            Whether everything else that a step gives back is wanted, as the second result. Otherwise `money` and
            `costs` of the results are left alone, and the second result is a function that fills them later.
        """
        before = state if isinstance(state, Carried) and state._maker is self else self._carry(state)
        count = len(before.clock)
        code, scratch, groups = self._code(count), self._scratch_of(count), len(before.rows)
        clock, rows = before.clock.copy(), np.empty(before.rows.shape)
        clock[:, :TOPOLOGY] += 1
        when = before.clock.copy()
        when[:, ROW] = when[:, TICK] + np.ravel(first)  # of this table
        chosen: Array | None = None  # what stays chosen where a market has commanded something else
        given = np.ascontiguousarray(actions, dtype=np.float64).reshape(count, *self._acting)
        compiled_flow = bool(self._flow.compiled[0]) and scratch.followed is None
        at_once = compiled_flow and self._islands is None and self.layout.python is None and not self._clears
        delivered, out, iterations, work = scratch.lean
        if keep or not at_once:
            delivered = np.empty((groups, self._delivered * code.lanes))
            out, iterations = np.empty((count, self._flow.width)), np.empty(count, np.int64)
        if keep:
            work = np.empty((groups, self._work * code.lanes))
        forecast, draws = _flat(noise.forecast, before.batch), _flat(noise.policy, before.batch)

        address, flow_ints, flow_floats, has_zip, tol_pu, max_iter, space = self._flow.compiled
        tables = (results.money, results.costs) if keep else scratch.untold
        end = FLOW if self._islands is None else BEGIN
        end = FINISH if at_once else end
        arguments = TickArguments(
            ints=code.ints, floats=code.floats, code=address if compiled_flow else 0, flow_ints=flow_ints,
            flow_floats=flow_floats, has_zip=has_zip, tol_pu=tol_pu, max_iter=max_iter, space=space, begin_with=CHOOSE,
            end_with=end, piece=PIECE if compiled_flow else count, first=0, rounds=0,
            retries=self._flow.retries, table=table, clock=when, actions=given, forecast=forecast,
            draws=draws, uniform=_flat(noise.protocols, before.batch), status=self._status(before, clock[:, TICK]),
            before=before.rows, after=rows, delivered=delivered, inputs=scratch.inputs, out=out, iterations=iterations,
            wanted=scratch.wanted, ratio=scratch.ratio, busy=scratch.busy, work=work,
            observation=results.observation,
            reward=results.reward, cost=results.cost, money=tables[0], costs=tables[1], due=results.due,
            clipped=results.clipped, converged=results.converged,
        )  # fmt: skip
        if self.layout.python is not None or self._clears:
            self._run(code, scratch, arguments._replace(end_with=CHOOSE))
            if self.layout.python is not None:
                self._answer(code, arguments)
            chosen = self._clear(code, before, arguments) if self._clears else None
            arguments = arguments._replace(begin_with=BEGIN)
        self._run(code, scratch, arguments)
        if self._islands is not None:
            self._islands.settle(arguments, code.lanes, lambda some: self._run(code, scratch, some))
            self._run(code, scratch, arguments._replace(begin_with=FLOW, end_with=FLOW))
        unsettled = rows
        if not at_once:
            arguments = arguments._replace(begin_with=FINISH, end_with=FINISH)
            unsettled = rows if keep else rows.copy()
            self._run(code, scratch, arguments)
        if chosen is not None:
            by_lanes(chosen[:, self._commanded], code.lanes, rows, self._columns[0] + self._commanded)
        topology = self._topology(when)
        if self.layout.grid.switching is not None or self.layout.availability is not None:
            holds = None if self.layout.grid.switching is None else topology
            results.available[:] = self.layout.available(np, holds, self._out(before), (count,))
        after = Carried(self, before.batch, clock, rows, (before.key, before.outages, before.absences))
        if keep:
            return after, StepOutput(self, before.batch, results, (clock, delivered, work, out, iterations, topology))

        def book(money: Array, costs: Array) -> None:
            # the same once more: who asks pays, not who does not
            told = blank_results(self.layout, count)
            again = arguments._replace(
                after=rows if at_once else unsettled.copy(), observation=told.observation, reward=told.reward,
                cost=told.cost, money=money, costs=costs, due=told.due, clipped=told.clipped, converged=told.converged,
            )  # fmt: skip
            self._run(code, scratch, again)

        return after, book

    def _out(self, before: Carried) -> Array | None:
        """Whether each device that may be out of service is, ``(B, f)``; ``None`` where there are none."""
        given = self.layout.availability
        return None if given is None else given.out(np, before.clock[:, TICK], self._absences(before))

    def _status(self, before: Carried, tick: Array) -> Array:
        """Devices that are out and agents that are absent in a tick, ``(B, f + m)``; no columns where none ever are."""
        given = self.layout.availability
        if given is None:
            return np.empty((len(tick), 0))
        return given.status(np, tick, self._absences(before)).astype(np.float64)

    def _absences(self, before: Carried) -> Absences:
        return Absences(*(_flat(part, before.batch) for part in before.absences))

    def _run(self, code: _Code, scratch: _Scratch, arguments: TickArguments) -> None:
        """Run the parts of a tick, and solve the flows that compiled code leaves to others."""
        count, tick, piece = len(arguments.clock), code.tick, arguments.piece
        first, rounds = tick(*arguments)
        while first < count:
            if arguments.code:
                some = slice(0, min(piece, count - first))
                ends = some if len(arguments.out) < count else slice(first, first + piece)
                self._flow.retry(arguments.inputs[some], arguments.out[ends], arguments.iterations[ends])
            else:
                self._solve(scratch, arguments, rounds)
            first, rounds = tick(*arguments._replace(first=first, rounds=rounds))

    def _solve(self, scratch: _Scratch, arguments: TickArguments, rounds: int) -> None:
        """Solve the flows of busy environments; the others keep theirs to the bit.

        Inverters that follow their voltage come to rest at every position of the taps.
        """
        flow, followed, busy = self._flow, scratch.followed, arguments.busy
        inputs, out, iterations = arguments.inputs, arguments.out, arguments.iterations
        if followed is not None and rounds == 1:
            followed.begin(arguments)
        if busy.all():
            flow.solve(inputs, out, iterations)
        else:
            who = np.flatnonzero(busy)
            found, taken = np.empty((len(who), flow.width)), np.empty(len(who), np.int64)
            flow.solve(inputs[who], found, taken)
            out[who], iterations[who] = found, taken
        if followed is not None:
            followed.settle(arguments, flow.solve)

    def _topology(self, when: Array) -> Array:
        """Topology of each environment, where anything switches or fails."""
        return when[:, TICK] if self.layout.grid.switching is None else when[:, TOPOLOGY]

    def _scratch_of(self, count: int) -> _Scratch:
        if count not in self._scratch:
            lanes = self._code(count).lanes
            wanted, ratio = np.zeros((2, -(-count // lanes), self._relays * lanes))
            ledger, rows = self.layout.ledger, len(self.layout.accounts) + 1
            untold = np.empty((0, rows, len(ledger.money_names))), np.empty((0, rows, len(ledger.cost_names)))
            given, followed = self.layout.policies.inverters, None
            if self._followers is not None:
                followed = Followed(self._followers, given.rest_pu, self._flow.tol_pu, lanes, count)
            by_piece = bool(self._flow.compiled[0]) and followed is None and self._islands is None
            inputs = self._flow.rows(min(count, PIECE) if by_piece else count)
            some = min(count, PIECE)
            lean = (
                np.empty((-(-some // lanes), self._delivered * lanes)),
                np.empty((some, self._flow.width)),
                np.empty(some, np.int64),
                np.empty((1, self._work * lanes)),
            )
            busy = np.empty(count, bool)
            self._scratch[count] = _Scratch(inputs, wanted, ratio, busy, untold, lean, followed)
        return self._scratch[count]

    def _answer(self, code: _Code, arguments: TickArguments) -> None:
        """Slots that plain Python devices fill, after everybody has chosen."""
        count, held, chosen = len(arguments.clock), arguments.before, arguments.after
        slots, signals = (by_environment(chosen, count, slice(*self._columns[first : first + 2])) for first in (0, 4))
        tick, row = arguments.clock[:, :TOPOLOGY].T
        v_re, v_im = (by_environment(held, count, slice(*self._columns[first : first + 2])) for first in (1, 2))
        self.layout.python.answer(slots, tick, arguments.table.take(row, axis=0), signals, v_re, v_im)
        if code.lanes > 1:
            by_lanes(slots, code.lanes, chosen, slice(*self._columns[:2]))

    def _clear(self, code: _Code, before: Carried, arguments: TickArguments) -> Array:
        """Run the layers that govern commands in NumPy, and put what they command in place of what is chosen.

        Returns
        -------
        Array
            What is chosen, with the orders of those layers, ``(B, K)``.
        """
        count, ticks = len(arguments.clock), arguments.uniform.shape[1]
        others = before.key, before.outages, before.absences
        held = Carried(self, (count,), before.clock, before.rows, others).state
        tick, row = arguments.clock[:, :TOPOLOGY].T
        at = np.arange(count), np.minimum(tick + 1, ticks - 1)
        noise = Noise(*(part[at] for part in (arguments.forecast, arguments.draws, arguments.uniform)))
        now = arguments.table.take(row % len(arguments.table), axis=0)
        running = tick_of(np, self.layout, self.params, held, now, noise, self.layout.policies.choices)
        running = running._replace(due=arguments.due)
        whole = np.array(by_environment(arguments.after, count))
        _, slots, _, _, _, signals, own = np.split(whole, self._columns, axis=-1)
        found, layers = self._remembered(own), len(self.layout.coordination.layers)
        memory = Memory(found[:layers], found[layers:], signals)
        slots, commanded, memory = reference.governed(running, slots, memory)
        parts = (commanded, memory.signals, *(column for layer in memory.layers for column in layer))
        first = (self._columns[0], self._columns[4])
        at_layer = self._columns[5] + np.cumsum([0, *(np.shape(part)[-1] for part in parts[2:])])
        for start, part in zip((*first, *at_layer.tolist()), parts, strict=False):
            by_lanes(part, code.lanes, arguments.after, slice(start, start + part.shape[-1]))
        return slots

    # -- names ------------------------------------------------------------------------------------------------------

    def _carry(self, state: Any) -> Carried:
        """The table of a state of any origin."""
        batch = np.shape(state.tick)
        width = TOPOLOGY
        if self.layout.grid.switching is not None:
            width = OUTAGES + 2 * len(self.layout.grid.switching.outages)
        clock = np.zeros((prod(batch), width), np.int64)
        clock[:, TICK], clock[:, ROW] = np.ravel(state.tick), np.ravel(state.row)
        for k, part in enumerate(state.outages if width > OUTAGES else ()):
            clock[:, OUTAGES + k :: 2] = _flat(part, batch)
        rows = np.empty((len(clock), self._carried))
        for columns, places in zip(state.devices, self._fields, strict=True):
            for values, place in zip(columns, places, strict=True):
                rows[:, place] = values
        parts = (state.slots, state.v_re, state.v_im, state.settlement_per_mwh, state.signals)
        for columns, values in zip(np.split(np.arange(self._carried), self._columns)[1:-1], parts, strict=True):
            rows[:, columns] = values
        at = self._columns[-1]
        for values in (column for own in (*state.layers, *state.policies) for column in own):
            rows[:, at : at + np.shape(values)[-1]] = values
            at += np.shape(values)[-1]
        laned = by_lanes(rows, self._code(len(clock)).lanes)
        return Carried(self, batch, clock, laned, (state.key, state.outages, state.absences))

    def state_of(self, carried: Carried) -> State:
        """Named parts of a carried table."""
        by_env = by_environment(carried.rows, len(carried.clock))
        rows, tick, row = (_shaped(part, carried.batch) for part in (by_env, *carried.clock[:, :TOPOLOGY].T))
        _, slots, v_re, v_im, prices, signals, own = np.split(rows, self._columns, axis=-1)
        devices = tuple(
            family.kernel.State(*[rows[..., place] for place in places])
            for family, places in zip(self.layout.families, self._fields, strict=True)
        )
        found, layers = self._remembered(own), len(self.layout.coordination.layers)
        return State(
            tick=tick,
            row=row,
            key=carried.key,
            devices=devices,
            layers=found[:layers],
            policies=found[layers:],
            signals=signals,
            slots=slots,
            v_re=v_re,
            v_im=v_im,
            settlement_per_mwh=prices,
            outages=carried.outages,
            absences=carried.absences,
        )

    def _remembered(self, columns: Array) -> tuple[Any, ...]:
        """States of layers and memories of policies, of their columns one after the other."""
        found, at = [], 0
        for kind, widths in self._memories:
            ends = (at + np.cumsum([0, *widths])).tolist()
            found.append(kind(*(columns[..., first:last] for first, last in pairwise(ends))))
            at = ends[-1]
        return tuple(found)

    def flow_of(self, out: Array, iterations: Array, topology: Array) -> Flow:
        """Named parts of the flow's rows."""
        return self._flow.flow(out, iterations, topology)

    def output_of(
        self, batch: tuple[int, ...], results: Results, clock: Array, delivered: Array, work: Array, flow: Flow
    ) -> Output:
        """Named parts of what the halves wrote."""
        layout, slots, units = self.layout, self._slots, self._units
        injecting = len(layout.units)
        delivered, work = by_environment(delivered, len(clock)), by_environment(work, len(clock))
        features = work[:, work.shape[1] - len(layout.view.entries) :]
        money, costs = (_shaped(table[:, :-1], batch) for table in (results.money, results.costs))
        return Output(
            observation=_shaped(results.observation, batch),
            central=_shaped(features[:, layout.view.central], batch),
            money=money,
            costs=costs,
            transfers=reference.transfers(np, layout, money),
            p_mw=_shaped(delivered[:, slots : slots + injecting], batch),
            q_mvar=_shaped(delivered[:, slots + units : slots + units + injecting], batch),
            measured_mw=_shaped(work[:, : len(layout.meters.names)], batch),
            flow=flow,
            clipped=_shaped(results.clipped, batch),
            due=_shaped(results.due, batch),
            done=_shaped(~results.converged & layout.settings.terminate_on_divergence, batch),
            last=_shaped(clock[:, 0] >= layout.settings.episode_length, batch),
            frequency_hz=_shaped(delivered[:, slots + 2 * units :][:, :injecting], batch),
            available=_shaped(results.available, batch),
        )


def _shaped(values: Array, batch: tuple[int, ...]) -> Array:
    """``(*batch, ...)`` of a table with one batch axis."""
    if len(batch) == 1:
        return values
    return values.reshape(*batch, *values.shape[1:]) if batch else values[0]


def _flat(values: Array, batch: tuple[int, ...]) -> Array:
    """The table with one batch axis, C-contiguous, of ``(*batch, ...)``."""
    if len(batch) == 1:
        return np.ascontiguousarray(values)
    own = np.shape(values)[len(batch) :]
    return np.ascontiguousarray(values).reshape(prod(batch), *own)
