"""An owned trial: the running trial of a slot that this process holds; and how it ends."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from optuna.trial import FrozenTrial

from castpool.storage.budget.outcome import Outcome
from castpool.storage.budget.slots import Claim, charge_arguments
from castpool.storage.optuna_storage.pending_writes import PendingWrites

REPORT_SECONDS = 1.0
SHORT_REPORT_SECONDS = 10.0


@dataclass
class OwnedTrial:
    """A running trial of a slot that this process holds.

    Attributes:
        study_id: its study.
        created: the trial as it was created; None if another process created it.
        gathered: writes that are still to be sent.
        written: writes that the server has, but perhaps not on disk; and all system attributes.
        written_at: time of the last write, in seconds of the monotonic clock.
    """

    study_id: int
    created: FrozenTrial | None
    gathered: PendingWrites = field(default_factory=PendingWrites)
    written: PendingWrites = field(default_factory=PendingWrites)
    written_at: float = 0.0

    @property
    def all_writes(self) -> PendingWrites:
        """All writes: those sent and those still to be sent."""
        writes = PendingWrites()
        writes.add(self.written)
        writes.add(self.gathered)
        return writes

    def current_state(self) -> FrozenTrial | None:
        """Return the trial as it is now, or None if another process created it."""
        trial = copy.deepcopy(self.created)
        if trial is not None:
            self.all_writes.apply(trial)
        return trial

    def has_just_written(self, *, is_short: bool) -> bool:
        """Whether the last write is so recent that a report may wait for the next one."""
        return time.monotonic() - self.written_at < (SHORT_REPORT_SECONDS if is_short else REPORT_SECONDS)


@dataclass(frozen=True)
class SlotEnding:
    """How the slot of a trial ends together with the trial.

    Attributes:
        claim: the slot.
        outcome: how the slot ends; None opens it for another attempt.
        user_attrs: user attributes that are written with it.
        step: the training steps that the trial has done.
        failure: the class of the failure, which is counted.
        reason: why, as a sentence for the user.
        keeps_checkpoint: whether the next attempt resumes from the slot's checkpoint.
    """

    claim: Claim
    outcome: Outcome | None
    user_attrs: Mapping[str, Any]
    step: int = 0
    failure: str | None = None
    reason: str | None = None
    keeps_checkpoint: bool = False

    @property
    def arguments(self) -> dict[str, Any]:
        """The slot's arguments of the statement that ends both."""
        names = ("outcome", "step", "failure", "reason", "keeps_checkpoint")
        values = {name: getattr(self, name) for name in names}
        return {**self.claim.key, **charge_arguments(), **values, "result": None, "seconds": None}
