"""The verdict: how much better the chosen forecast is than others on the holdout, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from castpool.sampler_policies.errors import InputError, did_you_mean
from castpool.workers.evaluation.ensemble import align
from castpool.workers.evaluation.resample import resample_sums

KINDS = ("ensemble", "winner", "default", "baseline")
# The percentile interval of fewer cells is far too narrow: four errors of one sign would always look certain.
FEWEST_CELLS = 5
# Gains end here, so that they are numbers: beside an error of 0, every other one is infinitely worse.
WORST, BEST = -99.0, 1.0
_ALIASES = {"naive": "seasonal naive", "seasonalnaive": "seasonal naive"}

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Competitor:
    """A forecast that was judged on the holdout.

    Attributes:
        name: as the sentence calls it.
        kind: one of `KINDS`.
        description: of what it is; may be empty.
        metrics: by name (`metrics.METRICS`); what is no finite number is left out.
        latency_ms: milliseconds of one forecast of all series; None where it was not measured.
        model_mb: megabytes of the saved model; None where it was not measured.
    """

    name: str
    kind: str
    description: str
    metrics: Mapping[str, float]
    latency_ms: float | None = None
    model_mb: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError("competitor.kind", self.kind, did_you_mean(self.kind, KINDS))
        known = {str(name): float(value) for name, value in self.metrics.items() if math.isfinite(value)}
        object.__setattr__(self, "metrics", known)


@dataclass(frozen=True)
class Comparison:
    """The chosen forecast beside another.

    Attributes:
        against: the name of the other.
        gain: 1 - error / error of the other: 0.12 is 12 % better, negative is worse.
        low: the lower end of its 95 % interval; None where there are too few windows for one.
        high: the upper end.
    """

    against: str
    gain: float
    low: float | None
    high: float | None

    def __post_init__(self) -> None:
        if not all(value is None or math.isfinite(value) for value in (self.gain, self.low, self.high)):
            raise InputError("comparison", [self.gain, self.low, self.high], "write finite numbers.")

    @property
    def is_certain(self) -> bool | None:
        """Whether the interval lies on one side of 0; None where there is no interval."""
        return None if self.low is None or self.high is None else self.low > 0 or self.high < 0

    def reverse(self) -> Comparison:
        """Return the gain of the other over the chosen forecast, under the same name."""
        low, high = (None if end is None else _reverse(end) for end in (self.high, self.low))
        return Comparison(self.against, _reverse(self.gain), low, high)


@dataclass(frozen=True)
class Verdict:
    """What the holdout says about the chosen forecast; without a holdout there is none.

    Attributes:
        metric: that was compared.
        n_series: series in the holdout.
        n_windows: windows of each series.
        holdout: observations of each series.
        chosen: the name of the competitor that is delivered.
        competitors: all that were judged.
        comparisons: of the chosen one with each other one.
    """

    metric: str
    n_series: int
    n_windows: int
    holdout: int
    chosen: str
    competitors: Sequence[Competitor]
    comparisons: Sequence[Comparison]

    def __post_init__(self) -> None:
        object.__setattr__(self, "competitors", tuple(self.competitors))
        object.__setattr__(self, "comparisons", tuple(self.comparisons))
        names = [competitor.name for competitor in self.competitors]
        for name in (self.chosen, *(comparison.against for comparison in self.comparisons)):
            if name not in names:
                raise InputError("verdict", name, did_you_mean(name, names))

    def find(self, name: str) -> Competitor:
        """Return the competitor of that name."""
        return next(competitor for competitor in self.competitors if competitor.name == name)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values; None in place of what is no finite number."""
        return cast("dict[str, Any]", _to_json(asdict(self)))

    @classmethod
    def from_json(cls, stored: object) -> Verdict:
        """Rebuild a verdict from `to_json`.

        Raises:
            InputError: it is no verdict.
        """
        try:
            fields = dict(cast("Mapping[str, Any]", stored))
            competitors = [_read_competitor(each) for each in fields["competitors"]]
            comparisons = [
                Comparison(str(each["against"]), float(each["gain"]), _number(each["low"]), _number(each["high"]))
                for each in fields["comparisons"]
            ]
            n_series, n_windows, holdout = (int(fields[name]) for name in ("n_series", "n_windows", "holdout"))
            metric, chosen = str(fields["metric"]), str(fields["chosen"])
            return cls(metric, n_series, n_windows, holdout, chosen, competitors, comparisons)
        except InputError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError("verdict", f"{type(error).__name__} {error}", "let castpool result write it.") from None


def compare(
    errors: pd.DataFrame,
    other: pd.DataFrame,
    *,
    against: str,
    seed: int = 0,
    n: int = 1000,
    scales: Mapping[str, float] | None = None,
) -> Comparison:
    """Return the gain of one forecast over another, with a paired bootstrap interval.

    The gain is 1 - the ratio of the sums of errors. It is the difference that a user reads off a table of mean errors;
    a mean of ratios would not be, and has no value where a series was forecast without an error. Large series weigh
    more, as they do in that table; ``scales`` makes them equal.

    A resample draws series with replacement and, independently, windows: both errors of a drawn cell enter. Windows are
    drawn for all series at once, because series share their shocks: drawing them for each series alone would make the
    interval too narrow. Windows are numbered from the newest of each series. The interval holds the middle 95 % of
    ``n`` resamples. With fewer than `FEWEST_CELLS` cells there is none.

    Args:
        errors: ``unique_id``, ``cutoff``, ``error`` (`metrics.cell_errors`) of the chosen forecast.
        other: the same of the other, in any order of rows.
        against: the name of the other.
        seed: of the resamples.
        n: the number of resamples.
        scales: what to divide the errors of each series by.

    Raises:
        InputError: the cells differ.

    Source: Owen, The pigeonhole bootstrap, Annals of Applied Statistics 1, 2007.
    """
    keys = errors[["unique_id", "cutoff"]].reset_index(drop=True)
    pair = np.array([errors["error"].to_numpy(dtype=float), align(other, keys, against)["error"].to_numpy(dtype=float)])
    if scales is not None:
        pair = pair / keys["unique_id"].map(scales).to_numpy(dtype=float)
    gain = float(_gain(*pair.sum(axis=1)))
    if len(keys) < FEWEST_CELLS or not np.isfinite(pair).all():
        return Comparison(against, gain, None, None)
    series, ids = pd.factorize(keys["unique_id"])
    windows = keys.groupby("unique_id")["cutoff"].rank(method="first", ascending=False).to_numpy(dtype=int) - 1
    cells = np.zeros((len(ids), 2, int(windows.max()) + 1))
    cells[series, :, windows] = pair.T
    drawn = resample_sums(cells, n, np.random.default_rng(seed))
    low, high = np.quantile(_gain(drawn[:, 0], drawn[:, 1]), [0.025, 0.975])
    return Comparison(against, gain, float(low), float(high))


def is_better_than(verdict: Verdict, name: str) -> bool | None:
    """Return whether the chosen forecast is better than a competitor, for ``--require-better-than``.

    True only where the whole interval of the gain is above 0. None where the gain is above 0 and the windows are too
    few for an interval: that cannot be said, and a requirement is not met. Otherwise fewer windows would pass more
    easily.

    Args:
        verdict: on the chosen forecast.
        name: ``naive``, ``default``, or a competitor's name in any case, with or without spaces.

    Raises:
        InputError: there is no such competitor, or it is the chosen one.
    """
    competitors = {_plain(competitor.name): competitor.name for competitor in verdict.competitors}
    for competitor in verdict.competitors:
        if competitor.kind == "default":
            competitors["default"] = competitor.name
    wanted = _plain(_ALIASES.get(_plain(name), name))
    against = {comparison.against: comparison for comparison in verdict.comparisons}
    comparison = against.get(competitors.get(wanted, ""))
    if comparison is None:
        raise InputError(
            "--require-better-than", name, did_you_mean(name, against) if against else "nothing is judged."
        )
    if comparison.gain <= 0:
        return False
    return None if comparison.low is None else comparison.low > 0


def _gain(error: Array | float, other: Array | float) -> Array:
    """Return 1 - error / other; 0 where both are equal, `WORST` beside an error of 0 or without a number."""
    error, other = (np.nan_to_num(np.asarray(each, dtype=float), nan=np.inf) for each in (error, other))
    equal = error == other
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = np.where(equal, 0.0, 1 - error / np.where(equal, 1.0, other))
    return cast("Array", np.clip(gain, WORST, BEST))


def _reverse(gain: float) -> float:
    """Return the gain of the other: 1 - 1 / (1 - gain)."""
    return WORST if gain >= BEST else max(WORST, -gain / (1 - gain))


def _plain(name: str) -> str:
    return "".join(name.lower().split())


def _to_json(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _to_json(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _number(stored: object) -> float | None:
    return None if stored is None else float(cast("float", stored))


def _read_competitor(stored: Mapping[str, Any]) -> Competitor:
    return Competitor(
        str(stored["name"]),
        str(stored["kind"]),
        str(stored["description"]),
        {name: float(value) for name, value in stored["metrics"].items() if value is not None},
        _number(stored["latency_ms"]),
        _number(stored["model_mb"]),
    )
