"""Agents that act and do not learn: their policies keep their bits while the others learn beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Executor
from typing import Any

import numpy as np
from pydantic import BaseModel

from powergrid.core.errors import ConfigError, Issue, nearest
from powergrid.core.types import Array
from powergrid.learn.groups import ByGroup
from powergrid.learn.learner import Learner
from powergrid.learn.learner_state import Lanes, LearnerState, Rollout
from powergrid.learn.networks import Running
from powergrid.learn.roll_out import RollOut


def checked_freeze(freeze: str | Iterable[str], groups: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[int, ...]]:
    """Rows that do not learn, by group.

    Parameters
    ----------
    freeze
        Names of groups and agents.
    groups
        Agents by group.

    Raises
    ------
    ConfigError
        If a name is neither, or nothing is left to learn.
    """
    names = [freeze] if isinstance(freeze, str) else list(freeze)
    rows: dict[str, set[int]] = {}
    agents = {agent: (group, row) for group, members in groups.items() for row, agent in enumerate(members)}
    issues = []
    for name in names:
        if name in groups:
            rows.setdefault(name, set()).update(range(len(groups[name])))
        elif name in agents:
            group, row = agents[name]
            rows.setdefault(group, set()).add(row)
        else:
            known = (*groups, *agents)
            hint = "; ".join(filter(None, (nearest(str(name), known), f"available: {', '.join(dict.fromkeys(known))}")))
            issues.append(Issue("freeze", f'there is no group or agent "{name}" that learns', hint))
    if not issues and sum(map(len, rows.values())) == len(agents):
        hint = "leave a group or an agent out; powergrid evaluate plays policies without learning"
        issues.append(Issue("freeze", "no agent is left that learns", hint))
    if issues:
        raise ConfigError(issues)
    return {group: tuple(sorted(found)) for group, found in rows.items()}


class FrozenLearner:
    """A learner some of whose agents keep their policies: weights, spread and statistics of observations.

    They explore as in the run that trained them. None of their decisions counts as one to learn from, so that they add
    nothing to the gradients of the others, and what an update would still change is put back. A learner without
    roll-outs (apg) is only put back: there the frozen agents still count in the norm that gradients are scaled by.

    Parameters
    ----------
    learner
        The learner; its state has ``actor`` and ``obs_norm`` by group.
    rows
        Rows that do not learn, by group, from :func:`checked_freeze`.
    groups
        Agents by group.
    """

    def __init__(self, learner: Any, rows: Mapping[str, tuple[int, ...]], groups: Mapping[str, tuple[str, ...]]):
        self._learner: Learner = learner
        self.steps_per_update, self.settings = learner.steps_per_update, learner.settings
        self._rows, self._groups = dict(rows), dict(groups)
        learns = [row not in rows.get(group, ()) for group, members in groups.items() for row in range(len(members))]
        if hasattr(learner, "roll_out"):
            learner.roll_out = _NotDue(learner.roll_out, np.array(learns))

    settings: BaseModel

    @property
    def rollout_s(self) -> float:
        """Time that the last roll-out took [s]."""
        return self._learner.rollout_s

    def init(self, seed: int, *, compile_ahead: bool = False) -> Any:
        """State before the first update."""
        return self._learner.init(seed, compile_ahead=compile_ahead)

    def fresh(self, seed: int) -> Any:
        """What is learned, before anything is.

        Raises
        ------
        ConfigError
            If agents to freeze share their actor with others that learn.
        """
        state = self._learner.fresh(seed)
        if not isinstance(getattr(state, "actor", None), ByGroup):
            raise ConfigError([Issue("freeze", "the algorithm keeps no actors by group that could be frozen")])
        issues = []
        for group, rows in self._rows.items():
            members = self._groups[group]
            first = state.actor[group].get("encoder", state.actor[group])["dense_0"]["kernel"]
            if len(rows) < len(members) and first.ndim == 2:
                names = ", ".join(members[row] for row in rows)
                message = f'{names} shares one actor with the rest of group "{group}" ({", ".join(members)})'
                hint = f"freeze the whole group, {group}, or train with share_actors=False"
                issues.append(Issue("freeze", message, hint))
        if issues:
            raise ConfigError(issues)
        return state

    def update(self, state: Any) -> tuple[Any, dict[str, Array]]:
        """Learn once, but for what is frozen."""
        after, metrics = self._learner.update(state)
        actor = after.actor.by_name() | {group: self._kept(group, state, after, "actor") for group in self._rows}
        norms = after.obs_norm.by_name() | {group: self._kept(group, state, after, "obs_norm") for group in self._rows}
        names = after.actor.names
        return after._replace(actor=ByGroup.of(names, actor), obs_norm=ByGroup.of(names, norms)), metrics

    def _kept(self, group: str, before: Any, after: Any, name: str) -> Any:
        import jax

        old, new = getattr(before, name)[group], getattr(after, name)[group]
        rows, members = np.array(self._rows[group]), self._groups[group]
        if len(rows) == len(members):
            return old

        def put_back(new_leaf: Any, old_leaf: Any) -> Any:
            return new_leaf.at[rows].set(old_leaf[rows])

        if isinstance(new, Running) and not new.count.ndim:  # samples are counted for all agents together
            return Running(put_back(new.mean, old.mean), put_back(new.var, old.var), new.count)
        return jax.tree.map(put_back, new, old)


class _NotDue:
    """A roll-out in which the decisions of some agents count for nothing."""

    def __init__(self, roll_out: RollOut, learns: np.ndarray):
        self._roll_out, self._learns = roll_out, learns

    def begin(self, key: Array) -> Lanes:
        return self._roll_out.begin(key)

    def prepare(self, learner: LearnerState, others: Executor) -> tuple[Lanes, Rollout]:
        return self._roll_out.prepare(learner, others)

    def collect(self, learner: LearnerState, lanes: Lanes) -> tuple[Lanes, Rollout]:
        lanes, rollout = self._roll_out.collect(learner, lanes)
        return lanes, rollout._replace(due=rollout.due & self._learns)
