"""Facts, which the rules decide from: plain numbers about the data, the space, the budget and the GPUs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

FEWEST_STARTUP_TRIALS, MOST_STARTUP_TRIALS = 4, 10
# With a budget of steps, ten end 1 % worse than five (two recorded tables, four synthetic problems, 5 repeats).
STARTUP_FOR_OTHER_BUDGETS = 5


@dataclass(frozen=True)
class DataFacts:
    """The shape of the data. Lengths are in observations, ``horizon``, ``val_size`` and ``holdout`` too.

    The search uses each series without its newest ``holdout`` observations.
    """

    n_series: int
    shortest: int
    longest: int
    n_rows: int
    horizon: int
    val_size: int
    holdout: int = 0

    @property
    def longest_input(self) -> int:
        """The longest input for which the shortest series still holds one whole training window."""
        return self.shortest - self.holdout - self.val_size - self.horizon

    @property
    def described_parts(self) -> str:
        """The parts of the shortest series that leave no place for an input, as messages name them."""
        holdout = f"the holdout takes {self.holdout}, " if self.holdout else ""
        parts = f"{holdout}validation takes {self.val_size} and the horizon {self.horizon}"
        return f"the shortest series has {self.shortest} observations, of which {parts}"

    def training_windows(self, input_size: int) -> int:
        """Return the number of whole windows of ``input_size + horizon`` in the training parts of all series."""
        taken = self.n_series * (self.holdout + self.val_size + self.horizon + input_size - 1)
        return max(1, self.n_rows - taken)


@dataclass(frozen=True)
class SpaceFacts:
    """The shape of a search space after encoding. ``n_points`` is None where a parameter is continuous.

    A space that ``branches`` has parameters which only some trials have. A space that is a function of the trial may
    branch, and nothing else is known of it. ``usual_sizes`` are the model's defaults of the parameters that make a
    training step costly, with Optuna's names and numbers.
    """

    n_parameters: int
    n_unordered: int
    n_points: int | None = None
    branches: bool = False
    is_function: bool = False
    usual_sizes: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Limit:
    """A budget other than trials: ``seconds`` of wall time, or training ``steps`` of all trials together."""

    seconds: float | None = None
    steps: int | None = None

    @property
    def by(self) -> str:
        """The kind of budget that ends the study: ``time``, ``steps`` or ``trials``."""
        return "time" if self.seconds is not None else "steps" if self.steps is not None else "trials"


@dataclass(frozen=True)
class BudgetFacts:
    """The budget of a study, its parallel workers and objectives. ``max_steps`` are training steps of one trial.

    ``is_cost_aware`` says whether the search may prefer configurations that train fast.
    """

    trials: int
    workers: int
    max_steps: int
    val_check_steps: int
    n_objectives: int = 1
    limit: Limit = field(default_factory=Limit)
    is_cost_aware: bool = False

    @property
    def checks(self) -> int:
        """The number of validation checks in a trial that is not stopped early."""
        return self.max_steps // self.val_check_steps


@dataclass(frozen=True)
class SamplerFacts:
    """Facts for the sampler policy."""

    space: SpaceFacts
    budget: BudgetFacts

    @property
    def startup(self) -> int:
        """The number of quasi-random trials before the first fit of a model."""
        if self.budget.limit.by != "trials":
            return STARTUP_FOR_OTHER_BUDGETS  # the number of trials is unknown
        return min(max(self.budget.trials // 5, FEWEST_STARTUP_TRIALS), MOST_STARTUP_TRIALS)


@dataclass(frozen=True)
class GPUFacts:
    """A GPU as its driver describes it. ``busy`` is its utilisation in the last second, 0 to 1."""

    index: str
    uuid: str
    name: str
    total_mb: int
    free_mb: int
    busy: float
