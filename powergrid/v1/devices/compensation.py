"""v1's switched shunt."""

from __future__ import annotations

from typing import Any

import numpy as np

from powergrid.v1.devices.base import Device
from powergrid.v1.utils.cost import switching_cost


class Shunt(Device):
    """Capacitor or reactor with steps. In v1 no environment with a shunt could be built; here it works as intended.

    Parameters
    ----------
    name, bus
        Its name, and that of its bus without the area's prefix.
    q_mvar
        Reactive power drawn per step at 1 pu [Mvar]; negative for a capacitor.
    max_step
        Highest step.
    switching_cost
        Cost when the step changes [$].
    """

    def __init__(self, name: str, bus: Any, q_mvar: float, *, max_step: int = 1, switching_cost: float = 0.0) -> None:
        super().__init__()
        self.type, self.name, self.bus = "SCB", name, bus
        self.q_mvar, self.max_step, self.switching_cost = float(q_mvar), int(max_step), float(switching_cost)
        self.state.max_step = self.max_step
        self.state.step = np.zeros(self.max_step + 1, np.float32)
        self.step = self._last_step = 0
        self.set_action_space()

    def set_action_space(self) -> None:
        """One of ``max_step + 1`` steps."""
        self.action.dim_d, self.action.ncats = 1, self.max_step + 1
        self.action.sample()

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Take the commanded step."""
        self.step = int(self.action.d[0])
        self.state.step = np.zeros(self.max_step + 1, np.float32)
        self.state.step[self.step] = 1.0

    def update_cost_safety(self, *args: Any, **kwargs: Any) -> None:
        """Cost of a change."""
        self.cost = switching_cost(self.step != self._last_step, self.switching_cost)
        self.safety = 0.0
        self._last_step = self.step

    def reset(self, rnd: Any = None) -> None:
        """All steps off."""
        self.state.step = np.zeros(self.max_step + 1, np.float32)
        self.step = self._last_step = 0
        self.cost = self.safety = 0.0
