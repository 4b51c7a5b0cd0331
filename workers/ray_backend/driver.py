"""Runs a study through Ray Tune: NeuralForecast's trainable and `RayOptions`, castpool's slots and policies."""

from __future__ import annotations

import logging
import math
import os
import shutil
import signal
import tempfile
import threading
from pathlib import Path
from typing import Any

import platformdirs
import ray
from ray import tune
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher
from ray.tune.search.basic_variant import BasicVariantGenerator

from castpool.private_api.neuralforecast import BaseAuto, RayOptions, trainable_of
from castpool.sampler_policies.rules.choose_ray import build_scheduler, build_searcher
from castpool.sampler_policies.spaces.ray_domains import to_ray
from castpool.storage.store import Store
from castpool.storage.study.studies import StoredStudy
from castpool.workers.ray_backend.import_path import SafeJobConfig, extend_import_path, share_import_path
from castpool.workers.ray_backend.searcher import METRIC, StudySearch
from castpool.workers.ray_backend.watchdog import Watchdog
from castpool.workers.spec.job import Job
from castpool.workers.spec.python_objects import PythonObjects
from castpool.workers.support.machine import cores, local_workers
from castpool.workers.support.signals import STOP_SIGNALS, StopRequest
from castpool.workers.training.failures import failure_of, first_line
from castpool.workers.training.objective import model_arguments
from castpool.workers.training.pruning_callback import ValidationWindows
from castpool.workers.worker.trial_runner import TrialRunner

IDLE_SECONDS = 1.0
QUIET = 0
# Ray creates sockets deep inside its folder, and the length of a socket's path is limited.
TEMPORARY = "/tmp" if os.path.isdir("/tmp") else None
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # `StopOnRequest` stops the trials
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the study has what these files would contain
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}

# Ray's processes import this module before the objects of the user that a model holds.
extend_import_path()


class StudyAuto(BaseAuto):  # type: ignore[misc]  # neuralforecast ships no types
    """NeuralForecast's Auto model with castpool's validation; its trials report why they failed."""

    val_step_size = 1

    def _train_tune(self, config_step: dict[str, Any], *arguments: Any, **named: Any) -> None:
        try:
            validated = {**config_step, "callbacks": [ValidationWindows(self.val_step_size)]}
            super()._train_tune(validated, *arguments, **named)
        except Exception as error:
            tune.report({METRIC: math.inf, "reason": first_line(error), "failure": failure_of(error)})


class StopOnRequest(tune.Stopper):
    """Ends a Ray run when this process receives a stop request, or a budget is spent."""

    def __init__(self, search: StudySearch | None = None) -> None:
        self._search = search

    def __getstate__(self) -> dict[str, Any]:
        """Return no search: only this process stops trials, not its copies in Ray's processes."""
        return {"_search": None}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return whether to stop the trial."""
        return self.stop_all()

    def stop_all(self) -> bool:
        """Return whether to stop all trials."""
        return self._search is not None and self._search.must_stop


class RayDriver:
    """The single worker of a study whose trials Ray runs.

    Args:
        store: contains the study.
        stored: the study.
        stop: the request to end early.
        extras: Python objects that the study needs.
        gpus: the number of GPUs for Ray; each trial gets one.
    """

    def __init__(
        self, store: Store, stored: StoredStudy, stop: StopRequest, objects: PythonObjects | None = None, gpus: int = 0
    ) -> None:
        self.stop = stop
        self.runner = TrialRunner(store, stored, stop, objects)
        self.gpus = gpus
        self.at_once = gpus or local_workers(self.runner.job.spec.workers, self.runner.job.spec.trials)

    def run(self) -> None:
        """Run trials until every slot has ended or a stop is requested."""
        folder = tempfile.mkdtemp(prefix="castpool-ray-", dir=TEMPORARY)
        starts_ray = not ray.is_initialized()
        try:
            with self.runner:
                while not self.stop.is_set and not (counts := self.runner.counts()).is_searched:
                    if counts.open:
                        self._run_open(counts.open, folder)
                    else:
                        self.runner.beat()
                        self.stop.wait(IDLE_SECONDS)
        finally:
            if starts_ray:
                ray.shutdown()
            shutil.rmtree(folder, ignore_errors=True)

    def _run_open(self, trials: int, folder: str) -> None:
        start_ray(folder, self.at_once, self.gpus)
        job, decision = self.runner.job, self.runner.job.plan.decision("searcher")
        assert job.plan.space is not None
        inner = build_searcher(decision, job.plan.space, job.spec.seed)
        search = StudySearch(self.runner, self.stop, self.at_once, inner, searcher_state_path(self.runner.stored))
        scheduler = spare_unprunable(build_scheduler(job.plan.decision("scheduler"), job.plan.space), search)
        run_config = tune.RunConfig(storage_path=folder, verbose=QUIET, stop=StopOnRequest(search))
        options = RayOptions(
            run_config=run_config, scheduler=scheduler, cpus=max(1, cores() // self.at_once), gpus=min(1, self.gpus)
        )
        watchdog = Watchdog(search, job.spec.hang_seconds)
        try:
            with watchdog:
                build_tuner(job, search, trials, options).fit()
        finally:
            search.release_all()


def build_tuner(job: Job, search: Searcher, trials: int, options: RayOptions) -> tune.Tuner:
    """Return Ray's tuner of neuralforecast's trainable, as its Auto models build it, but with reused processes.

    Auto models start a process for each trial; importing neuralforecast there takes longer than many trainings.
    """
    auto = build_auto_model(job, trials, options)
    trainable = tune.with_parameters(
        trainable_of(auto),
        cls_model=auto.cls_model,
        dataset=job.dataset,
        val_size=job.spec.validation_size,
        test_size=0,
    )
    resources = {"gpu": auto.gpus} if auto.gpus else {"cpu": auto.cpus}
    return tune.Tuner(
        tune.with_resources(trainable, resources),
        run_config=options.run_config,
        tune_config=tune.TuneConfig(
            metric=METRIC,
            mode="min",
            num_samples=trials,
            search_alg=search,
            scheduler=options.scheduler,
            reuse_actors=True,
        ),
        param_space=auto.config,
    )


def build_auto_model(job: Job, trials: int, options: RayOptions) -> StudyAuto:
    """Return neuralforecast's Auto model for the Ray back-end, with the study's space as Ray domains."""
    space = job.plan.space
    assert space is not None
    domains = {parameter.name: domain for parameter in space.parameters if (domain := to_ray(parameter)) is not None}
    arguments = model_arguments(job)
    loss, valid_loss, horizon = (arguments.pop(name) for name in ("loss", "valid_loss", "h"))
    auto = StudyAuto(
        cls_model=job.model.model_class,
        h=horizon,
        loss=loss,
        valid_loss=valid_loss,
        config={**arguments, **space.constants, **domains},
        search_alg=BasicVariantGenerator(),  # unused: the model is pickled for Ray's processes, `search` is not
        num_samples=trials,
        backend="ray",
        ray_options=options,
    )
    auto.val_step_size = job.spec.validation_step_size
    return auto


def start_ray(folder: str, cpus: int, gpus: int) -> None:
    """Start Ray on this machine without output, once per process.

    Args:
        folder: for Ray's files.
        cpus: the number of trials at once without GPUs.
        gpus: the number of GPUs for Ray.
    """
    if ray.is_initialized():
        return
    os.environ.update(ENVIRONMENT)
    logging.getLogger("ray").setLevel(logging.ERROR)
    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    share_import_path()
    ray.init(
        _temp_dir=folder,
        job_config=SafeJobConfig(),
        num_cpus=max(cpus, cores()),
        num_gpus=gpus,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        configure_logging=False,
    )
    if threading.current_thread() is threading.main_thread():
        for number, handler in handlers.items():
            signal.signal(number, handler)  # Ray's handlers would end the process at once


def spare_unprunable(scheduler: TrialScheduler, search: StudySearch) -> TrialScheduler:
    """Return the scheduler, changed to stop no trial that is not prunable, as that of the model's defaults."""
    decide = scheduler.on_trial_result

    def decide_sparing(controller: Any, trial: Any, result: dict[str, Any]) -> Any:
        decision = decide(controller, trial, result)
        return decision if search.is_prunable(trial.trial_id) else TrialScheduler.CONTINUE

    scheduler.on_trial_result = decide_sparing  # type: ignore[method-assign, assignment]
    return scheduler


def searcher_state_path(stored: StoredStudy) -> Path:
    """Return the file on this machine with the state of a searcher that replaces the study's sampler."""
    return platformdirs.user_state_path("castpool") / "ray" / f"{stored.study_id}-{stored.name}.pkl"
