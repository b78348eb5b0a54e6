"""The compiled step: two compiled halves around the power flow, for one environment or a batch, in float64.

Regulators that ask for another flow and markets, which are NumPy, act between the halves. What leaves a step is kept
as the rows that the halves wrote; states and outputs are named parts of them, made when somebody asks.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from powergrid.core.types import Array, Flow
from powergrid.engine import step as reference
from powergrid.engine.controls import ROUNDS
from powergrid.engine.fused import loops
from powergrid.engine.fused import plan as at
from powergrid.engine.fused.flow import RowFlow
from powergrid.engine.fused.kernels import NotCompilableError, compile_family
from powergrid.engine.fused.plan import floor_plan, pack
from powergrid.engine.layout import Layout, params_of
from powergrid.engine.results import Pool, Results
from powergrid.engine.state import Exogenous, Noise, Output, State


class _Scratch(NamedTuple):
    """Tables of one batch size that nobody sees after a step."""

    rows: Array
    wanted: Array
    ratio: Array
    busy: Array
    nothing: Array


class Carried:
    """State of a batch as rows; read like a :class:`powergrid.engine.state.State`, which is made when asked for.

    Attributes
    ----------
    batch
        Batch axes.
    clock
        Tick and exogenous row, ``(B, 2)``.
    rows
        See ``powergrid.engine.fused.loops``.
    key, markets, outages
        As in the state, with its batch axes.
    """

    def __init__(self, maker: FusedStep, batch: tuple[int, ...], clock: Array, rows: Array, others: tuple[Any, ...]):
        self._maker, self.batch, self.clock, self.rows = maker, batch, clock, rows
        self.key, self.markets, self.outages = others

    @cached_property
    def state(self) -> State:
        """All parts by name, as views."""
        return self._maker.state_of(self)

    def __getattr__(self, name: str) -> Any:
        if name in State._fields or name == "_replace":
            return getattr(self.state, name)
        raise AttributeError(name)


class StepOutput:
    """Output of a compiled step; has the attributes of :class:`powergrid.engine.state.Output`, made when asked for."""

    def __init__(self, maker: FusedStep, batch: tuple[int, ...], results: Results, tables: tuple[Array, ...]):
        self._maker, self._batch, self.results = maker, batch, results
        self._clock, self._delivered, self._work, self._out, self._iterations = tables

    @cached_property
    def output(self) -> Output:
        """All parts by name, as views."""
        return self._maker.output_of(self._batch, self.results, self._clock, self._delivered, self._work, self.flow)

    @cached_property
    def flow(self) -> Flow:
        """The power flow."""
        flow = self._maker.flow_of(self._out, self._iterations)
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

    Raises
    ------
    NotCompilableError
        If a device family's kernels cannot be compiled.
    """

    def __init__(self, layout: Layout, reward: tuple[float, float, float] = (1.0, 1.0, float("inf"))):
        if layout.switching is not None:
            raise NotCompilableError("switches and outages, which change the topology, run with NumPy")
        self.layout = layout
        self.params = params_of(layout)
        kernels = [compile_family(family) for family in layout.families]
        self._flow = RowFlow(layout)
        plan, self._fields = floor_plan(layout, kernels, self._flow.inputs, reward)
        self._ints, self._floats = pack(plan)
        self._scratch: dict[int, _Scratch] = {}
        self._pool = Pool()
        units, states, slots, m, prices, _, *columns = plan.widths[: at.AHEAD_START].tolist()
        self._columns = np.cumsum([states, slots, m, m]).tolist()
        self._carried, self._delivered = self._columns[-1] + prices, slots + 2 * units
        self._work, self._slots, self._units = sum(columns), slots, units
        self._acting, self._seen = (len(layout.actors), layout.action_size), layout.view.index.size
        self._relays = 0 if layout.taps is None else layout.families[layout.taps].size

    def __call__(
        self,
        state: State | Carried,
        actions: Array,
        table: Array,
        noise: Noise,
        results: Results,
        *,
        keep: bool,
    ) -> tuple[Carried, StepOutput | None]:
        """Advance every environment by one tick.

        Parameters
        ----------
        state
            Where to start, of any origin.
        actions
            ``(*batch, A, k_max)`` in [-1, 1]; numbers outside are clipped and counted.
        table
            Exogenous rows, C-contiguous ``(rows, W)``; after the last one they begin again.
        noise
            Random numbers of every tick of the episode, ``(*batch, ticks, n)``.
        results
            What to fill, all C-contiguous.
        keep
            Whether the second result, everything else that a step gives back, is wanted.
        """
        before = state if isinstance(state, Carried) and state._maker is self else self._carry(state)
        count, new = len(before.rows), self._pool
        scratch = self._scratch_of(count)
        clock, rows = before.clock + 1, new((count, self._carried))
        delivered = new((count, self._delivered))
        given = np.ascontiguousarray(actions, dtype=np.float64).reshape(count, *self._acting)
        chosen = bool(self.layout.slots.local)
        if chosen:
            self._choose(before, given, table, noise, rows, results)
        loops.begin(
            self._ints, self._floats, table, before.clock, given, chosen, before.rows, rows, delivered, scratch.rows,
            scratch.wanted, scratch.ratio, results.due, results.clipped,
        )  # fmt: skip
        out, iterations = new((count, self._flow.width)), np.empty(count, np.int64)
        self._solve(scratch, rows, out, iterations)
        markets, received, seen = self._trade(before, table, delivered, out, scratch.nothing)
        work = new((count if keep else 1, self._work))
        loops.finish(
            self._ints, self._floats, table, self._flow.tol_pu, before.clock, _flat(noise.forecast, before.batch),
            before.rows, rows, delivered, out, received, seen, work, results.observation.reshape(count, self._seen),
            results.reward, results.cost, results.money, results.costs, results.converged,
        )  # fmt: skip
        after = Carried(self, before.batch, clock, rows, (before.key, markets, before.outages))
        if not keep:
            return after, None
        return after, StepOutput(self, before.batch, results, (clock, delivered, work, out, iterations))

    def _scratch_of(self, count: int) -> _Scratch:
        if count not in self._scratch:
            wanted, ratio = np.zeros((2, count, self._relays))
            empty = np.empty((count, 0))
            self._scratch[count] = _Scratch(self._flow.rows(count), wanted, ratio, np.empty(count, bool), empty)
        return self._scratch[count]

    def _choose(
        self, before: Carried, actions: Array, table: Array, noise: Noise, rows: Array, results: Results
    ) -> None:
        """Slots of acting agents, then of those that local policies act for."""
        loops.choose(self._ints, self._floats, before.clock, actions, before.rows, rows, results.due, results.clipped)
        state, layout = before.state, self.layout
        slots = rows[:, self._columns[0] : self._columns[1]]
        tick = np.minimum(state.tick + 1, noise.forecast.shape[-2] - 1)
        drawn = Noise(*(np.take_along_axis(part, tick[..., None, None], axis=-2)[..., 0, :] for part in noise))
        exogenous = self._exogenous(before, table)
        for _, mask, act in layout.slots.local:
            told = state._replace(slots=_shaped(slots.copy(), before.batch))
            slots[:, mask] = _flat(act(np, layout, self.params, told, exogenous, drawn), before.batch)[:, mask]

    def _exogenous(self, before: Carried, table: Array) -> Exogenous:
        row = before.clock[:, 1]
        now, following = table[row % len(table)], table[(row + 1) % len(table)]
        return Exogenous(_shaped(now, before.batch), _shaped(following, before.batch))

    def _solve(self, scratch: _Scratch, rows: Array, out: Array, iterations: Array) -> None:
        """The flow with regulators as far as the tick allows; environments at rest keep theirs to the bit."""
        flow, moves = self._flow, (scratch.wanted, scratch.ratio)
        flow.solve(scratch.rows, out, iterations)
        if not self._relays:
            return
        rounds, busy = 1, scratch.busy
        while loops.want(self._ints, self._floats, flow.tol_pu, rows, out, *moves, busy) and rounds < ROUNDS:
            who = np.flatnonzero(busy)
            loops.again(self._ints, self._floats, who, rows, *moves, scratch.rows, out)
            found, taken = np.empty((len(who), flow.width)), np.empty(len(who), np.int64)
            flow.solve(scratch.rows[who], found, taken)
            out[who], iterations[who] = found, taken
            rounds += 1

    def _trade(
        self, before: Carried, table: Array, delivered: Array, out: Array, nothing: Array
    ) -> tuple[tuple[Any, ...], Array, Array]:
        """What markets hold afterwards, their money columns, and what members see, both ``(B, columns)``."""
        markets, batch = self.layout.markets, before.batch
        if not markets:
            return (), nothing, nothing
        flow, slots = self._flow.flow(out, nothing), self._slots
        physical, now = _shaped(delivered[:, :slots], batch), self._exogenous(before, table).now
        held = [
            reference.orders(market, books, physical, now, np)
            for market, books in zip(markets, before.markets, strict=True)
        ]
        own = -delivered[:, slots : slots + self._units][:, self.layout.unit_meter]
        metered = np.concatenate([flow.p_meter_mw, flow.p_slack_mw[:, None], own], axis=1)
        measured_mw = np.where(flow.converged[:, None], metered, 0.0)
        received, books = reference.settle(np, self.layout, held, _shaped(measured_mw, batch))
        paid = [-_flat(values, batch) for pair in received for values in pair]
        pairs = zip(markets, books, strict=True)
        seen = [_flat(market.protocol.observe(np, book), batch).reshape(len(out), -1) for market, book in pairs]
        return tuple(books), np.concatenate(paid, axis=1), np.concatenate(seen, axis=1)

    # -- names ------------------------------------------------------------------------------------------------------

    def _carry(self, state: Any) -> Carried:
        """The rows of a state of any origin."""
        batch = np.shape(state.tick)
        clock = np.stack([_flat(state.tick, batch), _flat(state.row, batch)], axis=-1).astype(np.int64)
        rows = np.empty((len(clock), self._carried))
        for columns, places in zip(state.devices, self._fields, strict=True):
            for values, place in zip(columns, places, strict=True):
                rows[:, place] = values
        parts = (state.slots, state.v_re, state.v_im, state.settlement_per_mwh)
        for columns, values in zip(np.split(np.arange(self._carried), self._columns)[1:], parts, strict=True):
            rows[:, columns] = values
        return Carried(self, batch, clock, rows, (state.key, state.markets, state.outages))

    def state_of(self, carried: Carried) -> State:
        """Named parts of carried rows, as views."""
        rows, tick, row = (_shaped(part, carried.batch) for part in (carried.rows, *carried.clock.T))
        _, slots, v_re, v_im, prices = np.split(rows, self._columns, axis=-1)
        devices = tuple(
            family.kernel.State(*[rows[..., place] for place in places])
            for family, places in zip(self.layout.families, self._fields, strict=True)
        )
        return State(
            tick=tick,
            row=row,
            key=carried.key,
            devices=devices,
            markets=carried.markets,
            slots=slots,
            v_re=v_re,
            v_im=v_im,
            settlement_per_mwh=prices,
            outages=carried.outages,
        )

    def flow_of(self, out: Array, iterations: Array) -> Flow:
        """Named parts of the flow's rows."""
        return self._flow.flow(out, iterations)

    def output_of(
        self, batch: tuple[int, ...], results: Results, clock: Array, delivered: Array, work: Array, flow: Flow
    ) -> Output:
        """Named parts of what the halves wrote."""
        layout, slots, units = self.layout, self._slots, self._units
        injecting = len(layout.units)
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
            measured_mw=_shaped(work[:, : len(layout.meters)], batch),
            flow=flow,
            clipped=_shaped(results.clipped, batch),
            due=_shaped(results.due, batch),
            done=_shaped(~results.converged & layout.settings.terminate_on_divergence, batch),
            last=_shaped(clock[:, 0] >= layout.settings.episode_length, batch),
            frequency_hz=np.zeros((*batch, 0)),
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
    return np.ascontiguousarray(values).reshape(int(np.prod(batch)), *own)
