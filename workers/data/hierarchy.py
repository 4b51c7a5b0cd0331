"""Series that add up: a summing matrix, and neuralforecast's HINT around a model to reconcile its forecasts.

The validation loss is that of the model inside, so tuning the reconciliation (as AutoHINT does) would overfit to
chance. The reconciliation is a setting of the study; the model inside is tuned.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from castpool.sampler_policies.errors import InputError
from castpool.workers.data.read_table import read_table

HIERARCHY_FILE = "hierarchy.csv"


def read_hierarchy(given: str | Sequence[Sequence[float]], ids: Sequence[str]) -> pd.DataFrame:
    """Return the summing matrix with a row a series (in the order of ``ids``, the index) and a column a bottom series.

    Args:
        given: a CSV or Parquet file with ``unique_id`` and a column for each bottom series; or the numbers alone, with
            rows in the order of ``ids``.
        ids: every series, sorted.

    Raises:
        InputError: what is no summing matrix of these series.
    """
    if isinstance(given, str):
        table = read_table(given)
        if "unique_id" not in table.columns:
            raise InputError("hierarchy", given, "write a column unique_id, and a column for each bottom series.")
        matrix = table.set_index(table["unique_id"].astype(str)).drop(columns="unique_id")
        shown: Any = given
    else:
        numbers = np.asarray(given, dtype=float)
        shown = f"a matrix of shape {numbers.shape}"
        if numbers.ndim != 2 or len(numbers) != len(ids):
            raise InputError("hierarchy", shown, f"write a row for each of the {len(ids)} series, in sorted order.")
        matrix = pd.DataFrame(numbers, index=list(ids), columns=_bottom_names(numbers, ids, shown))
    _refuse_other_series(matrix, ids, shown)
    matrix = matrix.loc[list(ids)].astype(float)
    matrix.columns = matrix.columns.astype(str)
    for name in matrix.columns:
        if name not in matrix.index or any(matrix.loc[name].to_numpy() != (matrix.columns == name)):
            remedy = f"the row of {name!r}, a bottom series, must be 1 in its own column and 0 elsewhere."
            raise InputError("hierarchy", shown, remedy)
    return matrix


def _bottom_names(numbers: npt.NDArray[np.float64], ids: Sequence[str], shown: str) -> list[str]:
    names = []
    for column in range(numbers.shape[1]):
        unit = np.zeros(numbers.shape[1])
        unit[column] = 1.0
        rows = np.flatnonzero((numbers == unit).all(axis=1))
        if not len(rows):
            remedy = f"column {column} has no row of its own: each bottom series is 1 there, 0 elsewhere."
            raise InputError("hierarchy", shown, remedy)
        names.append(ids[int(rows[-1])])
    return names


def _refuse_other_series(matrix: pd.DataFrame, ids: Sequence[str], shown: Any) -> None:
    if matrix.index.has_duplicates:
        raise InputError("hierarchy", shown, "write each series once.")
    missing = sorted(set(ids) - set(matrix.index))
    unknown = sorted(set(matrix.index) - set(ids))
    if missing or unknown:
        what = f"no row for {missing[0]!r}" if missing else f"a row for {unknown[0]!r}, which the data has not"
        raise InputError("hierarchy", shown, f"it has {what}: write a row for each series of the data.")
    if not all(pd.api.types.is_numeric_dtype(kind) for kind in matrix.dtypes) or matrix.isna().any(axis=None):
        raise InputError("hierarchy", shown, "write numbers only, usually 0 and 1.")


def reconciled(model: Any, hierarchy: pd.DataFrame, reconciliation: str) -> Any:
    """Return HINT around a model of these series, under the model's own name.

    Raises:
        InputError: the model's loss gives no distribution, of which HINT draws.
    """
    from neuralforecast.models import HINT

    if not model.loss.is_distribution_output:
        remedy = (
            "with a hierarchy write a distribution, e.g. {name: DistributionLoss, distribution: Normal, level: [80]}."
        )
        raise InputError("loss", type(model.loss).__name__, remedy)
    matrix = hierarchy.to_numpy()
    hint = HINT(h=model.h, S=matrix, model=model, reconciliation=reconciliation, alias=repr(model))
    if reconciliation == "BottomUp":
        # neuralforecast takes the last rows for the bottom series; here they are wherever their names are sorted.
        bottom = hierarchy.index.get_indexer(hierarchy.columns)
        projection = np.zeros((matrix.shape[1], len(matrix)))
        projection[np.arange(len(bottom)), bottom] = 1.0
        hint.SP = matrix @ projection
    return hint


def save_fitted(fitted: Any, folder: Path, hierarchy: pd.DataFrame | None) -> None:
    """Save a fitted `NeuralForecast`. It cannot save HINT: the model inside is saved, and the hierarchy beside it."""
    outer = fitted.models
    try:
        fitted.models = [getattr(model, "model", model) if hierarchy is not None else model for model in outer]
        fitted.save(str(folder), save_dataset=True, overwrite=True)
    finally:
        fitted.models = outer
    if hierarchy is not None:
        hierarchy.rename_axis("unique_id").to_csv(folder.parent / HIERARCHY_FILE)


def load_fitted(folder: Path, reconciliation: str | None = None) -> Any:
    """Return the `NeuralForecast` that `save_fitted` wrote, with HINT around its model where there is a hierarchy."""
    from neuralforecast import NeuralForecast

    fitted = NeuralForecast.load(str(folder))
    kept = folder.parent / HIERARCHY_FILE
    if reconciliation is not None and kept.is_file():
        hierarchy = pd.read_csv(kept, index_col="unique_id", dtype={"unique_id": str})
        fitted.models = [with_exogenous_lists(reconciled(model, hierarchy, reconciliation)) for model in fitted.models]
    return fitted


def with_exogenous_lists(hint: Any) -> Any:
    """Return a HINT around a fitted model with the attributes that its own `fit` would have set."""
    for name in ("futr_exog_list", "hist_exog_list", "stat_exog_list"):
        setattr(hint, name, getattr(hint.model, name))
    return hint
