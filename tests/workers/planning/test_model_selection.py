"""Model selection: names, configured models, `auto`; each model once, with its study name and budget."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from castpool.sampler_policies.errors import InputError
from castpool.workers.planning.auto_model import read_auto
from castpool.workers.planning.model_selection import ModelSelection, select_models
from castpool.workers.spec.tune_request import parse_request

MONTHS = np.arange(60)
TABLE = pd.DataFrame(
    {"unique_id": "s", "ds": pd.date_range("2015-01-01", periods=60, freq="MS"), "y": 10 + np.sin(MONTHS * np.pi / 6)}
)


def select(**values: Any) -> ModelSelection:
    return select_models(parse_request({"horizon": 4, **values}), TABLE)


def models(model: Any) -> list[str]:
    return [candidate.spec.model for candidate in select(model=model).candidates]


def test_one_name_is_one_entrant() -> None:
    selection = select(model="MLP", name="mine")
    assert [candidate.spec.name for candidate in selection.candidates] == ["mine"]
    assert selection.decisions == ()


def test_without_a_model_the_default_takes_part() -> None:
    assert [candidate.spec.model for candidate in select().candidates] == ["NHITS"]


def test_several_share_a_name_with_their_own_behind_it() -> None:
    specs = [candidate.spec for candidate in select(model=["NHITS", "automlp"], name="mine", trials=7).candidates]
    assert [(spec.name, spec.trials) for spec in specs] == [("mine-NHITS", 7), ("mine-MLP", 7)]


def test_several_models_share_the_time() -> None:
    models = ["NHITS", "MLP", "DLinear"]
    selection = select(model=models, time_budget=90, workers=2)
    assert [candidate.spec.time_budget for candidate in selection.candidates] == [60.0] * 3
    assert "2 workers serve the 3 studies, which together take 90 s" in str(selection.decisions[-1])
    # Enough workers for all of them at once: the time of all studies passes at once.
    enough = select(model=models, time_budget=90, workers=4)
    assert [candidate.spec.time_budget for candidate in enough.candidates] == [90.0] * 3
    assert select(model=["NHITS"], time_budget=90, workers=1).candidates[0].spec.time_budget == 90


def test_a_model_takes_part_once() -> None:
    assert models(["MLP", "AutoMLP", "auto"]) == ["MLP", "NHITS", "DLinear"]


def test_auto_says_why() -> None:
    selection = select(model="AUTO")
    assert [decision.choice for decision in selection.decisions] == ["NHITS", "DLinear"]
    assert all(decision.reason for decision in selection.decisions)


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

    small = read_auto(AutoMLP(h=4, config={"input_size": 8, "hidden_size": 8}, num_samples=3))
    named, configured = select(model=["NHITS", small], name="mine").candidates
    assert named.base_space is None
    assert configured.base_space == {"input_size": 8, "hidden_size": 8}
    assert configured.spec.trials == 3
    assert configured.spec.name == "mine-AutoMLP".replace("Auto", "")
    with pytest.raises(InputError, match="two configured"):
        select(model=[small, "MLP"])
