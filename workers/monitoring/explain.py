"""The explanation of a plan: facts, space and decisions with their reasons, before any trial runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from castpool.sampler_policies.decision import Decision
from castpool.sampler_policies.spaces.parameter import Parameter
from castpool.sampler_policies.spaces.space import Space
from castpool.workers.planning.plan_study import PlannedStudy

WIDTH = 24
# Up to so many values are listed one by one.
MAX_VALUES = 6


def explanation_values(planned: PlannedStudy) -> dict[str, Any]:
    """Return the explanation as JSON values."""
    plan = planned.plan
    return {
        "model": planned.model.name,
        "facts": plan_facts(planned),
        "space": [parameter_values(parameter) for parameter in plan.space.parameters] if plan.space else None,
        "fixed": dict(plan.space.constants) if plan.space else {},
        "default": dict(plan.default),
        "decisions": [decision.to_json() for decision in plan.decisions],
        "warnings": list(plan.warnings),
    }


def plan_facts(planned: PlannedStudy) -> dict[str, Any]:
    """Return the numbers that the rules depend on."""
    data = asdict(planned.data)
    space = asdict(planned.plan.space.facts) if planned.plan.space else {"is_function": True}
    budget = {"trials": planned.spec.trials, "max_steps": planned.plan.max_steps}
    return {"data": {**data, "longest_input": planned.data.longest_input}, "space": space, "budget": budget}


def parameter_values(parameter: Parameter) -> dict[str, Any]:
    """Return one parameter as JSON values: its kind, its limits or choices, and its name in Optuna."""
    extent = (
        {"choices": list(parameter.values)}
        if parameter.kind in ("choice", "rank")
        else dict(zip(("low", "high"), parameter.extremes(), strict=True))
    )
    log = {"log": True} if getattr(parameter.distribution, "log", False) else {}
    return {"name": parameter.name, "kind": parameter.kind, "optuna": parameter.label, **extent, **log}


def format_model_selection(decisions: Sequence[Decision]) -> Iterator[str]:
    """Yield why `auto` selected each model and rejected others; no line if the user named every model."""
    for decision in decisions:
        yield from _format_decision(decision)
    if decisions:
        yield ""


def format_explanation(planned: PlannedStudy) -> str:
    """Return the explanation as text."""
    return "\n".join(_lines(planned))


def _lines(planned: PlannedStudy) -> Iterator[str]:
    data, plan = planned.data, planned.plan
    lengths = f"{data.shortest}" if data.shortest == data.longest else f"{data.shortest} to {data.longest}"
    yield f"{planned.model.name}, horizon {data.horizon}, on {data.n_series} series of {lengths} observations"
    judged = f"judged on the last {data.holdout} observations, " if data.holdout else ""
    before = " before" if data.holdout else " observations"
    yield f"  {judged}validated on the last {data.val_size}{before}; the longest possible input is {data.longest_input}"
    if plan.space is not None:
        yield ""
        yield from format_space(plan.space)
    for decision in plan.decisions:
        yield ""
        yield from _format_decision(decision)
    for warning in plan.warnings:
        yield ""
        yield f"warning: {warning}"


def format_space(space: Space) -> Iterator[str]:
    """Yield a line for each searched parameter, then one for each fixed argument."""
    yield "searched"
    for parameter in space.parameters:
        yield f"  {parameter.name:{WIDTH}} {format_extent(parameter)}"
    if space.constants:
        yield "fixed"
        for name, value in space.constants.items():
            yield f"  {name:{WIDTH}} {value}"


def format_extent(parameter: Parameter) -> str:
    """Return the values that a parameter may have, in a few words."""
    if parameter.kind in ("choice", "rank"):
        return f"{'one of' if parameter.kind == 'choice' else 'ordered:'} {', '.join(map(str, parameter.values))}"
    low, high = parameter.extremes()
    if parameter.size is not None and parameter.size <= MAX_VALUES:
        return ", ".join(f"{value:g}" for value in parameter.grid())
    if parameter.kind == "power":
        return f"{low}, {low * 2}, ... {high}"
    step = getattr(parameter.distribution, "step", None)
    log = " on a log scale" if getattr(parameter.distribution, "log", False) else ""
    grid = f" in steps of {step}" if step not in (None, 1) else ""
    return f"{low:g} to {high:g}{grid}{log}"


def _format_decision(decision: Decision) -> Iterator[str]:
    yield decision.what
    if decision.rule:
        yield f"  rule: {decision.rule}"
    for part in decision.reason.split("; "):
        yield f"  {part}"
    for rule, reason in decision.rejected.items():
        yield f"  not {rule}: {reason}"
