"""The registered model: its pip requirements, and that it forecasts where only these are installed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest

from castpool.storage.store import Store
from castpool.workers.mlflow_tracking.client import tracking_client
from castpool.workers.mlflow_tracking.tracker import Tracker
from castpool.workers.planning.create_study import Draft, save_study
from castpool.workers.results.result_folder import write_result
from castpool.workers.support.signals import StopRequest
from castpool.workers.worker.loop import Worker
from tests.workers.mlflow_tracking.conftest import MlflowServer

# MLflow warns about type hints of its classes and about deprecated uses of pandas.
pytestmark = pytest.mark.filterwarnings("ignore")

NORMAL = {"name": "DistributionLoss", "distribution": "Normal", "level": [80], "num_samples": 30}
# `series-2` is the sum of the others.
MATRIX = [[1, 0], [0, 1], [1, 1]]

SERVE = """
import sys
if sys.argv[2] == "alone":
    sys.modules["castpool"] = None  # an import of castpool fails
import mlflow, pandas as pd
model = mlflow.pyfunc.load_model(sys.argv[1])
model.predict(pd.read_csv("data.csv", parse_dates=["ds"])).to_csv("served.csv", index=False)
"""


@pytest.fixture
def serve(
    store: Store, draft: Callable[..., Draft], mlflow_server: MlflowServer, tmp_path: Path
) -> Callable[..., tuple[list[str], pd.DataFrame, pd.DataFrame]]:
    """Return a function that tunes and registers a model and runs it in another process.

    It returns the model's pip requirements, the served forecast and the forecast of the result.
    """

    def run(name: str, table: pd.DataFrame, castpool: str, **spec: Any) -> tuple[list[str], pd.DataFrame, pd.DataFrame]:
        drafted = draft(name=name, table=table, trials=1, **spec)
        stored = save_study(store, drafted)
        Worker(store, [stored], StopRequest()).run()
        result = write_result(store, [(stored, drafted.job)], tmp_path / "out", StopRequest(), lambda line: None)
        Tracker(store, stored, mlflow_server.uri).sync()
        champion = tracking_client(mlflow_server.uri).get_model_version_by_alias(name, "champion")
        folder = mlflow.artifacts.download_artifacts(champion.source, tracking_uri=mlflow_server.uri)
        table.to_csv(tmp_path / "data.csv", index=False)
        command = [sys.executable, "-W", "ignore", "-c", SERVE, folder, castpool]
        ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        served = pd.read_csv(tmp_path / "served.csv", parse_dates=["ds"])
        return (Path(folder) / "requirements.txt").read_text().split(), served, result.forecast

    return run


def requirements_of(*names: str) -> set[str]:
    return {f"{name}=={version(name).partition('+')[0]}" for name in names}


@pytest.mark.parametrize(
    "level", [pytest.param([], id="points"), pytest.param([80, 95], id="intervals", marks=pytest.mark.slow)]
)
def test_a_model_without_a_hierarchy_does_not_need_castpool(
    serve: Callable[..., Any], panel: pd.DataFrame, level: list[int]
) -> None:
    name = f"alone{len(level)}"
    requirements, served, forecast = serve(name, panel[["unique_id", "ds", "y"]], castpool="alone", level=level)
    assert [column for column in served if "-lo-" in column] == [f"MLP-lo-{each}" for each in reversed(level)]
    assert set(requirements) >= requirements_of("neuralforecast", "torch", "pandas")
    assert not any(requirement.startswith("castpool") for requirement in requirements)
    rows = ["unique_id", "ds"]
    assert served[rows].astype(str).to_numpy().tolist() == forecast[rows].astype(str).to_numpy().tolist()
    assert list(served) == list(forecast)
    np.testing.assert_allclose(served.iloc[:, 2:], forecast.iloc[:, 2:], rtol=1e-4)


def test_a_model_of_a_hierarchy_names_castpool_and_its_forecasts_add_up(
    serve: Callable[..., Any], panel: pd.DataFrame
) -> None:
    wide = panel.pivot(index="ds", columns="unique_id", values="y").iloc[:, :2]
    wide["series-2"] = wide.sum(axis=1)
    table = wide.reset_index().melt("ds", var_name="unique_id", value_name="y")[["unique_id", "ds", "y"]]
    requirements, served, forecast = serve(
        "family", table, castpool="installed", hierarchy=MATRIX, loss=NORMAL, reconciliation="MinTraceOLS"
    )
    assert set(requirements) >= requirements_of("neuralforecast", "torch", "pandas", "castpool")
    assert served.columns.tolist() == forecast.columns.tolist()
    mean = served.pivot(index="ds", columns="unique_id", values=served.columns[2])
    np.testing.assert_allclose(mean["series-0"] + mean["series-1"], mean["series-2"], rtol=1e-5)
