"""What the policies make of a spec, for a person to read before anything runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from sampler_policies.decision import Decision
from sampler_policies.parameter import Parameter
from sampler_policies.space import Space
from workers.planning import Planned

WIDTH = 24
FEW = 6


def as_values(planned: Planned) -> dict[str, Any]:
    """Return the explanation as JSON values."""
    plan = planned.plan
    return {
        "model": planned.model.name,
        "facts": facts(planned),
        "space": [parameter_values(own) for own in plan.space.parameters] if plan.space else None,
        "fixed": dict(plan.space.constants) if plan.space else {},
        "default": dict(plan.default),
        "decisions": [own.to_json() for own in plan.decisions],
        "warnings": list(plan.warnings),
    }


def facts(planned: Planned) -> dict[str, Any]:
    """Return the numbers that the rules looked at."""
    data = asdict(planned.data)
    space = asdict(planned.plan.space.facts) if planned.plan.space else {"is_function": True}
    budget = {"trials": planned.spec.trials, "max_steps": planned.plan.max_steps}
    return {"data": {**data, "longest_input": planned.data.longest_input}, "space": space, "budget": budget}


def parameter_values(own: Parameter) -> dict[str, Any]:
    """Return one parameter as JSON values: its kind, its ends or choices, and what Optuna calls it."""
    extent = (
        {"choices": list(own.values)}
        if own.kind in ("choice", "rank")
        else dict(zip(("low", "high"), own.extremes(), strict=True))
    )
    log = {"log": True} if getattr(own.distribution, "log", False) else {}
    return {"name": own.name, "kind": own.kind, "optuna": own.label, **extent, **log}


def choice_lines(decisions: Sequence[Decision]) -> Iterator[str]:
    """Return why `auto` brought in which models, and why not others; nothing where it was not written."""
    for decision in decisions:
        yield from _decision_lines(decision)
    if decisions:
        yield ""


def as_text(planned: Planned) -> str:
    """Return the explanation as a person reads it."""
    return "\n".join(_lines(planned))


def _lines(planned: Planned) -> Iterator[str]:
    data, plan = planned.data, planned.plan
    lengths = f"{data.shortest}" if data.shortest == data.longest else f"{data.shortest} to {data.longest}"
    yield f"{planned.model.name}, horizon {data.horizon}, on {data.n_series} series of {lengths} observations"
    yield f"  judged by the last {data.val_size}; inputs of up to {data.longest_input} fit"
    if plan.space is not None:
        yield ""
        yield from space_lines(plan.space)
    for decision in plan.decisions:
        yield ""
        yield from _decision_lines(decision)
    for warning in plan.warnings:
        yield ""
        yield f"warning: {warning}"


def space_lines(space: Space) -> Iterator[str]:
    """Return the parameters that are searched, one a line, and those that are not."""
    yield "searched"
    for own in space.parameters:
        yield f"  {own.name:{WIDTH}} {extent(own)}"
    if space.constants:
        yield "fixed"
        for name, value in space.constants.items():
            yield f"  {name:{WIDTH}} {value}"


def extent(own: Parameter) -> str:
    """Return in a few words what a parameter may be."""
    if own.kind in ("choice", "rank"):
        return f"{'one of' if own.kind == 'choice' else 'ordered:'} {', '.join(map(str, own.values))}"
    low, high = own.extremes()
    if own.size is not None and own.size <= FEW:
        return ", ".join(f"{value:g}" for value in own.grid())
    if own.kind == "power":
        return f"{low}, {low * 2}, ... {high}"
    step = getattr(own.distribution, "step", None)
    grid = f" in steps of {step}" if step not in (None, 1) else ""
    return f"{low:g} to {high:g}{grid}{' on a log scale' if getattr(own.distribution, 'log', False) else ''}"


def _decision_lines(decision: Decision) -> Iterator[str]:
    yield decision.what
    if decision.rule:
        yield f"  rule: {decision.rule}"
    for part in decision.reason.split("; "):
        yield f"  {part}"
    for rule, why in decision.rejected.items():
        yield f"  not {rule}: {why}"
