"""Trials between Optuna's tables and `optuna.trial.FrozenTrial`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any

from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.trial import FrozenTrial, TrialState

SPECIAL = {"INF_POS": math.inf, "INF_NEG": -math.inf, "NAN": math.nan}

# A study's trials share their few distributions, and nobody changes one: each text is read once.
distribution_of = lru_cache(maxsize=4096)(json_to_distribution)


def stored_value(value: float) -> tuple[float | None, str]:
    """Return a value as the tables keep it: infinities and NaN are NULL with a type beside them."""
    for name, special in SPECIAL.items():
        if value == special or (name == "NAN" and math.isnan(value)):
            return None, name
    return value, "FINITE"


def value_of(stored: float | None, kind: str) -> float:
    """Return a value that the tables keep. Inverse of `stored_value`."""
    return SPECIAL[kind] if stored is None else stored


def stored_time(time: datetime | None) -> datetime | None:
    """Return a naive local time as naive UTC."""
    return None if time is None else time.astimezone(timezone.utc).replace(tzinfo=None)


def time_of(stored: datetime | None) -> datetime | None:
    """Return a naive UTC time as naive local time. Inverse of `stored_time`."""
    return None if stored is None else stored.replace(tzinfo=timezone.utc).astimezone().replace(tzinfo=None)


def attrs_of(pairs: Sequence[tuple[str, str]] | None) -> dict[str, Any]:
    """Return attributes that were read as pairs of key and JSON text."""
    return {key: json.loads(text) for key, text in pairs or ()}


def frozen_trial(row: Mapping[str, Any]) -> FrozenTrial:
    """Return the trial of a row of `storage.sql.trials.ONE_TRIAL` or `storage.sql.trials.NEWS`."""
    distributions: dict[str, BaseDistribution] = {}
    params: dict[str, Any] = {}
    for name, internal, text in row["params"] or ():
        distributions[name] = distribution_of(text)
        params[name] = distributions[name].to_external_repr(internal)
    values = [value_of(*own) for own in row["objectives"] or ()]
    return FrozenTrial(
        number=row["number"],
        trial_id=row["trial_id"],
        state=TrialState[row["state"]],
        value=None,
        values=values or None,
        datetime_start=time_of(row["datetime_start"]),
        datetime_complete=time_of(row["datetime_complete"]),
        params=params,
        distributions=distributions,
        user_attrs=attrs_of(row["user_attrs"]),
        system_attrs=attrs_of(row["system_attrs"]),
        intermediate_values={step: value_of(value, kind) for step, value, kind in row["reports"] or ()},
    )
