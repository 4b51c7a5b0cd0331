"""The Python API: `from castpool import tune`, in scripts in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import optuna
import pytest

HEAD = """
import json
import numpy as np
import pandas as pd
from castpool import tune

months = np.arange(60)
frame = pd.DataFrame({
    "unique_id": "s", "ds": pd.date_range("2015-01-01", periods=60, freq="MS"), "y": 10 + np.sin(months * np.pi / 6)
})
small = dict(max_steps=10, workers=2, progress="quiet")
"""

BY_NAME = """
result = tune(frame, model="MLP", horizon=4, freq="MS", trials=3, space={"hidden_size": [8, 16]}, **small)
predicted = result.neuralforecast.predict()
print(json.dumps({"rows": len(predicted), "columns": list(predicted), "best": result.best["value"],
                  "default": result.best["default_value"], "trials": len(result.trials), "out": str(result.out)}))
"""

# What a notebook holds: classes and functions that no other process can import, and no `if __name__ == "__main__"`.
CONFIGURED = """
import neuralforecast
import optuna
from neuralforecast.auto import AutoMLP
from neuralforecast.losses.pytorch import MAE

class MyLoss(MAE):
    pass

neuralforecast.register_loss(MyLoss)

def config(trial):
    return {"input_size": 8, "num_layers": trial.suggest_int("num_layers", 1, 2), "max_steps": 10,
            "hidden_size": trial.suggest_categorical("width", [8, 16]), "val_check_steps": 5}

model = AutoMLP(h=4, loss=MyLoss(), config=config, backend="optuna", num_samples=4,
                search_alg=optuna.samplers.RandomSampler(seed=1))
result = tune(frame, model, workers=2, progress="quiet")
trained = result.neuralforecast.models[0]
print(json.dumps({"rows": len(result.forecast), "loss": type(trained.loss).__name__, "trials": len(result.trials),
                  "study": result.best["study"], "sampler": result.best["decisions"][3]["reason"]}))
"""


def run(code: str, folder: Path, database: str) -> dict[str, object]:
    script = folder / "script.py"
    script.write_text(HEAD + code)
    environment = {**os.environ, "CASTPOOL_STORAGE": database, "PYTHONPATH": os.getcwd()}
    done = subprocess.run(
        [sys.executable, str(script)], cwd=folder, env=environment, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 1, "the script ran once, in one process"
    values: dict[str, object] = json.loads(lines[0])
    return values


@pytest.mark.slow  # the README's Python does the same
def test_a_frame_becomes_a_fitted_forecaster(tmp_path: Path, database: str) -> None:
    values = run(BY_NAME, tmp_path, database)
    assert values["rows"] == 4
    # Three trials have up to three similar losses, which are averaged.
    members = (["MLP"], ["MLP_1", "MLP_2"], ["MLP_1", "MLP_2", "MLP_3"])
    assert values["columns"] in [["unique_id", "ds", *names] for names in members]
    assert values["trials"] == 3
    assert isinstance(values["best"], float)
    assert values["best"] <= values["default"]  # type: ignore[operator]
    assert (tmp_path / str(values["out"]) / "report.html").is_file()


def test_a_configured_auto_model_is_respected(tmp_path: Path, database: str) -> None:
    values = run(CONFIGURED, tmp_path, database)
    assert (values["rows"], values["loss"], values["trials"]) == (4, "MyLoss", 4)
    study = optuna.load_study(study_name=str(values["study"]), storage=database)
    assert {"num_layers", "width"} <= set(study.trials[0].params)
    # No other process can work on it: the user's Python objects are not in the storage, and nothing there is unpickled.
    code = f"from castpool.workers.pool.worker_process import main; main({database!r}, [{values['study']!r}])"
    study_row = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert "run the same Python again" in study_row.stderr


def test_importing_the_package_is_quick_and_its_names_are_there() -> None:
    code = "import sys, castpool; assert 'torch' not in sys.modules; print(*castpool.__all__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"Result", "StudySpec", "tune"} <= set(done.stdout.split())
    from castpool import tune
    from castpool import tune as again

    assert tune is again
    assert callable(tune)
    with pytest.raises(AttributeError):
        __import__("castpool").nothing  # noqa: B018
