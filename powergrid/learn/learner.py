"""What an algorithm offers the trainer, and what a functional environment offers an algorithm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from pydantic import BaseModel

from powergrid.core.errors import ConfigError
from powergrid.core.settings import NumberSettings
from powergrid.core.types import Array
from powergrid.plugins.algorithms import setting_issues


class FunctionalEnv(Protocol):
    """Reset and step as pure functions over any leading batch axes: what ``powergrid.make_functional`` returns."""

    groups: Mapping[str, tuple[str, ...]]
    observation_size: Mapping[str, int]
    action_size: Mapping[str, int]
    state_size: int
    episode_length: int

    def reset(self, key: Array) -> tuple[dict[str, Array], Any]:
        """First observations and state for raw keys ``(*batch, 2)``."""
        ...

    def step(
        self, key: Array, state: Any, actions: dict[str, Array]
    ) -> tuple[dict[str, Array], Any, dict[str, Array], dict[str, Array], dict[str, Any]]:
        """Observations, state, rewards, ends and information after one tick and, where an episode ended, a reset.

        The information has the entries that :meth:`powergrid.envs.functional.FunctionalEnv.step` names; its ``due``
        says, by group, whose actions took effect.
        """
        ...

    def central_state(self, state: Any) -> Array:
        """What a central critic may see, ``(*batch, state_size)``."""
        ...


class Learner(Protocol):
    """One algorithm bound to one environment; its state, a NamedTuple of arrays, is all that a resume needs."""

    steps_per_update: int
    rollout_s: float  # time that the last roll-out took [s]
    settings: BaseModel

    def fresh(self, seed: int) -> Any:
        """What is learned, before anything is: the part of the state that needs no environment."""
        ...

    def init(self, seed: int, *, compile_ahead: bool = False) -> Any:
        """State before the first update; on request `update` is compiled meanwhile."""
        ...

    def update(self, state: Any) -> tuple[Any, dict[str, Array]]:
        """Collect and learn once; the second value holds scalars for the curve."""
        ...


class AlgorithmSettings(NumberSettings):
    """Base of an algorithm's hyperparameters: closed, so that a misspelt one is refused."""


def settings_from(schema: type[AlgorithmSettings], hyper: Mapping[str, Any]) -> Any:
    """`hyper` as settings.

    Raises
    ------
    ConfigError
        With every unknown name (and its nearest match) and every value out of range.
    """
    issues = tuple(setting_issues(schema, hyper))
    if issues:
        raise ConfigError(issues)
    return schema(**hyper)
