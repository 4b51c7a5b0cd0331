"""What each phase evaluates, and what of it counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import optuna
import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from castpool import attributes
from castpool.storage.budget.evaluations import Evaluation
from castpool.storage.budget.outcome import Outcome
from castpool.storage.budget.phase import Phase
from castpool.workers.evaluation import phases
from castpool.workers.evaluation.selection import Selection
from castpool.workers.evaluation.task import EvaluationTask
from castpool.workers.evaluation.windows import verification_windows
from castpool.workers.spec.job import Job

Make = Callable[..., Job]
ENOUGH = 1e6


def ended(n_trials: int, seconds: float = 1.0) -> list[FrozenTrial]:
    """Return completed trials; the first one is the default configuration, and the worst."""
    trials = []
    for number in range(n_trials):
        attrs = {
            attributes.CONFIG: {"width": number},
            attributes.TRAINING_SECONDS: seconds,
            attributes.BEST_STEP: 4,
            attributes.ATTEMPT: {"slot": number, "attempt": 1},
        }
        value = 9.0 if number == 0 else float(number)
        trial = optuna.trial.create_trial(
            state=TrialState.COMPLETE, value=value, user_attrs=attrs, intermediate_values={4: value}
        )
        trial.number = number
        trials.append(trial)
    return trials


def test_the_best_are_verified_first_at_the_newest_origin(job: Make) -> None:
    made = job(finalists=3)
    tasks, record = phases.plan_verification(made, ended(6), ENOUGH)
    trials = [task for task in tasks if task.baseline is None]
    behind = [windows.behind for windows in verification_windows(made)]
    assert [(task.origin, task.trial, task.behind) for task in trials[:4]] == [(0, n, behind[0]) for n in (1, 2, 3, 4)]
    assert {task.trial for task in trials} >= {0}, "the default configuration is always judged"
    assert {task.origin for task in tasks} == {0, 1}
    assert {task.candidate for task in tasks if task.baseline} == set(phases.baselines(made))
    assert len({repr(task.to_json()) for task in tasks}) == len(tasks)
    finalists = phases.read_finalists(record)
    assert [finalist.trial for finalist in finalists][:3] == [1, 2, 3]
    assert finalists[-1].is_default


def test_what_time_does_not_allow_is_not_planned(job: Make) -> None:
    tasks, record = phases.plan_verification(job(), ended(5, seconds=100.0), 5.0)
    assert tasks == []
    assert record["origins"] == 0
    assert phases.read_finalists(record), "the holdout may be judged all the same"


def test_nothing_is_planned_without_a_completed_trial(job: Make) -> None:
    assert phases.plan_verification(job(), [], ENOUGH) == ([], {})


def test_the_default_configuration_alone_is_not_verified_but_judged(job: Make) -> None:
    made = job(holdout=4, val_size=4)
    (trial,) = ended(1)
    tasks, record = phases.plan_verification(made, [trial], ENOUGH)
    assert tasks == []
    held_out = phases.plan_holdout(made, record, Selection(trial.number, {str(trial.number): 1.0}, {}, ""))
    assert [task.trial for task in held_out if task.baseline is None] == [trial.number]
    assert "SeasonalNaive" in [task.baseline for task in held_out]


def test_the_holdout_judges_the_winner_the_members_the_default_and_the_baselines_once(job: Make) -> None:
    made = job()
    _, record = phases.plan_verification(made, ended(6), ENOUGH)
    selection = Selection(2, {"2": 0.5, "1": 0.25, "SeasonalNaive": 0.25}, {}, "")
    tasks = phases.plan_holdout(made, record, selection)
    names = [task.candidate for task in tasks]
    assert names == ["2", "1", "0", *phases.baselines(made)]
    assert {(task.phase, task.origin, task.behind) for task in tasks} == {(Phase.HOLDOUT, 0, made.spec.holdout)}
    assert all(task.step == 4 for task in tasks if task.baseline is None)
    assert phases.plan_holdout(job(holdout=0), record, selection) == []


def forecasts_of(job: Job, origin: int, error: float) -> pd.DataFrame:
    """Return forecasts of the windows of an origin that are wrong by so much."""
    windows, horizon = verification_windows(job)[origin], job.spec.horizon
    frames = []
    for name, series in job.series.frame.groupby("unique_id"):
        for window in range(windows.count(horizon)):
            first = len(series) - windows.behind + window * windows.distance
            rows = series.iloc[first : first + horizon]
            frames.append(
                pd.DataFrame(
                    {
                        "unique_id": name,
                        "ds": rows["ds"].to_numpy(),
                        "cutoff": series["ds"].iloc[first - 1],
                        "forecast": rows["y"].to_numpy() + error,
                    }
                )
            )
    return pd.concat(frames, ignore_index=True)


def evaluation(job: Job, candidate: int | str, origin: int, outcome: Outcome | None = Outcome.COMPLETE) -> Evaluation:
    """Return a stored evaluation; its artifact's name says whose it is."""
    trial, baseline = (candidate, None) if isinstance(candidate, int) else (None, candidate)
    behind = verification_windows(job)[origin].behind
    task = EvaluationTask(Phase.VERIFICATION, trial, 4, baseline, origin, behind)
    return Evaluation(task.to_json(), outcome, None, f"{candidate} {origin}" if outcome == Outcome.COMPLETE else None)


def test_an_older_origin_counts_where_all_have_it(job: Make) -> None:
    made = job()

    def read(artifact: str) -> pd.DataFrame:
        return forecasts_of(made, int(artifact.split()[1]), 1.0)

    whole = [evaluation(made, trial, origin) for origin in (0, 1) for trial in (1, 2)]
    frames = phases.verification_frames(made, 2, whole, read)
    assert {name: frame["cutoff"].nunique() for name, frame in frames.items()} == {"1": 2, "2": 2}
    cut = [*whole[:3], evaluation(made, 2, 1, None)]
    frames = phases.verification_frames(made, 2, cut, read)
    assert {name: frame["cutoff"].nunique() for name, frame in frames.items()} == {"1": 1, "2": 1}
    failed = [evaluation(made, 1, 0), evaluation(made, 2, 0, Outcome.FAILED), *whole[2:]]
    frames = phases.verification_frames(made, 2, failed, read)
    assert {name: frame["cutoff"].nunique() for name, frame in frames.items()} == {"1": 2}
    assert phases.verification_frames(made, 0, whole, read) == {}


def test_the_selection_does_not_depend_on_the_holdout(job: Make, panel: pd.DataFrame) -> None:
    def decide(made: Job) -> Selection:
        def read(artifact: str) -> pd.DataFrame:
            candidate, origin = artifact.split()
            frame = forecasts_of(made, int(origin), 0.0)
            is_wrong = (frame["unique_id"] == "series-0") == (candidate == "1")
            return frame.assign(forecast=frame["forecast"] + 3.0 * is_wrong)

        _, record = phases.plan_verification(made, ended(4), ENOUGH)
        done = [evaluation(made, trial, origin) for origin in (0, 1) for trial in (1, 2)]
        return phases.select_members(made, record, done, read)

    # One series is huge in the holdout: were its size known, an error in it would be a small one.
    is_held_out = panel.groupby("unique_id").cumcount(ascending=False) < 4
    is_huge = is_held_out & (panel["unique_id"] == "series-0")
    first, second = (decide(job(table=panel.assign(y=panel["y"].where(~is_huge, to)), holdout=4)) for to in (0.0, 1e6))
    assert first == second
    assert first.scores["2"] == 1.0
    assert first.scores["1"] > 1.1


def test_the_members_may_be_neural_only_and_must_have_the_same_columns(job: Make) -> None:
    made = job()
    _, record = phases.plan_verification(made, ended(4), ENOUGH)
    done = [evaluation(made, name, origin) for origin in (0, 1) for name in (1, 2, "SeasonalNaive")]
    errors = {"1": 3.0, "2": 3.5, "SeasonalNaive": -1.0}

    def read(artifact: str) -> pd.DataFrame:
        name, origin = artifact.split()
        return forecasts_of(made, int(origin), errors[name])

    def read_intervals(artifact: str) -> pd.DataFrame:
        frame = read(artifact)
        return frame if "Naive" in artifact else frame.assign(**{"forecast-lo-80": 0.0, "forecast-hi-80": 99.0})

    def weights(of: Job, how: Callable[[str], pd.DataFrame]) -> set[str]:
        return set(phases.select_members(of, record, done, how).weights)

    assert "SeasonalNaive" in phases.select_members(made, record, done, read).scores
    neural = replace(made, spec=made.spec.model_copy(update={"members": "neural"}))
    assert weights(neural, read) <= {"1", "2"}
    assert weights(made, read_intervals) <= {"1", "2"}
