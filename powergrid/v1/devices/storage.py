"""v1's battery."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from powergrid.v1.devices.base import Device, reactive_limits
from powergrid.v1.utils.cost import cost_from_curve
from powergrid.v1.utils.safety import s_over_rating, soc_bounds_penalty


class ESS(Device):
    """Battery; positive power charges. Neither power nor state of charge is clipped: v1 let both go anywhere.

    Parameters
    ----------
    name, bus
        Its name, and that of its bus without the area's prefix.
    min_p_mw, max_p_mw
        Power range [MW].
    capacity
        Energy at a state of charge of 1 [MWh].
    max_e_mwh, min_e_mwh
        Window of energy [MWh]; leaving it is a safety term.
    init_soc
        State of charge until the first reset [1]; an environment's reset draws another.
    min_q_mvar, max_q_mvar, sn_mva
        As for :class:`~powergrid.v1.devices.generator.DG`.
    ch_eff, dsc_eff
        Efficiencies of charging and discharging [1].
    cost_curve_coefs
        Cost over the signed power, as for :class:`~powergrid.v1.devices.generator.DG` [$/h].
    dt
        Step [h].

    Raises
    ------
    AssertionError
        If ``0 <= min_e_mwh < max_e_mwh <= capacity`` does not hold.
    """

    def __init__(
        self,
        name: str,
        bus: Any,
        min_p_mw: float,
        max_p_mw: float,
        capacity: float,
        *,
        max_e_mwh: float | None = None,
        min_e_mwh: float = 0.0,
        init_soc: float = 0.5,
        min_q_mvar: float = math.nan,
        max_q_mvar: float = math.nan,
        sn_mva: float = math.nan,
        ch_eff: float = 0.98,
        dsc_eff: float = 0.98,
        cost_curve_coefs: Sequence[float] = (0.0, 0.0, 0.0),
        dt: float = 1.0,
    ) -> None:
        super().__init__()
        self.type, self.name, self.bus = "ESS", name, bus
        self.min_p_mw, self.max_p_mw, self.capacity = float(min_p_mw), float(max_p_mw), float(capacity)
        self.max_e_mwh = self.capacity if max_e_mwh is None else float(max_e_mwh)
        self.min_e_mwh = float(min_e_mwh)
        assert 0.0 <= self.min_e_mwh < self.max_e_mwh <= self.capacity, (
            f'ESS "{name}": needs 0 <= min_e_mwh < max_e_mwh <= capacity, got {self.min_e_mwh}, {self.max_e_mwh}, '
            f"{self.capacity}"
        )
        self.sn_mva = float(sn_mva)
        self.min_q_mvar, self.max_q_mvar = reactive_limits(self.sn_mva, self.max_p_mw, min_q_mvar, max_q_mvar)
        self.ch_eff, self.dsc_eff, self.dt = float(ch_eff), float(dsc_eff), float(dt)
        self.cost_curve_coefs = list(cost_curve_coefs)
        self.init_soc = float(init_soc)
        self.min_soc, self.max_soc = self.min_e_mwh / self.capacity, self.max_e_mwh / self.capacity
        self.state.soc = self.init_soc
        self.set_action_space()

    @property
    def soc(self) -> float:
        """State of charge [1]."""
        return float(self.state.soc or 0.0)

    def set_action_space(self) -> None:
        """[P] or [P, Q]."""
        low, high = [self.min_p_mw], [self.max_p_mw]
        if not (math.isnan(self.sn_mva) and math.isnan(self.max_q_mvar)):
            low, high = [*low, self.min_q_mvar], [*high, self.max_q_mvar]
        self.action.range = np.array([low, high], dtype=np.float32)
        self.action.dim_c = len(low)
        self.action.sample()

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Copy P and Q; charge by ``P ch_eff dt / capacity`` or discharge by ``P / dsc_eff dt / capacity``."""
        self.state.P = float(self.action.c[0])
        if self.action.c.size > 1:
            self.state.Q = float(self.action.c[1])
        stored = self.state.P * self.ch_eff if self.state.P >= 0 else self.state.P / self.dsc_eff
        self.state.soc = self.soc + stored * self.dt / self.capacity

    def update_cost_safety(self, *args: Any, **kwargs: Any) -> None:
        """``curve(P) dt``; overload per unit of the rating plus the distance of the state of charge from its window."""
        self.cost = self.state.on * cost_from_curve(self.state.P, self.cost_curve_coefs) * self.dt
        overload = s_over_rating(self.state.P, self.state.Q, self.sn_mva)
        self.safety = (overload + soc_bounds_penalty(self.soc, self.min_soc, self.max_soc)) * self.dt

    def feasible_action(self) -> None:
        """Clip the power to what the energy window lets through in one step."""
        out = min((self.soc - self.min_soc) * self.capacity * self.dsc_eff / self.dt, -self.min_p_mw)
        into = min((self.max_soc - self.soc) * self.capacity / self.ch_eff / self.dt, self.max_p_mw)
        low, high = [-out], [into]
        if self.action.c.size > 1:
            low, high = [*low, self.min_q_mvar], [*high, self.max_q_mvar]
        self.action.c = np.clip(self.action.c, np.array(low, np.float32), np.array(high, np.float32))

    def reset(self, rnd: Any = None, *, init_soc: float | None = None) -> None:
        """At no power; draw the state of charge from the window unless it is given."""
        draw = np.random if rnd is None else rnd
        self.state.soc = float(draw.uniform(self.min_soc, self.max_soc) if init_soc is None else init_soc)
        self.state.P = 0.0
        if self.action.c.size > 1:
            self.state.Q = 0.0
        self.cost = self.safety = 0.0
