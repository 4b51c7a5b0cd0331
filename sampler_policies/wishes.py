"""What a user asked for, as far as the policies are concerned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sampler_policies.facts import Limit


@dataclass(frozen=True)
class Wishes:
    """What the user asked for; None and empty leave the decision to the policies.

    ``without`` names the levers (`sampler_policies.levers`) to leave out.
    """

    trials: int
    workers: int = 1
    seed: int = 1
    space: Mapping[str, Any] | None = None
    base_space: Mapping[str, Any] | None = None
    max_steps: int | None = None
    val_check_steps: int | None = None
    sampler: str | None = None
    sampler_arguments: Mapping[str, Any] | None = None
    pruner: str | None = None
    pruner_arguments: Mapping[str, Any] | None = None
    n_objectives: int = 1
    backend: str = "optuna"
    searcher: str | None = None
    searcher_arguments: Mapping[str, Any] | None = None
    scheduler: str | None = None
    scheduler_arguments: Mapping[str, Any] | None = None
    without: frozenset[str] = frozenset()
    limit: Limit = field(default_factory=Limit)

    @property
    def asked(self) -> dict[str, Any]:
        """The user's own part of the space, as written."""
        return {**(self.base_space or {}), **(self.space or {})}
