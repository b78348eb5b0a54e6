"""Who decides in an evaluation: trained actors, local policies by name, and functions of the user."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, Union

import numpy as np

from powergrid.core.errors import ActionError, ArgumentError, RunError, nearest
from powergrid.learn.safety_layer import MARGIN_PU, ROUNDS, SafetyLayer, checked_margin, checked_rounds
from powergrid.learn.trained_policy import TrainedPolicy, load_policy

LEARNED = "learned"

Function: TypeAlias = Callable[[Mapping[str, np.ndarray]], Mapping[str, Any]]
"""A user's policy: actions ``(days, k)`` of all agents for their observations ``(days, d)``.

All days are played side by side. It is called once a tick. What is beyond [-1, 1] is clipped, as in the environment.
An attribute `residual` names the local policy that its actions correct, ``None`` for commands; without the attribute
they are what the configuration says. An attribute `others` names the local policy of agents for which it returns no
action; without one, and without the argument of :func:`powergrid.evaluate`, every agent needs an action.
"""


@dataclass(frozen=True)
class SafePolicy:
    """A policy behind a :class:`powergrid.learn.safety_layer.SafetyLayer`, for :func:`powergrid.evaluate`.

    Parameters
    ----------
    policy
        Any other policy that evaluate takes.
    margin_pu
        Distance kept to the limits of voltages and loadings [pu].
    rounds
        Linearisations in a tick at most.

    Raises
    ------
    ArgumentError
        If the policy is none, or is safe already, or a number is out of range.
    """

    policy: str | Path | TrainedPolicy | Function
    margin_pu: float = MARGIN_PU
    rounds: int = ROUNDS

    def __post_init__(self) -> None:
        if isinstance(self.policy, SafePolicy):
            raise ArgumentError("the policy of a SafePolicy is a SafePolicy; one safety layer is enough")
        _checked_policy("of the SafePolicy", self.policy)
        checked_margin(self.margin_pu)
        checked_rounds(self.rounds)

    @property
    def name(self) -> str | None:
        """``<policy>_safe``; ``None`` where the policy has no name."""
        return f"{self.policy}_safe" if isinstance(self.policy, str | Path) else None


Policy: TypeAlias = str | Path | TrainedPolicy | Function | SafePolicy
"""``"learned"``, a registered local policy, a run or checkpoint, a loaded policy, a user's :data:`Function`, or one of
these behind a safety layer."""

_Named: TypeAlias = Union[str, Path, SafePolicy, Mapping[str, Policy]]  # noqa: UP007
Policies: TypeAlias = _Named | Sequence[_Named]
"""One policy by its name or path, a mapping from names to policies, or several of both."""

Decider: TypeAlias = Callable[[Any, Any, np.ndarray], np.ndarray]
"""Actions ``(days, A, k_max)`` for a simulation, its state and the observations ``(days, N)``."""


class SafeDecider:
    """What a decider chooses, projected by a safety layer."""

    def __init__(self, decide: Decider, layer: SafetyLayer):
        self.decide, self.layer = decide, layer

    def __call__(self, simulation: Any, state: Any, observation: np.ndarray) -> np.ndarray:
        """Safe actions, float32 as they are played."""
        actions = np.asarray(self.decide(simulation, state, observation), np.float32)
        if not np.isfinite(actions).all():
            return actions  # refused where they are played
        return self.layer.project(simulation, state, actions)[0]


def named_policies(policies: Policies) -> dict[str, Policy]:
    """All policies by name, in the order in which they are given.

    Raises
    ------
    ArgumentError
        If one is neither a name, a path, a loaded policy nor a function, or two have the same name.
    """
    given = [policies] if isinstance(policies, str | Path | Mapping | SafePolicy) else policies
    if not isinstance(given, Sequence):
        raise ArgumentError(
            f'policy {given!r:.60} has no name; write policy={{"mine": ...}} with a name of your choice'
        )
    pairs: list[tuple[str, Policy]] = []
    for item in given:
        if isinstance(item, Mapping):
            pairs += [(_checked_name(name), _checked_policy(name, own)) for name, own in item.items()]
        elif isinstance(item, str | Path):
            pairs.append((str(item), str(item)))
        elif isinstance(item, SafePolicy) and item.name is not None:
            pairs.append((item.name, item))
        else:
            raise ArgumentError(
                f'policy {item!r:.60} has no name; write policy={{"mine": ...}} with a name of your choice'
            )
    names = [name for name, _ in pairs]
    twice = [name for name in names if names.count(name) > 1]
    if twice or not names:
        raise ArgumentError(f'policy "{twice[0]}" is given twice' if twice else "policy names no policy to play")
    return dict(pairs)


def decider(env: Any, policy: Policy, run: Path | None, name: str = "", others: str | None = None) -> Decider:
    """What decides for a policy, see :func:`powergrid.learn.evaluate.evaluate`.

    Parameters
    ----------
    env
        The environment that is played.
    policy
        The policy.
    run
        The run that ``"learned"`` stands for.
    name
        The policy's name, for messages.
    others
        Local policy that plays agents which a trained policy does not know, or for which a function returns no action;
        they are refused if ``None``.
    """
    from powergrid.plugins.registries import POLICIES

    if isinstance(policy, SafePolicy):
        layer = SafetyLayer(env.world, margin_pu=policy.margin_pu, rounds=policy.rounds)
        return SafeDecider(decider(env, policy.policy, run, name, others), layer)
    if isinstance(policy, TrainedPolicy):
        return _trained(env, policy, others)
    if not isinstance(policy, str | Path):
        return _function(env, policy, name, others)
    policy = str(policy)
    if policy == LEARNED and run is None:
        raise RunError(
            'policy "learned" needs a run: give evaluate the folder that train returned, or name that folder'
        )
    if policy == LEARNED or (policy not in POLICIES and Path(policy).exists()):
        return _trained(env, load_policy(run if run is not None and policy == LEARNED else policy), others)
    local = POLICIES.get(policy)
    return lambda simulation, state, observation: simulation.decide(state, local)


def residual_of(policy: Policy, run: Path | None, own: str | None) -> str | None:
    """Local policy that the actions of a policy correct; ``None`` where they are commands.

    Parameters
    ----------
    policy, run
        As for :func:`decider`.
    own
        What actions correct in the configuration, for functions that do not say it themselves.
    """
    from powergrid.plugins.registries import POLICIES

    if isinstance(policy, SafePolicy):
        return residual_of(policy.policy, run, own)
    if isinstance(policy, TrainedPolicy):
        return policy.residual
    if not isinstance(policy, str | Path):
        return getattr(policy, "residual", own)
    if str(policy) == LEARNED:
        return None if run is None else load_policy(run).residual
    local = str(policy) in POLICIES or not Path(policy).exists()
    return None if local else load_policy(policy).residual


def _checked_name(name: object) -> str:
    """A name that may also be that of a folder."""
    if not isinstance(name, str) or name in ("", ".", "..") or set(name) & set('/\\\0:*?"<>|'):
        raise ArgumentError(f"{name!r} is no name of a policy; use letters, digits, - and _")
    return name


def _checked_policy(name: object, policy: object) -> Any:
    if isinstance(policy, str | Path | TrainedPolicy | SafePolicy) or callable(policy):
        return policy
    raise ArgumentError(
        f'policy "{name}" is {policy!r:.60}; it must be a function of the observations, a name, a run or a policy that '
        "load_policy returned"
    )


def _trained(env: Any, policy: TrainedPolicy, others: str | None) -> Decider:
    from powergrid.plugins.registries import POLICIES

    local = None if others is None else POLICIES.get(others)
    if policy.network.hears:
        policy = policy.on(env, others=others)
    wanted, held = _sizes(env), {agent: policy.sizes(agent) for agent in policy.agents}
    if others is not None:
        wanted = {agent: size for agent, size in wanted.items() if agent in held}
    if wanted != held:
        hint = "" if policy.network.hears else "; train with network=graph for a policy that acts on other feeders"
        raise RunError(
            "the trained actors do not fit: the configuration has agents with inputs and actions "
            f"{wanted}, the actors {held}{hint}"
        )
    layout = env.world.layout
    rows = {group: [env.possible_agents.index(agent) for agent in members] for group, members in policy.groups.items()}

    memory: dict[str, np.ndarray] = {}

    def decide(simulation: Any, state: Any, observation: np.ndarray) -> np.ndarray:
        nonlocal memory
        if (np.asarray(state.tick) == 0).all():
            memory = policy.initial_state(len(observation))
        actions = np.zeros((len(observation), len(env.possible_agents), layout.action_size), np.float32)
        if local is not None:
            actions[:] = simulation.decide(state, local)
        seen = {group: layout.view.stacked(observation, own) for group, own in rows.items()}
        chosen, memory = policy.actions(seen, memory)
        for group, own in chosen.items():
            actions[:, rows[group], : own.shape[-1]] = own
        return actions

    return decide


def _function(env: Any, policy: Function, name: str, others: str | None) -> Decider:
    from powergrid.plugins.registries import POLICIES

    followed = getattr(policy, "others", None) or others
    local = None if followed is None else POLICIES.get(followed)
    layout, sizes = env.world.layout, {agent: size for agent, (_, size) in _sizes(env).items()}
    slices = dict(zip(sizes, layout.view.slices, strict=False))  # Python agents follow those that act

    def decide(simulation: Any, state: Any, observation: np.ndarray) -> np.ndarray:
        returned = policy({agent: observation[:, own].copy() for agent, own in slices.items()})
        actions = np.zeros((len(observation), len(sizes), layout.action_size), np.float32)
        if local is not None:
            actions[:] = simulation.decide(state, local)
        chosen = _checked_actions(name, returned, sizes, len(observation), some=local is not None)
        for row, agent in enumerate(sizes):
            if agent in chosen:
                actions[:, row, : sizes[agent]] = np.clip(chosen[agent], -1.0, 1.0)
        return actions

    return decide


def _sizes(env: Any) -> dict[str, tuple[int, int]]:
    """Lengths of each agent's observation and action."""
    return {
        agent: (env.observation_space(agent).shape[0], env.action_space(agent).shape[0])
        for agent in env.possible_agents
    }


def _checked_actions(
    name: str, actions: Any, sizes: Mapping[str, int], days: int, *, some: bool
) -> dict[str, np.ndarray]:
    """What a user's function has returned, as float32 arrays ``(days, k)``; of all agents, or of `some`."""
    if not isinstance(actions, Mapping):
        raise ActionError(
            f'policy "{name}" returned {type(actions).__name__}; a mapping from agents to actions is expected'
        )
    for agent in actions:
        if agent not in sizes:
            hint = nearest(str(agent), sizes) or f"the agents are {', '.join(sizes)}"
            raise ActionError(f'policy "{name}" returned an action of an unknown agent "{agent}"; {hint}')
    found = {}
    for agent, size in sizes.items():
        if agent not in actions:
            if some:
                continue
            raise ActionError(
                f'policy "{name}" returned no action of agent "{agent}"; evaluate(..., others="rule_based") lets such '
                "agents follow a local policy"
            )
        try:
            own = np.asarray(actions[agent], np.float32)
        except (TypeError, ValueError) as error:
            raise ActionError(f'policy "{name}": action of agent "{agent}" is no array of numbers: {error}') from error
        if own.shape != (days, size):
            raise ActionError(
                f'policy "{name}": action of agent "{agent}" has shape {own.shape}, expected {(days, size)}: all '
                f"{days} days are played at once, and observations have the shape (days, d)"
            )
        found[agent] = own
    return found
