"""Training windows that are copied from the series only where they are trained on.

neuralforecast copies every window of a batch of series, many times the size of the series, counts the
observations in each, and samples a few of them (`BaseModel._create_windows`, `_sample_windows`). Here windows are
counted by a running sum and only the sampled ones are copied: the same windows, in the same order, from the same draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from castpool.private_api.neuralforecast import (
    BaseModel,
    create_windows,
    replace_window_methods,
    restore_window_methods,
    sample_windows,
)


@dataclass(frozen=True)
class Windows:
    """All windows of a batch, none of them copied.

    Attributes:
        laid: a view, ``[series, windows, time, columns]``; multivariate ``[windows, time, columns, series]``.
        is_multivariate: whether a window holds all series.
    """

    laid: Tensor
    is_multivariate: bool

    @property
    def device(self) -> torch.device:
        """Where the series are."""
        return self.laid.device

    def take(self, numbers: Tensor) -> Tensor:
        """Return a copy of the windows with these numbers, as ``[numbers, time, columns, series]``."""
        if self.is_multivariate:
            return self.laid[numbers]
        each = self.laid.shape[1]
        return self.laid[numbers // each, numbers % each].unsqueeze(-1)

    def series(self, numbers: Tensor) -> Tensor:
        """Return the number of the series of each window."""
        return numbers // self.laid.shape[1]


def copy_only_drawn_windows(model: BaseModel) -> None:
    """Let this model object copy only the training windows that it samples."""
    replace_window_methods(model, _create_windows, _sample_windows)


def take_all(model: BaseModel) -> None:
    """Let this model object copy all training windows, as its class does."""
    restore_window_methods(model)


def _create_windows(model: BaseModel, batch: dict[str, Any], step: str) -> tuple[Any, ...]:
    columns, temporal = batch["temporal_cols"], batch["temporal"]
    size = model.input_size + model.h
    if (held_out := model.val_size + model.test_size) > 0:
        temporal = temporal[:, :, :-held_out]
    # Validation windows are few, and the class refuses series that are too short.
    if step == "train" and "sample_weight" not in columns:
        temporal = model.padder_train(temporal)
        if temporal.shape[-1] >= size:
            fit = _enough(model, temporal[:, columns.get_loc("available_mask")])
            if len(fit):
                laid = temporal.unfold(-1, size, model.step_size)
                laid = laid.permute(2, 3, 1, 0) if model.MULTIVARIATE else laid.permute(0, 2, 3, 1)
                windows = Windows(laid, model.MULTIVARIATE)
                return windows, batch.get("static"), batch.get("static_cols"), fit, None, columns
    return create_windows(model, batch, step)


def _enough(model: BaseModel, available: Tensor) -> Tensor:
    """Return the numbers of the windows with enough observations. ``available`` is 0 or 1, ``[series, time]``."""
    if model.MULTIVARIATE:
        available = available.sum(dim=0, keepdim=True)
    before = functional.pad(available.long().cumsum(dim=-1), (1, 0))
    size = model.input_size + model.h
    starts = torch.arange(0, available.shape[-1] - size + 1, model.step_size, device=available.device)
    inside, outside = before[:, starts + model.input_size], before[:, starts + size]
    enough = inside - before[:, starts] >= max(1, int(model.input_size * model.min_insample_fraction * model.n_series))
    if model.h > 0:
        enough &= outside - inside >= max(1, int(model.h * model.min_outsample_fraction * model.n_series))
    return torch.nonzero(enough.flatten()).squeeze(-1)


def _sample_windows(
    model: BaseModel,
    windows_temporal: Windows | Tensor,
    static: Tensor | None,
    static_cols: Any,
    temporal_cols: Any,
    w_idxs: Tensor,
    final_condition: Tensor,
    sample_weight: Tensor | None = None,
) -> dict[str, Any]:
    if not isinstance(windows_temporal, Windows):
        arguments = (windows_temporal, static, static_cols, temporal_cols, w_idxs, final_condition, sample_weight)
        return sample_windows(model, *arguments)
    numbers = final_condition[w_idxs]
    if static is not None and not windows_temporal.is_multivariate:
        static = static[windows_temporal.series(numbers)]
    return {
        "temporal": windows_temporal.take(numbers),
        "temporal_cols": temporal_cols,
        "static": static,
        "static_cols": static_cols,
        "sample_weight": None,
    }
