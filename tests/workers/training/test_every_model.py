"""Every Auto model, tuned for real: several samplers and pruners each, and a tuner of Ray's."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import ray
from optuna.trial import TrialState

from castpool.sampler_policies.rules.choose_ray import build_scheduler
from castpool.sampler_policies.spaces.model_catalogue import names
from castpool.sampler_policies.spaces.ray_domains import from_ray, to_ray
from castpool.storage.budget import slots
from castpool.storage.budget.evaluations import read_evaluations
from castpool.storage.store import Store
from castpool.workers.planning.create_study import Draft, save_study
from castpool.workers.ray_backend.driver import TEMPORARY, RayDriver, RayOptions, build_tuner, start_ray
from castpool.workers.ray_backend.searcher import StudySearch
from castpool.workers.results.refit import Fit, fit_members
from castpool.workers.spec.job import Job
from castpool.workers.support.signals import StopRequest
from castpool.workers.worker.loop import Worker
from castpool.workers.worker.trial_runner import TrialRunner

Make = Callable[..., Draft]

MODELS = [name for name in names() if name != "xLSTM" or importlib.util.find_spec("xlstm")]
# HINT is around another model.
WITH_HINT = [*MODELS, "HINT"]
NORMAL = {"name": "DistributionLoss", "distribution": "Normal", "level": [80], "num_samples": 20}
SMALL: dict[str, Any] = {"max_steps": 4, "val_check_steps": 1, "holdout": 0, "finalists": 0}
# A step of its default sizes takes ten seconds.
SPACES: dict[str, dict[str, Any]] = {"TimesNet": {"hidden_size": [16, 32], "conv_hidden_size": [16, 32]}}
SEARCHES: dict[str, dict[str, Any]] = {
    "as the policy says": {"trials": 6},
    "TPE, Median": {"trials": 2, "sampler": {"name": "TPE", "n_startup_trials": 1}, "pruner": "Median"},
    "Random, SuccessiveHalving": {"trials": 2, "sampler": "Random", "pruner": "SuccessiveHalving"},
}
AS_PLANNED, *OTHERS = SEARCHES


def hinted(model: str) -> dict[str, Any]:
    """Return the spec of a model; HINT's is around MLP, for the three series, of which it makes the last the sum."""
    if model != "HINT":
        return {"model": model, "space": SPACES.get(model, {})}
    return {"model": "MLP", "space": {}, "loss": NORMAL, "hierarchy": [[1, 0], [0, 1], [1, 1]]}


@pytest.mark.filterwarnings("ignore:dropout option adds dropout after all but last recurrent layer")
@pytest.mark.parametrize("model", WITH_HINT)
@pytest.mark.parametrize("search", [AS_PLANNED, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
def test_a_study_ends_with_a_model_that_forecasts(store: Store, draft: Make, model: str, search: str) -> None:
    made = draft(**SMALL, **hinted(model), **SEARCHES[search])
    stored = save_study(store, made)
    Worker(store, [stored], StopRequest()).run()
    trials = optuna.load_study(study_name=stored.name, storage=store.trials).trials
    reasons = {trial.number: trial.user_attrs.get("reason") for trial in trials}
    assert slots.count(store.engine, stored.study_id).is_done
    assert len(trials) == SEARCHES[search]["trials"]
    assert all(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in trials), reasons
    assert trials[0].state == TrialState.COMPLETE
    by = {trial.user_attrs["sampler"] for trial in trials[1:]}
    decision = made.job.plan.decision("sampler")
    if decision.choice == "Phased":
        assert by == {"IndexedQMC", "CurveGP"}
    else:
        assert by == {decision.choice}
    best = min((trial for trial in trials if trial.state == TrialState.COMPLETE), key=lambda trial: trial.value or 0.0)
    forecast = fit_members(
        [Fit(made.job, best, best.user_attrs["best_step"])], StopRequest(), lambda line: None
    ).predict()
    assert len(forecast) == 3 * 4
    assert forecast[made.job.model.name].notna().all()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    import tempfile

    with tempfile.TemporaryDirectory(prefix="cp-ray-", dir=TEMPORARY, ignore_cleanup_errors=True) as folder:
        start_ray(folder, cpus=2, gpus=0)
        yield
        ray.shutdown()


@pytest.mark.parametrize("model", WITH_HINT)
def test_rays_tuner_is_built_and_suggests_what_the_model_takes(store: Store, draft: Make, model: str) -> None:
    made = draft(**SMALL, **hinted(model), trials=3, backend="ray")
    job: Job = made.job
    assert job.plan.space is not None
    for parameter in job.plan.space.parameters:
        again = from_ray({parameter.name: to_ray(parameter)})[parameter.name]
        assert (again.kind, again.distribution, again.values) == (
            parameter.kind,
            parameter.distribution,
            parameter.values,
        )
    with TrialRunner(store, save_study(store, made), StopRequest()) as runner:
        search = StudySearch(runner, StopRequest(), at_once=2)
        scheduler = build_scheduler(job.plan.decision("scheduler"), job.plan.space)
        tuner = build_tuner(job, search, 3, RayOptions(scheduler=scheduler, cpus=1, gpus=0))
        assert type(tuner).__name__ == "Tuner"
        first, second = search.suggest("a"), search.suggest("b")
        assert search.suggest("c") is None, "two run at once"
        assert first is not None
        assert second is not None
        assert (
            set(first)
            == set(second)
            == {parameter.name for parameter in job.plan.space.parameters} | set(job.plan.space.constants)
        )
        search.release_all()


@pytest.mark.slow
@pytest.mark.parametrize("model", WITH_HINT)
def test_the_default_configuration_is_judged_on_the_holdout(store: Store, draft: Make, model: str) -> None:
    made = draft(**{**SMALL, "holdout": 4}, **hinted(model), trials=1)
    stored = save_study(store, made)
    Worker(store, [stored], StopRequest()).run()
    assert slots.count(store.engine, stored.study_id).is_done
    outcomes = {
        evaluation.task.get("trial", evaluation.task.get("baseline")): (evaluation.outcome, evaluation.reason)
        for evaluation in read_evaluations(store.engine, stored.study_id)
    }
    assert outcomes == {0: ("complete", None), "SeasonalNaive": ("complete", None)}


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("model", WITH_HINT)
def test_a_study_run_by_ray_ends_with_a_model_that_forecasts(
    store: Store, draft: Make, model: str, tmp_path: Path
) -> None:
    made = draft(**SMALL, **hinted(model), trials=2, workers=2, backend="ray")
    stored = save_study(store, made)
    RayDriver(store, stored, StopRequest()).run()
    trials = optuna.load_study(study_name=stored.name, storage=store.trials).trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 2, [trial.user_attrs for trial in trials]
    best = min(trials, key=lambda trial: trial.value or 0.0)
    forecast = fit_members(
        [Fit(made.job, best, best.user_attrs["best_step"])], StopRequest(), lambda line: None
    ).predict()
    assert forecast[made.job.model.name].notna().all()
