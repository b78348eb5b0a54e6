"""The power flow together with the local controllers that act within a tick.

Regulators act in seconds, a tick lasts minutes: within it they step until every relay voltage is inside its band or the
time is used up, upstream first, because an upstream regulator has the shorter delay.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from powergrid.core.backend import while_loop
from powergrid.core.types import Array, Control, Flow, NodeLoad
from powergrid.engine.layout import Layout, Params

_ROUNDS = 64
"""More rounds than any regulator has steps on both sides; a guard, not a tuning."""


class _Round(NamedTuple):
    flow: Flow
    taps: Any
    wanted: Array
    count: Array


def solve(
    xp: Any,
    layout: Layout,
    params: Params,
    devices: tuple[Any, ...],
    load: NodeLoad,
    start: Any,
    tick_h: float,
) -> tuple[Flow, tuple[Any, ...]]:
    """Solve the flow and let the regulators move as far as `tick_h` hours allow.

    Returns
    -------
    flow, devices
        The flow at the final taps, and the states with those taps.
    """
    cap_on = None if layout.caps is None else devices[layout.caps].on
    if layout.taps is None:
        return layout.solve(load, Control(cap_on=cap_on), start), devices
    kernel = layout.families[layout.taps].kernel
    columns = params.families[layout.taps]
    allowed = kernel.allowed_moves(xp, columns, tick_h)

    def flow_at(taps: Any, start: Any) -> Flow:
        return layout.solve(load, Control(tap_ratio=kernel.ratio(columns, taps), cap_on=cap_on), start)

    def wanted(taps: Any, flow: Flow) -> Array:
        steps = kernel.wanted_steps(xp, columns, taps, flow.v_pu[..., layout.relay_bus], allowed)
        return xp.where(flow.converged[..., None], steps, 0.0)

    def move(now: _Round) -> _Round:
        waits = xp.abs(now.wanted) @ xp.asarray(layout.upstream, dtype=now.wanted.dtype) > 0.0
        taps = kernel.moved(xp, now.taps, xp.where(waits, 0.0, now.wanted))
        flow = flow_at(taps, now.flow)
        return _Round(flow, taps, wanted(taps, flow), now.count + 1)

    taps = devices[layout.taps]
    flow = flow_at(taps, start)
    first = _Round(flow, taps, wanted(taps, flow), xp.asarray(0))
    final = while_loop(xp, lambda now: (now.wanted != 0.0).any() & (now.count < _ROUNDS), move, first)
    return final.flow, (*devices[: layout.taps], final.taps, *devices[layout.taps + 1 :])
