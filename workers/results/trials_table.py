"""The trials of a study as `trials.csv` keeps them."""

from __future__ import annotations

import math

import optuna
import pandas as pd

from castpool import attributes


def trials_table(study: optuna.Study) -> pd.DataFrame:
    """Return one row an attempt: number, state, value, slot, worker, times, reason, the model's arguments."""
    rows = []
    for trial in study.trials:
        attempt = trial.user_attrs.get(attributes.ATTEMPT, {})
        value = trial.value if trial.value is not None and math.isfinite(trial.value) else None
        row = {
            "number": trial.number,
            "state": trial.state.name,
            "value": value,
            "last_step": trial.last_step,
            "best_step": trial.user_attrs.get(attributes.BEST_STEP),
            "slot": attempt.get("slot"),
            "attempt": attempt.get("attempt"),
            "worker": attempt.get("worker"),
            "host": attempt.get("host"),
            "pid": attempt.get("pid"),
            "started_at": trial.datetime_start,
            "ended_at": trial.datetime_complete,
            "sampler": trial.user_attrs.get(attributes.SAMPLER),
            "training_seconds": trial.user_attrs.get(attributes.TRAINING_SECONDS),
            "reason": trial.user_attrs.get(attributes.REASON),
        }
        rows.append({**row, **trial.user_attrs.get(attributes.CONFIG, {})})
    return pd.DataFrame(rows)
