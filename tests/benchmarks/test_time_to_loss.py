"""The arithmetic of the comparison: which losses count as reached, when, and what the tables show."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from castpool.sampler_policies.optimizations import OPTIMIZATIONS
from castpool.storage.store import Store
from tests.benchmarks.ablation import SWITCHES, build_variants
from tests.benchmarks.ablation_tables import ALL, NONE, PARTS, SWITCHED, effect_table, final_loss_table, repeat_table
from tests.benchmarks.time_to_loss.pairs import PAIRS
from tests.benchmarks.time_to_loss.records import MEASURED, Finished, Record, best_over_time, read_records
from tests.benchmarks.time_to_loss.rolling import mean_absolute_error, naive, rolling_error, windows
from tests.benchmarks.time_to_loss.spread import spread_tables
from tests.benchmarks.time_to_loss.systems import BASELINES, OURS, SYSTEMS, BestCheck
from tests.benchmarks.time_to_loss.table import Comparison, loss_ratio, time_ratio, was_reached

DOCS = MEASURED.parent / "benchmarks.md"


def record(system: str, *curve: tuple[float, float], test: float | None = None, pair: str = "a-B") -> Record:
    return Record(system, pair, 1, 100.0, list(curve), trials=len(curve), steps=10 * len(curve), test=test)


def test_a_curve_only_falls_and_ends_with_the_budget() -> None:
    found = [
        Finished(30, 5.0, {"a": 3}),
        Finished(10, 7.0, {"a": 1}),
        Finished(20, 8.0, {}),
        Finished(40, math.nan, {}),
    ]
    assert best_over_time([*found, Finished(101, 1.0, {"a": 4})], 100) == ([(10, 7.0), (30, 5.0)], {"a": 3})
    assert best_over_time([], 100) == ([], None)


def test_checks_count_when_they_were_made_if_the_study_came_to_them(store: Store) -> None:
    checks = BestCheck(store, "none of that name")
    checks.seen = [(5.0, 9.0), (7.0, 4.0), (58.0, 3.0), (59.0, 2.0)]
    # A training that was at 2 was lost; the one at 3 was complete a second after the budget had ended.
    assert checks.join_curves([(20.0, 5.0)], 3.0) == [(5.0, 9.0), (7.0, 4.0), (58.0, 3.0)]
    assert checks.join_curves([], 9.0) == [(5.0, 9.0)]


def test_ratios_of_time_and_loss() -> None:
    peer, ours = record("auto", (20, 9.0), (80, 4.0)), record("castpool", (10, 5.0), (16, 4.0), (50, 3.0))
    assert time_ratio(ours, peer) == 16 / 80
    assert was_reached(ours, peer) and not was_reached(peer, ours)
    assert loss_ratio(ours, peer) == 3 / 4
    assert (ours.loss_at(15), ours.loss_at(5)) == (5.0, math.inf)


def test_what_was_never_reached_counts_as_the_whole_budget() -> None:
    assert time_ratio(record("castpool", (10, 5.0)), record("auto", (20, 4.0))) == 100 / 20
    assert time_ratio(record("castpool"), record("auto", (50, 4.0))) == 2


def test_a_peer_without_a_trial_is_matched_by_our_first() -> None:
    peer, ours = record("auto"), record("castpool", (10, 5.0), (20, 4.0))
    assert time_ratio(ours, peer) == 10 / 100
    assert math.isnan(loss_ratio(ours, peer))


def test_tables_have_a_line_a_system_and_means_over_pairs(tmp_path: Path) -> None:
    records = [
        *(record(system, (40, 4.0), test=2.0) for system in SYSTEMS if system not in OURS),
        record("castpool", (10, 4.0), (20, 2.0), test=1.0),
        record("typed", (10, 1.0), test=0.5),
        record("naive", test=3.0),
        record("auto", pair="c-D"),
        record("castpool", (90, 1.0), pair="c-D"),
    ]
    comparison = Comparison(records)
    cells = [line.split(" | ") for line in comparison.ratios().splitlines()]
    assert {len(line) for line in cells[2:]} == {7}
    assert "| a-B | (1) Auto as typed | 0.250 | 1 of 1 | 0.500 | 0.500 | 0.250 |" in comparison.ratios()
    assert (
        f"| all, geometric mean | (1) Auto as typed | {math.sqrt(0.25 * 0.9):.3f} |  | 0.500 | 0.500 | 0.250 |"
        in comparison.ratios()
    )
    assert f"| a-B | {BASELINES['naive']} | - | - | - | 0.333 | 0.167 |" in comparison.ratios()
    assert "| c-D | (1) Auto as typed | - | - | 0.0 | 0 |" in comparison.losses()
    assert f"| a-B | {SYSTEMS['typed']} | - | 0.5 |" in comparison.losses(), "its loss is one on other windows"
    assert [path.name for path in comparison.plot(tmp_path)] == ["a-B.png", "c-D.png"]


def test_records_are_read_as_they_were_kept(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "records.jsonl.xz"
    assert read_records(file) == {}
    one, other = record("script", (1.5, 2.5), test=0.5), replace(record("castpool"), variant=NONE)
    one.add_to(file)
    other.add_to(file)
    assert read_records(file) == {("a-B", 1, "script", ""): one, ("a-B", 1, "castpool", NONE): other}


def test_the_test_windows_are_held_out_and_each_follows_what_is_known() -> None:
    pair = PAIRS["demo-MLP"]
    frame, test = pair.read()
    assert (len(test), len(frame)) == (24, 120)
    assert frame["ds"].max() < test["ds"].min()
    (first, early), (second, late) = windows(pair, frame, test)
    assert first.equals(frame) and pd.concat([early, late], ignore_index=True).equals(test)
    assert second.equals(pd.concat([frame, early], ignore_index=True))
    forecast = naive(pair, second)
    assert forecast["naive"].tolist() == early["y"].tolist(), "a season repeats"
    assert forecast["ds"].tolist() == late["ds"].tolist()
    error = abs(late["y"] - early["y"]).mean()
    assert mean_absolute_error(late, forecast) == pytest.approx(error)
    before = abs(early["y"].to_numpy() - frame["y"].tail(12).to_numpy()).mean()
    assert rolling_error(pair, frame, test, lambda known: naive(pair, known)) == pytest.approx((error + before) / 2)


def test_each_window_has_every_series(several: pd.DataFrame) -> None:
    pair = replace(PAIRS["demo-MLP"], horizon=2, season=1, tested=2)
    frame, test = several.groupby("unique_id").head(6), several.groupby("unique_id").tail(4)
    for (_, actual), expected in zip(windows(pair, frame, test), ([6, 7, 16, 17], [8, 9, 18, 19]), strict=True):
        assert actual["y"].tolist() == expected
    with pytest.raises(ValueError, match="the forecast is of 2 of 4 points"):
        mean_absolute_error(actual, actual[actual["unique_id"] == "a"].assign(model=1.0)[["unique_id", "ds", "model"]])


@pytest.fixture
def several() -> pd.DataFrame:
    days = pd.date_range("2020", periods=10, freq="D")
    return pd.concat(
        [
            pd.DataFrame({"unique_id": series, "ds": days, "y": range(first, first + 10)})
            for series, first in (("a", 0), ("b", 10))
        ],
        ignore_index=True,
    )


def test_naive_forecasts_of_a_horizon_longer_than_the_season() -> None:
    frame = pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2020", periods=6, freq="D"), "y": range(6)})
    pair = replace(PAIRS["demo-MLP"], horizon=5, freq="D", season=2)
    assert naive(pair, frame)["naive"].tolist() == [4, 5, 4, 5, 4]


def test_an_ablation_has_a_line_for_each_optimization_with_both_ways() -> None:
    whole, none = record("castpool", (7, 3.0), (8, 2.0)), record("castpool", (80, 4.0))
    without, alone = record("castpool", (20, 3.0)), record("castpool", (40, 4.0))
    found = {ALL: whole, NONE: none, "without ordered-space": without, "ordered-space alone": alone}
    lines = effect_table({"a": {("a-B", 1, variant): run for variant, run in found.items()}}).splitlines()
    assert len(lines) == 3 + len(SWITCHED) + len(PARTS)
    assert (
        lines[2]
        == "| (all optimizations; no optimization) | 0.09 | 1 of 1 | 1.000 | 1.00 | 1.00 | 1 of 1 | 2.000 | 0.50 |"
    )
    assert "| ordered-space | 0.25 | 1 of 1 | 1.500 | 0.50 | 0.50 | 1 of 1 | 2.000 | 0.50 |" in lines
    assert "| sampler | - | - | - | - | - | - | - | - |" in lines


def test_repeated_ablations_are_shown_side_by_side() -> None:
    whole, without, unfinished = record("castpool", (8, 2.0)), record("castpool", (20, 3.0)), record("castpool")
    first = {("a-B", 1, ALL): whole, ("a-B", 1, "without sampler"): without}
    second = {("a-B", 1, ALL): without, ("a-B", 1, "without sampler"): without, ("a-B", 1, NONE): unfinished}
    assert "| sampler | 1.50, 1.00 | 1.22 |" in repeat_table({"a": first, "b": second})
    lines = final_loss_table({"a": first, "b": second}).splitlines()
    assert "| a | without sampler | 3 | - | - |" in lines, "nothing to compare the time with"
    assert "| b | no optimization | - | 1.00 | - |" in lines


def test_each_optimization_is_disabled_alone_and_enabled_alone() -> None:
    options = build_variants()
    assert tuple(SWITCHES) == SWITCHED
    assert options["without sampler"] == ["--sampler", "Random"]
    assert options["sampler alone"].count("--disable") == len(OPTIMIZATIONS)
    assert "--sampler" not in options["sampler alone"]


def recorded_comparison(table: str, *seeds: int) -> Comparison:
    """Return the recorded runs of these seeds."""
    records = read_records(MEASURED / f"{table}.jsonl.xz")
    chosen = [record for key, record in records.items() if key[1] in seeds]
    return Comparison(sorted(chosen, key=lambda record: list(PAIRS).index(record.pair)))


def recorded_ablation(*tables: str) -> dict[str, dict[tuple[str, int, str], Record]]:
    """Return the recorded ablations."""
    return {
        table: {
            (key[0], key[1], key[3]): record for key, record in read_records(MEASURED / f"{table}.jsonl.xz").items()
        }
        for table in tables
    }


def test_the_docs_show_the_tables_of_the_records() -> None:
    shown = DOCS.read_text()
    comparison = recorded_comparison("time-to-loss-90s", 1, 4, 5, 6, 7, 8, 9)
    assert comparison.losses() in shown
    assert comparison.ratios() in shown
    assert len(spread_tables(comparison)) == 3
    for table in spread_tables(comparison):
        assert table in shown
    older = spread_tables(recorded_comparison("time-to-loss-90s-before", 1, 2, 3))
    for table in older:
        assert table.splitlines()[2].replace("seeds 1 to 3", "an older comparison, seeds 1 to 3") in shown
    half_minute = recorded_ablation("ablation-30s", "ablation-30s-alone", "ablation-30s-sparing", "ablation-30s-grace")
    assert effect_table(half_minute) in shown
    assert repeat_table(half_minute) in shown
    assert final_loss_table(recorded_ablation("ablation-60s-grace", "ablation-60s")) in shown
