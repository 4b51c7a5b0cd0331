"""The sentence and the table of a verdict."""

from __future__ import annotations

import pytest

from castpool.workers.evaluation.verdict import Comparison, Competitor, Verdict
from castpool.workers.evaluation.verdict_text import format_sentence, format_table

NAIVE, DEFAULT = "seasonal naive", "default configuration"


def judged(*comparisons: Comparison, n_series: int = 20, n_windows: int = 2) -> Verdict:
    competitors = [
        Competitor("ensemble", "ensemble", "", {"mae": 88.0, "mase": 0.81, "coverage_level80": 0.78}, 12.5, 3.25),
        Competitor("single best", "winner", "", {"mae": 90.0, "mase": 0.83, "coverage_level80": 0.75}, 4.0, 1.0),
        Competitor(NAIVE, "baseline", "", {"mae": 100.0, "mase": 0.92}),
        Competitor("AutoETS", "baseline", "", {"mae": 95.0, "mase": 0.9}),
        Competitor(DEFAULT, "default", "", {"mae": 91.7, "mase": 0.85}),
    ]
    return Verdict("mae", n_series, n_windows, 24, "ensemble", competitors, comparisons)


@pytest.mark.parametrize(
    ("comparisons", "sentence"),
    [
        (
            [Comparison(NAIVE, 0.12, 0.07, 0.16), Comparison(DEFAULT, 0.04, -0.01, 0.08)],
            "better than seasonal naive by 12 % (95 % interval 7 to 16), "
            "better than the default configuration by 4 % (-1 to 8: not certain)",
        ),
        (
            [Comparison(NAIVE, 0.3, 0.2, 0.4), Comparison("AutoETS", 0.1, 0.05, 0.2)],
            "better than AutoETS by 10 % (95 % interval 5 to 20)",
        ),
        (
            [Comparison(DEFAULT, 0.04, 0.01, 0.08), Comparison(NAIVE, -0.25, -0.5, -0.1)],
            "seasonal naive is better on this data by 20 % (95 % interval 9 to 33): use it, or search longer",
        ),
        (
            [Comparison(DEFAULT, -0.0526, -0.1, 0.02), Comparison(NAIVE, 0.25, 0.1, 0.4)],
            "the default configuration is better on this data by 5 % (95 % interval -2 to 9: not certain): "
            "use it, or search longer",
        ),
        (
            [Comparison(NAIVE, 0.0, -0.02, 0.02)],
            "equal to seasonal naive (95 % interval -2 to 2)",
        ),
        (
            [Comparison(NAIVE, 0.12, 0.07, 0.16), Comparison("single best", -0.25, -0.5, 0.1)],
            "better than seasonal naive by 12 % (95 % interval 7 to 16); "
            "the single best alone is better here by 20 % (-11 to 33: not certain)",
        ),
        (
            [Comparison("single best", 0.1, 0.0, 0.2)],
            "nothing to compare with: neither the default configuration nor a baseline was judged",
        ),
    ],
)
def test_the_sentence(comparisons: list[Comparison], sentence: str) -> None:
    assert format_sentence(judged(*comparisons)) == sentence


@pytest.mark.parametrize(
    ("n_series", "n_windows", "doubt"),
    [(1, 1, "one window of one series"), (1, 3, "3 windows of one series"), (2, 2, "2 windows of each of 2 series")],
)
def test_too_few_windows_are_named(n_series: int, n_windows: int, doubt: str) -> None:
    verdict = judged(Comparison(NAIVE, 0.12, None, None), n_series=n_series, n_windows=n_windows)
    sentence = format_sentence(verdict)
    assert sentence == f"better than seasonal naive by 12 %; {doubt}: how sure this is cannot be said"


def test_the_table() -> None:
    verdict = judged(
        Comparison("single best", 0.022, 0.01, 0.03),
        Comparison(NAIVE, 0.12, 0.07, 0.16),
        Comparison("AutoETS", 0.074, -0.01, 0.12),
        Comparison(DEFAULT, 0.04, None, None),
    )
    assert format_table(verdict).splitlines() == [
        "                        MAE  gain      95 %  MASE  in 80 %    ms    MB",
        "ensemble                 88                  0.81     78 %  12.5  3.25",
        "single best              90   2 %    1 to 3  0.83     75 %     4     1",
        "default configuration  91.7   4 %            0.85",
        "AutoETS                  95   7 %  -1 to 12   0.9",
        "seasonal naive          100  12 %   7 to 16  0.92",
    ]
