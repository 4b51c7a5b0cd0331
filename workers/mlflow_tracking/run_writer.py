"""Writes metrics, parameters, tags and files to MLflow's runs, in batches that its server accepts."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

# The server's limits for one request and for texts (https://mlflow.org/docs/latest/rest-api.html#log-batch).
MAX_METRICS, MAX_PARAMS = 1000, 100
MAX_NAME, MAX_PARAM, MAX_TAG = 250, 6000, 5000
_REFUSED = re.compile(r"[^\w\-./ :]")


class RunWriter:
    """Writes to the run that each call names: there is no active run."""

    def __init__(self, client: MlflowClient) -> None:
        self._client = client

    def write_metrics(self, run_id: str, metrics: Sequence[Metric]) -> None:
        """Write metrics; a metric that exists with the same time and step is not duplicated."""
        for start in range(0, len(metrics), MAX_METRICS):
            self._client.log_batch(run_id, metrics=metrics[start : start + MAX_METRICS])

    def write_params(self, run_id: str, params: Mapping[str, Any]) -> None:
        """Write parameters; an existing parameter may be repeated and not changed."""
        from mlflow.entities import Param

        written = [Param(_REFUSED.sub("_", name)[:MAX_NAME], str(value)[:MAX_PARAM]) for name, value in params.items()]
        for start in range(0, len(written), MAX_PARAMS):
            self._client.log_batch(run_id, params=written[start : start + MAX_PARAMS])

    def write_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags; existing tags of the same names are replaced."""
        from mlflow.entities import RunTag

        if tags:
            self._client.log_batch(run_id, tags=[RunTag(name, value[:MAX_TAG]) for name, value in tags.items()])

    def write_file(self, run_id: str, name: str, content: bytes) -> None:
        """Write a file; an existing file of the same name is replaced."""
        with tempfile.TemporaryDirectory(prefix="castpool-file-") as folder:
            # Users of optuna-dashboard choose the names: only the last part of a path is used.
            last = Path(name).name
            path = Path(folder) / (last if last not in ("", "..") else "file")
            path.write_bytes(content)
            self._client.log_artifact(run_id, str(path))
