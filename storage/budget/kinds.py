"""The budgets beside the number of trials: one entry for each kind, and how far one of them is spent in a study.

A kind that costs something per training step, or per second in which the study is worked on, is an entry in `KINDS` and
a field of the study spec: the statements, the displays and the policies read the entries. A kind that is counted
otherwise also needs `CHARGED` in `castpool.storage.sql.slots`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any


def _format_minutes(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


@dataclass(frozen=True)
class BudgetKind:
    """What a budget counts.

    Attributes:
        name: its name in the table.
        unit: what the limit counts, as messages say it.
        field: the field of the study spec that holds the limit.
        spent_name: what is spent of it, in the values that commands print.
        per_step: what one training step of any attempt costs.
        per_study_second: what one second costs in which at least one worker trains.
        decimals: of what is spent, where it is printed; 0 for a whole number.
        format_progress: how a line of progress shows what is spent, and the limit.
    """

    name: str
    unit: str
    field: str
    spent_name: str
    per_step: float = 0.0
    per_study_second: float = 0.0
    decimals: int = 0
    format_progress: Callable[[float, float], str] = "{:.15g}/{:.15g}".format

    def round(self, amount: float) -> float:
        """Return an amount as it is printed: whole where the kind counts whole units."""
        return round(amount, self.decimals) if self.decimals else int(amount)


STEPS = BudgetKind(
    "steps",
    unit="training steps",
    field="steps_budget",
    spent_name="training_steps",
    per_step=1.0,
    format_progress="{:.15g}/{:.15g} steps".format,
)
TIME = BudgetKind(
    "time",
    unit="seconds",
    field="time_budget",
    spent_name="working_seconds",
    per_study_second=1.0,
    decimals=1,
    format_progress=lambda spent, limit: f"{_format_minutes(spent)} of {_format_minutes(limit)}",
)

# If several are spent, the message names the first of them.
KINDS: tuple[BudgetKind, ...] = (STEPS, TIME)

# What the statements that charge the budgets need to know of the kinds.
COSTS: Mapping[str, Sequence[Any]] = {
    "kinds": [kind.name for kind in KINDS],
    "per_step": [kind.per_step for kind in KINDS],
    "per_study_second": [kind.per_study_second for kind in KINDS],
}


@dataclass(frozen=True)
class Budget:
    """A study's budget of one kind.

    Attributes:
        kind: what it counts.
        limit: None where what is spent is counted only.
        spent: by trials and evaluations.
        reserved: the part of the limit that only evaluations may spend.
    """

    kind: BudgetKind
    limit: float | None = None
    spent: float = 0.0
    reserved: float = 0.0

    @property
    def share(self) -> float:
        """The share that is spent of what trials may spend, from 0; without a limit it is 0."""
        return self.spent / (self.limit - self.reserved) if self.limit else 0.0

    @property
    def message(self) -> str | None:
        """Why no trial may begin, where what trials may spend of the budget is spent."""
        if self.limit is None or self.spent < self.limit - self.reserved:
            return None
        if self.reserved:
            searched = f"{self.kind.round(self.limit - self.reserved):.15g} of {self.limit:.15g} {self.kind.unit}"
            return f"the search has spent its {searched}; the rest is for the evaluation"
        return f"the budget of {self.limit:.15g} {self.kind.unit} is spent"

    def seconds_left(self, *, is_evaluation: bool = False) -> float | None:
        """After how many seconds of work time alone has spent it; None where time costs nothing of it."""
        if self.limit is None or not self.kind.per_study_second:
            return None
        reserved = 0.0 if is_evaluation else self.reserved
        return (self.limit - reserved - self.spent) / self.kind.per_study_second


def read_budgets(rows: Iterable[Sequence[Any]] | None) -> tuple[Budget, ...]:
    """Return a budget of every kind from rows of kind, limit, what is spent and what is reserved."""
    found = {kind: amounts for kind, *amounts in rows or ()}
    return tuple(Budget(kind, *found.get(kind.name, (None, 0.0))) for kind in KINDS)


def why_spent(budgets: Iterable[Budget]) -> str | None:
    """Return why no evaluation of a study may begin though slots are open: a whole budget is spent."""
    return why_over(None, [replace(budget, reserved=0.0) for budget in budgets])


def why_over(stopped: str | None, budgets: Iterable[Budget]) -> str | None:
    """Return why no trial of a study may begin though slots are open: it was stopped, or a budget is spent."""
    return stopped or next((budget.message for budget in budgets if budget.message), None)
