"""The fitted model of a study in MLflow's model registry: named after the study, with the alias ``champion``."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from castpool.storage.files import datasets
from castpool.storage.files.attachments import Attachment, read_attachment
from castpool.storage.store import Store
from castpool.storage.study.studies import StoredStudy
from castpool.workers.data.series_dataset import Series
from castpool.workers.results import forecast as forecast_code
from castpool.workers.results.output_files import BEST_FILE, FORECAST_FILE
from castpool.workers.results.weights import read_weights
from castpool.workers.support.packages import serving_requirements

if TYPE_CHECKING:
    from mlflow import MlflowClient

ALIAS = "champion"
FILE_TAG = "castpool.model"
EXAMPLE_ROWS = 500


def register_champion(client: MlflowClient, run_id: str, store: Store, stored: StoredStudy, file: Attachment) -> None:
    """Log the study's model to its run and make it the registry's champion; an interrupted registration is completed.

    Args:
        client: the client of the tracking server.
        run_id: the run of the study.
        store: contains the model and the data.
        stored: the study.
        file: the ZIP file of the model.
    """
    source = _log_model(client, run_id, store, stored, file)
    name = stored.name
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name, description=f"The best model of the castpool study {name}.")
    versions = client.search_model_versions(f"name = '{name}'")
    number = next((known.version for known in versions if known.tags.get(FILE_TAG) == file.digest), None)
    if number is None:
        tags = {FILE_TAG: file.digest, "castpool.study": stored.key}
        number = client.create_model_version(
            name, source.artifact_location, run_id=run_id, tags=tags, model_id=source.model_id
        ).version
    client.set_registered_model_alias(name, ALIAS, number)


def _log_model(client: MlflowClient, run_id: str, store: Store, stored: StoredStudy, file: Attachment) -> Any:
    """Return the logged model of this file; create it if it is missing."""
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus
    from mlflow.models import Model

    experiment = client.get_run(run_id).info.experiment_id
    found = list(client.search_logged_models([experiment], f"tags.`{FILE_TAG}` = '{file.digest}'"))
    if ready := [logged for logged in found if logged.status == LoggedModelStatus.READY]:
        return ready[0]
    logged = next(iter(found), None) or client.create_logged_model(
        experiment, name=stored.name, source_run_id=run_id, tags={FILE_TAG: file.digest}, model_type="forecaster"
    )
    with tempfile.TemporaryDirectory(prefix="castpool-model-") as temporary:
        folder = Path(temporary)
        with zipfile.ZipFile(io.BytesIO(read_attachment(store.engine, file))) as archive:
            archive.extractall(folder / "result")
        entry = Model(model_id=logged.model_id, run_id=run_id, artifact_path=logged.artifact_location)
        _save(
            folder / "model", folder / "result", entry, Series.from_parquet(datasets.get(store.engine, stored.dataset))
        )
        client.log_model_artifacts(logged.model_id, str(folder / "model"))
    client.log_outputs(run_id, models=[LoggedModelOutput(logged.model_id, step=0)])
    client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)  # READY marks a complete model
    return client.get_logged_model(logged.model_id)


def _save(target: Path, result: Path, entry: Any, series: Series) -> None:
    """Write the model in MLflow's format, with signature and input example."""
    import mlflow.pyfunc
    from mlflow.models import infer_signature

    example = _example(series)
    dates = ["ds"] if isinstance(series.freq, str) else None
    predicted = pd.read_csv(result / FORECAST_FILE, parse_dates=dates, dtype={"unique_id": str})
    reconciliation = json.loads((result / BEST_FILE).read_text(encoding="utf-8")).get("reconciliation")
    members = read_weights(result)[1].get("members", ())
    needs_castpool = reconciliation is not None or any("baseline" in member for member in members)
    static = [] if series.static is None else [name for name in series.static.columns if name != "unique_id"]
    futr = [] if series.futr is None else [name for name in series.futr.columns if name not in ("unique_id", "ds")]
    mlflow.pyfunc.save_model(
        path=str(target),
        mlflow_model=entry,
        python_model=str(Path(__file__).with_name("pyfunc_model.py")),
        artifacts={"result": str(result), "forecast_code": str(forecast_code.__file__)},
        model_config={"static": static, "futr": futr, "reconciliation": reconciliation},
        signature=infer_signature(example, predicted),
        input_example=example,
        pip_requirements=serving_requirements(needs_castpool=needs_castpool),
    )


def _example(series: Series) -> pd.DataFrame:
    """Return the end of the first series with its static columns, and with its known future columns."""
    first = series.frame["unique_id"].iloc[0]
    frame = series.frame[series.frame["unique_id"] == first].tail(EXAMPLE_ROWS)
    if series.futr is not None:
        frame = pd.concat([frame, series.futr[series.futr["unique_id"] == first]], ignore_index=True)
    if series.static is not None:
        frame = frame.merge(series.static, on="unique_id")
    example: pd.DataFrame = frame.reset_index(drop=True)
    return example
