"""The data and models that are compared: what each system is given, and the windows that none of them sees."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"


@dataclass(frozen=True)
class Pair:
    """A table of series and a model. Of each series the last ``tested`` horizons test, and the one before validates.

    One window of a single series says little of a model: where series are few and long, a week of days tests.
    """

    data: str
    model: str
    horizon: int
    freq: str
    season: int
    tested: int
    is_multivariate: bool = False

    @property
    def name(self) -> str:
        """For people and files."""
        return f"{self.data}-{self.model}"

    def read(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return what the systems see, and the horizons that test."""
        if self.data == "demo":
            from neuralforecast.utils import AirPassengersDF

            frame = AirPassengersDF
        else:
            frame = pd.read_parquet(DATA / f"{self.data}.parquet")
        frame = frame[["unique_id", "ds", "y"]].sort_values(["unique_id", "ds"], ignore_index=True)
        test = frame.groupby("unique_id").tail(self.tested * self.horizon)
        return frame.drop(test.index).reset_index(drop=True), test.reset_index(drop=True)


PAIRS = {
    own.name: own
    for own in (
        Pair("demo", "NHITS", 12, "ME", 12, 2),
        Pair("ercot_zones", "MLP", 24, "h", 24, 7),
        Pair("tourism_quarterly", "PatchTST", 8, "QS", 4, 1),
        Pair("etth1", "GRU", 24, "h", 24, 7),
        Pair("nyc_taxi_30min", "DLinear", 48, "30min", 48, 7),
        Pair("ercot_zones", "iTransformer", 24, "h", 24, 7, is_multivariate=True),
        # Here NeuralForecast's own loops die: their space has inputs that are longer than the series.
        Pair("fx_monthly", "GRU", 12, "MS", 12, 1),
        Pair("demo", "MLP", 12, "ME", 12, 2),
    )
}
QUICK = ("demo-MLP",)
# The seventh and eighth are for those who want more; the table in the docs has these.
USUAL = tuple(PAIRS)[:6]
