"""The power flow together with the local controllers that act within a tick.

Regulators act in seconds, a tick lasts minutes: within it they step until every relay voltage is inside its band or the
time is used up, upstream first, because an upstream regulator has the shorter delay. Inverters that follow their
voltage are faster: they come to rest at every position of the taps.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from powergrid.core.backend import Namespace, is_numpy, while_loop
from powergrid.core.types import Array, Control, Flow, NodeLoad
from powergrid.engine.inverters import Following, at_rest
from powergrid.engine.tick import Tick
from powergrid.networks.regulation import ROUNDS, steps_taken


class Start(NamedTuple):
    """Voltages to start a flow from [pu], in the form the power-flow methods read."""

    v_re: Array
    v_im: Array


class _Round(NamedTuple):
    """What is known between two power flows.

    The last flow (or its voltages), what inverters read in it, its taps, the steps wanted, rounds left.
    """

    flow: Any
    read: Any
    taps: Any
    wanted: Array
    left: Array


def solve(
    tick: Tick,
    devices: tuple[Any, ...],
    load: NodeLoad,
    start: Start,
    hours: float,
    topology: Array | None = None,
    inverters: Following | None = None,
) -> tuple[Flow, tuple[Any, ...], Any]:
    """Solve the flow in a topology and let the regulators move as far as `hours` allow.

    A regulator whose relay has no voltage stays where it is.

    Returns
    -------
    flow, devices, read
        The flow at the final taps, the states with those taps, and the voltages that `inverters` read [pu].
    """
    xp, layout = tick.xp, tick.layout
    cap_on = None if layout.caps is None else devices[layout.caps].on

    def solved(control: Control, start: Any, read: Any) -> tuple[Flow, Any]:
        if inverters is None:
            return layout.grid.solve(load, control, start), None
        return at_rest(inverters, lambda load, start: layout.grid.solve(load, control, start), start, read)

    read = None if inverters is None else inverters.start()
    if layout.taps is None:
        flow, read = solved(Control(cap_on=cap_on, topology=topology), start, read)
        return flow, devices, read
    kernel = layout.families[layout.taps].kernel
    columns = tick.params.families[layout.taps]
    allowed = kernel.allowed_moves(xp, columns, hours)
    alive = True if layout.grid.switching is None else xp.asarray(layout.grid.switching.alive_relay)[topology]

    def flow_at(taps: Any, start: Any, read: Any) -> tuple[Flow, Any]:
        ratio = kernel.ratio(columns, taps)
        ratio = ratio if layout.regulators.tap_of is None else ratio[..., layout.regulators.tap_of]
        return solved(Control(tap_ratio=ratio, cap_on=cap_on, topology=topology), start, read)

    def settle(now: _Round) -> _Round:
        upstream = xp.abs(now.wanted) @ xp.asarray(layout.regulators.upstream, dtype=now.wanted.dtype)
        taps = kernel.moved(xp, now.taps, steps_taken(xp, now.wanted, upstream))
        flow, read = flow_at(taps, now.flow, now.read)
        if is_numpy(xp) and now.wanted.ndim > 1 and now.left < ROUNDS:
            rest = xp.logical_not((now.wanted != 0.0).any(-1))
            flow = _kept(xp, rest, now.flow, flow)
            read = None if read is None else xp.where(rest[..., None], now.read, read)
        if layout.regulators.relays is None:
            v_relay = flow.v_pu[..., layout.regulators.relay_bus]
        else:
            v_relay = layout.regulators.relays.read(xp, flow.v_re, flow.v_im, kernel.ratio(columns, taps))
        wanted = kernel.wanted_steps(xp, columns, taps, v_relay, allowed)
        wanted = xp.where(flow.converged[..., None] & alive, wanted, 0.0)
        # on JAX only voltages are carried, so that the compiler leaves out of the loop what nobody reads there
        carried = flow if is_numpy(xp) else Start(flow.v_re, flow.v_im)
        return _Round(carried, read, taps, wanted, _after(xp, wanted, now.left))

    taps = devices[layout.taps]
    first = _Round(start, read, taps, taps.tap * 0.0, xp.asarray(ROUNDS))
    final = while_loop(xp, lambda now: now.left > 0, settle, first)
    flow, read = (final.flow, final.read) if is_numpy(xp) else flow_at(final.taps, final.flow, final.read)
    return flow, (*devices[: layout.taps], final.taps, *devices[layout.taps + 1 :]), read


def _kept(xp: Namespace, rest: Array, old: Flow, new: Flow) -> Flow:
    """The old flow of environments at rest, to the bit, whatever their neighbours in the batch still do."""
    fields = zip(old, new, strict=True)
    return Flow(*(xp.where(rest.reshape(rest.shape + (1,) * (b.ndim - rest.ndim)), a, b) for a, b in fields))


def _after(xp: Namespace, wanted: Array, left: Array) -> Array:
    """Rounds left: none once every relay is at rest."""
    return xp.where((wanted != 0.0).any(), left - 1, 0)
