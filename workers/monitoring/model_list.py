"""The catalogue of models as text: a table with a line for each model, or one model in detail."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from castpool.sampler_policies.spaces.compatibility import SCALERS
from castpool.sampler_policies.spaces.model_catalogue import ModelEntry
from castpool.workers.monitoring.explain import format_space, parameter_values

WORDS = {"hist": "historical", "futr": "future", "stat": "static"}
# A default space depends on the horizon only; any number of series gives the same one.
N_SERIES = 2
LOSSES = {"any": "points, quantiles, distributions", "point": "points only, as MAE"}


def model_values(model: ModelEntry, horizon: int) -> dict[str, Any]:
    """Return one model as JSON values, with its default space."""
    space = model.default_space(horizon, N_SERIES)
    return {
        "name": model.name,
        "multivariate": model.needs_n_series,
        "recurrent": model.is_recurrent,
        "exogenous": [WORDS[kind] for kind, takes in model.exogenous.items() if takes],
        "losses": model.losses,
        "scalers": model_scalers(model),
        "dropout": model.dropouts,
        "points": space.facts.n_points,
        "space": [parameter_values(parameter) for parameter in space.parameters],
        "fixed": dict(space.constants),
        "defaults": dict(model.defaults),
    }


def model_scalers(model: ModelEntry) -> list[str]:
    """Return the names of the scalers that the model can apply to its windows."""
    return list(SCALERS) if "scaler_type" in model.arguments else []


def format_models(models: Iterable[ModelEntry], horizon: int) -> str:
    """Return a table with a line for each model."""
    lines = [f"{'model':20} {'series':8} {'exogenous':28} {'searched':>8}  {'dropout':20}"]
    for model in models:
        series = "jointly" if model.needs_n_series else "recurr." if model.is_recurrent else "alone"
        exogenous = ", ".join(WORDS[kind] for kind, takes in model.exogenous.items() if takes) or "-"
        searched = len(model.default_space(horizon, N_SERIES).parameters)
        lines.append(f"{model.name:20} {series:8} {exogenous:28} {searched:8}  {', '.join(model.dropouts) or '-'}")
    return "\n".join(line.rstrip() for line in lines)


def format_model(model: ModelEntry, horizon: int) -> str:
    """Return one model with its default space for a horizon."""
    exogenous = [WORDS[kind] for kind, takes in model.exogenous.items() if takes]
    lines = [
        model.name,
        f"  forecasts {'all series jointly' if model.needs_n_series else 'each series separately'}"
        f"{', step by step' if model.is_recurrent else ''}",
        f"  exogenous columns: {', '.join(exogenous) or 'none'}",
        f"  losses: {LOSSES[model.losses]}",
        f"  scalers: {', '.join(model_scalers(model)) or 'none'}",
        f"  dropout: {', '.join(model.dropouts) or 'none'}",
        f"default space for a horizon of {horizon}, before the data limit it",
        *format_space(model.default_space(horizon, N_SERIES)),
    ]
    return "\n".join(lines)
