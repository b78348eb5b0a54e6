"""Checkpoints: one npz of plain arrays with readable keys, whole or absent.

Keys are paths: ``actor/<group>/dense_0/kernel``, ``obs_norm/<group>/mean``, ``critic/...``, ``optimiser/...``,
``env/...``, ``key``, ``step``; ``groups/<group>`` lists the agents, and ``network/...`` says what graph
policies need to act.
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
from powergrid.report.files import META, read_meta

FORMAT = "powergrid-checkpoint-1"
FILE_NAME = "checkpoint.npz"
BEST = "best.npz"
"""File name of the best checkpoint, beside the last one."""
_CHOOSE = "choose the checkpoint of a run"
_ENVIRONMENT = "env/"
"""What lies under this key may be infinite: it is the environments' business."""


def save(
    path: str | Path,
    state: Any,
    *,
    groups: Mapping[str, tuple[str, ...]],
    step: int,
    network: Mapping[str, np.ndarray] | None = None,
) -> None:
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
    network
        What acting needs besides weights and statistics; nothing for dense actors.

    Raises
    ------
    RunError
        If a weight is not finite, the disk is full or the folder cannot be written; an older checkpoint is kept.
    """
    arrays = {"format": np.array(FORMAT), "step": np.array(step, np.int64)}
    arrays.update(_listed(groups, network))
    arrays.update({key: np.asarray(leaf) for key, leaf in flat(state)})
    wrong = _not_finite(arrays)
    if wrong:
        raise RunError(
            f"{file_of(path)}: learning diverged: {wrong} before step {step:,}; an older checkpoint is kept. Start "
            "again with a smaller learning_rate or reward_scale"
        )
    write_whole(file_of(path), lambda file: np.savez(file, **arrays), RESUME)  # type: ignore[arg-type]


def policy_arrays(
    state: Any, *, groups: Mapping[str, tuple[str, ...]], step: int, network: Mapping[str, np.ndarray] | None = None
) -> dict[str, np.ndarray]:
    """What a checkpoint of this state holds of the policies alone; arguments as for :func:`save`."""
    arrays = {"step": np.array(step, np.int64), **_listed(groups, network)}
    acting = (name for name in ("actor", "obs_norm") if hasattr(state, name))
    for name in acting:
        arrays.update({f"{name}/{key}": np.asarray(leaf) for key, leaf in flat(getattr(state, name))})
    return arrays


def load(path: str | Path) -> dict[str, np.ndarray]:
    """All arrays of a checkpoint.

    Raises
    ------
    RunError
        If there is none, if it is truncated or corrupt, holds weights that are not finite, or is some other file.
    """
    path = file_of(path)
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


def policy_file(run: str | Path) -> Path:
    """The checkpoint of a run that counts: the best where ``meta.json`` says that the run keeps it, else the last."""
    folder = Path(run)
    if (folder / META).exists() and (folder / BEST).exists() and read_meta(folder).keep == "best":
        return folder / BEST
    return file_of(run)


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
    held, wanted = groups_of(arrays), {group: tuple(members) for group, members in groups.items()}
    if list(held.items()) != list(wanted.items()):
        raise RunError(
            f"{file_of(path)}: the checkpoint is of the agents {held}, the configuration has {wanted}; {_CHOOSE}"
        )
    leaves = []
    for key, leaf in flat(template):
        found = arrays.get(key)
        if found is None or found.shape != leaf.shape or found.dtype != leaf.dtype:
            has = "is missing" if found is None else f"has {found.dtype}{list(found.shape)}"
            raise RunError(
                f"{file_of(path)}: {key} {has}, expected {leaf.dtype}{list(leaf.shape)}. The checkpoint belongs to "
                "another algorithm, network size or configuration; resume with the settings in the run's meta.json"
            )
        leaves.append(found if isinstance(leaf, np.ndarray) else jax.numpy.asarray(found))
    return jax.tree.unflatten(jax.tree.structure(template), leaves), int(arrays["step"])


def _listed(groups: Mapping[str, tuple[str, ...]], network: Mapping[str, np.ndarray] | None) -> dict[str, np.ndarray]:
    listed = {f"groups/{group}": np.array(members) for group, members in groups.items()}
    return listed | {f"network/{name}": array for name, array in (network or {}).items()}


def groups_of(arrays: Mapping[str, np.ndarray]) -> dict[str, tuple[str, ...]]:
    """Agents by group, in the order in which they were written."""
    return {
        key.removeprefix("groups/"): tuple(str(agent) for agent in np.ravel(members))
        for key, members in arrays.items()
        if key.startswith("groups/")
    }


def _not_finite(arrays: Mapping[str, np.ndarray]) -> str:
    """Which learned number is NaN or infinite, or an empty text."""
    for key, array in arrays.items():
        if array.dtype.kind == "f" and not key.startswith(_ENVIRONMENT) and not np.isfinite(array).all():
            return f"{key} holds {array[~np.isfinite(array)].flat[0]}"
    return ""


def file_of(path: str | Path) -> Path:
    """The checkpoint that a path names: the last one of a run's folder, or the file itself."""
    path = Path(path)
    return path / FILE_NAME if path.is_dir() else path


def flat(state: Any) -> list[tuple[str, Any]]:
    """Arrays of a tree with their keys."""
    import jax

    pairs, _ = jax.tree_util.tree_flatten_with_path(state)
    return [(jax.tree_util.keystr(path, simple=True, separator="/"), leaf) for path, leaf in pairs]
