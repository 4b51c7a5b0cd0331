"""A configured Auto model as the input: what it says is respected."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from neuralforecast.auto import AutoMLP, AutoNHITS, AutoTSMixer
from neuralforecast.losses.pytorch import MAE, MQLoss
from ray import tune as ray_tune

from castpool.sampler_policies.errors import InputError
from castpool.workers.planning.auto_model import read_auto


@pytest.mark.parametrize("backend", ["ray", "optuna"])
def test_an_unconfigured_model_leaves_everything_to_the_policies(backend: str) -> None:
    reading = read_auto(AutoNHITS(h=12, backend=backend, num_samples=7))
    assert reading.base_space is None
    assert reading.objects.names == []
    assert reading.values == {"model": "AutoNHITS", "horizon": 12, "trials": 7, "loss": "MAE"}


def test_losses_are_described() -> None:
    reading = read_auto(AutoMLP(h=4, loss=MQLoss(level=[80]), valid_loss=MQLoss(level=[80])))
    assert reading.values["loss"]["name"] == "MQLoss"
    assert reading.values["valid_loss"] == reading.values["loss"]


def test_a_dictionary_of_ray_domains_is_the_space() -> None:
    config = {
        "input_size": 8,
        "hidden_size": ray_tune.choice([8, 16]),
        "learning_rate": ray_tune.loguniform(1e-4, 1e-2),
    }
    reading = read_auto(AutoMLP(h=4, config=config))
    assert reading.base_space is not None
    assert set(reading.base_space) == set(config)


def test_a_multivariate_model_needs_no_number_of_series_said_again() -> None:
    assert read_auto(AutoTSMixer(h=4, n_series=3)).base_space is None


def test_a_function_and_a_sampler_are_used_as_they_are() -> None:
    def config(trial: optuna.Trial) -> dict[str, Any]:
        return {"input_size": 8, "hidden_size": trial.suggest_categorical("hidden_size", [8, 16])}

    sampler = optuna.samplers.RandomSampler(seed=3)
    reading = read_auto(AutoMLP(h=4, config=config, backend="optuna", search_alg=sampler))
    assert reading.objects.names == ["config", "sampler"]
    assert reading.objects.sampler is sampler
    assert reading.objects.config is not None
    study = optuna.create_study(sampler=sampler)
    assert reading.objects.config(study.ask())["hidden_size"] in (8, 16)


def test_a_loss_that_no_spec_can_spell_travels_as_an_object() -> None:
    class Mine(MAE):  # type: ignore[misc]
        pass

    reading = read_auto(AutoMLP(h=4, loss=Mine()))
    assert "loss" in reading.objects.names


def test_anything_else_is_refused() -> None:
    with pytest.raises(InputError, match="pass an Auto instance"):
        read_auto("NHITS")  # type: ignore[arg-type]
