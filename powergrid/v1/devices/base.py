"""What all v1 devices share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

from powergrid.v1.actions import Action
from powergrid.v1.state import DeviceState


class Device(ABC):
    """A device with a state, an action, and the cost and safety of its last step.

    Attributes
    ----------
    state, action
        What it is doing and what it is told to do.
    action_callback
        True where it takes no action of its own.
    cost, safety
        Cost [$] and violation [1] of the last step.
    adversarial
        Never used by v1; kept.
    """

    name: str
    type: str

    def __init__(self) -> None:
        self.state = DeviceState()
        self.action = Action()
        self.action_callback = False
        self.cost: float = 0.0
        self.safety: float = 0.0
        self.adversarial = False

    @abstractmethod
    def set_action_space(self) -> None:
        """Set lengths and ranges of the action."""

    @abstractmethod
    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Carry out the action."""

    @abstractmethod
    def update_cost_safety(self, *args: Any, **kwargs: Any) -> None:
        """Set cost and safety of the step."""

    @abstractmethod
    def reset(self, *args: Any, **kwargs: Any) -> None:
        """Begin an episode."""

    def feasible_action(self) -> None:  # noqa: B027 - only some devices have anything to do
        """Bring the action into its limits. v1's environments never call this."""


def reactive_limits(sn_mva: float, p_max_mw: float, low: float, high: float) -> tuple[float, float]:
    """Reactive limits [Mvar]: ``+-sqrt(sn^2 - p_max^2)`` with a rating, which overrides the limits given."""
    if math.isnan(sn_mva):
        return float(low), float(high)
    q = math.sqrt(sn_mva**2 - p_max_mw**2)
    return -q, q
