"""The refit: the members of the result, trained on all data."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import optuna
from neuralforecast import NeuralForecast

from castpool.workers.spec.job import Job
from castpool.workers.support.signals import StopRequest
from castpool.workers.training.fast_step_callback import FastStepCallback
from castpool.workers.training.fit import build_untrained, configuration_of, prediction_intervals, stopping_at

PROGRESS_SECONDS = 10.0


@dataclass(frozen=True)
class Fit:
    """One model to fit: a trial's configuration, trained up to a step, under an alias.

    Attributes:
        job: of the trial's study.
        trial: whose configuration it is.
        step: the last training step.
        alias: the name of its columns in forecasts; None is the model's name.
    """

    job: Job
    trial: optuna.trial.FrozenTrial
    step: int
    alias: str | None = None


def fit_members(members: Sequence[Fit], stop: StopRequest, say: Callable[[str], None]) -> NeuralForecast:
    """Return the members, trained on all data; a stop request ends the training early."""
    series = members[0].job.series
    models = [
        build_untrained(
            member.job,
            configuration_of(member.job, member.trial),
            **({"alias": member.alias} if member.alias is not None else {}),
        )
        for member in members
    ]
    fitted = NeuralForecast(models=models, freq=series.freq)
    # Conformal intervals need a training on older data first: after it, each model begins anew.
    # Of several studies, the one with the fewest observations in its windows leaves enough for every model.
    found = [each for member in members if (each := prediction_intervals(member.job)) is not None]
    intervals = min(found, key=lambda each: (each.n_windows - 1) * each.step_size, default=None)
    with ExitStack() as limited:
        for number, member in enumerate(members):
            prefix = f"model {number + 1} of {len(members)}, " if len(members) > 1 else ""
            trainings = 1 if intervals is None else 2
            progress = _Progress(stop, say, trainings * member.step, prefix)
            fast = FastStepCallback(member.job.spec.disable)
            limited.enter_context(stopping_at(fitted, number, member.step, progress, [fast]))
        fitted.fit(
            series.frame,
            static_df=series.static,
            prediction_intervals=intervals,
            use_init_models=intervals is not None,
        )
    return fitted


class _Progress:
    """Reports the progress every `PROGRESS_SECONDS`, and says whether to stop."""

    def __init__(self, stop: StopRequest, say: Callable[[str], None], step: int, prefix: str) -> None:
        self._stop, self._say, self._step, self._prefix = stop, say, step, prefix
        self._reported_at = time.monotonic()

    def __call__(self, step: int) -> bool:
        if time.monotonic() - self._reported_at >= PROGRESS_SECONDS:
            self._reported_at = time.monotonic()
            self._say(f"fitting: {self._prefix}step {step} of {self._step}")
        return self._stop.is_set
