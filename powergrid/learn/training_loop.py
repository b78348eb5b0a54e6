"""The loop around a learner's updates: curve, callbacks, checkpoints, and a clean stop at a signal."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from powergrid.core.errors import RunError
from powergrid.learn import checkpoint
from powergrid.learn.callbacks.callback import Run
from powergrid.learn.journal import Journal
from powergrid.learn.progress import Reporter


def learn(run: Run, learner: Any, state: Any, *, checkpoint_every_s: float, progress: bool) -> None:
    """Update until the run has its steps, a signal arrives or a callback stops it.

    Parameters
    ----------
    run
        The run and its callbacks.
    learner, state
        The algorithm, and where it stands.
    checkpoint_every_s
        Time between checkpoints [s].
    progress
        Whether to show it.
    """
    journal = Journal(run.folder, run.step)
    with Reporter(run.steps, run.step, progress) as reporter, contextlib.ExitStack() as opened:
        opened.callback(journal.close)
        run.say = reporter.say
        run.moved(state, run.step)
        try:
            for callback in run.callbacks:
                opened.callback(callback.end, run)
                callback.begin(run)
            with _interrupts() as caught:
                _updates(run, learner, state, journal, reporter, caught, checkpoint_every_s)
                run.outcome = "stopped" if caught or run.stopped else "finished"
                if caught:
                    run.say(
                        f"stopped at step {run.step:,}; the checkpoint is in {run.folder}: resume continues from there"
                    )
        except BaseException as error:
            if run.outcome == "running":  # a signal that is delivered again after the checkpoint is no failure
                run.outcome = "failed" if isinstance(error, Exception) else "stopped"
            raise
        if run.stopped:
            run.say(f"stopped at step {run.step:,}: {run.stopped}")


def _updates(
    run: Run, learner: Any, state: Any, journal: Journal, reporter: Reporter, caught: list[int], every_s: float
) -> None:
    import jax

    begun = saved = time.monotonic()
    before_s = journal.last.get("time_s", 0.0)
    while not run.is_last and not caught and not run.stopped:
        start = time.monotonic()
        state, metrics = learner.update(state)
        values = {name: value.item() for name, value in jax.device_get(metrics).items()}
        now = time.monotonic()
        run.moved(state, run.step + learner.steps_per_update)
        _check(run.folder, values, run.step)
        clock = {
            "steps_per_s": learner.steps_per_update / (now - start),
            "rollout_s": learner.rollout_s,
            "time_s": before_s + now - begun,
        }
        row = _measured(run, {"step": run.step, **_finite(values), **clock})
        journal.write(row)
        for callback in run.callbacks:
            callback.log(run, row)
        reporter.show(row)
        if now - saved > every_s:
            run.save(checkpoint.FILE_NAME)
            saved = time.monotonic()
    run.save(checkpoint.FILE_NAME)


def _measured(run: Run, row: dict[str, Any]) -> dict[str, Any]:
    """The row with what callbacks add to it."""
    for callback in run.callbacks:
        added = callback.measure(run, row)
        kind = type(callback).__name__
        for name, value in added.items():
            if name in row:
                raise RunError(f"callback {kind} measures {name}, which is in the learning curve already; rename it")
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise RunError(f"callback {kind} measures {name} = {value!r:.40}, not a number; use float(...)")
        row.update(_finite(added))
    return row


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """What can be drawn: means over episodes are NaN where none ended."""
    return {name: value for name, value in values.items() if math.isfinite(value)}


def _check(folder: Path, values: dict[str, Any], step: int) -> None:
    wrong = [name for name, value in values.items() if not (name.startswith("episode_") or math.isfinite(value))]
    if wrong:
        raise RunError(
            f"{folder}: learning diverged ({wrong[0]} is {values[wrong[0]]}) before step {step:,}; the last "
            "checkpoint is from before. Start again with a smaller learning_rate or reward_scale"
        )


@contextlib.contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Collect the first SIGINT or SIGTERM instead of dying from it; deliver it at the end, a second one at once."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught  # only the main thread may handle signals
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in signals}

    def note(number: int, frame: FrameType | None) -> None:
        caught.append(number)
        signal.signal(number, before[signal.Signals(number)])

    for number in signals:
        signal.signal(number, note)
    try:
        yield caught
    finally:
        for number in signals:
            signal.signal(number, before[number])
    if caught:
        signal.raise_signal(caught[0])
