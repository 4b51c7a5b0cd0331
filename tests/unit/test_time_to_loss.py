"""The arithmetic of the comparison: what counts as reached, when, and what a table makes of it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from sampler_policies.levers import LEVERS
from storage.store import Store
from tests.benchmarks.ablation import ALL, NONE, PARTS, SWITCHES, table, variants
from tests.benchmarks.time_to_loss.pairs import PAIRS
from tests.benchmarks.time_to_loss.records import Finished, Record, falling, kept
from tests.benchmarks.time_to_loss.rolling import mean_absolute_error, naive, rolling_error, windows
from tests.benchmarks.time_to_loss.systems import BASELINES, OURS, SYSTEMS, BestCheck
from tests.benchmarks.time_to_loss.table import Comparison, loss_ratio, time_ratio, was_reached


def record(system: str, *curve: tuple[float, float], test: float | None = None, pair: str = "a-B") -> Record:
    return Record(system, pair, 1, 100.0, list(curve), trials=len(curve), steps=10 * len(curve), test=test)


def test_a_curve_only_falls_and_ends_with_the_budget() -> None:
    found = [
        Finished(30, 5.0, {"a": 3}),
        Finished(10, 7.0, {"a": 1}),
        Finished(20, 8.0, {}),
        Finished(40, math.nan, {}),
    ]
    assert falling([*found, Finished(101, 1.0, {"a": 4})], 100) == ([(10, 7.0), (30, 5.0)], {"a": 3})
    assert falling([], 100) == ([], None)


def test_checks_count_when_they_were_made_if_the_study_came_to_them(store: Store) -> None:
    checks = BestCheck(store, "none of that name")
    checks.seen = [(5.0, 9.0), (7.0, 4.0), (58.0, 3.0), (59.0, 2.0)]
    # A training that was at 2 was lost; the one at 3 was complete a second after the budget had ended.
    assert checks.joined([(20.0, 5.0)], 3.0) == [(5.0, 9.0), (7.0, 4.0), (58.0, 3.0)]
    assert checks.joined([], 9.0) == [(5.0, 9.0)]


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
        *(record(own, (40, 4.0), test=2.0) for own in SYSTEMS if own not in OURS),
        record("castpool", (10, 4.0), (20, 2.0), test=1.0),
        record("typed", (10, 1.0), test=0.5),
        record("naive", test=3.0),
        record("auto", pair="c-D"),
        record("castpool", (90, 1.0), pair="c-D"),
    ]
    comparison = Comparison(records)
    cells = [line.split(" | ") for line in comparison.ratios().splitlines()]
    assert {len(own) for own in cells[2:]} == {7}
    assert "| a-B | (1) Auto as typed | 0.250 | 1 of 1 | 0.500 | 0.500 | 0.250 |" in comparison.ratios()
    assert (
        f"| all, geometric mean | (1) Auto as typed | {math.sqrt(0.25 * 0.9):.3f} |  | 0.500 | 0.500 | 0.250 |"
        in comparison.ratios()
    )
    assert f"| a-B | {BASELINES['naive']} | - | - | - | 0.333 | 0.167 |" in comparison.ratios()
    assert "| c-D | (1) Auto as typed | - | - | 0.0 | 0 |" in comparison.losses()
    assert f"| a-B | {SYSTEMS['typed']} | - | 0.5 |" in comparison.losses(), "its loss is one on other windows"
    assert [own.name for own in comparison.plot(tmp_path)] == ["a-B.png", "c-D.png"]


def test_records_are_read_as_they_were_kept(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "records.jsonl"
    assert kept(file) == {}
    one, other = record("script", (1.5, 2.5), test=0.5), replace(record("castpool"), variant="no lever")
    one.keep(file)
    other.keep(file)
    assert kept(file) == {("a-B", 1, "script", ""): one, ("a-B", 1, "castpool", "no lever"): other}


def test_the_test_windows_are_seen_by_nobody_and_each_follows_what_is_known() -> None:
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
    for (_, came), expected in zip(windows(pair, frame, test), ([6, 7, 16, 17], [8, 9, 18, 19]), strict=True):
        assert came["y"].tolist() == expected
    with pytest.raises(ValueError, match="the forecast is of 2 of 4 points"):
        mean_absolute_error(came, came[came["unique_id"] == "a"].assign(model=1.0)[["unique_id", "ds", "model"]])


@pytest.fixture
def several() -> pd.DataFrame:
    days = pd.date_range("2020", periods=10, freq="D")
    return pd.concat(
        [
            pd.DataFrame({"unique_id": own, "ds": days, "y": range(first, first + 10)})
            for own, first in (("a", 0), ("b", 10))
        ],
        ignore_index=True,
    )


def test_naive_forecasts_of_a_horizon_longer_than_the_season() -> None:
    frame = pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2020", periods=6, freq="D"), "y": range(6)})
    pair = replace(PAIRS["demo-MLP"], horizon=5, freq="D", season=2)
    assert naive(pair, frame)["naive"].tolist() == [4, 5, 4, 5, 4]


def test_an_ablation_has_a_line_a_lever_with_both_ways() -> None:
    whole, none = record("castpool", (7, 3.0), (8, 2.0)), record("castpool", (80, 4.0))
    without, alone = record("castpool", (20, 3.0)), record("castpool", (40, 4.0))
    found = {ALL: whole, NONE: none, "without ordered-space": without, "ordered-space alone": alone}
    lines = table({("a-B", 1, variant): own for variant, own in found.items()}).splitlines()
    assert len(lines) == 3 + len(SWITCHES) + len(PARTS)
    assert lines[2] == "| (all levers; no lever) | 0.09 | 1 of 1 | 1.000 | 1.00 | 1.00 | 1 of 1 | 2.000 | 0.50 |"
    assert "| ordered-space | 0.25 | 1 of 1 | 1.500 | 0.50 | 0.50 | 1 of 1 | 2.000 | 0.50 |" in lines
    assert "| sampler | - | - | - | - | - | - | - | - |" in lines


def test_each_lever_is_left_out_alone_and_put_in_alone() -> None:
    options = variants()
    assert options["without sampler"] == ["--sampler", "Random"]
    assert options["sampler alone"].count("--without") == len(LEVERS)
    assert "--sampler" not in options["sampler alone"]
