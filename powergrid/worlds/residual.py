"""Worlds whose actions correct a local policy, and those whose actions are the commands themselves."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from powergrid.config.resolve import ResolvedConfig, with_overrides
from powergrid.worlds.build import build
from powergrid.worlds.world import World


def corrected(env: Any) -> str | None:
    """Local policy that actions of an environment correct; ``None`` where they are commands."""
    config = getattr(getattr(env.world, "resolved", None), "config", None)  # environments of other origin have none
    found: str | None = getattr(config, "residual", None)
    return found


def with_residual(world: World, policy: str | None) -> World:
    """The same world in which actions correct a local policy, or with ``None`` are commands.

    Parameters
    ----------
    policy
        Name of the policy, as under the key ``residual`` of a configuration.
    """
    resolved = world.resolved
    if not isinstance(resolved, ResolvedConfig) or resolved.config.residual == policy:
        return world
    return _built(with_overrides(resolved, residual=policy), world.method, world.tol_pu)


@lru_cache(maxsize=4)
def _built(resolved: ResolvedConfig, method: str, tol_pu: float) -> World:
    return build(resolved, method=method, tol_pu=tol_pu)
