"""Infos of a step, computed at their first use: most learners never read them, and they cost as much as the step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from powergrid.core.types import Array
from powergrid.engine.layout import Layout
from powergrid.engine.results import Results, blank_results

_LATER: Any = object()
"""Placeholder of a value that is not computed yet; it never leaves this module."""


class Infos(dict[str, Any]):
    """A dictionary whose values are computed at their first use.

    Copies, merges and pickles are plain dictionaries with every value computed.

    Parameters
    ----------
    blank
        What :func:`blank_infos` gives for the keys: a copy of it costs much less than a dictionary of as many names.
    later
        Function from a key to its value and possibly those of other keys, by key. Each call must return the same.
    """

    def __init__(self, blank: Mapping[str, Any], later: Callable[[str], Mapping[str, Any]]):
        super().__init__(blank)
        self._later = later

    def __getitem__(self, name: str) -> Any:
        value = super().__getitem__(name)
        if value is _LATER:
            for key, computed in self._later(name).items():
                if super().__getitem__(key) is _LATER:
                    super().__setitem__(key, computed)
            value = super().__getitem__(name)
        return value

    def __iter__(self) -> Iterator[str]:  # with it, copies and merges read each value by its key
        return super().__iter__()

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of a key, or `default` if there is none."""
        try:
            return self[name]
        except KeyError:
            return default

    def setdefault(self, name: str, default: Any = None) -> Any:
        """Return the value of a key; it becomes `default` if there is none."""
        if name not in self:
            self[name] = default
        return self[name]

    def pop(self, name: str, *default: Any) -> Any:
        """Remove a key and return its value, or a default if there is none."""
        if name in self:
            self[name]
        return super().pop(name, *default)

    def popitem(self) -> tuple[str, Any]:
        """Remove and return the last key and its value."""
        self._compute_all()
        return super().popitem()

    def items(self) -> Any:
        """Keys and values."""
        self._compute_all()
        return super().items()

    def values(self) -> Any:
        """Values."""
        self._compute_all()
        return super().values()

    def copy(self) -> dict[str, Any]:
        """Return a plain dictionary."""
        return dict(self)

    def _compute_all(self) -> None:
        for name in self:
            self[name]

    def __or__(self, other: Any) -> Any:
        return dict(self) | other

    def __ror__(self, other: Any) -> Any:
        return other | dict(self)

    def __eq__(self, other: object) -> bool:
        return dict(self) == other

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None

    def __repr__(self) -> str:
        return repr(dict(self))

    def __reduce__(self) -> Any:
        return dict, (dict(self),)


def blank_infos(names: Iterable[str]) -> dict[str, Any]:
    """Keys of :class:`Infos`, in order, without values."""
    return dict.fromkeys(names, _LATER)


def agent_infos(
    agents: Sequence[str],
    results: Results,
    due_next: Array,
    day: int,
    in_service: Sequence[Array] | None = None,
    carbon_kg: Array | None = None,
) -> dict[str, dict[str, Any]]:
    """Infos of a step by agent, from results of one environment; those of a reset have the same keys.

    `due_next` says for each agent whether its action takes effect in the next tick, ``(A,)``, and `in_service`, where
    devices may be out of service, which numbers of it do so, ``(k,)`` each. `carbon_kg` are marginal emissions by
    account, ``(accounts,)``, where the configuration has a series for them.
    """
    converged = bool(results.converged[0])
    columns = zip(
        agents,
        results.cost[0].tolist(),
        results.costs[0],
        results.money[0],
        results.due[0].tolist(),
        due_next.tolist(),
        results.clipped[0].tolist(),
        results.available[0].tolist(),
        strict=False,  # the rows of other accounts follow those of acting agents
    )
    found = {
        agent: {
            "cost": cost,
            "costs": costs,
            "money": money,
            "converged": converged,
            "due": due,
            "due_next": following,
            "available": available,
            "clipped": clipped,
            "day": day,
        }
        for agent, cost, costs, money, due, following, clipped, available in columns
    }
    if in_service is not None:
        for info, numbers in zip(found.values(), in_service, strict=True):
            info["in_service"] = numbers
    if carbon_kg is not None:
        for info, kg in zip(found.values(), carbon_kg.tolist(), strict=False):
            info["carbon_kg"] = kg
    return found


def first_results(layout: Layout, observation: Array, converged: Array, available: Array) -> Results:
    """Results before the first tick, with one batch axis: no actions, no money and no violations."""
    results = blank_results(layout, np.size(converged)).of_actors(layout)
    for array in results:
        array.fill(0)
    results.observation[:], results.available[:] = observation, available
    results.converged[:] = converged
    return results
