"""The compiled step behind the signature of the reference, for one environment or a batch, in float64."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from powergrid.core.types import Array, Control, Flow, NodeLoad
from powergrid.engine import step as reference
from powergrid.engine.controls import ROUNDS, Start
from powergrid.engine.fused import loops
from powergrid.engine.fused.kernels import Kernels, NotCompilableError, compile_family
from powergrid.engine.fused.plan import FloorPlan, block, floor_plan
from powergrid.engine.layout import Layout, params_of
from powergrid.engine.state import Exogenous, Noise, Output, State


class _Rows(NamedTuple):
    """What one tick reads, with one batch axis in front."""

    now: Array
    following: Array
    forecast: Array
    v_re: Array
    v_im: Array
    prices: Array
    states: Array


class _Delivered(NamedTuple):
    """What the devices did: slots in physical units, their states, injections of all units, loads of the buses."""

    physical: Array
    after: Array
    p_mw: Array
    q_mvar: Array
    load: NodeLoad


class _Accounts(NamedTuple):
    """Measurements, and columns of money, priced violations and readings."""

    measured_mw: Array
    money: Array
    costs: Array
    readings: Array


class FusedStep:
    """Compiled twin of :func:`powergrid.engine.step.step`.

    Equal to the reference to 1e-9 over an episode; each environment to the same bits in any batch.

    Parameters
    ----------
    layout
        What to simulate.

    Raises
    ------
    NotCompilableError
        If a device family's kernels cannot be compiled.
    """

    def __init__(self, layout: Layout):
        if layout.switching is not None:
            raise NotCompilableError("switches and outages, which change the topology, run with NumPy")
        self.layout = layout
        self.params = params_of(layout)
        kernels = [compile_family(family) for family in layout.families]
        self._plan = floor_plan(layout, kernels)
        self._reads_voltage = any(source.kind == "v_pu" for family in layout.families for source in family.sources)
        self._relays = None if layout.taps is None else _Relays(layout, kernels[layout.taps], self._plan)
        self._last: tuple[Any, Array] = (None, np.zeros((0, 0)))

    def __call__(
        self, state: State, actions: Array, exogenous: Exogenous, noise: Noise, observation: Array | None = None
    ) -> tuple[State, Output]:
        """Advance every environment by one tick; arguments and results as in the reference.

        Parameters
        ----------
        observation
            Where to put the observations, ``(*batch, A, d_max)`` of any float type; a new float64 array if ``None``.
        """
        layout, flat = self.layout, _Flat(np.shape(state.tick))
        rows = _Rows(
            now=flat(exogenous.now),
            following=flat(exogenous.following),
            forecast=flat(noise.forecast),
            v_re=flat(state.v_re),
            v_im=flat(state.v_im),
            prices=flat(state.settlement_per_mwh),
            states=self._states(state, flat),
        )
        slots, due, clipped = self._choose(state, actions, exogenous, noise, flat)
        delivered = self._deliver(slots, rows)
        physical = flat.back(delivered.physical)
        books = [
            reference.orders(market, held, physical, exogenous.now, np)
            for market, held in zip(layout.markets, state.markets, strict=True)
        ]
        flow = self._flow(delivered.after, delivered.load, Start(rows.v_re, rows.v_im))
        accounts = self._account(delivered, flow, rows)
        received, books = reference.settle(np, layout, books, flat.back(accounts.measured_mw))

        held_v = _held(flow, rows)
        last = state.tick + 1 >= layout.settings.episode_length
        after = State(
            tick=state.tick + 1,
            row=state.row + 1,
            key=state.key,
            devices=self._devices(delivered.after, flat),
            markets=tuple(books),
            slots=flat.back(slots),
            v_re=flat.back(held_v.v_re),
            v_im=flat.back(held_v.v_im),
            settlement_per_mwh=state.settlement_per_mwh,
            outages=state.outages,
        )
        self._last = after.devices, delivered.after
        self._trade(accounts.money, received, flat)
        money, costs = (flat.back(table) for table in self._book(accounts, flow, rows.now))
        if observation is None:
            observation = np.empty((*flat.batch, *layout.view.index.shape))
        central = self._observe(
            rows, delivered, flow, held_v, accounts, self._seen(books, flat), observation.reshape(flat.count, -1)
        )
        injecting = self._plan.widths.injecting
        return after, Output(
            observation=observation,
            central=flat.back(central),
            money=money,
            costs=costs,
            transfers=reference.transfers(np, layout, money),
            p_mw=flat.back(delivered.p_mw[:, :injecting]),
            q_mvar=flat.back(delivered.q_mvar[:, :injecting]),
            measured_mw=flat.back(accounts.measured_mw),
            flow=Flow(*map(flat.back, flow)),
            clipped=flat.back(clipped),
            due=flat.back(due),
            done=flat.back(~flow.converged & layout.settings.terminate_on_divergence),
            last=last,
        )

    def _choose(
        self, state: State, actions: Array, exogenous: Exogenous, noise: Noise, flat: _Flat
    ) -> tuple[Array, Array, Array]:
        """Slots, due and clipped of this tick."""
        layout = self.layout
        given = flat(np.asarray(actions, dtype=float), 2)
        slots = np.empty((flat.count, layout.slots.size))
        due, clipped = np.empty(given.shape[:2], bool), np.empty(given.shape[:2], np.int64)
        loops.choose(self._plan.choice, given, flat(state.slots), flat(state.tick, 0), slots, due, clipped)
        for _, mask, act in layout.slots.local:
            told = state._replace(slots=flat.back(slots))
            slots = np.where(mask, flat(act(np, layout, self.params, told, exogenous, noise)), slots)
        return slots, due, clipped

    def _deliver(self, slots: Array, rows: _Rows) -> _Delivered:
        """Run every device."""
        widths, (count, m) = self._plan.widths, rows.v_re.shape
        v_pu = np.empty((count, m if self._reads_voltage else 0))
        places = self.layout.load_p_mw.shape[1]
        by_voltage = np.empty((len(self._plan.delivery.by_voltage), count, places))
        done = _Delivered(
            physical=np.empty_like(slots),
            after=np.empty_like(rows.states),
            p_mw=np.empty((count, widths.units)),
            q_mvar=np.empty((count, widths.units)),
            load=NodeLoad(*np.empty((2, count, places)), *by_voltage),
        )
        loops.deliver(
            self._plan.calls, self._plan.delivery, rows.states, slots, rows.now, rows.v_re, rows.v_im,
            self.layout.settings.dt_h, v_pu, *done[:4], done.load.p_mw, done.load.q_mvar, by_voltage,
        )  # fmt: skip
        return done

    def _flow(self, states: Array, load: NodeLoad, start: Any) -> Flow:
        """The flow with regulators as far as the tick allows; environments at rest keep theirs to the bit."""
        layout, relays, count = self.layout, self._relays, len(states)
        cap_on = None if layout.caps is None else states[:, self._plan.state[layout.caps][0]]
        if relays is None:
            return layout.solve(load, Control(cap_on=cap_on), start)
        here = states[:, relays.place]
        wanted, ratio, busy = np.zeros((count, relays.size)), np.empty((count, relays.size)), np.empty(count, bool)
        relays.move(here, wanted, ratio)
        flow, rounds = layout.solve(load, Control(relays.spread(ratio), cap_on), start), 1
        while relays.want(here, flow, ratio, wanted, busy) and rounds < ROUNDS:
            relays.move(here, wanted, ratio)
            who = np.flatnonzero(busy)
            again = layout.solve(
                NodeLoad(*(None if part is None else part[who] for part in load)),
                Control(relays.spread(ratio[who]), None if cap_on is None else cap_on[who]),
                Start(flow.v_re[who], flow.v_im[who]),
            )
            flow = again if len(who) == count else _replaced(flow, who, again)
            rounds += 1
        return flow

    def _account(self, delivered: _Delivered, flow: Flow, rows: _Rows) -> _Accounts:
        """Meters, and every family's money, violations and readings."""
        widths, count = self._plan.widths, len(rows.now)
        found = _Accounts(
            measured_mw=np.empty((count, len(self.layout.meters))),
            money=np.zeros((count, widths.money)),
            costs=np.zeros((count, widths.costs)),
            readings=np.empty((count, widths.readings)),
        )
        loops.account(
            self._plan.calls, self._plan.unit_meter, rows.states, delivered.after, delivered.p_mw, delivered.q_mvar,
            rows.now, flow.v_pu, flow.p_meter_mw, flow.p_slack_mw, flow.converged, rows.prices,
            self.layout.settings.dt_h, *found,
        )  # fmt: skip
        return found

    def _trade(self, money: Array, received: list[tuple[Array, Array]], flat: _Flat) -> None:
        """Write the markets' columns behind the devices' own."""
        at = self._plan.widths.device_money
        for pair in received:
            for values in pair:
                width = values.shape[-1]
                money[:, at : at + width] = -flat(values)
                at += width

    def _book(self, accounts: _Accounts, flow: Flow, now: Array) -> tuple[Array, Array]:
        """Money and costs by account and name."""
        names, rows = self.layout.ledger, len(self.layout.accounts) + 1
        money = np.empty((len(now), rows, len(names.money_names)))
        costs = np.empty((len(now), rows, len(names.cost_names)))
        loops.book(
            self._plan.books, self._plan.prices, now, flow.v_re, flow.v_im, flow.v_pu, flow.loading, flow.converged,
            accounts.money, accounts.costs, money, costs,
        )  # fmt: skip
        return money[:, :-1], costs[:, :-1]

    def _observe(
        self, rows: _Rows, delivered: _Delivered, flow: Flow, held: Start, accounts: _Accounts, seen: Array,
        observation: Array,
    ) -> Array:  # fmt: skip
        """Fill the observations ``(B, A * d_max)``; the central states."""
        count = len(rows.now)
        central = np.empty((count, len(self.layout.view.central)))
        loops.observe(
            self._plan.sight, rows.following, self.layout.columns.ahead_start, rows.forecast, held.v_re, held.v_im,
            accounts.measured_mw, flow.q_meter_mvar, flow.q_slack_mvar, flow.converged, rows.prices, accounts.readings,
            seen, delivered.physical, np.empty((count, self._plan.widths.features)), observation, central,
        )  # fmt: skip
        return central

    def _seen(self, books: list[Any], flat: _Flat) -> Array:
        """What members see of their markets, ``(B, columns)``."""
        pairs = zip(self.layout.markets, books, strict=True)
        columns = [flat(market.protocol.observe(np, book), 2).reshape(flat.count, -1) for market, book in pairs]
        return np.concatenate(columns, axis=1) if columns else np.empty((flat.count, 0))

    def _states(self, state: State, flat: _Flat) -> Array:
        """All device states side by side, ``(B, W)``; those of the last step are at hand."""
        devices, rows = self._last
        if devices is state.devices:
            return rows
        rows = np.empty((flat.count, self._plan.widths.state))
        for columns, places in zip(state.devices, self._plan.state, strict=True):
            for values, place in zip(columns, places, strict=True):
                rows[:, place] = flat(values)
        return rows

    def _devices(self, rows: Array, flat: _Flat) -> tuple[Any, ...]:
        """States of all families as views of the rows."""
        shaped = flat.back(rows)
        return tuple(
            family.kernel.State(*[shaped[..., place] for place in places])
            for family, places in zip(self.layout.families, self._plan.state, strict=True)
        )


class _Flat:
    """Between ``(*batch, n)`` and the one batch axis of the loops."""

    def __init__(self, batch: tuple[int, ...]):
        self.batch = batch
        self.count = int(np.prod(batch)) if batch else 1

    def __call__(self, values: Array, axes: int = 1) -> Array:
        """Contiguous ``(B, ...)`` of an array that has `axes` axes of its own."""
        values = np.asarray(values)
        own = values.shape[values.ndim - axes :]
        if values.ndim == axes and self.batch:
            values = np.broadcast_to(values, (*self.batch, *own))
        return np.ascontiguousarray(values.reshape(self.count, *own))

    def back(self, values: Array) -> Array:
        """``(*batch, ...)`` of a table of the loops."""
        if len(self.batch) == 1:
            return values
        return values.reshape(*self.batch, *values.shape[1:]) if self.batch else values[0]


class _Relays:
    """Compiled regulators."""

    def __init__(self, layout: Layout, kernels: Kernels, plan: FloorPlan):
        assert layout.taps is not None
        family, places = layout.families[layout.taps], plan.state[layout.taps]
        self.size = family.size
        self.place = slice(places[0].start, places[-1].stop)
        self._kernels = kernels
        self._numbers = block(family.params)
        self._upstream = np.ascontiguousarray(layout.upstream, dtype=float)
        self._compensated, self._unit_of = layout.relays, layout.tap_of
        seen = layout.relay_bus if layout.relays is None else np.arange(self.size)
        self._bus = np.ascontiguousarray(seen, dtype=np.int64)
        self._allowed = block([family.kernel.allowed_moves(np, family.params, layout.settings.dt_h)])

    def move(self, state: Array, wanted: Array, ratio: Array) -> None:
        """Take the steps in `wanted`, in place; the gains then."""
        loops.move(self._kernels.move, self._numbers, state, self._upstream, wanted, ratio)

    def spread(self, ratio: Array) -> Array:
        """Gains of the network's regulators from those of the units that move them."""
        return ratio if self._unit_of is None else ratio[:, self._unit_of]

    def want(self, state: Array, flow: Flow, ratio: Array, wanted: Array, busy: Array) -> int:
        """Ask for steps at the voltages of a flow; the number of environments in which any are asked for."""
        v_pu = flow.v_pu
        if self._compensated is not None:
            v_pu = np.empty_like(ratio)
            loops.read(self._compensated, flow.v_re, flow.v_im, ratio, v_pu)
        found = loops.want(
            self._kernels.want, self._numbers, state, v_pu, flow.converged, self._bus, self._allowed, wanted, busy
        )  # fmt: skip
        return int(found)


def _held(flow: Flow, rows: _Rows) -> Start:
    """Voltages of the flow, the earlier ones where it diverged."""
    if flow.converged.all():
        return Start(flow.v_re, flow.v_im)
    solved = flow.converged[:, None]
    return Start(np.where(solved, flow.v_re, rows.v_re), np.where(solved, flow.v_im, rows.v_im))


def _replaced(flow: Flow, who: Array, new: Flow) -> Flow:
    """A flow with the rows `who` taken from another."""
    fields = [np.array(field) for field in flow]
    for field, found in zip(fields, new, strict=True):
        field[who] = found
    return Flow(*fields)
