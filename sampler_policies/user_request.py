"""The part of a user's request that the policies need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from castpool.sampler_policies.facts import Limit


@dataclass(frozen=True)
class UserRequest:
    """The settings of the user; None and empty values leave the decision to the policies.

    ``disabled`` names the optimizations (`castpool.sampler_policies.optimizations`) that the study does not use.
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
    disabled: frozenset[str] = frozenset()
    limit: Limit = field(default_factory=Limit)

    @property
    def asked(self) -> dict[str, Any]:
        """The part of the space that the user wrote."""
        return {**(self.base_space or {}), **(self.space or {})}
