"""The windows of a backtest: exactly the asked cutoffs, each forecast from what was known before it."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from castpool.sampler_policies.errors import InputError
from castpool.storage.budget.phase import Phase
from castpool.workers.evaluation.backtest_windows import (
    BacktestRequest,
    BacktestWindows,
    choose_windows,
    plan_tasks,
    windows_of,
)
from castpool.workers.evaluation.task import EvaluationTask

LENGTHS = pd.Series({"long": 100, "short": 60})

small = st.integers(1, 9)


@given(small, small, small, small)
def test_the_tasks_cover_exactly_the_asked_cutoffs_and_see_nothing_after_them(
    horizon: int, number: int, refit_every: int, step_size: int
) -> None:
    asked = BacktestWindows(horizon, number, refit_every, step_size)
    length = asked.size + 5
    cutoffs: list[int] = []
    for task in plan_tasks(asked, [(3, 40)], []):
        windows = windows_of(task, horizon)
        begins = length - task.behind  # observations that the training sees
        found = [begins + window * windows.distance for window in range(windows.count(horizon))]
        assert windows.count(horizon) == task.windows
        assert min(found) == begins, "no window begins before the end of the training"
        assert max(found) + horizon == length - windows.remaining <= length
        assert len(found) <= refit_every
        cutoffs += found
    assert sorted(cutoffs) == [length - horizon - window * step_size for window in reversed(range(number))]


@given(small, small, small, small)
def test_a_training_follows_after_so_many_windows(horizon: int, number: int, refit_every: int, step_size: int) -> None:
    trainings = BacktestWindows(horizon, number, refit_every, step_size).trainings
    counts = [training.count(horizon) for training in trainings]
    assert sum(counts) == number
    assert set(counts[:-1]) <= {refit_every}, "only the last training may have fewer windows"
    behind = [training.behind for training in trainings]
    assert behind == sorted(behind, reverse=True), "the oldest first"


@given(st.integers(1, 8), st.integers(1, 60), st.integers(10, 200), st.integers(1, 20))
def test_what_is_chosen_leaves_enough_for_a_training(horizon: int, fewest: int, shortest: int, step: int) -> None:
    lengths = pd.Series({"a": shortest, "b": shortest + 3})
    request = BacktestRequest(step_size=step)
    if shortest < fewest + horizon:
        with pytest.raises(InputError):
            choose_windows(request, horizon, lengths, fewest)
        return
    chosen, _ = choose_windows(request, horizon, lengths, fewest)
    assert 1 <= chosen.number <= 5
    assert shortest - chosen.size >= fewest
    assert chosen.number == 1 or shortest - chosen.size >= shortest // 2


def test_the_default_is_as_many_windows_as_leave_half_and_each_is_trained_for() -> None:
    chosen, sentence = choose_windows(BacktestRequest(), 12, LENGTHS, 24)
    assert chosen == BacktestWindows(12, 2, 1, 12)
    assert sentence == (
        "backtest: 2 windows, 12 observations apart (by default half of the shortest series is left for training), "
        "each configuration trained 2 times"
    )
    assert choose_windows(BacktestRequest(), 4, LENGTHS, 8)[0].number == 5
    once, sentence = choose_windows(BacktestRequest(3, 9, 6), 12, LENGTHS, 24)
    assert once == BacktestWindows(12, 3, 3, 6)
    assert sentence == "backtest: 3 windows, 6 observations apart, each configuration trained once"


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (BacktestRequest(windows=0), "windows: got 0; write a number of at least 1."),
        (BacktestRequest(refit_every=-1), "refit_every: got -1; write a number of at least 1."),
        (BacktestRequest(step_size=0), "step_size: got 0; write a number of at least 1."),
        (
            BacktestRequest(windows=4),
            "windows: got 4, which take 48 observations; series 'short' has 60 observations, which leaves 12 for "
            "training: write at most 3, beside the 24 observations that a training needs.",
        ),
        (
            BacktestRequest(windows=9),
            "windows: got 9, which take 108 observations; series 'short' has 60 observations, which leaves nothing for "
            "training: write at most 3, beside the 24 observations that a training needs.",
        ),
    ],
)
def test_what_cannot_work_is_refused_in_a_sentence(request_: BacktestRequest, message: str) -> None:
    with pytest.raises(InputError) as refused:
        choose_windows(request_, 12, LENGTHS, 24)
    assert str(refused.value) == message


def test_series_without_room_for_a_window_are_named() -> None:
    with pytest.raises(InputError, match=r"series 'short' has 60, which leaves no room for one beside the 50"):
        choose_windows(BacktestRequest(), 12, LENGTHS, 50)


def test_every_competitor_has_each_window_once_the_newest_first() -> None:
    asked = BacktestWindows(12, 3, 2, 6)
    tasks = plan_tasks(asked, [(3, 40), (0, 20), (3, 40)], ["SeasonalNaive"])
    assert [(task.candidate, task.behind, task.windows, task.distance) for task in tasks] == [
        *(("3", 12, 1, 12), ("0", 12, 1, 12), ("SeasonalNaive", 12, 1, 12)),
        *(("3", 24, 2, 6), ("0", 24, 2, 6), ("SeasonalNaive", 24, 2, 6)),
    ]


def test_a_task_is_read_as_it_was_written_and_others_are_written_as_before() -> None:
    task = EvaluationTask(Phase.BACKTEST, 3, 40, None, 0, 24, 2, 6)
    assert EvaluationTask.from_json(task.to_json()) == task
    assert task.seed(7) == 7
    before = {"phase": "verification", "trial": 3, "step": 40, "origin": 1, "behind": 12}
    assert EvaluationTask.from_json(before).to_json() == before


def test_windows_of_one_training_each_are_the_same_tasks_at_any_distance() -> None:
    few = plan_tasks(BacktestWindows(12, 2, 1, 12), [(3, 40)], [])
    more = plan_tasks(BacktestWindows(12, 5, 1, 6), [(3, 40)], [])
    assert set(few) <= set(more), "what was forecast for the first is not forecast again for the second"
