"""A configured Auto model of neuralforecast, read as a spec: its loss, configuration and search algorithm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import optuna

from castpool.private_api.neuralforecast import BaseAuto, ray_space_of
from castpool.sampler_policies.errors import InputError
from castpool.sampler_policies.spaces.model_catalogue import DECIDED_ELSEWHERE, entry
from castpool.sampler_policies.spaces.ray_domains import from_ray
from castpool.workers.spec.python_objects import PythonObjects
from castpool.workers.spec.tune_request import ConfiguredModel
from castpool.workers.training.losses import describe_loss


def read_auto(model: BaseAuto) -> ConfiguredModel:
    """Return what a configured Auto model says.

    Its ``num_samples`` is the number of trials. An Optuna sampler as ``search_alg`` is used as it is. A Ray searcher
    cannot be used in an Optuna study: the policies choose a sampler instead.

    Raises:
        InputError: not an Auto model of neuralforecast.
    """
    if not isinstance(model, BaseAuto):
        raise InputError("model", type(model).__name__, "write the name of an Auto model, or pass an Auto instance.")
    name = f"Auto{model.cls_model.__name__}" if hasattr(model, "S") else type(model).__name__
    loss, valid_loss = describe_loss(model.loss), describe_loss(model.valid_loss)
    sampler = model.search_alg if isinstance(model.search_alg, optuna.samplers.BaseSampler) else None
    values: dict[str, Any] = {"model": name, "horizon": int(model.h), "trials": int(model.num_samples)}
    values["loss"] = loss or type(model.loss).__name__
    if model.valid_loss is not model.loss:
        values["valid_loss"] = valid_loss or type(model.valid_loss).__name__
    if hasattr(model, "S"):  # AutoHINT: the model inside is tuned; the reconciliation is a setting
        values["hierarchy"] = tuple(map(tuple, model.S.tolist()))
        values |= _reconciliation(model)
    config, function = _configuration(model, name)
    objects = PythonObjects(
        loss=model.loss if loss is None else None,
        valid_loss=model.valid_loss if valid_loss is None else None,
        config=function,
        sampler=sampler,
    )
    return ConfiguredModel(values, config, objects)


def _reconciliation(model: BaseAuto) -> dict[str, str]:
    given = model.config["reconciliation"]
    name = given if isinstance(given, str) else next(iter(given.categories))
    return {"reconciliation": name}


def _configuration(model: BaseAuto, name: str) -> tuple[Mapping[str, Any] | None, Callable[..., dict[str, Any]] | None]:
    """Return the configuration as Ray domains, or as a function; both None where it is the class's default."""
    config = model.config
    if callable(config):
        config = ray_space_of(config)
        if config is None:
            return None, model.config
    config = {key: value for key, value in config.items() if key not in (*DECIDED_ELSEWHERE, "reconciliation")}
    n_series = getattr(model, "n_series", None) or model.hparams.get("n_series") or 1
    default = entry(name).default_space(int(model.h), int(n_series))
    return (None, None) if from_ray(config) == default else (config, None)
