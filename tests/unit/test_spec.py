"""The spec: what is taken, what is refused, what gives a study its identity."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampler_policies.errors import InputError
from workers.options import DEMO, spec_values
from workers.spec import MEANING, StudySpec, make_spec, read_spec


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


def test_a_sampler_with_arguments_needs_its_name() -> None:
    spec = make_spec({"horizon": 4, "sampler": {"sigma0": 0.3}, "pruner": {"name": "Median", "n_warmup_steps": 5}})
    with pytest.raises(InputError, match="write its name too"):
        spec.wishes(1)
    wishes = spec.model_copy(update={"sampler": "GP"}).wishes(3)
    assert (wishes.sampler, wishes.pruner, wishes.workers) == ("GP", "Median", 3)
    assert wishes.pruner_arguments == {"n_warmup_steps": 5}


SAME = (
    *("trials", "workers", "name", "storage", "out", "freq", "data", "short_series", "futr_data"),
    *("backend", "sampler", "pruner", "searcher", "scheduler", "hang_seconds", "reconciliation"),
    *("tracking_uri", "metrics_port", "metrics_host"),
    *("time_budget", "steps_budget", "max_retries", "checkpoint_seconds", "artifacts", "recycle_after"),
)


def test_every_field_either_gives_trials_their_meaning_or_does_not() -> None:
    described_by_the_data = {"id_col", "time_col", "target_col", "hierarchy"}
    one_value_so_far = {"objectives"}
    said_where_there_is_one = {"without"}
    fields = set(MEANING) | set(SAME) | described_by_the_data | one_value_so_far | said_where_there_is_one
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
    assert read_spec(file) == {"data": str(tmp_path / "series.csv"), "horizon": 4}


def test_flags_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text("horizon: 4\ntrials: 5\nspace:\n  dropout: 0.1\n  hidden_size: [8]\n")
    values = spec_values(str(file), False, {"trials": 9, "space": ["hidden_size: [16, 32]"], "freq": None})
    assert values == {"horizon": 4, "trials": 9, "space": {"dropout": 0.1, "hidden_size": [16, 32]}}


def test_options_are_read_as_what_they_mean() -> None:
    values = spec_values("a.csv", False, {"freq": "5", "loss": "{name: MQLoss, level: [80]}", "hist_exog": []})
    assert values == {"data": "a.csv", "freq": 5, "loss": {"name": "MQLoss", "level": [80]}}


def test_the_demo_is_a_spec_and_options_change_it() -> None:
    assert make_spec(spec_values(None, True, {})).horizon == DEMO["horizon"]
    assert spec_values(None, True, {"trials": 3}) == {**DEMO, "trials": 3}
    with pytest.raises(InputError, match="leave it out"):
        spec_values("a.csv", True, {})
