"""The private parts of Optuna that castpool uses. Importing this module imports neither torch nor Optuna's GP code."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from castpool.private_api.door import Door, load_export

if TYPE_CHECKING:
    import torch
    from optuna import Study, Trial
    from optuna._gp.acqf import BaseAcquisitionFunc as BaseAcquisitionFunc
    from optuna._gp.acqf import LogEI as LogEI
    from optuna._gp.acqf import qLogEI as qLogEI
    from optuna._gp.gp import GPRegressor
    from optuna._gp.search_space import SearchSpace as SearchSpace
    from optuna.artifacts._protocol import ArtifactStore as ArtifactStore
    from optuna.pruners import BasePruner, SuccessiveHalvingPruner
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage
    from optuna.storages._base import DEFAULT_STUDY_NAME_PREFIX as DEFAULT_STUDY_NAME_PREFIX
    from optuna.storages._heartbeat import BaseHeartbeat as BaseHeartbeat
    from optuna.study import StudyDirection
    from optuna.study._frozen import FrozenStudy as FrozenStudy
    from optuna.trial import FrozenTrial, TrialState

LIBRARY = "optuna"

_EXPORTS = {
    "ArtifactStore": "optuna.artifacts._protocol",
    "BaseAcquisitionFunc": "optuna._gp.acqf",
    "BaseHeartbeat": "optuna.storages._heartbeat",
    "DEFAULT_STUDY_NAME_PREFIX": "optuna.storages._base",
    "FrozenStudy": "optuna.study._frozen",
    "LogEI": "optuna._gp.acqf",
    "SearchSpace": "optuna._gp.search_space",
    "qLogEI": "optuna._gp.acqf",
}

_GP_LOSS = "cannot sample by expected improvement per second"
_GP_RUNNING_LOSS = "ignores running trials in expected improvement per second"
_HALVING_LOSS = "cannot prune by successive halving on its trial cache"
_HYPERBAND_LOSS = "cannot prune by Hyperband on its trial cache"
_PERCENTILE_LOSS = "cannot prune by percentile or median on its trial cache"

DOORS = (
    Door("optuna.artifacts._protocol", "ArtifactStore", "has no type for the stores of checkpoints and files"),
    Door("optuna._gp.acqf", "BaseAcquisitionFunc", _GP_LOSS),
    Door("optuna._gp.acqf", "LogEI", _GP_LOSS),
    Door("optuna._gp.acqf", "qLogEI", _GP_LOSS),
    Door("optuna._gp.acqf:qLogEI", "_cond_gpr._gpr", _GP_RUNNING_LOSS),
    Door("optuna._gp.acqf:qLogEI", "_cond_gpr._X_running", _GP_RUNNING_LOSS),
    Door("optuna._gp.acqf:qLogEI", "_threshold", _GP_RUNNING_LOSS),
    Door("optuna._gp.gp:GPRegressor", "append_running_data", _GP_RUNNING_LOSS),
    Door("optuna._gp.search_space", "SearchSpace", _GP_LOSS),
    Door("optuna._gp.search_space:SearchSpace", "is_categorical", _GP_LOSS),
    Door("optuna._gp.search_space:SearchSpace", "get_normalized_params", _GP_LOSS),
    Door("optuna.pruners._percentile", "_get_best_intermediate_result_over_steps", _PERCENTILE_LOSS),
    Door("optuna.pruners._percentile", "_is_first_in_interval_step", _PERCENTILE_LOSS),
    Door("optuna.pruners:PercentilePruner", "_n_startup_trials", "cannot warn that a pruner waits for too many trials"),
    Door("optuna.pruners._successive_halving", "_completed_rung_key", _HALVING_LOSS),
    Door("optuna.pruners._successive_halving", "_get_current_rung", _HALVING_LOSS),
    Door("optuna.pruners:SuccessiveHalvingPruner", "_min_resource", _HALVING_LOSS),
    Door("optuna.pruners:SuccessiveHalvingPruner", "_reduction_factor", _HALVING_LOSS),
    Door("optuna.pruners:SuccessiveHalvingPruner", "_min_early_stopping_rate", _HALVING_LOSS),
    Door("optuna.pruners:SuccessiveHalvingPruner", "_bootstrap_count", _HALVING_LOSS),
    Door("optuna.samplers:NSGAIISampler", "_population_size", "cannot warn of a budget below one generation"),
    Door("optuna.samplers:TPESampler", "_n_startup_trials", "cannot warn of a sampler that only samples at random"),
    Door("optuna.storages._base", "DEFAULT_STUDY_NAME_PREFIX", "cannot name a nameless study as Optuna does"),
    Door("optuna.storages._heartbeat", "BaseHeartbeat", "cannot offer Optuna's heartbeat to `study.optimize`"),
    Door("optuna.storages._rdb", "alembic", "cannot tell which version of the tables Optuna expects"),
    Door("optuna.study._frozen", "FrozenStudy", "cannot list the studies of a storage"),
    Door("optuna.study._frozen:FrozenStudy", "_study_id", "cannot find a study by its name"),
    Door("optuna.study._tell", "_tell_with_warning", "reads each ended trial once more from the database"),
    Door("optuna.study:Study", "_storage", "cannot reach the storage of an open study"),
    Door("optuna.study:Study", "_study_id", "cannot address the rows of a study"),
    Door("optuna.study:Study", "_thread_local.cached_all_trials", "samples from the trials of the last one"),
    Door("optuna.trial:FrozenTrial", "_trial_id", "cannot address the rows of a trial"),
    Door("optuna.trial:Trial", "_trial_id", "cannot address the rows of a running trial"),
    Door("optuna.trial:Trial", "_cached_frozen_trial", "cannot record which sampler chose the parameters"),
)

# What the subclasses override or read of their parents.
HOOKS = (
    Door("optuna.pruners:HyperbandPruner", "_create_bracket_study", "reads the study's id again at each report"),
    Door("optuna.pruners:HyperbandPruner", "_get_bracket_id", _HYPERBAND_LOSS),
    Door("optuna.pruners:HyperbandPruner", "_pruners", _HYPERBAND_LOSS),
    Door("optuna.pruners:PercentilePruner", "_interval_steps", _PERCENTILE_LOSS),
    Door("optuna.pruners:PercentilePruner", "_n_min_trials", _PERCENTILE_LOSS),
    Door("optuna.pruners:PercentilePruner", "_n_startup_trials", _PERCENTILE_LOSS),
    Door("optuna.pruners:PercentilePruner", "_n_warmup_steps", _PERCENTILE_LOSS),
    Door("optuna.pruners:PercentilePruner", "_percentile", _PERCENTILE_LOSS),
    Door("optuna.pruners:SuccessiveHalvingPruner", "_min_resource", _HALVING_LOSS),
    Door("optuna.samplers:GPSampler", "_optimize_acqf", _GP_LOSS),
    Door("optuna.samplers:QMCSampler", "_find_sample_id", "lets two workers train one quasi-random point"),
    Door("optuna.storages._heartbeat:BaseHeartbeat", "_get_stale_trial_ids", "cannot name trials without a heartbeat"),
    Door("optuna.study:Study", "_get_trials", "cannot show extrapolated losses to the Gaussian process"),
)


def __getattr__(name: str) -> Any:
    return load_export(__name__, name, _EXPORTS)


# --- studies and trials


def storage_of(study: Study) -> BaseStorage:
    """Return the storage of a study."""
    return study._storage


def study_id_of(study: Study | FrozenStudy) -> int:
    """Return the id of a study in its storage."""
    return study._study_id


def forget_cached_trials(study: Study) -> None:
    """Let the next sampler read the trials of a study anew, as `study.ask` does."""
    study._thread_local.cached_all_trials = None


def trial_id_of(trial: Trial | FrozenTrial) -> int:
    """Return the id of a trial in its storage; it is unique among all studies."""
    return trial._trial_id


def set_trial_id(trial: FrozenTrial, trial_id: int) -> None:
    """Set the id of a trial."""
    trial._trial_id = trial_id


def cached_trial_of(trial: Trial) -> FrozenTrial:
    """Return what a running trial knows of itself without reading the storage."""
    return trial._cached_frozen_trial


def tell_trial(study: Study, trial: Trial, value: float | None, state: TrialState) -> None:
    """End a trial as `study.tell` does, without reading the ended trial once more.

    Raises:
        ValueError: the trial has ended already, or the value does not fit the state.
    """
    from optuna.study._tell import _tell_with_warning

    _tell_with_warning(study, trial, value, state)


def table_migrations() -> Path:
    """Return the folder of the migrations (Alembic's scripts) of Optuna's tables."""
    from optuna.storages import _rdb

    return Path(str(_rdb.__file__)).parent / "alembic"


# --- pruners


class HalvingSettings(NamedTuple):
    """The arguments of a successive halving pruner. ``min_resource`` is None while it is "auto" and not yet known."""

    min_resource: int | None
    reduction_factor: int
    min_early_stopping_rate: int
    bootstrap_count: int


def halving_settings_of(pruner: SuccessiveHalvingPruner) -> HalvingSettings:
    """Return the arguments of a successive halving pruner."""
    return HalvingSettings(
        pruner._min_resource, pruner._reduction_factor, pruner._min_early_stopping_rate, pruner._bootstrap_count
    )


def rung_key(rung: int) -> str:
    """Return the system attribute that holds a trial's value at a rung of successive halving."""
    from optuna.pruners._successive_halving import _completed_rung_key

    return _completed_rung_key(rung)


def current_rung_of(trial: FrozenTrial) -> int:
    """Return the number of rungs that a trial has completed."""
    from optuna.pruners._successive_halving import _get_current_rung

    return _get_current_rung(trial)


def best_report_of(trial: FrozenTrial, direction: StudyDirection) -> float:
    """Return the best value that a trial has reported; NaN if all are."""
    from optuna.pruners._percentile import _get_best_intermediate_result_over_steps

    return _get_best_intermediate_result_over_steps(trial, direction)


def is_first_in_interval(step: int, steps: Iterable[int], n_warmup_steps: int, interval_steps: int) -> bool:
    """Return whether a step is the first reported one of its interval, at which a percentile pruner decides."""
    from optuna.pruners._percentile import _is_first_in_interval_step

    return _is_first_in_interval_step(step, steps, n_warmup_steps, interval_steps)  # type: ignore[arg-type]


# --- samplers


def startup_trials_of(policy: BaseSampler | BasePruner) -> int:
    """Return how many trials a sampler or a pruner waits for; 0 if it has no such number."""
    startup = getattr(policy, "_n_startup_trials", 0)
    return startup if isinstance(startup, int) else 0


def population_size_of(sampler: BaseSampler) -> int | None:
    """Return the number of trials of a generation of an evolutionary sampler; None for any other sampler."""
    population = getattr(sampler, "_population_size", None)
    return population if isinstance(population, int) else None


class RunningPoints(NamedTuple):
    """The points of running trials in an acquisition function.

    Attributes:
        process: the Gaussian process without the running trials.
        points: their normalised parameters, of shape (trials, parameters).
        threshold: the best loss of the ended trials, on the process's scale.
    """

    process: GPRegressor
    points: torch.Tensor
    threshold: float


def running_points_of(improvement: qLogEI) -> RunningPoints:
    """Return the points of running trials in Optuna's expected improvement of a batch."""
    conditioned = improvement._cond_gpr
    return RunningPoints(conditioned._gpr, conditioned._X_running, improvement._threshold)
