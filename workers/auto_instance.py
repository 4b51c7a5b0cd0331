"""A configured Auto model of neuralforecast, read as a spec: its loss, configuration and search algorithm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from neuralforecast.common._base_auto import BaseAuto

from sampler_policies.catalogue import DECIDED_ELSEWHERE, entry
from sampler_policies.domains import from_ray
from sampler_policies.errors import InputError
from workers.extras import Extras
from workers.losses import describe_loss


@dataclass(frozen=True)
class AutoReading:
    """What an Auto instance says: spec fields, its own configuration, and objects that no spec can spell."""

    values: Mapping[str, Any]
    base_space: Mapping[str, Any] | None
    extras: Extras


def read_auto(model: BaseAuto) -> AutoReading:
    """Read a configured Auto model.

    Its number of samples is the number of trials. An Optuna sampler as ``search_alg`` is used as it is; a Ray
    searcher has no place in an Optuna study, and the policies choose.

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
    if hasattr(model, "S"):  # AutoHINT: its model is tuned, and its reconciliation a setting
        values["hierarchy"] = tuple(map(tuple, model.S.tolist()))
        values |= _reconciliation(model)
    config, function = _configuration(model, name)
    extras = Extras(
        loss=model.loss if loss is None else None,
        valid_loss=model.valid_loss if valid_loss is None else None,
        config=function,
        sampler=sampler,
    )
    return AutoReading(values, config, extras)


def _reconciliation(model: BaseAuto) -> dict[str, str]:
    given = model.config["reconciliation"]
    named = given if isinstance(given, str) else next(iter(given.categories))
    return {"reconciliation": named}


def _configuration(model: BaseAuto, name: str) -> tuple[Mapping[str, Any] | None, Callable[..., dict[str, Any]] | None]:
    """Return the configuration as Ray domains, or as a function; both None where it is the class's own."""
    config = model.config
    if callable(config):
        config = _ray_origin(config)
        if config is None:
            return None, model.config
    config = {key: value for key, value in config.items() if key not in (*DECIDED_ELSEWHERE, "reconciliation")}
    n_series = getattr(model, "n_series", None) or model.hparams.get("n_series") or 1
    own = entry(name).default_space(int(model.h), int(n_series))
    return (None, None) if from_ray(config) == own else (config, None)


def _ray_origin(function: Callable[..., Any]) -> dict[str, Any] | None:
    """Return the Ray domains that neuralforecast wrapped into a function for Optuna, or None for a user's function."""
    for _ in range(4):
        cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        if "ray_config" in cells:
            return dict(cells["ray_config"].cell_contents)
        if "config" not in cells or "config_base" not in cells:
            return None
        function = cells["config"].cell_contents
    return None
