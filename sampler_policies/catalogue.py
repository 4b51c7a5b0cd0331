"""The Auto models of the installed neuralforecast, read from its classes.

Nothing is typed in: a model that a later neuralforecast brings is here without a change. Importing
neuralforecast takes seconds (torch, ray), so it happens in the functions, when somebody asks.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from sampler_policies.errors import InputError, did_you_mean

# Arguments that the study itself decides; a search space has no say in them.
DECIDED_ELSEWHERE = ("self", "h", "loss", "valid_loss", "n_series", "alias", "callbacks", "trainer_kwargs")


@dataclass(frozen=True)
class ModelEntry:
    """What a model is and takes. ``defaults`` are the arguments that its own signature gives."""

    name: str
    auto_class: type[Any]
    model_class: type[Any]
    defaults: Mapping[str, Any]

    @property
    def needs_n_series(self) -> bool:
        """Whether the model forecasts all series jointly."""
        return bool(self.model_class.MULTIVARIATE)

    @property
    def exogenous(self) -> dict[str, bool]:
        """Which exogenous columns the model takes: historical, future, static."""
        cls = self.model_class
        return {"hist": cls.EXOGENOUS_HIST, "futr": cls.EXOGENOUS_FUTR, "stat": cls.EXOGENOUS_STAT}

    @property
    def arguments(self) -> frozenset[str]:
        """The names that a search space may hold for this model, Lightning's trainer settings included."""
        import pytorch_lightning as pl

        own = inspect.signature(self.model_class.__init__).parameters
        trainer = inspect.signature(pl.Trainer.__init__).parameters
        return frozenset({*own, *trainer} - set(DECIDED_ELSEWHERE))

    def default_space(self, horizon: int, n_series: int) -> dict[str, Any]:
        """Return the Auto class's own search space (Ray domains and constants) without what the study decides."""
        arguments: dict[str, Any] = {"h": horizon, "backend": "ray"}
        if self.needs_n_series:
            arguments["n_series"] = n_series
        config = self.auto_class.get_default_config(**arguments)
        return {name: domain for name, domain in config.items() if name not in DECIDED_ELSEWHERE}


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
        InputError: no such model, or one without a search space of its own.
    """
    import neuralforecast.auto as auto
    import neuralforecast.models as models

    wanted = {name.lower(), f"auto{name.lower()}"}  # Autoformer is AutoAutoformer's model
    found = next((own for own in names() if f"auto{own.lower()}" in wanted), None)
    if found is None:
        if wanted & {own.lower() for own in auto.__all__ if own.startswith("Auto")}:
            raise InputError(
                "model", repr(name), f"it has no search space of its own; write one of {', '.join(names())}."
            )
        raise InputError("model", repr(name), did_you_mean(name, names()))
    model_class = getattr(models, found)
    signature = inspect.signature(model_class.__init__).parameters.values()
    defaults = {p.name: p.default for p in signature if p.default is not inspect.Parameter.empty}
    return ModelEntry(found, getattr(auto, f"Auto{found}"), model_class, defaults)
