"""The members of a result: which configurations and baselines it averages, chosen over all studies of a command."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import optuna
import pandas as pd

from castpool.storage.budget.evaluations import Evaluation, read_evaluations, read_record
from castpool.storage.budget.outcome import Outcome
from castpool.storage.budget.phase import Phase
from castpool.storage.files.artifacts import open_artifacts
from castpool.storage.store import Store
from castpool.storage.study.studies import StoredStudy
from castpool.workers.evaluation import phases
from castpool.workers.evaluation.finalists import Finalist, find_finalists
from castpool.workers.evaluation.forecasts import read_forecasts
from castpool.workers.evaluation.selection import Selection, select
from castpool.workers.evaluation.task import EvaluationTask
from castpool.workers.spec.job import Job


@dataclass(frozen=True)
class EvaluatedStudy:
    """A study with what its evaluation has found so far.

    Attributes:
        stored: the study.
        job: its job.
        trials: the study as Optuna has it.
        finalists: the best distinct configurations, best validation loss first.
        selection: the winner and the members; by the validation losses alone where nothing was verified.
        verified: forecasts of the verification's windows by candidate, those of all origins.
        held_out: forecasts of the holdout by candidate.
    """

    stored: StoredStudy
    job: Job
    trials: optuna.Study
    finalists: Sequence[Finalist]
    selection: Selection
    verified: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    held_out: Mapping[str, pd.DataFrame] = field(default_factory=dict)

    def finalist(self, trial: int) -> Finalist:
        """Return the finalist of that trial."""
        return next(finalist for finalist in self.finalists if finalist.trial == trial)

    @property
    def winner(self) -> Finalist:
        """The single best configuration."""
        return self.finalist(self.selection.winner)

    @property
    def default(self) -> Finalist | None:
        """The default configuration, where it was trained."""
        return next((finalist for finalist in self.finalists if finalist.is_default), None)


@dataclass(frozen=True)
class Member:
    """One part of the average: a configuration of a study, or a baseline, with its weight.

    Attributes:
        name: of its columns in forecasts: the model's name, numbered where there are several, or the baseline's.
        weight: of all members they sum to 1.
        study: None of a baseline.
        finalist: the configuration; None of a baseline.
    """

    name: str
    weight: float
    study: EvaluatedStudy | None = None
    finalist: Finalist | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        described: dict[str, Any] = {"name": self.name, "weight": round(self.weight, 6)}
        if self.study is None or self.finalist is None:
            return {**described, "baseline": self.name}
        return {
            **described,
            "study": self.study.stored.name,
            "model": self.study.job.model.name,
            "trial": self.finalist.trial,
            "step": self.finalist.step,
            "value": self.finalist.value,
        }


def read_study(store: Store, stored: StoredStudy, job: Job) -> EvaluatedStudy | None:
    """Return a study with its evaluation; None where no trial completed."""
    trials = optuna.load_study(study_name=stored.name, storage=store.trials)
    phase, record = read_record(store.engine, stored.study_id)
    finalists = phases.read_finalists(record) or find_finalists(trials.trials, phases.most_members(job))
    if not finalists:
        return None
    if phase == Phase.SEARCH or "selection" not in record:
        # The search has not ended, or nothing was verified.
        finalists = find_finalists(trials.trials, phases.most_members(job))
        selection = select(finalists, {}, job.series.frame, most_members=phases.most_members(job))
        return EvaluatedStudy(stored, job, trials, finalists, selection)
    read = partial(read_forecasts, open_artifacts(store.engine, job.spec.artifacts))
    evaluations = read_evaluations(store.engine, stored.study_id)
    verified = phases.verification_frames(job, int(record.get("origins", 0)), evaluations, read)
    selection = Selection.from_json(record["selection"])
    held_out = _held_out(job, finalists, evaluations, read)
    return EvaluatedStudy(stored, job, trials, finalists, selection, verified, held_out)


def _held_out(
    job: Job, finalists: Sequence[Finalist], evaluations: Sequence[Evaluation], read: Callable[[str], pd.DataFrame]
) -> dict[str, pd.DataFrame]:
    steps = {finalist.trial: finalist.step for finalist in finalists}
    found = {}
    for evaluation in evaluations:
        task = EvaluationTask.from_json(evaluation.task)
        is_current = task.baseline is not None or steps.get(task.trial or 0) == task.step
        if task.phase == Phase.HOLDOUT and is_current and evaluation.outcome == Outcome.COMPLETE:
            assert evaluation.result is not None
            found[task.candidate] = read(evaluation.result)
    return found


def choose_members(studies: Sequence[EvaluatedStudy]) -> tuple[EvaluatedStudy, list[Member]]:
    """Return the study of the single winner, and the members of the result, the largest weight first.

    Args:
        studies: of one command: the same data and horizon, another model each.
    """
    best = min(studies, key=lambda study: study.winner.value)
    weights = {_key(best, name): weight for name, weight in best.selection.weights.items()}
    if len(studies) > 1 and (selected := _select_over(studies)) is not None:
        best, weights = selected
    return best, _as_members(studies, _with_holdout(studies, weights) or weights)


def _select_over(studies: Sequence[EvaluatedStudy]) -> tuple[EvaluatedStudy, dict[str, float]] | None:
    """Return the best study and the weights, selected among what each study selected; None where one was not verified.

    Each study's winner and members have forecast the holdout, so whatever is selected here has a verdict.
    """
    chosen = [
        (study, study.finalist(trial))
        for study in studies
        for trial in dict.fromkeys([study.selection.winner, *study.selection.trials])
        if str(trial) in study.verified
    ]
    chosen.sort(key=lambda pair: pair[1].value)
    windows = {frozenset(study.verified[str(finalist.trial)]["cutoff"]) for study, finalist in chosen}
    if {id(study) for study, _ in chosen} != {id(study) for study in studies} or len(windows) != 1:
        return None
    # Trials of several studies may have one number: here each is numbered anew.
    keys = {str(number): _key(study, str(finalist.trial)) for number, (study, finalist) in enumerate(chosen)}
    finalists = [replace(finalist, trial=number) for number, (_, finalist) in enumerate(chosen)]
    frames = {str(number): study.verified[str(finalist.trial)] for number, (study, finalist) in enumerate(chosen)}
    for study in studies:
        baselines = [name for name in study.selection.weights if not name.isdigit()]
        frames |= {name: study.verified[name] for name in baselines if name in study.verified}
    job = chosen[0][0].job
    selection = select(
        finalists,
        frames,
        job.searched.frame[["unique_id", "ds", "y"]],
        most_members=phases.most_members(job),
        is_quantile=any(phases.has_quantiles(frame) for frame in frames.values()),
    )
    best = chosen[selection.winner][0]
    return best, {keys.get(name, name): weight for name, weight in selection.weights.items()}


def _key(study: EvaluatedStudy, name: str) -> str:
    """Return the name of a candidate among those of all studies; a baseline is the same in each."""
    return f"{study.stored.name} {name}" if name.isdigit() else name


def _with_holdout(studies: Sequence[EvaluatedStudy], weights: Mapping[str, float]) -> dict[str, float]:
    """Return the weights of the members that the holdout has judged: the verdict is on what is delivered.

    None are left where a budget ended before the member with the largest weight was judged: a verdict is not worth a
    worse forecast.
    """
    judged = {_key(study, name) for study in studies for name in study.held_out}
    kept = {name: weight for name, weight in weights.items() if name in judged}
    total = sum(kept.values())
    fitted = {_key(study, str(finalist.trial)) for study in studies for finalist in study.finalists}
    is_worse = not kept or max(weights.values()) > max(kept.values())
    return {} if is_worse or not fitted & kept.keys() else {name: weight / total for name, weight in kept.items()}


def _as_members(studies: Sequence[EvaluatedStudy], weights: Mapping[str, float]) -> list[Member]:
    by_key = {_key(study, str(finalist.trial)): (study, finalist) for study in studies for finalist in study.finalists}
    ordered = sorted(weights.items(), key=lambda item: -item[1])
    models = [by_key[key][0].job.model.name for key, _ in ordered if key in by_key]
    members, numbers = [], dict.fromkeys(models, 0)
    for key, weight in ordered:
        if key not in by_key:
            members.append(Member(key, weight))
            continue
        study, finalist = by_key[key]
        model = study.job.model.name
        numbers[model] += 1
        name = f"{model}_{numbers[model]}" if models.count(model) > 1 else model
        members.append(Member(name, weight, study, finalist))
    return members
