"""One trial's training, for real: what is reported, when it ends, what it leaves alone."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import optuna
import pandas as pd
import pytest
import pytorch_lightning as pl
import torch

from castpool.sampler_policies.errors import InputError
from castpool.workers.planning.create_study import Draft
from castpool.workers.spec.job import Job
from castpool.workers.spec.python_objects import PythonObjects
from castpool.workers.support.signals import StopRequest
from castpool.workers.training.ending import Ending
from castpool.workers.training.objective import build_model, train


def never(step: int) -> None:
    return None


def ask(pruner: optuna.pruners.BasePruner | None = None, **params: Any) -> optuna.Trial:
    study = optuna.create_study(pruner=pruner or optuna.pruners.NopPruner(), sampler=optuna.samplers.RandomSampler(1))
    study.enqueue_trial(params)
    return study.ask()


class PruneAt(optuna.pruners.BasePruner):
    """Prunes at one step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        return trial.last_step == self.step


def test_each_validation_check_is_reported_at_its_training_step(job: Callable[..., Job]) -> None:
    trial = ask()
    trained = train(job(), trial, is_prunable=True, interruption=never)
    reported = trial.study.trials[0].intermediate_values
    assert list(reported) == [2, 4, 6]
    assert trained.ending == Ending("complete")
    assert trained.value == min(reported.values())
    assert reported[trained.best_step] == trained.value


def test_a_pruned_training_stops_at_that_check_and_trains_no_step_more(job: Callable[..., Job]) -> None:
    steps: list[int] = []

    class Count(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, *batch: Any) -> None:
            steps.append(trainer.global_step)

    trial = ask(PruneAt(4))
    small = job(objects=PythonObjects(config=lambda trial: {"input_size": 4, "callbacks": [Count()], "hidden_size": 8}))
    trained = train(small, trial, is_prunable=True, interruption=never)
    assert trained.ending.outcome == "pruned"
    assert "step 4" in (trained.ending.reason or "")
    assert steps == [1, 2, 3, 4]


def test_the_default_configuration_is_not_pruned(job: Callable[..., Job]) -> None:
    trial = ask(PruneAt(2))
    assert train(job(), trial, is_prunable=False, interruption=never).ending.outcome == "complete"


def test_a_trial_at_its_last_step_is_complete_whatever_the_pruner_says(job: Callable[..., Job]) -> None:
    trial = ask(PruneAt(6))
    assert train(job(), trial, is_prunable=True, interruption=never).ending.outcome == "complete"


def test_a_request_to_stop_is_noticed_at_the_next_check(job: Callable[..., Job]) -> None:
    trial = ask()
    trained = train(job(), trial, is_prunable=True, interruption=lambda step: Ending("stopped", "asked"))
    assert trained.ending == Ending("stopped", "asked")
    assert trial.study.trials[0].intermediate_values == {}


def test_a_diverged_training_ends_with_a_reason_and_reports_nothing_that_is_no_number(job: Callable[..., Job]) -> None:
    trial = ask()
    small = job(space={"learning_rate": 1e30, "hidden_size": 8, "num_layers": 2})
    trained = train(small, trial, is_prunable=True, interruption=never)
    assert trained.ending.outcome == "diverged"
    assert "loss is nan" in (trained.ending.reason or "").lower()
    assert all(abs(value) < float("inf") for value in trial.study.trials[0].intermediate_values.values())


@pytest.mark.parametrize("training_step_size", [1, 4])
def test_validation_windows_are_the_same_whatever_step_size_a_trial_trains_with(
    job: Callable[..., Job], training_step_size: int
) -> None:
    windows: list[int] = []
    training: list[int] = []

    class Watch(pl.Callback):
        def on_validation_batch_end(self, trainer: pl.Trainer, module: Any, *batch: Any) -> None:
            windows.append(int(module.validation_step_outputs[-1][1]))

        def on_train_batch_start(self, trainer: pl.Trainer, module: Any, *batch: Any) -> None:
            training.append(module.step_size)

    def config(trial: optuna.trial.BaseTrial) -> dict[str, Any]:
        return {"input_size": 4, "hidden_size": 8, "step_size": training_step_size, "callbacks": [Watch()]}

    small = job(val_size=8, val_step_size=2, objects=PythonObjects(config=config))
    train(small, ask(), is_prunable=True, interruption=never)
    # Eight observations hold windows of four at offsets 0, 2 and 4, in each of three series.
    assert set(windows) == {9}
    assert set(training) == {training_step_size}


def test_the_same_parameters_and_seed_give_the_same_losses(job: Callable[..., Job]) -> None:
    curves = []
    for _ in range(2):
        trial = ask(learning_rate=0.01, input_size=8)
        train(job(), trial, is_prunable=True, interruption=never)
        curves.append(trial.study.trials[0].intermediate_values)
    assert curves[0] == curves[1]


def test_a_trial_trains_on_one_device_and_writes_and_prints_nothing(
    job: Callable[..., Job], capfd: pytest.CaptureFixture[str], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    train(job(), ask(), is_prunable=True, interruption=never)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_exogenous_columns_reach_the_model(job: Callable[..., Job], panel: pd.DataFrame, tmp_path: Any) -> None:
    future = tmp_path / "future.csv"
    last = pd.date_range("2020-01-01", periods=4, freq="MS")
    rows = [{"unique_id": f"series-{n}", "ds": ds, "promo": 0.0} for n in range(3) for ds in last]
    pd.DataFrame(rows).to_csv(future, index=False)
    small = job(futr_exog=["promo"], stat_exog=["size"], futr_data=str(future))
    assert small.plan.space is not None
    model = build_model(small, small.plan.space.suggest(ask()), [])
    assert (model.futr_exog_list, model.stat_exog_list, model.hist_exog_list) == (["promo"], ["size"], [])
    assert train(small, ask(), is_prunable=True, interruption=never).ending.outcome == "complete"


def test_a_multivariate_model_gets_the_number_of_series(job: Callable[..., Job]) -> None:
    small = job(model="TSMixer", space={"ff_dim": 8, "n_block": 1})
    assert small.plan.space is not None
    assert build_model(small, small.plan.space.suggest(ask()), []).n_series == 3
    assert train(small, ask(), is_prunable=True, interruption=never).ending.outcome == "complete"


def test_losses_come_from_the_spec_and_objects_win(job: Callable[..., Job]) -> None:
    from neuralforecast.losses.pytorch import HuberLoss

    small = job(loss={"name": "MQLoss", "level": [80]})
    assert small.plan.space is not None
    model = build_model(small, small.plan.space.suggest(ask()), [])
    assert torch.allclose(model.loss.quantiles.sort().values, torch.tensor([0.1, 0.5, 0.9]), atol=1e-6)
    small = job(objects=PythonObjects(loss=HuberLoss(delta=3.0)))
    assert small.plan.space is not None
    assert build_model(small, small.plan.space.suggest(ask()), []).loss.delta == 3.0


def test_a_loss_that_the_model_refuses_is_one_sentence_before_anything_runs(draft: Callable[..., Draft]) -> None:
    with pytest.raises(InputError, match="neuralforecast refuses this combination"):
        draft(valid_loss={"name": "DistributionLoss", "distribution": "Normal"})


def test_sigterm_in_the_middle_of_a_training_hands_it_back(job: Callable[..., Job]) -> None:
    class Terminate(pl.Callback):
        def on_train_batch_start(self, trainer: pl.Trainer, module: Any, *batch: Any) -> None:
            if trainer.global_step == 3:
                os.kill(os.getpid(), signal.SIGTERM)

    small = job(
        objects=PythonObjects(config=lambda trial: {"input_size": 4, "callbacks": [Terminate()], "hidden_size": 8})
    )
    trial = ask()
    with StopRequest() as stop:
        trained = train(
            small,
            trial,
            is_prunable=True,
            interruption=lambda step: Ending("stopped", "asked") if stop.is_set else None,
        )
    assert trained.ending == Ending("stopped", "asked")
    # An epoch is one batch here: where the next begins, it is left.
    assert list(trial.study.trials[0].intermediate_values) == [2, 4]


def test_a_loss_that_could_not_be_saved_is_refused_before_anything_runs(draft: Callable[..., Draft]) -> None:
    from neuralforecast.losses.pytorch import MAE

    class Unregistered(MAE):  # type: ignore[misc]
        pass

    with pytest.raises(InputError, match="register_loss"):
        draft(objects=PythonObjects(loss=Unregistered()))


def test_the_last_check_counts_where_the_best_is_left_out(job: Callable[..., Job]) -> None:
    # A learning rate that makes the loss go up and down.
    space = {"hidden_size": 8, "num_layers": 2, "learning_rate": 0.5}
    curves = []
    for disabled in (["patience"], ["patience", "best-check"]):
        trial = ask()
        small = job(max_steps=20, space=space, disable=disabled)
        trained = train(small, trial, is_prunable=True, interruption=never)
        curves.append((trained.value, trained.best_step, trial.study.trials[0].intermediate_values))
    (best, best_step, curve), (last, last_step, again) = curves
    assert curve == again
    assert (best, curve[best_step]) == (min(curve.values()), min(curve.values()))
    assert (last, last_step) == (curve[20], 20)
    assert best < last


def test_a_trial_ends_complete_where_checks_were_in_vain(job: Callable[..., Job]) -> None:
    small = job(max_steps=40, val_check_steps=2, space={"hidden_size": 8, "num_layers": 2, "learning_rate": 0.5})
    assert small.plan.patience == 7
    trial = ask()
    trained = train(small, trial, is_prunable=True, interruption=never)
    curve = trial.study.trials[0].intermediate_values
    assert trained.ending == Ending("complete")
    assert trained.value == min(curve.values()) == curve[trained.best_step]
    assert max(curve) == trained.best_step + 2 * small.plan.patience < 40
    default = ask()
    train(small, default, is_prunable=False, interruption=never)
    assert max(default.study.trials[0].intermediate_values) == 40, "the default is not stopped early"


def test_a_data_set_is_built_once_unless_that_is_left_out(job: Callable[..., Job]) -> None:
    shared, each = job(), job(disable=["shared-data"])
    assert shared.dataset is shared.dataset
    assert each.dataset is not each.dataset
    assert torch.equal(each.dataset.temporal, shared.dataset.temporal)
