"""The build check: neuralforecast accepts the study's loss, and builds models from its search space.

It imports neuralforecast only when called, so that `pool.forked_call` can run it in a process that has it loaded.
"""

from __future__ import annotations

from typing import Any

import optuna

from castpool.sampler_policies.errors import InputError
from castpool.workers.data.hierarchy import reconciled
from castpool.workers.spec.interval_losses import WITHOUT_INTERVALS
from castpool.workers.spec.job import Job
from castpool.workers.support.logs import quiet

SAMPLED_BUILDS = 8


def check_job(job: Job) -> list[str]:
    """Build models as the trials will build them; return warnings about configurations that neuralforecast refuses.

    Raises:
        InputError: it refuses the loss, the combination of model, loss and columns, or every sampled configuration.
    """
    from castpool.workers.training.losses import build_loss

    quiet()
    if job.objects.loss is None:
        build_loss("loss", job.spec.loss)
    _refuse_impossible_model(job)
    return _sampled_build_warnings(job)


def _refuse_impossible_model(job: Job) -> None:
    from neuralforecast import NeuralForecast

    from castpool.workers.training.objective import build_model, configure

    # The defaults stand for all configurations: loss, columns and model are the same in each.
    trials = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trials.enqueue_trial(dict(job.plan.default))
    config = configure(job, trials.ask())
    try:
        model = build_model(job, config, [])
        model.serialize()  # a model that cannot be saved must fail now, not after the last trial
        _refuse_levels_beside_object(job, model.loss)
        NeuralForecast(models=[model], freq=job.series.freq)  # it compares the quantiles of both losses
        if job.series.hierarchy is not None:
            reconciled(model, job.series.hierarchy, job.spec.reconciliation)
    except InputError:
        raise
    except Exception as error:
        remedy = f"neuralforecast refuses this combination: {_first_line(error)}"
        raise InputError("model", job.model.name, remedy) from error


def _refuse_levels_beside_object(job: Job, loss: Any) -> None:
    # A spec holds the name of an object's class, to which `make_spec` has given the levels; the object has its own.
    asked = job.spec.loss.get("level") if isinstance(job.spec.loss, dict) else None
    asked = asked if job.objects.loss is not None else None
    learns = loss.outputsize_multiplier > 1 or type(loss).__name__ in WITHOUT_INTERVALS
    if asked or (job.spec.level and learns):
        remedy = "the loss, a Python object, learns intervals itself: write the levels in it."
        raise InputError("level", list(asked or job.spec.level), remedy)


def _sampled_build_warnings(job: Job) -> list[str]:
    """Return a warning where neuralforecast refuses some configurations of the space.

    Raises:
        InputError: it refuses every one of the sampled configurations.
    """
    from castpool.workers.training.objective import build_model, configure

    if not job.spec.space:
        return []  # the default space of the model builds
    trials = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    refused: list[str] = []
    for _ in range(SAMPLED_BUILDS):
        config = configure(job, trials.ask())
        try:
            build_model(job, config, [])
        except Exception as error:
            refused.append(_first_line(error))
    if len(refused) == SAMPLED_BUILDS:
        remedy = f"neuralforecast refuses every sampled configuration: {refused[0]}"
        raise InputError("space", ", ".join(job.spec.space), remedy)
    if not refused:
        return []
    return [f"neuralforecast refuses {len(refused)} of {SAMPLED_BUILDS} sampled configurations: {refused[0]}"]


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
