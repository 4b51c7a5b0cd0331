"""The verdict on a result: the winner, the ensemble, the default configuration and the baselines on the holdout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from castpool.workers.evaluation.ensemble import combine
from castpool.workers.evaluation.metrics import cell_errors, measure, metrics_by_name, shared_quantiles
from castpool.workers.evaluation.phases import has_quantiles, season_of
from castpool.workers.evaluation.verdict import Comparison, Competitor, Verdict, compare
from castpool.workers.evaluation.windows import holdout_windows
from castpool.workers.results.members import EvaluatedStudy, Member
from castpool.workers.spec.interval_losses import learns_quantiles
from castpool.workers.spec.job import Job

ENSEMBLE, SINGLE, DEFAULT = "ensemble", "single best", "default configuration"
# How the verdict calls the baselines.
SPOKEN = {"SeasonalNaive": "seasonal naive"}


def judge(best: EvaluatedStudy, members: Sequence[Member], costs: Mapping[str, Mapping[str, float]]) -> Verdict | None:
    """Return the verdict on what is delivered; None where there is no holdout, or nothing was forecast on it.

    Args:
        best: the study of the single winner.
        members: of the result.
        costs: ``latency_ms`` and ``model_mb`` of the ensemble and the single best.
    """
    job, windows = best.job, holdout_windows(best.job)
    frames = _frames(best, members)
    if windows is None or not frames:
        return None
    chosen = next(iter(frames))
    actual = job.series.frame[["unique_id", "ds", "y"]]
    history = job.searched.frame[["unique_id", "ds", "y"]]
    # Around a point forecast, intervals have a coverage; the forecast is judged by its point. Those of an earlier run
    # with levels are in the storage still.
    is_quantile = has_quantiles(frames[chosen]) and _learns_quantiles(job)
    metrics = metrics_by_name(measure(frames, actual, history, season_of(job)))
    levels = shared_quantiles(frames) or None
    errors = {
        name: cell_errors(frame, actual, is_quantile=is_quantile, quantiles=levels) for name, frame in frames.items()
    }
    competitors = [
        Competitor(
            name=name,
            kind=_kind(name),
            description=_description(name, best, members),
            metrics=metrics[name],
            latency_ms=costs.get(name, {}).get("latency_ms"),
            model_mb=costs.get(name, {}).get("model_mb"),
        )
        for name in frames
    ]
    comparisons: list[Comparison] = [
        compare(errors[chosen], errors[name], against=name) for name in frames if name != chosen
    ]
    return Verdict(
        metric="wql" if is_quantile else "mae",
        n_series=job.series.n_series,
        n_windows=windows.size // job.spec.horizon,
        holdout=windows.size,
        chosen=chosen,
        competitors=tuple(competitors),
        comparisons=tuple(comparisons),
    )


def _learns_quantiles(job: Job) -> bool:
    # A class of the user's own learns what the build check has let it learn.
    return learns_quantiles(job.spec.loss) or (job.objects.loss is not None and not job.spec.level)


def _frames(best: EvaluatedStudy, members: Sequence[Member]) -> dict[str, pd.DataFrame]:
    """Return the forecasts of the holdout by the name of the verdict, what is delivered first."""
    frames: dict[str, pd.DataFrame] = {}
    found = {member.name: _held_out(best, member) for member in members}
    if len(members) > 1 and all(frame is not None for frame in found.values()):
        held_out = {name: frame for name, frame in found.items() if frame is not None}
        frames[ENSEMBLE] = combine(held_out, {member.name: member.weight for member in members})
    if (winner := best.held_out.get(str(best.winner.trial))) is not None:
        frames[SINGLE] = winner
    default = best.default
    if default is not None and (frame := best.held_out.get(str(default.trial))) is not None:
        frames[DEFAULT] = frame
    for name, frame in best.held_out.items():
        if not name.isdigit():
            frames[SPOKEN.get(name, name)] = frame
    return frames if ENSEMBLE in frames or (len(members) == 1 and SINGLE in frames) else {}


def _held_out(best: EvaluatedStudy, member: Member) -> pd.DataFrame | None:
    if member.study is None or member.finalist is None:
        return best.held_out.get(member.name)
    return member.study.held_out.get(str(member.finalist.trial))


def _kind(name: str) -> str:
    return {ENSEMBLE: "ensemble", SINGLE: "winner", DEFAULT: "default"}.get(name, "baseline")


def _description(name: str, best: EvaluatedStudy, members: Sequence[Member]) -> str:
    if name == ENSEMBLE:
        return ", ".join(f"{member.weight:.0%} {member.name}" for member in members)
    if name == SINGLE:
        return f"{best.job.model.name}, trial {best.winner.trial}"
    return best.job.model.name if name == DEFAULT else ""
