"""Levels of losses that learn intervals, and of those that cannot have any."""

from __future__ import annotations

import inspect
from typing import Any

import neuralforecast.losses.pytorch as losses
import pytest

from castpool.sampler_policies.errors import InputError
from castpool.workers.spec.interval_losses import WITH_LEVELS, WITHOUT_INTERVALS, learns_quantiles
from castpool.workers.spec.study_spec import StudySpec, make_spec
from castpool.workers.training.losses import NAMES, build_loss


def spec(**values: Any) -> StudySpec:
    return make_spec({"horizon": 4, **values})


def test_the_losses_with_levels_are_those_of_neuralforecast() -> None:
    taking = [name for name in NAMES if "level" in inspect.signature(getattr(losses, name)).parameters]
    assert sorted(taking) == sorted(WITH_LEVELS)
    single = [name for name in NAMES if getattr(losses, name).__name__ in WITHOUT_INTERVALS]
    assert sorted(single) == sorted(WITHOUT_INTERVALS)


@pytest.mark.parametrize("name", WITH_LEVELS)
def test_a_loss_that_learns_intervals_gets_the_levels(name: str) -> None:
    loss = {"name": name, **({"distribution": "Normal"} if name == "DistributionLoss" else {})}
    made = spec(loss=loss, level=[80, 95])
    assert made.level == ()
    assert made.loss == {**loss, "level": [80, 95]}
    assert learns_quantiles(made.loss)
    names = build_loss("loss", made.loss).output_names
    assert {"-lo-80", "-hi-80", "-lo-95", "-hi-95"} <= {str(each).replace(".0", "") for each in names}
    # The levels are a part of what the trials mean, and a stored spec is read as it is.
    assert made.identity("data") != spec(loss=name).identity("data")
    assert make_spec(made.model_dump(mode="json")) == made


def test_a_point_loss_keeps_the_levels_out_of_the_meaning_of_trials() -> None:
    made = spec(loss="MAE", level="80 95")
    assert (made.loss, made.level) == ("MAE", (80, 95))
    assert made.identity("data") == spec(loss="MAE").identity("data")


def test_the_validation_loss_gets_the_levels_of_the_loss() -> None:
    made = spec(loss="MQLoss", valid_loss="HuberMQLoss", level=[80])
    assert made.valid_loss == {"name": "HuberMQLoss", "level": [80]}
    assert spec(loss="MAE", valid_loss="MQLoss", level=[80]).valid_loss == "MQLoss"


@pytest.mark.parametrize("arguments", [{"level": [80]}, {"quantiles": [0.1, 0.9]}], ids=str)
def test_levels_are_written_once(arguments: dict[str, Any]) -> None:
    with pytest.raises(
        InputError, match=r"^level: got \[90\]; the loss has (level|quantiles) .*: write one of the two"
    ):
        spec(loss={"name": "MQLoss", **arguments}, level=[90])


@pytest.mark.parametrize("name", WITHOUT_INTERVALS)
def test_a_loss_of_single_quantiles_has_no_intervals(name: str) -> None:
    with pytest.raises(InputError, match=rf"^level: got \[80\]; {name} forecasts single quantiles"):
        spec(loss=name, level=[80])
