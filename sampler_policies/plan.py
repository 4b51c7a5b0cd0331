"""All decisions for one study: what every worker, today's or one that joins tomorrow, works by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sampler_policies.bounds import bounded
from sampler_policies.catalogue import ModelEntry
from sampler_policies.decision import Decision
from sampler_policies.domains import from_ray, override
from sampler_policies.errors import InputError
from sampler_policies.facts import BudgetFacts, DataFacts, SpaceFacts
from sampler_policies.pruners import choose_pruner
from sampler_policies.resources import choose_max_steps, choose_val_check_steps
from sampler_policies.samplers import choose_sampler
from sampler_policies.space import Space
from sampler_policies.wishes import Wishes


@dataclass(frozen=True)
class Plan:
    """The decisions of a study. ``default`` are the stored parameters of the model's own defaults.

    ``space`` is None where the user's space is a Python function of the trial.
    """

    space: Space | None
    default: Mapping[str, Any]
    max_steps: int
    val_check_steps: int
    decisions: tuple[Decision, ...]

    def decision(self, subject: str) -> Decision:
        """Return the decision on that subject."""
        return next(own for own in self.decisions if own.subject == subject)

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON values, for keeping with the study."""
        return {
            "space": self.space.to_json() if self.space is not None else None,
            "default": dict(self.default),
            "max_steps": self.max_steps,
            "val_check_steps": self.val_check_steps,
            "decisions": [own.to_json() for own in self.decisions],
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Plan:
        """Rebuild a plan from `to_json`."""
        space = Space.from_json(stored["space"]) if stored["space"] is not None else None
        decisions = tuple(Decision.from_json(own) for own in stored["decisions"])
        return cls(space, stored["default"], stored["max_steps"], stored["val_check_steps"], decisions)


def smallest_input(model: ModelEntry, horizon: int, n_series: int, wishes: Wishes) -> int:
    """Return the smallest input size that the search may choose: what a series must at least be long for."""
    space = override(_base(model, horizon, n_series, wishes), wishes.space or {}, model.arguments)
    return min(size if size > 0 else 3 * horizon for size in _input_sizes(space, horizon))


def make_plan(model: ModelEntry, data: DataFacts, wishes: Wishes, *, space_is_function: bool = False) -> Plan:
    """Decide everything that a study's trials need.

    Raises:
        InputError: a wish that cannot be met, in one sentence.
    """
    base = _base(model, data.horizon, data.n_series, wishes)
    # A configuration that the user wrote is the user's choice: its values are not bounded.
    space = base if wishes.base_space else bounded(base, data, model.defaults, wishes.seed)
    space = override(space, wishes.space or {}, model.arguments)
    _refuse_inputs_that_do_not_fit(space, data)
    searched_again = space if "max_steps" in space else base
    steps_given = wishes.max_steps or space.constants.get("max_steps")
    max_steps = choose_max_steps(searched_again, model.defaults.get("max_steps", 1000), steps_given)
    checks_given = wishes.val_check_steps or space.constants.get("val_check_steps")
    checks = choose_val_check_steps(int(max_steps.choice), checks_given)
    budget = BudgetFacts(wishes.trials, wishes.workers, int(max_steps.choice), int(checks.choice))
    facts = SpaceFacts(0, 0, is_function=True) if space_is_function else space.facts
    decisions = (
        _space_decision(model, None if space_is_function else space, wishes),
        max_steps,
        checks,
        choose_sampler(facts, budget, wishes.sampler, dict(wishes.sampler_arguments or {})),
        choose_pruner(budget, wishes.pruner, dict(wishes.pruner_arguments or {})),
    )
    if space_is_function:
        return Plan(None, {}, budget.max_steps, budget.val_check_steps, decisions)
    return Plan(space, default_parameters(space, model, data), budget.max_steps, budget.val_check_steps, decisions)


def default_parameters(space: Space, model: ModelEntry, data: DataFacts) -> dict[str, Any]:
    """Return the stored parameters nearest to the model's own defaults.

    The input size has no default in neuralforecast; its documentation uses twice the horizon.
    """
    usual = {"input_size": 2 * data.horizon, **{k: v for k, v in model.defaults.items() if k != "input_size"}}
    stored: dict[str, Any] = {}
    for parameter in space.parameters:
        if (value := usual.get(parameter.name)) is None:
            continue
        try:
            stored[parameter.label] = parameter.encode(value)
        except (ValueError, TypeError):
            continue  # the user's own choices leave the default out: this one is sampled
    return stored


def _base(model: ModelEntry, horizon: int, n_series: int, wishes: Wishes) -> Space:
    return from_ray(wishes.base_space or model.default_space(horizon, n_series))


def _input_sizes(space: Space, horizon: int) -> list[int]:
    return space["input_size"].grid() if "input_size" in space else [space.constants.get("input_size", horizon)]


def _refuse_inputs_that_do_not_fit(space: Space, data: DataFacts) -> None:
    longest = max(_input_sizes(space, data.horizon))
    if longest > data.longest_input:
        raise InputError(
            "space.input_size",
            longest,
            f"the shortest series has {data.shortest} observations, of which validation takes {data.val_size} and the "
            f"horizon {data.horizon}: write sizes up to {data.longest_input}.",
        )


def _space_decision(model: ModelEntry, space: Space | None, wishes: Wishes) -> Decision:
    if space is None:
        return Decision("space", "function", "the configuration is a Python function of the trial")
    source = f"Auto{model.name}'s own" if wishes.base_space is None else "the given configuration"
    changes = [*space.notes, *(f"{name} is as asked for" for name in wishes.space or {})]
    reason = "; ".join([f"it is {source}, with ordered choices as ordered numbers", *changes])
    return Decision("space", f"{len(space.parameters)} parameters", reason)
