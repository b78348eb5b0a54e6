"""Weights of an earlier run as the beginning of a new one: what is taken over, and whether it fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from powergrid.config.check_training import NONE
from powergrid.core.errors import ConfigError, Issue, nearest
from powergrid.learn import checkpoint
from powergrid.learn.actors.feeder import Role, difference
from powergrid.learn.groups import ByGroup
from powergrid.worlds.residual import corrected

_TAKEN = ("actor", "critic", "obs_norm", "state_norm", "value_norm")
"""Weights of actors and critics, and the statistics that their inputs and outputs are scaled by."""

Shapes = Mapping[str, tuple[int, ...]]
Groups = Mapping[str, tuple[str, ...]]


Source = str | Path | Mapping[str, str | Path]
"""A run or checkpoint; or, by group, the runs that only the actors of these groups come from."""


def named(source: Source | None) -> str | dict[str, str] | None:
    """The source as a run's ``meta.json`` keeps it."""
    if isinstance(source, Mapping):
        return {str(group): str(run) for group, run in source.items()}
    return None if source is None else str(source)


def begun_from(source: Source, state: Any, env: Any, network: Any = None) -> dict[str, Any]:
    """Fields of a fresh state that come from other runs: weights, and statistics of inputs and returns.

    Optimiser, random numbers and days stay those of the new run.

    Agents of a group take over in their order. The other run may have groups that are not here. Where runs are named by
    group, the actors of these groups and the statistics of their observations are taken over, and critics begin anew.

    A graph policy may come from another feeder, if it has the roles of this one; its critic then begins anew.

    Parameters
    ----------
    source
        Folder or checkpoint of the other run; or several by group.
    state
        What the learner has learned before anything is.
    env
        Functional environment.
    network
        Network of the actors; dense if ``None``.

    Raises
    ------
    RunError
        If there is no readable checkpoint.
    ConfigError
        If the network is another one, a group or role is not in the other run, or a layer has another shape: its name,
        both shapes and what would fit.
    """
    if isinstance(source, Mapping):
        return _actors_from(source, state, env, network)
    import jax

    place = str(checkpoint.policy_file(source))
    arrays = checkpoint.load(place)
    taken = {name: getattr(state, name) for name in _TAKEN if hasattr(state, name)}
    if "actor" not in taken:
        raise ConfigError([Issue("init_from", "the algorithm keeps no actors that could begin with those of a run")])
    held, kind = checkpoint.groups_of(arrays), getattr(network, "kind", "dense")
    issues = _residual_issues(arrays, env, place) or _kind_issues(arrays, network, place)
    if not issues and kind == "graph":
        if list(held.items()) != list(env.groups.items()):
            taken = {name: taken[name] for name in ("actor", "obs_norm")}
        issues = _role_issues(arrays, network.feeder.roles, place) or _layer_issues(arrays, taken, place)
    elif not issues:
        issues = _group_issues(held, env.groups, place)
        if not issues and kind == "dense":
            issues = _shape_issues(arrays, dict(checkpoint.flat(taken)), env, place)
        issues = issues or _layer_issues(arrays, taken, place)
    if issues:
        raise ConfigError(issues)
    leaves = [jax.numpy.asarray(arrays[key], leaf.dtype) for key, leaf in checkpoint.flat(taken)]
    found: dict[str, Any] = jax.tree.unflatten(jax.tree.structure(taken), leaves)
    return found


def _residual_issues(arrays: Mapping[str, np.ndarray], env: Any, place: str) -> list[Issue]:
    """A run whose actions mean something else."""
    wanted, held = corrected(env), str(arrays["network/residual"]) if "network/residual" in arrays else None
    if wanted == held:
        return []
    meaning = ("are commands" if name is None else f"correct {name}" for name in (held, wanted))
    message = f"{place}: the actions of that run {next(meaning)}, those here {next(meaning)}"
    return [Issue("init_from", message, f"train with residual={held or NONE} (--residual {held or NONE})")]


def _actors_from(sources: Mapping[str, str | Path], state: Any, env: Any, network: Any) -> dict[str, Any]:
    """Actors and statistics of observations of some groups from runs of their own, those of the others as they are."""
    import jax

    if not isinstance(getattr(state, "actor", None), ByGroup):
        raise ConfigError([Issue("init_from", "the algorithm keeps no actors that could begin with those of a run")])
    fields = {name: getattr(state, name).by_name() for name in ("actor", "obs_norm")}
    issues = []
    for group, run in sources.items():
        if group not in env.groups:
            hint = nearest(group, env.groups) or f"the groups that learn are {', '.join(env.groups)}"
            issues.append(Issue("init_from", f'there is no group "{group}" that learns', hint))
            continue
        place, own = str(checkpoint.policy_file(run)), {group: env.groups[group]}
        arrays = checkpoint.load(place)
        taken = {name: {group: parts[group]} for name, parts in fields.items()}
        leaves = checkpoint.flat(taken)
        found = _residual_issues(arrays, env, place) or _kind_issues(arrays, network, place)
        found = found or _group_issues(checkpoint.groups_of(arrays), own, place)
        if not found and getattr(network, "kind", "dense") == "dense":
            found = _shape_issues(arrays, dict(leaves), env, place)
        found = found or _layer_issues(arrays, taken, place)
        if found:
            issues += found
            continue
        values = [jax.numpy.asarray(arrays[key], leaf.dtype) for key, leaf in leaves]
        for name, parts in jax.tree.unflatten(jax.tree.structure(taken), values).items():
            fields[name] |= parts
    if issues:
        raise ConfigError(issues)
    return {name: ByGroup.of(env.groups, parts) for name, parts in fields.items()}


def _kind_issues(arrays: Mapping[str, np.ndarray], network: Any, place: str) -> list[Issue]:
    """Whether the actors of the other run have another network."""
    kept, kind = str(arrays.get("network/kind", "dense")), getattr(network, "kind", "dense")
    if kept == kind:
        return []
    return [
        Issue("init_from", f"{place}: the actors of that run have network {kept}, here {kind}", f"network={kept} fits")
    ]


def _role_issues(arrays: Mapping[str, np.ndarray], roles: Sequence[Role], place: str) -> list[Issue]:
    """Roles that the other run does not have, or has with other entries."""
    names = dict.fromkeys(key.split("/")[2] for key in arrays if key.startswith("network/roles/"))
    parts = [[tuple(map(str, arrays[f"network/roles/{name}/{part}"])) for part in Role._fields[1:]] for name in names]
    there = [Role(name, *own) for name, own in zip(names, parts, strict=True)]
    issues = []
    for role in roles:
        if role not in there:
            same = next((other for other in there if other.name == role.name), None)
            had = f"that run has {', '.join(names)}" if same is None else difference(role, same)
            issues.append(Issue("init_from", f"{place}: agents have the role {role.name} here; {had}"))
    return issues


def _layer_issues(arrays: Mapping[str, np.ndarray], taken: Any, place: str) -> list[Issue]:
    """The first layer of a graph policy or recurrent one, or of its critic, with another shape."""
    for key, leaf in checkpoint.flat(taken):
        if key not in arrays or arrays[key].shape != leaf.shape:
            has = f"has shape {list(arrays[key].shape)} there" if key in arrays else "is not there"
            message = f"{place}: layer {key} {has}, {list(leaf.shape)} here"
            return [Issue("init_from", message, "take hidden, rounds, share_actors and algorithm of that run")]
    return []


def _group_issues(held: Groups, groups: Groups, place: str) -> list[Issue]:
    issues = []
    for group, members in groups.items():
        if group not in held:
            hint = nearest(group, held) or f"its groups are {', '.join(held)}"
            issues.append(Issue("init_from", f'{place}: the run has no group "{group}"', hint))
            continue
        there = held[group]
        moved = [agent for row, agent in enumerate(members) if agent in there and there.index(agent) != row]
        if moved:
            message = f'{place}: agent "{moved[0]}" has another place in group "{group}": {there} there, {members} here'
            issues.append(Issue("init_from", message, "list the agents in the order of that run"))
    return issues


def _shape_issues(arrays: Mapping[str, np.ndarray], leaves: Mapping[str, Any], env: Any, place: str) -> list[Issue]:
    """The first layer that does not fit of each group's actor and of the critic."""
    there = {key: array.shape for key, array in arrays.items()}
    here = {key: tuple(leaf.shape) for key, leaf in leaves.items()}
    issues: dict[str, Issue] = {}
    for key, shape in here.items():
        part = _part(key, env.groups)
        if part in issues or there.get(key) == shape:
            continue
        has = f"has shape {list(there[key])} there" if key in there else "is not there"
        message = f"{place}: layer {key} {has}, {list(shape)} here"
        issues[part] = Issue("init_from", message, _fitting(part, key, there, here, arrays, env))
    return list(issues.values())


def _part(key: str, groups: Groups) -> str:
    """Group whose actor a layer belongs to; an empty text for the critic."""
    first, _, rest = key.partition("/")
    return (
        next((group for group in groups if rest.startswith(f"{group}/")), "") if first in ("actor", "obs_norm") else ""
    )


def _fitting(part: str, key: str, there: Shapes, here: Shapes, arrays: Mapping[str, np.ndarray], env: Any) -> str:
    """What would fit."""
    group = part or next(iter(env.groups))
    hidden = [_hidden(shapes, f"actor/{group}/") for shapes in (there, here)]
    if hidden[0] != hidden[1]:
        return f"its hidden layers are {hidden[0]}, those of this run {hidden[1]}: hidden={hidden[0]} fits"
    if len(there.get(f"actor/{group}/dense_0/kernel", ())) != len(here[f"actor/{group}/dense_0/kernel"]):
        shared = len(there.get(f"actor/{group}/dense_0/kernel", ())) == 2
        return f"its agents {'share an actor a group' if shared else 'have an actor each'}: share_actors={shared} fits"
    if not part:
        agents = [sum(map(len, groups.values())) for groups in (checkpoint.groups_of(arrays), env.groups)]
        state = there.get("state_norm/mean", (0,))[-1], env.state_size
        return (
            f"its critic sees {state[0]} numbers and values {agents[0]} agents, here {state[1]} and {agents[1]}: a run "
            "of the same algorithm and constraints on a configuration with these numbers fits"
        )
    last = f"actor/{group}/dense_{len(hidden[0])}/bias"
    sizes = [(shapes[f"obs_norm/{group}/mean"][-1], shapes[last][-1]) for shapes in (there, here)]
    count = len(checkpoint.groups_of(arrays)[group]), len(env.groups[group])
    return (
        f'group "{group}" has {count[0]} agents there, which observe {sizes[0][0]} numbers and set {sizes[0][1]}, here '
        f"{count[1]}, which observe {sizes[1][0]} and set {sizes[1][1]}: a run with the same numbers fits"
    )


def _hidden(shapes: Shapes, prefix: str) -> list[int]:
    """Widths of the hidden layers of an actor."""
    numbers = sorted(int(key.split("/")[-2].removeprefix("dense_")) for key in shapes if _is_bias(key, prefix))
    return [shapes[f"{prefix}dense_{number}/bias"][-1] for number in numbers[:-1]]


def _is_bias(key: str, prefix: str) -> bool:
    return key.startswith(f"{prefix}dense_") and key.endswith("/bias")
