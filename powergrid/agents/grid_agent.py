"""GridAgent: a coordinator of devices, such as a microgrid controller."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from powergrid.agents.base import LEARNED, Agent

if TYPE_CHECKING:
    from powergrid.agents.device_agent import DeviceAgent


class GridAgent(Agent):
    """An agent of level 2 that owns a vertical protocol and the devices below it.

    Parameters
    ----------
    id
        Unique name.
    area
        Prefix of the part of the network it answers for (a composed guest's name); ``""`` if it owns no buses.
    devices
        Its device agents.
    protocol
        Name of its vertical protocol: ``none``, ``setpoint`` or ``price_signal``.
    protocol_params
        Parameters of that protocol.
    """

    level = 2

    def __init__(
        self,
        id: str,
        *,
        area: str = "",
        devices: Iterable[DeviceAgent] = (),
        protocol: str = "none",
        protocol_params: dict[str, float] | None = None,
        policy: str = LEARNED,
        interval_s: float | None = None,
        offset_s: float = 0.0,
        observability: str = "local+communication",
    ):
        super().__init__(id, policy=policy, interval_s=interval_s, offset_s=offset_s, observability=observability)
        self.area = area
        self.protocol = protocol
        self.protocol_params = dict(protocol_params or {})
        self.adopt(devices)


class GridCoordinatorAgent(GridAgent):
    """The proposal's name for :class:`GridAgent`."""
