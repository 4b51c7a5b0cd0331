"""Losses by name and back."""

from __future__ import annotations

from typing import Any

import neuralforecast.losses.pytorch as losses
import pytest
import torch

from castpool.sampler_policies.errors import InputError
from castpool.workers.training.losses import NAMES, build_loss, describe_loss

EXAMPLES: list[torch.nn.Module] = [
    losses.MAE(),
    losses.HuberLoss(delta=2.5),
    losses.QuantileLoss(q=0.3),
    losses.MQLoss(level=[80, 95]),
    losses.MQLoss(quantiles=[0.1, 0.5, 0.9]),
    losses.MASE(seasonality=12),
    losses.DistributionLoss("Normal"),
    losses.DistributionLoss("StudentT", level=[70]),
    losses.GMM(n_components=3),
]


@pytest.mark.parametrize("loss", EXAMPLES, ids=lambda loss: type(loss).__name__)
def test_a_described_loss_is_built_again_as_it_was(loss: torch.nn.Module) -> None:
    described = describe_loss(loss)
    assert described is not None
    again = build_loss("loss", described)
    assert type(again) is type(loss)
    assert {k: v.tolist() for k, v in again.state_dict().items()} == {
        k: v.tolist() for k, v in loss.state_dict().items()
    }
    for name in ("delta", "q", "seasonality", "distribution", "n_components"):
        assert getattr(again, name, None) == getattr(loss, name, None)


def test_a_default_loss_is_described_by_its_name_alone() -> None:
    assert describe_loss(losses.MAE()) == "MAE"


def test_a_loss_of_the_users_own_has_no_description() -> None:
    class Mine(losses.MAE):  # type: ignore[misc]
        pass

    assert describe_loss(Mine()) is None
    assert describe_loss(losses.MAE(horizon_weight=torch.tensor([1.0, 2.0]))) is None


@pytest.mark.parametrize(
    ("described", "words"),
    [
        ("HubberLoss", "did you mean 'HuberLoss'?"),
        ("Accuracy", "write one of"),
        ({"level": [80]}, "write its name too"),
        ({"name": "QuantileLoss"}, "it takes q"),
        ({"name": "MAE", "detla": 1}, "neuralforecast refuses it"),
    ],
)
def test_a_wrong_loss_is_one_sentence(described: Any, words: str) -> None:
    with pytest.raises(InputError) as caught:
        build_loss("loss", described)
    assert words in str(caught.value)


def test_losses_that_cannot_train_are_not_offered() -> None:
    assert {"MAE", "MQLoss", "DistributionLoss"} <= set(NAMES)
    assert not {"relMSE", "Accuracy", "sCRPS", "BasePointLoss"} & set(NAMES)
