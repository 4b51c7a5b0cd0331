"""The weights of a result's members, in ``weights.json`` beside the model.

Without castpool, the forecast is that of the members, averaged:

    fitted = NeuralForecast.load("model")
    weights = json.load(open("weights.json"))["weights"]
    forecast = fitted.predict()
    forecast["ensemble"] = sum(weight * forecast[name] for name, weight in weights.items())

Of a quantile loss each column is averaged so, as ``NHITS_1-median``. A baseline among the members is not in the model:
its column has to be added before the last line, from ``forecast.csv`` or computed anew (docs/verdict.md).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from castpool.sampler_policies.errors import InputError
from castpool.workers.results.members import Member
from castpool.workers.spec.field_values import read_levels

WEIGHTS_FILE = "weights.json"


def weights_of(members: Sequence[Member]) -> dict[str, float] | None:
    """Return the weight of each member by name; None where a single model is the result."""
    return {member.name: member.weight for member in members} if len(members) > 1 else None


def write_weights(members: Sequence[Member], season: int, level: Sequence[int], path: Path) -> None:
    """Write the weights, what each member is, and the levels of the intervals that they were fitted for."""
    content = {
        "weights": {member.name: member.weight for member in members},
        "members": [member.to_json() for member in members],
        "season": season,
        "level": list(level),
    }
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def read_weights(folder: Path) -> tuple[dict[str, float] | None, dict[str, Any]]:
    """Return the weights of a result's folder, None where a single model is the result; and the file's content.

    Raises:
        InputError: the file holds no weights that sum to 1, or levels that are no percentages.
    """
    path = folder / WEIGHTS_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        return None, {}  # a folder that `NeuralForecast.save` wrote, or an older castpool, has no such file
    except ValueError:
        raise InputError("result", path, "it is no JSON: let castpool result write it again.") from None
    weights = content.get("weights") if isinstance(content, Mapping) else None
    is_average = isinstance(weights, Mapping) and all(
        isinstance(weight, int | float) and 0 <= weight <= 1 for weight in weights.values()
    )
    if not isinstance(weights, Mapping) or not is_average or not math.isclose(sum(weights.values()), 1, abs_tol=1e-3):
        raise InputError("result", path, "its weights do not sum to 1: let castpool result write it again.")
    try:
        level = list(read_levels(content.get("level", [])))
    except ValueError:
        raise InputError("result", path, "its levels are no percentages: let castpool result write it again.") from None
    return (dict(weights) if len(weights) > 1 else None), {**content, "level": level}
