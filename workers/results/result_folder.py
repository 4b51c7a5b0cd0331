"""The folder of a result: the members are fitted, written with the files, and kept with the study."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from castpool.storage.files.attachments import attach_files
from castpool.storage.store import Store
from castpool.storage.study import snapshot
from castpool.storage.study.studies import StoredStudy
from castpool.workers.data.hierarchy import load_fitted
from castpool.workers.planning.study_note import write_note
from castpool.workers.results.archive import MODEL_FILE, pack_model
from castpool.workers.results.best_trial import describe_best, refuse_without_trial
from castpool.workers.results.forecast import forecast
from castpool.workers.results.judge import ENSEMBLE, SINGLE, judge
from castpool.workers.results.member_baselines import forecast_baselines
from castpool.workers.results.members import EvaluatedStudy, Member, choose_members, read_study
from castpool.workers.results.output_files import BEST_FILE, OUTPUT_FILES, FittedWinner, write_files
from castpool.workers.results.refit import Fit, fit_members
from castpool.workers.results.result import MODEL_FOLDER, Result, describe_result
from castpool.workers.results.trials_table import trials_table
from castpool.workers.results.weights import weights_of
from castpool.workers.spec.job import Job
from castpool.workers.support.signals import StoppedError, StopRequest

if TYPE_CHECKING:
    from neuralforecast import NeuralForecast

# Two results with these values in common are the same models, trained and reported on the same trials.
IDENTIFYING_KEYS = (
    *("study", "model", "horizon", "loss", "level", "reconciliation", "trial", "step", "params", "config"),
    *("members", "trials", "versions", "data"),
)
MB = 2**20


def write_result(
    store: Store,
    studies: Sequence[tuple[StoredStudy, Job]],
    out: Path,
    stop: StopRequest,
    say: Callable[[str], None],
) -> Result:
    """Fit the members of the result on all data and write the files, all of them or none.

    Where ``out`` holds the same result already, it is read and nothing is trained.

    Args:
        store: where the studies are.
        studies: of one command: the same data and horizon, another model each.
        out: the folder; of several studies, the folder in which the winner's is.
        stop: the request to end early.
        say: called with each line of progress.

    Raises:
        NoResultError: no trial completed.
        StoppedError: a stop was requested; nothing is written.
    """
    evaluated = [found for stored, job in studies if (found := read_study(store, stored, job)) is not None]
    if not evaluated:
        refuse_without_trial(store, studies[0][0])
    best, members = choose_members(evaluated)
    stored, job = best.stored, best.job
    if len(studies) > 1:
        out /= stored.name
    view = snapshot.take(store.engine, stored.study_id)
    record = describe_best(best, view, members)
    trials = trials_table(best.trials)
    if (present := _read_same(out, record)) is not None:
        fitted = load_fitted(out / MODEL_FOLDER, record["reconciliation"])
        _keep_with_study(store, stored, present, out)
        predicted = _forecast(fitted, job, members)
        return Result(predicted, present, trials, out)
    models = [member for member in members if member.study is not None]
    say(f"fitting {'the best configuration' if len(models) == 1 else f'{len(models)} configurations'} on all data")
    fitted = fit_members([_as_fit(member) for member in models], stop, say)
    if stop.is_set:
        raise StoppedError("stopped while fitting the result; run the same command to fit it again.")
    predicted = _forecast(fitted, job, members)
    verdict = judge(best, members, _costs(fitted, best, members, job.series.futr))
    record["verdict"] = verdict.to_json() if verdict is not None else None
    content = FittedWinner(fitted, predicted, record, trials, best.trials, job.plan.space, job.series, tuple(members))
    write_files(content, out)
    _keep_with_study(store, stored, record, out)
    return Result(predicted, record, trials, out)


def _forecast(fitted: NeuralForecast, job: Job, members: Sequence[Member]) -> pd.DataFrame:
    return forecast(
        fitted,
        futr=job.series.futr,
        weights=weights_of(members),
        baselines=forecast_baselines(job, members),
        level=job.spec.level,
    )


def _as_fit(member: Member) -> Fit:
    assert member.study is not None and member.finalist is not None
    trial = member.study.trials.trials[member.finalist.trial]
    is_usual = member.name == member.study.job.model.name
    return Fit(member.study.job, trial, member.finalist.step, None if is_usual else member.name)


def _costs(
    fitted: NeuralForecast, best: EvaluatedStudy, members: Sequence[Member], futr: pd.DataFrame | None
) -> dict[str, dict[str, float]]:
    """Return the seconds that a forecast takes, and the size of the weights, of the ensemble and of the single best."""

    def cost(models: list[Any]) -> dict[str, float]:
        every = fitted.models
        try:
            fitted.models = models
            started = time.perf_counter()
            fitted.predict(futr_df=futr)
            seconds = time.perf_counter() - started
        finally:
            fitted.models = every
        inner = [getattr(model, "model", model) if type(model).__name__ == "HINT" else model for model in models]
        size = sum(value.numel() * value.element_size() for model in inner for value in model.parameters())
        return {"latency_ms": round(1000 * seconds, 1), "model_mb": round(size / MB, 3)}

    named = [member for member in members if member.study is not None]
    costs = {ENSEMBLE: cost(list(fitted.models))}
    for member, model in zip(named, fitted.models, strict=True):
        if member.study is best and member.finalist == best.winner:
            costs[SINGLE] = cost([model])
    return costs


def _read_same(out: Path, record: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the record in a folder, where it holds this result with all of its files."""
    try:
        # Results of before there were levels have none.
        present: dict[str, Any] = {"level": [], **json.loads((out / BEST_FILE).read_text(encoding="utf-8"))}
    except (OSError, ValueError, TypeError):
        return None
    same = all(present.get(key) == json.loads(json.dumps(record[key])) for key in IDENTIFYING_KEYS)
    return present if same and all((out / name).exists() for name in OUTPUT_FILES) else None


def _keep_with_study(store: Store, stored: StoredStudy, best: Mapping[str, Any], out: Path) -> None:
    """Attach the files to the study: optuna-dashboard shows them, and MLflow gets its copies from there."""
    files = {name: (out / name).read_bytes() for name in OUTPUT_FILES if name != MODEL_FOLDER}
    attach_files(store.engine, stored.study_id, {**files, MODEL_FILE: pack_model(out)})
    write_note(store, stored, describe_result(best))
