"""Who takes part: names, configured models, `auto`; each once, with a name and a budget of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from sampler_policies.errors import InputError
from workers.lineup import line_up

MONTHS = np.arange(60)
TABLE = pd.DataFrame(
    {"unique_id": "s", "ds": pd.date_range("2015-01-01", periods=60, freq="MS"), "y": 10 + np.sin(MONTHS * np.pi / 6)}
)


def models(model: Any, **values: Any) -> list[str]:
    lineup = line_up({"model": model, "horizon": 4, **values}, TABLE)
    return [own.spec.model for own in lineup.entrants]


def test_one_name_is_one_entrant() -> None:
    lineup = line_up({"model": "MLP", "horizon": 4, "name": "mine"})
    assert [own.spec.name for own in lineup.entrants] == ["mine"]
    assert lineup.decisions == ()


def test_without_a_model_the_default_takes_part() -> None:
    assert [own.spec.model for own in line_up({"horizon": 4}).entrants] == ["NHITS"]


def test_several_share_a_name_with_their_own_behind_it() -> None:
    lineup = line_up({"model": ["NHITS", "automlp"], "horizon": 4, "name": "mine", "trials": 7})
    assert [(own.spec.name, own.spec.trials) for own in lineup.entrants] == [("mine-NHITS", 7), ("mine-MLP", 7)]


def test_a_model_takes_part_once() -> None:
    assert models(["MLP", "AutoMLP", "auto"]) == ["MLP", "NHITS", "DLinear"]


def test_auto_says_why() -> None:
    lineup = line_up({"model": "AUTO", "horizon": 4}, TABLE)
    assert [own.choice for own in lineup.decisions] == ["NHITS", "DLinear"]
    assert all(own.reason for own in lineup.decisions)


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ([], "model: got []; write at least one model, or auto."),
        (["NHITZ", "MLP"], "model: got 'NHITZ'; did you mean 'NHITS'?"),
    ],
)
def test_what_cannot_take_part_gets_one_sentence(model: list[str], sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        models(model)
    assert str(caught.value).startswith(sentence.rstrip("?"))


def test_configured_models_bring_their_own_values() -> None:
    from neuralforecast.auto import AutoMLP

    small = AutoMLP(h=4, config={"input_size": 8, "hidden_size": 8}, num_samples=3)
    lineup = line_up({"model": ["NHITS", small], "horizon": 4, "name": "mine"})
    named, configured = lineup.entrants
    assert named.base_space is None
    assert configured.base_space == {"input_size": 8, "hidden_size": 8}
    assert configured.spec.trials == 3
    assert configured.spec.name == "mine-AutoMLP".replace("Auto", "")
    with pytest.raises(InputError, match="two configured"):
        line_up({"model": [small, "MLP"], "horizon": 4})
