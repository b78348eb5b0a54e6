"""Islands that carry themselves: units that form a grid share by droop what their island needs.

A reference holds the voltage of the island. What it delivers is what the island lacks; the island's forming units take
it over, until nothing is left for the reference. An island whose units cannot deliver it collapses: for this tick it is
dead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from powergrid.core.backend import Namespace, while_loop
from powergrid.core.derivatives import without_derivative
from powergrid.core.types import Array, Flow, Injection
from powergrid.engine import schedule
from powergrid.engine.islands import Islands
from powergrid.engine.regulation import Start
from powergrid.engine.tick import Tick

ROUNDS = 12
"""Flows in which the units take over from the reference; each leaves about the share of the losses that moves."""
MOVED_MW = 1e-7
"""Change of a unit's power below which it has settled [MW]; 16 units in the last place of 1 MW in float32."""
SHORT_MW = 1e-6
"""Power that an island may lack without collapse [MW]; 64 units in the last place of 1 MW in float32."""
_UNLIMITED = 1e9
NO_DERIVATIVE = (
    "the share that each forming unit takes of an island's load has no derivative here; leave out the units that form "
    "grids, or the switches and outages that cut islands off"
)


class _Round(NamedTuple):
    """What is known between two flows.

    Voltages, power of the forming units, each island's drop of frequency [1], which islands lack power, which
    environments have not settled, rounds left.
    """

    v_re: Array
    v_im: Array
    p_mw: Array
    q_mvar: Array
    drop: Array
    short: Array
    busy: Array
    left: Array


def carry(
    tick: Tick,
    islands: Islands,
    topology: Array,
    devices: tuple[Any, ...],
    injections: list[Injection],
    shift_pu: Array | None,
    start: Start,
    solve: Callable[[list[Injection], Start], Flow],
) -> tuple[tuple[Any, ...], list[Injection], Array, Start, Array]:
    """Let the forming units deliver what their islands need; islands that lack power collapse.

    With droop, unit i delivers ``p_i = p_set,i - df / m_i`` inside its limits, where `df` is the island's deviation of
    frequency and `m_i` its droop [Hz/MW]: without limits ``df = -R / sum(1 / m_i)`` for the power `R` that is missing
    at the set points (e.g. Chandorkar, Divan and Adapa, "Control of parallel connected inverters in standalone AC
    supply systems", IEEE Trans. Industry Applications 29(1), 1993, doi:10.1109/28.195899). Reactive power is shared in
    the same proportions.

    A secondary control shifts the frequency set point of unit i by `o_i`, so that ``p_i = p_set,i + (o_i - df) / m_i``:
    with equal shifts the units deliver the same as without, and the frequency is higher by the shift.

    Parameters
    ----------
    tick
        With its commands.
    devices, injections
        After the tick with the commands as given: the set points.
    shift_pu
        Shift of each forming unit's frequency set point over the nominal frequency [1], ``(*batch, u)``.
    start
        Where the flows start.
    solve
        Flow for injections from a start, in `topology`.

    Returns
    -------
    devices, injections, topology, start, frequency
        With the power that is really delivered and the islands that did not collapse; where the last flow starts; and
        the frequency at every injecting unit [Hz].
    """
    xp, count = tick.xp, islands.fallen.shape[1]
    at = xp.asarray(islands.island)[topology]
    member = at[..., None] == np.arange(count)
    carried = at >= 0
    set_p, set_q = (_of_units(xp, islands, [getattr(i, part) for i in injections]) for part in Injection._fields)
    weight = xp.where(carried, _stiffness(tick, islands, devices), 0.0)
    zero = set_p * 0.0
    low, high = (_limits(tick, islands, injections, zero + limit, set_q)[0] for limit in (-_UNLIMITED, _UNLIMITED))
    begin_p = set_p
    if shift_pu is not None:
        set_p = set_p + shift_pu * weight
        begin_p = xp.where(weight > 0.0, xp.minimum(xp.maximum(set_p, low), high), set_p)
    eps = float(np.finfo(set_p.dtype).eps)
    settled_mw, short_mw = max(MOVED_MW, 16.0 * eps), max(SHORT_MW, 64.0 * eps)

    def settle(now: _Round) -> _Round:
        flow = solve(_overlaid(xp, islands, injections, carried, now.p_mw, now.q_mvar), Start(now.v_re, now.v_im))
        p_mw, drop, lacks_p = _shared(xp, set_p, low, high, weight, member, now.p_mw, flow.p_form_mw)
        least, most = (_limits(tick, islands, injections, p_mw, zero + limit)[1] for limit in (-_UNLIMITED, _UNLIMITED))
        q_mvar, _, lacks_q = _shared(xp, set_q, least, most, weight, member, now.q_mvar, flow.q_form_mvar)
        p_mw, q_mvar = xp.where(carried, p_mw, now.p_mw), xp.where(carried, q_mvar, now.q_mvar)
        moved = xp.maximum(xp.abs(p_mw - now.p_mw), xp.abs(q_mvar - now.q_mvar)).max(-1) > settled_mw
        solved, busy = now.busy & flow.converged, now.busy[..., None]
        goes_on = (solved & moved)[..., None]
        return _Round(
            v_re=xp.where(busy, flow.v_re, now.v_re),
            v_im=xp.where(busy, flow.v_im, now.v_im),
            p_mw=xp.where(goes_on, p_mw, now.p_mw),
            q_mvar=xp.where(goes_on, q_mvar, now.q_mvar),
            drop=xp.where(solved[..., None], drop, now.drop),
            short=xp.where(solved[..., None], xp.maximum(lacks_p, lacks_q) > short_mw, now.short),
            busy=solved & moved,
            left=now.left - 1,
        )

    able = (weight[..., None] * member).sum(-2) > 0.0
    first = _Round(
        start.v_re,
        start.v_im,
        begin_p,
        set_q,
        able * zero[..., :1],
        xp.logical_not(able),
        carried.any(-1),
        xp.asarray(ROUNDS),
    )
    last = while_loop(xp, lambda now: (now.left > 0) & now.busy.any(), settle, first)
    shared = last.p_mw, last.q_mvar, last.drop
    shared = without_derivative(xp, shared, (set_p, set_q, weight, low, high), NO_DERIVATIVE)
    last = last._replace(p_mw=shared[0], q_mvar=shared[1], drop=shared[2])
    devices, delivered = _rerun(tick, islands, carried, devices, injections, last.p_mw, last.q_mvar)
    misses = xp.maximum(
        *(
            xp.abs(_of_units(xp, islands, [getattr(i, part) for i in delivered]) - wanted)
            for part, wanted in zip(Injection._fields, (last.p_mw, last.q_mvar), strict=True)
        )
    )
    fails = last.short | xp.logical_not(able) | ((misses > short_mw)[..., None] & member).any(-2)
    there = member.any(-2)
    for reference in range(count):
        falls = fails[..., reference] & there[..., reference]
        topology = xp.where(falls, xp.asarray(islands.fallen[:, reference])[topology], topology)
    start = Start(last.v_re, last.v_im)
    return devices, delivered, topology, start, islands.frequency(xp, topology, last.drop)


def _of_units(xp: Namespace, islands: Islands, columns: Sequence[Array]) -> Array:
    """Columns ``(*batch, n)`` by family of the units that form grids, ``(*batch, u)``."""
    parts = [columns[i][..., rows] for i, rows in zip(islands.families, islands.members, strict=True)]
    return parts[0] if len(parts) == 1 else xp.concatenate(parts, axis=-1)


def _stiffness(tick: Tick, islands: Islands, devices: tuple[Any, ...]) -> Array:
    """Power that each forming unit adds for a frequency drop of 1 pu [MW], ``(*batch, u)``."""
    kernels, params = tick.layout.families, tick.params.families
    found = {i: kernels[i].kernel.stiffness_mw(tick.xp, params[i], devices[i]) for i in islands.families}
    for i in islands.families:
        failed = tick.failed(i)
        found[i] = found[i] if failed is None else tick.xp.where(failed, 0.0, found[i])
    return _of_units(tick.xp, islands, [found.get(i) for i in range(len(kernels))])


def _spread(xp: Namespace, islands: Islands, which: int, values: Array, size: int) -> tuple[Array, np.ndarray]:
    """Values of forming units ``(*batch, u)`` in the columns of one family, and which columns are such units."""
    first = sum(len(rows) for rows in islands.members[:which])
    place, own = np.zeros(size, int), np.zeros(size, bool)
    place[islands.members[which]] = first + np.arange(len(islands.members[which]))
    own[islands.members[which]] = True
    return values[..., place], own


def _limits(
    tick: Tick, islands: Islands, injections: list[Injection], p_mw: Array, q_mvar: Array
) -> tuple[Array, Array]:
    """What the forming units deliver when told to deliver `p_mw` and `q_mvar`, ``(*batch, u)`` each."""
    everyone = np.ones(len(islands.unit), bool)
    _, found = _rerun(tick, islands, everyone, tick.state.devices, injections, p_mw, q_mvar)
    return tuple(_of_units(tick.xp, islands, [getattr(i, part) for i in found]) for part in Injection._fields)


def _overlaid(
    xp: Namespace, islands: Islands, injections: list[Injection], carried: Array, p_mw: Array, q_mvar: Array
) -> list[Injection]:
    """The injections with the powers of the units that carry an island."""
    found = list(injections)
    for which, i in enumerate(islands.families):
        parts = []
        for old, new in zip(injections[i], (p_mw, q_mvar), strict=True):
            values, own = _spread(xp, islands, which, new, old.shape[-1])
            mine, _ = _spread(xp, islands, which, carried, old.shape[-1])
            parts.append(xp.where(own & mine, values, old))
        found[i] = Injection(*parts)
    return found


def _rerun(
    tick: Tick,
    islands: Islands,
    carried: Array,
    devices: tuple[Any, ...],
    injections: list[Injection],
    p_mw: Array,
    q_mvar: Array,
) -> tuple[tuple[Any, ...], list[Injection]]:
    """States and injections with the units that carry an island told to deliver these powers."""
    xp, after, found = tick.xp, list(devices), list(injections)
    told = _overlaid(xp, islands, injections, carried, p_mw, q_mvar)
    for which, i in enumerate(islands.families):
        size = injections[i].p_mw.shape[-1]
        mine, own = _spread(xp, islands, which, carried, size)
        command = schedule.command(tick.layout.families[i], tick.physical)._replace(**told[i]._asdict())
        device, injection = tick.delivered(i, command)
        keep = own & mine
        after[i] = type(device)(*(xp.where(keep, new, old) for new, old in zip(device, devices[i], strict=True)))
        found[i] = Injection(*(xp.where(keep, new, old) for new, old in zip(injection, injections[i], strict=True)))
    return tuple(after), found


def _shared(
    xp: Namespace, set_mw: Array, low: Array, high: Array, weight: Array, member: Array, now_mw: Array, missing: Array
) -> tuple[Array, Array, Array]:
    """Share what each island needs among its units in proportion to `weight`, inside their limits.

    Unit i delivers ``clip(set_i + x weight_i, low_i, high_i)`` with one `x` an island such that the sum is what the
    units deliver now plus what is missing. The sum is piecewise linear in `x`, so it is evaluated at every bend and
    interpolated between the two beside the solution.

    Returns
    -------
    power, x, lacking
        ``(*batch, u)``, ``(*batch, references)``, and what the limits keep from being delivered by island.
    """
    needed = (now_mw[..., None] * member).sum(-2) + missing
    inverse = 1.0 / xp.where(weight > 0.0, weight, 1.0)
    bends = xp.concatenate([(limit - set_mw) * inverse * (weight > 0.0) for limit in (low, high)], axis=-1)

    def delivered(x: Array) -> Array:
        """Power of each unit, ``(..., u)``, at its island's `x` ``(..., u)``."""
        return xp.where(weight > 0.0, xp.minimum(xp.maximum(set_mw + x * weight, low), high), set_mw)

    at_bend = xp.stack([delivered(bends[..., k : k + 1]) for k in range(bends.shape[-1])], axis=-2)
    sums = (at_bend[..., None] * member[..., None, :, :]).sum(-2)  # (*batch, bends, references)
    x, needs = bends[..., None], needed[..., None, :]
    lower, upper = x.min(-2), x.max(-2)
    x_a = xp.where(sums <= needs, x, lower[..., None, :]).max(-2)
    x_b = xp.where(sums >= needs, x, upper[..., None, :]).min(-2)
    sum_a = xp.where(sums <= needs, sums, sums.min(-2)[..., None, :]).max(-2)
    sum_b = xp.where(sums >= needs, sums, sums.max(-2)[..., None, :]).min(-2)
    width = sum_b - sum_a
    part = xp.where(width > 0.0, (needed - sum_a) / xp.where(width > 0.0, width, 1.0), 1.0)
    found = x_a + xp.minimum(xp.maximum(part, 0.0), 1.0) * (x_b - x_a)
    power = delivered((found[..., None, :] * member).sum(-1))
    return power, found, xp.abs((power[..., None] * member).sum(-2) - needed)
