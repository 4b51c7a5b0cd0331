from __future__ import annotations

import json

import neuralforecast.auto as auto
import neuralforecast.models as models
import pytest

from castpool.sampler_policies.errors import InputError
from castpool.sampler_policies.spaces.horizon_template import read_template
from castpool.sampler_policies.spaces.model_catalogue import DECIDED_ELSEWHERE, ModelEntry, entry, names
from castpool.sampler_policies.spaces.ray_domains import from_ray

TUNABLE = sorted(name for name in auto.__all__ if name.startswith("Auto") and name != "AutoHINT")


def test_every_auto_model_with_a_space_of_its_own_is_here() -> None:
    assert len(names()) == 35
    assert [f"Auto{name}" for name in names()] == TUNABLE


@pytest.mark.parametrize("name", names())
def test_an_entry_names_the_model_that_its_auto_class_trains(name: str) -> None:
    found = entry(name)
    auto_model = found.auto_class(h=4, **({"n_series": 2} if found.needs_n_series else {}))
    assert found.auto_class is getattr(auto, f"Auto{name}")
    assert found.model_class is auto_model.cls_model


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("NHITS", "NHITS"),
        ("nhits", "NHITS"),
        ("AutoNHITS", "NHITS"),
        ("autonhits", "NHITS"),
        ("Autoformer", "Autoformer"),
        ("autoformer", "Autoformer"),
        ("AutoAutoformer", "Autoformer"),
        ("itransformer", "iTransformer"),
        ("AutoxLSTM", "xLSTM"),
    ],
)
def test_a_model_is_found_with_and_without_auto_in_any_case(written: str, name: str) -> None:
    assert entry(written).name == name


@pytest.mark.parametrize("written", ["HINT", "AutoHINT", "autohint"])
def test_a_model_around_another_is_refused_by_saying_so(written: str) -> None:
    with pytest.raises(InputError) as caught:
        entry(written)
    assert str(caught.value).startswith(f"model: got '{written}'; it reconciles another model's forecasts: write that ")


@pytest.mark.parametrize(
    ("written", "remedy"),
    [
        ("NHIT", "did you mean 'NHITS'?"),
        ("AutoPatchTS", "did you mean 'PatchTST'?"),
        ("", "write one of "),
        ("Prophet", "write one of "),
        ("RayOptions", "write one of "),
    ],
)
def test_an_unknown_model_is_refused_with_the_nearest(written: str, remedy: str) -> None:
    with pytest.raises(InputError) as caught:
        entry(written)
    assert caught.value.remedy.startswith(remedy)


@pytest.mark.parametrize("name", names())
def test_what_a_model_takes_is_what_its_class_says(name: str) -> None:
    found, cls = entry(name), getattr(models, name)
    assert found.needs_n_series == cls.MULTIVARIATE
    assert found.exogenous == {"hist": cls.EXOGENOUS_HIST, "futr": cls.EXOGENOUS_FUTR, "stat": cls.EXOGENOUS_STAT}


def test_multivariate_models_are_those_that_need_the_number_of_series() -> None:
    multivariate = {name for name in names() if entry(name).needs_n_series}
    assert {"TSMixer", "iTransformer", "StemGNN"} < multivariate
    assert not {"NHITS", "TFT", "GRU"} & multivariate
    assert len(multivariate) == 11


def test_defaults_are_those_of_the_signature_and_no_others() -> None:
    defaults = entry("NHITS").defaults
    assert defaults["n_pool_kernel_size"] == [2, 2, 1]
    assert defaults["max_steps"] == 1000
    assert not {"h", "input_size", "self"} & set(defaults)


def test_arguments_are_the_models_and_the_trainers() -> None:
    arguments = entry("NHITS").arguments
    assert {"input_size", "n_pool_kernel_size", "accelerator", "gradient_clip_val"} <= arguments
    assert not arguments & set(DECIDED_ELSEWHERE)


@pytest.mark.parametrize("name", names())
def test_a_default_space_holds_arguments_of_the_model_only(name: str) -> None:
    found = entry(name)
    space = found.default_space(horizon=12, n_series=3)
    arguments = {parameter.name for parameter in space.parameters} | set(space.constants)
    assert {"input_size", "learning_rate", "max_steps"} <= arguments
    assert arguments <= found.arguments


def test_a_default_space_is_made_for_the_horizon() -> None:
    assert entry("NHITS").default_space(horizon=7, n_series=1)["input_size"].grid() == [7, 14, 21, 28, 35]


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("horizon", [1, 3, 8, 36, 336])
def test_a_template_says_what_the_class_says_at_every_horizon(name: str, horizon: int) -> None:
    found = entry(name)
    assert found.template is not None
    arguments = {"n_series": 5} if found.needs_n_series else {}
    config = found.auto_class.get_default_config(h=horizon, backend="ray", **arguments)
    kept = {key: domain for key, domain in config.items() if key not in DECIDED_ELSEWHERE}
    assert found.default_space(horizon, 5) == from_ray(kept)


def test_a_space_that_does_not_grow_evenly_has_no_template() -> None:
    assert read_template(lambda h: {"size": {"choices": [h, 2 * h]}, "rate": {"value": 0.1}}) == {
        "size": {"choices": [{"slope": 1, "at_zero": 0}, {"slope": 2, "at_zero": 0}]},
        "rate": {"value": 0.1},
    }
    assert read_template(lambda h: {"size": {"choices": [max(h, 32)]}}) is None
    assert read_template(lambda h: {"size": {"choices": [h // 3]}}) is None
    assert read_template(lambda h: {"size": {"choices": list(range(h))}}) is None


@pytest.mark.parametrize("name", names())
def test_an_entry_comes_back_from_json_as_it_was(name: str) -> None:
    assert ModelEntry.from_json(json.loads(json.dumps(entry(name).to_json()))) == entry(name)


def test_a_model_says_which_losses_it_takes() -> None:
    assert {name for name in names() if entry(name).losses == "point"} == {"DeepNPTS"}
