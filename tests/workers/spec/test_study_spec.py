"""The spec: what is taken, what is refused, what gives a study its identity."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castpool.sampler_policies.errors import InputError
from castpool.sampler_policies.facts import Limit
from castpool.storage.budget.kinds import STEPS, TIME
from castpool.workers.cli.spec_options import DEMO, parse_options
from castpool.workers.spec import study_spec
from castpool.workers.spec.spec_file import read_spec_file
from castpool.workers.spec.study_spec import MEANING, StudySpec, make_spec


def test_a_horizon_is_all_that_a_spec_needs() -> None:
    spec = make_spec({"horizon": 12})
    assert (spec.model, spec.trials, spec.loss, spec.validation_size) == ("NHITS", 20, "MAE", 12)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"horizon": 12, "horizn": 3}, "spec: got the key 'horizn'; did you mean 'horizon'?"),
        ({}, "horizon: got nothing; write --horizon: observations to forecast."),
        ({"horizon": 0}, "horizon: got 0; write a number of at least 1."),
        ({"horizon": 12, "trials": -3}, "trials: got -3; write a number of at least 1."),
        ({"horizon": 12, "val_size": 6}, "val_size: got 6; write at least the horizon, 12."),
        ({"horizon": 12, "name": "../up"}, "name: got '../up'; write letters"),
        ({"horizon": 12, "short_series": "pad"}, "short_series: got 'pad'; "),
        ({"horizon": 12, "time_budget": "soon"}, "time_budget: got 'soon'; write seconds, or a number with its unit"),
        ({"horizon": 12, "time_budget": 0}, "time_budget: got 0; write a number above 0."),
        ({"horizon": 12, "steps_budget": 0}, "steps_budget: got 0; write a number of at least 1."),
        ({"horizon": 12, "max_retries": -1}, "max_retries: got -1; write a number of at least 0."),
        ({"horizon": 12, "recycle_after": 0}, "recycle_after: got 0; write a number of at least 1."),
        ({"horizon": "soon"}, "horizon: got 'soon'; "),
    ],
)
def test_what_is_wrong_is_one_sentence(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        make_spec(values)
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("90", 90), ("90s", 90), ("30m", 1800), ("1.5 h", 5400), ("2D", 172800), (45, 45), (0.5, 0.5)],
)
def test_time_has_a_unit(written: object, seconds: float) -> None:
    assert make_spec({"horizon": 12, "time_budget": written}).time_budget == seconds


def test_with_another_budget_trials_are_many_unless_said(tmp_path: Path) -> None:
    assert make_spec({"horizon": 12, "time_budget": "2h"}).trials == 1000
    assert make_spec({"horizon": 12, "steps_budget": 1000}).trials == 1000
    assert make_spec({"horizon": 12, "steps_budget": 1000, "trials": 7}).trials == 7


def test_policies_see_a_budget_of_another_unit_in_seconds_or_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = make_spec({"horizon": 12, "time_budget": 100, "steps_budget": 30})
    kinds = (replace(TIME, per_study_second=2.0), replace(STEPS, per_step=3.0))
    monkeypatch.setattr(study_spec, "KINDS", kinds)
    assert spec.request(workers=2).limit == Limit(seconds=50, steps=10)


def test_a_sampler_with_arguments_needs_its_name() -> None:
    spec = make_spec({"horizon": 4, "sampler": {"sigma0": 0.3}, "pruner": {"name": "Median", "n_warmup_steps": 5}})
    with pytest.raises(InputError, match="write its name too"):
        spec.request(1)
    request = spec.model_copy(update={"sampler": "GP"}).request(3)
    assert (request.sampler, request.pruner, request.workers) == ("GP", "Median", 3)
    assert request.pruner_arguments == {"n_warmup_steps": 5}


SAME = (
    *("trials", "workers", "name", "storage", "out", "freq", "data", "short_series", "futr_data"),
    *("backend", "sampler", "pruner", "searcher", "scheduler", "hang_seconds", "reconciliation"),
    *("tracking_uri", "metrics_port", "metrics_host"),
    *("time_budget", "steps_budget", "max_retries", "checkpoint_seconds", "artifacts", "recycle_after"),
    *("finalists", "ensemble", "members", "baselines", "season", "level", "require_better_than"),
)


def test_every_field_either_gives_trials_their_meaning_or_does_not() -> None:
    described_by_the_data = {"id_col", "time_col", "target_col", "hierarchy"}
    one_value_so_far = {"objectives"}
    in_the_identity_where_not_empty = {"disable", "holdout"}
    fields = set(MEANING) | set(SAME) | described_by_the_data | one_value_so_far | in_the_identity_where_not_empty
    assert fields == set(StudySpec.model_fields)


def test_identity_changes_with_meaning_alone() -> None:
    spec = make_spec({"horizon": 12})
    more = spec.model_copy(update={"trials": 99, "workers": 8, "name": "other", "out": "elsewhere"})
    assert more.identity("abc") == spec.identity("abc")
    assert make_spec({"horizon": 12, "val_size": 12}).identity("abc") == spec.identity("abc")
    assert spec.identity("abd") != spec.identity("abc")
    for change in ({"horizon": 6}, {"loss": "MSE"}, {"space": {"dropout": 0.1}}, {"max_steps": 7}, {"seed": 2}):
        assert make_spec({"horizon": 12, **change}).identity("abc") != spec.identity("abc")


@given(st.integers(1, 10_000), st.integers(1, 10_000), st.sampled_from(["MAE", {"name": "MQLoss", "level": [80]}]))
def test_a_stored_spec_is_the_spec(horizon: int, trials: int, loss: Any) -> None:
    spec = make_spec({"horizon": horizon, "trials": trials, "loss": loss, "hist_exog": ["a", "b"]})
    assert make_spec(spec.model_dump(mode="json")) == spec


def test_paths_in_a_yaml_spec_are_relative_to_it(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text("data: series.csv\nhorizon: 4\n")
    assert read_spec_file(file) == {"data": str(tmp_path / "series.csv"), "horizon": 4}


def test_flags_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text("horizon: 4\ntrials: 5\nspace:\n  dropout: 0.1\n  hidden_size: [8]\n")
    request = parse_options(str(file), False, {"trials": 9, "space": ["hidden_size: [16, 32]"], "freq": None})
    space = {"dropout": 0.1, "hidden_size": [16, 32]}
    assert request.spec == make_spec({"horizon": 4, "trials": 9, "space": space})


def test_options_are_read_as_what_they_mean() -> None:
    options = {"horizon": 4, "freq": "5", "loss": "{name: MQLoss, level: [80]}", "hist_exog": []}
    spec = parse_options("a.csv", False, options).spec
    assert spec == make_spec({"data": "a.csv", "horizon": 4, "freq": 5, "loss": {"name": "MQLoss", "level": [80]}})


def test_the_demo_is_a_spec_and_options_change_it() -> None:
    assert parse_options(None, True, {}).spec == make_spec(DEMO)
    assert parse_options(None, True, {"trials": 3}).spec == make_spec({**DEMO, "trials": 3})
    with pytest.raises(InputError, match="leave it out"):
        parse_options("a.csv", True, {})


def test_the_old_name_of_disable_is_read(tmp_path: Path) -> None:
    new = make_spec({"horizon": 4, "disable": ["patience", "fork-server"]})
    assert make_spec({"horizon": 4, "without": ["patience", "fork-server"]}) == new
    file = tmp_path / "spec.yaml"
    file.write_text("horizon: 4\nwithout: [patience, fork-server]\n")
    assert parse_options(str(file), False, {}).spec == new
    assert parse_options(str(file), False, {"disable": ["patience"]}).spec.disable == ("patience",)
    assert parse_options("a.csv", False, {"horizon": 4, "without": ["patience"]}).spec.disable == ("patience",)


def test_the_identity_of_a_stored_study_is_what_it_was() -> None:
    spec = make_spec({"horizon": 4, "disable": ["patience", "cost-aware", "fork-server"]})
    assert spec.identity("abc")["without"] == ["fork-server", "patience", "weighed-time"]
    assert make_spec({"horizon": 4, "without": ["patience", "weighed-time", "fork-server"]}) == spec
    assert not {"without", "disable"} & set(make_spec({"horizon": 4}).identity("abc"))
