"""All decisions for one study: what every worker, today's or one that joins tomorrow, works by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sampler_policies.bounds import bounded, input_sizes, numbers_of
from sampler_policies.catalogue import ModelEntry
from sampler_policies.compatibility import foreign_argument, refuse_what_cannot_work
from sampler_policies.decision import Decision
from sampler_policies.defaults import default_parameters, usual_sizes
from sampler_policies.domains import from_ray
from sampler_policies.errors import InputError
from sampler_policies.facts import BudgetFacts, DataFacts, SpaceFacts
from sampler_policies.lint import lint
from sampler_policies.overrides import override
from sampler_policies.pruners import choose_pruner
from sampler_policies.ray_search import choose_scheduler, choose_searcher
from sampler_policies.resources import choose_max_steps, choose_patience, choose_val_check_steps
from sampler_policies.samplers import SamplerFacts, choose_sampler, not_exhaustive
from sampler_policies.space import Space
from sampler_policies.wishes import Wishes

# Arguments that count something; the rules compare them with what the data holds.
COUNTS = (
    "input_size",
    "batch_size",
    "windows_batch_size",
    "step_size",
    "max_steps",
    "val_check_steps",
    "down_sampling_layers",
    "down_sampling_window",
)
ENDLESS = 10**9
# neuralforecast's own argument for it.
PATIENCE = "early_stop_patience_steps"


@dataclass(frozen=True)
class Plan:
    """The decisions of a study. ``default`` are the stored parameters of the model's own defaults.

    ``patience`` is after how many checks without a better one a trial ends; 0 is never.
    ``space`` is None where the user's space is a Python function of the trial. ``warnings`` say what looks wrong with
    a space that works (`sampler_policies.lint`).
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
        return next(own for own in self.decisions if own.subject == subject)

    @property
    def spares_default(self) -> bool:
        """Whether nobody stops the trial of the model's own defaults, the yardstick of the study."""
        return self.decision("pruner").choice != "StandingHalving"

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON values, for keeping with the study."""
        return {
            "space": self.space.to_json() if self.space is not None else None,
            "default": dict(self.default),
            "max_steps": self.max_steps,
            "val_check_steps": self.val_check_steps,
            "decisions": [own.to_json() for own in self.decisions],
            "warnings": list(self.warnings),
            "patience": self.patience,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Plan:
        """Rebuild a plan from `to_json`."""
        space = Space.from_json(stored["space"]) if stored["space"] is not None else None
        decisions = tuple(Decision.from_json(own) for own in stored["decisions"])
        warnings = tuple(stored.get("warnings", ()))
        steps = stored["max_steps"], stored["val_check_steps"]
        return cls(space, stored["default"], *steps, decisions, warnings, stored.get("patience", 0))


def smallest_input(model: ModelEntry, horizon: int, n_series: int, wishes: Wishes) -> int:
    """Return the smallest input size that the search may choose: what a series must at least be long for."""
    endless = DataFacts(n_series, ENDLESS, ENDLESS, n_series * ENDLESS, horizon, horizon)
    space = _space(_base(model, endless, wishes), model, endless, wishes)
    return 1 if _pads(space) else input_sizes(space, horizon, model)[0]


def make_plan(model: ModelEntry, data: DataFacts, wishes: Wishes, *, space_is_function: bool = False) -> Plan:
    """Decide everything that a study's trials need.

    Raises:
        InputError: a wish that cannot be met, in one sentence.
    """
    if space_is_function and wishes.space:
        got = ", ".join(wishes.space)
        raise InputError("space", got, "the configuration is a function: write these into it.")
    base = _base(model, data, wishes)
    space = _space(base, model, data, wishes)
    if not space_is_function:
        _refuse_inputs_that_do_not_fit(space, data, model)
        refuse_what_cannot_work(space, data, model, wishes.asked)
    given = _asked_once("max_steps", wishes.max_steps, space, wishes)
    max_steps = choose_max_steps(base, space, model.defaults["max_steps"], given, wishes.limit.by)
    given = _asked_once("val_check_steps", wishes.val_check_steps, space, wishes)
    checks = choose_val_check_steps(int(max_steps.choice), given, wishes.limit.by)
    patience = choose_patience(int(max_steps.choice), int(checks.choice), _against_patience(model, space, wishes))
    budget = BudgetFacts(
        wishes.trials,
        wishes.workers,
        int(max_steps.choice),
        int(checks.choice),
        wishes.n_objectives,
        wishes.limit,
        weighs_time=wishes.limit.by == "time" and "weighed-time" not in wishes.without,
    )
    default = {} if space_is_function else default_parameters(space, model, data)
    facts = SpaceFacts(0, 0, branches=True, is_function=True)
    if not space_is_function:
        facts = replace(space.facts, usual_sizes=usual_sizes(space, default))
    decisions = (
        _space_decision(model, None if space_is_function else space, wishes),
        max_steps,
        checks,
        patience,
        *_search_decisions(facts, budget, wishes),
    )
    return Plan(
        None if space_is_function else space,
        default,
        budget.max_steps,
        budget.val_check_steps,
        decisions,
        () if space_is_function else tuple(lint(space, wishes.asked, wishes.trials)),
        int(patience.choice),
    )


def _against_patience(model: ModelEntry, space: Space, wishes: Wishes) -> str | None:
    if PATIENCE in space or PATIENCE in space.constants:
        return f"the space says {PATIENCE}"
    if PATIENCE not in model.arguments:
        return f"{model.name} takes no {PATIENCE}"
    if left_out := wishes.without & {"patience", "best-check"}:
        return f"{' and '.join(sorted(left_out))} left out, as asked for"
    return "Ray's scheduler stops trials" if wishes.backend == "ray" else None


def _search_decisions(space: SpaceFacts, budget: BudgetFacts, wishes: Wishes) -> list[Decision]:
    sampler, arguments = wishes.sampler, dict(wishes.sampler_arguments or {})
    if wishes.backend == "optuna":
        pruner = choose_pruner(budget, wishes.pruner, dict(wishes.pruner_arguments or {}))
        return [choose_sampler(space, budget, sampler, arguments), pruner]
    facts = SamplerFacts(space, budget)
    searcher = choose_searcher(facts, wishes.searcher, dict(wishes.searcher_arguments or {}))
    if searcher.choice == "BasicVariant" and sampler is None and not_exhaustive(facts) is not None:
        sampler = "Random"  # which is what Ray's draws from a space that is no grid
    return [
        choose_sampler(space, budget, sampler, arguments),
        searcher,
        Decision("pruner", "Nop", "Ray's scheduler stops trials"),
        choose_scheduler(budget, wishes.scheduler, dict(wishes.scheduler_arguments or {})),
    ]


def _base(model: ModelEntry, data: DataFacts, wishes: Wishes) -> Space:
    if wishes.base_space is None:
        return model.default_space(data.horizon, data.n_series)
    unknown = next((name for name in wishes.base_space if name not in model.arguments), None)
    if unknown is not None:
        raise InputError("config", repr(unknown), foreign_argument(unknown, model))
    return from_ray(wishes.base_space)


def _space(base: Space, model: ModelEntry, data: DataFacts, wishes: Wishes) -> Space:
    asked = wishes.space or {}
    for name in asked:
        if name not in model.arguments and not str(name).startswith("_"):
            raise InputError("space", repr(name), foreign_argument(str(name), model))
    space = override(base, asked, model.arguments, model.defaults)
    _refuse_what_counts_nothing(space)
    if wishes.base_space is None:
        space = bounded(space, data, model, wishes.seed, {*asked, *_left_out(wishes)})
        return space.unordered() if "ordered-space" in wishes.without else space
    # A configuration that the user wrote is the user's choice, and only a wish beside it is another's.
    if wishes.max_steps is not None and "max_steps" not in asked:
        space = space.without("max_steps")
    is_seeded = "random_seed" in space or "random_seed" in space.constants
    return space if is_seeded else space.fixing("random_seed", wishes.seed)


def _left_out(wishes: Wishes) -> set[str]:
    """Return the arguments that no rule is to be asked about."""
    arguments = {"bounded-batches": ("batch_size", "windows_batch_size"), "steps-as-resource": ("max_steps",)}
    return {name for lever, names in arguments.items() if lever in wishes.without for name in names}


def _pads(space: Space) -> bool:
    return bool(space.constants.get("start_padding_enabled"))


def _asked_once(name: str, given: int | None, space: Space, wishes: Wishes) -> int | None:
    """Return the user's one number for an argument that the study decides, from the spec or from the space."""
    in_space = space.constants.get(name)
    if given is not None and name in (wishes.space or {}) and given != in_space:
        raise InputError(name, f"{given}, and space.{name} too", "write one of the two.")
    if name == "val_check_steps" and name in space:
        raise InputError(f"space.{name}", space[name].extremes(), "write one number: trials are compared at checks.")
    return given if given is not None else in_space


def _refuse_what_counts_nothing(space: Space) -> None:
    for name in COUNTS:
        if name not in space and name not in space.constants:
            continue
        for own in numbers_of(space, name, usual=None):
            is_whole = isinstance(own, int) and not isinstance(own, bool)
            # Recurrent models take a negative input size, and no number of windows means all there are.
            is_special = name == "input_size" if is_whole else own is None and name == "windows_batch_size"
            if not is_special and not (is_whole and own >= 1):
                raise InputError(f"space.{name}", repr(own), "write whole numbers of at least 1.")


def _refuse_inputs_that_do_not_fit(space: Space, data: DataFacts, model: ModelEntry) -> None:
    longest = input_sizes(space, data.horizon, model)[1]
    if longest <= data.longest_input or _pads(space):
        return
    problem = (
        f"the shortest series has {data.shortest} observations, of which validation takes {data.val_size} and the "
        f"horizon {data.horizon}"
    )
    if data.longest_input < 1:
        raise InputError("horizon", data.horizon, f"{problem}: write a shorter one, or leave that series out.")
    raise InputError("space.input_size", longest, f"{problem}: write sizes up to {data.longest_input}.")


def _space_decision(model: ModelEntry, space: Space | None, wishes: Wishes) -> Decision:
    if space is None:
        return Decision("space", "function", "the configuration is a Python function of the trial")
    source = f"Auto{model.name}'s own" if wishes.base_space is None else "the given configuration"
    changes = [*space.notes, *(f"{name} is as asked for" for name in wishes.space or {})]
    changes += [f"{lever} is left out, as asked for" for lever in sorted(wishes.without)]
    order = "" if "ordered-space" in wishes.without else ", with ordered choices as ordered numbers"
    reason = "; ".join([f"it is {source}{order}", *changes])
    return Decision("space", f"{len(space.parameters)} parameters", reason)
