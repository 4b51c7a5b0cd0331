"""The catalogue as a person reads it: a line a model, or one model in detail."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sampler_policies.catalogue import ModelEntry
from sampler_policies.compatibility import SCALERS
from workers.explain import parameter_values, space_lines

WORDS = {"hist": "historical", "futr": "future", "stat": "static"}
# Default spaces are made for a horizon; the number of series changes nothing in them.
N_SERIES = 2
LOSSES = {"any": "points, quantiles, distributions", "point": "points only, as MAE"}


def values_of(model: ModelEntry, horizon: int) -> dict[str, Any]:
    """Return one model as JSON values, its default space included."""
    space = model.default_space(horizon, N_SERIES)
    return {
        "name": model.name,
        "multivariate": model.needs_n_series,
        "recurrent": model.is_recurrent,
        "exogenous": [WORDS[kind] for kind, takes in model.exogenous.items() if takes],
        "losses": model.losses,
        "scalers": scalers_of(model),
        "dropout": model.dropouts,
        "points": space.facts.n_points,
        "space": [parameter_values(own) for own in space.parameters],
        "fixed": dict(space.constants),
        "defaults": dict(model.defaults),
    }


def scalers_of(model: ModelEntry) -> list[str]:
    """Return what the model can scale its windows by."""
    return list(SCALERS) if "scaler_type" in model.arguments else []


def listed(models: Iterable[ModelEntry], horizon: int) -> str:
    """Return a table of models, a line each."""
    lines = [f"{'model':20} {'series':8} {'exogenous':28} {'searched':>8}  {'dropout':20}"]
    for model in models:
        kind = "jointly" if model.needs_n_series else "recurr." if model.is_recurrent else "alone"
        exogenous = ", ".join(WORDS[own] for own, takes in model.exogenous.items() if takes) or "-"
        searched = len(model.default_space(horizon, N_SERIES).parameters)
        lines.append(f"{model.name:20} {kind:8} {exogenous:28} {searched:8}  {', '.join(model.dropouts) or '-'}")
    return "\n".join(line.rstrip() for line in lines)


def in_detail(model: ModelEntry, horizon: int) -> str:
    """Return one model with its default space for a horizon."""
    exogenous = [WORDS[kind] for kind, takes in model.exogenous.items() if takes]
    lines = [
        model.name,
        f"  forecasts {'all series jointly' if model.needs_n_series else 'each series by itself'}"
        f"{', step by step' if model.is_recurrent else ''}",
        f"  exogenous columns: {', '.join(exogenous) or 'none'}",
        f"  losses: {LOSSES[model.losses]}",
        f"  scalers: {', '.join(scalers_of(model)) or 'none'}",
        f"  dropout: {', '.join(model.dropouts) or 'none'}",
        f"default space for a horizon of {horizon}, before the data bounds it",
        *space_lines(model.default_space(horizon, N_SERIES)),
    ]
    return "\n".join(lines)
