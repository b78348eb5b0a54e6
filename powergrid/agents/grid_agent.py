"""GridAgent: a coordinator of devices, such as a microgrid controller."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from powergrid.agents.base import LEARNED, Agent, Objective, places_of
from powergrid.core.errors import AgentError, ArgumentError, nearest

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
        Name of its vertical protocol, such as ``none``, ``setpoint``, ``price_signal`` or ``incentive``.
    protocol_params
        Parameters of that protocol.
    objective
        Whose money and priced violations its reward sums, where outside code acts for it: ``"own"`` its account,
        ``"below"`` also those of all agents below it, ``"all"`` those of all agents.

    Raises
    ------
    ArgumentError
        If there is no such objective.
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
        objective: str = "own",
        policy: str = LEARNED,
        interval_s: float | None = None,
        offset_s: float = 0.0,
        observability: str = "local+communication",
    ):
        known = get_args(Objective)
        if objective not in known:
            hint = nearest(objective, known)
            raise ArgumentError(
                f'agent "{id}": there is no objective "{objective}"; {hint} available: {", ".join(known)}'
            )
        super().__init__(id, policy=policy, interval_s=interval_s, offset_s=offset_s, observability=observability)
        self.area = area
        self.protocol = protocol
        self.protocol_params = dict(protocol_params or {})
        self.objective = objective
        self.adopt(devices)

    def coordinate_subordinates(self, action: Any) -> dict[str, dict[str, float]]:
        """What an action of this agent says to each agent below that it is for, by the vertical protocol.

        Parameters
        ----------
        action
            Numbers in [-1, 1], ``(k,)``, or physical values by label of `action_labels`.

        Returns
        -------
        dict
            Physical values by name for each subordinate: one price for all, ``{"ess_1": {"price": 40.0}, ...}``, or set
            points and commands of each, ``{"ess_1": {"p": 0.2}, ...}``. Commands of devices further below have the
            names of these devices.

        Raises
        ------
        AgentError
            If the action does not fit, or the agent has nothing to decide in an environment.
        """
        if not self.decisions:
            raise AgentError(f'agent "{self.id}" decides nothing: no environment has bound it, or it has no protocol')
        found: dict[str, dict[str, float]] = {}
        for (owner, entry), value in zip(self.decisions, self._physical(action), strict=True):
            to = [child.id for child in self.subordinates] if owner == self.id else [owner]
            for id in to:
                found.setdefault(id, {})[entry.name] = value
        return found

    def _physical(self, action: Any) -> list[float]:
        """An action in physical values, in the order of `decisions`."""
        if isinstance(action, Mapping):
            places = places_of(self.action_labels)
            values = [math.nan] * len(self.decisions)
            for label, value in action.items():
                if label not in places:
                    hint = nearest(str(label), self.action_labels)
                    raise AgentError(f'agent "{self.id}" does not choose "{label}"; {hint or self.action_labels}')
                values[places[label]] = float(value)
            missing = [label for label, value in zip(self.action_labels, values, strict=True) if math.isnan(value)]
            if missing:
                raise AgentError(f'agent "{self.id}": the action lacks {", ".join(missing)}')
            return values
        numbers = np.asarray(action, dtype=float)
        if numbers.shape != (len(self.decisions),):
            raise AgentError(
                f'agent "{self.id}": the action has shape {numbers.shape}, expected {(len(self.decisions),)}: '
                f"{', '.join(self.action_labels)}"
            )
        shares = 0.5 * (np.clip(numbers, -1.0, 1.0) + 1.0)
        return [
            float(entry.low + share * (entry.high - entry.low))
            for (_, entry), share in zip(self.decisions, shares, strict=True)
        ]


class GridCoordinatorAgent(GridAgent):
    """The proposal's name for :class:`GridAgent`."""
