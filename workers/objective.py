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

from sampler_policies.errors import InputError
from sampler_policies.plan import PATIENCE
from workers.checkpointing import Checkpointing, TrainingLeft
from workers.checkpoints import Checkpoints
from workers.failures import DIVERGED, OUT_OF_MEMORY, failure_of, halved, in_one_line, judge
from workers.job import Job
from workers.losses import build_loss
from workers.quick_steps import QuickSteps
from workers.time_spent import Phases, TimeSpent
from workers.training_state import unpack
from workers.validation_hook import Ending, ValidationHook

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
class Trained:
    """What came of a training. ``value`` is the best check's loss, reached at step ``best_step``.

    ``seconds`` were spent building, training and validating, without what reports, the pruner and checkpoints took;
    ``step`` is how far the training came, ``changed`` what was changed of its configuration for want of memory,
    ``model`` the model as the training left it, unless it failed or goes on elsewhere.
    """

    ending: Ending
    value: float
    best_step: int
    seconds: float
    step: int = 0
    changed: Mapping[str, int] = field(default_factory=dict)
    model: Any = field(default=None, repr=False)


def configure(job: Job, trial: optuna.Trial) -> dict[str, Any]:
    """Ask the trial for a configuration: the model's arguments, JSON values unless the user's function says else."""
    if job.extras.config is not None:
        config = dict(job.extras.config(trial))
        config.pop("h", None)
        return {name: value for name, value in config.items() if name not in ("loss", "valid_loss", "n_series")}
    if job.plan.space is None:
        raise InputError("study", "no configuration function", "run the Python that made this study.")
    return job.plan.space.suggest(trial)


def for_want_of_memory(job: Job, config: Mapping[str, Any], failures: Mapping[str, int]) -> dict[str, int]:
    """Return the batch sizes of an attempt after others have run out of memory: halved as often."""
    times = failures.get(OUT_OF_MEMORY, 0)
    return halved(config, job.model.defaults, times) if times else {}


def record_config(trial: optuna.Trial, config: Mapping[str, Any]) -> None:
    """Write a configuration down before it trains, and with it the parameters: a retry repeats them."""
    trial.set_user_attr("config", json.loads(json.dumps(dict(config), default=repr)))


def build_model(job: Job, config: Mapping[str, Any], callbacks: list[pl.Callback], **changed: Any) -> Any:
    """Return the neuralforecast model of a configuration. ``changed`` wins over all.

    Raises:
        InputError: neuralforecast refuses the combination of model, loss and columns.
    """
    model = job.model.model_class(**{**model_arguments(job), **config, **changed})
    # Not as an argument: those become hyper-parameters, which are copied and saved with the model.
    model.trainer_kwargs["callbacks"] = [*(model.trainer_kwargs.get("callbacks") or ()), *callbacks]
    return model


def model_arguments(job: Job) -> dict[str, Any]:
    """Return the arguments of a model that the study decides, which a configuration may overrule."""
    spec, extras = job.spec, job.extras
    arguments: dict[str, Any] = {
        "h": spec.horizon,
        "loss": extras.loss or build_loss("loss", spec.loss),
        "valid_loss": extras.valid_loss or (build_loss("valid_loss", spec.valid_loss) if spec.valid_loss else None),
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
    checkpoints: Checkpoints | None = None,
    failures: Mapping[str, int] = MappingProxyType({}),
    spent: TimeSpent | None = None,
) -> Trained:
    """Train one trial to its end, whichever that is.

    Args:
        job: the study's.
        trial: to be asked for a configuration.
        is_prunable: whether it may be stopped early, by the pruner or for want of a better check.
        interruption: told the training step, says whether the training is to end.
        checkpoints: where its state is kept and found.
        failures: how often attempts at the same slot have failed before, by class; for want of memory, the batches are
            halved as often.
        spent: the stopwatch on which its phases count.
    """
    spent = spent or TimeSpent()
    with spent.on("sampling"):
        config = configure(job, trial)
    changed = for_want_of_memory(job, config, failures)
    config |= changed
    record_config(trial, config)
    max_steps = int(config.get("max_steps", job.plan.max_steps))
    hook = ValidationHook(
        trial,
        val_step_size=job.spec.validation_step_size,
        max_steps=max_steps,
        is_prunable=is_prunable,
        interruption=interruption,
        keeps_best="best-check" not in job.spec.without,
        spent=spent,
    )
    keeper = Checkpointing(
        checkpoints.save if checkpoints else None,
        _state(checkpoints),
        job.spec.checkpoint_seconds,
        lambda: interruption(hook.step) is not None,
        spent,
    )
    # What nobody may stop early ends when it is done.
    patience = {PATIENCE: job.plan.patience} if is_prunable and job.plan.patience else {}
    before = _training_seconds(spent)
    ending: Ending | None = None
    model = None
    try:
        # neuralforecast prints a model's whole configuration before it gives a diverged one up.
        with contextlib.redirect_stdout(io.StringIO()), spent.on("setup"):
            model = build_model(
                job, {**patience, **config}, [Phases(spent), hook, keeper, QuickSteps(job.spec.without)]
            )
            model.fit(job.dataset, val_size=job.spec.validation_size)
    except TrainingLeft:
        ending = interruption(hook.step)
    except SIGTERMException:
        # Lightning's own handler, where the signal came before ours was back in its place.
        ending = interruption(hook.step) or Ending("stopped", "handed back: the worker got SIGTERM")
    except UpdateFinishedTrialError:
        raise  # somebody else has ended this attempt: not a failure of the training
    except optuna.TrialPruned as error:
        ending = Ending("pruned", str(error))
    except Exception as error:
        ending = ended_by(error, failures)
    seconds = _training_seconds(spent) - before
    ending = ending or hook.ending
    # A training that was cut short may be the study's best, and is shown then as any other.
    kept = model if ending.outcome in ("complete", "pruned", "over") else None
    return Trained(ending, hook.best_value, hook.best_step, seconds, hook.step, changed, kept)


def _training_seconds(spent: TimeSpent) -> float:
    return sum(spent.seconds[phase] for phase in ("setup", "training", "validation"))


def _state(checkpoints: Checkpoints | None) -> dict[str, Any] | None:
    """Return the state to go on from; a new training is better than one from what cannot be read."""
    packed = checkpoints.load() if checkpoints else None
    if packed is None:
        return None
    try:
        return unpack(packed)
    except Exception:
        log.warning("a checkpoint cannot be read; the training starts anew", exc_info=True)
        return None


def free_memory() -> None:
    """Let go of what a failed training has left behind."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def ended_by(error: Exception, failures: Mapping[str, int]) -> Ending:
    """Return how an attempt ended that raised an error, after so many failures of each class."""
    log.warning("an attempt failed", exc_info=True)
    return ended_as(failure_of(error), in_one_line(error), failures)


def ended_as(failure: str, reason: str, failures: Mapping[str, int]) -> Ending:
    """Return how an attempt ended by a failure of a class, after so many failures of each."""
    if failure == DIVERGED:
        return Ending("diverged", reason)
    verdict = judge(failure, reason, failures)
    outcome = "retried" if verdict.is_retried else "failed"
    return Ending(outcome, verdict.reason, verdict.failure, verdict.starts_anew, verdict.pause_seconds)
