"""Rules for the weights of an ensemble, by test error over that of the lowest validation loss, on pairs of development.

    python -m tests.benchmarks.ensemble_rules [--pairs NAME ...] [--seed 1] [--seconds 66]

castpool runs as it is typed. Then each finalist, and seasonal naive, forecasts all origins of the verification and the
test windows, whatever that takes: every rule is tried on the same forecasts. No pair has a series of those that
`tests.benchmarks.holdout` reports.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import uuid
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import pandas as pd

from castpool.storage.store import Store, open_store
from castpool.storage.study.studies import open_study
from castpool.workers.evaluation.baselines import SEASONAL_NAIVE, evaluate_baseline, find_baseline
from castpool.workers.evaluation.ensemble import equal_weights, select_weights
from castpool.workers.evaluation.finalists import Finalist, find_finalists
from castpool.workers.evaluation.forecasts import forecast_windows
from castpool.workers.evaluation.phases import season_of
from castpool.workers.evaluation.selection import select
from castpool.workers.evaluation.windows import verification_windows
from castpool.workers.results.members import read_study
from castpool.workers.results.refit import Fit, fit_members
from castpool.workers.spec.job import Job
from castpool.workers.support.logs import quiet
from castpool.workers.support.signals import StopRequest
from castpool.workers.training.fit import configuration_of
from castpool.workers.worker.stored_job import load_job
from tests.benchmarks.holdout.castpool_run import delete_studies
from tests.benchmarks.time_to_loss.pairs import DEVELOPMENT, Pair
from tests.benchmarks.time_to_loss.rolling import windows
from tests.benchmarks.time_to_loss.systems import build_commands
from tests.benchmarks.time_to_loss.table import geometric_mean

FINALISTS = 8
Weights = Mapping[str, float]


@dataclass
class Judged:
    """The finalists of one search, and what each forecasts.

    Attributes:
        finalists: the best validation loss first.
        verified: forecasts of the verification's windows by candidate.
        tested: forecasts of the test windows by candidate, with the column ``window``.
        actual: ``unique_id``, ``ds``, ``y`` before the holdout.
        test: ``unique_id``, ``ds``, ``y``, ``window``.
    """

    finalists: list[Finalist]
    verified: dict[str, pd.DataFrame]
    tested: dict[str, pd.DataFrame]
    actual: pd.DataFrame
    test: pd.DataFrame

    def best(self, count: int, limit: float = np.inf) -> Weights:
        """Return equal weights of the best by validation loss, of those within a factor of the lowest."""
        lowest = self.finalists[0].value
        return equal_weights([str(one.trial) for one in self.finalists[:count] if one.value <= limit * lowest])

    def greedy(self, *, is_neural: bool = False) -> Weights:
        """Return greedy weights on the verification."""
        frames = {name: frame for name, frame in self.verified.items() if not is_neural or name != SEASONAL_NAIVE}
        return select_weights(frames, self.actual)

    def error(self, weights: Weights) -> float:
        """Return the mean absolute error of an average on the test windows."""
        keys = ["unique_id", "ds", "window"]
        average = pd.Series(0.0, index=pd.MultiIndex.from_frame(self.test[keys]))
        for name, weight in weights.items():
            average += weight * self.tested[name].set_index(keys)["forecast"]
        errors = (average - self.test.set_index(keys)["y"]).abs()
        return fmean(errors.groupby("window").mean())


RULES: dict[str, Callable[[Judged], Weights]] = {
    "best 2": lambda judged: judged.best(2),
    "best 3": lambda judged: judged.best(3),
    "best 5": lambda judged: judged.best(5),
    "best 3 within 1.25": lambda judged: judged.best(3, 1.25),
    "best 3 within 1.15": lambda judged: judged.best(3, 1.15),
    "greedy": lambda judged: judged.greedy(),
    "greedy, models only": lambda judged: judged.greedy(is_neural=True),
    "as built": lambda judged: select(judged.finalists, judged.verified, judged.actual, most_members=5).weights,
    "default": lambda judged: {str(next(one.trial for one in judged.finalists if one.is_default)): 1.0},
    "seasonal naive": lambda judged: {SEASONAL_NAIVE: 1.0},
}


def main() -> None:
    """Search, judge, and print the ratios of each pair, their geometric mean and the worst."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", nargs="+", choices=list(DEVELOPMENT), default=list(DEVELOPMENT), metavar="NAME")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=66.0, help="wall time of the search and its evaluation")
    options = parser.parse_args()
    quiet()
    warnings.simplefilter("ignore")
    print(f"| pair | {' | '.join(RULES)} |\n|{' --- |' * (len(RULES) + 1)}", flush=True)
    ratios: dict[str, list[float]] = {name: [] for name in RULES}
    for name in options.pairs:
        judged = judge_finalists(DEVELOPMENT[name], options.seed, options.seconds)
        single = judged.error(judged.best(1))
        for rule, choose in RULES.items():
            ratios[rule].append(judged.error(choose(judged)) / single)
        print(f"| {name} | {' | '.join(f'{values[-1]:.3f}' for values in ratios.values())} |", flush=True)
    print(f"| geometric mean | {' | '.join(f'{geometric_mean(values):.3f}' for values in ratios.values())} |")
    print(f"| worst | {' | '.join(f'{max(values):.3f}' for values in ratios.values())} |")


def judge_finalists(pair: Pair, seed: int, seconds: float) -> Judged:
    """Search with castpool as typed, and let every finalist forecast everything."""
    frame, test = pair.read()
    study = f"rules-{uuid.uuid4().hex[:8]}"
    with tempfile.TemporaryDirectory(prefix="cp-rules-") as name, open_store() as store:
        folder = Path(name)
        frame.to_parquet(folder / "table.parquet")
        (command,) = build_commands("typed", pair, seed, seconds, folder, study, store)
        try:
            subprocess.run(command, check=True, capture_output=True)
            return _forecast_all(store, study, pair, seed, frame, test)
        finally:
            delete_studies(store, study)


def _forecast_all(store: Store, study: str, pair: Pair, seed: int, frame: pd.DataFrame, test: pd.DataFrame) -> Judged:
    stored = open_study(store, study)
    job = load_job(store, stored)
    found = read_study(store, stored, job)
    assert found is not None
    judged = Judged(find_finalists(found.trials.trials, FINALISTS), {}, {}, job.searched.frame, _number(pair, test))
    for finalist in judged.finalists:
        trial = found.trials.trials[finalist.trial]
        config = configuration_of(job, trial)
        judged.verified[str(finalist.trial)] = pd.concat(
            forecast_windows(job, config, finalist.step, seed + 1 + number, origin, lambda step: False)
            for number, origin in enumerate(verification_windows(job))
        )
        fitted = fit_members([Fit(job, trial, finalist.step)], StopRequest(), lambda line: None)
        judged.tested[str(finalist.trial)] = _roll(pair, frame, test, fitted.predict)
    naive = find_baseline(SEASONAL_NAIVE, season_of(job))
    judged.verified[SEASONAL_NAIVE] = _verify_naive(job, season_of(job))
    judged.tested[SEASONAL_NAIVE] = _roll(
        pair, frame, test, lambda known: naive.forecast(known, pair.horizon, pair.freq, ())
    )
    return judged


def _verify_naive(job: Job, season: int) -> pd.DataFrame:
    return pd.concat(
        evaluate_baseline(
            find_baseline(SEASONAL_NAIVE, season),
            job.series.without_newest(origin.remaining).frame,
            job.series.freq,
            horizon=job.spec.horizon,
            behind=origin.size,
            n_windows=origin.count(job.spec.horizon),
            distance=origin.distance,
        )
        for origin in verification_windows(job)
    )


def _number(pair: Pair, test: pd.DataFrame) -> pd.DataFrame:
    return test.assign(window=test.groupby("unique_id", sort=False).cumcount() // pair.horizon)


def _roll(
    pair: Pair, frame: pd.DataFrame, test: pd.DataFrame, predict: Callable[[pd.DataFrame], pd.DataFrame]
) -> pd.DataFrame:
    """Return the forecasts of all test windows, each from all rows before it."""
    parts = []
    for number, (known, _) in enumerate(windows(pair, frame, test)):
        predicted = predict(known)
        column = next(name for name in predicted.columns if name not in ("unique_id", "ds"))
        named = predicted[["unique_id", "ds", column]].rename(columns={column: "forecast"})
        parts.append(named.assign(window=number))
    return pd.concat(parts, ignore_index=True)


if __name__ == "__main__":
    main()
