"""The fitted model as MLflow serves it: `mlflow.pyfunc.load_model("models:/<study>@champion").predict(frame)`.

MLflow copies this file beside the model and runs it where castpool may be missing. Only a model with a hierarchy, which
castpool reconciles, and an ensemble with a baseline, which castpool computes, import castpool; their pip requirements
name it.
"""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel

# Of a result that an older castpool wrote.
NO_WEIGHTS: dict[str, Any] = {"weights": {}, "members": [], "season": 1, "level": []}


class ForecastModel(PythonModel):
    """Forecasts the horizon after a frame of ``unique_id``, ``ds``, ``y`` and the exogenous columns."""

    def load_context(self, context: Any) -> None:
        """Load the model; with a hierarchy, wrap it in the reconciliation."""
        folder = Path(context.artifacts["result"])
        # `castpool/workers/results/forecast.py`, as it was when the model was logged.
        self._forecast = runpy.run_path(context.artifacts["forecast_code"])["forecast"]
        self._static: list[str] = context.model_config["static"]
        self._futr: list[str] = context.model_config["futr"]
        weights_file = folder / "weights.json"
        content = json.loads(weights_file.read_text(encoding="utf-8")) if weights_file.is_file() else NO_WEIGHTS
        self._weights: dict[str, float] | None = content["weights"] if len(content["weights"]) > 1 else None
        self._baselines: list[str] = [member["baseline"] for member in content["members"] if "baseline" in member]
        self._season: int = content["season"]
        self._level: list[int] = content.get("level", [])
        self._fitted_baselines = self._read_baselines(folder / "forecast.csv")
        if context.model_config["reconciliation"] is not None:
            from castpool.workers.data.hierarchy import load_fitted

            self._model = load_fitted(folder / "model", context.model_config["reconciliation"])
        else:
            from neuralforecast import NeuralForecast

            self._model = NeuralForecast.load(str(folder / "model"))

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> Any:
        """Return ``unique_id``, ``ds`` and the model's columns: horizon rows per series.

        Rows without ``y`` belong to the horizon and contain the future columns. An empty frame means the data that the
        model was fitted on.
        """
        if model_input.empty:
            fitted = {"weights": self._weights, "baselines": self._fitted_baselines}
            return self._forecast(self._model, **fitted, level=self._level)
        is_ahead = model_input["y"].isna()
        known = model_input[~is_ahead]
        static = known.groupby("unique_id")[self._static].first().reset_index() if self._static else None
        futr = model_input.loc[is_ahead, ["unique_id", "ds", *self._futr]] if self._futr else None
        known = known.drop(columns=self._static)
        ensemble = {"weights": self._weights, "baselines": self._forecast_baselines(known)}
        return self._forecast(self._model, df=known, static=static, futr=futr, **ensemble, level=self._level)

    def _read_baselines(self, path: Path) -> dict[str, pd.DataFrame]:
        """Return the forecasts of the baselines after the data that the model was fitted on."""
        if not self._baselines:
            return {}
        kept = pd.read_csv(path, dtype={"unique_id": str})
        kept["ds"] = kept["ds"] if pd.api.types.is_integer_dtype(kept["ds"]) else pd.to_datetime(kept["ds"])
        return {
            name: kept[["unique_id", "ds", *(c for c in kept.columns if c == name or c.startswith(f"{name}-"))]]
            for name in self._baselines
        }

    def _forecast_baselines(self, known: pd.DataFrame) -> dict[str, pd.DataFrame]:
        if not self._baselines:
            return {}
        from castpool.workers.results.member_baselines import forecast_named

        history = known[["unique_id", "ds", "y"]]
        names, model = self._baselines, self._model
        return forecast_named(names, history, model.h, model.freq, self._season, self._level)


set_model(ForecastModel())
