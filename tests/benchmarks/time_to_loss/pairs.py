"""The data sets and models of the comparison: the series that each system gets, and the held-out test windows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from utilsforecast.preprocessing import fill_gaps

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"


@dataclass(frozen=True)
class Pair:
    """A table of series and a model. Of each series, the last ``tested`` horizons test, and the one before validates.

    One window of a single series says little about a model: where series are few and long, seven days are for testing.
    """

    data: str
    model: str
    horizon: int
    freq: str
    season: int
    tested: int
    is_multivariate: bool = False
    # The column to forecast.
    target: str = "y"
    # 2 and 3 are the second of every three series: a data set can give several tables without a series in common.
    part: tuple[int, int] | None = None
    # Whether steps are missing; they get the value before them, which is known at every moment.
    has_gaps: bool = False

    @property
    def name(self) -> str:
        """The name in tables and files."""
        part = "{}of{}".format(*self.part) if self.part else None
        target = self.target if self.target != "y" else None
        return "-".join(word for word in (self.data, part, target, self.model) if word)

    def read(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return the rows for the systems, and the rows of the test windows."""
        if self.data == "demo":
            from neuralforecast.utils import AirPassengersDF

            # The name of its series is the number 1.0.
            frame = AirPassengersDF.assign(unique_id="AirPassengers")
        else:
            frame = pd.read_parquet(DATA / f"{self.data}.parquet")
        frame = frame[["unique_id", "ds", self.target]].rename(columns={self.target: "y"})
        frame = frame.sort_values(["unique_id", "ds"], ignore_index=True)
        if self.part is not None:
            number, parts = self.part
            frame = frame[pd.factorize(frame["unique_id"])[0] % parts == number - 1]
        if self.has_gaps:
            frame = fill_gaps(frame, freq=self.freq, start="per_serie", end="per_serie")
            frame["y"] = frame.groupby("unique_id")["y"].ffill()
        test = frame.groupby("unique_id").tail(self.tested * self.horizon)
        return frame.drop(test.index).reset_index(drop=True), test.reset_index(drop=True)


PAIRS = {
    pair.name: pair
    for pair in (
        Pair("demo", "NHITS", 12, "ME", 12, 2),
        Pair("ercot_zones", "MLP", 24, "h", 24, 7),
        Pair("tourism_quarterly", "PatchTST", 8, "QS", 4, 1),
        Pair("etth1", "GRU", 24, "h", 24, 7),
        Pair("nyc_taxi_30min", "DLinear", 48, "30min", 48, 7),
        Pair("ercot_zones", "iTransformer", 24, "h", 24, 7, is_multivariate=True),
        # Here NeuralForecast's own search fails: its space has inputs that are longer than the series.
        Pair("fx_monthly", "GRU", 12, "MS", 12, 1),
        Pair("demo", "MLP", 12, "ME", 12, 2),
        # Data sets that no pair above has.
        # The first part has a currency that lost all its value: its errors are more than those of all others together.
        Pair("fx_monthly", "NHITS", 12, "MS", 12, 2, part=(3, 3)),
        Pair("epf_short", "TiDE", 24, "h", 24, 7),
        Pair("brent_daily", "NBEATS", 20, "B", 5, 12, has_gaps=True),
        Pair("nab_drift_5min", "MLP", 36, "5min", 288, 8, has_gaps=True),
        Pair("peyton_manning", "NLinear", 30, "D", 7, 6, has_gaps=True),
    )
}
QUICK = ("demo-MLP",)
# The pairs of the table in the docs; the seventh and eighth can be named.
USUAL = tuple(PAIRS)[:6]
# The pairs of the comparison of test errors.
REPORTED = (*USUAL, *tuple(PAIRS)[8:])
# castpool's rules are tuned on these pairs only. They have no series in common with those that are reported: a rule
# that is chosen by what is reported would look better there than for a user.
DEVELOPMENT = {
    pair.name: pair
    for pair in (
        Pair("etth1", "NHITS", 24, "h", 24, 7, target="HUFL"),
        Pair("etth1", "TiDE", 48, "h", 24, 5, target="MUFL"),
        Pair("etth1", "MLP", 96, "h", 24, 3, target="LUFL"),
        Pair("epf_short", "GRU", 24, "h", 24, 7, target="Exogenous1"),
        Pair("epf_short", "DLinear", 48, "h", 24, 4, target="Exogenous2"),
        Pair("fx_monthly", "MLP", 6, "MS", 12, 4, part=(2, 3)),
        Pair("etth1", "MLP", 24, "h", 24, 7, target="MULL"),
        Pair("etth1", "DLinear", 48, "h", 24, 5, target="LULL"),
        Pair("epf_short", "MLP", 24, "h", 24, 7, target="Exogenous1"),
        Pair("epf_short", "NLinear", 24, "h", 24, 7, target="Exogenous2"),
        Pair("fx_monthly", "NHITS", 12, "MS", 12, 2, part=(2, 3)),
        Pair("fx_monthly", "TiDE", 3, "MS", 12, 6, part=(2, 3)),
        Pair("etth1", "NLinear", 24, "h", 24, 7, target="HULL"),
    )
}
