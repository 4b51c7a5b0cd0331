"""Small real data and small real trainings: a few steps of a small model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from castpool.workers.planning.create_study import Draft, draft_study
from castpool.workers.spec.job import Job
from castpool.workers.spec.study_spec import make_spec
from castpool.workers.support.logs import quiet

SMALL: dict[str, Any] = {
    "model": "MLP",
    "horizon": 4,
    "trials": 3,
    "workers": 1,
    "max_steps": 6,
    "val_check_steps": 2,
    "space": {"hidden_size": [8, 16], "num_layers": 2},
}


@pytest.fixture(scope="session", autouse=True)
def _quiet() -> None:
    quiet()


@pytest.fixture(scope="session")
def panel() -> pd.DataFrame:
    """Three monthly series of 60 observations with a season and a little noise."""
    random = np.random.default_rng(0)
    dates = pd.date_range("2015-01-01", periods=60, freq="MS")
    months = np.arange(60)
    return pd.concat(
        pd.DataFrame(
            {
                "unique_id": f"series-{number}",
                "ds": dates,
                "y": 10.0 * (number + 1) + np.sin(months * np.pi / 6) + 0.1 * random.standard_normal(60),
                "promo": (months % 5 == 0).astype(float),
                "size": float(number),
            }
        )
        for number in range(3)
    ).reset_index(drop=True)


@pytest.fixture(scope="session")
def draft(panel: pd.DataFrame) -> Callable[..., Draft]:
    """Return a function that drafts a small study; its arguments change the spec."""

    def make(**changes: Any) -> Draft:
        objects = changes.pop("objects", None)
        if objects is not None and objects.config is not None:
            changes["space"] = {}  # the function decides the whole configuration
        base_space = changes.pop("base_space", None)
        table = changes.pop("table", panel)
        return draft_study(make_spec({**SMALL, **changes}), table, objects=objects, base_space=base_space)

    return make


@pytest.fixture(scope="session")
def job(draft: Callable[..., Draft]) -> Callable[..., Job]:
    """Return a function that makes a small study's job; its arguments change the spec."""
    return lambda **changes: draft(**changes).job
