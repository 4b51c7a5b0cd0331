"""One configuration trained without validation, up to a step: for the result, and for the evaluation of finalists."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import optuna
import pytorch_lightning as pl
from neuralforecast import NeuralForecast
from neuralforecast.utils import PredictionIntervals
from pytorch_lightning.utilities.exceptions import SIGTERMException

from castpool.sampler_policies.plan import PATIENCE
from castpool.workers.data.hierarchy import reconciled
from castpool.workers.spec.job import Job
from castpool.workers.training.objective import build_model


class StopAt(pl.Callback):
    """Stops a training at one step. A learning-rate schedule made for more steps stays as it was.

    Args:
        step: the step.
        is_stopped: takes the number of steps so far after each batch, those of earlier trainings of the same fit
            included (conformal intervals take one), and returns whether to stop at once.
    """

    def __init__(self, step: int, is_stopped: Callable[[int], bool]) -> None:
        self.step = step
        self._is_stopped = is_stopped
        self._earlier = 0

    def __deepcopy__(self, memo: dict[int, Any]) -> StopAt:
        """Return the same callback: a copy of a model is stopped by the same request."""
        return self

    def on_train_batch_end(self, trainer: pl.Trainer, *batch: Any) -> None:
        """Stop at the step, or where a stop is requested."""
        if self._is_stopped(self._earlier + trainer.global_step) or trainer.global_step >= self.step:
            trainer.should_stop = True

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Count the steps of this training as earlier ones of the next."""
        self._earlier += trainer.global_step


def build_untrained(job: Job, config: Mapping[str, Any], **changed: Any) -> Any:
    """Return the model of a configuration, inside HINT where the series add up.

    Args:
        job: of the study.
        config: the model's arguments.
        **changed: arguments of the model that override all others.
    """
    max_steps = int(config.get("max_steps", job.plan.max_steps))
    # Without validation there is no patience to run out.
    never = {PATIENCE: -1} if PATIENCE in job.model.arguments else {}
    model = build_model(job, config, [], val_check_steps=max_steps, **never, **changed)
    if job.series.hierarchy is None:
        return model
    return reconciled(model, job.series.hierarchy, job.spec.reconciliation)


@contextlib.contextmanager
def stopping_at(
    fitted: NeuralForecast,
    number: int,
    step: int,
    is_stopped: Callable[[int], bool],
    callbacks: Sequence[pl.Callback] = (),
) -> Iterator[None]:
    """Let a model train up to a step in the block. After it, no callback of castpool's stops a later fit.

    Args:
        fitted: the models.
        number: of the model among them.
        step: the last training step.
        is_stopped: takes the training step after each batch, and returns whether to stop at once.
        callbacks: more of Lightning's callbacks for the block.
    """
    ours = [*callbacks, StopAt(step, is_stopped)]
    # `NeuralForecast` copies the models that it is made of, and again for a fit that is to begin anew.
    for models in (fitted.models, fitted.models_init):
        _callbacks(models[number]).extend(ours)
    try:
        with contextlib.suppress(SIGTERMException):  # Lightning raises it at a SIGTERM, which is a stop request too
            yield
    finally:
        kinds = tuple(type(callback) for callback in ours)
        for models in (fitted.models, fitted.models_init):
            present = _callbacks(models[number])
            present[:] = [callback for callback in present if not isinstance(callback, kinds)]


def _callbacks(model: Any) -> list[pl.Callback]:
    inner = getattr(model, "model", model) if type(model).__name__ == "HINT" else model
    callbacks: list[pl.Callback] = inner.trainer_kwargs["callbacks"]
    return callbacks


def prediction_intervals(job: Job) -> PredictionIntervals | None:
    """Return what a fit needs for conformal intervals; None where the user asks for none."""
    decision = job.plan.find("intervals")
    if decision is None:
        return None
    return PredictionIntervals(
        n_windows=int(decision.arguments["windows"]), step_size=int(decision.arguments["step_size"])
    )


def configuration_of(job: Job, trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    """Return the model's arguments that the trial was trained with."""
    if job.objects.config is not None:
        return dict(job.objects.config(optuna.trial.FixedTrial(trial.params)))
    assert job.plan.space is not None
    return job.plan.space.decode(trial.params)
