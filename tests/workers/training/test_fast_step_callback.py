"""Cheaper steps learn the same: the windows, the draws and the losses are those of neuralforecast."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import neuralforecast.models
import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
from neuralforecast.tsdataset import TimeSeriesDataset

from castpool.workers.training.fast_step_callback import STEP_OPTIMIZATIONS, FastStepCallback
from castpool.workers.training.objective import TRAINER

HORIZON = 3
MLP: dict[str, Any] = {"hidden_size": 8, "num_layers": 2}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "series of many lengths": ("MLP", MLP),
    "batches of some series": ("MLP", {**MLP, "batch_size": 2}),
    "more windows than there are": ("MLP", {**MLP, "windows_batch_size": 999}),
    "all windows": ("MLP", {**MLP, "windows_batch_size": None, "batch_size": 2}),
    "far steps": ("MLP", {**MLP, "step_size": 3}),
    "padded starts": ("MLP", {**MLP, "start_padding_enabled": True}),
    "half-filled windows": ("MLP", {**MLP, "training_data_availability_threshold": [0.5, 1.0]}),
    "exogenous columns": (
        "MLP",
        {**MLP, "hist_exog_list": ["promo"], "futr_exog_list": ["promo"], "stat_exog_list": ["size"]},
    ),
    "dropout": ("NHITS", {"mlp_units": [[8, 8]] * 3, "dropout_prob_theta": 0.3, "batch_size": 2}),
    "scaled": ("DLinear", {"scaler_type": "robust"}),
    "recurrent": ("LSTM", {"encoder_hidden_size": 8, "decoder_hidden_size": 8, "h_train": 2}),
    "multivariate": ("TSMixer", {"n_series": 3, "ff_dim": 8, "n_block": 1}),
    "multivariate with columns": ("TSMixerx", {"n_series": 3, "ff_dim": 8, "n_block": 1, "futr_exog_list": ["promo"]}),
}
EXACT = [name for name in STEP_OPTIMIZATIONS if name != "fused-optimizer"]


@pytest.fixture(scope="module")
def dataset(panel: pd.DataFrame) -> TimeSeriesDataset:
    """Three series of 60, 45 and 30 observations; the masks differ, and so do the windows that have enough of them."""
    ragged = [series.iloc[15 * number :] for number, (_, series) in enumerate(panel.groupby("unique_id"))]
    static = panel.groupby("unique_id")[["size"]].first().reset_index()
    made, *_ = TimeSeriesDataset.from_df(pd.concat(ragged).drop(columns="size"), static_df=static)
    return made


def fitted(dataset: TimeSeriesDataset, name: str, arguments: dict[str, Any], *callbacks: pl.Callback) -> Any:
    model = getattr(neuralforecast.models, name)(
        h=HORIZON, input_size=6, max_steps=12, val_check_steps=4, callbacks=list(callbacks), **TRAINER, **arguments
    )
    return model.fit(dataset, val_size=HORIZON)


def losses(model: Any) -> tuple[list[float], list[float]]:
    return [loss for _, loss in model.train_trajectories], [loss for _, loss in model.valid_trajectories]


def without(*kept: str) -> Collection[str]:
    return [name for name in STEP_OPTIMIZATIONS if name not in kept]


@pytest.mark.parametrize("case", CASES)
def test_the_losses_are_those_of_a_plain_fit_to_the_last_bit(case: str, dataset: TimeSeriesDataset) -> None:
    name, arguments = CASES[case]
    plain = losses(fitted(dataset, name, arguments))
    assert len(plain[0]) == 12 and len(plain[1]) == 3
    assert losses(fitted(dataset, name, arguments, FastStepCallback(without(*EXACT)))) == plain


@pytest.mark.parametrize("case", ["series of many lengths", "recurrent", "multivariate"])
def test_a_fused_optimizer_differs_in_rounding_alone(case: str, dataset: TimeSeriesDataset) -> None:
    name, arguments = CASES[case]
    plain = losses(fitted(dataset, name, arguments))
    fused = losses(fitted(dataset, name, arguments, FastStepCallback(without("fused-optimizer"))))
    np.testing.assert_allclose(fused[0], plain[0], rtol=1e-4)
    np.testing.assert_allclose(fused[1], plain[1], rtol=1e-4)


def test_the_model_is_afterwards_as_it_was(dataset: TimeSeriesDataset) -> None:
    plain, quick = fitted(dataset, "MLP", MLP), fitted(dataset, "MLP", MLP, FastStepCallback())
    assert vars(quick).keys() == vars(plain).keys()
    assert (quick.optimizer, quick.optimizer_kwargs) == (None, {})


def test_an_optimizer_that_was_asked_for_is_the_one(dataset: TimeSeriesDataset) -> None:
    seen: list[torch.optim.Optimizer] = []

    class Look(pl.Callback):
        def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            seen.extend(trainer.optimizers)

    asked = {**MLP, "optimizer": torch.optim.Adam, "optimizer_kwargs": {"betas": (0.8, 0.9)}}
    fitted(dataset, "MLP", asked, FastStepCallback(), Look())
    fitted(dataset, "MLP", MLP, FastStepCallback(), Look())
    assert [optimizer.defaults["betas"] for optimizer in seen] == [(0.8, 0.9), (0.9, 0.999)]
    assert [optimizer.defaults["fused"] for optimizer in seen] == [None, True]


def test_complex_weights_have_no_fused_optimizer(dataset: TimeSeriesDataset) -> None:
    small = {"hidden_size": 8, "conv_hidden_size": 8, "n_head": 8, "encoder_layers": 1, "modes": 2}
    plain = losses(fitted(dataset, "FEDformer", small))
    assert losses(fitted(dataset, "FEDformer", small, FastStepCallback())) == plain


def test_whoever_looks_at_the_training_loss_sees_it(dataset: TimeSeriesDataset) -> None:
    seen: list[bool] = []

    class Look(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, *batch: Any) -> None:
            seen.append("train_loss_step" in trainer.callback_metrics)

    fitted(dataset, "MLP", MLP, FastStepCallback(), Look())
    assert len(seen) == 12 and all(seen)
    quiet = fitted(dataset, "MLP", MLP, FastStepCallback())
    assert not any(name.startswith("train_loss") for name in quiet.metrics)


def test_windows_longer_than_the_series_are_refused_as_ever(dataset: TimeSeriesDataset) -> None:
    class Lengthen(pl.Callback):
        def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
            pl_module.input_size = 99

    with pytest.raises(Exception, match="too short for training"):
        fitted(dataset, "MLP", MLP, FastStepCallback(), Lengthen())
