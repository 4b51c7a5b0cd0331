"""How a policy chooses: candidates in order of preference, each of which may have something against it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from sampler_policies.decision import Decision

Facts = TypeVar("Facts")


@dataclass(frozen=True)
class Candidate(Generic[Facts]):
    """Something that could be chosen. ``when`` says in words for whom it is, which `objection` says in code."""

    rule: str
    when: str
    objection: Callable[[Facts], str | None]
    decide: Callable[[Facts], Decision]


def anything(facts: Any) -> None:
    """Object to nothing: for the last candidate of a policy, which takes whatever comes."""


def choose(candidates: Sequence[Candidate[Facts]], facts: Facts) -> Decision:
    """Return the decision of the first candidate that nothing speaks against, with what spoke against the others.

    Raises:
        LookupError: something speaks against every one; the last of a policy should take whatever comes.
    """
    objections = {own.rule: own.objection(facts) for own in candidates}
    chosen = next((own for own in candidates if objections[own.rule] is None), None)
    if chosen is None:
        raise LookupError(f"no candidate is left: {objections}")
    rejected = {
        rule: objection or f"{chosen.rule} comes first" for rule, objection in objections.items() if rule != chosen.rule
    }
    return replace(chosen.decide(facts), rule=chosen.rule, rejected=rejected)
