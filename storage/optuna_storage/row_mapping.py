"""Row mapping: values and trials between Optuna's tables and `optuna.trial.FrozenTrial`."""

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

# A study's trials share a few distributions, which never change: each text is parsed once.
decode_distribution = lru_cache(maxsize=4096)(json_to_distribution)


def encode_value(value: float) -> tuple[float | None, str]:
    """Return a value as the tables store it, and its type: infinities and NaN are NULL with their own type."""
    for name, special in SPECIAL.items():
        if value == special or (name == "NAN" and math.isnan(value)):
            return None, name
    return value, "FINITE"


def decode_value(stored: float | None, kind: str) -> float:
    """Return a value that the tables store. Inverse of `encode_value`."""
    return SPECIAL[kind] if stored is None else stored


def encode_time(time: datetime | None) -> datetime | None:
    """Return a naive local time as naive UTC."""
    return None if time is None else time.astimezone(timezone.utc).replace(tzinfo=None)


def decode_time(stored: datetime | None) -> datetime | None:
    """Return a naive UTC time as naive local time. Inverse of `encode_time`."""
    return None if stored is None else stored.replace(tzinfo=timezone.utc).astimezone().replace(tzinfo=None)


def decode_attrs(pairs: Sequence[tuple[str, str]] | None) -> dict[str, Any]:
    """Return attributes from pairs of key and JSON text."""
    return {key: json.loads(text) for key, text in pairs or ()}


def decode_trial(row: Mapping[str, Any]) -> FrozenTrial:
    """Return the trial of a row of `castpool.storage.sql.trials.ONE_TRIAL` or `castpool.storage.sql.trials.NEWS`."""
    distributions: dict[str, BaseDistribution] = {}
    params: dict[str, Any] = {}
    for name, internal, text in row["params"] or ():
        distributions[name] = decode_distribution(text)
        params[name] = distributions[name].to_external_repr(internal)
    values = [decode_value(stored, kind) for stored, kind in row["objectives"] or ()]
    return FrozenTrial(
        number=row["number"],
        trial_id=row["trial_id"],
        state=TrialState[row["state"]],
        value=None,
        values=values or None,
        datetime_start=decode_time(row["datetime_start"]),
        datetime_complete=decode_time(row["datetime_complete"]),
        params=params,
        distributions=distributions,
        user_attrs=decode_attrs(row["user_attrs"]),
        system_attrs=decode_attrs(row["system_attrs"]),
        intermediate_values={step: decode_value(value, kind) for step, value, kind in row["reports"] or ()},
    )
