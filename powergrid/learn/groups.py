"""One value for each group of agents, in one order that nothing rearranges.

JAX rebuilds every dictionary with its keys sorted, so that the order of a dictionary of arrays differs before and after
``jax.tree.map`` or ``jax.jit``. What learning holds for each group is therefore a :class:`ByGroup`: its order is that
of the environment's groups and part of the tree's structure, and it is the one way to turn groups into the columns of
agents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

import jax
import jax.numpy as jnp

from powergrid.core.types import Array

T = TypeVar("T")
U = TypeVar("U")


@jax.tree_util.register_pytree_with_keys_class
class ByGroup(Generic[T]):
    """Values of all groups, in the order of the environment's groups.

    Parameters
    ----------
    names
        The groups.
    parts
        What each holds: an array, weights, statistics.

    Examples
    --------
    >>> rewards = ByGroup.of(env.groups, {"ess": ess, "dg": dg})  # doctest: +SKIP
    >>> rewards.columns().shape[-1] == sum(len(agents) for agents in env.groups.values())  # doctest: +SKIP
    True
    """

    __slots__ = ("names", "parts")

    def __init__(self, names: Iterable[str], parts: Iterable[T]):
        self.names, self.parts = tuple(names), tuple(parts)

    @classmethod
    def of(cls, groups: Iterable[str], values: Mapping[str, T]) -> ByGroup[T]:
        """Values by name, in whatever order, put into the order of `groups`."""
        names = tuple(groups)
        return cls(names, (values[name] for name in names))

    @classmethod
    def make(cls, groups: Iterable[str], part: Callable[[str], T]) -> ByGroup[T]:
        """``part(name)`` for each of `groups`, called in their order."""
        names = tuple(groups)
        return cls(names, (part(name) for name in names))

    def __getitem__(self, name: str) -> T:
        return self.parts[self.names.index(name)]

    def map(self, function: Callable[..., U], *others: ByGroup[Any]) -> ByGroup[U]:
        """``function(part, *parts of the others)`` for each group.

        Raises
        ------
        ValueError
            If the groups of another differ, in name or order.
        """
        if any(other.names != self.names for other in others):
            raise ValueError(f"groups {[other.names for other in others]} are set against {self.names}")
        rows = zip(self.parts, *(other.parts for other in others), strict=True)
        return ByGroup(self.names, (function(*row) for row in rows))

    def by_name(self) -> dict[str, T]:
        """A plain dictionary, for an environment."""
        return dict(zip(self.names, self.parts, strict=True))

    def columns(self: ByGroup[Array]) -> Array:
        """Arrays ``(*batch, n)`` of all groups side by side: one column for each agent, ``(*batch, A)``."""
        return jnp.concatenate(self.parts, -1)

    def tree_flatten(self) -> tuple[tuple[T, ...], tuple[str, ...]]:
        """Parts and the order, for JAX where it needs no names: each call of a compiled function."""
        return self.parts, self.names

    def tree_flatten_with_keys(self) -> tuple[tuple[tuple[Any, T], ...], tuple[str, ...]]:
        """Parts with their names, and the order, for JAX."""
        keys = map(jax.tree_util.DictKey, self.names)
        return tuple(zip(keys, self.parts, strict=True)), self.names

    @classmethod
    def tree_unflatten(cls, names: tuple[str, ...], parts: Iterable[T]) -> ByGroup[T]:
        """The values again, in the same order."""
        return cls(names, parts)
