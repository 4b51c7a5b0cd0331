"""What a rule may look at: plain numbers about the data, the space, the budget and the pool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class DataFacts:
    """The shape of the data. Lengths are in observations, ``horizon`` and ``val_size`` too."""

    n_series: int
    shortest: int
    longest: int
    n_rows: int
    horizon: int
    val_size: int

    @property
    def longest_input(self) -> int:
        """The longest input for which the shortest series still holds one whole training window."""
        return self.shortest - self.val_size - self.horizon

    def training_windows(self, input_size: int) -> int:
        """How many whole windows of ``input_size + horizon`` all series together offer for training."""
        taken = self.n_series * (self.val_size + self.horizon + input_size - 1)
        return max(1, self.n_rows - taken)


@dataclass(frozen=True)
class SpaceFacts:
    """The shape of a search space after encoding. ``n_points`` is None where a parameter is continuous.

    A space that ``branches`` has parameters which only some trials have. A function of the trial may, and nothing
    else is known of it. ``usual_sizes`` are the model's own defaults of what makes a training step dear, by the
    names and in the numbers that Optuna holds.
    """

    n_parameters: int
    n_unordered: int
    n_points: int | None = None
    branches: bool = False
    is_function: bool = False
    usual_sizes: Mapping[str, float] = field(default_factory=dict)

    @property
    def all_ordered(self) -> bool:
        """Whether every parameter has an order that a model of the objective can use."""
        return not self.is_function and self.n_unordered == 0


@dataclass(frozen=True)
class Limit:
    """What ends a study before its trials do: ``seconds`` of wall time, or training ``steps`` of all trials."""

    seconds: float | None = None
    steps: int | None = None

    @property
    def by(self) -> str:
        """What ends the study: ``time``, ``steps``, or its ``trials``."""
        return "time" if self.seconds is not None else "steps" if self.steps is not None else "trials"


@dataclass(frozen=True)
class BudgetFacts:
    """How much may be spent, by how many at once, to what ends. ``max_steps`` are training steps of one trial.

    ``weighs_time`` says whether a search may prefer what is quick to train.
    """

    trials: int
    workers: int
    max_steps: int
    val_check_steps: int
    n_objectives: int = 1
    limit: Limit = field(default_factory=Limit)
    weighs_time: bool = False

    @property
    def checks(self) -> int:
        """Validation checks in a trial that nobody stops."""
        return self.max_steps // self.val_check_steps


@dataclass(frozen=True)
class GPUFacts:
    """A GPU as its driver describes it. ``busy`` is the share of the last second in which it had anything to do."""

    index: str
    uuid: str
    name: str
    total_mb: int
    free_mb: int
    busy: float
