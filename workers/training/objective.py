"""A trial's training: configuration, model, fit, value. The part that needs neuralforecast and torch."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import optuna
import pytorch_lightning as pl
import torch
from optuna.exceptions import UpdateFinishedTrialError
from pytorch_lightning.utilities.exceptions import SIGTERMException

from castpool import attributes
from castpool.sampler_policies.errors import InputError
from castpool.sampler_policies.plan import PATIENCE
from castpool.storage.budget.outcome import Outcome
from castpool.workers.spec.job import Job
from castpool.workers.training.checkpoint_callback import CheckpointCallback, TrainingInterruptedError
from castpool.workers.training.checkpoint_store import CheckpointStore
from castpool.workers.training.ending import Ending
from castpool.workers.training.failures import DIVERGED, OUT_OF_MEMORY, decide_retry, failure_of, first_line, halved
from castpool.workers.training.fast_step_callback import FastStepCallback
from castpool.workers.training.losses import build_loss
from castpool.workers.training.phase_timer import PhaseTimer, PhaseTimerCallback
from castpool.workers.training.pruning_callback import PruningCallback
from castpool.workers.training.training_state import unpack

log = logging.getLogger("castpool.worker")

# A trial trains on one device, writes no files and prints nothing; the pool shows progress.
TRAINER = {
    "devices": 1,
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
}


@dataclass(frozen=True)
class TrainingResult:
    """The result of a training. ``value`` is the best validation loss, reached at step ``best_step``.

    ``seconds`` is the time of building, training and validating, without reports, the pruner and checkpoints;
    ``step`` is how far the training came, ``changed`` the batch sizes that were reduced after running out of memory,
    ``model`` the trained model, unless the training failed or is resumed by another attempt.
    """

    ending: Ending
    value: float
    best_step: int
    seconds: float
    step: int = 0
    changed: Mapping[str, int] = field(default_factory=dict)
    model: Any = field(default=None, repr=False)


def configure(job: Job, trial: optuna.Trial) -> dict[str, Any]:
    """Ask the trial for a configuration: the model's arguments, JSON values unless the user's function differs."""
    if job.objects.config is not None:
        config = dict(job.objects.config(trial))
        config.pop("h", None)
        return {name: value for name, value in config.items() if name not in ("loss", "valid_loss", "n_series")}
    if job.plan.space is None:
        raise InputError("study", "no configuration function", "run the Python that made this study.")
    return job.plan.space.suggest(trial)


def reduced_for_memory(job: Job, config: Mapping[str, Any], failures: Mapping[str, int]) -> dict[str, int]:
    """Return the batch sizes of an attempt, halved once for each earlier attempt that ran out of memory."""
    times = failures.get(OUT_OF_MEMORY, 0)
    return halved(config, job.model.defaults, times) if times else {}


def record_config(trial: optuna.Trial, config: Mapping[str, Any]) -> None:
    """Store a configuration before its training, and with it the parameters: a retry repeats them."""
    trial.set_user_attr(attributes.CONFIG, json.loads(json.dumps(dict(config), default=repr)))


def build_model(job: Job, config: Mapping[str, Any], callbacks: list[pl.Callback], **changed: Any) -> Any:
    """Return the neuralforecast model of a configuration. ``changed`` overrides all other arguments.

    Raises:
        InputError: neuralforecast refuses the combination of model, loss and columns.
    """
    model = job.model.model_class(**{**model_arguments(job), **config, **changed})
    # Not as an argument: those become hyper-parameters, which are copied and saved with the model.
    model.trainer_kwargs["callbacks"] = [*(model.trainer_kwargs.get("callbacks") or ()), *callbacks]
    return model


def model_arguments(job: Job) -> dict[str, Any]:
    """Return the arguments of a model that the study sets. A configuration may override them."""
    spec, objects = job.spec, job.objects
    arguments: dict[str, Any] = {
        "h": spec.horizon,
        "loss": objects.loss or build_loss("loss", spec.loss),
        "valid_loss": objects.valid_loss or (build_loss("valid_loss", spec.valid_loss) if spec.valid_loss else None),
        "max_steps": job.plan.max_steps,
        "val_check_steps": job.plan.val_check_steps,
        "hist_exog_list": list(spec.hist_exog) or None,
        "futr_exog_list": list(spec.futr_exog) or None,
        "stat_exog_list": _static_columns(job) or None,
        **TRAINER,
    }
    if job.model.needs_n_series:
        arguments["n_series"] = job.series.n_series
    return arguments


def _static_columns(job: Job) -> list[str]:
    static = job.series.static
    return [] if static is None else [name for name in static.columns if name != "unique_id"]


def train(
    job: Job,
    trial: optuna.Trial,
    *,
    is_prunable: bool,
    interruption: Callable[[int], Ending | None],
    checkpoints: CheckpointStore | None = None,
    failures: Mapping[str, int] = MappingProxyType({}),
    spent: PhaseTimer | None = None,
) -> TrainingResult:
    """Train one trial until it completes, is pruned, fails or is interrupted.

    Args:
        job: of the study.
        trial: suggests the configuration, and takes the reports.
        is_prunable: whether it may be stopped early, by the pruner or by early stopping.
        interruption: takes the training step and returns how the training must end, or None.
        checkpoints: where its state is saved and loaded.
        failures: how often attempts at the same slot have failed before, by class of failure; the batches are halved
            once for each that ran out of memory.
        spent: the timer that counts its phases.
    """
    spent = spent or PhaseTimer()
    with spent.on("sampling"):
        config = configure(job, trial)
    changed = reduced_for_memory(job, config, failures)
    config |= changed
    record_config(trial, config)
    max_steps = int(config.get("max_steps", job.plan.max_steps))
    pruning = PruningCallback(
        trial,
        val_step_size=job.spec.validation_step_size,
        max_steps=max_steps,
        is_prunable=is_prunable,
        interruption=interruption,
        keeps_best="best-check" not in job.spec.disable,
        spent=spent,
    )
    checkpointing = CheckpointCallback(
        checkpoints.save if checkpoints else None,
        _load_state(checkpoints),
        job.spec.checkpoint_seconds,
        lambda: interruption(pruning.step) is not None,
        spent,
    )
    # A trial that must not be pruned must not be stopped early either.
    patience = {PATIENCE: job.plan.patience} if is_prunable and job.plan.patience else {}
    before = _training_seconds(spent)
    ending: Ending | None = None
    model = None
    try:
        # neuralforecast prints the whole configuration of a model that diverged.
        with contextlib.redirect_stdout(io.StringIO()), spent.on("setup"):
            model = build_model(
                job,
                {**patience, **config},
                [PhaseTimerCallback(spent), pruning, checkpointing, FastStepCallback(job.spec.disable)],
            )
            model.fit(job.dataset, val_size=job.spec.validation_size)
    except TrainingInterruptedError:
        ending = interruption(pruning.step)
    except SIGTERMException:
        # Lightning's handler, where the signal came before CheckpointCallback restored ours.
        ending = interruption(pruning.step) or Ending(Outcome.STOPPED, "released: worker is shutting down")
    except UpdateFinishedTrialError:
        raise  # another worker has ended this attempt: not a failure of the training
    except optuna.TrialPruned as error:
        ending = Ending(Outcome.PRUNED, str(error))
    except Exception as error:
        ending = ending_after_error(error, failures)
    seconds = _training_seconds(spent) - before
    ending = ending or pruning.ending
    # A training that was cut short may be the study's best, and its validation plot is drawn then.
    kept = model if ending.outcome in (Outcome.COMPLETE, Outcome.PRUNED, Outcome.OVER) else None
    return TrainingResult(ending, pruning.best_value, pruning.best_step, seconds, pruning.step, changed, kept)


def _training_seconds(spent: PhaseTimer) -> float:
    return sum(spent.seconds[phase] for phase in ("setup", "training", "validation"))


def _load_state(checkpoints: CheckpointStore | None) -> dict[str, Any] | None:
    """Return the state to resume from; None where there is none or it cannot be read."""
    packed = checkpoints.load() if checkpoints else None
    if packed is None:
        return None
    try:
        return unpack(packed)
    except Exception:
        log.warning("a checkpoint cannot be read; the training restarts at step 0", exc_info=True)
        return None


def free_memory() -> None:
    """Free the memory that a failed training has left allocated."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def ending_after_error(error: Exception, failures: Mapping[str, int]) -> Ending:
    """Return how an attempt ended that raised an error. ``failures``: earlier ones at the slot, by class."""
    log.warning("an attempt failed", exc_info=True)
    return ending_after_failure(failure_of(error), first_line(error), failures)


def ending_after_failure(failure: str, reason: str, failures: Mapping[str, int]) -> Ending:
    """Return how an attempt ended by a failure of a class. ``failures``: earlier ones at the slot, by class."""
    if failure == DIVERGED:
        return Ending(Outcome.DIVERGED, reason)
    verdict = decide_retry(failure, reason, failures)
    outcome = Outcome.RETRIED if verdict.is_retried else Outcome.FAILED
    return Ending(outcome, verdict.reason, verdict.failure, verdict.starts_anew, verdict.pause_seconds)
