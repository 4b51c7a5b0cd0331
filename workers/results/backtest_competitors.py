"""Who competes in a backtest: the ensemble, the single best, the default configuration and the baselines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from castpool.workers.evaluation.phases import baselines
from castpool.workers.results.backtest_plan import Part
from castpool.workers.results.judge import DEFAULT, ENSEMBLE, SINGLE, SPOKEN
from castpool.workers.results.members import EvaluatedStudy, Member, choose_members
from castpool.workers.spec.job import Job
from castpool.workers.training.fit import configuration_of


def find_competitors(study: EvaluatedStudy, best: Mapping[str, Any] | None) -> dict[str, dict[Part, float]]:
    """Return the weights of the parts of each competitor, by the name that the verdict uses, the delivered one first.

    Args:
        study: of the single winner.
        best: the result, which may average members of other studies too; None averages what `castpool result` would.
    """
    name = study.stored.name
    if best is None:
        delivered = {_part(name, member): member.weight for member in choose_members([study])[1]}
        winner = Part(name, study.winner.trial, study.winner.step)
    else:
        delivered = {_stored_part(name, member): float(member["weight"]) for member in best.get("members", ())}
        winner = Part(name, int(best["trial"]), int(best["step"]))
    total = sum(delivered.values())  # rounded, where it was read
    found: dict[str, dict[Part, float]] = {}
    if len(delivered) > 1:
        found[ENSEMBLE] = {part: weight / total for part, weight in delivered.items()}
    found[SINGLE] = {winner: 1.0}
    if study.default is not None:
        found[DEFAULT] = {Part(name, study.default.trial, study.default.step): 1.0}
    known = [part.baseline for part in delivered if part.baseline is not None]
    for baseline in dict.fromkeys([*baselines(study.job), *known]):
        found[SPOKEN.get(baseline, baseline)] = {Part(name, baseline=baseline): 1.0}
    return found


def largest_input(studies: Mapping[str, EvaluatedStudy], parts: Iterable[Part]) -> int:
    """Return the most observations that a configuration reads."""
    sizes = []
    for part in parts:
        if part.trial is not None:
            study = studies[part.study]
            sizes.append(_input_size(study.job, configuration_of(study.job, study.trials.trials[part.trial])))
    return max(sizes)


def _input_size(job: Job, config: Mapping[str, Any]) -> int:
    """Return the observations that a configuration reads; 1 where it pads shorter series."""
    if config.get("start_padding_enabled"):
        return 1
    size = config.get("input_size", job.model.defaults.get("input_size"))
    # neuralforecast reads -1 as three horizons.
    return int(size) if size is not None and size > 0 else 3 * job.spec.horizon


def _part(name: str, member: Member) -> Part:
    if member.study is None or member.finalist is None:
        return Part(name, baseline=member.name)
    return Part(member.study.stored.name, member.finalist.trial, member.finalist.step)


def _stored_part(name: str, member: Mapping[str, Any]) -> Part:
    if "trial" not in member:
        return Part(name, baseline=member["baseline"])
    return Part(member["study"], int(member["trial"]), int(member["step"]))
