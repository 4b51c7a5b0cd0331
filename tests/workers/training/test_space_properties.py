"""What holds for any space: 1,000 samples build their model, both translations agree, storing changes nothing."""

from __future__ import annotations

import contextlib
import importlib.util
import json
from typing import Any

import optuna
import pytest
import ray.tune
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from neuralforecast.losses.pytorch import MAE

from castpool.sampler_policies.facts import DataFacts
from castpool.sampler_policies.plan import make_plan
from castpool.sampler_policies.spaces.model_catalogue import entry, names
from castpool.sampler_policies.spaces.ray_domains import from_ray, to_ray
from castpool.sampler_policies.spaces.space import Space
from castpool.sampler_policies.user_request import UserRequest
from castpool.storage.store import Store
from castpool.workers.training.objective import TRAINER

MODELS = [name for name in names() if name != "xLSTM" or importlib.util.find_spec("xlstm")]
DATA = DataFacts(n_series=3, shortest=144, longest=144, n_rows=432, horizon=12, val_size=12)
SAMPLES = 1000
# Nothing of these goes into the making of a model but their number.
NOT_BUILT = {"learning_rate", "batch_size", "windows_batch_size", "step_size", "random_seed", "dropout", "lstm_dropout"}
# Some 1,000 samples are as many models, at up to 40 ms each.
MOST_BUILT = 100
# Its making solves equations, which torch cannot do without numbers.
ON_CPU = ("KAN",)

scalars = st.none() | st.booleans() | st.integers(-1000, 1000) | st.floats(-1e6, 1e6) | st.text(max_size=5)
choices = st.lists(scalars | st.lists(st.integers(0, 9), max_size=3), min_size=2, max_size=5)


def domains() -> st.SearchStrategy[Any]:
    """Any domain that neuralforecast's users write."""
    low, width = st.integers(1, 500), st.integers(2, 500)
    return st.one_of(
        choices.map(ray.tune.choice),
        st.builds(lambda a, b: ray.tune.randint(a, a + b), low, width),
        st.builds(lambda a, b: ray.tune.lograndint(a, a + b), low, width),
        st.builds(lambda a, b, q: ray.tune.qrandint(a * q, (a + b) * q, q), low, width, st.integers(2, 9)),
        st.builds(lambda a, b: ray.tune.uniform(a / 7, (a + b) / 7), low, width),
        st.builds(lambda a, b: ray.tune.loguniform(a / 7, (a + b) / 7), low, width),
        st.builds(lambda a, b, q: ray.tune.quniform(a * q, (a + b) * q, q), low, width, st.sampled_from([0.1, 0.25])),
    )


def spaces() -> st.SearchStrategy[Space]:
    return st.dictionaries(st.sampled_from("abcdef"), domains(), min_size=1, max_size=4).map(from_ray)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", MODELS)
def test_every_sample_builds_its_model(name: str) -> None:
    model = entry(name)
    space = make_plan(model, DATA, UserRequest(trials=60)).space
    assert space is not None
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    sampled = [space.suggest(study.ask()) for _ in range(SAMPLES)]
    different = {
        json.dumps({k: v for k, v in config.items() if k not in NOT_BUILT}, sort_keys=True): config
        for config in sampled
    }
    jointly = {"n_series": DATA.n_series} if model.needs_n_series else {}
    for config in list(different.values())[:MOST_BUILT]:
        # On torch's "meta" device a model has its shapes and no numbers, which takes milliseconds.
        with contextlib.nullcontext() if name in ON_CPU else torch.device("meta"):
            built = model.model_class(h=DATA.horizon, loss=MAE(), **TRAINER, **jointly, **config)
        assert sum(weight.numel() for weight in built.parameters()) > 0


@settings(max_examples=200, deadline=None)
@given(spaces())
def test_both_translations_agree(space: Space) -> None:
    assert (
        from_ray({parameter.name: to_ray(parameter) for parameter in space.parameters}).parameters == space.parameters
    )


@settings(max_examples=50, deadline=None)
@given(spaces(), st.integers(0, 2**31))
def test_what_ray_samples_is_in_the_space(space: Space, seed: int) -> None:
    import numpy as np

    random = np.random.default_rng(seed)
    for parameter in space.parameters:
        value = json.loads(
            json.dumps(to_ray(parameter).sample(random_state=random), default=lambda number: number.item())
        )
        assert json.dumps(parameter.decode(parameter.encode(value))) == json.dumps(value) or parameter.decode(
            parameter.encode(value)
        ) == pytest.approx(value)


@settings(max_examples=200, deadline=None)
@given(spaces(), st.integers(0, 2**31))
def test_what_was_sampled_is_read_again_from_what_was_stored(space: Space, seed: int) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    kept = Space.from_json(json.loads(json.dumps(space.to_json())))
    config = space.suggest(study.ask())
    (trial,) = study.trials
    assert json.dumps(kept.decode(trial.params)) == json.dumps(config)
    assert kept.encode(config) == pytest.approx(trial.params)


@pytest.mark.filterwarnings("ignore:Heartbeat of storage")
def test_lists_and_none_survive_the_storage(store: Store) -> None:
    offered = {"a": [None, [1, 2], [1, [2]], "None", "[1, 2]", 1, 1.0, True], "b": [[], None], "c": [0.1, 0.2, 0.7]}
    space = from_ray({name: ray.tune.choice(values) for name, values in offered.items()})
    study = optuna.create_study(storage=store.trials, sampler=optuna.samplers.RandomSampler(seed=1))
    suggested = [space.suggest(study.ask()) for _ in range(40)]
    read = optuna.load_study(study_name=study.study_name, storage=store.trials).trials
    assert [json.dumps(space.decode(trial.params)) for trial in read] == [json.dumps(config) for config in suggested]
    assert {json.dumps(config["a"]) for config in suggested} == {json.dumps(value) for value in offered["a"]}
