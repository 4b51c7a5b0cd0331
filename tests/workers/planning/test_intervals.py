"""Prediction intervals in planning: what cannot work is refused before any training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
import torch
from neuralforecast.auto import AutoMLP
from neuralforecast.losses.pytorch import MAE, MQLoss, QuantileLoss

from castpool.sampler_policies.errors import InputError
from castpool.sampler_policies.plan import largest_input
from castpool.workers.planning.auto_model import read_auto
from castpool.workers.planning.create_study import Draft, draft_study
from castpool.workers.spec.job import Job
from castpool.workers.spec.study_spec import make_spec

Make = Callable[..., Draft]


def test_the_windows_leave_room_for_the_longest_input(job: Callable[..., Job], panel: pd.DataFrame) -> None:
    table = panel.groupby("unique_id").tail(34).reset_index(drop=True)
    made = job(table=table, holdout=4, val_size=4, level=[80], space={"input_size": [4, 8, 20], "hidden_size": 8})
    longest = largest_input(made.plan, made.model, 4)
    intervals = made.plan.find("intervals")
    assert longest == 20
    assert intervals is not None
    taken = 4 + (intervals.arguments["windows"] - 1) * intervals.arguments["step_size"]
    assert taken + longest + 1 <= 30
    assert intervals.arguments["windows"] >= 2


def test_too_short_series_are_refused(draft: Make, panel: pd.DataFrame) -> None:
    table = panel.groupby("unique_id").tail(14).reset_index(drop=True)
    with pytest.raises(InputError, match=r"^level: got \[80\]; the shortest series has 14 observations") as refused:
        draft(table=table, horizon=1, holdout=0, val_size=1, level=[80], space={"input_size": 12, "hidden_size": 8})
    assert "1 beside a training, and intervals need 2" in str(refused.value)


def test_two_losses_with_different_quantiles_are_refused_before_any_training(draft: Make) -> None:
    losses = {"loss": {"name": "MQLoss", "level": [80]}, "valid_loss": {"name": "MQLoss", "level": [90]}}
    with pytest.raises(InputError, match="quantiles"):
        draft(**losses)
    draft(loss="MQLoss", valid_loss="MQLoss", level=[80])


# A loss with weights of the horizon has no name and arguments that a spec could hold.
WEIGHTS = torch.ones(4)


def draft_with(loss: Any, panel: pd.DataFrame) -> Draft:
    config = {"input_size": 8, "hidden_size": 8, "num_layers": 2, "max_steps": 4}
    given = read_auto(AutoMLP(h=4, loss=loss, config=config, num_samples=1))
    spec = make_spec({**given.values, "level": [80], "val_size": 4})
    return draft_study(spec, panel, objects=given.objects, base_space=given.base_space)


def test_a_point_loss_as_an_object_has_conformal_intervals(panel: pd.DataFrame) -> None:
    assert draft_with(MAE(horizon_weight=WEIGHTS), panel).job.plan.find("intervals") is not None


@pytest.mark.parametrize(
    "loss", [MQLoss(level=[80], horizon_weight=WEIGHTS), QuantileLoss(0.5, WEIGHTS), MQLoss(level=[80])], ids=repr
)
def test_a_loss_with_quantiles_as_an_object_is_refused(loss: Any, panel: pd.DataFrame) -> None:
    with pytest.raises(InputError, match=r"^level: got \[80\]"):
        draft_with(loss, panel)
