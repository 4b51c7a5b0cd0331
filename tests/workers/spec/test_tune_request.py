"""The request: values are parsed once, a spec for each model."""

from __future__ import annotations

import pytest

from castpool.sampler_policies.errors import InputError
from castpool.workers.spec.python_objects import PythonObjects
from castpool.workers.spec.study_spec import make_spec
from castpool.workers.spec.tune_request import ConfiguredModel, parse_request


def test_each_model_has_the_spec_of_all() -> None:
    request = parse_request({"model": ["NHITS", "auto"], "horizon": 4, "trials": 7})
    assert [model.spec for model in request.models] == [
        make_spec({"model": name, "horizon": 4, "trials": 7}) for name in ("NHITS", "auto")
    ]
    assert not request.has_configured_models


def test_fields_beside_a_configured_model_take_precedence_over_its_values() -> None:
    values = {"model": "AutoMLP", "horizon": 4, "trials": 3}
    configured = ConfiguredModel(values, {"hidden_size": 8}, PythonObjects())
    (model,) = parse_request({"model": configured, "trials": 9, "without": ["patience"]}).models
    assert model.spec == make_spec({**values, "trials": 9, "disable": ["patience"]})
    assert model.base_space == {"hidden_size": 8}
    assert parse_request({"model": configured}).has_configured_models


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"model": []}, "model: got []; write at least one model, or auto."),
        ({"model": 5, "horizon": 4}, "model: got 5; "),
        ({"model": ["MLP", "DLinear"], "horizon": 0}, "horizon: got 0; write a number of at least 1."),
        ({"horizon": 4, "disable": ["patients"]}, "disable: got ['patients']; did you mean 'patience'?"),
        ({"horizon": 4, 5: "x"}, "5: got "),
    ],
)
def test_what_is_wrong_is_one_sentence(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_request(values)
    assert str(caught.value).startswith(sentence)
