"""The Auto models of the installed neuralforecast, read from its classes.

Nothing is typed in: a model that a later neuralforecast brings is here without a change. Importing
neuralforecast takes seconds (torch, ray), so it happens in the functions, when somebody asks. What was read is plain
data, which `ModelEntry.to_json` gives for keeping.
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

from sampler_policies.domains import described, from_described
from sampler_policies.errors import InputError, did_you_mean
from sampler_policies.space import Space
from sampler_policies.template import filled, read_template

# Arguments that the study itself decides; a search space has no say in them.
DECIDED_ELSEWHERE = ("self", "h", "loss", "valid_loss", "n_series", "alias", "callbacks", "trainer_kwargs")


@dataclass(frozen=True)
class ModelEntry:
    """What a model is and takes.

    Attributes:
        name: of the model's class; its Auto class has ``Auto`` before it.
        needs_n_series: whether it forecasts all series jointly.
        is_recurrent: whether it reads a series step by step.
        exogenous: which columns it takes: historical (hist), future (futr), static (stat).
        arguments: the names that a search space may hold for it, Lightning's trainer settings included.
        defaults: what its own signature gives, as far as it is JSON.
        template: its default space (`template.read_template`); None where the class must be asked each time.
        losses: ``any``, or ``point`` where it takes no quantiles and no distributions.
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
        """Return the Auto class's own search space without what the study decides."""
        if self.template is not None:
            return from_described(filled(self.template, horizon))
        return from_described(_read_space(self.auto_class, self.needs_n_series, horizon, n_series))

    @property
    def dropouts(self) -> list[str]:
        """What the model calls its dropout: one name, several, or none."""
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
        InputError: no such model, or HINT, which wraps another.
    """
    import neuralforecast.auto as auto

    found = find_name(name, names())
    if found is None:
        if {name.lower(), f"auto{name.lower()}"} & {own.lower() for own in auto.__all__ if own.startswith("Auto")}:
            remedy = (
                "it reconciles another model's forecasts: write that model, and --hierarchy with the summing matrix."
            )
            raise InputError("model", repr(name), remedy)
        raise InputError("model", repr(name), did_you_mean(name, names()))
    return _read(found)


def find_name(written: str, known: tuple[str, ...]) -> str | None:
    """Return the known model that was meant, with or without ``Auto``, in any case; None where there is none."""
    wanted = {written.lower(), f"auto{written.lower()}"}  # Autoformer is AutoAutoformer's model
    return next((own for own in known if f"auto{own.lower()}" in wanted), None)


def _read(name: str) -> ModelEntry:
    import neuralforecast.auto as auto
    import neuralforecast.models as models
    import pytorch_lightning as pl

    auto_class, cls = getattr(auto, f"Auto{name}"), getattr(models, name)
    own = inspect.signature(cls.__init__).parameters
    trainer = inspect.signature(pl.Trainer.__init__).parameters
    defaults = {p.name: p.default for p in own.values() if p.default is not inspect.Parameter.empty}
    needs_n_series = bool(cls.MULTIVARIATE)
    return ModelEntry(
        name=name,
        needs_n_series=needs_n_series,
        is_recurrent=bool(cls.RECURRENT),
        exogenous={"hist": cls.EXOGENOUS_HIST, "futr": cls.EXOGENOUS_FUTR, "stat": cls.EXOGENOUS_STAT},
        arguments=frozenset({*own, *trainer} - set(DECIDED_ELSEWHERE)),
        defaults=_json_only(defaults),
        template=read_template(lambda horizon: _read_space(auto_class, needs_n_series, horizon, 3)),
        losses=_losses(cls, needs_n_series),
    )


def _losses(cls: Any, needs_n_series: bool) -> str:
    """Return which losses a model takes, by making one: no class says so beforehand."""
    import torch
    from neuralforecast.losses.pytorch import DistributionLoss

    arguments: dict[str, Any] = {"h": 12, "input_size": 24, **({"n_series": 3} if needs_n_series else {})}
    seeding = logging.getLogger("lightning_fabric.utilities.seed")
    before = seeding.level
    seeding.setLevel(logging.ERROR)  # every model announces that it seeds torch
    try:
        with torch.device("meta"), torch.random.fork_rng(), warnings.catch_warnings():  # shapes, and no numbers
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
    """Return what JSON can hold, as it gives it back; losses and other objects are left out."""
    kept: dict[str, Any] = {}
    for name, value in values.items():
        try:
            kept[name] = json.loads(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError):
            continue
    return kept
