"""The phases after the search: what each evaluates, and what is decided when it ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
from optuna.trial import FrozenTrial

from castpool.sampler_policies.rules.choose_verification import EvaluationFacts, plan_evaluation
from castpool.storage.budget.evaluations import Evaluation
from castpool.storage.budget.outcome import Outcome
from castpool.storage.budget.phase import Phase
from castpool.workers.evaluation.baselines import gives_intervals
from castpool.workers.evaluation.finalists import Finalist, find_finalists
from castpool.workers.evaluation.metrics import quantile_columns
from castpool.workers.evaluation.selection import Selection, select
from castpool.workers.evaluation.task import EvaluationTask
from castpool.workers.evaluation.windows import holdout_windows, verification_windows
from castpool.workers.spec.job import Job


def plan_verification(
    job: Job, trials: Sequence[FrozenTrial], capacity_seconds: float, n_workers: float | None = 1.0
) -> tuple[list[EvaluationTask], dict[str, Any]]:
    """Return the tasks of the verification, the most important first, and the record of what was decided.

    Args:
        job: of the study.
        trials: of the study, all ended.
        capacity_seconds: worker seconds that all evaluations may take.
        n_workers: workers that share them; None where no budget ends them.
    """
    verification = job.plan.find("verification")
    most = int(verification.arguments["finalists"]) if verification is not None else 0
    finalists = find_finalists(trials, max(most, most_members(job)))
    if not finalists:
        return [], {}
    windows = verification_windows(job)
    # Alone, the default configuration is the best one, and there is nothing to choose from.
    is_alone = len(finalists) == 1
    default = next((finalist for finalist in finalists if finalist.is_default and not is_alone), None)
    decision = plan_evaluation(
        EvaluationFacts(
            seconds=[finalist.seconds for finalist in finalists if finalist != default],
            default_seconds=default.seconds if default is not None else None,
            capacity_seconds=capacity_seconds,
            most_origins=len(windows) if most and not is_alone else 0,
            has_holdout=holdout_windows(job) is not None,
            n_workers=n_workers,
            holdout_trainings=2 if job.spec.level else 1,
        )
    )
    count, origins = int(decision.arguments["finalists"]), int(decision.arguments["origins"])
    searched = [finalist for finalist in finalists if finalist != default][:count]
    judged = [*searched, *([default] if default is not None and decision.arguments["verifies_default"] else [])]
    tasks = [
        EvaluationTask(Phase.VERIFICATION, finalist.trial, finalist.step, None, number, windows[number].behind)
        for number in range(origins)
        for finalist in judged
    ]
    if tasks:
        tasks += [
            EvaluationTask(Phase.VERIFICATION, None, 0, name, number, windows[number].behind)
            for number in range(origins)
            for name in baselines(job)
        ]
    record = {
        "finalists": [vars(finalist) for finalist in finalists],
        "origins": origins,
        "judges_default": bool(decision.arguments["default"]),
        "judged_members": int(decision.arguments["members"]),
        "decision": decision.to_json(),
    }
    return tasks, record


def plan_holdout(job: Job, record: Mapping[str, Any], selection: Selection) -> list[EvaluationTask]:
    """Return the tasks of the holdout: the winner, the members, the default configuration, and the baselines."""
    windows = holdout_windows(job)
    # Without the time to train the winner again, there is nothing that a baseline could be compared with.
    if windows is None or record.get("judged_members") == 0:
        return []
    finalists = read_finalists(record)
    default = next((finalist.trial for finalist in finalists if finalist.is_default), None)
    trials = dict.fromkeys([selection.winner, *selection.trials])
    if default is not None and record.get("judges_default"):
        trials[default] = None
    steps = {finalist.trial: finalist.step for finalist in finalists}
    tasks = [EvaluationTask(Phase.HOLDOUT, trial, steps[trial], None, 0, windows.behind) for trial in trials]
    return tasks + [EvaluationTask(Phase.HOLDOUT, None, 0, name, 0, windows.behind) for name in baselines(job)]


def read_finalists(record: Mapping[str, Any]) -> list[Finalist]:
    """Return the finalists of a record, the best validation loss first."""
    return [Finalist(**finalist) for finalist in record.get("finalists", ())]


def select_members(
    job: Job,
    record: Mapping[str, Any],
    evaluations: Sequence[Evaluation],
    read: Callable[[str], pd.DataFrame],
) -> Selection:
    """Return what the verification decides.

    Args:
        job: of the study.
        record: what `plan_verification` returned.
        evaluations: of the study.
        read: returns the forecasts of an artifact.
    """
    finalists = read_finalists(record)
    names = [str(finalist.trial) for finalist in finalists]
    if job.spec.members == "all":
        # A member without intervals would leave the average without them.
        names += [name for name in baselines(job) if not job.spec.level or gives_intervals(name)]
    frames = verification_frames(job, int(record.get("origins", 0)), evaluations, read)
    frames = {name: frames[name] for name in names if name in frames}
    # Forecasts with other columns, as a baseline without quantiles, cannot be averaged with the models'.
    columns = next((set(frames[name].columns) for name in names if name in frames), set())
    frames = {name: frame for name, frame in frames.items() if set(frame.columns) == columns}
    # Without the holdout: not even the size of its values may take part in the selection.
    actual = job.searched.frame[["unique_id", "ds", "y"]]
    is_quantile = any(has_quantiles(frame) for frame in frames.values())
    return select(
        finalists,
        frames,
        actual,
        most_members=most_members(job),
        most_judged=record.get("judged_members") or None,
        is_quantile=is_quantile,
    )


def verification_frames(
    job: Job, origins: int, evaluations: Sequence[Evaluation], read: Callable[[str], pd.DataFrame]
) -> dict[str, pd.DataFrame]:
    """Return the forecasts of the verification by candidate: of all origins that every such candidate has.

    Evaluations that the end of a budget cut off leave an origin to some candidates only. The newest origin counts with
    all candidates that have it; an older one only where all of those have it too.
    """
    windows = verification_windows(job)[:origins]
    found: list[dict[str, pd.DataFrame]] = [{} for _ in windows]
    for evaluation in evaluations:
        task = EvaluationTask.from_json(evaluation.task)
        is_asked = task.phase == Phase.VERIFICATION and task.origin < len(windows)
        if is_asked and task.behind == windows[task.origin].behind and evaluation.outcome == Outcome.COMPLETE:
            assert evaluation.result is not None
            found[task.origin][task.candidate] = read(evaluation.result)
    if not found or not found[0]:
        return {}
    names = list(found[0])
    whole = [frames for frames in found if all(name in frames for name in names)]
    return {name: pd.concat([frames[name] for frames in whole], ignore_index=True) for name in names}


def has_quantiles(frame: pd.DataFrame) -> bool:
    """Return whether a forecast has columns of quantiles."""
    return bool(quantile_columns(frame))


def season_of(job: Job) -> int:
    """Return the number of observations in a season, as the policy or the user chose it; 1 is none."""
    decision = job.plan.find("season")
    return int(decision.arguments["season"]) if decision is not None else 1


def most_members(job: Job) -> int:
    """Return the largest number of members of the ensemble; 1 is none."""
    decision = job.plan.find("ensemble")
    return int(decision.arguments["members"]) if decision is not None else 1


def baselines(job: Job) -> list[str]:
    """Return the names of the baselines that the study is compared with."""
    decision = job.plan.find("baselines")
    return list(decision.arguments["names"]) if decision is not None else []
