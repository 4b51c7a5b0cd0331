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

from sampler_policies.catalogue import names
from sampler_policies.domains import from_ray, to_ray
from sampler_policies.ray_search import build_scheduler
from storage import slots
from storage.store import Store
from workers.desk import Desk
from workers.job import Job
from workers.ray_driver import TEMPORARY, RayDriver, RayOptions, build_tuner, start_ray
from workers.ray_search import StudySearch
from workers.signals import StopRequest
from workers.study import Draft, save_study
from workers.winner import fit_best
from workers.worker import Worker

Make = Callable[..., Draft]

MODELS = [name for name in names() if name != "xLSTM" or importlib.util.find_spec("xlstm")]
# HINT is around another model.
WITH_HINT = [*MODELS, "HINT"]
NORMAL = {"name": "DistributionLoss", "distribution": "Normal", "level": [80], "num_samples": 20}
SMALL: dict[str, Any] = {"max_steps": 4, "val_check_steps": 1}
# A step of its default sizes takes ten seconds.
SPACES: dict[str, dict[str, Any]] = {"TimesNet": {"hidden_size": [16, 32], "conv_hidden_size": [16, 32]}}
SEARCHES: dict[str, dict[str, Any]] = {
    "as the policy says": {"trials": 6},
    "TPE, Median": {"trials": 2, "sampler": {"name": "TPE", "n_startup_trials": 1}, "pruner": "Median"},
    "Random, SuccessiveHalving": {"trials": 2, "sampler": "Random", "pruner": "SuccessiveHalving"},
}


def hinted(model: str) -> dict[str, Any]:
    """Return the spec of a model; HINT's is around MLP, for the three series, of which it makes the last the sum."""
    if model != "HINT":
        return {"model": model, "space": SPACES.get(model, {})}
    return {"model": "MLP", "space": {}, "loss": NORMAL, "hierarchy": [[1, 0], [0, 1], [1, 1]]}


@pytest.mark.filterwarnings("ignore:dropout option adds dropout after all but last recurrent layer")
@pytest.mark.parametrize("model", WITH_HINT)
@pytest.mark.parametrize("search", SEARCHES)
def test_a_study_ends_with_a_model_that_forecasts(store: Store, draft: Make, model: str, search: str) -> None:
    made = draft(**SMALL, **hinted(model), **SEARCHES[search])
    stored = save_study(store, made)
    Worker(store, [stored], StopRequest()).run()
    trials = optuna.load_study(study_name=stored.name, storage=store.trials).trials
    told = {own.number: own.user_attrs.get("reason") for own in trials}
    assert slots.count(store.engine, stored.study_id).is_done
    assert len(trials) == SEARCHES[search]["trials"]
    assert all(own.state in (TrialState.COMPLETE, TrialState.PRUNED) for own in trials), told
    assert trials[0].state == TrialState.COMPLETE
    by = {own.user_attrs["sampler"] for own in trials[1:]}
    decision = made.job.plan.decision("sampler")
    if decision.choice == "Phased":
        assert by == {"NumberedQMC", "CurveGP"}
    else:
        assert by == {decision.choice}
    best = min((own for own in trials if own.state == TrialState.COMPLETE), key=lambda own: own.value or 0.0)
    forecast = fit_best(made.job, best, StopRequest(), lambda line: None).predict()
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
    for own in job.plan.space.parameters:
        again = from_ray({own.name: to_ray(own)})[own.name]
        assert (again.kind, again.distribution, again.values) == (own.kind, own.distribution, own.values)
    with Desk(store, save_study(store, made), StopRequest()) as desk:
        search = StudySearch(desk, StopRequest(), at_once=2)
        scheduler = build_scheduler(job.plan.decision("scheduler"), job.plan.space)
        tuner = build_tuner(job, search, 3, RayOptions(scheduler=scheduler, cpus=1, gpus=0))
        assert type(tuner).__name__ == "Tuner"
        first, second = search.suggest("a"), search.suggest("b")
        assert search.suggest("c") is None, "two run at once"
        assert first is not None
        assert second is not None
        assert (
            set(first) == set(second) == {own.name for own in job.plan.space.parameters} | set(job.plan.space.constants)
        )
        search.hand_back()


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
    assert [own.state for own in trials] == [TrialState.COMPLETE] * 2, [own.user_attrs for own in trials]
    best = min(trials, key=lambda own: own.value or 0.0)
    forecast = fit_best(made.job, best, StopRequest(), lambda line: None).predict()
    assert forecast[made.job.model.name].notna().all()
