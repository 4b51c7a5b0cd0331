"""The first screen of the report: the numbers are those of the verdict, whatever they are."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import unescape
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings

from castpool.workers.evaluation.verdict import Comparison, Competitor, Verdict
from castpool.workers.evaluation.verdict_text import format_sentence
from castpool.workers.reporting.gains_chart import draw_gains
from castpool.workers.reporting.verdict_section import render_verdict
from tests.workers.evaluation.test_verdict import verdicts
from tests.workers.reporting.test_report import MALICE, Page, attempt, best_of, page_of, study_of, tables

# A gain and the ends of its interval.
Gain = tuple[float, float | None, float | None]
METRICS = {"mae": 412.3456789, "mase": 0.98, "smape": 0.04, "coverage_level80": 0.76, "coverage_level95": 0.931}
MEMBERS = [
    {"name": "NHITS_1", "weight": 0.55, "study": "s", "model": "NHITS", "trial": 7, "step": 400, "value": 12.3},
    {"name": "NHITS_2", "weight": 0.25, "study": "s", "model": "NHITS", "trial": 5, "step": 300, "value": 12.9},
    {"name": "AutoETS", "weight": 0.2, "baseline": "AutoETS"},
]
LOSS = "Best loss 12.3, 18 % below the default configuration's 15, after 20 trials: 8 complete, 11 pruned, 1 failed."
SELECTION = "by the validation loss and 360 windows of the verification"


def verdict_of(naive: Gain, default: Gain) -> Verdict:
    errors = {"ensemble": 412.3456789, "single best": 431.0, "default configuration": 428.75, "seasonal naive": 468.5}
    kinds = dict(zip(errors, ("ensemble", "winner", "default", "baseline"), strict=True))
    costs = {"ensemble": (38.21, 11.2), "single best": (13.4, 3.9)}
    competitors = [
        Competitor(name, kinds[name], f"what {name} is", {**METRICS, "mae": error}, *costs.get(name, (None, None)))
        for name, error in errors.items()
    ]
    comparisons = [
        Comparison("single best", 0.043, 0.011, 0.078),
        Comparison("default configuration", *default),
        Comparison("seasonal naive", *naive),
    ]
    return Verdict("mae", 60, 2, 24, "ensemble", competitors, comparisons)


@pytest.fixture
def verdict() -> Verdict:
    return verdict_of(naive=(0.12, 0.07, 0.16), default=(0.04, -0.01, 0.08))


def judged(verdict: Verdict | None, **changed: Any) -> Page:
    study, stored = study_of(attempt(0)), None if verdict is None else verdict.to_json()
    return page_of(study, best_of(study, **{"verdict": stored, "members": MEMBERS, "selection": SELECTION, **changed}))


def first_screen(page: Page) -> str:
    """Return the words before the forecast."""
    return " ".join(page.words[: page.words.index("Forecast")]).replace("\u00a0", " ")


def headline(page: Page) -> tuple[str, str]:
    """Return the classes of the headline, and its words."""
    [css] = [attrs["class"] for tag, attrs in page.tags if tag == "p" and "headline" in (attrs.get("class") or "")]
    return css or "", page.words[4].replace("\u00a0", " ")


def rows_of(html: str, kind: str) -> list[dict[str, str]]:
    """Return a table's rows by the titles of its columns."""
    [table] = re.findall(rf'<table class="{kind}">(.*?)</table>', html, re.DOTALL)
    titles = [unescape(title) for title in re.findall(r"<button>(.*?)</button>", table)]
    rows = [
        re.findall(r"<td>(.*?)</td>", row, re.DOTALL) for row in re.findall(r"<tr class=.*?</tr>", table, re.DOTALL)
    ]
    return [dict(zip(titles, map(unescape, cells), strict=True)) for cells in rows]


def with_shares(verdict: Verdict) -> Verdict:
    """Return a verdict in which coverages are parts of 1."""

    def bound(name: str, value: float) -> float:
        return min(max(value, 0.0), 1.0) if name.startswith("coverage") else value

    competitors = [
        replace(each, metrics={name: bound(name, value) for name, value in each.metrics.items()})
        for each in verdict.competitors
    ]
    return replace(verdict, competitors=competitors)


def section_of(verdict: Verdict, best: Mapping[str, Any] | None = None) -> str:
    return render_verdict(verdict, best or {}, draw_gains(verdict), count())


class TestFirstScreen:
    def test_the_headline_is_the_verdict(self, verdict: Verdict) -> None:
        _, words = headline(judged(verdict))
        assert words == (
            "Better than seasonal naive by 12 % (95 % interval 7 to 16), "
            "better than the default configuration by 4 % (-1 to 8: not certain)."
        )

    def test_everything_is_there_in_order(self, verdict: Verdict) -> None:
        words = first_screen(judged(verdict))
        assert "On the holdout, which the search has not seen: the newest 24 observations of each of 60 series" in words
        assert "forecast MAE gain MASE in 80 % in 95 % ms MB" in words
        assert "ensemble (delivered) 412.3 0.98 76 % 93 % 38.21 11.2" in words
        assert "default configuration 428.8 4 % (-1 to 8) 0.98 76 % 93 %" in words
        assert f"The ensemble averages 3 forecasts, chosen {SELECTION}." in words
        assert "NHITS_1 55 % NHITS, trial 7, step 400 12.3" in words
        assert "AutoETS 20 % baseline" in words

    def test_the_loss_of_the_search_is_below_the_forecast(self, verdict: Verdict) -> None:
        page = judged(verdict)
        assert "Best loss" not in first_screen(page)
        assert page.section("Configuration").startswith(LOSS)

    def test_each_chart_keeps_its_place(self, verdict: Verdict) -> None:
        study = study_of(attempt(0))
        page, without = page_of(study, best_of(study, verdict=verdict.to_json())), page_of(study)
        numbers = [int(attrs["data-figure"] or 0) for _, attrs in page.tags if "data-figure" in attrs]
        assert numbers == list(range(len(page.data["figures"])))
        assert page.data["figures"][0]["layout"]["xaxis"]["title"]["text"] == "gain, %"
        assert page.data["figures"][1:] == without.data["figures"]

    @pytest.mark.parametrize(
        ("naive", "default", "css"),
        [
            ((0.12, 0.07, 0.16), (0.04, 0.01, 0.08), "headline better"),
            ((0.12, 0.07, 0.16), (0.04, -0.01, 0.08), "headline unsure"),
            ((0.12, None, None), (0.04, None, None), "headline unsure"),
            ((-0.12, -0.2, 0.01), (0.04, 0.01, 0.08), "headline worse"),
            ((0.12, 0.07, 0.16), (-0.04, -0.08, -0.01), "headline worse"),
        ],
    )
    def test_the_colour_follows_the_verdict(self, naive: Any, default: Any, css: str) -> None:
        assert headline(judged(verdict_of(naive, default)))[0] == css

    def test_where_a_baseline_wins_it_says_so(self) -> None:
        page = judged(verdict_of(naive=(-0.25, -0.5, -0.1), default=(0.04, 0.01, 0.08)))
        assert headline(page)[1].startswith("Seasonal naive is better on this data by 20 %")
        assert "seasonal naive 468.5 -25 % (-50 to -10)" in first_screen(page)

    def test_too_few_windows_for_an_interval(self) -> None:
        page = judged(replace(verdict_of((0.12, None, None), (0.04, None, None)), n_series=1, n_windows=1))
        assert headline(page)[1].endswith("one window of one series: how sure this is cannot be said.")
        assert "the newest 24 observations of the series, in one window." in first_screen(page)

    def test_members_of_several_studies_name_theirs(self, verdict: Verdict) -> None:
        members = [MEMBERS[0], {**MEMBERS[1], "study": "other"}]
        assert "NHITS_1 55 % s, NHITS, trial 7, step 400" in first_screen(judged(verdict, members=members))

    def test_a_single_member_is_one_sentence(self, verdict: Verdict) -> None:
        alone = {**MEMBERS[0], "name": "NHITS", "weight": 1.0}
        words = first_screen(judged(replace(verdict, chosen="single best"), members=[alone]))
        assert f"Delivered: NHITS, trial 7, step 400, chosen {SELECTION}." in words
        assert "The ensemble averages" not in words
        assert "single best (delivered) 431" in words


class TestWithoutVerdict:
    @pytest.mark.parametrize(
        ("holdout", "why"),
        [
            (0, "There is no verdict, because there is no holdout: the shortest series is short."),
            (24, "There is no verdict yet: the result has not been judged on the holdout"),
        ],
    )
    def test_it_says_why(self, holdout: int, why: str) -> None:
        reason, arguments = "the shortest series is short", {"holdout": holdout}
        decision = {"subject": "holdout", "choice": "as it is", "reason": reason, "arguments": arguments}
        page = judged(None, decisions=[decision])
        assert headline(page) == ("headline", LOSS)
        assert why in first_screen(page)
        assert "NHITS_2 25 % NHITS, trial 5, step 300 12.9" in first_screen(page)
        assert "Best loss" not in page.section("Configuration")

    def test_a_result_of_an_older_castpool_is_as_it_was(self) -> None:
        page = page_of(study_of(attempt(0)))
        assert "verdict" not in " ".join(page.words).lower()
        assert first_screen(page).endswith(LOSS)
        why = "There is no verdict yet: the result has not been judged on the holdout, which is done after the search."
        assert [word for word in judged(None, members=[]).words if word != why] == page.words

    def test_no_trial_completed(self) -> None:
        page = page_of(study_of(), {"verdict": None, "members": [], "value": None})
        assert first_screen(page).endswith("No trial has completed, so there is no best configuration; 0 trials.")


class TestNumbers:
    @settings(max_examples=100, deadline=None)
    @given(verdict=verdicts().map(with_shares))
    def test_they_are_those_of_the_verdict(self, verdict: Verdict) -> None:
        html = section_of(verdict)
        shown, every = rows_of(html, "competitors"), rows_of(html, "metrics")
        gains = {comparison.against: comparison for comparison in verdict.comparisons}
        assert shown[0]["forecast"] == f"{verdict.chosen} (delivered)"
        assert sorted(row["forecast"] for row in every) == sorted(each.name for each in verdict.competitors)
        for row, line in zip(every, shown, strict=True):
            competitor = verdict.find(row["forecast"])
            assert line["forecast"].removesuffix(" (delivered)") == competitor.name
            for name, title in {"mae": "MAE", "mase": "MASE", "wql": "WQL", "coverage_level80": "in 80 %"}.items():
                value = competitor.metrics.get(name)
                percent = 100 if name.startswith("coverage") else 1
                read = float(row[title].removesuffix(" %")) / percent if row.get(title) else None
                assert read == (None if value is None else pytest.approx(value, rel=1e-5, abs=1e-4 * (percent > 1)))
            comparison = gains.get(competitor.name)
            expected = None if comparison is None else round(100 * comparison.gain)
            assert (int(line["gain"].split(" %")[0]) if line.get("gain") else None) == expected
            if comparison is not None and comparison.low is not None and comparison.high is not None:
                assert line["gain"].endswith(f"({round(100 * comparison.low)} to {round(100 * comparison.high)})")

    @settings(max_examples=100, deadline=None)
    @given(verdict=verdicts().map(with_shares))
    def test_none_is_missing_or_endless(self, verdict: Verdict) -> None:
        cells = re.findall(r"<td>(.*?)</td>", section_of(verdict))
        words = {word.strip("()").lower() for cell in cells for word in cell.split()}
        assert not {"nan", "inf", "-inf", "none", "-0"} & words

    @pytest.mark.parametrize(("coverage", "short", "long"), [(1.0, "100 %", "100.00 %"), (0.0, "0 %", "0.00 %")])
    def test_all_or_none_inside_the_interval(self, verdict: Verdict, coverage: float, short: str, long: str) -> None:
        competitor = Competitor("ensemble", "ensemble", "", {"coverage_level80": coverage})
        html = section_of(replace(verdict, competitors=[competitor], comparisons=[]))
        shown = [rows_of(html, kind)[0]["in 80 %"] for kind in ("competitors", "metrics")]
        assert shown == [short, long]

    def test_large_and_small_numbers_are_short(self, verdict: Verdict) -> None:
        def shown(value: float) -> str:
            competitor = Competitor("ensemble", "ensemble", "", {"mae": value})
            html = section_of(replace(verdict, competitors=[competitor], comparisons=[]))
            return rows_of(html, "competitors")[0]["MAE"]

        values = (0.0, 0.000123456, 3.14159, 31415.92, 123456789.0, 1.5e12)
        assert [shown(value) for value in values] == ["0", "0.0001235", "3.142", "31416", "123456789", "1.5e+12"]


class TestChart:
    def marks(self, *comparisons: Comparison) -> Sequence[Any]:
        competitors = [Competitor("ensemble", "ensemble", "", {})]
        competitors += [Competitor(each.against, "baseline", "", {}) for each in comparisons]
        chart = draw_gains(Verdict("mae", 60, 2, 24, "ensemble", competitors, comparisons))
        [figure] = chart.figures
        *self.lines, points = figure["data"]
        self.range = figure["layout"]["xaxis"]["range"]
        return list(zip(points["y"], points["x"], points["marker"]["color"], points["marker"]["symbol"], strict=True))

    def test_the_smallest_gain_is_at_the_top_and_colours_say_how_sure(self) -> None:
        better, worse = Comparison("a", 0.5, 0.25, 0.75), Comparison("b", -0.25, -0.5, -0.125)
        assert self.marks(better, worse, Comparison("c", 0.125, -0.25, 0.25)) == [
            ("a", 50.0, "#3a9461", "circle"),
            ("c", 12.5, "#a0aab8", "circle"),
            ("b", -25.0, "#c64545", "circle"),
        ]
        assert [line["x"] for line in self.lines] == [[25.0, 75.0], [-25.0, 25.0], [-50.0, -12.5]]
        assert self.range[0] < -50
        assert self.range[1] > 75

    def test_a_hopeless_competitor_does_not_stretch_the_axis(self) -> None:
        assert self.marks(Comparison("a", -99.0, -99.0, -50.0)) == [("a", -100.0, "#c64545", "triangle-left")]
        assert self.range[0] > -120

    def test_without_intervals_there_are_points_only(self) -> None:
        assert self.marks(Comparison("a", 0.5, None, None)) == [("a", 50.0, "#a0aab8", "circle")]
        assert self.lines == []

    def test_nothing_to_compare_with_is_no_chart(self, verdict: Verdict) -> None:
        alone = replace(verdict, competitors=verdict.competitors[:1], comparisons=[])
        assert draw_gains(alone).figures == ()
        assert headline(judged(alone))[1].lower() == f"{format_sentence(alone)}.".lower()


def test_every_word_of_others_is_escaped(verdict: Verdict) -> None:
    baseline = Competitor(MALICE, "baseline", MALICE, METRICS)
    comparisons = [*verdict.comparisons, Comparison(MALICE, -0.5, -0.6, -0.4)]
    members = [{**MEMBERS[0], "name": MALICE, "model": MALICE}, {"name": MALICE, "weight": 0.5, "baseline": MALICE}]
    hostile = replace(verdict, competitors=[*verdict.competitors, baseline], comparisons=comparisons)
    study = study_of(attempt(0))
    best = best_of(study, verdict=hostile.to_json(), members=members, selection=MALICE)
    page = page_of(study, best, **tables(columns=("ensemble", MALICE)))
    assert {tag for tag, _ in page.tags}.isdisjoint({"img"})
    assert [tag for tag, _ in page.tags].count("script") == 3
    assert first_screen(page).count(MALICE) == 8
    assert not [name for name in page.data["figures"][0]["data"][-1]["y"] if "<" in name]
    assert not [trace["name"] for trace in page.data["series"][0] if "<" in trace["name"]]
