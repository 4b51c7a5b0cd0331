"""From the best trial to what a user keeps: it is fitted on all data, forecasts, and is written with its files."""

from __future__ import annotations

import contextlib
import json
import math
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytorch_lightning as pl
from neuralforecast import NeuralForecast
from pytorch_lightning.utilities.exceptions import SIGTERMException

from sampler_policies.plan import PATIENCE
from storage import snapshot
from storage.attachments import attach
from storage.snapshot import Snapshot
from storage.store import Store
from storage.studies import StoredStudy
from workers.forecast_plot import forecast_plot
from workers.hierarchy import load_fitted, reconciled, save_fitted
from workers.job import Job
from workers.notes import write_note
from workers.objective import build_model
from workers.quick_steps import QuickSteps
from workers.report import render_report
from workers.result import FILES, MODEL_FOLDER, NoResultError, Result, in_a_sentence
from workers.signals import StoppedError, StopRequest
from workers.tracked_model import MODEL_FILE, packed

PACKAGES = ("castpool", "neuralforecast", "optuna", "torch", "pytorch-lightning", "pandas")
SAY_SECONDS = 10.0
# Two results with these in common are the same model, trained and reported on the same trials.
WINNER = (
    *("study", "model", "horizon", "loss", "reconciliation", "trial", "step", "params", "config"),
    *("trials", "versions", "data"),
)


class StopAt(pl.Callback):
    """Ends a training at one step, so that a learning-rate schedule made for a longer one stays as it was."""

    def __init__(self, step: int, stop: StopRequest, say: Callable[[str], None]) -> None:
        self.step = step
        self.stop = stop
        self._say = say
        self._said_at = time.monotonic()

    def on_train_batch_end(self, trainer: pl.Trainer, *batch: Any) -> None:
        """Stop where the best check was, or when somebody asks; say now and then how far it is."""
        if time.monotonic() - self._said_at >= SAY_SECONDS:
            self._said_at = time.monotonic()
            self._say(f"fitting: step {trainer.global_step} of {self.step}")
        if trainer.global_step >= self.step or self.stop.is_set:
            trainer.should_stop = True


def write_result(
    store: Store, stored: StoredStudy, job: Job, out: Path, stop: StopRequest, say: Callable[[str], None]
) -> Result:
    """Fit the best configuration on all data and write the files, all of them or none.

    Where ``out`` holds the same winner already, it is read and nothing is trained.

    Raises:
        NoResultError: no trial completed.
        StoppedError: a stop was asked for; nothing is written.
    """
    view = snapshot.take(store.engine, stored.study_id)
    study = optuna.load_study(study_name=stored.name, storage=store.trials)
    best = describe_best(study, stored, job, view)
    trials = trials_table(study)
    if _holds(out, best):
        fitted = load_fitted(out / MODEL_FOLDER, best["reconciliation"])
        _keep_with_study(store, stored, best, out)
        return Result(fitted.predict(futr_df=job.series.futr), best, trials, out)
    say("fitting the best configuration on all data")
    fitted = fit_best(job, study.trials[best["trial"]], stop, say)
    if stop.is_set:
        raise StoppedError("stopped while fitting the best configuration; the same command does that again.")
    forecast = fitted.predict(futr_df=job.series.futr)
    report = render_report(study=study, best=best, history=job.series.frame, forecast=forecast)
    out.parent.mkdir(parents=True, exist_ok=True)
    # On the same file system: a folder that is there may be a mounted one.
    with tempfile.TemporaryDirectory(dir=out if out.is_dir() else out.parent, prefix=f".{out.name}-") as folder:
        fresh = Path(folder) / out.name
        save_fitted(fitted, fresh / MODEL_FOLDER, job.series.hierarchy)
        (fresh / "best.json").write_text(json.dumps(best, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        forecast.to_csv(fresh / "forecast.csv", index=False)
        trials.to_csv(fresh / "trials.csv", index=False)
        (fresh / "report.html").write_text(report, encoding="utf-8")
        (fresh / "forecast.png").write_bytes(forecast_plot(job.series.frame, forecast, in_a_sentence(best)))
        _put_in_place(fresh, out)
    _keep_with_study(store, stored, best, out)
    return Result(forecast, best, trials, out)


def _keep_with_study(store: Store, stored: StoredStudy, best: Mapping[str, Any], out: Path) -> None:
    """Attach the files to the study, where optuna-dashboard shows them and MLflow gets them from."""
    files = {name: (out / name).read_bytes() for name in FILES if name != MODEL_FOLDER}
    attach(store.engine, stored.study_id, {**files, MODEL_FILE: packed(out)})
    write_note(store, stored, in_a_sentence(best))


def _holds(out: Path, best: Mapping[str, Any]) -> bool:
    try:
        before = json.loads((out / "best.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    same = all(before.get(key) == json.loads(json.dumps(best[key])) for key in WINNER)
    return same and all((out / name).exists() for name in FILES)


def fit_best(
    job: Job, trial: optuna.trial.FrozenTrial, stop: StopRequest, say: Callable[[str], None]
) -> NeuralForecast:
    """Train the trial's configuration on all data, up to the step of its best check."""
    config = configuration_of(job, trial)
    step = int(trial.user_attrs["best_step"])
    max_steps = int(config.get("max_steps", job.plan.max_steps))
    # Without validation there is nothing to be patient about.
    never = {PATIENCE: -1} if PATIENCE in job.model.arguments else {}
    model = build_model(job, config, [], val_check_steps=max_steps, **never)
    if job.series.hierarchy is not None:
        model = reconciled(model, job.series.hierarchy, job.spec.reconciliation)
    fitted = NeuralForecast(models=[model], freq=job.series.freq)
    callbacks = _inner(fitted.models[0]).trainer_kwargs["callbacks"]
    callbacks += (ours := (StopAt(step, stop, say), QuickSteps(job.spec.without)))
    with contextlib.suppress(SIGTERMException):  # Lightning's way out at a SIGTERM, which `stop` has seen too
        fitted.fit(job.series.frame, static_df=job.series.static)
    # An ordinary model from here on: nothing of ours may stop a later fit.
    for own in ours:
        callbacks.remove(own)
    return fitted


def _inner(model: Any) -> Any:
    """Return the model that is trained: the one inside of HINT, or itself."""
    return getattr(model, "model", model) if type(model).__name__ == "HINT" else model


def configuration_of(job: Job, trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    """Return the model's arguments that the trial was trained with."""
    if job.extras.config is not None:
        return dict(job.extras.config(optuna.trial.FixedTrial(trial.params)))
    assert job.plan.space is not None
    return job.plan.space.decode(trial.params)


def describe_best(study: optuna.Study, stored: StoredStudy, job: Job, view: Snapshot) -> dict[str, Any]:
    """Return what ``best.json`` holds.

    Raises:
        NoResultError: no trial completed.
    """
    if view.best is None or view.best.value is None:
        reasons = {own.reason for own in view.trials if own.reason}
        why = "; ".join(sorted(reasons)) or "no reason is known"
        raise NoResultError(f"none of the {view.counts.slots} trials completed: {why}")
    trial = study.trials[view.best.number]
    default = view.default.value if view.default is not None else None
    return {
        "study": stored.name,
        "model": job.model.name,
        "horizon": job.spec.horizon,
        "loss": job.spec.loss,
        "reconciliation": job.spec.reconciliation if job.series.hierarchy is not None else None,
        "value": view.best.value,
        "default_value": default,
        "trial": trial.number,
        "step": int(trial.user_attrs["best_step"]),
        "params": trial.params,
        "config": trial.user_attrs.get("config", {}),
        "decisions": [own.to_json() for own in job.plan.decisions],
        "trials": {outcome: view.ended_as(outcome) for outcome in ("complete", "pruned", "diverged", "failed")},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "data": {
            "sha256": stored.dataset,
            "series": job.series.n_series,
            "rows": len(job.series.frame),
            "freq": job.series.freq,
        },
        "notes": list(job.series.notes),
    }


def trials_table(study: optuna.Study) -> pd.DataFrame:
    """Return one row an attempt: number, state, value, slot, worker, times, reason, the model's arguments."""
    rows = []
    for trial in study.trials:
        note = trial.user_attrs.get("castpool", {})
        value = trial.value if trial.value is not None and math.isfinite(trial.value) else None
        own = {
            "number": trial.number,
            "state": trial.state.name,
            "value": value,
            "last_step": trial.last_step,
            "best_step": trial.user_attrs.get("best_step"),
            "slot": note.get("slot"),
            "attempt": note.get("attempt"),
            "worker": note.get("worker"),
            "host": note.get("host"),
            "pid": note.get("pid"),
            "started_at": trial.datetime_start,
            "ended_at": trial.datetime_complete,
            "sampler": trial.user_attrs.get("sampler"),
            "training_seconds": trial.user_attrs.get("training_seconds"),
            "reason": trial.user_attrs.get("reason"),
        }
        rows.append({**own, **trial.user_attrs.get("config", {})})
    return pd.DataFrame(rows)


def _put_in_place(fresh: Path, out: Path) -> None:
    # Only our own files are replaced: whatever else lies in the folder is not ours to remove.
    out.mkdir(exist_ok=True)
    for made in fresh.iterdir():
        target = out / made.name
        if target.is_dir():
            shutil.rmtree(target)
        os.replace(made, target)
