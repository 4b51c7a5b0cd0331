"""The backtest of a result: who competes, what of it is left to forecast, and the forecasts once all of it is done.

A backtest is more evaluations of a finished study: they are claimed, leased and resumed as those of the holdout, and
what was forecast before is not forecast again. This module is quick to import: its functions are called in a process
that has neuralforecast.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from castpool.sampler_policies.errors import InputError
from castpool.storage.budget import reaper, slots
from castpool.storage.budget.evaluations import Evaluation, enter_phase, read_evaluations
from castpool.storage.budget.outcome import Outcome
from castpool.storage.budget.phase import Phase
from castpool.storage.files.artifacts import open_artifacts
from castpool.storage.store import Store, open_store
from castpool.storage.study.studies import StoredStudy, only_study, open_study
from castpool.workers.evaluation.backtest_windows import BacktestRequest, BacktestWindows, choose_windows
from castpool.workers.results.backtest_plan import Part, PlannedBacktest, find_parts
from castpool.workers.results.output_files import BEST_FILE
from castpool.workers.results.result import NoResultError

if TYPE_CHECKING:
    import pandas as pd

    from castpool.workers.evaluation.backtest import Backtest
    from castpool.workers.evaluation.task import EvaluationTask
    from castpool.workers.results.members import EvaluatedStudy

BACKTEST_FILE, PICTURE_FILE = "backtest.csv", "backtest.png"


def plan_backtest(url: str | None, target: str | None, request: BacktestRequest) -> PlannedBacktest:
    """Plan a backtest, and put into the storage what of it was not forecast before.

    Args:
        url: of the storage.
        target: the name of a study, or the folder of a result; by default the only unfinished study, or the latest.
        request: the windows that the user asks for.

    Raises:
        InputError: windows that the series have no room for, or a study that is not finished.
        NoResultError: no trial of the study completed.
        StudyNotFoundError: the storage has no such study.
    """
    from castpool.workers.results.backtest_competitors import find_competitors, largest_input

    with open_store(url, application_name="castpool backtest") as store:
        best = _read_best(target)
        stored = open_study(store, best["study"]) if best is not None else only_study(store, target)
        studies = _read_studies(store, stored, best)
        competitors = find_competitors(studies[stored.name], best)
        parts, job = find_parts(competitors), studies[stored.name].job
        fewest = largest_input(studies, parts) + job.spec.horizon
        windows, sentence = choose_windows(request, job.spec.horizon, job.series.lengths, fewest)
        missing = _ask_for_missing(store, studies, parts, windows)
        count = sum(part.trial is not None for part in parts) * len(windows.trainings)
        trainings = f"{count} trainings" if count > 1 else "1 training"
        known = "" if missing else ", all of them done before"
        return PlannedBacktest(stored.name, competitors, windows, f"{sentence}: {trainings}{known}", tuple(missing))


def read_backtest(url: str | None, planned: PlannedBacktest) -> Backtest:
    """Return the forecasts and errors of a backtest that has ended.

    A competitor of which a window could not be forecast is left out, and a note says why.

    Raises:
        NoResultError: no model has forecast all windows.
    """
    from castpool.workers.evaluation.backtest import summarize_backtest
    from castpool.workers.evaluation.ensemble import combine
    from castpool.workers.evaluation.phases import season_of
    from castpool.workers.worker.stored_job import load_job

    with open_store(url, application_name="castpool backtest") as store:
        names = dict.fromkeys(part.study for part in planned.parts)
        found = {name: _read_evaluations(store, name) for name in names}
        forecasts = {part: _join_windows(part.tasks(planned.windows), *found[part.study]) for part in planned.parts}
        frames: dict[str, pd.DataFrame] = {}
        notes: list[str] = []
        for name, weights in planned.competitors.items():
            lost = [reason for part in weights if (reason := forecasts[part][1]) is not None]
            if lost:
                notes.append(f"{name} is left out, because a window was not forecast: {lost[0]}.")
                continue
            members = {str(number): forecasts[part][0] for number, part in enumerate(weights)}
            frames[name] = combine(members, {str(number): weight for number, weight in enumerate(weights.values())})
        if all(part.baseline is not None for name in frames for part in planned.competitors[name]):
            raise NoResultError(" ".join(notes))
        job = load_job(store, open_study(store, planned.study))
        return summarize_backtest(
            frames,
            job.series.frame,
            planned.windows,
            holdout=job.spec.holdout or 0,
            season=season_of(job),
            notes=tuple(notes),
        )


def end_backtest(store: Store, names: Sequence[str]) -> None:
    """Take back what is open of a backtest that was stopped; what was forecast is kept for the next one."""
    for name in names:
        study_id = open_study(store, name).study_id
        reaper.reap(store.engine, study_id)  # a worker that was killed before it could release its slot still holds it
        enter_phase(store.engine, study_id, Phase.BACKTEST, Phase.DONE, [], None)


def write_backtest(backtest: Backtest, study: str, folder: Path) -> list[Path]:
    """Write the frame and the picture into a folder, and return their paths."""
    from castpool.workers.reporting.backtest_plot import draw_backtest

    folder.mkdir(parents=True, exist_ok=True)
    table, picture = folder / BACKTEST_FILE, folder / PICTURE_FILE
    backtest.frame.to_csv(table, index=False)
    picture.write_bytes(draw_backtest(backtest, f"{study}: backtest"))
    return [table, picture]


def _read_best(target: str | None) -> dict[str, Any] | None:
    """Return the content of ``best.json`` where the target is the folder of a result."""
    if target is None or not (Path(target) / BEST_FILE).is_file():
        return None
    try:
        best: dict[str, Any] = json.loads((Path(target) / BEST_FILE).read_text(encoding="utf-8"))
        return best if best["study"] else None
    except (ValueError, KeyError, TypeError):
        raise InputError("study", target, f"its {BEST_FILE} cannot be read: write the name of the study.") from None


def _read_studies(store: Store, stored: StoredStudy, best: Mapping[str, Any] | None) -> dict[str, EvaluatedStudy]:
    """Return the studies of a result by name; all of them are finished, and have the same data and horizon."""
    from castpool.workers.results.best_trial import refuse_without_trial
    from castpool.workers.results.members import read_study
    from castpool.workers.worker.stored_job import load_job

    names = [stored.name, *(member["study"] for member in (best or {}).get("members", ()) if "study" in member)]
    studies = {}
    for name in dict.fromkeys(names):
        each = open_study(store, name)
        if (each.dataset, each.spec["horizon"]) != (stored.dataset, stored.spec["horizon"]):
            raise InputError("study", f"{name!r}, of other data than {stored.name!r}", "write the name of one study.")
        if not slots.count(store.engine, each.study_id).is_judged:
            remedy = f"end it first: run the same castpool tune again, or castpool pool {name}."
            raise InputError("study", f"{name!r}, which is not finished", remedy)
        study = read_study(store, each, load_job(store, each))
        if study is None:
            refuse_without_trial(store, each)
        studies[name] = study
    return studies


def _ask_for_missing(
    store: Store, studies: Mapping[str, EvaluatedStudy], parts: Sequence[Part], windows: BacktestWindows
) -> list[str]:
    """Put into the storage what was not forecast before, and return the names of the studies that have some of it."""
    unfinished = []
    for name, study in studies.items():
        tasks = [task for part in parts if part.study == name for task in part.tasks(windows)]
        study_id = study.stored.study_id
        evaluations = read_evaluations(store.engine, study_id)
        done = [evaluation.task for evaluation in evaluations if evaluation.outcome == Outcome.COMPLETE]
        # The newest windows first, of all competitors.
        content = [task.to_json() for task in sorted(tasks, key=lambda task: task.behind)]
        if all(task in done for task in content):
            continue
        reaper.reap(store.engine, study_id)
        is_running = slots.count(store.engine, study_id).phase == Phase.BACKTEST
        before = Phase.BACKTEST if is_running else Phase.DONE
        if not enter_phase(store.engine, study_id, before, Phase.BACKTEST, content, None):
            raise InputError("study", f"{name!r}, on which workers still run", "write the command again in a moment.")
        unfinished.append(name)
    return unfinished


def _read_evaluations(store: Store, study: str) -> tuple[dict[str, Evaluation], Callable[[str], pd.DataFrame]]:
    """Return the evaluations of a study by task, and what reads the forecasts of an artifact."""
    from castpool.workers.evaluation.forecasts import read_forecasts

    stored = open_study(store, study)
    evaluations = read_evaluations(store.engine, stored.study_id)
    artifacts = open_artifacts(store.engine, stored.spec.get("artifacts"))
    return {_key(each.task): each for each in evaluations}, partial(read_forecasts, artifacts)


def _key(task: Mapping[str, Any]) -> str:
    return json.dumps(dict(task), sort_keys=True)


def _join_windows(
    tasks: Sequence[EvaluationTask], evaluations: Mapping[str, Evaluation], read: Callable[[str], pd.DataFrame]
) -> tuple[pd.DataFrame, str | None]:
    """Return the forecasts of all tasks, and why there are not all of them."""
    import pandas as pd

    frames = []
    for task in tasks:
        found = evaluations.get(_key(task.to_json()))
        if found is None:
            return pd.DataFrame(), "another backtest has replaced this one, so write the command again"
        if found.outcome != Outcome.COMPLETE or found.result is None:
            return pd.DataFrame(), found.reason or "it has not ended"
        frames.append(read(found.result))
    whole = pd.concat(frames, ignore_index=True)
    return whole.sort_values(["unique_id", "cutoff", "ds"], ignore_index=True), None
