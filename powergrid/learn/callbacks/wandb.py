"""The learning curve for Weights & Biases, and files where its package or a login is missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from powergrid.core.files import write_json
from powergrid.learn.callbacks.callback import Callback, Run
from powergrid.learn.callbacks.csv_file import CsvFile

_KEPT = "wandb.json"


class WandB(Callback):
    """Log each update to Weights & Biases; a resumed run continues the same curve there.

    Without a login or a connection the run is logged offline, into the run's folder, for ``wandb sync``; without the
    package it is written to ``metrics.csv``. One sentence says so.

    Parameters
    ----------
    project
        Project.
    name
        Name of the run there; that of the folder if ``None``.
    **options
        More arguments of ``wandb.init``, such as ``entity``, ``group``, ``tags`` or ``mode="offline"``.
    """

    def __init__(self, project: str = "powergrid", name: str | None = None, **options: Any):
        self.project, self.name, self.options = project, name, options
        self._run: Any = None
        self._file: CsvFile | None = None

    def begin(self, run: Run) -> None:
        """Open a run there, or take up the one that this run has."""
        try:
            import wandb
        except ImportError:
            run.say("wandb is not installed: the learning curve goes to metrics.csv; pip install wandb changes that")
            if not any(isinstance(one, CsvFile) and one.path is None for one in run.callbacks):
                self._file = CsvFile()
                self._file.begin(run)
            return
        known = _known(run)
        given: dict[str, Any] = {
            "project": self.project,
            "name": self.name or run.folder.name,
            "dir": str(run.folder),
            "config": {key: run.meta[key] for key in ("algorithm", "steps", "seed", "settings") if key in run.meta},
            **({"id": known, "resume": "allow"} if known else {}),
            **self.options,
        }
        try:
            self._run = wandb.init(**given)
        except wandb.Error as error:
            if given.get("mode") == "offline":
                raise
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            later = f"upload it later with: wandb sync {run.folder}/wandb/offline-run-*"
            run.say(f"wandb cannot be reached ({reason}), so that the run is logged offline; {later}")
            self._run = wandb.init(**{**given, "mode": "offline"})
        write_json(run.folder / _KEPT, {"id": self._run.id})

    def log(self, run: Run, row: Mapping[str, float]) -> None:
        """Send the row."""
        if self._file is not None:
            self._file.log(run, row)
        elif self._run is not None:
            self._run.log(dict(row), step=run.step)

    def end(self, run: Run) -> None:
        """Close the run there, with exit code 1 if this one failed."""
        if self._run is not None:
            self._run.finish(exit_code=int(run.outcome == "failed"))


def _known(run: Run) -> str:
    """The run there that this run has logged to; empty for a new one."""
    from powergrid.core.files import read_json

    try:
        return str(read_json(run.folder / _KEPT)["id"]) if run.step else ""
    except (FileNotFoundError, KeyError):
        return ""
