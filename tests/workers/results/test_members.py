"""The members of a result over the studies of a command, and the verdict on what they forecast together."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import numpy as np
import pandas as pd
import pytest
from utilsforecast import losses
from utilsforecast.evaluation import evaluate

from castpool.storage.study.studies import StoredStudy
from castpool.workers.evaluation.finalists import Finalist
from castpool.workers.evaluation.selection import Selection
from castpool.workers.evaluation.windows import Windows, holdout_windows, verification_windows
from castpool.workers.results.judge import judge
from castpool.workers.results.members import EvaluatedStudy, Member, choose_members
from castpool.workers.spec.job import Job

Make = Callable[..., Job]
SPEC = {"holdout": 8, "val_size": 7, "val_step_size": 1}


def forecasts(job: Job, windows: Windows, error: float, *, noise: float = 0.0) -> pd.DataFrame:
    """Return forecasts that are wrong by so much, and by normal noise."""
    generator, frames = np.random.default_rng(0), []
    for name, series in job.series.frame.groupby("unique_id"):
        for window in range(windows.count(job.spec.horizon)):
            first = len(series) - windows.behind + window * windows.distance
            rows = series.iloc[first : first + job.spec.horizon].reset_index(drop=True)
            wrong = rows["y"] + error + noise * generator.standard_normal(len(rows))
            cutoff = series["ds"].iloc[first - 1]
            frames.append(pd.DataFrame({"unique_id": name, "ds": rows["ds"], "cutoff": cutoff, "forecast": wrong}))
    return pd.concat(frames, ignore_index=True)


def study(job: Job, name: str, number: int, value: float, errors: dict[str, float]) -> EvaluatedStudy:
    """Return a study of two finalists and a baseline, each wrong by so much; the first is the winner."""
    trials = [int(name) for name in errors if name.isdigit()]
    finalists = [Finalist(trial, value + 0.1 * rank, 4, 1.0, trial == 0) for rank, trial in enumerate(trials)]
    windows, held_out = verification_windows(job)[0], holdout_windows(job)
    assert held_out is not None
    return EvaluatedStudy(
        stored=StoredStudy(number, name, {}, {}, {}, "", datetime.now(timezone.utc)),
        job=job,
        trials=None,  # type: ignore[arg-type]  # nothing here reads it
        finalists=finalists,
        selection=Selection(trials[0], {str(trials[0]): 0.75, str(trials[1]): 0.25}, {}, ""),
        verified={name: forecasts(job, windows, error) for name, error in errors.items()},
        held_out={name: forecasts(job, held_out, error, noise=0.3) for name, error in errors.items()},
    )


def test_members_of_one_study_are_numbered_by_weight(job: Make) -> None:
    only = study(job(**SPEC), "first", 1, 1.0, {"3": 1.0, "0": 2.0, "SeasonalNaive": 3.0})
    best, members = choose_members([only])
    assert best is only
    assert [(member.name, member.weight) for member in members] == [("MLP_1", 0.75), ("MLP_2", 0.25)]
    assert [member.finalist for member in members] == list(only.finalists)
    assert members[0].to_json() == {
        "name": "MLP_1", "weight": 0.75, "study": "first", "model": "MLP", "trial": 3, "step": 4, "value": 1.0,
    }  # fmt: skip


def test_over_two_studies_the_ensemble_is_chosen_from_both(job: Make) -> None:
    first = study(job(**SPEC), "first", 1, 1.0, {"3": 2.0, "0": 4.0, "SeasonalNaive": 9.0})
    second = study(job(**SPEC, model="NHITS", space={}), "second", 2, 1.01, {"3": -1.0, "5": 6.0, "SeasonalNaive": 9.0})
    best, members = choose_members([first, second])
    # Rank of the first's winner: (1 + 2) / 2; of the second's: (1.01 + 1) / 2.
    assert best is second
    assert {member.name: member.study for member in members} == {"NHITS": second, "MLP": first}
    # Half of the weights follow the verification, 2/3 and 1/3; the others are equal, without what was lucky before.
    assert {member.name: member.weight for member in members} == pytest.approx({"NHITS": 5 / 6, "MLP": 1 / 6}, abs=0.05)
    assert sum(member.weight for member in members) == pytest.approx(1)
    # The same numbers of trials are other configurations, and the order of the studies decides nothing.
    again, others = choose_members([second, first])
    assert (again, others) == (best, members)


def test_a_member_that_the_holdout_did_not_judge_is_left_out(job: Make) -> None:
    whole = study(job(**SPEC), "first", 1, 1.0, {"3": 1.0, "0": 2.0, "SeasonalNaive": 3.0})
    kept = {name: frame for name, frame in whole.held_out.items() if name != "0"}
    cut = EvaluatedStudy(**{**vars(whole), "held_out": kept})
    assert choose_members([cut])[1] == [Member("MLP", 1.0, cut, whole.finalists[0])]


@pytest.mark.parametrize("judged", ["0", "SeasonalNaive"])
def test_a_verdict_is_not_worth_a_worse_forecast(job: Make, judged: str) -> None:
    whole = study(job(**SPEC), "first", 1, 1.0, {"3": 1.0, "0": 2.0, "SeasonalNaive": 3.0})
    # The budget ended before the member with the largest weight was judged: all are members, and there is no verdict.
    cut = EvaluatedStudy(**{**vars(whole), "held_out": {judged: whole.held_out[judged]}})
    assert [member.weight for member in choose_members([cut])[1]] == [0.75, 0.25]
    assert judge(cut, choose_members([cut])[1], {}) is None


def test_the_verdict_is_that_of_utilsforecast_on_the_same_frame(job: Make) -> None:
    made = job(**SPEC)
    only = study(made, "first", 1, 1.0, {"3": 1.0, "0": -2.0, "SeasonalNaive": 3.0})
    best, members = choose_members([only])
    verdict = judge(best, members, {"ensemble": {"latency_ms": 2.0, "model_mb": 1.0}})
    assert verdict is not None
    assert (verdict.metric, verdict.n_series, verdict.n_windows, verdict.holdout) == ("mae", 3, 2, 8)
    assert verdict.chosen == "ensemble"
    found = {competitor.name: competitor.metrics for competitor in verdict.competitors}
    assert list(found) == ["ensemble", "single best", "default configuration", "seasonal naive"]

    keys = ["unique_id", "ds", "cutoff"]
    wide = only.held_out["3"][keys].merge(made.series.frame[["unique_id", "ds", "y"]], on=["unique_id", "ds"])
    aligned: dict[str, Any] = {name: frame["forecast"].to_numpy() for name, frame in only.held_out.items()}
    wide["single best"], wide["default configuration"] = aligned["3"], aligned["0"]
    wide["seasonal naive"] = aligned["SeasonalNaive"]
    wide["ensemble"] = 0.75 * aligned["3"] + 0.25 * aligned["0"]
    metrics = [losses.mae, losses.rmse, losses.smape]
    expected = evaluate(wide, metrics=metrics, models=list(found)).groupby("metric")[list(found)].mean()
    for name, values in found.items():
        for metric in ("mae", "rmse", "smape"):
            assert values[metric] == pytest.approx(expected.loc[metric, name]), (name, metric)
    assert [comparison.against for comparison in verdict.comparisons] == list(found)[1:]
    assert verdict.competitors[0].latency_ms == 2.0
    assert verdict.competitors[0].description == "75% MLP_1, 25% MLP_2"


def test_one_quantile_is_judged_beside_baselines_that_have_none(job: Make) -> None:
    made = job(**SPEC, loss={"name": "QuantileLoss", "q": 0.3})
    whole = study(made, "first", 1, 1.0, {"3": 1.0, "0": 2.0, "SeasonalNaive": 3.0})
    held_out = {
        name: frame.rename(columns={"forecast": "forecast_ql0.3"}) if name.isdigit() else frame
        for name, frame in whole.held_out.items()
    }
    only = EvaluatedStudy(**{**vars(whole), "held_out": held_out})
    verdict = judge(only, choose_members([only])[1], {})
    assert verdict is not None
    assert verdict.metric == "wql"
    # Too high by 1 and by 2 in 3 to 1 parts, against 3: the pinball loss is proportional to it.
    against = next(comparison for comparison in verdict.comparisons if comparison.against == "seasonal naive")
    assert against.gain == pytest.approx(1 - 1.25 / 3, abs=0.1)
