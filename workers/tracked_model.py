"""The winner of a study in MLflow's model registry, under the study's name, with the alias ``champion``."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from storage import datasets
from storage.attachments import Attachment, content_of
from storage.store import Store
from storage.studies import StoredStudy
from workers.series import Series

if TYPE_CHECKING:
    from mlflow import MlflowClient

ALIAS = "champion"
FILE_TAG = "castpool.model"
MODEL_FILE = "model.zip"
EXAMPLE_ROWS = 500
# What loads and runs the model; nothing of castpool's own but with a hierarchy.
NEEDED = ("neuralforecast", "torch", "pandas")


def packed(folder: Path) -> bytes:
    """Return the fitted model in a result's folder, with what says how it was made, as a ZIP file.

    Equal files give equal bytes: no times are in it.
    """
    written = io.BytesIO()
    kept = [*(folder / "model").rglob("*"), folder / "best.json", folder / "forecast.csv", folder / "hierarchy.csv"]
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(own for own in kept if own.is_file()):
            entry = zipfile.ZipInfo(str(path.relative_to(folder)))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())
    return written.getvalue()


def register_champion(client: MlflowClient, run_id: str, store: Store, stored: StoredStudy, file: Attachment) -> None:
    """Log the study's model to its run, and make it the registry's champion; at once, or go on with what was begun.

    Args:
        client: of the tracking server.
        run_id: the study's own run.
        store: where the model and the data are.
        stored: the study.
        file: the model, packed.
    """
    source = _logged(client, run_id, store, stored, file)
    name = stored.name
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name, description=f"What castpool found in study {name}.")
    versions = client.search_model_versions(f"name = '{name}'")
    number = next((own.version for own in versions if own.tags.get(FILE_TAG) == file.digest), None)
    if number is None:
        tags = {FILE_TAG: file.digest, "castpool.study": stored.key}
        number = client.create_model_version(
            name, source.artifact_location, run_id=run_id, tags=tags, model_id=source.model_id
        ).version
    client.set_registered_model_alias(name, ALIAS, number)


def _logged(client: MlflowClient, run_id: str, store: Store, stored: StoredStudy, file: Attachment) -> Any:
    """Return the logged model of this file, made where it is missing."""
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus
    from mlflow.models import Model

    experiment = client.get_run(run_id).info.experiment_id
    found = list(client.search_logged_models([experiment], f"tags.`{FILE_TAG}` = '{file.digest}'"))
    if ready := [own for own in found if own.status == LoggedModelStatus.READY]:
        return ready[0]
    made = next(iter(found), None) or client.create_logged_model(
        experiment, name=stored.name, source_run_id=run_id, tags={FILE_TAG: file.digest}, model_type="forecaster"
    )
    with tempfile.TemporaryDirectory(prefix="castpool-model-") as temporary:
        folder = Path(temporary)
        with zipfile.ZipFile(io.BytesIO(content_of(store.engine, file))) as archive:
            archive.extractall(folder / "result")
        entry = Model(model_id=made.model_id, run_id=run_id, artifact_path=made.artifact_location)
        _save(
            folder / "model", folder / "result", entry, Series.from_parquet(datasets.get(store.engine, stored.dataset))
        )
        client.log_model_artifacts(made.model_id, str(folder / "model"))
    client.log_outputs(run_id, models=[LoggedModelOutput(made.model_id, step=0)])
    client.finalize_logged_model(made.model_id, LoggedModelStatus.READY)  # ready is what has all there is
    return client.get_logged_model(made.model_id)


def _save(target: Path, result: Path, entry: Any, series: Series) -> None:
    """Write the model as MLflow keeps it, with signature and input example."""
    import mlflow.pyfunc
    from mlflow.models import infer_signature

    example = _example(series)
    dates = ["ds"] if isinstance(series.freq, str) else None
    forecast = pd.read_csv(result / "forecast.csv", parse_dates=dates, dtype={"unique_id": str})
    best = json.loads((result / "best.json").read_text(encoding="utf-8"))
    static = [] if series.static is None else [own for own in series.static.columns if own != "unique_id"]
    futr = [] if series.futr is None else [own for own in series.futr.columns if own not in ("unique_id", "ds")]
    mlflow.pyfunc.save_model(
        path=str(target),
        mlflow_model=entry,
        python_model=str(Path(__file__).with_name("served_model.py")),
        artifacts={"result": str(result)},
        model_config={"static": static, "futr": futr, "reconciliation": best.get("reconciliation")},
        signature=infer_signature(example, forecast),
        input_example=example,
        pip_requirements=[f"{name}=={version(name).partition('+')[0]}" for name in NEEDED],
    )


def _example(series: Series) -> pd.DataFrame:
    """Return the end of the first series, with its static columns, and the future ones where they are known."""
    first = series.frame["unique_id"].iloc[0]
    frame = series.frame[series.frame["unique_id"] == first].tail(EXAMPLE_ROWS)
    if series.futr is not None:
        frame = pd.concat([frame, series.futr[series.futr["unique_id"] == first]], ignore_index=True)
    if series.static is not None:
        frame = frame.merge(series.static, on="unique_id")
    example: pd.DataFrame = frame.reset_index(drop=True)
    return example
