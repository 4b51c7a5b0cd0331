"""Running a study through Ray Tune: NeuralForecast's own trainable and `RayOptions`, castpool's slots and policies."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shutil
import signal
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import platformdirs
import psutil
import ray
from neuralforecast.common._base_auto import BaseAuto, RayOptions
from ray import tune
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher
from ray.tune.search.basic_variant import BasicVariantGenerator

from sampler_policies.domains import to_ray
from sampler_policies.ray_search import build_scheduler, build_searcher
from storage.store import Store
from storage.studies import StoredStudy
from workers.desk import Desk
from workers.extras import Extras
from workers.failures import failure_of, in_one_line
from workers.job import Job
from workers.objective import model_arguments
from workers.pool import cores, local_workers
from workers.ray_search import METRIC, StudySearch
from workers.signals import EXIT_STOPPED, STOP_SIGNALS, StopRequest
from workers.validation_hook import ValidationWindows

log = logging.getLogger("castpool.ray")

IDLE_SECONDS = 1.0
QUIET = 0
# Ray puts sockets deep into its folder, and the path of a socket has an end.
TEMPORARY = "/tmp" if os.path.isdir("/tmp") else None
EXIT_HUNG = 75
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # a stop is asked for through `StopWhenAsked`
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # files that nobody reads: the study has it all
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


class StudyAuto(BaseAuto):  # type: ignore[misc]  # neuralforecast ships no types
    """NeuralForecast's Auto model with validation as in every trial of ours; its trials say why they failed."""

    val_step_size = 1

    def _train_tune(self, config_step: dict[str, Any], *arguments: Any, **named: Any) -> None:
        try:
            watched = {**config_step, "callbacks": [ValidationWindows(self.val_step_size)]}
            super()._train_tune(watched, *arguments, **named)
        except Exception as error:
            tune.report({METRIC: math.inf, "reason": in_one_line(error), "failure": failure_of(error)})


class StopWhenAsked(tune.Stopper):
    """Ends a run when somebody asks this process to, or a budget is spent."""

    def __init__(self, search: StudySearch | None = None) -> None:
        self._search = search

    def __getstate__(self) -> dict[str, Any]:
        """Return no request: Ray's processes are stopped by this one."""
        return {"_search": None}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return whether to stop this trial."""
        return self.stop_all()

    def stop_all(self) -> bool:
        """Return whether to stop all trials."""
        return self._search is not None and self._search.must_stop


class RayDriver:
    """The one worker of a study whose trials Ray runs.

    Args:
        store: where the study is.
        stored: the study.
        stop: the request to end early.
        extras: Python objects that the study needs.
        gpus: how many GPUs Ray may use; each trial gets one.
    """

    def __init__(
        self, store: Store, stored: StoredStudy, stop: StopRequest, extras: Extras | None = None, gpus: int = 0
    ) -> None:
        self.stop = stop
        self.desk = Desk(store, stored, stop, extras)
        self.gpus = gpus
        self.at_once = gpus or local_workers(self.desk.job.spec.workers, self.desk.job.spec.trials)

    def run(self) -> None:
        """Run trials until every slot has ended or a stop is asked for."""
        folder = tempfile.mkdtemp(prefix="castpool-ray-", dir=TEMPORARY)
        is_ours = not ray.is_initialized()
        try:
            with self.desk:
                while not self.stop.is_set and not (counts := self.desk.counts()).is_done:
                    if counts.open:
                        self._run_open(counts.open, folder)
                    else:
                        self.desk.beat()
                        self.stop.wait(IDLE_SECONDS)
        finally:
            if is_ours:
                ray.shutdown()
            shutil.rmtree(folder, ignore_errors=True)

    def _run_open(self, trials: int, folder: str) -> None:
        start_ray(folder, self.at_once, self.gpus)
        job, decision = self.desk.job, self.desk.job.plan.decision("searcher")
        assert job.plan.space is not None
        inner = build_searcher(decision, job.plan.space, job.spec.seed)
        search = StudySearch(self.desk, self.stop, self.at_once, inner, kept_state(self.desk.stored))
        scheduler = sparing(build_scheduler(job.plan.decision("scheduler"), job.plan.space), search)
        run_config = tune.RunConfig(storage_path=folder, verbose=QUIET, stop=StopWhenAsked(search))
        options = RayOptions(
            run_config=run_config, scheduler=scheduler, cpus=max(1, cores() // self.at_once), gpus=min(1, self.gpus)
        )
        watchdog = Watchdog(search, job.spec.hang_seconds)
        try:
            with watchdog:
                build_tuner(job, search, trials, options).fit()
        finally:
            search.hand_back()


def build_tuner(job: Job, search: Searcher, trials: int, options: RayOptions) -> tune.Tuner:
    """Return Ray's tuner of neuralforecast's own trainable, as its Auto models build it, but with processes that stay.

    Auto models start a process for each trial, which takes longer to import neuralforecast than many trials train.
    """
    auto = auto_model(job, trials, options)
    trainable = tune.with_parameters(
        auto._train_tune, cls_model=auto.cls_model, dataset=job.dataset, val_size=job.spec.validation_size, test_size=0
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


def auto_model(job: Job, trials: int, options: RayOptions) -> StudyAuto:
    """Return neuralforecast's Auto model for the Ray back-end, with the study's space as Ray domains."""
    space = job.plan.space
    assert space is not None
    domains = {own.name: domain for own in space.parameters if (domain := to_ray(own)) is not None}
    arguments = model_arguments(job)
    loss, valid_loss, horizon = (arguments.pop(name) for name in ("loss", "valid_loss", "h"))
    auto = StudyAuto(
        cls_model=job.model.model_class,
        h=horizon,
        loss=loss,
        valid_loss=valid_loss,
        config={**arguments, **space.constants, **domains},
        search_alg=BasicVariantGenerator(),  # in name only: the model travels to Ray's processes, the searcher does not
        num_samples=trials,
        backend="ray",
        ray_options=options,
    )
    auto.val_step_size = job.spec.validation_step_size
    return auto


def start_ray(folder: str, cpus: int, gpus: int) -> None:
    """Start Ray on this machine, quietly, for so many trials at once; once a process. Its files go to ``folder``."""
    if ray.is_initialized():
        return
    os.environ.update(ENVIRONMENT)
    logging.getLogger("ray").setLevel(logging.ERROR)
    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    ray.init(
        _temp_dir=folder,
        num_cpus=max(cpus, cores()),
        num_gpus=gpus,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        configure_logging=False,
    )
    if threading.current_thread() is threading.main_thread():
        for number, handler in handlers.items():
            signal.signal(number, handler)  # Ray has put its own there, which end the process at once


def sparing(scheduler: TrialScheduler, search: StudySearch) -> TrialScheduler:
    """Return the scheduler, which from now on stops no trial of the model's defaults: they are the yardstick."""
    judge = scheduler.on_trial_result

    def judged(controller: Any, trial: Any, result: dict[str, Any]) -> Any:
        decision = judge(controller, trial, result)
        return TrialScheduler.CONTINUE if search.is_default(trial.trial_id) else decision

    scheduler.on_trial_result = judged  # type: ignore[method-assign, assignment]
    return scheduler


def kept_state(stored: StoredStudy) -> Path:
    """Return where a searcher that is not the study's own keeps its state on this machine."""
    return platformdirs.user_state_path("castpool") / "ray" / f"{stored.study_id}-{stored.name}.pkl"


class Watchdog:
    """Ends this process when Ray has said nothing for too long; the pool starts another, which goes on.

    Ray has been seen to wait for ever for resources that it holds itself (Nixtla/neuralforecast#451, #760).
    """

    def __init__(self, search: StudySearch, hang_seconds: float) -> None:
        self._search = search
        self._hang_seconds = hang_seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> Watchdog:
        self._search.heard_at = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(1.0):
            silent = time.monotonic() - self._search.heard_at
            if silent > self._hang_seconds:
                log.warning("Ray has said nothing for %.0f s; it is started anew", silent)
                # Ray's processes end when they notice that this one has, which is what a hanging one may not do.
                for process in psutil.Process().children(recursive=True):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()
                os._exit(EXIT_STOPPED if self._search.stop.is_set else EXIT_HUNG)
