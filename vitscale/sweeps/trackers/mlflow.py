"""MLflow: a run for each trial, found again by its tag, on a server or in a database of its own."""

import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vitscale.scaling.recipe import Trial
from vitscale.sweeps.importers.foreign import TRACKED
from vitscale.sweeps.trackers.tracker import STATE, EndState, config_of

_EXPERIMENT = "vitscale"
_SQLITE = "sqlite:///"


class MLflow:
    """Records at `where`: a URI, a `.db` file, or a folder that gets a `mlflow.db`; by default where MLflow's
    own variables say. The experiment is MLFLOW_EXPERIMENT_NAME, or `vitscale`."""

    def __init__(self, where: str) -> None:
        self._uri = _uri(where)
        default = os.environ.get("MLFLOW_TRACKING_URI") or str(Path.cwd())
        self.place = self._uri or default
        self._client: Any = None
        self._experiment = ""
        self._runs: dict[str, str] = {}

    def start(self, trial: Trial, plan: str) -> None:
        client = self._client = self._client or self._open()
        tags = {TRACKED: trial.id, "vitscale_plan": plan}
        found = client.search_runs(
            [self._experiment], f"tags.{TRACKED} = '{trial.id}'", max_results=1
        )
        if found:
            run_id = found[0].info.run_id
            client.update_run(run_id, status="RUNNING")
        else:
            run = client.create_run(self._experiment, tags=tags, run_name=trial.id)
            run_id = run.info.run_id
            self._log_params(run_id, config_of(trial))
        self._runs[trial.id] = run_id

    def progress(self, trial_id: str, step: int, values: Mapping[str, float]) -> None:
        self._log(trial_id, step, values)

    def measured(self, trial_id: str, examples: int, values: Mapping[str, float]) -> None:
        self._log(trial_id, examples, values)

    def end(self, trial_id: str, state: EndState) -> None:
        run_id = self._runs.pop(trial_id)
        self._client.set_tag(run_id, STATE, state)
        self._client.set_terminated(run_id, status="FAILED" if state == "failed" else "FINISHED")

    def close(self) -> None:
        while self._runs:
            self._client.set_terminated(self._runs.popitem()[1], status="KILLED")

    def _open(self) -> Any:
        """A client, which may take seconds: a new database is made."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # nothing is sent unasked
        from mlflow import MlflowClient

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        if self._uri and self._uri.startswith(_SQLITE):
            Path(self._uri.removeprefix(_SQLITE)).parent.mkdir(parents=True, exist_ok=True)
        client = MlflowClient(tracking_uri=self._uri)
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", _EXPERIMENT)
        experiment = client.get_experiment_by_name(name)
        self._experiment = (
            experiment.experiment_id if experiment else client.create_experiment(name)
        )
        return client

    def _log_params(self, run_id: str, config: Mapping[str, object]) -> None:
        from mlflow.entities import Param

        # A text that is empty is refused by some of its stores.
        params = [Param(name, str(value)) for name, value in config.items() if value != ""]
        self._client.log_batch(run_id, params=params)

    def _log(self, trial_id: str, step: int, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, step) for name, value in values.items()]
        self._client.log_batch(self._runs[trial_id], metrics=metrics)


def _uri(where: str) -> str | None:
    """MLflow's address of `where`; None for what its own variables say."""
    if not where or ":" in where or where == "databricks":
        return where or None
    path = Path(where).absolute()
    return f"{_SQLITE}{path if path.suffix == '.db' else path / 'mlflow.db'}"
