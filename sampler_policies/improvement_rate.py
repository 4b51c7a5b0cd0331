"""Improvement by the second: what a configuration promises, over what one of its training steps takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from optuna._gp.acqf import BaseAcquisitionFunc, LogEI, qLogEI
from optuna._gp.search_space import SearchSpace

# A weight is believed where the trials show it; one trial among others shows little.
RIDGE = 0.1


class StepCost:
    """The logarithm of the seconds that a training step takes, linear in the normalised parameters.

    Widths, batches and lengths are on a logarithmic scale there, and time is near to proportional to each of them.

    Args:
        space: in which the parameters are normalised to between 0 and 1; categories are numbers.
        params: of the trials; one a row.
        seconds: a training step's of each.
    """

    def __init__(self, space: SearchSpace, params: np.ndarray, seconds: Sequence[float]) -> None:
        self._n_choices = [
            int(params[:, index].max()) + 1 if is_categorical else 0
            for index, is_categorical in enumerate(space.is_categorical)
        ]
        known = self._features(torch.from_numpy(params))
        centre = known.mean(dim=0)
        logs = torch.log(torch.tensor(seconds, dtype=torch.float64))
        apart = known - centre
        normal = apart.T @ apart + RIDGE * torch.eye(apart.shape[1], dtype=torch.float64)
        self._weights = torch.linalg.solve(normal, apart.T @ (logs - logs.mean()))
        self._constant = logs.mean() - centre @ self._weights

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logarithm at points of shape (..., parameters)."""
        logs: torch.Tensor = self._features(x) @ self._weights + self._constant
        return logs

    def _features(self, x: torch.Tensor) -> torch.Tensor:
        columns = [
            (x[..., index, None] == torch.arange(n_choices)).to(x) if n_choices else x[..., index, None]
            for index, n_choices in enumerate(self._n_choices)
        ]
        return torch.cat(columns, dim=-1)


class ImprovementRate(BaseAcquisitionFunc):
    """Expected improvement over cost (Snoek et al., arXiv:1206.2944, section 3.2), as a logarithm.

    Trials that run are believed to come to what the process expects of them, and an improvement is one beyond that
    too. Optuna's own estimate by samples says of most points that they add nothing, which would make the cheapest of
    them the best; this one is exact however little they add.
    """

    def __init__(self, improvement: BaseAcquisitionFunc, cost: StepCost) -> None:
        super().__init__(improvement.length_scales, improvement.search_space)
        self._improvement = _believing(improvement) if isinstance(improvement, qLogEI) else improvement
        self._cost = cost

    def eval_acqf(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logarithm of the rate at points of shape (..., parameters)."""
        return self._improvement.eval_acqf(x) - self._cost(x)


def _believing(improvement: qLogEI) -> LogEI:
    process, running = improvement._cond_gpr._gpr, improvement._cond_gpr._X_running
    believed = process.posterior(running)[0].detach()
    process.append_running_data(running, believed)
    return LogEI(process, improvement.search_space, max(improvement._threshold, float(believed.max())))
