"""Inverters that follow their voltage: volt-var and volt-watt, solved together with the power flow of a tick.

They act in seconds, so within a tick they come to rest: each unit commands what its curve gives at a voltage `w`, and
the flow of these commands gives that voltage back. The unknowns are the voltages `w` of the units' terminals; what is
left, ``r(w) = v(w) - w``, is zero at rest. It falls in every `w`, by 1 or more, so one unit has one rest. Newton's
method finds it: ``(1 + R P + X Q) d = r`` with the slopes `P`, `Q` of what each unit delivers, and the network's
resistances and reactances between the terminals, scaled by what the last step really did. A step that does not lower
the largest ``|r|`` is halved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from powergrid.agents.curves import Curve, active_slot, reactive_slot
from powergrid.core.backend import Namespace, is_numpy, while_loop
from powergrid.core.derivatives import solution
from powergrid.core.types import Array, Flow, Injection, NodeLoad
from powergrid.engine import schedule
from powergrid.engine.tick import Tick

ROUNDS = 100
"""Flows within which the inverters of a network come to rest; three to five are usual."""
LARGEST_STEP_PU = 0.1
"""No voltage moves by more in one step [pu]."""
LEAST_SHARE = 1.0 / 128.0
"""Smallest share of a step that is tried; it is taken whatever it does [1]."""
SCALE = (0.3, 4.0)
"""Range of the factor on the network's sensitivities [1]."""
UNKNOWN_PU = 1e30
"""What stands for the largest ``|r|`` before the first flow [pu]."""


def judged(
    xp: Namespace, busy: Array, solved: Array, largest: Array, base: Array, share: Array, rest_pu: float
) -> tuple[Array, Array]:
    """Whether the voltages tried become the next base, and whether their environment is still not at rest.

    Parameters
    ----------
    busy, solved
        Whether the environment was not at rest, and whether its flow was solved.
    largest, base
        Largest ``|r|`` at the voltages tried and at the base that they were tried from [pu].
    share
        Share of the step that was tried [1].
    rest_pu
        Largest ``|r|`` at rest [pu].
    """
    rises = xp.logical_not(solved) | (largest > (1.0 - 0.1 * share) * base)
    refused = rises & (share > LEAST_SHARE) & (base < UNKNOWN_PU)
    rests = solved & (largest <= rest_pu)
    return busy & solved & xp.logical_not(refused), busy & xp.logical_not(rests) & (solved | refused)


def factor_of(xp: Namespace, explained: Array, expected: Array, base: Array, factor: Array) -> Array:
    """Factor on the sensitivities with which they explain best how the voltages have moved since the last base.

    `explained` is the product of the changes expected and seen, summed over the units, `expected` the sum of the
    expected ones' squares; where nothing is known of a base or expected, the last `factor` stays.
    """
    fit = explained / xp.where(expected > 0.0, expected, 1.0)
    known = (base < UNKNOWN_PU) & (expected > 0.0)
    return xp.where(known, xp.minimum(xp.maximum(fit, SCALE[0]), SCALE[1]), factor)


def share_of(xp: Namespace, longest: Array) -> Array:
    """Share of a step that is tried first, of its largest change of voltage [pu]."""
    return LARGEST_STEP_PU / xp.maximum(longest, LARGEST_STEP_PU)


def nudge_of(xp: Namespace, r: Array, nudge_pu: float) -> Array:
    """Change of voltage in the direction of the step over which slopes are taken [pu]."""
    return xp.where(r < 0.0, -nudge_pu, nudge_pu)


def slope_of(xp: Namespace, here: Array, there: Array, nudge: Array) -> Array:
    """Fall of what a unit delivers for a rise of voltage [MW/pu, Mvar/pu]."""
    return xp.maximum((here - there) / nudge, 0.0)


@dataclass(frozen=True)
class Inverters:
    """Units that follow their voltage, one entry a unit ``(n,)``.

    Attributes
    ----------
    family, row, unit
        Family, row in it, and number among the injecting units.
    q_slot, p_slot
        Slots that the curves fill; -1 where they do not.
    curve, q_gain, shift
        Volt-var curve, rating over the range of the command [1], and column of the signals that is added to the curve,
        -1 for none.
    left, begin_pu, end_pu, rated_mw, low_mw, half_mw
        Volt-watt: share left at high voltage [1], where the limit begins and ends to fall [pu], rated power, where the
        command's range begins, and half its width [MW].
    by_share
        Whether the command of active power is a share of what nature offers; then that is the range's width.
    node, share
        Nodes of the terminal and their weights, ``(n, 3)``, filled up with weight 0.
    r_pu, x_pu
        Rise of each voltage for active and reactive power at each terminal [pu/MW, pu/Mvar], ``(n, n)``.
    rest_pu
        Largest ``|r|`` at rest [pu].
    """

    family: np.ndarray
    row: np.ndarray
    unit: np.ndarray
    q_slot: np.ndarray
    p_slot: np.ndarray
    curve: Curve
    q_gain: np.ndarray
    shift: np.ndarray
    left: np.ndarray
    begin_pu: np.ndarray
    end_pu: np.ndarray
    rated_mw: np.ndarray
    low_mw: np.ndarray
    half_mw: np.ndarray
    by_share: np.ndarray
    node: np.ndarray
    share: np.ndarray
    r_pu: np.ndarray
    x_pu: np.ndarray
    rest_pu: float

    def terminal(self, xp: Namespace, v_pu: Array) -> Array:
        """Voltage of each terminal, the mean of its phases [pu], ``(*batch, n)``."""
        share = xp.asarray(self.share, dtype=v_pu.dtype)
        parts = [v_pu[..., self.node[:, k]] * share[:, k] for k in range(self.node.shape[1])]
        found: Array = sum(parts[1:], start=parts[0])
        return found

    def offered(self, tick: Tick) -> Array:
        """What nature offers to the units whose command is a share of it [MW], ``(*batch, n)``."""
        xp, layout, now = tick.xp, tick.layout, tick.now
        found: Array = xp.zeros((*now.shape[:-1], len(self.unit)), dtype=now.dtype)
        for i in np.unique(self.family[self.by_share]).tolist():
            family = layout.families[i]
            series = schedule.exogenous_of(family, now, tick.v_pu)
            offered_mw = family.kernel.available(xp, tick.params.families[i], series, layout.settings.dt_h)
            offered_mw = xp.broadcast_to(offered_mw, (*now.shape[:-1], family.size))
            found = xp.where(
                self.by_share & (self.family == i), offered_mw[..., np.where(self.family == i, self.row, 0)], found
            )
        return found

    def shifted(self, xp: Namespace, signals: Array) -> Array:
        """What is asked of each unit besides its volt-var curve, over its rating [1], ``(*batch, n)``."""
        if (self.shift < 0).all():
            return xp.zeros((*signals.shape[:-1], len(self.unit)), dtype=signals.dtype)
        return xp.where(self.shift >= 0, signals[..., np.maximum(self.shift, 0)], 0.0 * signals[..., :1])

    def slots(self, xp: Namespace, slots: Array, w: Array, offered_mw: Array, shift: Array) -> Array:
        """The slots with what the curves give at the voltages `w` [pu], and `shift` besides."""

        def cast(values: np.ndarray) -> Array:
            return xp.asarray(values, dtype=slots.dtype)

        reactive = reactive_slot(xp, w, Curve(*map(cast, self.curve)), cast(self.q_gain), shift)
        half_mw = xp.where(self.by_share, 0.5 * offered_mw, cast(self.half_mw))
        limits = (*map(cast, (self.left, self.begin_pu, self.end_pu, self.rated_mw, self.low_mw)), half_mw)
        active = active_slot(xp, w, slots[..., np.maximum(self.p_slot, 0)], *limits)
        index, n = np.arange(slots.shape[-1]), len(self.unit)
        index[self.q_slot[self.q_slot >= 0]] = slots.shape[-1] + np.flatnonzero(self.q_slot >= 0)
        index[self.p_slot[self.p_slot >= 0]] = slots.shape[-1] + n + np.flatnonzero(self.p_slot >= 0)
        found: Array = xp.concatenate([slots, reactive, active], axis=-1)[..., index]
        return found


class Following(NamedTuple):
    """What the units of a running tick deliver at any voltage.

    Attributes
    ----------
    slots
        What is commanded besides the curves, ``(*batch, K)``.
    injections
        What every family injects with these.
    offered_mw
        What nature offers to the units whose command is a share of it, ``(*batch, n)``.
    shift
        What is asked of each unit besides its volt-var curve, over its rating [1], ``(*batch, n)``.
    topology
        The topology that holds, ``None`` where there is only one.
    node_load
        Bus loads with the injections of all families.
    """

    tick: Tick
    inverters: Inverters
    slots: Array
    injections: list[Injection]
    offered_mw: Array
    shift: Array
    topology: Array | None
    node_load: Callable[[list[Injection]], NodeLoad]

    def start(self) -> Array:
        """Voltages of the terminals in the last tick."""
        return self.inverters.terminal(self.tick.xp, self.tick.v_pu)

    def deliver(self, w: Array) -> tuple[Array, dict[int, Any], list[Injection]]:
        """Slots at the voltages `w`, states of the families that have such units, and all injections."""
        xp, layout, inverters = self.tick.xp, self.tick.layout, self.inverters
        slots = inverters.slots(xp, self.slots, w, self.offered_mw, self.shift)
        physical = layout.slots.physical(slots)
        devices: dict[int, Any] = {}
        injections = list(self.injections)
        for i in np.unique(inverters.family).tolist():
            made = self.tick.delivered(i, schedule.command(layout.families[i], physical))
            devices[i], injection = self.tick.with_voltage(i, self.topology, *made)
            own = self._own(i)
            pairs = zip(injection, injections[i], strict=True)
            injections[i] = Injection(*(xp.where(own, new, old) for new, old in pairs))
        return slots, devices, injections

    def _own(self, i: int) -> np.ndarray:
        """Whether each unit of a family follows its voltage, ``(n,)``."""
        own = np.zeros(self.tick.layout.families[i].size, bool)
        own[self.inverters.row[self.inverters.family == i]] = True
        return own

    def powers(self, injections: list[Injection]) -> tuple[Array, Array]:
        """Active and reactive power of the units, ``(*batch, n)`` each [MW, Mvar]."""
        at, first = np.zeros(len(self.inverters.unit), int), 0
        families = np.unique(self.inverters.family).tolist()
        for i in families:
            mine = self.inverters.family == i
            at[mine] = first + self.inverters.row[mine]
            first += self.tick.layout.families[i].size
        columns = ([injections[i][k] for i in families] for k in range(2))
        p_mw, q_mvar = (c[0] if len(c) == 1 else self.tick.xp.concatenate(c, axis=-1) for c in columns)
        return p_mw[..., at], q_mvar[..., at]

    def alive(self) -> Any:
        """Whether each unit has voltage, ``(*batch, n)``."""
        if self.topology is None:
            return True
        switching = self.tick.layout.grid.switching
        assert switching is not None
        parts = zip(self.inverters.family.tolist(), self.inverters.row.tolist(), strict=True)
        table = np.stack([switching.unit_alive[i][:, row] for i, row in parts], axis=-1)
        return self.tick.xp.asarray(table)[self.topology]

    def after(self, w: Array, devices: Sequence[Any]) -> tuple[Array, tuple[Any, ...], list[Injection]]:
        """Slots, states and injections at rest; the other families' as they are."""
        slots, changed, injections = self.deliver(w)
        kept = list(devices)
        for i, new in changed.items():
            own, pairs = self._own(i), zip(new, devices[i], strict=True)
            kept[i] = type(new)(*(self.tick.xp.where(own, a, b) for a, b in pairs))
        return slots, tuple(kept), injections


class Voltages(NamedTuple):
    """Voltages to start a flow from [pu]."""

    v_re: Array
    v_im: Array


class Base(NamedTuple):
    """Where the next voltages are tried from, by environment.

    Attributes
    ----------
    w, largest
        Voltages [pu], ``(*batch, n)``, and the largest ``|r|`` at them; :data:`UNKNOWN_PU` before the first flow.
    p_mw, q_mvar, v_pu
        What the units delivered there, and the voltages that they had.
    step, share
        Newton's step from there, and the share of it that is tried.
    factor
        Factor on the network's sensitivities [1].
    """

    w: Array
    largest: Array
    p_mw: Array
    q_mvar: Array
    v_pu: Array
    step: Array
    share: Array
    factor: Array


class Round(NamedTuple):
    """Between two flows.

    Attributes
    ----------
    flow
        The last flow; ``None`` on JAX, so that the compiler leaves out of the loop what nobody reads there.
    start
        The last voltages that solved a flow.
    w
        Voltages to try next [pu], ``(*batch, n)``.
    base
        Where they are tried from.
    busy, left
        Which environments are not at rest, and rounds left.
    """

    flow: Any
    start: Voltages
    w: Array
    base: Base
    busy: Array
    left: Array


def at_rest(tick: Following, solve: Callable[[NodeLoad, Any], Flow], start: Any, w: Array) -> tuple[Flow, Array]:
    """Flow with the inverters at rest, and the voltages that they read.

    A flow whose inverters do not come to rest within :data:`ROUNDS` counts as not converged.

    Parameters
    ----------
    solve
        Flow of a load from a start.
    start
        Where the first flow starts, anything with ``v_re`` and ``v_im``.
    w
        Voltages to begin with [pu], ``(*batch, n)``.
    """
    xp, inverters, alive = tick.tick.xp, tick.inverters, tick.alive()
    eps = float(np.finfo(w.dtype).eps)
    rest_pu, nudge_pu = max(inverters.rest_pu, 50.0 * eps), 4.0 * float(np.sqrt(eps))
    r_pu, x_pu = (xp.asarray(table, dtype=w.dtype) for table in (inverters.r_pu, inverters.x_pu))

    def settle(now: Round) -> Round:
        injections = tick.deliver(now.w)[2]
        flow = solve(tick.node_load(injections), now.start)
        powers, v_pu = tick.powers(injections), inverters.terminal(xp, flow.v_pu)
        r = xp.where(alive, v_pu - now.w, 0.0)
        largest = xp.abs(r).max(-1)
        takes, busy = judged(xp, now.busy, flow.converged, largest, now.base.largest, now.base.share, rest_pu)
        nudge = nudge_of(xp, r, nudge_pu)
        beyond = tick.powers(tick.deliver(now.w + nudge)[2])
        slopes = [slope_of(xp, here, there, nudge) for here, there in zip(powers, beyond, strict=True)]
        factor = _factor(xp, r_pu, x_pu, now.base, powers, xp.where(alive, v_pu - now.base.v_pu, 0.0))
        step = _newton(xp, r_pu, x_pu, factor, slopes, r)
        whole = share_of(xp, xp.abs(step).max(-1))
        tried = Base(now.w, largest, *powers, v_pu, step, whole, factor)
        base = Base(*_chosen(xp, takes, tried, now.base._replace(share=0.5 * now.base.share)))
        solved = _chosen(xp, now.busy & flow.converged, (flow.v_re, flow.v_im), now.start)
        kept = xp.logical_not(now.busy)
        if is_numpy(xp) and now.flow is not None and kept.any():
            flow = Flow(*_chosen(xp, kept, now.flow, flow))
        w = xp.where(busy[..., None], base.w + base.share[..., None] * base.step, now.w)
        return Round(flow if is_numpy(xp) else None, Voltages(*solved), w, base, busy, now.left - 1)

    batch, zero = w.shape[:-1], w * 0.0
    one = zero[..., 0] + 1.0
    base = Base(w, one * UNKNOWN_PU, zero, zero, w, zero, one, one)
    first = Round(None, Voltages(start.v_re, start.v_im), w, base, xp.ones(batch, dtype=bool), xp.asarray(ROUNDS))
    last = while_loop(xp, lambda now: (now.left > 0) & now.busy.any(), settle, first)
    flow, w = last.flow, last.w
    if not is_numpy(xp):

        def residual(w: Array) -> Array:
            v_pu = inverters.terminal(xp, solve(tick.node_load(tick.deliver(w)[2]), last.start).v_pu)
            return xp.where(alive, v_pu, last.w) - w

        w = solution(xp, last.w, residual)
        flow = solve(tick.node_load(tick.deliver(w)[2]), last.start)
    return flow._replace(converged=flow.converged & xp.logical_not(last.busy)), w


def _chosen(xp: Namespace, which: Array, new: Sequence[Array], old: Sequence[Array]) -> list[Array]:
    """Arrays of `new` in the environments `which` ``(*batch,)``, of `old` in the others."""
    pairs = zip(new, old, strict=True)
    return [xp.where(which.reshape(which.shape + (1,) * (a.ndim - which.ndim)), a, b) for a, b in pairs]


def _answer(r_pu: Array, x_pu: Array, p_mw: Array, q_mvar: Array) -> Array:
    """Change of the voltages for changes of power, ``(*batch, n)``."""
    found: Array = (r_pu * p_mw[..., None, :] + x_pu * q_mvar[..., None, :]).sum(-1)
    return found


def _factor(xp: Namespace, r_pu: Array, x_pu: Array, base: Base, powers: Sequence[Array], moved: Array) -> Array:
    """Factor on the sensitivities with which they explain best how voltages have `moved` since the last base."""
    expected = _answer(r_pu, x_pu, powers[0] - base.p_mw, powers[1] - base.q_mvar)
    explained, squares = (expected * moved).sum(-1), (expected * expected).sum(-1)
    return factor_of(xp, explained, squares, base.largest, base.factor)


def _newton(xp: Namespace, r_pu: Array, x_pu: Array, factor: Array, slopes: Sequence[Array], r: Array) -> Array:
    """Solution `d` of ``(1 + factor (R P + X Q)) d = r``."""
    gain = r_pu * slopes[0][..., None, :] + x_pu * slopes[1][..., None, :]
    matrix = xp.eye(r.shape[-1], dtype=r.dtype) + factor[..., None, None] * gain
    found: Array = xp.linalg.solve(matrix, r[..., None])[..., 0]
    return found
