"""v1's generators: dispatchable and renewable."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from powergrid.v1.devices.base import Device, reactive_limits
from powergrid.v1.utils.cost import cost_from_curve
from powergrid.v1.utils.safety import pf_penalty, s_over_rating


class DG(Device):
    """Dispatchable generator. Powers are taken from the action as they are: v1 clips nothing.

    Parameters
    ----------
    name, bus
        Its name, and that of its bus without the area's prefix.
    min_p_mw, max_p_mw
        Active power range [MW].
    min_q_mvar, max_q_mvar
        Reactive power range [Mvar]; with `max_q_mvar` or `sn_mva` the action is [P, Q].
    sn_mva
        Rating [MVA]; sets the reactive range to ``+-sqrt(sn_mva^2 - max_p_mw^2)``.
    min_pf
        Lowest power factor without a safety term [1].
    leading
        Not used by v1.
    cost_curve_coefs
        Three coefficients of a parabola or the knots of a line, see
        :func:`~powergrid.v1.utils.cost.cost_from_curve` [$/h].
    startup_time, shutdown_time
        Steps that a start or stop takes; with `startup_time` there is a discrete action, 0 stop and 1 run.
    startup_cost, shutdown_cost
        Cost of a start or stop [$/h].
    type
        ``"fossil"``, or another word for data's sake.
    dt
        Step [h].
    """

    def __init__(
        self,
        name: str,
        bus: Any,
        min_p_mw: float,
        max_p_mw: float,
        *,
        min_q_mvar: float = math.nan,
        max_q_mvar: float = math.nan,
        sn_mva: float = math.nan,
        min_pf: float | None = None,
        leading: bool | None = None,
        cost_curve_coefs: Sequence[float] = (0.0, 0.0, 0.0),
        startup_time: int | None = None,
        shutdown_time: int | None = None,
        startup_cost: float = 0.0,
        shutdown_cost: float = 0.0,
        type: str = "fossil",
        dt: float = 1.0,
    ) -> None:
        super().__init__()
        self.type, self.name, self.bus = type, name, bus
        self.min_p_mw, self.max_p_mw, self.sn_mva = float(min_p_mw), float(max_p_mw), float(sn_mva)
        self.min_q_mvar, self.max_q_mvar = reactive_limits(self.sn_mva, self.max_p_mw, min_q_mvar, max_q_mvar)
        self.min_pf, self.leading = min_pf, leading
        self.cost_curve_coefs = list(cost_curve_coefs)
        self.startup_time, self.shutdown_time = startup_time, shutdown_time
        self.startup_cost, self.shutdown_cost = float(startup_cost), float(shutdown_cost)
        self.uc_cost = 0.0
        self.dt = float(dt)
        if startup_time is not None:  # only then did v1 show P and Q
            self.state.Pmin, self.state.Pmax = self.min_p_mw, self.max_p_mw
            self.state.Qmin, self.state.Qmax = self.min_q_mvar, self.max_q_mvar
            self.state.shutting = self.state.starting = 0
        self.set_action_space()

    def set_action_space(self) -> None:
        """[P] or [P, Q], and the discrete command where there is unit commitment."""
        low, high = [self.min_p_mw], [self.max_p_mw]
        if not (math.isnan(self.sn_mva) and math.isnan(self.max_q_mvar)):
            low, high = [*low, self.min_q_mvar], [*high, self.max_q_mvar]
        self.action.range = np.array([low, high], dtype=np.float32)
        self.action.dim_c = len(low)
        if self.startup_time is not None:
            self.action.dim_d, self.action.ncats = 1, 2
        self.action.sample()

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Follow the command, then copy P and Q."""
        if self.action.dim_d > 0:
            self._follow_command()
        if self.action.c.size:
            self.state.P = float(self.action.c[0])
        if self.action.c.size > 1:
            self.state.Q = float(self.action.c[1])

    def _follow_command(self) -> None:
        """Count towards off or on; the cost of a switch stays until an update finds both counters at zero."""
        state = self.state
        shutting, starting = state.shutting or 0, state.starting or 0
        if not (shutting or starting):
            self.uc_cost = 0.0
        run = bool(self.action.d[0]) if self.action.d.size else True
        if state.on and not run:
            shutting += 1
            if shutting > (self.shutdown_time or 0):
                state.on, shutting, self.uc_cost = 0, 0, self.shutdown_cost
        if not state.on and run:
            starting += 1
            if starting > (self.startup_time or 0):
                state.on, starting, self.uc_cost = 1, 0, self.startup_cost
        state.shutting, state.starting = shutting, starting

    def update_cost_safety(self, *args: Any, **kwargs: Any) -> None:
        """``on curve(P) dt + uc_cost dt``; with a reactive action, overload and power factor."""
        state = self.state
        self.cost = state.on * cost_from_curve(state.P, self.cost_curve_coefs) * self.dt + self.uc_cost * self.dt
        self.safety = 0.0
        if self.action.dim_c > 1:
            overload = s_over_rating(state.P, state.Q, self.sn_mva)
            self.safety = (overload + pf_penalty(state.P, state.Q, self.min_pf)) * self.dt

    def reset(self, rnd: Any = None) -> None:
        """On, at no power."""
        self.state.P = self.state.Q = 0.0
        self.state.on, self.state.shutting, self.state.starting = 1, 0, 0
        self.cost = self.safety = 0.0


class RES(Device):
    """Renewable generator that gives what sun or wind give.

    Parameters
    ----------
    name, bus
        Its name, and that of its bus without the area's prefix.
    sn_mva
        Rating [MVA]; also its highest power [MW].
    source
        ``"solar"`` or ``"wind"``.
    max_q_mvar, min_q_mvar
        Reactive range [Mvar]; with `max_q_mvar` its action is [Q].
    cost_curve_coefs
        Kept and not used.
    dt
        Step [h].

    Raises
    ------
    AssertionError
        If `source` is neither.
    """

    def __init__(
        self,
        name: str,
        bus: Any,
        sn_mva: float,
        source: str,
        *,
        max_q_mvar: float = math.nan,
        min_q_mvar: float = math.nan,
        cost_curve_coefs: Sequence[float] = (0.0, 0.0, 0.0),
        dt: float = 1.0,
    ) -> None:
        super().__init__()
        assert source in ("solar", "wind"), f'RES "{name}": source must be "solar" or "wind", not "{source}"'
        self.type, self.name, self.bus = source, name, bus
        self.sn_mva, self.min_p_mw, self.max_p_mw = float(sn_mva), 0.0, float(sn_mva)
        self.max_q_mvar, self.min_q_mvar = float(max_q_mvar), float(min_q_mvar)
        self.cost_curve_coefs, self.dt = list(cost_curve_coefs), float(dt)
        self.state.Pmin, self.state.Pmax = self.min_p_mw, self.max_p_mw
        self.set_action_space()

    def set_action_space(self) -> None:
        """[Q] or nothing. Its state shows P only: v1 never gave it reactive limits."""
        if math.isnan(self.max_q_mvar):
            self.action_callback = True
            return
        self.action.range = np.array([[self.min_q_mvar], [self.max_q_mvar]], dtype=np.float32)
        self.action.dim_c = 1
        self.action.sample()

    def update_state(self, scaling: float | None = None, **kwargs: Any) -> None:
        """``P = sn_mva scaling`` where a scaling in [0, 1] is given; Q from the action."""
        if scaling is not None:
            assert 0.0 <= scaling <= 1.0, f'RES "{self.name}": scaling {scaling} lies outside 0 to 1; check the data'
            self.state.P = self.sn_mva * float(scaling)
        if self.action.c.size:
            self.state.Q = float(self.action.c[0])

    def update_cost_safety(self, *args: Any, **kwargs: Any) -> None:
        """No cost; with a reactive action ``max(0, S - sn) dt``, in MVA and not per unit."""
        self.cost = 0.0
        overload = math.hypot(self.state.P, self.state.Q) - self.sn_mva
        self.safety = max(0.0, overload) * self.dt if self.action.dim_c else 0.0

    def reset(self, rnd: Any = None) -> None:
        """At no power."""
        self.state.P = self.state.Q = 0.0
        self.cost = self.safety = 0.0
