"""An MLflow server for the tests, served as a user serves it, that can be stopped and restarted."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import URL

from castpool.workers.mlflow_tracking.client import tracking_client
from tests.conftest import administer

START_SECONDS = 240


class MlflowServer:
    """`castpool mlflow` in a separate process group."""

    def __init__(self, database: str, artifacts: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self._database = database
        self._artifacts = artifacts
        self._log = artifacts.with_name(f"{artifacts.name}.log")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "castpool", "mlflow", "--port", str(self.port), "--artifacts", self._artifacts],
                env={**os.environ, "CASTPOOL_STORAGE": self._database},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self.is_healthy:
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.2)

    @property
    def is_healthy(self) -> bool:
        try:
            return bool(urllib.request.urlopen(f"{self.uri}/health", timeout=5).status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def stop(self) -> str:
        """Stop the server as Ctrl-C does, and return its output."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            assert self._process.wait(60) == 0
            self._process = None
        return self._log.read_text()


@pytest.fixture(scope="session")
def mlflow_server(server: URL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """A running server; a test that stops it restarts it."""
    name = f"mlflow_{uuid.uuid4().hex[:12]}"
    administer(server, f"CREATE DATABASE {name}")
    url = server.set(database=name).render_as_string(hide_password=False)
    served = MlflowServer(url, tmp_path_factory.mktemp("mlflow") / "artifacts")
    served.start()
    yield served
    served.stop()
    administer(server, f"DROP DATABASE {name} WITH (FORCE)")


def record(uri: str, experiment: str) -> dict[str, Any]:
    """Return the content of an experiment: runs by their names, metrics with their histories, files."""
    client = tracking_client(uri)
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    runs: dict[str, Any] = {}
    for run in client.search_runs([found.experiment_id], max_results=1000):
        name = run.info.run_name
        assert name not in runs, f"{name} is there twice"
        runs[name] = {
            "id": run.info.run_id,
            "status": run.info.status,
            "start": run.info.start_time,
            "end": run.info.end_time,
            "params": dict(run.data.params),
            "tags": dict(run.data.tags),
            "metrics": {
                key: [
                    (metric.step, metric.value, metric.timestamp)
                    for metric in client.get_metric_history(run.info.run_id, key)
                ]
                for key in run.data.metrics
            },
            "files": sorted(artifact.path for artifact in client.list_artifacts(run.info.run_id)),
        }
    return runs
