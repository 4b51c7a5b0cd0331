"""Writing to one of MLflow's runs, as much at once as its server takes."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

# What the server takes in one request (https://mlflow.org/docs/latest/rest-api.html#log-batch), and keeps of a text.
MOST_METRICS, MOST_PARAMS = 1000, 100
LONGEST_NAME, LONGEST_PARAM, LONGEST_TAG = 250, 6000, 5000
_REFUSED = re.compile(r"[^\w\-./ :]")


class RunWriter:
    """Writes to runs that are named each time: there is no active run."""

    def __init__(self, client: MlflowClient) -> None:
        self._client = client

    def metrics(self, run_id: str, metrics: Sequence[Metric]) -> None:
        """Write metrics; one that is there already, time and step included, stays one."""
        for start in range(0, len(metrics), MOST_METRICS):
            self._client.log_batch(run_id, metrics=metrics[start : start + MOST_METRICS])

    def params(self, run_id: str, params: Mapping[str, Any]) -> None:
        """Write parameters, which may be repeated and not changed."""
        from mlflow.entities import Param

        written = [
            Param(_REFUSED.sub("_", name)[:LONGEST_NAME], str(value)[:LONGEST_PARAM]) for name, value in params.items()
        ]
        for start in range(0, len(written), MOST_PARAMS):
            self._client.log_batch(run_id, params=written[start : start + MOST_PARAMS])

    def tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags, in place of those of the same names."""
        from mlflow.entities import RunTag

        if tags:
            self._client.log_batch(run_id, tags=[RunTag(name, own[:LONGEST_TAG]) for name, own in tags.items()])

    def file(self, run_id: str, name: str, content: bytes) -> None:
        """Write a file, in place of one of the same name."""
        with tempfile.TemporaryDirectory(prefix="castpool-file-") as folder:
            # Names come from whoever uploads to optuna-dashboard: never a path.
            last = Path(name).name
            path = Path(folder) / (last if last not in ("", "..") else "file")
            path.write_bytes(content)
            self._client.log_artifact(run_id, str(path))
