"""Actions of agents as rows of one checked array; the message about a fault names the agent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from powergrid.core.errors import ActionError, nearest


class ActionRows:
    """Turns ``{agent: vector}`` into ``(A, k_max)``.

    Parameters
    ----------
    agents
        Acting agents, in order.
    sizes
        Number of entries of each agent's action.
    width
        Length of a row, ``k_max``.
    labels
        Labels of the entries of an agent's action.
    """

    def __init__(
        self, agents: Sequence[str], sizes: Sequence[int], width: int, labels: Callable[[str], tuple[str, ...]]
    ):
        self._agents, self._sizes, self._width, self._labels = list(agents), list(sizes), width, labels
        rows = [row * width + np.arange(size) for row, size in enumerate(sizes)]
        self._places = np.concatenate(rows or [np.zeros(0, dtype=int)]).astype(int)
        # of one key, itemgetter gives the value itself
        self._rows_of: Any = itemgetter(*agents) if len(agents) > 1 else self._each

    def stack(self, actions: Mapping[str, Any], live: Sequence[str]) -> np.ndarray:
        """Return the actions of all agents, float64 ``(A, k_max)``, zeros for those that are not `live`.

        Raises
        ------
        ActionError
            If an action is missing, has the wrong shape, is not finite, or belongs to an agent that does not act or is
            absent; the message names the agent.
        """
        if len(live) < len(self._agents):
            there, pairs = frozenset(live), zip(self._agents, self._sizes, strict=True)
            absent = {agent: np.zeros(size) for agent, size in pairs if agent not in there}
            for agent in absent:
                if agent in actions:
                    raise ActionError(f'there is an action for agent "{agent}", which is absent in this tick')
            actions = {**actions, **absent}
        stacked = np.zeros((len(self._agents), self._width))
        if len(actions) != len(self._agents):
            raise self._error(actions)
        if not self._agents:
            return stacked
        try:
            rows = self._rows_of(actions)
            flat = np.concatenate(rows, dtype=float, casting="same_kind")
            fits = flat.ndim == 1 and list(map(len, rows)) == self._sizes
        except (KeyError, TypeError, ValueError) as error:
            raise self._error(actions) from error
        if not fits or not np.isfinite(flat).all():
            raise self._error(actions)
        stacked.reshape(-1)[self._places] = flat
        return stacked

    def _each(self, actions: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(actions[agent] for agent in self._agents)

    def _error(self, actions: Mapping[str, Any]) -> ActionError:
        """The error about the first action with a fault."""
        for name in actions:
            if name not in self._agents:
                return unknown_agent(str(name), self._agents)
        for agent, size in zip(self._agents, self._sizes, strict=True):
            shape = (size,)
            if agent not in actions:
                present = ", ".join(map(str, actions)) or "none"
                return ActionError(f'no action for agent "{agent}"; there are actions for: {present}')
            try:
                row = np.asarray(actions[agent], dtype=float)
            except (TypeError, ValueError):
                return ActionError(f'action of agent "{agent}" is not a vector of numbers: {actions[agent]!r}')
            if row.shape != shape:
                labels = ", ".join(self._labels(agent))
                return ActionError(f'action of agent "{agent}" has shape {row.shape}, expected {shape}: {labels}')
            if not np.isfinite(row).all():
                label = self._labels(agent)[int(np.flatnonzero(~np.isfinite(row))[0])]
                return ActionError(f'action of agent "{agent}" is not finite at {label}: {row.tolist()}')
        return ActionError("actions could not be read")


class BatchRows:
    """Turns ``{agent: (E, k)}`` into ``(E, A, k_max)``.

    Parameters
    ----------
    agents
        Acting agents, in order.
    sizes
        Number of entries of each agent's action.
    width
        Length of a row, ``k_max``.
    count
        Number of environments, E.
    """

    def __init__(self, agents: Sequence[str], sizes: Sequence[int], width: int, count: int):
        self._agents, self._sizes, self._width, self._count = list(agents), list(sizes), width, count

    def stack(self, actions: Mapping[str, Any]) -> np.ndarray:
        """Return the actions of all agents in all environments, float64 ``(E, A, k_max)``.

        Raises
        ------
        ActionError
            If an action is missing, has the wrong shape, is not finite, or belongs to an agent that does not act; the
            message names the agent.
        """
        stacked = np.zeros((self._count, len(self._agents), self._width))
        for row, (agent, size) in enumerate(zip(self._agents, self._sizes, strict=True)):
            if agent not in actions:
                self._refuse_unknown(actions)
                raise ActionError(f'no actions for agent "{agent}"; actions were given for: {", ".join(actions)}')
            own, wanted = np.asarray(actions[agent]), (self._count, size)
            if own.shape != wanted:
                raise ActionError(f'actions of agent "{agent}" have shape {own.shape}, expected {wanted}')
            stacked[:, row, :size] = own
        if len(actions) > len(self._agents):
            self._refuse_unknown(actions)
        if not np.isfinite(stacked).all():
            env, row, _ = np.argwhere(~np.isfinite(stacked))[0]
            raise ActionError(f'action of agent "{self._agents[row]}" in environment {env} is not finite')
        return stacked

    def _refuse_unknown(self, actions: Mapping[str, Any]) -> None:
        """Refuse actions of an agent that does not act."""
        for name in actions:
            if name not in self._agents:
                raise unknown_agent(str(name), self._agents)


def checked_array(
    actions: ArrayLike, shape: tuple[int, ...], agents: Sequence[str], sizes: Sequence[int]
) -> np.ndarray:
    """Return the actions of `step_array` as float64.

    Parameters
    ----------
    actions
        ``(*batch, A, k_max)``; entries beyond an agent's own have no effect.
    shape
        Expected shape.
    agents
        Acting agents, in order.
    sizes
        Number of entries of each agent's action.

    Raises
    ------
    ActionError
        If the actions are no numbers, have another shape or are not finite; the message names the agent.
    """
    try:
        rows = np.asarray(actions)
        rows = rows.astype(np.float64, casting="same_kind", copy=False)
    except (TypeError, ValueError):
        raise ActionError(f"actions are not an array of numbers of shape {shape}: {actions!r}") from None
    if rows.shape != shape:
        raise ActionError(
            f"actions have shape {rows.shape}, expected {shape}: rows are agents in the order of possible_agents"
        )
    if np.isfinite(rows).all():
        return rows
    own = np.arange(shape[-1]) < np.asarray(sizes)[:, None]
    bad = np.argwhere(~np.isfinite(rows) & own)
    if len(bad):
        *env, row, k = bad[0].tolist()
        place = f" in environment {env[0]}" if env else ""
        value = float(rows[(*env, row, k)])
        raise ActionError(f'action of agent "{agents[row]}"{place} is not finite: number {k} is {value}')
    return np.where(own, rows, 0.0)  # padding may be not finite


def unknown_agent(name: str, agents: Sequence[str]) -> ActionError:
    """The error about an action of an agent that does not act."""
    hint = nearest(name, agents)
    return ActionError(
        f'there is an action for agent "{name}", which does not act here; '
        f"{hint + ' ' if hint else ''}acting agents: {', '.join(agents) or 'none'}"
    )
