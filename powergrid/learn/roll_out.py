"""Roll-outs: how a learner's batch of environments moves through the ticks before an update.

There are two, behind one interface. ``"jax"`` runs environments and actors as one function of JAX, on any device;
``"compiled"`` runs the environments of :func:`powergrid.make_vec` on the CPU, which step several times faster there and
compile nothing, and JAX only for the actors. Both draw the same days, initial states and forecasts.
"""

from __future__ import annotations

from concurrent.futures import Executor
from typing import Any, Protocol

import jax

from powergrid.core.types import Array
from powergrid.learn.actors.network import ActorNetwork
from powergrid.learn.constraints import Constraints
from powergrid.learn.critics import Critic
from powergrid.learn.learner import FunctionalEnv
from powergrid.learn.learner_state import Lanes, LearnerState, Rollout


class RollOut(Protocol):
    """Moves a batch of environments."""

    def begin(self, key: Array) -> Lanes:
        """Environments at their first observation; the run's raw key decides days and initial states."""
        ...

    def prepare(self, learner: LearnerState, others: Executor) -> tuple[Lanes, Rollout]:
        """Begin to compile what `begin` and `collect` need, by `others`; shapes of what `collect` gives back."""
        ...

    def collect(self, learner: LearnerState, lanes: Lanes) -> tuple[Lanes, Rollout]:
        """Act for the ticks of one update."""
        ...


def choose(
    env: FunctionalEnv,
    num_envs: int,
    ticks: int,
    network: ActorNetwork,
    critic: Critic,
    kind: str,
    constraints: Constraints | None = None,
) -> tuple[RollOut, str]:
    """A roll-out, and its kind: ``"jax"``, ``"compiled"``, or for ``"auto"`` the faster one of those that can be.

    Raises
    ------
    NotCompilableError
        If ``"compiled"`` is wanted of an environment that the compiled step does not take.
    ConfigError
        If ``"jax"`` is wanted of an environment with agents that decide in Python, or of a network whose power flow JAX
        does not solve.
    """
    from powergrid.core.errors import NotCompilableError
    from powergrid.learn.compiled_roll_out import CompiledRollOut
    from powergrid.learn.jax_roll_out import JaxRollOut

    on_cpu = runs_on_cpu_only(env)
    if on_cpu and kind == "jax":
        refuse_on_jax(env, "roll_out", "leave roll_out out, or choose compiled")
    if on_cpu or kind == "compiled" or (kind == "auto" and jax.default_backend() == "cpu"):
        try:
            return CompiledRollOut(env, num_envs, ticks, network, critic, constraints), "compiled"
        except NotCompilableError:
            if on_cpu or kind == "compiled":
                raise
    return JaxRollOut(env, num_envs, ticks, network, critic, constraints), "jax"


def runs_on_cpu_only(env: FunctionalEnv) -> bool:
    """Whether JAX cannot step an environment: its power flow, or agents that decide in Python, are on the CPU."""
    world: Any = getattr(env, "world", None)
    layout: Any = getattr(world, "layout", None)  # environments of other origin have none
    return layout is not None and (world.method != "zbus" or bool(layout.python_agents))


def refuse_on_jax(env: FunctionalEnv, setting: str, hint: str) -> None:
    """Refuse an environment that JAX cannot step, which `setting` asks for.

    Raises
    ------
    ConfigError
        With what runs on the CPU only, and the `hint`.
    """
    from powergrid.core.errors import ConfigError, Issue
    from powergrid.worlds import python_agents

    world: Any = getattr(env, "world", None)
    if not runs_on_cpu_only(env):
        return
    python_agents.refuse_on_jax(world.layout, world.agents)
    raise ConfigError([Issue(setting, f'the power flow of "{world.network.name}" runs on the CPU only', hint)])
