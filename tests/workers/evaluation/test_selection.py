"""What the verification decides: the winner, and the members with their weights."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from castpool.workers.evaluation.finalists import Finalist
from castpool.workers.evaluation.selection import Selection, select

N_WINDOWS, HORIZON = 12, 2
TIMES = pd.date_range("2024-01-01", periods=N_WINDOWS * HORIZON, freq="D")
ACTUAL = pd.DataFrame({"unique_id": "a", "ds": TIMES, "y": np.linspace(50.0, 60.0, len(TIMES))})
CUTOFFS = [TIMES[row // HORIZON * HORIZON] - pd.Timedelta(days=1) for row in range(len(TIMES))]


def forecasts(error: float, *, windows: int = N_WINDOWS) -> pd.DataFrame:
    """Return forecasts that are wrong by so much everywhere."""
    frame = ACTUAL[["unique_id", "ds"]].assign(cutoff=CUTOFFS, forecast=ACTUAL["y"] + error)
    return frame.head(windows * HORIZON)


def finalist(number: int, value: float, seconds: float = 10.0) -> Finalist:
    return Finalist(number, value, step=100, seconds=seconds, is_default=number == 0)


FINALISTS = [finalist(4, 1.0), finalist(2, 1.05), finalist(7, 1.1), finalist(0, 1.3)]


def test_the_winner_is_the_best_of_validation_and_verification_together() -> None:
    frames = {"4": forecasts(3.0), "2": forecasts(1.0), "7": forecasts(1.0), "0": forecasts(2.0)}
    selection = select(FINALISTS, frames, ACTUAL, most_members=5)
    assert selection.winner == 2
    # All have their errors on one side: greedy weights are those of the best alone. The equal weights of the best by
    # validation loss leave out 4, which was lucky in the search.
    assert selection.weights == pytest.approx({"2": 0.75, "7": 0.25})
    assert selection.scores == pytest.approx({"4": 3.0, "2": 1.0, "7": 1.0, "0": 2.0})
    assert selection.reason == "by the validation loss and 12 windows of the verification"


def test_opposite_errors_make_an_ensemble() -> None:
    frames = {"4": forecasts(2.0), "2": forecasts(-2.0), "7": forecasts(9.0)}
    selection = select(FINALISTS, frames, ACTUAL, most_members=5)
    assert (selection.winner, selection.weights) == (4, {"4": 0.5, "2": 0.5})
    assert selection.trials == [4, 2]


@pytest.mark.parametrize(("seconds", "winner"), [(4.0, 2), (6.0, 4)])
def test_a_tie_goes_to_the_cheaper_where_it_is_much_cheaper(seconds: float, winner: int) -> None:
    finalists = [finalist(4, 1.0), finalist(2, 1.001, seconds)]
    frames = {"4": forecasts(1.0), "2": forecasts(1.001)}
    assert select(finalists, frames, ACTUAL, most_members=1).winner == winner


def test_a_cheaper_one_that_is_worse_does_not_win() -> None:
    frames = {"4": forecasts(1.0), "2": forecasts(1.02)}
    assert select([finalist(4, 1.0), finalist(2, 1.0, 0.1)], frames, ACTUAL, most_members=1).winner == 4


@pytest.mark.parametrize("judged", [(), ("2",), ("2", "SeasonalNaive")])
def test_without_a_verification_the_validation_losses_decide(judged: tuple[str, ...]) -> None:
    selection = select(FINALISTS, {name: forecasts(0.1) for name in judged}, ACTUAL, most_members=5)
    assert selection.winner == 4
    assert selection.weights == pytest.approx({"4": 1 / 3, "2": 1 / 3, "7": 1 / 3})
    assert selection.scores == {}
    assert selection.reason == "by the validation loss of the search alone"


def test_without_a_verification_models_that_are_much_worse_are_not_averaged() -> None:
    worse = [finalist(4, 1.0), finalist(2, 1.1), finalist(7, 1.2), finalist(0, 9.0)]
    assert select(worse, {}, ACTUAL, most_members=5).weights == {"4": 0.5, "2": 0.5}
    # The ratio of two likelihoods means nothing.
    likelihoods = [finalist(4, -1.0), finalist(2, 0.5), finalist(7, 2.0)]
    assert list(select(likelihoods, {}, ACTUAL, most_members=5).weights) == ["4", "2", "7"]


def test_without_a_verification_no_more_are_averaged_than_the_holdout_judges() -> None:
    assert list(select(FINALISTS, {}, ACTUAL, most_members=5, most_judged=2).weights) == ["4", "2"]


def test_too_few_windows_give_equal_weights_to_the_best() -> None:
    frames = {str(one.trial): forecasts(1.0 + 0.2 * n, windows=3) for n, one in enumerate(FINALISTS[::-1])}
    selection = select(FINALISTS, frames, ACTUAL, most_members=5)
    # Ranks: 0 has (1.3 + 1) / 2, 7 has (1.1 + 1.2) / 2, 2 has (1.05 + 1.4) / 2, 4 has (1 + 1.6) / 2.
    assert selection.winner == 0
    assert selection.weights == pytest.approx({"0": 1 / 3, "7": 1 / 3, "2": 1 / 3})
    lucky = {**frames, "2": forecasts(2.0, windows=3)}
    assert select(FINALISTS, lucky, ACTUAL, most_members=5).weights == pytest.approx(
        {"0": 1 / 3, "7": 1 / 3, "4": 1 / 3}
    )
    assert "too few" in selection.reason


@pytest.mark.parametrize("windows", [0, 3, N_WINDOWS])
def test_an_ensemble_of_one_is_the_winner(windows: int) -> None:
    frames = {"4": forecasts(3.0, windows=windows), "2": forecasts(-1.0, windows=windows)} if windows else {}
    selection = select(FINALISTS, frames, ACTUAL, most_members=1)
    assert selection.weights == {str(selection.winner): 1.0}
    assert selection.winner == (2 if windows else 4)


def test_baselines_are_never_alone() -> None:
    frames = {"4": forecasts(3.0), "2": forecasts(3.0), "SeasonalNaive": forecasts(0.1)}
    selection = select(FINALISTS, frames, ACTUAL, most_members=5)
    assert selection.weights == {"SeasonalNaive": 0.5, "4": 0.25, "2": 0.25}
    assert selection.scores["SeasonalNaive"] == 1.0


def test_a_model_beside_baselines_takes_the_place_of_one() -> None:
    frames = {"4": forecasts(3.0), "2": forecasts(3.0), "SeasonalNaive": forecasts(0.1), "AutoETS": forecasts(-0.1)}
    assert select(FINALISTS, frames, ACTUAL, most_members=3).weights == pytest.approx(
        {"4": 1 / 3, "SeasonalNaive": 1 / 3, "AutoETS": 1 / 3}
    )
    selection = select(FINALISTS, frames, ACTUAL, most_members=2)
    assert set(selection.weights) == {"4", "SeasonalNaive"}


def test_the_ratios_of_a_likelihood_decide_nothing() -> None:
    finalists = [finalist(4, -9.0), finalist(2, -0.1)]
    frames = {"4": forecasts(1.2), "2": forecasts(1.0)}
    assert select(finalists, frames, ACTUAL, most_members=1).winner == 2


def test_one_quantile_alone_is_judged_as_that_quantile() -> None:
    frames = {
        name: forecasts(error).rename(columns={"forecast": "forecast_ql0.1"})
        for name, error in {"4": 1.0, "2": -2.0, "7": -3.0}.items()
    }
    selection = select(FINALISTS, frames, ACTUAL, most_members=1, is_quantile=True)
    # Too high by 1 costs 0.9, too low by 2 costs 0.2.
    assert selection.scores == pytest.approx({"4": 4.5, "2": 1.0, "7": 1.5})
    assert selection.winner == 2


def test_a_selection_is_read_as_it_was_written() -> None:
    selection = select(FINALISTS, {"4": forecasts(2.0), "2": forecasts(-2.0)}, ACTUAL, most_members=5)
    assert Selection.from_json(selection.to_json()) == selection
