"""What the verification decides: the single winner, and the members of the ensemble with their weights."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from castpool.sampler_policies.rules.choose_verification import EQUAL_MEMBERS
from castpool.workers.evaluation.ensemble import FEWEST_CELLS, equal_weights, select_weights
from castpool.workers.evaluation.finalists import Finalist
from castpool.workers.evaluation.metrics import cell_errors

# Two finalists this close are equally good; the one that trains faster is chosen.
TIE = 0.005
# An average of equal weights with models whose loss, over that of the best, is above this is worse than the best alone.
# Measured on series that no reported comparison has: 1.1 to 1.2 are equally good, 1.25 is not (docs/decisions/0013).
SIMILAR = 1.15
# A configuration this much worse than the winner, with another seed on older data, was lucky in the search.
UNSTABLE = 1.5


@dataclass(frozen=True)
class Selection:
    """The outcome of the verification.

    Attributes:
        winner: the number of the trial that is the single best.
        weights: the weight of each member by its name, the number of a trial or a baseline; they sum to 1.
        scores: the error of each candidate on the verification's windows, over that of the best; empty where there was
            no verification.
        reason: how they were chosen, as a sentence.
    """

    winner: int
    weights: Mapping[str, float]
    scores: Mapping[str, float]
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Selection:
        """Rebuild a selection from `to_json`."""
        return cls(int(stored["winner"]), dict(stored["weights"]), dict(stored["scores"]), str(stored["reason"]))

    @property
    def trials(self) -> list[int]:
        """The numbers of the trials that are members, the largest weight first."""
        members = sorted(self.weights, key=lambda name: -self.weights[name])
        return [int(name) for name in members if name.isdigit()]


def select(
    finalists: Sequence[Finalist],
    frames: Mapping[str, pd.DataFrame],
    actual: pd.DataFrame,
    *,
    most_members: int,
    most_judged: int | None = None,
    is_quantile: bool = False,
) -> Selection:
    """Choose the winner and the ensemble.

    Args:
        finalists: best validation loss first.
        frames: the forecasts of each candidate on the windows of the verification, by its name; a finalist without
            forecasts was not judged again.
        actual: ``unique_id``, ``ds``, ``y``.
        most_members: of the ensemble; 1 is none.
        most_judged: the number of the best finalists that the holdout has time for, where nothing is verified.
        is_quantile: whether quantiles are judged, or the point forecast.
    """
    searched = {str(finalist.trial): finalist for finalist in finalists}
    errors = {name: _relative_errors(frame, actual, is_quantile) for name, frame in frames.items()}
    judged = [name for name in searched if name in errors]
    if len(judged) < 2:
        most = min(EQUAL_MEMBERS, most_members, most_judged or EQUAL_MEMBERS)
        weights = equal_weights(_similar({name: one.value for name, one in searched.items()}, most))
        return Selection(finalists[0].trial, weights, {}, "by the validation loss of the search alone")
    lowest = min(float(error.mean()) for error in errors.values())
    scores = {name: float(error.mean()) / lowest if lowest else 1.0 for name, error in errors.items()}
    ranked = sorted(judged, key=lambda name: _rank(searched[name], finalists[0], scores[name]))
    winner = searched[ranked[0]]
    limit = (1 + TIE) * _rank(winner, finalists[0], scores[str(winner.trial)])
    for name in ranked[1:]:
        is_tie = _rank(searched[name], finalists[0], scores[name]) <= limit
        if is_tie and searched[name].seconds < winner.seconds / 2:
            winner = searched[name]
    cells = len(next(iter(errors.values())))
    reason = f"by the validation loss and {cells} windows of the verification"
    if most_members == 1:
        return Selection(winner.trial, {str(winner.trial): 1.0}, scores, reason)
    if cells < FEWEST_CELLS:
        ranks = {name: _rank(searched[name], finalists[0], scores[name]) for name in ranked}
        equal = equal_weights(_similar(ranks, min(EQUAL_MEMBERS, most_members)))
        return Selection(winner.trial, equal, scores, f"{reason}; too few for weights, so the best are averaged")
    order = [*ranked, *(name for name in frames if name not in searched)]
    greedy = select_weights({name: frames[name] for name in order}, actual, most_members=most_members)
    # Greedy weights follow the windows of the verification, equal ones those of the search: half of each is less luck.
    stable = [name for name in judged if scores[name] <= UNSTABLE * scores[str(winner.trial)]]
    values = {name: searched[name].value for name in stable}
    equal = equal_weights(_similar(values, min(EQUAL_MEMBERS, most_members)))
    return Selection(winner.trial, _average(greedy, equal, most_members, searched), scores, reason)


def _average(
    first: Mapping[str, float], second: Mapping[str, float], most_members: int, searched: Collection[str]
) -> dict[str, float]:
    """Return the mean of two sets of weights: the largest ones, at least one of them of a fitted model."""
    mean = {name: (first.get(name, 0.0) + second.get(name, 0.0)) / 2 for name in {**first, **second}}
    ordered = sorted(mean, key=lambda name: -mean[name])
    model = next(name for name in ordered if name in searched)
    kept = [model, *(name for name in ordered if name != model)][:most_members]
    total = sum(mean[name] for name in kept)
    return {name: mean[name] / total for name in ordered if name in kept}


def _similar(losses: Mapping[str, float], most: int) -> list[str]:
    """Return the best models whose losses are similar to the lowest; a likelihood has no such measure."""
    ordered = sorted(losses, key=lambda name: losses[name])[:most]
    lowest = losses[ordered[0]]
    return [name for name in ordered if lowest <= 0 or losses[name] <= SIMILAR * lowest]


def _rank(finalist: Finalist, first: Finalist, score: float) -> float:
    """Return how a finalist ranks: the mean of its errors in validation and verification, each over the best one."""
    if first.value <= 0:  # a likelihood: its ratios mean nothing
        return score
    return (finalist.value / first.value + score) / 2


def _relative_errors(frame: pd.DataFrame, actual: pd.DataFrame, is_quantile: bool) -> pd.Series[float]:
    """Return the error of each cell over the mean size of its series, so that one large series does not decide."""
    errors = cell_errors(frame, actual, is_quantile=is_quantile)
    sizes = actual["y"].abs().groupby(actual["unique_id"]).mean()
    relative: pd.Series[float] = errors["error"] / errors["unique_id"].map(sizes).replace(0.0, 1.0)
    return relative
