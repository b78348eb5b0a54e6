"""Checkpoints: one npz of plain arrays with readable keys, whole or absent; and the actor in it, without JAX.

Keys are paths: ``actor/<group>/dense_0/kernel``, ``obs_norm/<group>/mean``, ``critic/...``, ``optimiser/...``,
``env/...``, ``key``, ``step``; ``groups/<group>`` lists the agents.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from powergrid.core.errors import RunError
from powergrid.core.files import write_whole
from powergrid.core.npz import ArchiveError, read_npz
from powergrid.learn.journal import RESUME
from powergrid.learn.networks import Running, Stack, dense_stack, normalise

FORMAT = "powergrid-checkpoint-1"
FILE_NAME = "checkpoint.npz"
_CHOOSE = "choose the checkpoint of a run"
_ENVIRONMENT = "env/"
"""What lies under this key may be infinite: it is the environments' business."""


def save(path: str | Path, state: Any, *, groups: Mapping[str, tuple[str, ...]], step: int) -> None:
    """Write a learner's state.

    Parameters
    ----------
    path
        File to write, or the run's folder.
    state
        NamedTuple of (dictionaries of) arrays.
    groups
        Agents by group.
    step
        Environment steps behind it.

    Raises
    ------
    RunError
        If a weight is not finite, the disk is full or the folder cannot be written; an older checkpoint is kept.
    """
    arrays = {"format": np.array(FORMAT), "step": np.array(step, np.int64)}
    arrays.update({f"groups/{group}": np.array(members) for group, members in groups.items()})
    arrays.update({key: np.asarray(leaf) for key, leaf in _flat(state)})
    wrong = _not_finite(arrays)
    if wrong:
        raise RunError(
            f"{_file(path)}: learning diverged: {wrong} before step {step:,}; an older checkpoint is kept. Start again "
            "with a smaller learning_rate or reward_scale"
        )
    write_whole(_file(path), lambda file: np.savez(file, **arrays), RESUME)  # type: ignore[arg-type]


def load(path: str | Path) -> dict[str, np.ndarray]:
    """All arrays of a checkpoint.

    Raises
    ------
    RunError
        If there is none, if it is truncated or corrupt, holds weights that are not finite, or is some other file.
    """
    path = _file(path)
    try:
        arrays = read_npz(path)
    except FileNotFoundError as error:
        raise RunError(f"{path}: there is no checkpoint; train first, or check the path") from error
    except (ArchiveError, OSError) as error:
        raise RunError(
            f"{path}: not a readable checkpoint ({error}). It is truncated, damaged or some other file; "
            "put a copy in its place, or delete it and train again"
        ) from error
    mark, step = arrays.get("format"), arrays.get("step")
    if mark is None or mark.shape != () or str(mark) != FORMAT:
        raise RunError(f"{path}: an npz file, but no checkpoint of this version ({FORMAT}); choose the file of a run")
    if step is None or step.shape != () or step.dtype.kind != "i" or step < 0:
        raise RunError(f"{path}: the checkpoint does not say after how many steps it was written; {_CHOOSE}")
    wrong = _not_finite(arrays)
    if wrong:
        raise RunError(f"{path}: {wrong}. {_CHOOSE[0].upper()}{_CHOOSE[1:]}, or train again with smaller steps")
    return arrays


def restore(path: str | Path, template: Any, groups: Mapping[str, tuple[str, ...]]) -> tuple[Any, int]:
    """A learner's state as it was saved, and its environment steps.

    Parameters
    ----------
    path
        Checkpoint or run folder.
    template
        State of the same structure, such as a fresh one.
    groups
        Agents by group; columns of agents are in their order.

    Raises
    ------
    RunError
        If the file is unreadable, or belongs to another algorithm, network size or configuration.
    """
    import jax

    arrays = load(path)
    held, wanted = _groups(arrays), {group: tuple(members) for group, members in groups.items()}
    if list(held.items()) != list(wanted.items()):
        raise RunError(
            f"{_file(path)}: the checkpoint is of the agents {held}, the configuration has {wanted}; {_CHOOSE}"
        )
    leaves = []
    for key, leaf in _flat(template):
        found = arrays.get(key)
        if found is None or found.shape != leaf.shape or found.dtype != leaf.dtype:
            has = "is missing" if found is None else f"has {found.dtype}{list(found.shape)}"
            raise RunError(
                f"{_file(path)}: {key} {has}, expected {leaf.dtype}{list(leaf.shape)}. The checkpoint belongs to "
                "another algorithm, network size or configuration; resume with the settings in the run's meta.json"
            )
        leaves.append(found if isinstance(leaf, np.ndarray) else jax.numpy.asarray(found))
    return jax.tree.unflatten(jax.tree.structure(template), leaves), int(arrays["step"])


class Actor:
    """Trained policies on NumPy: normalised observation, dense stack, mean action, clipped to [-1, 1].

    Parameters
    ----------
    arrays
        Contents of a checkpoint.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray]):
        self.step = int(arrays["step"])
        self.groups = _groups(arrays)
        self.agents = tuple(agent for members in self.groups.values() for agent in members)
        if not self.agents or len(set(self.agents)) != len(self.agents):
            raise ValueError("it lists no agents, or one of them twice")
        self._norms = {
            group: Running(*(arrays[f"obs_norm/{group}/{name}"] for name in Running._fields)) for group in self.groups
        }
        self._layers: dict[str, Stack] = {
            group: _group_layers(arrays, group, len(members), self._norms[group])
            for group, members in self.groups.items()
        }

    def __call__(self, observations: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Actions ``(*batch, k)`` of all agents that have an observation ``(*batch, d)``."""
        actions = {}
        for group, members in self.groups.items():
            present = [agent for agent in members if agent in observations]
            if not present:
                continue
            absent = np.zeros_like(observations[present[0]])
            rows = np.stack([observations.get(agent, absent) for agent in members], axis=-2)
            means = self.group_actions(group, rows)
            numbered = enumerate(members)
            actions.update({agent: means[..., row, :] for row, agent in numbered if agent in observations})
        return actions

    def group_actions(self, group: str, observations: np.ndarray) -> np.ndarray:
        """Actions ``(*batch, n, k)`` of a group's agents for ``(*batch, n, d)``."""
        scaled = normalise(np, self._norms[group], np.asarray(observations, np.float32))
        return np.clip(dense_stack(np, self._layers[group], scaled), -1.0, 1.0)

    def agent_layers(self, agent: str) -> tuple[Running, list[tuple[np.ndarray, np.ndarray]]]:
        """One agent's own network for exporters: input statistics and ``(kernel, bias)`` a layer, tanh in between.

        The agent's one-hot number is folded into the first bias.
        """
        group = next(group for group, members in self.groups.items() if agent in members)
        row = self.groups[group].index(agent)
        norm = self._norms[group]
        width = norm.mean.shape[-1]
        layers = []
        for number in range(len(self._layers[group])):
            kernel, bias = (self._layers[group][f"dense_{number}"][name] for name in ("kernel", "bias"))
            if kernel.ndim == 3:
                kernel, bias = kernel[row], bias[row]
            elif number == 0 and len(kernel) > width:
                kernel, bias = kernel[:width], bias + kernel[width + row]
            layers.append((kernel, bias))
        if norm.mean.ndim == 2:
            norm = Running(norm.mean[row], norm.var[row], norm.count[row, 0] if norm.count.ndim else norm.count)
        return norm, layers


def load_actor(path: str | Path) -> Actor:
    """The trained policies in a checkpoint or run folder; needs NumPy only.

    Raises
    ------
    RunError
        If the checkpoint is missing, damaged or holds no actor.
    """
    arrays = load(path)
    try:
        return Actor(arrays)
    except KeyError as error:
        raise RunError(f"{_file(path)}: the checkpoint lacks {error}; {_CHOOSE}") from error
    except ValueError as error:
        raise RunError(f"{_file(path)}: the checkpoint holds no usable actors: {error}; {_CHOOSE}") from error


def _groups(arrays: Mapping[str, np.ndarray]) -> dict[str, tuple[str, ...]]:
    """Agents by group, in the order in which they were written."""
    return {
        key.removeprefix("groups/"): tuple(str(agent) for agent in np.ravel(members))
        for key, members in arrays.items()
        if key.startswith("groups/")
    }


def _group_layers(arrays: Mapping[str, np.ndarray], group: str, agents: int, norm: Running) -> Stack:
    """The layers of one group, each fitting the one before and the number of agents.

    Raises
    ------
    KeyError
        If a layer is missing.
    ValueError
        If a shape or type fits no stack.
    """
    layers: Stack = {}
    width = norm.mean.shape[-1:]
    fits = norm.mean.shape in (width, (agents, *width)) and norm.var.shape == norm.mean.shape
    if not fits or norm.count.shape not in ((), (agents, 1)):
        raise ValueError(f"obs_norm/{group} has shapes {norm.mean.shape}, {norm.var.shape} and {norm.count.shape}")
    if not (norm.var >= 0.0).all():
        raise ValueError(f"obs_norm/{group}/var is negative")
    count = len({key.split("/")[-2] for key in arrays if key.startswith(f"actor/{group}/dense_")}) or 1
    for number in range(count):
        kernel, bias = (arrays[f"actor/{group}/dense_{number}/{name}"] for name in ("kernel", "bias"))
        identity = (0, agents) if number == 0 and kernel.ndim == 2 else (0,)
        fits = kernel.ndim in (2, 3) and bias.shape == (*kernel.shape[:-2], kernel.shape[-1])
        fits = fits and kernel.shape[:-2] in ((), (agents,)) and kernel.dtype.kind == bias.dtype.kind == "f"
        if not fits or (kernel.shape[-2],) not in [tuple(n + extra for n in width) for extra in identity]:
            raise ValueError(
                f"actor/{group}/dense_{number} has {kernel.dtype}{list(kernel.shape)} and {bias.dtype}"
                f"{list(bias.shape)}, which fit no layer of {agents} agents behind {list(width)} inputs"
            )
        width = kernel.shape[-1:]
        layers[f"dense_{number}"] = {"kernel": kernel, "bias": bias}
    return layers


def _not_finite(arrays: Mapping[str, np.ndarray]) -> str:
    """Which learned number is NaN or infinite, or an empty text."""
    for key, array in arrays.items():
        if array.dtype.kind == "f" and not key.startswith(_ENVIRONMENT) and not np.isfinite(array).all():
            return f"{key} holds {array[~np.isfinite(array)].flat[0]}"
    return ""


def _file(path: str | Path) -> Path:
    path = Path(path)
    return path / FILE_NAME if path.is_dir() else path


def _flat(state: Any) -> list[tuple[str, Any]]:
    import jax

    pairs, _ = jax.tree_util.tree_flatten_with_path(state)
    return [(jax.tree_util.keystr(path, simple=True, separator="/"), leaf) for path, leaf in pairs]
