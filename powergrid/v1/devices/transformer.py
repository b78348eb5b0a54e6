"""v1's transformer."""

from __future__ import annotations

from typing import Any

from powergrid.v1.devices.base import Device
from powergrid.v1.utils.cost import tap_change_cost
from powergrid.v1.utils.safety import loading_over_pct


class Transformer(Device):
    """Transformer of the net, found there by its name.

    Without both tap limits it has no action, and v1 then writes tap position 0 at the first step, wherever the net's
    own tap stood.

    Parameters
    ----------
    name
        Name in the net, without the area's prefix.
    sn_mva
        Rating [MVA]; kept and not used.
    tap_max, tap_min
        Tap range [steps]; with both, the action is the index ``tap - tap_min``.
    dt
        Step [h].
    tap_change_cost
        Cost of a tap step [$].
    """

    def __init__(
        self,
        name: str,
        *,
        sn_mva: float | None = None,
        tap_max: int | None = None,
        tap_min: int | None = None,
        dt: float = 1.0,
        tap_change_cost: float = 0.0,
    ) -> None:
        super().__init__()
        self.type, self.name, self.sn_mva = "TRAFO", name, sn_mva
        self.tap_max, self.tap_min = tap_max, tap_min
        self.dt, self.tap_change_cost = float(dt), float(tap_change_cost)
        self._last_tap_position = 0
        self.reset()
        self.set_action_space()

    def set_action_space(self) -> None:
        """The tap index where both limits are known."""
        if self.tap_max is None or self.tap_min is None:
            return
        self.state.tap_max, self.state.tap_min = self.tap_max, self.tap_min
        self.action.dim_d, self.action.ncats = 1, self.tap_max - self.tap_min + 1
        self.action.sample()

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Take the commanded tap."""
        if self.action.d.size and self.tap_min is not None:
            self.state.tap_position = int(self.action.d[0]) + int(self.tap_min)

    def update_cost_safety(self, *, loading_percentage: float = 0.0, **kwargs: Any) -> None:
        """Cost of the tap steps moved; loading above 100 %."""
        self.state.loading_percentage = float(loading_percentage)
        self.safety = loading_over_pct(self.state.loading_percentage)
        tap = int(self.state.tap_position or 0)
        self.cost = tap_change_cost(tap - self._last_tap_position, self.tap_change_cost)
        self._last_tap_position = tap

    def reset(self, rnd: Any = None) -> None:
        """Lowest tap, or 0 without limits."""
        self.state.loading_percentage = 0.0
        self.state.tap_position = self._last_tap_position = 0 if self.tap_min is None else int(self.tap_min)
        self.cost = self.safety = 0.0
