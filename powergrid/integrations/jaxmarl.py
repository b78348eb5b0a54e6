"""A configuration as an environment of JaxMARL: pure functions on JAX."""

from __future__ import annotations

from copy import copy
from functools import partial
from typing import Any

from powergrid.core.errors import MissingExtraError

try:
    import jax
    import jax.numpy as jnp
    from flax import struct
    from jaxmarl.environments.multi_agent_env import MultiAgentEnv, State
    from jaxmarl.environments.spaces import Box
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in ("jax", "flax", "jaxmarl"):
        raise
    raise MissingExtraError("jaxmarl", "jaxmarl", __name__) from error

from powergrid.config.resolve import Source
from powergrid.core.types import Array
from powergrid.envs.factory import make_functional
from powergrid.envs.functional import EnvState, FunctionalEnv, Groups, continued
from powergrid.envs.role_names import roles_of

ByAgent = dict[str, Array]


def make(cfg: Source, **make_functional_arguments: Any) -> JaxMARLEnv:
    """Make an environment of JaxMARL.

    Parameters
    ----------
    cfg
        As for :func:`powergrid.make`.
    **make_functional_arguments
        Those of :func:`powergrid.make_functional`, changes to the configuration among them. By default observations are
        scaled (`normalize`) and all agents have equal spaces (``pad="all"``), since the algorithms of JaxMARL stack
        agents and do not scale.

    Raises
    ------
    ConfigError
        If the configuration or an argument cannot be used.
    """
    return JaxMARLEnv(make_functional(cfg, **{"normalize": True, "pad": "all", **make_functional_arguments}))


@struct.dataclass
class JaxMARLState(State):
    """State of one environment.

    Attributes
    ----------
    done
        Whether the episode has ended.
    step
        Ticks since its start.
    running
        State of the functional environment.
    observations
        What each agent observes, ``{agent: (d,)}``.
    central
        State for a central critic, ``(s,)``.
    """

    running: EnvState
    observations: ByAgent
    central: Array


class JaxMARLEnv(MultiAgentEnv):
    """An environment of JaxMARL, for ``jax.vmap``, ``jax.jit`` and ``jax.lax.scan``.

    Dictionaries are by agent, without an axis of environments. An episode that ends is followed by the next one in the
    same step; `step_env` is the step without that.

    Parameters
    ----------
    env
        The functional environment; whether it starts episodes by itself does not matter.

    Attributes
    ----------
    env
        The functional environment, without the next episode where one ends.
    agents, num_agents
        Learning agents, and how many there are.
    observation_spaces, action_spaces
        Spaces by agent.
    world_state_size
        Length of `world_state`.
    """

    def __init__(self, env: FunctionalEnv):
        super().__init__(len(env.agents))
        self.env, self.agents = copy(env), list(env.agents)
        self.env.auto_reset = False
        spaces = env.observation_spaces, env.action_spaces
        self.observation_spaces, self.action_spaces = (
            {agent: Box(space.low, space.high, space.shape) for agent, space in each.items()} for each in spaces
        )
        self.world_state_size = env.state_size

    @partial(jax.jit, static_argnums=(0,))
    def reset(self, key: Array) -> tuple[ByAgent, JaxMARLState]:
        """Start an episode, which the key determines.

        Returns
        -------
        observations, state
            Observations ``{agent: (d,)}``.
        """
        seen, central, running = self.env.begin(key)
        observations = self._by_agent(seen)
        done = jnp.zeros(running.episode.shape, bool)
        return observations, JaxMARLState(done, running.engine.tick, running, observations, central)

    @partial(jax.jit, static_argnums=(0,))
    def step(
        self, key: Array, state: JaxMARLState, actions: ByAgent, reset_state: JaxMARLState | None = None
    ) -> tuple[ByAgent, JaxMARLState, ByAgent, ByAgent, dict[str, Array]]:
        """Advance by one tick; where that ends the episode, the next one starts in the same step.

        Parameters
        ----------
        key
            Determines the next episode where one ends.
        state
            The state before.
        actions
            ``{agent: (k,)}`` in [-1, 1].
        reset_state
            State in which the next episode starts, in place of a drawn one.

        Returns
        -------
        observations, state, rewards, dones, infos
            As of `step_env`, with observations and state of the next episode where one has ended.
        """
        key, key_reset = jax.random.split(key)
        _, after, rewards, dones, infos = self.step_env(key, state, actions)
        after = continued(
            dones["__all__"], lambda: self.reset(key_reset)[1] if reset_state is None else reset_state, after
        )
        return after.observations, after, rewards, dones, infos

    def step_env(
        self, key: Array, state: JaxMARLState, actions: ByAgent
    ) -> tuple[ByAgent, JaxMARLState, ByAgent, ByAgent, dict[str, Array]]:
        """Advance by one tick; no episode starts.

        Parameters
        ----------
        key
            Not used: all randomness of an episode follows from the key of `reset`.
        state
            The state before.
        actions
            ``{agent: (k,)}`` in [-1, 1].

        Returns
        -------
        observations, state, rewards, dones, infos
            `dones` are true for agents that are absent from then on, and for all of them where the episode has ended,
            as ``"__all__"`` says. Values of `infos` have one number per agent, ``(A,)``: `cost`, priced violations [$];
            `converged`, whether the power flow converged; `due`, whether the agent decided in this tick; and
            `truncated`, whether the episode has ended at its time limit.
        """
        env = self.env
        stacked = {name: jnp.stack([actions[agent] for agent in agents]) for name, agents in env.groups.items()}
        seen, running, rewards, done, info = env.step(key, state.running, stacked)
        ended = done["__all__"]
        observations = self._by_agent(seen)
        after = JaxMARLState(ended, running.engine.tick, running, observations, info["final_state"])
        there = self._by_agent(env.alive(running))
        dones = {agent: ended | ~there[agent] for agent in self.agents} | {"__all__": ended}
        due = self._by_agent(info["due"])
        infos = {
            "cost": info["costs"][: self.num_agents].sum(-1),
            "converged": jnp.broadcast_to(info["converged"], (self.num_agents,)),
            "due": jnp.stack([due[agent] for agent in self.agents]),
            "truncated": jnp.broadcast_to(info["truncated"], (self.num_agents,)),
        }
        return observations, after, self._by_agent(rewards), dones, infos

    def get_obs(self, state: JaxMARLState) -> ByAgent:
        """What each agent observes, ``{agent: (d,)}``."""
        return state.observations

    def world_state(self, state: JaxMARLState) -> Array:
        """State for a central critic, ``(world_state_size,)``: everything that any agent observes, once."""
        return state.central

    @partial(jax.jit, static_argnums=(0,))
    def get_avail_actions(self, state: JaxMARLState) -> ByAgent:
        """Which numbers of the next action move something, ``{agent: (k,)}``; see :meth:`FunctionalEnv.effective`."""
        return self._by_agent(self.env.effective(state.running))

    @property
    def agent_classes(self) -> dict[str, list[str]]:
        """Agents by role."""
        return {role: list(agents) for role, agents in roles_of(self.env.world).items()}

    def _by_agent(self, groups: Groups) -> ByAgent:
        """Rows of the groups by agent."""
        return {agent: groups[name][row] for name, own in self.env.groups.items() for row, agent in enumerate(own)}
