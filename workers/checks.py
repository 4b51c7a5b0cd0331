"""Whether neuralforecast takes what a study would train: its loss, and models built from its space.

Quick to import: who asks may leave the answer to another process (`workers.errand`), which has neuralforecast loaded.
"""

from __future__ import annotations

import optuna

from sampler_policies.errors import InputError
from workers.hierarchy import reconciled
from workers.job import Job
from workers.logs import quiet

SAMPLED_BUILDS = 8


def check_job(job: Job) -> list[str]:
    """Build what the trials will build; return warnings of what neuralforecast refuses of it.

    Raises:
        InputError: it refuses the loss, the combination of model, loss and columns, or every configuration.
    """
    from workers.losses import build_loss

    quiet()
    if job.extras.loss is None:
        build_loss("loss", job.spec.loss)
    _refuse_impossible_model(job)
    return _what_models_refuse(job)


def _refuse_impossible_model(job: Job) -> None:
    from workers.objective import build_model, configure

    # The defaults stand for all configurations: loss, columns and model are the same in each.
    trials = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trials.enqueue_trial(dict(job.plan.default))
    config = configure(job, trials.ask())
    try:
        model = build_model(job, config, [])
        model.serialize()  # what cannot be saved is known now, not after the last trial
        if job.series.hierarchy is not None:
            reconciled(model, job.series.hierarchy, job.spec.reconciliation)
    except InputError:
        raise
    except Exception as error:
        remedy = f"neuralforecast refuses this combination: {_first_line(error)}"
        raise InputError("model", job.model.name, remedy) from error


def _what_models_refuse(job: Job) -> list[str]:
    """Return a warning where neuralforecast refuses some configurations of the space.

    Raises:
        InputError: it refuses every one that was tried.
    """
    from workers.objective import build_model, configure

    if not job.spec.space:
        return []  # the model's own space is sound
    trials = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    refused: list[str] = []
    for _ in range(SAMPLED_BUILDS):
        config = configure(job, trials.ask())
        try:
            build_model(job, config, [])
        except Exception as error:
            refused.append(_first_line(error))
    if len(refused) == SAMPLED_BUILDS:
        remedy = f"neuralforecast refuses every configuration that was tried: {refused[0]}"
        raise InputError("space", ", ".join(job.spec.space), remedy)
    if not refused:
        return []
    return [f"neuralforecast refuses {len(refused)} of {SAMPLED_BUILDS} sampled configurations: {refused[0]}"]


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
