"""What a callback is told, and what it may do: four methods, and a view of the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from powergrid.learn import checkpoint
from powergrid.learn.trained_policy import TrainedPolicy


class Run:
    """A training run, as callbacks see it.

    Parameters
    ----------
    folder
        The run's folder.
    meta
        Content of ``meta.json``: algorithm, steps, seed, settings, versions, days.
    env
        The functional environment that is trained in.
    steps
        Environment steps of the whole run.
    step
        Environment steps done.
    steps_per_update
        Environment steps of an update.
    callbacks
        All callbacks of the run.
    say
        Prints a sentence for the person who watches.
    network
        What acting needs besides weights and statistics, for checkpoints.

    Attributes
    ----------
    outcome
        ``"running"``, and in :meth:`Callback.end` how the run ended: ``"finished"``, ``"stopped"`` (by a signal or a
        callback; it can be resumed) or ``"failed"``.
    stopped
        The reason that a callback gave to :meth:`stop`; empty where none did.
    """

    def __init__(
        self,
        folder: Path,
        meta: Mapping[str, Any],
        env: Any,
        *,
        steps: int,
        step: int = 0,
        steps_per_update: int = 1,
        callbacks: Sequence[Callback] = (),
        say: Callable[[str], None] = print,
        network: Mapping[str, Any] | None = None,
    ):
        self.folder, self.meta, self.env = folder, meta, env
        self.steps, self.step, self.steps_per_update = steps, step, steps_per_update
        self.callbacks, self.say = tuple(callbacks), say
        self._network = network
        self.outcome: Literal["running", "finished", "stopped", "failed"] = "running"
        self.stopped = ""
        self._state: Any = None

    @property
    def update(self) -> int:
        """Updates done."""
        return self.step // self.steps_per_update

    @property
    def is_last(self) -> bool:
        """Whether no update follows."""
        return self.step >= self.steps

    def policy(self) -> TrainedPolicy:
        """The present policies, on NumPy."""
        return TrainedPolicy(
            checkpoint.policy_arrays(self._state, groups=self.env.groups, step=self.step, network=self._network)
        )

    def save(self, name: str) -> Path:
        """Write a checkpoint of its own beside the last one, such as ``"best.npz"``; returns its path.

        Raises
        ------
        RunError
            If a weight is not finite, or the disk is full; an older file of this name is kept.
        """
        path = self.folder / name
        checkpoint.save(path, self._state, groups=self.env.groups, step=self.step, network=self._network)
        return path

    def stop(self, reason: str) -> None:
        """End the run after this update, with a checkpoint, as a signal does; `reason` is a short sentence."""
        self.stopped = reason

    def moved(self, state: Any, step: int) -> None:
        """Take over the learner's state after an update; for the trainer."""
        self._state, self.step = state, step


@runtime_checkable
class Callback(Protocol):
    """Something that happens along a run. Subclasses override what they need; each method may be left as it is.

    After each update the trainer calls :meth:`measure` of all callbacks, in their order, writes the row with what they
    measured into ``metrics.jsonl``, and calls :meth:`log` of all. Callbacks do not change what is learned: a run has
    the same bits with and without them. An exception ends the run; the last checkpoint stays.
    """

    def begin(self, run: Run) -> None:
        """Prepare, before the first update of the run or after its resumption, at ``run.step``."""
        return

    def measure(self, run: Run, row: Mapping[str, float]) -> Mapping[str, float]:
        """Numbers to add to the row of this update, by name; none in most updates.

        Parameters
        ----------
        run
            The run after the update.
        row
            The row so far: ``step``, losses, means over episodes, speed. A name in it must not be used again.
        """
        return {}

    def log(self, run: Run, row: Mapping[str, float]) -> None:
        """Take note of the whole row of this update; its numbers are finite."""
        return

    def end(self, run: Run) -> None:
        """Close what is open; also called after a failure, even of :meth:`begin`, see ``run.outcome``."""
        return
