"""The switch that v1's README promised."""

from __future__ import annotations

from typing import Any

from powergrid.v1.devices.base import Device
from powergrid.v1.utils.cost import switching_cost


class Switch(Device):
    """A switch of the net, found there by its name, that the agent opens and closes. v1 listed it and had none.

    Parameters
    ----------
    name
        Name in the net, without the area's prefix.
    closed
        Position at reset.
    switching_cost
        Cost of a change [$].
    dt
        Step [h].
    """

    def __init__(self, name: str, *, closed: bool = True, switching_cost: float = 0.0, dt: float = 1.0) -> None:
        super().__init__()
        self.type, self.name, self.dt = "SWITCH", name, float(dt)
        self.initially_closed, self.switching_cost = bool(closed), float(switching_cost)
        self._last_closed: int | None = None
        self.reset()
        self.set_action_space()

    def set_action_space(self) -> None:
        """0 opens, 1 closes."""
        self.action.dim_d, self.action.ncats = 1, 2
        self.action.sample()

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Take the commanded position."""
        self.state.closed = int(self.action.d[0])

    def update_cost_safety(self, *args: Any, **kwargs: Any) -> None:
        """Cost of a change."""
        self.cost = switching_cost(self.state.closed != self._last_closed, self.switching_cost)
        self.safety = 0.0
        self._last_closed = self.state.closed

    def reset(self, rnd: Any = None) -> None:
        """The position given to the constructor."""
        self.state.closed = self._last_closed = int(self.initially_closed)
        self.cost = self.safety = 0.0
