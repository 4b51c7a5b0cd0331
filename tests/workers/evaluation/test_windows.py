"""Where the windows lie: before the validation, and in the holdout; none of them beyond its origin."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from castpool.storage.budget.phase import Phase
from castpool.workers.evaluation.task import EvaluationTask
from castpool.workers.evaluation.windows import Windows, holdout_windows, verification_windows
from castpool.workers.spec.job import Job

Make = Callable[..., Job]


def test_origins_are_older_than_the_validation_and_follow_each_other(job: Make) -> None:
    made = job(holdout=8, val_size=4, val_step_size=1)
    # 8 of the holdout, 4 of the validation, then 4 for each origin; the third would leave less than half of the series.
    assert verification_windows(made) == (Windows(16, 4, 1), Windows(20, 4, 1))
    assert [windows.remaining for windows in verification_windows(made)] == [12, 16]


def test_windows_that_the_size_does_not_hold_whole_are_left_out(job: Make) -> None:
    (windows,) = verification_windows(job(holdout=4, val_size=11, val_step_size=4))
    assert windows == Windows(26, 8, 4)
    assert windows.count(horizon=4) == 2
    assert windows.remaining == 18


def test_windows_of_the_holdout_do_not_overlap(job: Make) -> None:
    assert holdout_windows(job(holdout=4)) == Windows(4, 4, 4)
    windows = holdout_windows(job(holdout=11))
    assert windows == Windows(8, 8, 4)
    assert (windows.count(4), windows.remaining) == (2, 0)
    assert holdout_windows(job(holdout=0)) is None


def test_without_finalists_there_are_no_origins(job: Make) -> None:
    assert verification_windows(job(finalists=0)) == ()


@pytest.mark.parametrize(
    "task",
    [
        EvaluationTask(Phase.VERIFICATION, 3, 40, None, 1, 12),
        EvaluationTask(Phase.HOLDOUT, None, 0, "SeasonalNaive", 0, 4),
    ],
)
def test_a_task_is_read_as_it_was_written(task: EvaluationTask) -> None:
    assert EvaluationTask.from_json(task.to_json()) == task


def test_another_origin_has_another_seed_and_the_holdout_that_of_the_study() -> None:
    seeds = [EvaluationTask(Phase.VERIFICATION, 0, 9, None, origin, 12).seed(2**32 - 2) for origin in (0, 1)]
    assert seeds == [2**32 - 1, 0]
    assert EvaluationTask(Phase.HOLDOUT, 0, 9, None, 0, 4).seed(7) == 7
