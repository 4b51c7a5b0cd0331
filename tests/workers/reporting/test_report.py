from __future__ import annotations

import gc
import json
import subprocess
import sys
import warnings
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import optuna
import pandas as pd
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from plotly.offline import get_plotlyjs

from castpool.sampler_policies.spaces.parameter import Parameter, from_choices
from castpool.sampler_policies.spaces.space import Space
from castpool.workers.reporting import study_charts
from castpool.workers.reporting.report import render_report

SPACE: dict[str, BaseDistribution] = {
    "learning_rate": FloatDistribution(1e-4, 1e-1, log=True),
    "log2(batch_size)": IntDistribution(4, 8),
    "rank(moving_avg_window)": IntDistribution(0, 3),
    "scaler_type": CategoricalDistribution([None, "robust"]),
}
WINDOWS = (3, 25, 51, 101)
MODEL_SPACE = Space(
    (
        Parameter("learning_rate", "float", SPACE["learning_rate"]),
        from_choices("batch_size", [16, 32, 64, 128, 256]),
        from_choices("moving_avg_window", WINDOWS),
        from_choices("scaler_type", [None, "robust"]),
    )
)
MALICE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>'\"&amp;"
SECTIONS = [
    "Forecast",
    "Configuration",
    "Decisions",
    "Optimization history",
    "Loss during training",
    "Hyper-parameter importance",
    "Parallel coordinates",
    "Loss by parameter",
    "Timeline",
    "Trials",
]


class Page(HTMLParser):
    """A page as a strict reader sees it: every tag is closed in its turn, every script is found."""

    VOID = ("meta",)

    def __init__(self, html: str) -> None:
        super().__init__()
        self.plotly_copies = html.count(get_plotlyjs())
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.code: list[str] = []
        self.feed(html.replace(get_plotlyjs(), "PLOTLY"))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag in ("script", "style"):
            self.code.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("script", "style"):
            self.code[-1] += data
        elif data.strip():
            self.words.append(data.strip())

    @property
    def data(self) -> Any:
        def refuse(constant: str) -> None:
            raise AssertionError(f"{constant} is no JSON")

        [data] = [text for text in self.code if text.startswith('{"template"')]
        return json.loads(data, parse_constant=refuse)

    @property
    def options(self) -> int:
        return sum(tag == "option" for tag, _ in self.tags)

    def section(self, title: str) -> str:
        start = self.words.index(title)
        ends = [self.words.index(section) for section in SECTIONS if self.words.index(section) > start]
        return " ".join(self.words[start + 1 : min(ends, default=len(self.words))])

    def figures(self, title: str) -> int:
        """Return how many figures the section of that title holds."""
        order = [tag for tag, attrs in self.tags if tag == "section" or "data-figure" in attrs]
        return (
            "".join("s" if tag == "section" else "f" for tag in order).split("s")[SECTIONS.index(title) + 1].count("f")
        )


def config_of(number: int) -> dict[str, Any]:
    return {
        "learning_rate": 1e-3 * (1 + number % 7),
        "batch_size": 2 ** (4 + number % 5),
        "moving_avg_window": WINDOWS[number % 4],
        "scaler_type": "robust" if number % 2 else None,
        "max_steps": 500,
    }


def attempt(number: int, state: TrialState = TrialState.COMPLETE, **changed: Any) -> FrozenTrial:
    """Return a trial as a worker leaves it behind; the earlier, the worse."""
    config = config_of(number)
    attrs: dict[str, Any] = {"castpool": {"slot": number, "attempt": 1, "worker": 3, "host": "here", "pid": 7}}
    if state in (TrialState.COMPLETE, TrialState.PRUNED):
        attrs |= {"config": config, "training_seconds": 1.25, "best_step": 400}
    value = 10 + 20 / (1 + number)
    given: dict[str, Any] = {
        "state": state,
        "value": value if state in (TrialState.COMPLETE, TrialState.PRUNED) else None,
        "params": {
            "learning_rate": config["learning_rate"],
            "log2(batch_size)": 4 + number % 5,
            "rank(moving_avg_window)": number % 4,
            "scaler_type": config["scaler_type"],
        },
        "intermediate_values": {100 * step: value + 5 / step for step in range(1, 5)},
    }
    given |= {name: value for name, value in changed.items() if name != "attrs"}
    distributions = {name: SPACE[name] for name in given["params"]}
    return create_trial(**given, distributions=distributions, user_attrs=attrs | changed.get("attrs", {}))


def study_of(*trials: FrozenTrial, name: str = "air-NHITS-h12") -> optuna.Study:
    study = optuna.create_study(study_name=name)
    study.add_trials(trials)
    return study


def usual_study() -> optuna.Study:
    trials = [attempt(number) for number in range(8)]
    pruned = {"reason": "validation loss 12.5 at step 200 was not among the best"}
    trials += [attempt(number, TrialState.PRUNED, attrs=pruned) for number in range(8, 19)]
    trials += [attempt(19, TrialState.FAIL, attrs={"reason": "RuntimeError: out of memory", "training_seconds": 0.5})]
    return study_of(*trials)


def best_of(study: optuna.Study, **changed: Any) -> dict[str, Any]:
    trial = study.best_trial
    return {
        "study": study.study_name,
        "model": "NHITS",
        "horizon": 12,
        "loss": {"name": "MQLoss", "level": [80, 90]},
        "value": 12.3,
        "default_value": 15.0,
        "trial": trial.number,
        "step": 400,
        "params": trial.params,
        "config": trial.user_attrs["config"],
        "decisions": [
            {"subject": "sampler", "choice": "TPESampler", "reason": "20 trials are few", "arguments": {"seed": 1}},
            {"subject": "max_steps", "choice": "500", "reason": "it is as asked for", "arguments": {}},
        ],
        "trials": {"complete": 8, "pruned": 11, "failed": 1, "diverged": 0},
        "versions": {"python": "3.11.2", "castpool": "0.1.0"},
        "data": {"sha256": "ab" * 32, "series": 2, "rows": 288, "freq": "MS"},
        "notes": ["not used: price"],
        **changed,
    }


def tables(ids: tuple[str, ...] = ("a", "b"), n: int = 30, columns: tuple[str, ...] = ("NHITS",)) -> dict[str, Any]:
    past, ahead = pd.date_range("2000-01-01", periods=n, freq="MS"), pd.date_range("2050-01-01", periods=12, freq="MS")
    history = [
        pd.DataFrame({"unique_id": series_id, "ds": past, "y": [float(i) for i in range(n)]}) for series_id in ids
    ]
    values = {name: [100.0 + place] * 12 for place, name in enumerate(columns)}
    forecast = [pd.DataFrame({"unique_id": series_id, "ds": ahead, **values}) for series_id in ids]
    return {"history": pd.concat(history), "forecast": pd.concat(forecast)}


def page_of(
    study: optuna.Study, best: dict[str, Any] | None = None, space: Space | None = MODEL_SPACE, **given: Any
) -> Page:
    best = best_of(study) if best is None else best
    return Page(render_report(study=study, space=space, best=best, **(given or tables())))


@pytest.fixture(scope="module")
def page() -> Page:
    return page_of(usual_study())


class TestSelfContained:
    def test_nothing_is_loaded(self, page: Page) -> None:
        assert not [attrs for _, attrs in page.tags if attrs.keys() & {"src", "href", "srcset", "action", "data"}]
        assert {tag for tag, _ in page.tags}.isdisjoint({"link", "img", "iframe", "base", "object"})
        assert not [code for code in page.code if "url(" in code or "@import" in code or "http" in code]

    def test_plotly_is_there_once(self, page: Page) -> None:
        assert page.plotly_copies == 1
        assert page.code.count("PLOTLY") == 1

    def test_the_policy_forbids_every_request(self, page: Page) -> None:
        policies = [attrs["content"] for tag, attrs in page.tags if tag == "meta" and "http-equiv" in attrs]
        assert policies == [
            "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:",
        ]

    def test_import_is_cheap(self) -> None:
        check = (
            "import sys, castpool.workers.reporting.report; sys.exit('plotly' in sys.modules or 'torch' in sys.modules)"
        )
        assert subprocess.run([sys.executable, "-c", check], timeout=60).returncode == 0


class TestSections:
    def test_all_in_order(self, page: Page) -> None:
        places = [page.words.index(section) for section in SECTIONS]
        assert places == sorted(places)

    def test_title_and_headline(self, page: Page) -> None:
        assert page.words[0] == "air-NHITS-h12: castpool report"
        assert "model NHITS, horizon 12, loss MQLoss(level=[80, 90]), series 2, rows 288, freq MS" in page.words
        assert (
            "Best loss 12.3, 18 % below the default configuration's 15, "
            "after 20 trials: 8 complete, 11 pruned, 1 failed." in page.words
        )

    def test_configuration_beside_the_defaults(self, page: Page) -> None:
        section = page.section("Configuration")
        assert "Trial 7 is the best, trained to step 400. 3 of 5 arguments differ from the defaults." in section
        assert "argument best defaults (trial 0) batch_size 64 16 changed" in section
        assert "moving_avg_window 101 3 changed scaler_type robust None changed" in section
        assert section.endswith("learning_rate 0.001 0.001 max_steps 500 500")

    def test_decisions_and_notes(self, page: Page) -> None:
        section = page.section("Decisions")
        assert "sampler TPESampler(seed=1) 20 trials are few max_steps 500 it is as asked for" in section
        assert "not used: price" in section

    def test_charts_are_drawn(self, page: Page) -> None:
        assert [page.figures(title) for title in SECTIONS] == [0, 0, 0, 1, 1, 1, 1, 4, 1, 0]
        assert len(page.data["figures"]) == 9
        assert "From 8 complete trials" in page.section("Hyper-parameter importance")

    def test_history_has_the_defaults_as_a_line(self, page: Page) -> None:
        points, _, _, default = page.data["figures"][0]["data"]
        assert points["y"] == [10 + 20 / (1 + number) for number in range(8)]
        assert default["name"] == "the defaults: 15"
        assert default["y"] == [15.0, 15.0]

    def test_training_marks_the_best_and_the_defaults(self, page: Page) -> None:
        lines = page.data["figures"][1]["data"]
        assert len(lines) == 19
        assert [line["name"] for line in lines if line["showlegend"]] == ["pruned", "complete", "the defaults", "best"]
        assert lines[-1]["hovertemplate"].startswith("trial 7,")

    def test_parallel_has_the_best_on_top(self, page: Page) -> None:
        lines = page.data["figures"][3]["data"]
        assert [line["y"][0] for line in lines] == sorted((line["y"][0] for line in lines), reverse=True)
        assert lines[-1]["line"]["color"] == study_charts.INK

    def test_parameters_are_the_models_own(self, page: Page) -> None:
        titles = [figure["layout"]["xaxis"]["title"]["text"] for figure in page.data["figures"][4:8]]
        assert titles == ["batch_size", "learning_rate", "moving_avg_window", "scaler_type"]
        assert page.data["figures"][4]["layout"]["xaxis"]["ticktext"] == ["16", "32", "64", "128", "256"]
        assert "batch_size=16, moving_avg_window=3" in page.section("Trials").replace("learning_rate=0.001, ", "")
        assert not [word for word in page.words if "log2(" in word or "rank(" in word]

    def test_trials(self, page: Page) -> None:
        section = page.section("Trials")
        assert "trial state worker step loss seconds reason parameters" in section
        assert "0 (defaults) complete 3 400 30 1.25" in section
        assert "7 (best) complete 3 400 12.5 1.25" in section
        assert "8 pruned 3 400 12.2222 1.25 validation loss 12.5 at step 200 was not among the best" in section

    def test_failures_come_first(self, page: Page) -> None:
        section = page.section("Trials")
        assert section.startswith("1 failed: RuntimeError: out of memory (trial 19)")
        assert "19 failed 3 400 0.5 RuntimeError: out of memory" in section

    def test_without_a_space_parameters_are_as_stored(self) -> None:
        page = page_of(usual_study(), space=None)
        assert "log2(batch_size)=4, rank(moving_avg_window)=0" in page.section("Trials")
        assert page.figures("Loss by parameter") == 4

    def test_lists_and_unknown_parameters(self) -> None:
        """Entries of a list are decoded one by one; what the space does not know or have stays as it is stored."""
        size = replace(from_choices("mlp_units", [128, 512, 2048]), repeat="n_layers")
        space = Space((*MODEL_SPACE.parameters, size))
        labels = {f"{size.label}[{index}]": index for index in range(2)}
        params = {**labels, "rank(moving_avg_window)": 9, "log2(other)": 3}
        distributions = {label: IntDistribution(0, 9) for label in params}
        trial = create_trial(value=1.0, params=params, distributions=distributions)
        section = page_of(study_of(trial, trial), best={}, space=space).section("Trials")
        decoded = "mlp_units[0]=128, mlp_units[1]=512, moving_avg_window=9, log2(other)=3"
        assert f"0 complete 1 {decoded}" in section

    def test_provenance(self, page: Page) -> None:
        assert page.words[-1] == f"Made with python 3.11.2, castpool 0.1.0; data SHA-256 {'ab' * 32}."


class TestHeadline:
    @pytest.mark.parametrize(
        ("value", "default", "words"),
        [
            (16.5, 15.0, "Best loss 16.5, 10 % above the default configuration's 15, after 20 trials"),
            (15.0, 15.0, "Best loss 15, equal to the default configuration's, after 20 trials"),
            (-2.0, -1.0, "Best loss -2, against -1 of the default configuration, after 20 trials"),
            (12.3, None, "Best loss 12.3, after 20 trials"),
        ],
    )
    def test_against_the_default(self, value: float, default: float | None, words: str) -> None:
        study = study_of(attempt(0))
        page = page_of(study, best_of(study, value=value, default_value=default))
        assert any(word.startswith(words) for word in page.words)


class TestForecast:
    def test_history_then_forecast(self, page: Page) -> None:
        [past, ahead], _ = page.data["series"]
        assert past["name"] == "history"
        assert past["x"][0] == "2000-01-01T00:00:00"
        assert past["y"] == list(range(30))
        assert ahead["name"] == "NHITS"
        assert ahead["y"] == [100.0] * 12
        assert page.options == 2

    def test_long_history_is_cut(self) -> None:
        page = page_of(study := study_of(attempt(0)), best_of(study, horizon=12), **tables(n=500))
        assert page.data["series"][0][0]["y"] == list(range(300, 500))
        page = page_of(study, best_of(study, horizon=60), **tables(n=500))
        assert page.data["series"][0][0]["y"] == list(range(200, 500))

    def test_intervals_are_bands_behind_the_line(self) -> None:
        columns = ("NHITS-median", "NHITS-lo-80", "NHITS-hi-80", "NHITS-lo-97.5", "NHITS-hi-97.5", "NHITS-lo-50")
        traces = page_of(study_of(attempt(0)), **tables(columns=columns)).data["series"][0]
        names = [trace["name"] for trace in traces if trace.get("showlegend", True)]
        assert names == ["history", "97.5 % interval", "80 % interval", "NHITS-median", "NHITS-lo-50"]
        assert [trace.get("fill") for trace in traces] == [None, None, "tonexty", None, "tonexty", None, None]
        assert (traces[1]["y"][0], traces[2]["y"][0]) == (103.0, 104.0)

    def test_of_an_ensemble_the_members_are_thin(self) -> None:
        columns = (
            "ensemble",
            "ensemble-lo-80",
            "ensemble-hi-80",
            "NHITS_1",
            "NHITS_1-lo-80",
            "NHITS_1-hi-80",
            "AutoETS",
        )
        traces = page_of(study_of(attempt(0)), **tables(columns=columns)).data["series"][0]
        shown = [trace for trace in traces if trace.get("showlegend", True)]
        assert [trace["name"] for trace in shown] == ["history", "80 % interval", "NHITS_1", "AutoETS", "ensemble"]
        assert [trace["line"]["width"] for trace in shown] == [2, 0.5, 1, 1, 2]
        assert shown[1]["customdata"] == [101.0] * 12

    def test_at_most_fifty_series(self) -> None:
        page = page_of(study_of(attempt(0)), **tables(ids=tuple(f"series {i}" for i in range(60)), n=13))
        assert page.options == len(page.data["series"]) == 50
        assert "The first 50 series are shown; 10 more have a forecast." in page.section("Forecast")

    def test_integer_stamps_one_step_and_missing_values(self) -> None:
        history = pd.DataFrame({"unique_id": "a", "ds": [1, 2, 3], "y": [1.0, float("nan"), 3.0]})
        forecast = pd.DataFrame({"unique_id": ["a"], "ds": [4], "NHITS": [4.0]})
        [[past, ahead]] = page_of(study_of(attempt(0)), history=history, forecast=forecast).data["series"]
        assert past["x"] == [1, 2, 3]
        assert past["y"] == [1.0, None, 3.0]
        assert ahead["mode"] == "markers"


class TestMalice:
    def test_every_word_of_others_is_escaped(self) -> None:
        trials = [attempt(0), attempt(1), attempt(2, TrialState.FAIL, attrs={"reason": MALICE})]
        study = study_of(*trials, name=MALICE)
        decision = {"subject": MALICE, "choice": MALICE, "reason": MALICE, "arguments": {MALICE: MALICE}}
        best = best_of(study, model=MALICE, config={MALICE: MALICE}, decisions=[decision], notes=[MALICE])
        page = page_of(study, best, **tables(ids=(MALICE,), columns=(MALICE,)))
        assert {tag for tag, _ in page.tags}.isdisjoint({"img"})
        assert [tag for tag, _ in page.tags].count("script") == 3
        assert page.words.count(MALICE) == 8
        assert f"1 failed: {MALICE} (trial 2)" in page.words
        assert "<img" not in page.data["series"][0][1]["name"]


class TestFewTrials:
    def test_none_at_all(self) -> None:
        page = page_of(study_of(), {}, history=pd.DataFrame(), forecast=pd.DataFrame())
        assert "No trial has completed, so there is no best configuration; 0 trials." in page.words
        assert page.section("Forecast") == "There is no forecast."
        assert page.data["figures"] == []

    def test_none_complete(self) -> None:
        page = page_of(study_of(attempt(0, TrialState.FAIL), attempt(1, TrialState.PRUNED)), {})
        assert "No trial has completed, so there is no best configuration; 2 trials: 1 failed, 1 pruned." in page.words
        assert page.section("Configuration") == "No trial has completed, so there is no best configuration."
        assert page.section("Optimization history") == "No trial completed."
        assert page.figures("Loss during training") == 1
        assert "1 failed: no reason was recorded (trial 0)" in page.section("Trials")

    def test_one(self) -> None:
        page = page_of(study := study_of(attempt(0)), best_of(study, trials={"complete": 1}))
        assert any(word.endswith("after 1 trial: 1 complete.") for word in page.words)
        assert page.figures("Optimization history") == 1
        assert (
            page.section("Hyper-parameter importance")
            == "Importance needs two complete trials; complete trials so far: 1."
        )
        assert page.section("Parallel coordinates") == "This chart needs two complete trials and a parameter."
        assert page.section("Loss by parameter") == "This chart needs complete trials with different parameters."

    def test_one_parameter_with_one_value(self) -> None:
        page = page_of(study_of(*(attempt(number, params={"learning_rate": 0.01}) for number in range(4))))
        assert page.figures("Hyper-parameter importance") == 0
        assert "no parameter matters more than another" in page.section("Hyper-parameter importance")
        assert page.figures("Parallel coordinates") == 1
        assert page.figures("Loss by parameter") == 0

    def test_equal_losses(self) -> None:
        page = page_of(study_of(*(attempt(number, value=1.0) for number in range(4))))
        assert "no parameter matters more than another" in page.section("Hyper-parameter importance")
        assert page.figures("Loss by parameter") == 4

    def test_no_parameters(self) -> None:
        page = page_of(study_of(attempt(0, params={}), attempt(1, params={})))
        assert page.figures("Hyper-parameter importance") == page.figures("Parallel coordinates") == 0

    def test_running_and_retried(self) -> None:
        lost = attempt(1, TrialState.FAIL, attrs={"reason": "the lease ran out"})
        again = attempt(
            1, TrialState.RUNNING, attrs={"castpool": {"slot": 1, "attempt": 2, "worker": 4, "retry_of": 1}}
        )
        page = page_of(study_of(attempt(0), lost, again))
        assert "2 running 4 400 retry of trial 1" in page.section("Trials")
        assert page.figures("Timeline") == 1

    @pytest.mark.parametrize("key", ["reduced_for_memory", "for_want_of_memory"])
    def test_reduced_after_out_of_memory(self, key: str) -> None:
        failed = attempt(1, TrialState.FAIL, attrs={"reason": "OutOfMemoryError: CUDA out of memory."})
        again = {"slot": 1, "attempt": 2, "worker": 4, "retry_of": 1}
        retry = attempt(2, attrs={"castpool": again, key: {"windows_batch_size": 512}})
        section = page_of(study_of(attempt(0), failed, retry)).section("Trials")
        assert "1 failed: OutOfMemoryError: CUDA out of memory. (trial 1)" in section
        assert "retry of trial 1; reduced after out of memory: windows_batch_size=512" in section

    def test_the_defaults_were_not_trained(self) -> None:
        first = attempt(0, attrs={"castpool": {"slot": 5}})
        page = page_of(study := study_of(first, attempt(1)), best_of(study, default_value=None))
        assert "defaults" not in " ".join(page.words)
        assert page.section("Configuration").startswith("Trial 1 is the best, trained to step 400. argument best")

    def test_optional_keys_are_optional(self) -> None:
        page = page_of(usual_study(), {"trial": 7, "value": 12.5, "step": 400, "params": {"learning_rate": 0.1}})
        assert "Best loss 12.5, after 20 trials: 8 complete, 11 pruned, 1 failed." in page.words
        assert page.section("Decisions") == "No decisions are recorded."


class TestManyTrials:
    def test_heavy_charts_are_limited(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(study_charts, "DRAWN_TRIALS", 30)
        page = page_of(study_of(*(attempt(number) for number in range(40))))
        assert "The chart shows the best 30 of 40 trials that reported a loss." in page.section("Loss during training")
        assert "The chart shows the best 30 of 40 complete trials." in page.section("Parallel coordinates")
        names = [line["name"] for line in page.data["figures"][1]["data"]]
        assert len(names) == 30
        assert {"the defaults", "best"} <= set(names)
        assert [tag for tag, _ in page.tags].count("tr") > 40

    def test_many_failures_are_summed_up(self) -> None:
        failures = [
            attempt(number, TrialState.FAIL, attrs={"reason": f"reason {number % 12}"}) for number in range(150)
        ]
        section = page_of(study_of(attempt(150), *failures)).section("Trials")
        assert "13 failed: reason 0 (trials 1, 13, 25, 37, 49, 61, 73, 85, 97, 109, ...)" in section
        assert "failed: reason 11" not in section


class TestOddValues:
    def test_infinite_losses_are_left_out(self) -> None:
        endless = attempt(1, value=float("inf"), intermediate_values={100: float("inf"), 200: float("nan")})
        page = page_of(study_of(attempt(0), endless, attempt(2), attempt(3)))
        assert "From 3 complete trials" in page.section("Hyper-parameter importance")
        assert page.data["figures"][0]["data"][0]["y"][1] is None
        assert "1 complete 3 200 inf" in page.section("Trials")

    def test_losses_of_several_magnitudes_are_on_a_log_axis(self) -> None:
        plain = page_of(study_of(attempt(0), attempt(1)))
        assert "type" not in plain.data["figures"][0]["layout"]["yaxis"]
        wide = page_of(study_of(attempt(0), attempt(1, value=1e9)))
        assert wide.data["figures"][0]["layout"]["yaxis"]["type"] == "log"


class TestManners:
    def test_a_chart_that_fails_does_not_cost_the_report(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*given: object, **named: object) -> None:
            raise RuntimeError("no luck")

        monkeypatch.setattr(optuna.visualization, "plot_timeline", fail)
        page = page_of(usual_study())
        assert page.section("Timeline") == "Optuna could not draw this chart (RuntimeError: no luck)."
        assert page.figures("Loss by parameter") == 4

    def test_nothing_is_printed_and_nothing_is_changed(self, capfd: pytest.CaptureFixture[str]) -> None:
        study = study_of(attempt(0), attempt(1, value=float("inf")), attempt(2))
        before, verbosity = study.get_trials(), optuna.logging.get_verbosity()
        capfd.readouterr()
        gc.collect()  # objects of other tests may warn when they are collected
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            page_of(study)
        assert [str(warning.message) for warning in caught] == []
        assert "".join(capfd.readouterr()) == ""
        assert study.get_trials() == before
        assert optuna.logging.get_verbosity() == verbosity
