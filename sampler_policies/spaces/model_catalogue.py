"""The Auto models of the installed neuralforecast, read from its classes.

There is no list of models here: the models of a later neuralforecast need no change. Importing neuralforecast takes
seconds (torch, ray), so it happens in the functions. Entries are plain data, which `ModelEntry.to_json` returns for a
cache.
"""

from __future__ import annotations

import inspect
import json
import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from castpool.sampler_policies.errors import InputError, did_you_mean
from castpool.sampler_policies.spaces.horizon_template import filled, read_template
from castpool.sampler_policies.spaces.ray_domains import described, from_described
from castpool.sampler_policies.spaces.space import Space

# Arguments that the study decides; a search space cannot contain them.
DECIDED_ELSEWHERE = ("self", "h", "loss", "valid_loss", "n_series", "alias", "callbacks", "trainer_kwargs")


@dataclass(frozen=True)
class ModelEntry:
    """The properties and arguments of a model.

    Attributes:
        name: of the model's class; the name of its Auto class has the prefix ``Auto``.
        needs_n_series: whether it forecasts all series jointly.
        is_recurrent: whether it is a recurrent network.
        exogenous: the kinds of columns that it takes: historical (hist), future (futr), static (stat).
        arguments: the names that a search space may hold for it, Lightning's trainer settings included.
        defaults: the JSON values among the defaults of its signature.
        template: its default space (`horizon_template.read_template`); None where the class must be read each time.
        losses: ``any``, or ``point`` where it supports no quantiles and no distributions.
    """

    name: str
    needs_n_series: bool
    is_recurrent: bool
    exogenous: Mapping[str, bool]
    arguments: frozenset[str]
    defaults: Mapping[str, Any]
    template: Mapping[str, Any] | None
    losses: str = "any"

    @property
    def auto_class(self) -> type[Any]:
        """The Auto class."""
        import neuralforecast.auto as auto

        return getattr(auto, f"Auto{self.name}")  # type: ignore[no-any-return]

    @property
    def model_class(self) -> type[Any]:
        """The class that the Auto class tunes."""
        import neuralforecast.models as models

        return getattr(models, self.name)  # type: ignore[no-any-return]

    def default_space(self, horizon: int, n_series: int) -> Space:
        """Return the Auto class's default search space without the arguments that the study decides."""
        if self.template is not None:
            return from_described(filled(self.template, horizon))
        return from_described(_read_space(self.auto_class, self.needs_n_series, horizon, n_series))

    @property
    def dropouts(self) -> list[str]:
        """The names of the model's dropout arguments: one, several, or none."""
        return sorted(name for name in self.defaults if "dropout" in name)

    def to_json(self) -> dict[str, Any]:
        """Return the entry as JSON values."""
        return {**vars(self), "arguments": sorted(self.arguments)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> ModelEntry:
        """Rebuild an entry from `to_json`."""
        return cls(**{**stored, "arguments": frozenset(stored["arguments"])})


@cache
def names() -> tuple[str, ...]:
    """Return every tunable model's name, without the leading ``Auto``."""
    import neuralforecast.auto as auto

    classes = {name: getattr(auto, name) for name in auto.__all__}
    return tuple(sorted(name.removeprefix("Auto") for name, cls in classes.items() if hasattr(cls, "default_config")))


@cache
def entry(name: str) -> ModelEntry:
    """Return the model of that name, with or without ``Auto``, in any case.

    Raises:
        InputError: there is no such model, or it is HINT, which wraps another model.
    """
    import neuralforecast.auto as auto

    found = find_name(name, names())
    if found is None:
        if {name.lower(), f"auto{name.lower()}"} & {
            exported.lower() for exported in auto.__all__ if exported.startswith("Auto")
        }:
            remedy = (
                "it reconciles another model's forecasts: write that model, and --hierarchy with the summing matrix."
            )
            raise InputError("model", repr(name), remedy)
        raise InputError("model", repr(name), did_you_mean(name, names()))
    return _read(found)


def find_name(written: str, known: tuple[str, ...]) -> str | None:
    """Return the known model of that name, with or without ``Auto``, in any case; None where there is none."""
    wanted = {written.lower(), f"auto{written.lower()}"}  # Autoformer is AutoAutoformer's model
    return next((name for name in known if f"auto{name.lower()}" in wanted), None)


def _read(name: str) -> ModelEntry:
    import neuralforecast.auto as auto
    import neuralforecast.models as models
    import pytorch_lightning as pl

    auto_class, cls = getattr(auto, f"Auto{name}"), getattr(models, name)
    parameters = inspect.signature(cls.__init__).parameters
    trainer = inspect.signature(pl.Trainer.__init__).parameters
    defaults = {p.name: p.default for p in parameters.values() if p.default is not inspect.Parameter.empty}
    needs_n_series = bool(cls.MULTIVARIATE)
    return ModelEntry(
        name=name,
        needs_n_series=needs_n_series,
        is_recurrent=bool(cls.RECURRENT),
        exogenous={"hist": cls.EXOGENOUS_HIST, "futr": cls.EXOGENOUS_FUTR, "stat": cls.EXOGENOUS_STAT},
        arguments=frozenset({*parameters, *trainer} - set(DECIDED_ELSEWHERE)),
        defaults=_json_only(defaults),
        template=read_template(lambda horizon: _read_space(auto_class, needs_n_series, horizon, 3)),
        losses=_losses(cls, needs_n_series),
    )


def _losses(cls: Any, needs_n_series: bool) -> str:
    """Return which losses a model supports, found by building it: the class does not declare it."""
    import torch
    from neuralforecast.losses.pytorch import DistributionLoss

    arguments: dict[str, Any] = {"h": 12, "input_size": 24, **({"n_series": 3} if needs_n_series else {})}
    seeding = logging.getLogger("lightning_fabric.utilities.seed")
    before = seeding.level
    seeding.setLevel(logging.ERROR)  # every model logs that it seeds torch
    try:
        with torch.device("meta"), torch.random.fork_rng(), warnings.catch_warnings():  # shapes without memory
            warnings.simplefilter("ignore")
            cls(**arguments, loss=DistributionLoss("Normal", level=[80]))
    except Exception as error:
        return "point" if "loss" in str(error) else "any"
    finally:
        seeding.setLevel(before)
    return "any"


def _read_space(auto_class: Any, needs_n_series: bool, horizon: int, n_series: int) -> dict[str, dict[str, Any]]:
    arguments: dict[str, Any] = {"h": horizon, "backend": "ray"}
    if needs_n_series:
        arguments["n_series"] = n_series
    config = auto_class.get_default_config(**arguments)
    return described({name: domain for name, domain in config.items() if name not in DECIDED_ELSEWHERE})


def _json_only(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that JSON can express, as JSON returns them; losses and other objects are left out."""
    kept: dict[str, Any] = {}
    for name, value in values.items():
        try:
            kept[name] = json.loads(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError):
            continue
    return kept
