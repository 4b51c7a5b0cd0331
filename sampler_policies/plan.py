"""The plan: all decisions for one study, which every worker follows, also one that joins later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from castpool.sampler_policies.decision import Decision
from castpool.sampler_policies.errors import InputError
from castpool.sampler_policies.facts import BudgetFacts, DataFacts, SamplerFacts, SpaceFacts
from castpool.sampler_policies.rules.choose_pruner import choose_pruner
from castpool.sampler_policies.rules.choose_ray import choose_scheduler, choose_searcher
from castpool.sampler_policies.rules.choose_sampler import choose_sampler, not_exhaustive
from castpool.sampler_policies.rules.choose_steps import choose_max_steps, choose_patience, choose_val_check_steps
from castpool.sampler_policies.spaces.compatibility import (
    foreign_argument,
    refuse_counts_below_one,
    refuse_what_cannot_work,
)
from castpool.sampler_policies.spaces.data_bounds import bounded, input_sizes
from castpool.sampler_policies.spaces.default_point import default_parameters, usual_sizes
from castpool.sampler_policies.spaces.lint import lint
from castpool.sampler_policies.spaces.model_catalogue import ModelEntry
from castpool.sampler_policies.spaces.overrides import override
from castpool.sampler_policies.spaces.ray_domains import from_ray
from castpool.sampler_policies.spaces.space import Space
from castpool.sampler_policies.user_request import UserRequest

ENDLESS = 10**9
# neuralforecast's argument for early stopping.
PATIENCE = "early_stop_patience_steps"


@dataclass(frozen=True)
class Plan:
    """The decisions of a study. ``default`` are the stored parameters of the model's defaults.

    ``patience`` is the number of validation checks without an improvement after which a trial ends; 0 is never.
    ``space`` is None where the user's space is a Python function of the trial. ``warnings`` name likely mistakes in a
    valid space (`castpool.sampler_policies.spaces.lint`).
    """

    space: Space | None
    default: Mapping[str, Any]
    max_steps: int
    val_check_steps: int
    decisions: tuple[Decision, ...]
    warnings: tuple[str, ...] = ()
    patience: int = 0

    def decision(self, subject: str) -> Decision:
        """Return the decision on that subject."""
        return next(decision for decision in self.decisions if decision.subject == subject)

    def find(self, subject: str) -> Decision | None:
        """Return the decision on that subject; None in a plan that was made before castpool decided on it."""
        return next((decision for decision in self.decisions if decision.subject == subject), None)

    @property
    def is_evaluated(self) -> bool:
        """Whether finalists are judged again after the search, or the result on a holdout."""
        asked = {"holdout": "holdout", "verification": "finalists"}
        found = [(self.find(subject), argument) for subject, argument in asked.items()]
        return any(decision is not None and decision.arguments[argument] for decision, argument in found)

    @property
    def spares_default(self) -> bool:
        """Whether the trial of the model's defaults, the reference of the study, is never pruned."""
        return self.decision("pruner").choice != "DemotingHalving"

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON values, which the storage keeps with the study."""
        return {
            "space": self.space.to_json() if self.space is not None else None,
            "default": dict(self.default),
            "max_steps": self.max_steps,
            "val_check_steps": self.val_check_steps,
            "decisions": [decision.to_json() for decision in self.decisions],
            "warnings": list(self.warnings),
            "patience": self.patience,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Plan:
        """Rebuild a plan from `to_json`."""
        space = Space.from_json(stored["space"]) if stored["space"] is not None else None
        decisions = tuple(map(Decision.from_json, stored["decisions"]))
        warnings = tuple(stored.get("warnings", ()))
        steps = stored["max_steps"], stored["val_check_steps"]
        return cls(space, stored["default"], *steps, decisions, warnings, stored.get("patience", 0))


def smallest_input(model: ModelEntry, horizon: int, n_series: int, request: UserRequest) -> int:
    """Return the smallest input size of the search space, which every series must be long enough for."""
    endless = DataFacts(n_series, ENDLESS, ENDLESS, n_series * ENDLESS, horizon, horizon)
    space = _space(_base(model, endless, request), model, endless, request)
    return 1 if _pads(space) else input_sizes(space, horizon, model)[0]


def largest_input(plan: Plan, model: ModelEntry, horizon: int) -> int | None:
    """Return the largest input size of a plan's search space; None where the space is a function."""
    if plan.space is None:
        return None
    return 1 if _pads(plan.space) else input_sizes(plan.space, horizon, model)[1]


def make_plan(model: ModelEntry, data: DataFacts, request: UserRequest, *, space_is_function: bool = False) -> Plan:
    """Make all decisions for a study.

    Raises:
        InputError: a setting of the user that cannot work.
    """
    if space_is_function and request.space:
        got = ", ".join(request.space)
        raise InputError("space", got, "the configuration is a function: write these into it.")
    base = _base(model, data, request)
    space = _space(base, model, data, request)
    if not space_is_function:
        _refuse_inputs_that_do_not_fit(space, data, model)
        refuse_what_cannot_work(space, data, model, request.asked)
    given = _single_value("max_steps", request.max_steps, space, request)
    max_steps = choose_max_steps(base, space, model.defaults["max_steps"], given, request.limit.by)
    given = _single_value("val_check_steps", request.val_check_steps, space, request)
    checks = choose_val_check_steps(int(max_steps.choice), given, request.limit.by)
    patience = choose_patience(int(max_steps.choice), int(checks.choice), _objection_to_patience(model, space, request))
    budget = BudgetFacts(
        request.trials,
        request.workers,
        int(max_steps.choice),
        int(checks.choice),
        request.n_objectives,
        request.limit,
        is_cost_aware=request.limit.by == "time" and "cost-aware" not in request.disabled,
    )
    default = {} if space_is_function else default_parameters(space, model, data)
    facts = SpaceFacts(0, 0, branches=True, is_function=True)
    if not space_is_function:
        facts = replace(space.facts, usual_sizes=usual_sizes(space, default))
    decisions = (
        _space_decision(model, None if space_is_function else space, request),
        max_steps,
        checks,
        patience,
        *_search_decisions(facts, budget, request),
    )
    return Plan(
        None if space_is_function else space,
        default,
        budget.max_steps,
        budget.val_check_steps,
        decisions,
        () if space_is_function else tuple(lint(space, request.asked, request.trials)),
        int(patience.choice),
    )


def _objection_to_patience(model: ModelEntry, space: Space, request: UserRequest) -> str | None:
    if PATIENCE in space or PATIENCE in space.constants:
        return f"the space sets {PATIENCE}"
    if PATIENCE not in model.arguments:
        return f"{model.name} takes no {PATIENCE}"
    if disabled := request.disabled & {"patience", "best-check"}:
        return f"{' and '.join(sorted(disabled))} disabled by the user"
    return "Ray's scheduler stops trials" if request.backend == "ray" else None


def _search_decisions(space: SpaceFacts, budget: BudgetFacts, request: UserRequest) -> list[Decision]:
    sampler, arguments = request.sampler, dict(request.sampler_arguments or {})
    if request.backend == "optuna":
        pruner = choose_pruner(budget, request.pruner, dict(request.pruner_arguments or {}))
        return [choose_sampler(space, budget, sampler, arguments), pruner]
    facts = SamplerFacts(space, budget)
    searcher = choose_searcher(facts, request.searcher, dict(request.searcher_arguments or {}))
    if searcher.choice == "BasicVariant" and sampler is None and not_exhaustive(facts) is not None:
        sampler = "Random"  # as Ray's searcher samples a space that is no grid
    return [
        choose_sampler(space, budget, sampler, arguments),
        searcher,
        Decision("pruner", "Nop", "Ray's scheduler stops trials"),
        choose_scheduler(budget, request.scheduler, dict(request.scheduler_arguments or {})),
    ]


def _base(model: ModelEntry, data: DataFacts, request: UserRequest) -> Space:
    if request.base_space is None:
        return model.default_space(data.horizon, data.n_series)
    unknown = next((name for name in request.base_space if name not in model.arguments), None)
    if unknown is not None:
        raise InputError("config", repr(unknown), foreign_argument(unknown, model))
    return from_ray(request.base_space)


def _space(base: Space, model: ModelEntry, data: DataFacts, request: UserRequest) -> Space:
    asked = request.space or {}
    for name in asked:
        if name not in model.arguments and not str(name).startswith("_"):
            raise InputError("space", repr(name), foreign_argument(str(name), model))
    space = override(base, asked, model.arguments, model.defaults)
    refuse_counts_below_one(space)
    if request.base_space is None:
        space = bounded(space, data, model, request.seed, {*asked, *_unbounded_arguments(request)})
        return space.unordered() if "ordered-space" in request.disabled else space
    # A configuration that the user wrote is used as it is; only an option beside it replaces a part of it.
    if request.max_steps is not None and "max_steps" not in asked:
        space = space.without("max_steps")
    is_seeded = "random_seed" in space or "random_seed" in space.constants
    return space if is_seeded else space.fixing("random_seed", request.seed)


def _unbounded_arguments(request: UserRequest) -> set[str]:
    """Return the arguments that no rule may change, because the optimization is disabled."""
    arguments = {"bounded-batches": ("batch_size", "windows_batch_size"), "steps-as-resource": ("max_steps",)}
    return {name for optimization, names in arguments.items() if optimization in request.disabled for name in names}


def _pads(space: Space) -> bool:
    return bool(space.constants.get("start_padding_enabled"))


def _single_value(name: str, given: int | None, space: Space, request: UserRequest) -> int | None:
    """Return the number that the user set for an argument, in an option or in the space; None where in neither."""
    in_space = space.constants.get(name)
    if given is not None and name in (request.space or {}) and given != in_space:
        raise InputError(name, f"{given}, and space.{name} too", "write one of the two.")
    if name == "val_check_steps" and name in space:
        raise InputError(f"space.{name}", space[name].extremes(), "write one number: trials are compared at checks.")
    return given if given is not None else in_space


def _refuse_inputs_that_do_not_fit(space: Space, data: DataFacts, model: ModelEntry) -> None:
    longest = input_sizes(space, data.horizon, model)[1]
    if longest <= data.longest_input or _pads(space):
        return
    problem = data.described_parts
    if data.longest_input < 1:
        raise InputError("horizon", data.horizon, f"{problem}: write a shorter one, or leave that series out.")
    raise InputError("space.input_size", longest, f"{problem}: write sizes up to {data.longest_input}.")


def _space_decision(model: ModelEntry, space: Space | None, request: UserRequest) -> Decision:
    if space is None:
        return Decision("space", "function", "the configuration is a Python function of the trial")
    source = f"Auto{model.name}'s default" if request.base_space is None else "the user's configuration"
    changes = [*space.notes, *(f"{name} is set by the user" for name in request.space or {})]
    changes += [f"{optimization} is disabled by the user" for optimization in sorted(request.disabled)]
    order = "" if "ordered-space" in request.disabled else ", ordered choices as ordered numbers"
    reason = "; ".join([f"{source}{order}", *changes])
    return Decision("space", f"{len(space.parameters)} parameters", reason)
