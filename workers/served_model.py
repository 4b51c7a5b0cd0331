"""The winner as MLflow serves it: `mlflow.pyfunc.load_model("models:/<study>@champion").predict(frame)`.

MLflow copies this file beside the model, and runs it where there may be no castpool: it stands alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel


class ForecastModel(PythonModel):
    """Forecasts the horizon after a frame of ``unique_id``, ``ds``, ``y`` and the exogenous columns."""

    def load_context(self, context: Any) -> None:
        """Load the model, and around it the hierarchy where there is one."""
        folder = Path(context.artifacts["result"])
        self._static: list[str] = context.model_config["static"]
        self._futr: list[str] = context.model_config["futr"]
        if context.model_config["reconciliation"] is not None:
            from workers.hierarchy import load_fitted

            self._model = load_fitted(folder / "model", context.model_config["reconciliation"])
        else:
            from neuralforecast import NeuralForecast

            self._model = NeuralForecast.load(str(folder / "model"))

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> Any:
        """Return ``unique_id``, ``ds`` and the model's columns: horizon rows a series.

        Rows whose ``y`` is missing are the horizon's, with the future columns. An empty frame stands for what the model
        was fitted on.
        """
        if model_input.empty:
            return self._model.predict()
        is_ahead = model_input["y"].isna()
        known = model_input[~is_ahead]
        static = known.groupby("unique_id")[self._static].first().reset_index() if self._static else None
        futr = model_input.loc[is_ahead, ["unique_id", "ds", *self._futr]] if self._futr else None
        return self._model.predict(df=known.drop(columns=self._static), static_df=static, futr_df=futr)


set_model(ForecastModel())
