"""Examiner of environments: whole episodes at random and at extreme actions, and what every learner relies on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import VectorEnv
from pettingzoo import AECEnv

from powergrid.testing._aec_form import AecForm
from powergrid.testing._episodes import Episode, Form, difference, play, state_of_ends
from powergrid.testing._vector_form import VectorForm

_SHOWN = 3
"""Faults of one rule that are listed; the same fault often returns at every tick."""
_BALANCE = 1e-6
"""Largest sum of all transfers [$], by their size above 1 $."""

Faults = Iterator[str]


def check_env(env: Any, *, seed: int = 0) -> None:
    """Examine an environment: one that ``powergrid.make`` gives, or one that is derived from it.

    It is the parallel form, the AEC form, the Gymnasium form or a vector environment, possibly in wrappers. Seven
    episodes or so are played, of a vector environment the first one in each of its environments. The rules:

    - spaces are boxes, float32 for observations, and the same objects at each call;
    - every observation has its agent, the shape and type of its space, and finite numbers within its bounds; rewards
      are finite; also when all actions are at the low or the high end or alternate between them;
    - the same seed and the same actions give the same bits;
    - an episode ends for all agents on one step, by truncation or by termination, and within its length;
    - what is returned is not changed later, and whoever changes it changes nothing in the environment; actions remain
      as they were given;
    - transfers between accounts sum to zero, and the money in infos is that of the ledger;
    - ``due`` is what ``due_next`` has promised, and actions of agents that are not due have no effect;
    - in the AEC form each agent has one turn in a tick, and ``last()`` tells it what the tick before has given it.

    The rules about money and ``due`` need infos, and the ledger the environment itself, which ``env.unwrapped`` gives;
    of vector environments the ledger is left out.

    Parameters
    ----------
    env
        The environment.
    seed
        Seed of the episodes.

    Raises
    ------
    AssertionError
        With a sentence for each fault, with its agent, tick and value.

    Examples
    --------
    >>> import powergrid
    >>> from powergrid.testing import check_env
    >>> check_env(powergrid.make("two_microgrids", episode_length=8))
    """
    form = _form(env)
    faults = list(islice(_spaces(form), _SHOWN))
    if faults:  # without them nothing can be played
        raise AssertionError("\n".join(faults))
    rng = np.random.default_rng(seed)
    drawn: list[dict[str, np.ndarray]] = []

    def random(tick: int, _: Mapping[str, Any]) -> dict[str, np.ndarray]:
        while len(drawn) <= tick:
            spaces = ((agent, form.action_space(agent)) for agent in form.possible_agents)
            drawn.append({agent: rng.uniform(box.low, box.high).astype(np.float32) for agent, box in spaces})
        return drawn[tick]

    first = play(form, seed, random)
    rules = [_told(form, first), _ends(form, first), _kept(first), _untouched(first), _money(first), _due(first)]
    rules.append(_same(first, play(form, seed, random), "the same seed and the same actions give another result"))
    spoilt = play(form, seed, random, spoil=True)
    rules.append(_same(first, spoilt, "changing what was returned changes what comes next; return new arrays"))
    if any(not due for due in _promised(first).values()):
        other = play(form, seed, lambda tick, infos: _other_where_not_due(random(tick, infos), infos))
        rules.append(_same(first, other, "the action of an agent that is not due has an effect"))
    for name, at in _EXTREMES.items():
        extreme = play(form, seed, _at_ends(form, at))
        rules += [_told(form, extreme, name), _ends(form, extreme, name), _money(extreme, name)]
    rules += [iter(form.faults)] if isinstance(form, AecForm) else []
    faults = [fault for rule in rules for fault in islice(rule, _SHOWN)]
    if faults:
        raise AssertionError("\n".join(dict.fromkeys(faults)))


_EXTREMES: Mapping[str, Callable[[int], bool]] = {
    " with all actions at the low end": lambda tick: False,
    " with all actions at the high end": lambda tick: True,
    " with actions that alternate between the ends": lambda tick: tick % 2 == 0,
}
"""Episodes, and whether actions are at the high end at a tick."""


def _form(env: Any) -> Form:
    if isinstance(env, VectorEnv):
        return VectorForm(env)
    return AecForm(env) if isinstance(env, AECEnv) else Form(env)


def _at_ends(form: Form, high: Callable[[int], bool]) -> Callable[[int, Mapping[str, Any]], dict[str, np.ndarray]]:
    def act(tick: int, _: Mapping[str, Any]) -> dict[str, np.ndarray]:
        spaces = {agent: form.action_space(agent) for agent in form.possible_agents}
        return {agent: (box.high if high(tick) else box.low).copy() for agent, box in spaces.items()}

    return act


def _other_where_not_due(actions: Mapping[str, np.ndarray], infos: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Actions with the sign turned of agents that are not due."""
    return {
        agent: action if infos.get(agent, {}).get("due_next", True) else -action for agent, action in actions.items()
    }


def _spaces(form: Form) -> Faults:
    for agent in form.possible_agents:
        for what, space_of in (("observation", form.observation_space), ("action", form.action_space)):
            space = space_of(agent)
            if not isinstance(space, Box):
                yield f'{what} space of agent "{agent}" is {space}, not a Box'
                continue
            if what == "observation" and space.dtype != np.float32:
                yield f'{what} space of agent "{agent}" has the type {space.dtype}, not float32'
            if what == "action" and not space.is_bounded():
                yield f'{what} space of agent "{agent}" has no finite bounds: {space}'
            if not (space.low <= space.high).all():
                k = int(np.flatnonzero(~(space.low <= space.high))[0])
                yield f'{what} space of agent "{agent}" has the bounds [{space.low[k]}, {space.high[k]}] at number {k}'
            if space_of(agent) is not space:
                yield f'{what} space of agent "{agent}" is another object at each call; return the same one'


def _told(form: Form, episode: Episode, how: str = "") -> Faults:
    """What is told has its agents, and the type, shape and bounds of the spaces."""
    for tick, step in enumerate(episode.steps):
        where = f"at tick {tick}{how}"
        parts = {"observations": step.observations, "infos": step.infos}
        if tick:
            parts |= {"rewards": step.rewards, "terminations": step.terminations, "truncations": step.truncations}
        for name, part in parts.items():
            for agent in step.told:
                if agent not in part:
                    yield f'{name} {where} lack agent "{agent}"'
            for agent in part:
                if agent not in form.possible_agents:
                    yield f'{name} {where} hold "{agent}", which is none of possible_agents'
        for agent, seen in step.observations.items():
            if agent in form.possible_agents:
                yield from _within(form, agent, seen, where)
        for agent, reward in step.rewards.items():
            if np.ndim(reward) or not np.isfinite(reward):
                yield f'reward of agent "{agent}" {where} is {reward!r}, not a finite number'


def _within(form: Form, agent: str, seen: Any, where: str) -> Faults:
    space = form.observation_space(agent)
    if not isinstance(seen, np.ndarray) or seen.dtype != space.dtype:
        kind = seen.dtype if isinstance(seen, np.ndarray) else type(seen).__name__
        yield f'observation of agent "{agent}" {where} has the type {kind}, its space {space.dtype}'
    elif seen.shape != space.shape:
        yield f'observation of agent "{agent}" {where} has the shape {seen.shape}, its space {space.shape}'
    else:
        outside = np.flatnonzero(~((seen >= space.low) & (seen <= space.high) & np.isfinite(seen)))
        if len(outside):
            k = int(outside[0])
            bounds = f"[{space.low[k]}, {space.high[k]}]"
            label = form.label(agent, k)
            yield f'observation of agent "{agent}" {where} is {seen[k]} at {label}, outside of {bounds}'


def _ends(form: Form, episode: Episode, how: str = "") -> Faults:
    """All agents end on one step and in one way, within the length of an episode."""
    last = len(episode.steps) - 1
    for tick, step in enumerate(episode.steps[1:], start=1):
        ways = state_of_ends(step)
        for agent, (terminated, truncated) in ways.items():
            if terminated and truncated:
                yield f'agent "{agent}" is both terminated and truncated at tick {tick}{how}'
            elif truncated and tick < last:
                yield f'agent "{agent}" is truncated at tick {tick}{how}, and the episode goes on to tick {last}'
            elif (terminated or truncated) and agent in step.agents:
                yield f'agent "{agent}" has ended at tick {tick}{how} and is still among the agents'
        if tick == last and not step.agents:
            for agent, ended in ways.items():
                if not any(ended):
                    yield f'agent "{agent}" is neither terminated nor truncated at tick {tick}{how}, the last one'
            if form.alike and len({ended for ended in ways.values() if any(ended)}) > 1:
                words = ", ".join(f'"{a}" {"terminated" if end[0] else "truncated"}' for a, end in ways.items())
                yield f"agents end in different ways at tick {tick}{how}: {words}"
    if episode.steps[-1].agents:
        yield f"the episode has not ended at tick {last}{how}, the last of its {form.length}; it should be truncated"


def _kept(episode: Episode) -> Faults:
    """What was returned is still what it was."""
    for tick, (step, returned) in enumerate(zip(episode.steps, episode.returned, strict=True)):
        found = difference(step.values, returned.values)
        if found:
            yield f"{found} at tick {tick} once it has been returned; return new arrays and dictionaries"


def _untouched(episode: Episode) -> Faults:
    for tick, agent in episode.changed_actions:
        yield f'step changes the action of agent "{agent}" at tick {tick} in place'


def _same(first: Episode, other: Episode, what: str) -> Faults:
    """Both episodes have the same bits; the first difference."""
    for tick, (one, two) in enumerate(zip(first.steps, other.steps, strict=False)):
        found = difference(one.values, two.values)
        if found:
            yield f"{what}: {found} at tick {tick}"
            return
    if len(first.steps) != len(other.steps):
        yield f"{what}: the episode ends at tick {len(other.steps) - 1} in place of {len(first.steps) - 1}"


def _money(episode: Episode, how: str = "") -> Faults:
    """Transfers sum to zero, and infos have the money of the ledger."""
    for tick, step in enumerate(episode.steps):
        if step.ledger is None:
            continue
        names, transfers, money = step.ledger
        off = transfers.sum(axis=-1)
        worst = int(np.abs(off).argmax()) if off.size else 0
        if off.size and np.abs(off[worst]) > _BALANCE * max(1.0, float(np.abs(transfers).max())):
            yield f"transfers at tick {tick}{how} sum to {off[worst]:g} $, not to zero: {transfers[worst].tolist()}"
        for agent, own in step.infos.items():
            if agent in money and "money" in own and not np.array_equal(own["money"], money[agent]):
                k = int(np.flatnonzero(np.not_equal(own["money"], money[agent]))[0])
                told, booked = float(own["money"][k]), float(money[agent][k])
                where = f'for {names[k]} in the info of agent "{agent}" at tick {tick}{how}'
                yield f"money {where} is {told:g} $, and {booked:g} $ in the ledger"


def _promised(episode: Episode) -> dict[tuple[int, str], bool]:
    """Whether each agent is due at each tick, as the infos before it say."""
    return {
        (tick + 1, agent): bool(own["due_next"])
        for tick, step in enumerate(episode.steps[:-1])
        for agent, own in step.infos.items()
        if "due_next" in own
    }


def _due(episode: Episode) -> Faults:
    for (tick, agent), due in _promised(episode).items():
        own = episode.steps[tick].infos.get(agent, {})
        if "due" in own and bool(own["due"]) != due:
            yield f'due of agent "{agent}" at tick {tick} is {bool(own["due"])}, and due_next before it {due}'
