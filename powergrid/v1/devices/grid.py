"""v1's connection to the main grid."""

from __future__ import annotations

from typing import Any

from powergrid.v1.devices.base import Device
from powergrid.v1.utils.cost import energy_cost


class Grid(Device):
    """The external grid: positive power is bought.

    Parameters
    ----------
    name, bus
        Its name, and that of its bus; v1 always takes the net's first external grid.
    sn_mva
        Kept and not used.
    sell_discount
        Share of the price paid for an export [1].
    dt
        Step [h].
    """

    def __init__(self, name: str, bus: Any, sn_mva: float, *, sell_discount: float = 1.0, dt: float = 1.0) -> None:
        super().__init__()
        self.type, self.name, self.bus, self.sn_mva = "GRID", name, bus, float(sn_mva)
        self.sell_discount, self.dt = float(sell_discount), float(dt)
        self.action_callback = True
        self.state.price = 0.0

    def set_action_space(self) -> None:
        """It has no action."""

    def update_state(
        self, *, price: float | None = None, P: float | None = None, Q: float | None = None, **kwargs: Any
    ) -> None:
        """Take over what is given: price [$/MWh], powers [MW, Mvar]."""
        if P is not None:
            self.state.P = float(P)
        if Q is not None:
            self.state.Q = float(Q)
        if price is not None:
            self.state.price = float(price)

    def update_cost_safety(self, *args: Any, **kwargs: Any) -> None:
        """``P price dt`` for an import, `sell_discount` times that for an export."""
        self.cost = energy_cost(self.state.P, self.state.price or 0.0, self.sell_discount) * self.dt
        self.safety = 0.0

    def reset(self, rnd: Any = None) -> None:
        """At no power and no price."""
        self.state.P = self.state.Q = 0.0
        self.state.price = 0.0
        self.cost = self.safety = 0.0
