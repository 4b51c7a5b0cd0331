"""The comparison of test errors: its pairs, its arithmetic, its tables, and one short run."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from castpool.workers.evaluation.verdict import Comparison, Competitor, Verdict
from castpool.workers.results.judge import DEFAULT, SINGLE
from tests.benchmarks.holdout.ratios import Ratios, Runs
from tests.benchmarks.holdout.runs import (
    AUTOGLUON,
    BASELINES,
    CASTPOOL,
    CASTPOOL_AUTO,
    DELIVERED,
    NAIVE,
    Judgement,
    Run,
    baseline_names,
    judgements,
    read_runs,
)
from tests.benchmarks.holdout.table import error_table, pair_ratio_table, ratio_table, verdict_table
from tests.benchmarks.time_to_loss.pairs import DEVELOPMENT, PAIRS, REPORTED, USUAL, Pair
from tests.benchmarks.time_to_loss.records import Record


def verdict(**gains: tuple[float, float, float]) -> Verdict:
    """Return a verdict on an ensemble, with the gain and its interval over each other forecast."""
    names = {"single": SINGLE, "default": DEFAULT, "naive": NAIVE, "AutoETS": "AutoETS"}
    kinds = {"single": "winner", "default": "default"}
    competitors = [Competitor("ensemble", "ensemble", "", {})]
    competitors += [Competitor(names[name], kinds.get(name, "baseline"), "", {}) for name in gains]
    comparisons = [Comparison(names[name], *values) for name, values in gains.items()]
    return Verdict("mae", 1, 5, 60, "ensemble", competitors, comparisons)


def run(
    seed: int,
    delivered: float,
    pair: str = "a-B",
    system: str = CASTPOOL,
    judged: Verdict | None = None,
    **other: float,
) -> Run:
    """Return a run; ``other`` are the errors of ``single`` and ``default``."""
    errors = {DELIVERED: delivered, **{{"single": SINGLE, "default": DEFAULT}[name]: other[name] for name in other}}
    phases = {"verification": 60.0, "holdout": 70.0, "done": 80.0}
    working = {"training": 90.0, "evaluation": 50.0, "idle": 4.0, "unknown": 16.0}
    stored = None if judged is None else judged.to_json()
    return Run(system, pair, seed, 100.0, errors, phases, working, stored, {"members": [{}, {}]})


@pytest.fixture
def runs() -> list[Run]:
    """Return runs of two pairs; naive is better on the second."""
    good = verdict(single=(0.1, 0.05, 0.2), default=(0.1, -0.1, 0.2), naive=(0.5, 0.4, 0.6), AutoETS=(-0.2, -0.3, -0.1))
    return [
        run(1, 1.0, judged=good, single=2.0, default=1.0),
        run(2, 2.0, judged=good, single=2.0, default=4.0),
        run(1, 6.0, "c-D", judged=verdict(naive=(0.1, 0.05, 0.2)), single=5.0),
        Run(BASELINES, "a-B", 0, 0.0, {NAIVE: 4.0, "AutoETS": 3.0}),
        Run(BASELINES, "c-D", 0, 0.0, {NAIVE: 3.0}),
        *(Run.from_record(Record("careful", "a-B", seed, 90.0, [], test=test)) for seed, test in ((4, 2.0), (5, None))),
        Run.from_record(Record("careful", "a-B", 6, 90.0, [], test=2.0)),
        run(1, 3.0, system=CASTPOOL_AUTO),
        run(1, 4.0, system=AUTOGLUON),
    ]


def test_ratios_are_over_runs_of_the_same_order_of_seeds(runs: list[Run]) -> None:
    found = {ratios.label: ratios for ratios in Runs(runs).all_ratios()}
    careful = found["(1b) Auto by a careful user"]
    assert careful.by_pair == {"a-B": [0.5, 1.0]}, "a peer without a forecast is left out"
    single = found["the single best of the same run"]
    assert single.by_pair == {"a-B": [0.5, 1.0], "c-D": [1.2]}
    assert single.mean == pytest.approx(math.sqrt(math.sqrt(0.5) * 1.2)), "each pair counts the same"
    assert (single.median, single.at_most_one) == (1.0, 2)
    assert single.worst[0] == "c-D" and single.worst[1] == pytest.approx(1.2)
    assert found["the default configuration"].by_pair == {"a-B": [1.0, 0.5]}
    assert found[NAIVE].by_pair == {"a-B": [0.25, 0.5], "c-D": [2.0]}
    assert found["AutoGluon medium_quality; castpool with --model auto"].by_pair == {"a-B": [0.75]}
    assert "(2) Ray Tune with ASHA" not in found, "it was not run"


def test_an_interval_holds_the_median_and_needs_more_than_one_run() -> None:
    ratios = Ratios("of test", {"a": [0.8, 0.9, 1.0], "b": [0.7, 1.1, 0.95]})
    assert ratios.interval is not None
    low, high = ratios.interval
    assert 0.7 <= low < ratios.median < high <= 1.1
    assert ratios.interval == ratios.interval, "the resamples are those of one seed"
    assert Ratios("of one", {"a": [0.8]}).interval is None


def test_a_verdict_is_right_where_the_windows_after_it_agree(runs: list[Run]) -> None:
    first, second = (list(judgements(found, {NAIVE: 4.0, "AutoETS": 3.0})) for found in runs[:2])
    assert first == [
        Judgement(SINGLE, is_certain=True, is_right=True),
        Judgement(DEFAULT, is_certain=False, is_right=False),  # it is exactly as good
        Judgement(NAIVE, is_certain=True, is_right=True),
        Judgement("AutoETS", is_certain=True, is_right=False),
    ]
    assert [judgement.is_right for judgement in second] == [False, True, True, False]
    assert [judgement.against for judgement in judgements(runs[0], {})] == [SINGLE, DEFAULT]
    assert list(judgements(run(1, 1.0), {NAIVE: 4.0})) == []
    assert baseline_names(runs[0]) == ["SeasonalNaive", "AutoETS"]
    assert baseline_names(run(1, 1.0)) == ["SeasonalNaive"]


def test_shares_of_time_are_of_the_budget_and_of_the_workers_time() -> None:
    assert run(1, 1.0).verification_share == pytest.approx(0.2)
    assert run(1, 1.0).busy_share == pytest.approx(140 / 160)
    empty = Run(CASTPOOL, "a-B", 1, 90.0)
    assert (empty.verification_share, empty.busy_share) == (None, None)


def test_tables_have_a_line_for_each_pair_and_comparison(runs: list[Run]) -> None:
    shown = Runs(runs)
    errors = error_table(shown).splitlines()
    assert errors[0] == (
        "| pair | runs | castpool | its single best | default | seasonal naive | best other baseline | (1b) "
        "| castpool, --model auto | AutoGluon |"
    )
    assert errors[2:] == [
        "| a-B | 2 | 1.5 | 2 | 2.5 | 4 | 3 | 2 | 3 | 4 |",
        "| c-D | 1 | 6 | 5 | - | 3 | - | - | - | - |",
    ]
    ratios = ratio_table(shown).splitlines()
    assert ratios[2].startswith(
        "| (1b) Auto by a careful user | 1 | 2 | 0.707 | 0.750 | 0.500 to 1.000 | 2 of 2 | a-B, 0.707 |"
    )
    assert len(ratios) == 2 + len(shown.all_ratios())
    assert pair_ratio_table(shown).splitlines()[3] == "| c-D | - | 1.200 | - | 2.000 | - |"
    verdicts = verdict_table(shown).splitlines()
    assert verdicts[2] == "| a-B | 4 of 8 | 3 of 6 | 20% | 88% | 80.0 | 2.0 |"
    assert verdicts[4] == "| all | 4 of 9 | 3 of 7 | 20% | 88% | 80.0 | 2.0 |"
    assert verdicts[5] == "| all, with --model auto | - | - | 20% | 88% | 80.0 | 2.0 |"
    assert f"| all, beside {NAIVE} | 2 of 3 | 2 of 3 | - | - | - | - |" in verdicts
    for table in (errors, ratios, pair_ratio_table(shown).splitlines(), verdicts):
        assert len({line.count("|") for line in table}) == 1


def test_runs_are_read_as_they_were_kept(tmp_path: Path, runs: list[Run]) -> None:
    file = tmp_path / "folder" / "runs.jsonl.xz"
    assert read_runs(file) == {}
    for kept in (runs[0], runs[1], runs[0]):
        kept.add_to(file)
    assert read_runs(file) == {kept.key: kept for kept in runs[:2]}


def test_rules_are_not_tuned_on_what_is_reported() -> None:
    def columns(pair: Pair) -> set[tuple[str, str, int]]:
        numbers = range(6) if pair.part is None else range(pair.part[0] - 1, 6, pair.part[1])
        return {(pair.data, pair.target, number) for number in numbers}

    assert len(REPORTED) == 11 and REPORTED[:6] == USUAL
    reported = set().union(*(columns(PAIRS[name]) for name in REPORTED))
    developed = set().union(*map(columns, DEVELOPMENT.values()))
    assert not reported & developed
    assert not DEVELOPMENT.keys() & PAIRS.keys()


@pytest.mark.shared_data
@pytest.mark.parametrize(
    "pair", [*(PAIRS[name] for name in REPORTED[6:]), *DEVELOPMENT.values()], ids=lambda pair: pair.name
)
def test_a_pair_has_whole_series_and_test_windows_after_them(pair: Pair) -> None:
    frame, test = pair.read()
    assert list(frame.columns) == ["unique_id", "ds", "y"]
    assert not frame["y"].isna().any() and not test["y"].isna().any()
    assert (test.groupby("unique_id").size() == pair.tested * pair.horizon).all()
    assert (frame.groupby("unique_id")["ds"].max() < test.groupby("unique_id")["ds"].min()).all()
    assert frame.groupby("unique_id").size().min() >= 10 * pair.horizon, "room for holdout, verification and validation"


@pytest.mark.slow
@pytest.mark.acceptance
def test_a_short_run_is_recorded_and_shown_again(database: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.benchmarks.holdout", "--quick", "--out", str(tmp_path)]
    environment = {**os.environ, "CASTPOOL_STORAGE": database}
    root = Path(__file__).parents[2]
    first = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=300)
    assert first.returncode == 0, first.stderr
    again = subprocess.run(
        [*command, "--recorded"], cwd=root, env=environment, capture_output=True, text=True, timeout=60
    )
    assert again.stdout == first.stdout
    found = read_runs(tmp_path / "holdout-20s.jsonl.xz")[("demo-MLP", 1, CASTPOOL)]
    assert found.errors[DELIVERED] > 0 and SINGLE in found.errors
    assert found.verdict is not None and found.phases["done"] < 60
