"""Cost-aware acquisition: expected improvement per second of a training step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from castpool.private_api.optuna import BaseAcquisitionFunc, LogEI, SearchSpace, qLogEI, running_points_of

# The ridge penalty of the cost model: a weight that few trials show stays near zero.
RIDGE = 0.1


class StepCost:
    """A linear model of the logarithm of the seconds of a training step, in the normalised parameters.

    Widths, batch sizes and lengths have logarithmic scales there, and time is nearly proportional to each of them.

    Args:
        space: Optuna's search space, which normalises numbers to between 0 and 1; categories are indices.
        params: normalised parameters of shape (trials, parameters).
        seconds: the seconds of a training step of each trial.
    """

    def __init__(self, space: SearchSpace, params: np.ndarray, seconds: Sequence[float]) -> None:
        self._n_choices = [
            int(params[:, index].max()) + 1 if is_categorical else 0
            for index, is_categorical in enumerate(space.is_categorical)
        ]
        features = self._features(torch.from_numpy(params))
        centre = features.mean(dim=0)
        logs = torch.log(torch.tensor(seconds, dtype=torch.float64))
        centred = features - centre
        normal = centred.T @ centred + RIDGE * torch.eye(centred.shape[1], dtype=torch.float64)
        self._weights = torch.linalg.solve(normal, centred.T @ (logs - logs.mean()))
        self._constant = logs.mean() - centre @ self._weights

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logarithm of the seconds at points of shape (..., parameters)."""
        logs: torch.Tensor = self._features(x) @ self._weights + self._constant
        return logs

    def _features(self, x: torch.Tensor) -> torch.Tensor:
        columns = [
            (x[..., index, None] == torch.arange(n_choices)).to(x) if n_choices else x[..., index, None]
            for index, n_choices in enumerate(self._n_choices)
        ]
        return torch.cat(columns, dim=-1)


class ImprovementPerSecond(BaseAcquisitionFunc):
    """The logarithm of expected improvement per second (Snoek et al., arXiv:1206.2944, section 3.2).

    Running trials count as ended at the process's mean prediction, and the expected improvement is one over their
    predictions too. Optuna's estimate of it by samples is zero at most points, among which the cheapest would win;
    this one is exact for small values too.
    """

    def __init__(self, improvement: BaseAcquisitionFunc, cost: StepCost) -> None:
        super().__init__(improvement.length_scales, improvement.search_space)
        self._improvement = _with_predicted_losses(improvement) if isinstance(improvement, qLogEI) else improvement
        self._cost = cost

    def eval_acqf(self, x: torch.Tensor) -> torch.Tensor:
        """Return the acquisition value at points of shape (..., parameters)."""
        return self._improvement.eval_acqf(x) - self._cost(x)


def _with_predicted_losses(improvement: qLogEI) -> LogEI:
    process, running, threshold = running_points_of(improvement)
    predicted = process.posterior(running)[0].detach()
    process.append_running_data(running, predicted)
    return LogEI(process, improvement.search_space, max(threshold, float(predicted.max())))
