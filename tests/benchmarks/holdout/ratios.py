"""Ratios of test errors, run by run, and what they come to over runs and pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from castpool.workers.results.judge import DEFAULT, SINGLE
from tests.benchmarks.holdout.runs import (
    AUTOGLUON,
    BASELINES,
    CASTPOOL,
    CASTPOOL_AUTO,
    DELIVERED,
    NAIVE,
    Judgement,
    Run,
    judgements,
)
from tests.benchmarks.time_to_loss.systems import SYSTEMS
from tests.benchmarks.time_to_loss.table import geometric_mean

PEERS = ("careful", "ray", "script")
RESAMPLES = 2000


@dataclass(frozen=True)
class Ratios:
    """Errors of castpool's forecast over those of another, by pair, one for each run.

    Attributes:
        label: what is compared.
        by_pair: the ratios of each pair; a pair without a run is left out.
    """

    label: str
    by_pair: Mapping[str, Sequence[float]]

    @property
    def runs(self) -> list[float]:
        """The ratios of all runs."""
        return [ratio for ratios in self.by_pair.values() for ratio in ratios]

    @property
    def pair_means(self) -> dict[str, float]:
        """The geometric mean of each pair."""
        return {pair: geometric_mean(ratios) for pair, ratios in self.by_pair.items()}

    @property
    def mean(self) -> float:
        """The geometric mean over the pairs."""
        return geometric_mean(self.pair_means.values())

    @property
    def worst(self) -> tuple[str, float]:
        """The pair with the largest geometric mean, and that mean."""
        return max(self.pair_means.items(), key=lambda item: item[1])

    @property
    def median(self) -> float:
        """The median of all runs."""
        return median(self.runs)

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of that median by bootstrap over the runs of each pair; None with a single run."""
        if len(self.runs) < 2:
            return None
        generator = np.random.default_rng(0)
        drawn = [generator.choice(ratios, (RESAMPLES, len(ratios))) for ratios in self.by_pair.values()]
        low, high = np.quantile(np.median(np.concatenate(drawn, axis=1), axis=1), [0.025, 0.975])
        return float(low), float(high)

    @property
    def at_most_one(self) -> int:
        """The number of runs in which castpool's forecast was no worse."""
        return sum(ratio <= 1 for ratio in self.runs)


class Runs:
    """All runs, by pair and system in the order of their seeds."""

    def __init__(self, runs: Iterable[Run]) -> None:
        self._by_system: dict[tuple[str, str], list[Run]] = {}
        for run in sorted(runs, key=lambda run: run.seed):
            self._by_system.setdefault((run.pair, run.system), []).append(run)
        self.pairs = list(dict.fromkeys(pair for pair, system in self._by_system if system == CASTPOOL))

    def find(self, pair: str, system: str = CASTPOOL) -> list[Run]:
        """Return the runs of a system on a pair."""
        return self._by_system.get((pair, system), [])

    def errors(self, pair: str, system: str = CASTPOOL, name: str = DELIVERED) -> list[float]:
        """Return the errors of one forecast, in the order of the seeds; runs without it are left out."""
        return [run.errors[name] for run in self.find(pair, system) if name in run.errors]

    def baselines(self, pair: str) -> dict[str, float]:
        """Return the errors of the baselines of a pair by name."""
        return {name: error for run in self.find(pair, BASELINES) for name, error in run.errors.items()}

    def best_baseline(self, pair: str) -> float | None:
        """Return the smallest error of a baseline beside seasonal naive; None without one."""
        return min((error for name, error in self.baselines(pair).items() if name != NAIVE), default=None)

    def judgements(self, pair: str) -> list[Judgement]:
        """Return all comparisons of the verdicts on a pair that the test windows can judge."""
        others = self.baselines(pair)
        return [judgement for run in self.find(pair) for judgement in judgements(run, others)]

    def beside(self, label: str, system: str, ours: str = CASTPOOL) -> Ratios:
        """Return the ratios to another system: the seeds have nothing in common but their order, so that pairs them."""
        return self._ratios(
            label,
            lambda pair: list(zip(self.errors(pair, ours), self.errors(pair, system), strict=False)),
        )

    def within(self, label: str, name: str) -> Ratios:
        """Return the ratios of the delivered forecast to another of the same run."""
        return self._ratios(
            label,
            lambda pair: [
                (run.errors[DELIVERED], run.errors[name])
                for run in self.find(pair)
                if {DELIVERED, name} <= run.errors.keys()
            ],
        )

    def over_naive(self) -> Ratios:
        """Return the ratios of the delivered forecast to seasonal naive."""

        def errors(pair: str) -> list[tuple[float, float]]:
            naive = self.baselines(pair).get(NAIVE)
            return [] if naive is None else [(error, naive) for error in self.errors(pair)]

        return self._ratios(NAIVE, errors)

    def all_ratios(self) -> list[Ratios]:
        """Return all comparisons that have a run."""
        found = [
            *(self.beside(SYSTEMS[peer], peer) for peer in PEERS),
            self.within("the single best of the same run", SINGLE),
            self.within("the default configuration", DEFAULT),
            self.over_naive(),
            self.beside("AutoGluon medium_quality; castpool with --model auto", AUTOGLUON, CASTPOOL_AUTO),
        ]
        return [ratios for ratios in found if ratios.by_pair]

    def _ratios(self, label: str, errors: Callable[[str], Sequence[tuple[float, float]]]) -> Ratios:
        names = list(dict.fromkeys(pair for pair, _ in self._by_system))
        found = {pair: [ours / other for ours, other in errors(pair) if other > 0] for pair in names}
        return Ratios(label, {pair: ratios for pair, ratios in found.items() if ratios})
