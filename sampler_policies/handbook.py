"""The policies as a page of documentation, written by the policies themselves.

python -m sampler_policies.handbook > docs/policies.md
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from sampler_policies.candidates import Candidate
from sampler_policies.decision import Decision
from sampler_policies.facts import BudgetFacts, Limit, SpaceFacts
from sampler_policies.levers import LEVERS
from sampler_policies.model_choice import MODELS, ModelCandidate
from sampler_policies.pool_size import POOL_SIZES
from sampler_policies.pruners import PRUNERS, choose_pruner
from sampler_policies.ray_search import RAY_SCHEDULERS, RAY_SEARCHERS, choose_scheduler
from sampler_policies.samplers import SAMPLERS, choose_sampler

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
        BudgetFacts(1000, 2, 1000, 25, limit=Limit(seconds=3600), weighs_time=True),
    ),
    ("2 objectives, 100 trials", NHITS, BudgetFacts(100, 4, 1500, 100, n_objectives=2)),
    ("2 objectives, 1,000 trials", NHITS, BudgetFacts(1000, 4, 1500, 100, n_objectives=2)),
)

HEAD = """# What the policies choose

Each policy is a list of candidates in order of preference. The first that nothing speaks against is chosen;
`castpool explain` says for a study of yours which that is, and what spoke against every other. What you ask for
yourself (`--sampler`, `--pruner`, with Ray `--searcher`, `--scheduler`) is used as it is, with a caution where it
cannot work well.

This page is written by the code: `python -m sampler_policies.handbook > docs/policies.md`.
"""


def handbook() -> str:
    """Return the page, as Markdown."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield HEAD
    yield from _candidates("Samplers", SAMPLERS)
    yield from _candidates("Pruners", PRUNERS)
    yield from _candidates("Models that `auto` chooses: all that nothing speaks against", MODELS)
    yield from _candidates("Workers on a machine", POOL_SIZES)
    yield from _candidates("With `--backend ray`: searchers", RAY_SEARCHERS)
    yield from _candidates("With `--backend ray`: schedulers", RAY_SCHEDULERS)
    yield "## Levers of speed\n"
    yield "All are in; `--without NAME` leaves one out (repeat it for several).\n"
    yield "| lever | what it does |"
    yield "| --- | --- |"
    yield from (f"| {name} | {words} |" for name, words in LEVERS.items())
    yield ""
    yield "## By example\n"
    yield "| study | sampler | pruner | Ray's scheduler |"
    yield "| --- | --- | --- | --- |"
    for study, space, budget in EXAMPLES:
        decisions = (
            choose_sampler(space, budget, None, {}),
            choose_pruner(budget, None, {}),
            choose_scheduler(budget, None, {}),
        )
        yield f"| {study} | {' | '.join(_cell(own) for own in decisions)} |"
    yield ""


def _candidates(title: str, candidates: Sequence[Candidate[Any] | ModelCandidate]) -> Iterator[str]:
    yield f"## {title}\n"
    yield "| rule | chosen for |"
    yield "| --- | --- |"
    for own in candidates:
        yield f"| {own.name if isinstance(own, ModelCandidate) else own.rule} | {own.when} |"
    yield ""


def _cell(decision: Decision) -> str:
    what = decision.what.removeprefix(f"{decision.subject}: ")
    return f"**{decision.rule}**: `{what}`. {decision.reason[0].upper()}{decision.reason[1:]}."


if __name__ == "__main__":
    print(handbook(), end="")
