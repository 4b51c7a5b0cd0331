"""The page of documentation on the policies, generated from their rules.

python -m castpool.sampler_policies.policy_page > docs/policies.md
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from castpool.sampler_policies.decision import Decision
from castpool.sampler_policies.facts import BudgetFacts, Limit, SpaceFacts
from castpool.sampler_policies.optimizations import OPTIMIZATIONS
from castpool.sampler_policies.rules.choose_baselines import BASELINES, BaselineRule
from castpool.sampler_policies.rules.choose_holdout import (
    ENOUGH_WINDOWS,
    FEWEST_HORIZONS,
    MOST_HORIZONS,
    SMALLEST_PART,
)
from castpool.sampler_policies.rules.choose_intervals import MOST_WINDOWS as MOST_INTERVAL_WINDOWS
from castpool.sampler_policies.rules.choose_models import MODELS, ModelRule
from castpool.sampler_policies.rules.choose_pruner import PRUNERS, choose_pruner
from castpool.sampler_policies.rules.choose_ray import RAY_SCHEDULERS, RAY_SEARCHERS, choose_scheduler
from castpool.sampler_policies.rules.choose_sampler import SAMPLERS, choose_sampler
from castpool.sampler_policies.rules.choose_verification import (
    EQUAL_MEMBERS,
    MOST_FINALISTS,
    MOST_MEMBERS,
    MOST_ORIGINS,
    SHARE,
)
from castpool.sampler_policies.rules.choose_workers import POOL_SIZES
from castpool.sampler_policies.rules.rule import Rule

NHITS = SpaceFacts(n_parameters=7, n_unordered=3)
EXAMPLES: tuple[tuple[str, SpaceFacts, BudgetFacts], ...] = (
    ("12 points, 20 trials", SpaceFacts(2, 1, n_points=12), BudgetFacts(20, 2, 1000, 50)),
    ("NHITS, 5 trials", NHITS, BudgetFacts(5, 2, 1500, 100)),
    ("NHITS, 20 trials, 2 workers", NHITS, BudgetFacts(20, 2, 1500, 100)),
    ("NHITS, 60 trials, 1 check each", NHITS, BudgetFacts(60, 1, 100, 100)),
    ("all ordered, 100 trials, 8 workers", SpaceFacts(9, 0), BudgetFacts(100, 8, 2000, 100)),
    ("NHITS, 1,000 trials, 16 workers", NHITS, BudgetFacts(1000, 16, 1500, 100)),
    ("all ordered, 1,000 trials, 16 workers", SpaceFacts(9, 0), BudgetFacts(1000, 16, 2000, 100)),
    ("mostly categories, 60 trials", SpaceFacts(8, 6), BudgetFacts(60, 2, 1000, 50)),
    ("25 parameters, 200 trials", SpaceFacts(25, 2), BudgetFacts(200, 4, 1000, 50)),
    ("space that branches, 60 trials", SpaceFacts(8, 2, branches=True), BudgetFacts(60, 2, 1000, 50)),
    (
        "NHITS, an hour, 2 workers",
        replace(NHITS, usual_sizes={"input_size": 24, "log2(batch_size)": 5}),
        BudgetFacts(1000, 2, 1000, 25, limit=Limit(seconds=3600), is_cost_aware=True),
    ),
    ("2 objectives, 100 trials", NHITS, BudgetFacts(100, 4, 1500, 100, n_objectives=2)),
    ("2 objectives, 1,000 trials", NHITS, BudgetFacts(1000, 4, 1500, 100, n_objectives=2)),
)

HEAD = """# What the policies choose

Each policy is a list of rules in order of preference. The first rule without an objection decides. `castpool explain`
shows this rule for your study, and why every other rule was rejected. A choice of yours (`--sampler`, `--pruner`, with
Ray `--searcher`, `--scheduler`) is used as it is, with a caution where it works badly.

The code generates this page: `python -m castpool.sampler_policies.policy_page > docs/policies.md`.
"""

EVALUATION: tuple[tuple[str, str, str], ...] = (
    (
        "holdout",
        f"the newest horizon of each series; more, up to {MOST_HORIZONS}, until there are {ENOUGH_WINDOWS} windows, "
        f"within 1/{SMALLEST_PART} of the shortest series; none if that has fewer than {FEWEST_HORIZONS} horizons",
        "`--holdout`",
    ),
    (
        "verification",
        f"up to {MOST_FINALISTS} finalists at up to {MOST_ORIGINS} older origins, each of which leaves half of the "
        "shortest series for training",
        "`--finalists`",
    ),
    (
        "finalists",
        f"as many as fit beside the holdout, at least {EQUAL_MEMBERS}; of a budget of time or steps, {SHARE:.0%} are "
        "reserved for evaluations",
        "`--finalists`",
    ),
    ("ensemble", f"up to {MOST_MEMBERS} members", "`--ensemble`, `--members`"),
    (
        "intervals",
        f"for point losses, widths from up to {MOST_INTERVAL_WINDOWS} windows in the newest quarter of the shortest "
        "series, or in two horizons",
        "`--level`",
    ),
    ("season", "the usual one of the frequency; none if the shortest series holds less than two", "`--season`"),
)


def render_policies() -> str:
    """Return the page, as Markdown."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield HEAD
    yield from _rule_table("Samplers", SAMPLERS)
    yield from _rule_table("Pruners", PRUNERS)
    yield from _rule_table("Models that `auto` chooses: all without an objection", MODELS)
    yield from _rule_table("Workers on a machine", POOL_SIZES)
    yield from _rule_table("With `--backend ray`: searchers", RAY_SEARCHERS)
    yield from _rule_table("With `--backend ray`: schedulers", RAY_SCHEDULERS)
    yield "## Evaluation\n"
    yield "[Is the forecast good?](verdict.md) says what these decisions are for.\n"
    yield "| decision | rule | override |"
    yield "| --- | --- | --- |"
    yield from (f"| {decision} | {rule} | {override} |" for decision, rule, override in EVALUATION)
    yield ""
    yield from _rule_table("Baselines: all without an objection, while time allows", BASELINES)
    yield "## Optimizations\n"
    yield "All are enabled; `--disable NAME` disables one (repeat it for several).\n"
    yield "| optimization | effect |"
    yield "| --- | --- |"
    yield from (f"| {name} | {effect} |" for name, effect in OPTIMIZATIONS.items())
    yield ""
    yield "## Examples\n"
    for study, space, budget in EXAMPLES:
        yield f"### {study}\n"
        yield _format_example("Sampler", choose_sampler(space, budget, None, {}))
        yield _format_example("Pruner", choose_pruner(budget, None, {}))
        yield _format_example("With Ray, scheduler", choose_scheduler(budget, None, {}))
        yield ""


def _rule_table(title: str, rules: Sequence[Rule[Any] | ModelRule | BaselineRule]) -> Iterator[str]:
    yield f"## {title}\n"
    yield "| rule | condition |"
    yield "| --- | --- |"
    yield from (f"| {rule.name} | {rule.condition} |" for rule in rules)
    yield ""


def _format_example(subject: str, decision: Decision) -> str:
    what = decision.what.removeprefix(f"{decision.subject}: ")
    return f"- {subject} **{decision.rule}**: `{what}`. {decision.reason[0].upper()}{decision.reason[1:]}."


if __name__ == "__main__":
    print(render_policies(), end="")
