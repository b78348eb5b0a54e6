"""The learning curve for MLflow."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from powergrid.core.errors import MissingExtraError
from powergrid.core.files import read_json, write_json
from powergrid.learn.callbacks.callback import Callback, Run

_KEPT = "mlflow.json"
_ENDS = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}


class MLflow(Callback):
    """Log settings and each update to MLflow; a resumed run continues the same run there.

    The client is used without MLflow's global active run, so that several runs may log in one process.

    Parameters
    ----------
    experiment
        Name of the experiment; made where there is none.
    tracking_uri
        Server, data base or folder; MLflow's own choice (``MLFLOW_TRACKING_URI``) if ``None``.
    name
        Name of the run there; that of the folder if ``None``.

    Raises
    ------
    MissingExtraError
        If mlflow is not installed.
    """

    def __init__(self, experiment: str = "powergrid", tracking_uri: str | None = None, name: str | None = None):
        try:
            import mlflow  # noqa: F401
        except ImportError as error:
            raise MissingExtraError("mlflow", "mlflow", "the callback MLflow") from error
        self.experiment, self.tracking_uri, self.name = experiment, tracking_uri, name
        self._client: Any = None
        self._id = ""

    def begin(self, run: Run) -> None:
        """Open a run there, or take up the one that this run has."""
        from mlflow import MlflowClient
        from mlflow.entities import Param

        self._client = client = MlflowClient(tracking_uri=self.tracking_uri)
        self._id = _known(run)
        if self._id:
            client.update_run(self._id, status="RUNNING")
            return
        found = client.get_experiment_by_name(self.experiment)
        experiment = client.create_experiment(self.experiment) if found is None else found.experiment_id
        self._id = client.create_run(experiment, run_name=self.name or run.folder.name).info.run_id
        settings = {**{key: run.meta[key] for key in ("algorithm", "steps", "seed")}, **run.meta["settings"]}
        client.log_batch(self._id, params=[Param(name, str(value)) for name, value in settings.items()])
        write_json(run.folder / _KEPT, {"run_id": self._id})

    def log(self, run: Run, row: Mapping[str, float]) -> None:
        """Send the row."""
        from mlflow.entities import Metric

        now_ms = int(time.time() * 1000)
        metrics = [Metric(name, float(value), now_ms, run.step) for name, value in row.items() if name != "step"]
        self._client.log_batch(self._id, metrics=metrics)

    def end(self, run: Run) -> None:
        """Close the run there, with its outcome."""
        if self._id:
            self._client.set_terminated(self._id, status=_ENDS.get(run.outcome, "FINISHED"))


def _known(run: Run) -> str:
    """The run there that this run has logged to; empty for a new one."""
    try:
        return str(read_json(run.folder / _KEPT)["run_id"]) if run.step else ""
    except (FileNotFoundError, KeyError):
        return ""
