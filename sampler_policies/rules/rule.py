"""How a policy chooses: rules in order of preference, of which the first without an objection decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from castpool.sampler_policies.decision import Decision

Facts = TypeVar("Facts")


@dataclass(frozen=True)
class Rule(Generic[Facts]):
    """One candidate of a policy.

    Attributes:
        name: how `castpool explain` and the documentation call the rule.
        condition: in words, the studies that the rule is for.
        objection: returns why the rule is rejected for these facts, or None where it applies.
        decide: returns the decision for facts without an objection.
    """

    name: str
    condition: str
    objection: Callable[[Facts], str | None]
    decide: Callable[[Facts], Decision]


def no_objection(facts: Any) -> None:
    """Return None: for the last rule of a policy, which applies to all facts."""


def choose(rules: Sequence[Rule[Facts]], facts: Facts) -> Decision:
    """Return the decision of the first rule without an objection, with why each other rule was rejected.

    Raises:
        LookupError: every rule has an objection; the last rule of a policy should have none.
    """
    objections = {rule.name: rule.objection(facts) for rule in rules}
    chosen = next((rule for rule in rules if objections[rule.name] is None), None)
    if chosen is None:
        raise LookupError(f"every rule was rejected: {objections}")
    rejected = {
        name: objection or f"{chosen.name} comes first" for name, objection in objections.items() if name != chosen.name
    }
    return replace(chosen.decide(facts), rule=chosen.name, rejected=rejected)
